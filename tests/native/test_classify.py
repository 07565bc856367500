"""A device without Python: csrc's `prepare` is Python's, `classify` says what a session says, bad input is one line."""

from __future__ import annotations

import itertools
import json
import os
import shutil
import subprocess
from hashlib import sha256
from pathlib import Path

import numpy as np
import pytest

import ski_edge
from ski_edge.skeleton import LAYOUTS, SkeletonInput, prepare
from ski_edge.skeleton.modalities import MODALITIES
from ski_edge.testing.skeletons import moving_skeleton

ROOT = Path(__file__).resolve().parents[2]
BUILD = ROOT / os.environ.get("SKI_EDGE_NATIVE_BUILD", "build/native/csrc")
UTD27 = ROOT / "ski_edge" / "zoo" / "utd27"
UPRIGHT = ("spine_base", "spine_mid", "left_shoulder", "right_shoulder")
RESAMPLES = (
    *({"name": "crop-resize", "frames": frames, "keep": keep} for frames, keep in ((64, 0.95), (16, 0.3), (1, 1.0))),
    *({"name": "even-sample", "frames": frames} for frames in (1, 52)),
    {"name": "uniform-sample", "frames": 100},
    *({"name": "zero-pad", "frames": frames} for frames in (16, 80)),
    *({"name": "fixed-seconds", "frames": frames, "seconds": s, "fps": 15.0} for frames, s in ((32, 2.0), (7, 0.3))),
)


def run(program: str, *arguments: object, cwd: Path | None = None) -> subprocess.CompletedProcess[bytes]:
    path = BUILD / program
    if not path.is_file():
        pytest.skip(f"{path} is not built; run `make test-native`, or set SKI_EDGE_NATIVE_BUILD")
    return subprocess.run([path, *map(str, arguments)], cwd=cwd, capture_output=True, timeout=300)


def write_bundle(folder: Path, template: dict, spec: SkeletonInput) -> None:
    """A bundle as far as `prepare` is concerned: one that was exported, with another skeleton and no weights."""
    layout = spec.layout
    named = set(UPRIGHT) <= set(layout.joints)
    joints = {"upright": [layout.index(name) for name in UPRIGHT] if named else []}
    joints |= {"parents": layout.parents, "centre": layout.centre}
    folder.mkdir()
    files = {"labels.json": json.dumps([{"name": "a", "prompts": []}]), template["weights"]: "none"}
    for name, text in files.items():
        (folder / name).write_text(text)
    manifest = {
        **template,
        "skeleton": spec.model_dump(mode="json"),
        "native": {**template["native"], **joints},
        "num_classes": 1,
        "files": {name: {"sha256": sha256(text.encode()).hexdigest()} for name, text in files.items()},
    }
    (folder / "manifest.json").write_text(json.dumps(manifest))


def clip_of(layout, rng: np.random.Generator) -> np.ndarray:
    """Any length, 1 to 3 bodies, body 1 absent for a while, nobody at the ends, any type."""
    frames, persons = int(rng.choice([1, 2, 31, 64, 65, 150])), int(rng.integers(1, 4))
    clip = moving_skeleton(layout, frames, persons, seed=int(rng.integers(1000)))
    if frames > 2:
        clip[frames // 3 : frames // 2, 0] = 0
        clip[: rng.integers(0, 3)] = 0
        clip[frames - rng.integers(0, 3) :] = 0
    if persons > 1 and rng.random() < 0.3:
        clip[:, 1:] = 0
    kind = rng.choice(["<f4", "<f4", "<f8", "<i2"])
    return (clip * 100 if kind == "<i2" else clip).astype(kind)


def every_spec() -> list[SkeletonInput]:
    options = {
        "centre": ("none", "first-frame", "each-frame"),
        "align": ("none", "upright"),
        "scale": ("none", "box", "bone"),
        "second_body": ("zeros", "copy"),
        "resample": RESAMPLES,
        "modality": MODALITIES,
        "root_trajectory": (False, True),
    }
    standing = [name for name, layout in LAYOUTS.items() if set(UPRIGHT) <= set(layout.joints)]
    specs = []
    for number, values in enumerate(itertools.product(*options.values())):
        fields = dict(zip(options, values, strict=True))
        names = standing if fields["align"] == "upright" else list(LAYOUTS)
        specs.append(SkeletonInput(layout=names[number % len(names)], persons=1 + number % 3, **fields))
    return specs


def test_prepare_is_pythons(tmp_path):
    """Every combination of options. Exact but for sums that numpy's matrix product and mean add up in other orders."""
    template = json.loads((UTD27 / "manifest.json").read_text())
    rng = np.random.default_rng(0)
    specs = every_spec()
    chosen = [specs[i] for i in rng.permutation(len(specs))[: int(os.environ.get("SKI_EDGE_COMBINATIONS", 500))]]
    arguments, wanted = [], []
    for number, spec in enumerate(chosen):
        clip = clip_of(spec.layout, rng)
        if not clip[:, 0].any():
            clip[0, 0] = moving_skeleton(spec.layout, 1)[0, 0] * 100
        write_bundle(tmp_path / f"b{number}", template, spec)
        np.save(tmp_path / f"{number}.npy", clip)
        arguments += [f"b{number}", f"{number}.npy"]
        wanted.append(prepare(clip, spec))
    done = run("prepare_dump", *arguments, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    got = np.frombuffer(done.stdout, np.float32)
    assert got.size == sum(array.size for array in wanted)
    exact = 0
    for spec, want, part in zip(chosen, wanted, np.split(got, np.cumsum([w.size for w in wanted])[:-1]), strict=True):
        error = np.abs(part.reshape(want.shape) - want).max()
        exact += error == 0
        # A bone or a motion is a difference of numbers that may each be one float away.
        assert error <= 4 * np.spacing(np.abs(want).max()), spec
        if spec.align == "none" and spec.scale != "bone":
            assert error == 0, spec
    assert exact >= 0.9 * len(wanted), exact


SPECS = {
    "ntu": {"layout": "ntu25"},
    "ucla": {
        "layout": "kinect20",
        "persons": 1,
        "scale": "box",
        "modality": "bone",
        "resample": {"name": "even-sample", "frames": 52},
    },
}


# Exports take their time: `make test` has the shipped bundle, these two are for `make test-all`.
@pytest.fixture(scope="module", params=[pytest.param(name, marks=pytest.mark.slow) for name in ("ntu", "ucla")])
def bundle(request, tmp_path_factory) -> Path:
    """A tiny network with random weights whose norms and gates are as lively as trained ones."""
    import torch

    spec = SPECS[request.param]
    model = ski_edge.create_model("ctrgcn", seed=0, num_classes=7, layout=spec["layout"], arch="tiny", skeleton=spec)
    generator = torch.Generator().manual_seed(1)
    for tensor in model.state_dict().values():
        if tensor.ndim == 1 and tensor.is_floating_point():
            tensor.add_(0.3 * torch.rand(tensor.shape, generator=generator))
    return ski_edge.export_model(model, tmp_path_factory.mktemp("classify") / request.param)


def classify(*arguments: object) -> list[tuple[float, str]]:
    """Scores and labels, best first."""
    done = run("classify", *arguments)
    assert done.returncode == 0, done.stderr
    assert done.stderr.startswith(b"network: ")
    lines = [line.split(maxsplit=1) for line in done.stdout.decode().splitlines()]
    return [(float(score), label) for score, label in lines]


def test_says_what_a_session_says(bundle, tmp_path):
    session = ski_edge.open_bundle(bundle, backend="onnxruntime")
    for frames, persons in ((1, 1), (40, 1), (90, 2)):
        clip = moving_skeleton(session.manifest.skeleton.layout, frames, persons, seed=frames)
        np.save(tmp_path / "clip.npy", clip)
        wanted = session.predict(clip)
        got = classify(bundle, tmp_path / "clip.npy", "--threads", 2, "--top", 99)
        assert [label for _, label in got] == wanted.labels
        np.testing.assert_allclose([score for score, _ in got], wanted.scores, atol=2e-6)
        first = classify(bundle, tmp_path / "clip.npy", "--isa", "scalar", "--top", 1)
        assert first == [(pytest.approx(got[0][0], abs=2e-6), got[0][1])]


def test_knows_the_activities_of_the_shipped_bundle(tmp_path):
    """Trained weights, real clips; torch's logits, which weights stored as float16 come close to."""
    reference = np.load(UTD27 / "reference.npz")
    session = ski_edge.open_bundle(UTD27, backend="onnxruntime")
    clips = np.split(reference["skeletons"], np.cumsum(reference["lengths"])[:-1])
    for clip, logits in list(zip(clips, reference["logits"], strict=True))[::4]:
        np.save(tmp_path / "clip.npy", clip)
        got = classify(UTD27, tmp_path / "clip.npy", "--threads", 1)
        assert len(got) == 5
        assert got[0][1] == session.classes[logits.argmax()]
        assert got[0][0] == pytest.approx(session.score(logits).max(), abs=0.02)


def fails(says: str, *arguments: object) -> None:
    """Exit code 2, nothing on stdout, one line on stderr."""
    done = run("classify", *arguments)
    lines = done.stderr.decode().splitlines()
    assert (done.returncode, done.stdout, len(lines)) == (2, b"", 1), done
    assert lines[0].startswith("error: ")
    assert says in lines[0], lines[0]


@pytest.fixture
def clip(tmp_path) -> Path:
    path = tmp_path / "clip.npy"
    np.save(path, moving_skeleton(LAYOUTS["kinect20"], 40))
    return path


@pytest.fixture
def damaged(tmp_path) -> Path:
    return Path(shutil.copytree(UTD27, tmp_path / "bundle"))


def test_refuses_bad_bundles(damaged, clip, tmp_path):
    fails("does not exist; make one with: ski-edge export", tmp_path / "none", clip)
    weights = damaged / "model.safetensors"
    content = weights.read_bytes()
    weights.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    fails("model.safetensors was changed after export (its sha256 differs); copy the bundle again", damaged, clip)
    weights.unlink()
    fails("model.safetensors does not exist", damaged, clip)
    weights.write_bytes(content)
    manifest = json.loads((damaged / "manifest.json").read_text())
    (damaged / "manifest.json").write_text(json.dumps({**manifest, "native": None}))
    fails("exported before there was a native engine; export it again", damaged, clip)
    (damaged / "manifest.json").write_text(json.dumps({**manifest, "num_classes": 29}))
    fails("has 28 names, the manifest says 29 classes", damaged, clip)
    (damaged / "manifest.json").write_text("{")
    fails("manifest.json: line 1, column 2", damaged, clip)
    (damaged / "manifest.json").unlink()
    fails("has no manifest.json", damaged, clip)


def test_refuses_bad_skeletons(tmp_path):
    path = tmp_path / "clip.npy"
    good = moving_skeleton(LAYOUTS["kinect20"], 40)

    def refuses(array: np.ndarray, says: str) -> None:
        np.save(path, array)
        fails(says, UTD27, path)

    refuses(moving_skeleton(LAYOUTS["ntu25"], 40), "must be [T, M, 20, 3] (kinect20), got [40, 1, 25, 3]")
    refuses(good[:, 0], "must be [T, M, 20, 3] (kinect20), got [40, 20, 3]")
    refuses(good[:0], "got [0, 1, 20, 3]")
    refuses(np.where(np.arange(40)[:, None, None, None] == 7, np.nan, good), "frame 7 of the skeleton holds NaN")
    refuses(0 * good, "the skeleton is empty")
    refuses(np.asfortranarray(good), "it is in Fortran order; save numpy.ascontiguousarray(array)")
    refuses(good.astype(">f4"), "must hold little-endian float32")
    refuses(good.astype(object), "got '|O'")
    np.save(path, good)
    path.write_bytes(path.read_bytes()[:-4])
    fails("the file is cut off or damaged: copy it again", UTD27, path)
    path.write_text("0.1 0.2")
    fails("must be a .npy file", UTD27, path)
    fails("must be a file, it is a folder", UTD27, tmp_path)
    fails("does not exist", UTD27, tmp_path / "new\nline.npy")


def test_refuses_bad_options(clip):
    fails("needs a bundle and a skeleton, got 0 paths")
    fails("needs a bundle and a skeleton, got 3 paths", UTD27, clip, clip)
    fails("option --fast is not known", UTD27, clip, "--fast")
    fails("--top needs a value", UTD27, clip, "--top")
    for word in ("0", "-1", "two", "3x", "99999999999", ""):
        fails("--top must be a whole number of at least 1", UTD27, clip, "--top", word)
    fails("threads", UTD27, clip, "--threads", "100000")
    fails("instruction set 'mmx' is not known; the choices are: scalar", UTD27, clip, "--isa", "mmx")
    done = run("classify", "--help")
    assert done.returncode == 0
    assert done.stdout.startswith(b"usage: classify BUNDLE SKELETON.npy")
