from __future__ import annotations

import numpy as np
import pytest
import torch

from ski_edge.contracts import Preprocessing
from ski_edge.errors import BadInput
from ski_edge.runtime.preprocess import preprocess_clip, preprocess_frame, sample_indices
from ski_edge.testing.clips import moving_shapes

SPEC = Preprocessing()


def reference(frame: np.ndarray) -> np.ndarray:
    """The same steps written independently, in float64 torch."""
    height, width = frame.shape[:2]
    scale = 256 / min(height, width)
    size = (int(height * scale + 0.5), int(width * scale + 0.5))
    x = torch.from_numpy(frame).permute(2, 0, 1)[None].double()
    x = torch.nn.functional.interpolate(x, size=size, mode="bilinear", align_corners=False, antialias=False)[0]
    top, left = (size[0] - 224) // 2, (size[1] - 224) // 2
    x = x[:, top : top + 224, left : left + 224]
    mean, std = torch.tensor(SPEC.mean, dtype=torch.float64), torch.tensor(SPEC.std, dtype=torch.float64)
    return ((x - mean[:, None, None]) / std[:, None, None]).numpy()


@pytest.mark.parametrize("size", [(240, 320), (480, 640), (1080, 1920), (640, 360), (256, 256), (50, 50), (257, 991)])
def test_equals_an_independent_implementation(size):
    frame = moving_shapes(1, *size)[0]
    got = preprocess_frame(frame, SPEC)
    assert got.dtype == np.float32
    assert got.shape == (3, 224, 224)
    # OpenCV rounds the resized pixel to an integer (half a grey level) and its weights to 11 bits (a quarter).
    levels = np.abs(got - reference(frame)) * np.array(SPEC.std)[:, None, None]
    assert levels.max() < 1
    assert levels.mean() < 0.3


def test_constant_frames_are_exact():
    frame = np.empty((240, 320, 3), np.uint8)
    frame[:] = (10, 100, 200)
    got = preprocess_frame(frame, SPEC)
    want = [(10 - 123.675) / 58.395, (100 - 116.28) / 57.12, (200 - 103.53) / 57.375]
    np.testing.assert_allclose(got, np.broadcast_to(np.array(want)[:, None, None], got.shape), rtol=1e-6)


def test_colours_are_rgb_and_not_swapped():
    frame = np.zeros((240, 320, 3), np.uint8)
    frame[:, :, 0] = 255
    got = preprocess_frame(frame, SPEC)
    assert (got[0] > 2).all()
    assert (got[2] < 0).all()


def test_strided_and_readonly_frames():
    clip = moving_shapes(2, 240, 640)
    view = clip[0, :, ::2][:, ::-1]
    view.flags.writeable = False
    np.testing.assert_array_equal(preprocess_frame(view, SPEC), preprocess_frame(np.ascontiguousarray(view), SPEC))


@pytest.mark.parametrize(
    "frame",
    [
        np.zeros((240, 320), np.uint8),
        np.zeros((240, 320, 4), np.uint8),
        np.zeros((240, 320, 3), np.float32),
        np.zeros((0, 320, 3), np.uint8),
        "frame.png",
        None,
    ],
)
def test_other_things_are_refused(frame):
    with pytest.raises(BadInput, match="must be uint8"):
        preprocess_frame(frame, SPEC)


def test_empty_clip_is_refused():
    with pytest.raises(BadInput, match="at least one frame"):
        preprocess_clip(np.zeros((0, 240, 320, 3), np.uint8), SPEC)


@pytest.mark.parametrize(
    ("frames", "window", "expected"),
    [  # ski.md 3.5
        (100, 16, "3 9 15 21 28 34 40 46 53 59 65 71 78 84 90 96"),
        (10, 16, "0 0 1 2 2 3 4 4 5 5 6 7 7 8 9 9"),
        (97, 8, "6 18 30 42 54 66 78 90"),
    ],
)
def test_frame_sampling_equals_the_official_indices(frames, window, expected):
    assert sample_indices(frames, window).tolist() == [int(x) for x in expected.split()]
