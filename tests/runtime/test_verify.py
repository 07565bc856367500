from __future__ import annotations

import json

import numpy as np
import pytest

from ski_edge.errors import ParityFailed
from ski_edge.runtime.verify import compare, difference, read_reference, verify


def test_exported_bundle_passes(session):
    parity = verify(session)
    assert parity.passed
    assert parity.reference == "reference.npz"
    assert parity.frames.relative_error < 1e-5
    assert parity.labels.min_cosine > 0.999999
    assert parity.decided_frames > 0
    json.dumps(parity.as_dict())


@pytest.mark.parametrize("size", [3e-4, 1e-2, np.nan])
def test_small_errors_are_found(session, size):
    frames, expected, inputs = read_reference(session)
    wrong = expected.copy()
    wrong[3, 5] += size * np.abs(expected).max()
    parity = compare(session, frames, wrong, "reference.npz", inputs)
    assert not parity.passed
    with pytest.raises(
        ParityFailed, match=r"parity failed against reference\.npz on onnxruntime/cpu: frame embeddings off"
    ):
        parity.check()


def test_wrong_preprocessing_is_found(session):
    """Swapped colours must fail: parity starts at raw frames."""
    frames, expected, inputs = read_reference(session)
    swapped = [np.ascontiguousarray(frame[:, :, ::-1]) for frame in frames]
    assert not compare(session, swapped, expected, "reference.npz", inputs).passed


def test_other_embedding_size_is_a_parity_failure(session):
    frames, expected, inputs = read_reference(session)
    with pytest.raises(ParityFailed, match=r"gives embeddings \[8, 64\]"):
        compare(session, frames, expected[:, :32], "reference.npz", inputs)


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
    assert (code, result["reference"], result["inputs"]) == (0, "live torch model", "real clips")
    # Other weights are another model: exit code 3.
    code, out, err = cli("verify", tiny_bundle, "--weights", "random")
    assert code == 3
    assert "parity failed against live torch model" in err
    code, out, err = cli("verify", tiny_bundle, "--clips", videos)
    assert code == 2
    assert "--clips needs --weights" in err
