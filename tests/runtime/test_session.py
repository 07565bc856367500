from __future__ import annotations

import numpy as np
import pytest

import ski_edge
from ski_edge.errors import BadInput, DeviceRefused
from ski_edge.runtime.ort import Device, parse_device
from ski_edge.testing.clips import moving_shapes


def test_video_embedding_is_mean_then_norm(session, tiny_model):
    import torch

    clip = moving_shapes(16)
    rows = session.encode_frames(clip)
    assert rows.shape == (16, 64)
    got = session.encode_video(clip)
    mean = rows.mean(0)
    np.testing.assert_allclose(got, mean / np.linalg.norm(mean), rtol=1e-6)
    from ski_edge.runtime.preprocess import preprocess_clip

    with torch.no_grad():
        tensor = torch.from_numpy(preprocess_clip(clip, session.manifest.preprocessing))
        want = tiny_model.encode_video(tensor[None])[0].numpy()
    np.testing.assert_allclose(got, want, atol=1e-5)


def test_prediction_lists_every_label_best_first(session):
    result = session.predict(moving_shapes(40))
    assert len(result.labels) == len(set(result.labels)) == 60
    assert (np.diff(result.scores) <= 0).all()
    assert result.scores.sum() == pytest.approx(1, abs=1e-5)
    assert (np.abs(result.logits) <= 1 + 1e-6).all()
    assert result.label == result.labels[0]


def test_prediction_samples_by_time_when_it_is_given(session):
    clip = moving_shapes(32)
    even = session.predict(clip, timestamps=np.arange(32) / 30)
    # The second half of the clip ten times slower: sampling by time must weigh it more than sampling by number.
    slow = np.concatenate([np.arange(16) / 30, 16 / 30 + np.arange(16) / 3])
    late = session.predict(clip, timestamps=slow)
    tail = session.predict(clip[16:])
    order = np.argsort(tail.labels)

    def distance(a):
        return np.abs(a.logits[np.argsort(a.labels)] - tail.logits[order]).max()

    assert distance(late) < distance(even)


@pytest.mark.parametrize("times", [[0.0], list(range(31, -1, -1)), [float("nan")] * 32])
def test_wrong_timestamps(session, times):
    with pytest.raises(BadInput, match="32 ascending seconds"):
        session.predict(moving_shapes(32), timestamps=times)


def test_run_takes_exactly_the_graphs_tensors(session):
    with pytest.raises(BadInput, match="the graph refused"):
        session.run(np.zeros((1, 3, 100, 100), np.float32))
    with pytest.raises(BadInput, match="the graph refused"):
        session.run(np.zeros((1, 3, 224, 224), np.float64))


def test_text_of_any_count(session):
    assert session.encode_text([]).shape == (0, 64)
    one, many = session.encode_text(["a photo of a cat."]), session.encode_text(["a photo of a cat.", "x " * 90])
    np.testing.assert_allclose(one[0], many[0], atol=1e-6)


def test_devices_and_backends_that_are_not_there_are_errors(tiny_bundle):
    with pytest.raises(DeviceRefused, match="backend 'tensorrt' is not in this version, which has: onnxruntime"):
        ski_edge.open_bundle(tiny_bundle, backend="tensorrt")
    with pytest.raises(BadInput, match="device 'tpu' is not known"):
        ski_edge.open_bundle(tiny_bundle, device="tpu")
    import onnxruntime

    if "CUDAExecutionProvider" in onnxruntime.get_available_providers():
        pytest.skip("this machine has the CUDA provider, so its absence cannot be tested")
    for device in ("cuda", "cuda:0", "0"):
        with pytest.raises(DeviceRefused, match="has no CUDAExecutionProvider") as error:
            ski_edge.open_bundle(tiny_bundle, device=device)
        assert error.value.exit_code == 5


def test_a_provider_that_gives_way_to_another_is_refused(tiny_bundle, monkeypatch):
    """ONNX Runtime falls back to the CPU with a log line only; here that is an error, and `auto` knows before."""
    import onnxruntime

    from ski_edge.runtime import ort

    monkeypatch.setattr(
        onnxruntime, "get_available_providers", lambda: ["CUDAExecutionProvider", "CPUExecutionProvider"]
    )
    real = onnxruntime.InferenceSession
    cpu = ["CPUExecutionProvider"]
    monkeypatch.setattr(
        onnxruntime, "InferenceSession", lambda model, options, providers: real(model, options, providers=cpu)
    )
    ort.why_not_device.cache_clear()
    try:
        with pytest.raises(
            DeviceRefused, match="CUDAExecutionProvider does not start here; ONNX Runtime would fall back"
        ):
            ski_edge.open_bundle(tiny_bundle, device="cuda")
        assert str(ski_edge.open_bundle(tiny_bundle).device) == "cpu"
        # ... and a provider that starts for the probe but not for the model:
        monkeypatch.setattr(ort, "why_not_device", lambda device: "")
        with pytest.raises(DeviceRefused, match="asked for CUDAExecutionProvider on cuda:0, ONNX Runtime started CPU"):
            ski_edge.open_bundle(tiny_bundle, device="cuda")
    finally:
        monkeypatch.undo()
        ort.why_not_device.cache_clear()


def test_device_names():
    assert parse_device("cpu") == Device("cpu")
    assert parse_device("cuda:2") == parse_device("2") == Device("cuda", 2)
    for text in ("cpu:1", "cuda:x", "", "gpu", "²", "cuda:", "9999"):
        with pytest.raises(BadInput, match="is not known; use auto"):
            parse_device(text)


def test_without_onnxruntime_the_error_names_the_extra(without_torch, tiny_bundle):
    code = """
sys.modules["onnxruntime"] = None
import ski_edge
try:
    ski_edge.open_bundle(sys.argv[1])
except ski_edge.errors.SkiEdgeError as error:
    assert "pip install 'ski-edge[cpu]'" in str(error), error
else:
    raise AssertionError("opened without a runtime")
"""
    done = without_torch(code, tiny_bundle)
    assert done.returncode == 0, done.stderr
