from __future__ import annotations

import json
import shutil

import numpy as np
import pytest

import ski_edge
from ski_edge.bundle.manifest import _digest, is_bundle, read_manifest
from ski_edge.errors import BadInput
from ski_edge.files import sha256_file
from ski_edge.runtime.verify import verify


@pytest.fixture
def copy(tiny_bundle, tmp_path):
    folder = tmp_path / "copy"
    shutil.copytree(tiny_bundle, folder)
    return folder


def edit(folder, change):
    path = folder / "manifest.json"
    manifest = json.loads(path.read_text())
    del manifest["sha256"]
    change(manifest)
    path.write_text(json.dumps({**manifest, "sha256": _digest(manifest)}))


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
    for name in [*read_manifest(copy).files, "manifest.json"]:
        path = copy / name
        data = bytearray(path.read_bytes())
        data[len(data) // 2] ^= 1
        path.write_bytes(data)
        with pytest.raises(BadInput, match=f"{name}( was changed after export| is not JSON|.* has schema_version)"):
            ski_edge.open_bundle(copy)
        data[len(data) // 2] ^= 1
        path.write_bytes(data)
    ski_edge.open_bundle(copy)


def test_a_harmless_looking_edit_of_the_manifest_is_found(copy):
    path = copy / "manifest.json"
    path.write_text(path.read_text().replace("123.675", "133.675"))
    with pytest.raises(BadInput, match=r"manifest\.json was changed after export"):
        ski_edge.open_bundle(copy)


def test_strangers_in_the_folder_are_refused(copy):
    """A graph could name them as its external data, and nobody hashes them."""
    (copy / "weights.bin").write_bytes(b"1234")
    with pytest.raises(BadInput, match=r"weights\.bin does not belong to the bundle"):
        ski_edge.open_bundle(copy)
    assert not is_bundle(copy)


def write_npy(folder, name, value):
    np.save(folder / name, value)
    resign(folder, name)


def resign(folder, name):
    """What an attacker, or a well-meaning editor, does: fit the hashes to the changed file."""
    entry = {"sha256": sha256_file(folder / name), "bytes": (folder / name).stat().st_size}
    edit(folder, lambda m: m["files"].update({name: entry}))


def write_file(folder, name, content):
    (folder / name).write_bytes(content)
    resign(folder, name)


def swap_graphs(folder):
    data = (folder / "model.onnx").read_bytes()
    write_file(folder, "model.onnx", (folder / "text_encoder.onnx").read_bytes())
    write_file(folder, "text_encoder.onnx", data)


@pytest.mark.parametrize(
    ("damage", "says"),
    [
        (lambda f: write_npy(f, "labels.npy", np.full((60, 64), "x")), "must hold finite float32 numbers"),
        (lambda f: write_npy(f, "labels.npy", np.full((60, 64), np.nan, np.float32)), "must hold finite float32"),
        (
            lambda f: write_npy(f, "labels.npy", np.zeros((59, 64), np.float32)),
            "labels.json and the manifest say [60, 64]",
        ),
        (lambda f: write_file(f, "labels.npy", b"PK\x03\x04 garbage"), "labels.npy is not an array file"),
        (lambda f: write_file(f, "labels.npy", b"\x93NUMPY\x01\x00v\x00{"), "labels.npy is not an array file"),
        (lambda f: write_file(f, "labels.json", b'[{"prompts": 3}]'), "labels.json"),
        (lambda f: write_file(f, "labels.json", b"[" * 100_000), "is not usable JSON"),
        (lambda f: write_file(f, "model.onnx", b"garbage"), "model.onnx does not load as ONNX"),
        (swap_graphs, "model.onnx has tensors"),
        (lambda f: edit(f, lambda m: m.update(embed_dim=32)), "the manifest says"),
        (lambda f: edit(f, lambda m: m["preprocessing"].update(crop=100)), "model.onnx has tensors"),
        (lambda f: edit(f, lambda m: m["preprocessing"].update(resize_short=10**9)), "resize_short"),
        (lambda f: edit(f, lambda m: m["preprocessing"].update(crop=300)), "larger than the resized short side"),
        (lambda f: edit(f, lambda m: m.update(score_scale=-1)), "score_scale"),
        (lambda f: edit(f, lambda m: m.update(score_scale=1e308)), "score_scale"),
        (lambda f: edit(f, lambda m: m["video"].update(window_s=1e-300)), "window_s"),
        (lambda f: edit(f, lambda m: m["video"].update(window_frames=10**12)), "window_frames"),
        (lambda f: edit(f, lambda m: m["files"].pop("labels.npy")), "'labels.npy' is not listed under files"),
        (lambda f: edit(f, lambda m: m["files"].pop("tokenizer.json")), "'tokenizer.json' is not listed"),
    ],
)
def test_tampering_with_fitted_hashes_is_still_one_clear_line(copy, damage, says):
    damage(copy)
    with pytest.raises(BadInput) as error:
        ski_edge.open_bundle(copy)
    assert says in str(error.value)
    assert "\n" not in str(error.value)


def test_a_reference_that_cannot_be_read(copy):
    for content in (b"", b"PK", (copy / "labels.npy").read_bytes()):
        write_file(copy, "reference.npz", content)
        with pytest.raises(BadInput, match="cannot be read as the reference"):
            verify(ski_edge.open_bundle(copy))


def truncate(folder):
    path = folder / "model.onnx"
    path.write_bytes(path.read_bytes()[:1000])


def link(folder):
    (folder / "labels.npy").rename(folder.parent / "elsewhere.npy")
    (folder / "labels.npy").symlink_to(folder.parent / "elsewhere.npy")


@pytest.mark.parametrize(
    ("damage", "says"),
    [
        (truncate, "model.onnx has 1000 bytes, the manifest says"),
        (lambda f: (f / "labels.npy").unlink(), "labels.npy is missing; copy the whole folder again"),
        (link, "labels.npy is a symbolic link"),
        (lambda f: (f / "manifest.json").write_text("{"), "is not JSON"),
        (lambda f: (f / "manifest.json").write_text("[" * 100_000), "is not usable JSON"),
        (lambda f: (f / "manifest.json").write_text("[]"), "schema_version None, this ski-edge reads 1"),
        (lambda f: (f / "manifest.json").write_bytes(b"\xff\xfe{}"), "is UTF-16"),
        (lambda f: (f / "manifest.json").unlink(), "has no manifest.json"),
        (lambda f: edit(f, lambda m: m.update(schema_version=2)), "schema_version 2, this ski-edge reads 1"),
        (lambda f: edit(f, lambda m: m.update(colour=1)), "colour: Extra inputs are not permitted"),
        (
            lambda f: edit(f, lambda m: m["preprocessing"].update(std=[0, 1, 1])),
            "every std must be above 0 (at least 0.001)",
        ),
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
    truncate(copy)
    resign(copy, "model.onnx")
    with pytest.raises(BadInput, match=r"model\.onnx does not load as ONNX"):
        ski_edge.open_bundle(copy)


def test_what_is_not_a_bundle(tmp_path):
    with pytest.raises(BadInput, match="does not exist, and no bundle of this name ships"):
        ski_edge.open_bundle(tmp_path / "no")
    (tmp_path / "file").write_text("")
    with pytest.raises(BadInput, match="is a file; a bundle is the folder"):
        ski_edge.open_bundle(tmp_path / "file")
    with pytest.raises(BadInput, match=r"has no manifest\.json"):
        ski_edge.open_bundle(tmp_path)
