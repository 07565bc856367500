"""Which frames, which pixels: the official rules by their numbers, by the runtime, and by independent ways."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from ski_edge.contracts import Preprocessing
from ski_edge.data.video import crops, sampling
from ski_edge.data.video.views import Views, view_batches, view_clip
from ski_edge.errors import BadInput
from ski_edge.runtime.preprocess import preprocess_clip, sample_indices
from ski_edge.testing.clips import moving_shapes


@pytest.mark.parametrize(
    ("length", "frames", "expected"),
    [  # ski.md 3.5
        (100, 16, "3 9 15 21 28 34 40 46 53 59 65 71 78 84 90 96"),
        (10, 16, "0 0 1 2 2 3 4 4 5 5 6 7 7 8 9 9"),
        (97, 8, "6 18 30 42 54 66 78 90"),
    ],
)
def test_official_test_indices(length, frames, expected):
    assert sampling.segments_test(length, frames).tolist() == [int(x) for x in expected.split()]


def test_test_indices_are_the_runtimes():
    for length in range(1, 400):
        for frames in (1, 3, 8, 16, 32):
            np.testing.assert_array_equal(sampling.segments_test(length, frames), sample_indices(length, frames))


@pytest.mark.parametrize("length", [1, 2, 15, 16, 17, 31, 32, 100, 301])
def test_segments_train_is_the_official_rule(length):
    frames, part = 16, length // 16
    seen = set()
    for seed in range(300):
        got = sampling.segments_train(length, frames, np.random.default_rng(seed))
        assert got.dtype == np.int64
        if part:
            assert np.all((got >= np.arange(16) * part) & (got < (np.arange(16) + 1) * part))
        else:  # Python rounds half to even, as numpy does
            assert got.tolist() == [round(i * length / 16) % length for i in range(16)]
        seen.update(got.tolist())
    if part:
        assert seen == set(range(part * 16))


def test_several_views_of_segments_are_evenly_placed():
    views = [sampling.segments_test(320, 8, view, 4) for view in range(4)]
    np.testing.assert_array_equal(np.stack(views), np.arange(8) * 40 + np.array([[5], [15], [25], [35]]))
    np.testing.assert_array_equal(sampling.segments_test(100, 16, 0, 1), sampling.segments_test(100, 16))


def test_stride_takes_a_stretch():
    assert sampling.stride_test(200, 4, 10).tolist() == [80, 93, 106, 119]  # 40 frames in the middle, both ends taken
    ends = [sampling.stride_test(200, 4, 10, view, 3)[[0, -1]].tolist() for view in range(3)]
    assert ends == [[0, 39], [80, 119], [160, 199]]
    starts = [int(sampling.stride_train(200, 4, 10, np.random.default_rng(seed))[0]) for seed in range(200)]
    assert min(starts) < 10
    assert max(starts) > 150
    assert max(starts) <= 160
    assert sampling.stride_test(5, 8, 16).tolist() == [0, *[4] * 7]  # shorter than the stretch: the last frame stays
    assert sampling.stride_test(9, 1, 4, 0, 2).tolist() == [0]


@pytest.mark.parametrize("length", [1, 2, 7, 50])
def test_no_index_leaves_the_clip(length):
    rng = np.random.default_rng(0)
    for frames in (1, 5, 16):
        every = [sampling.segments_train(length, frames, rng), sampling.stride_train(length, frames, 3, rng)]
        for views in (1, 2, 3):
            for view in range(views):
                every.append(sampling.segments_test(length, frames, view, views))
                every.append(sampling.stride_test(length, frames, 3, view, views))
        for got in every:
            assert len(got) == frames
            assert got.min() >= 0
            assert got.max() < length


def test_what_cannot_be_sampled():
    with pytest.raises(BadInput, match="at least one frame"):
        sampling.segments_test(0, 8)
    with pytest.raises(BadInput, match="view 2 of 2"):
        sampling.stride_test(9, 8, 2, 2, 2)
    with pytest.raises(BadInput, match="0 frames"):
        sampling.segments_train(9, 0, np.random.default_rng(0))


class Memory:
    """Clips in memory."""

    def __init__(self, clips):
        self.clips, self.names = clips, tuple(map(str, range(len(clips))))
        self.classes, self.labels = ("a",), np.zeros(len(clips), np.int64)

    def length(self, clip):
        return len(self.clips[clip])

    def read(self, clip, indices):
        return self.clips[clip][indices]


@pytest.mark.parametrize("size", [(240, 320), (100, 50), (64, 64), (41, 97)])
def test_test_pipeline_is_the_runtimes(size):
    spec = Preprocessing(resize_short=64, crop=56)
    clip = moving_shapes(20, *size)
    got = view_clip(Memory([clip]), 0, Views(frames=8, preprocessing=spec))
    want = preprocess_clip(clip[sample_indices(20, 8)], spec)
    assert got.shape == (1, 8, 56, 56, 3)
    levels = want * np.array(spec.std)[:, None, None] + np.array(spec.mean)[:, None, None]
    np.testing.assert_array_equal(got[0], np.rint(levels).transpose(0, 2, 3, 1))


def test_views_are_temporal_outside_and_crops_inside():
    clip = moving_shapes(40, 48, 96)
    views = Views(frames=4, preprocessing=Preprocessing(resize_short=40, crop=32), temporal=4, crops=3)
    ((which, batch),) = view_batches(Memory([clip]), np.array([0]), views, batch_size=3)
    assert (which.tolist(), batch.shape) == ([0], (1, 12, 4, 32, 32, 3))
    for view in range(4):
        frames = crops.resize_short(clip[sampling.segments_test(40, 4, view, 4)], 32)
        assert frames.shape == (4, 32, 64, 3)
        for crop, left in enumerate((0, 32, 16)):
            np.testing.assert_array_equal(batch[0, view * 3 + crop], frames[:, :, left : left + 32])


def test_three_crops_of_tall_frames():
    frames = moving_shapes(1, 80, 30)
    got = crops.three_crops(frames, 30)
    for square, top in zip(got, (0, 50, 25), strict=True):
        np.testing.assert_array_equal(square, frames[:, top : top + 30])
    with pytest.raises(BadInput, match="short side of 20"):
        crops.three_crops(frames, 20)


def ramp(height, width):
    """A frame whose red is its row and green its column."""
    frame = np.zeros((2, height, width, 3), np.uint8)
    frame[..., 0], frame[..., 1] = np.arange(height)[:, None], np.arange(width)
    return frame


def test_multi_scale_crop_draws_every_box_at_every_place():
    frames, size = ramp(64, 96), 56
    found = set()
    for seed in range(400):
        got = crops.multi_scale_crop(frames, size, np.random.default_rng(seed), (1.0, 0.875, 0.75, 0.66), 1)
        assert got.shape == (2, size, size, 3)
        np.testing.assert_array_equal(got[0], got[1])  # the same for all frames
        rows, columns = got[0, :, 0, 0].astype(int), got[0, 0, :, 1].astype(int)
        found.add((rows[0], rows[-1] + 1, columns[0], columns[-1] + 1))
    want = set()
    sides = (64, 56, 48, 42)  # of the short side 64; 56 is the crop itself
    for i, h in enumerate(sides):
        for j, w in enumerate(sides):
            if abs(i - j) <= 1:
                down, right = (64 - h) // 4, (96 - w) // 4
                for x, y in ((0, 0), (4, 0), (0, 4), (4, 4), (2, 2)):
                    want.add((y * down, y * down + h, x * right, x * right + w))
    # Stretching moves the outermost pixel by up to one.
    assert all(any(np.abs(np.subtract(box, other)).max() <= 1 for other in want) for box in found)
    assert all(any(np.abs(np.subtract(box, other)).max() <= 1 for other in found) for box in want)


def test_multi_scale_crop_does_not_stretch_by_a_hair():
    frames = ramp(58, 58)
    got = crops.multi_scale_crop(frames, 56, np.random.default_rng(0), (1.0,), 0)
    assert {tuple(np.unique(np.diff(got[0, :, 0, 0].astype(int))))} == {(1,)}


def test_jitter_crop_resizes_and_moves():
    frames = ramp(60, 80)
    spans, corners = set(), set()
    for seed in range(200):
        got = crops.jitter_crop(frames, 56, (56, 112), np.random.default_rng(seed))
        assert got.shape == (2, 56, 56, 3)
        rows = got[0, :, 0, 0].astype(int)
        spans.add(int(rows[-1] - rows[0]))
        corners.add((int(rows[0]), int(got[0, 0, 0, 1])))
    assert min(spans) < 35  # at short side 112, half of the frame
    assert max(spans) > 55
    assert len(corners) > 50


def test_resize_is_opencvs_and_flip_mirrors():
    frames = moving_shapes(3, 50, 70)
    got = crops.resize_short(frames, 31)
    assert got.shape == (3, 31, 43, 3)
    np.testing.assert_array_equal(got[2], cv2.resize(frames[2], (43, 31), interpolation=cv2.INTER_LINEAR))
    strided = crops.resize(crops.flip(frames)[:, ::2], 20, 20)
    np.testing.assert_array_equal(strided, crops.resize(np.ascontiguousarray(frames[:, ::2, ::-1]), 20, 20))
    assert crops.resize_short(frames, 50) is frames
    with pytest.raises(BadInput, match="does not fit into frames of 50 x 70"):
        crops.centre_crop(frames, 51)
