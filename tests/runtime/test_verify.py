from __future__ import annotations

import copy
import json
from dataclasses import replace

import numpy as np
import pytest
import torch

import ski_edge
from ski_edge.errors import ParityFailed
from ski_edge.export.live import compare_video
from ski_edge.runtime.verify import compare, difference, read_reference, verify


def test_exported_bundle_passes(session):
    parity = verify(session)
    assert parity.passed
    assert parity.reference == "reference.npz"
    assert parity.parts["frames"].relative_error < 1e-5
    assert parity.parts["labels"].min_cosine > 0.999999
    assert parity.decided > 0
    json.dumps(parity.as_dict())


@pytest.mark.parametrize("size", [3e-4, 1e-2, np.nan])
@pytest.mark.parametrize("part", ["outputs", "labels"])
def test_small_errors_are_found(session, size, part):
    frames, inputs, expected = read_reference(session)
    rows = getattr(expected, part).copy()
    rows[3, 5] += size * np.abs(rows).max()
    parity = compare(session, frames, inputs, replace(expected, **{part: rows}))
    assert not parity.passed
    with pytest.raises(ParityFailed, match=r"parity failed against reference\.npz on onnxruntime/cpu") as error:
        parity.check()
    assert error.value.details["passed"] is False


def test_wrong_preprocessing_is_found(session):
    """Swapped colours must fail: parity starts at raw frames."""
    frames, inputs, expected = read_reference(session)
    swapped = [np.ascontiguousarray(frame[:, :, ::-1]) for frame in frames]
    assert not compare(session, swapped, inputs, expected).passed


def test_other_sizes_and_scales_are_parity_failures(session):
    frames, inputs, expected = read_reference(session)
    with pytest.raises(ParityFailed, match=r"frame embeddings are \[8, 64\]"):
        compare(session, frames, inputs, replace(expected, outputs=expected.outputs[:, :32]))
    with pytest.raises(ParityFailed, match="score_scale is 100 in the bundle, 1 in reference"):
        compare(session, frames, inputs, replace(expected, score_scale=1.0))


@pytest.mark.parametrize("part", ["text_projection", "ln_final.weight", "token_embedding.weight", "logit_scale"])
def test_another_text_tower_is_another_model(session, tiny_model, part):
    """The same image tower with a changed text half must not pass against the live model."""
    other = copy.deepcopy(tiny_model)
    with torch.no_grad():
        other.clip.state_dict()[part].reshape(-1)[::2].mul_(1.05)
    frames, inputs, _ = read_reference(session)
    try:
        passed = compare_video(session, other, frames, inputs).passed
    except ParityFailed:
        passed = False
    assert not passed


def test_difference_of_equal_arrays_is_zero():
    x = np.arange(12, dtype=np.float32).reshape(3, 4)
    d = difference(x, x)
    assert (d.max_abs_error, d.relative_error) == (0, 0)
    assert d.min_cosine == pytest.approx(1)


def test_command(cli, tiny_bundle, tiny_model, tmp_path, videos):
    from ski_edge.models import save_model

    code, out, _ = cli("verify", tiny_bundle)
    assert code == 0
    assert "passed" in out
    code, out, _ = cli("verify", tiny_bundle, "--json")
    assert json.loads(out)["passed"] is True
    save_model(tiny_model, tmp_path / "weights")
    code, out, _ = cli(
        "verify", tiny_bundle, "--weights", tmp_path / "weights", "--clips", videos / "mmaction2", "--json"
    )
    result = json.loads(out)
    assert code == 0
    got = [(parity["reference"], parity["inputs"]) for parity in result["comparisons"]]
    assert got == [("reference.npz", "generated frames"), ("live torch model", "real clips")]
    # Other weights are another model: exit code 3.
    (tmp_path / "other").mkdir()
    save_model(ski_edge.create_model("ski-vificlip", arch="tiny", seed=9), tmp_path / "other")
    code, out, err = cli("verify", tiny_bundle, "--weights", tmp_path / "other", "--json")
    assert code == 3
    assert "live torch model" in err
    assert json.loads(out)["exit_code"] == 3
    code, out, err = cli("verify", tiny_bundle, "--clips", videos)
    assert code == 2
    assert "--clips needs --weights" in err
