from __future__ import annotations

import json
import shutil

import pytest

import ski_edge
from ski_edge.bundle.manifest import read_manifest
from ski_edge.errors import BadInput


@pytest.fixture
def copy(tiny_bundle, tmp_path):
    folder = tmp_path / "copy"
    shutil.copytree(tiny_bundle, folder)
    return folder


def edit(folder, change):
    path = folder / "manifest.json"
    manifest = json.loads(path.read_text())
    change(manifest)
    path.write_text(json.dumps(manifest))


def test_manifest_describes_the_bundle(tiny_bundle):
    manifest = read_manifest(tiny_bundle)
    assert manifest.model == "ski-vificlip"
    assert manifest.frame_encoder.inputs[0].shape == ("B", 3, 224, 224)
    assert manifest.score_scale == pytest.approx(100)
    assert manifest.provenance.weights == "clip-like (seed 0)"
    on_disk = {p.name for p in tiny_bundle.iterdir()} - {"manifest.json"}
    assert set(manifest.files) == on_disk
    assert str(tiny_bundle) not in (tiny_bundle / "manifest.json").read_text()


def test_every_changed_byte_is_found(copy):
    for name in list(read_manifest(copy).files):
        path = copy / name
        data = bytearray(path.read_bytes())
        data[len(data) // 2] ^= 1
        path.write_bytes(data)
        with pytest.raises(BadInput, match=f"{name} was changed after export"):
            ski_edge.open_bundle(copy)
        data[len(data) // 2] ^= 1
        path.write_bytes(data)
    ski_edge.open_bundle(copy)


def truncate(folder):
    path = folder / "model.onnx"
    path.write_bytes(path.read_bytes()[:1000])


def link(folder):
    (folder / "labels.npy").rename(folder / "elsewhere.npy")
    (folder / "labels.npy").symlink_to(folder / "elsewhere.npy")


@pytest.mark.parametrize(
    ("damage", "says"),
    [
        (truncate, "model.onnx has 1000 bytes, the manifest says"),
        (lambda f: (f / "labels.npy").unlink(), "labels.npy is missing; copy the whole folder again"),
        (link, "labels.npy is a symbolic link"),
        (lambda f: (f / "manifest.json").write_text("{"), "is not JSON"),
        (lambda f: (f / "manifest.json").write_text("[]"), "schema_version None, this ski-edge reads 1"),
        (lambda f: (f / "manifest.json").write_bytes(b"\xff\xfe{}"), "is UTF-16"),
        (lambda f: (f / "manifest.json").unlink(), "has no manifest.json"),
        (lambda f: edit(f, lambda m: m.update(schema_version=2)), "schema_version 2, this ski-edge reads 1"),
        (lambda f: edit(f, lambda m: m.update(colour=1)), "colour: Extra inputs are not permitted"),
        (lambda f: edit(f, lambda m: m["preprocessing"].update(std=[0, 1, 1])), "every std must be above 0"),
        (lambda f: edit(f, lambda m: m["files"].pop("model.onnx")), "'model.onnx' is not listed under files"),
        (
            lambda f: edit(f, lambda m: m["files"].update({"../../etc/passwd": m["files"]["labels.npy"]})),
            "leaves the folder",
        ),
        (
            lambda f: edit(f, lambda m: m["files"].update({"/etc/passwd": m["files"]["labels.npy"]})),
            "leaves the folder",
        ),
    ],
)
def test_damaged_bundles_are_one_clear_line(copy, damage, says):
    damage(copy)
    with pytest.raises(BadInput) as error:
        ski_edge.open_bundle(copy)
    assert says in str(error.value)
    assert "\n" not in str(error.value)


def test_a_graph_that_is_no_graph(copy):
    """A truncated ONNX whose hash was made to fit still is one line."""
    from ski_edge.files import sha256_file

    truncate(copy)
    digest = sha256_file(copy / "model.onnx")
    edit(copy, lambda m: m["files"].update({"model.onnx": {"sha256": digest, "bytes": 1000}}))
    with pytest.raises(BadInput, match=r"model\.onnx does not load as ONNX"):
        ski_edge.open_bundle(copy)


def test_what_is_not_a_bundle(tmp_path):
    with pytest.raises(BadInput, match="does not exist; make one with: ski-edge export"):
        ski_edge.open_bundle(tmp_path / "no")
    (tmp_path / "file").write_text("")
    with pytest.raises(BadInput, match="is a file; a bundle is the folder"):
        ski_edge.open_bundle(tmp_path / "file")
    with pytest.raises(BadInput, match=r"has no manifest\.json"):
        ski_edge.open_bundle(tmp_path)
