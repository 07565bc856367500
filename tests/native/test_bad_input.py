"""What a user may get wrong with the native engine: tensors, options, bundles. Every error says what to do."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import ski_edge
from ski_edge import _native
from ski_edge.bundle.manifest import _digest, file_entry
from ski_edge.errors import BadInput, PrecisionNotRealised
from ski_edge.files import write_json
from ski_edge.runtime import find_bundle, open_bundle

pytestmark = pytest.mark.skipif(bool(_native.why_not_native()), reason=_native.why_not_native())

BAD_TENSORS = {
    "float64": (lambda x: x.astype(np.float64), r"must be float32 \[N, 3, T, 20, 1\].* got float64"),
    "list": (lambda x: x.tolist(), "got float64"),
    "no batch": (lambda x: x[0], r"got float32 \[3, 32, 20, 1\]; `run` takes it prepared"),
    "joints": (lambda x: x[:, :, :, 1:], r"got float32 \[1, 3, 32, 19, 1\]"),
    "no frame": (lambda x: x[:, :, :0], "T 1 to"),
    "endless": (lambda x: np.broadcast_to(np.float32(0), (1, 3, 1 << 31, 20, 1)), "T 1 to"),
    "NaN": (lambda x: x * np.nan, "clip 0 of skeleton holds NaN or infinity"),
    "gradients": (lambda x: torch.from_numpy(x).requires_grad_(), "skeleton must be an array"),
    "nothing": (lambda x: None, "got object"),
}


@pytest.mark.parametrize("backend", ["native", "onnxruntime"])
@pytest.mark.parametrize("kind", BAD_TENSORS)
def test_backends_refuse_the_same_in_the_same_words(backend, kind):
    """NaN above all: a ReLU would make zeros of it, and a confident answer."""
    change, part = BAD_TENSORS[kind]
    with pytest.raises(BadInput, match=part):
        open_bundle("utd27", backend, threads=1).run(skeleton=change(np.ones((1, 3, 32, 20, 1), np.float32)))


@pytest.mark.parametrize("backend", ["native", "onnxruntime"])
def test_awkward_memory_is_no_mistake(backend):
    session = open_bundle("utd27", backend, threads=1)
    clip = np.random.default_rng(0).normal(size=(1, 3, 32, 20, 1)).astype(np.float32)
    want = session.run(skeleton=clip)["logits"]
    odd = np.frombuffer(b"\0" + clip.tobytes(), np.uint8)[1:].view(np.float32).reshape(clip.shape)  # read-only, too
    for given in (odd, np.asfortranarray(clip), np.repeat(clip, 2, axis=2)[:, :, ::2], torch.from_numpy(clip)):
        np.testing.assert_array_equal(session.run(skeleton=given)["logits"], want)


@pytest.mark.slow
def test_persons_is_one_number(tmp_path):
    model = ski_edge.create_model("ctrgcn", seed=0, arch="tiny", num_classes=12, layout="ntu25")
    session = open_bundle(ski_edge.export_model(model, tmp_path / "bundle"), "native", threads=1)
    clip = np.random.default_rng(0).normal(size=(2, 3, 8, 25, 2)).astype(np.float32)
    for wrong in (0, 3, 1.0, [1, 1], None):
        with pytest.raises(BadInput, match="persons must be one whole number from 1 to 2"):
            session.run(skeleton=clip, persons=wrong)
    assert session.run(skeleton=clip, persons=2)["logits"].shape == (2, 12)


@pytest.mark.parametrize(
    ("options", "part"),
    [
        ({"backend": "Native"}, "backend 'Native' is not known; use auto, onnxruntime, native or cuda"),
        ({"backend": "native", "threads": 1.5}, "threads must be 0 .* got 1.5"),
        ({"backend": "onnxruntime", "threads": 10_000}, "threads must be 0 .* got 10000"),  # it would start them
        ({"device": None}, "device None is not known"),
        ({"precision": "BF16"}, "precision 'BF16' is not known; use fp32, fp16 or bf16"),
    ],
)
def test_wrong_options_are_named(options, part):
    with pytest.raises(BadInput, match=part):
        open_bundle("utd27", **options)


def test_an_instruction_set_without_bfloat16_is_not_overruled(monkeypatch, cli):
    monkeypatch.setenv("SKI_EDGE_ISA", "baseline")
    with pytest.raises(PrecisionNotRealised, match=r"SKI_EDGE_ISA=baseline|no kernels for bfloat16"):
        open_bundle("utd27", "native", precision="bf16")
    assert cli("verify", "utd27", "--precision", "bf16")[0] == 4


def changed_bundle(folder: Path, change: Callable[[dict[str, Any]], object], weights: bytes | None = None) -> Path:
    """A copy of utd27 with another manifest, whose hashes are right again: what is wrong lies behind them."""
    shutil.copytree(find_bundle("utd27"), folder)
    if weights is not None:
        (folder / "model.safetensors").write_bytes(weights)
    fields = json.loads((folder / "manifest.json").read_text())
    del fields["sha256"]
    fields["files"]["model.safetensors"] = file_entry(folder / "model.safetensors").model_dump()
    change(fields)
    write_json(folder / "manifest.json", {**fields, "sha256": _digest(fields)})
    return folder


def test_a_bundle_of_before_the_native_engine(tmp_path, fails_clean):
    old = changed_bundle(tmp_path / "old", lambda fields: fields.pop("native"))
    assert open_bundle(old).backend == "onnxruntime"
    fails_clean("verify", old, "--backend", "native", says="before there was a native engine; export it again", code=5)
    fails_clean("verify", old, "--precision", "bf16", says="export it again); use fp32", code=4)


def test_damaged_weights_are_named(tmp_path, fails_clean):
    whole = (find_bundle("utd27") / "model.safetensors").read_bytes()
    damages = {
        "half": (whole[: len(whole) // 2], "the file is cut off or damaged: copy it again"),
        "empty": (b"", "must be a safetensors file, got only 0 bytes"),
        "garbage": (b"\xff" * 1000, "cut off, a Git LFS pointer or no safetensors file"),
        "nan": (whole[:-4000] + b"\xff" * 4000, "weights hold NaN or infinity"),
    }
    for name, (weights, says) in damages.items():
        bundle = changed_bundle(tmp_path / name, lambda fields: None, weights)
        fails_clean("verify", bundle, "--backend", "native", says=says)
    for name, value, says in (("num_classes", 5, "head.weight has shape"), ("embed_dim", 7, "the manifest says 7")):
        bundle = changed_bundle(tmp_path / name, lambda fields, key=name, to=value: fields.update({key: to}))
        fails_clean("verify", bundle, "--backend", "native", says=says)
