"""From joints in metres to a network's input: the feeders' golden numbers, every policy, bad input."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from ski_edge.errors import BadInput
from ski_edge.skeleton import LAYOUTS, SkeletonInput, prepare, to_modality
from ski_edge.skeleton.resample import CropResize, EvenSample, FixedSeconds, UniformSample, ZeroPad, neighbours, take
from ski_edge.testing.skeletons import moving_skeleton

NTU, KINECT = LAYOUTS["ntu25"], LAYOUTS["kinect20"]


@pytest.mark.parametrize(
    ("valid", "values", "total"),
    [
        (90, (1.547755, -0.223414, -0.953863, 0.033809), -150.379115),
        (40, (-0.895467, 0.189931, -0.6421, -0.029856), 21.727304),
    ],
)
def test_crop_resize_is_valid_crop_resize(valid, values, total):
    data = np.random.RandomState(0).standard_normal((3, 90, 25, 2)).astype(np.float32)
    clip = data[:, :valid].transpose(1, 3, 2, 0)
    got = take(clip, *neighbours(CropResize().positions(valid), valid))
    np.testing.assert_allclose([got[t, 0, 0, 0] for t in (0, 1, 31, 63)], values, atol=1e-6)
    assert got.sum() == pytest.approx(total, rel=1e-5)


@pytest.fixture(scope="module")
def hyperformer_clip():
    """The feeder's golden input: 117 valid frames of 300, [T, M, V, 3]."""
    x = (np.sin(0.013 * np.arange(3 * 300 * 25 * 2)).reshape(3, 300, 25, 2) + 0.5).astype(np.float32)
    x[:, 117:] = 0
    return x.transpose(1, 3, 2, 0)


def test_hyperformer_feeder(hyperformer_clip):
    plain = prepare(hyperformer_clip, SkeletonInput(layout="ntu25", centre="none"))
    assert plain.shape == (3, 64, 25, 2)
    assert plain.sum() == pytest.approx(4687.096, rel=1e-5)
    np.testing.assert_allclose(
        [plain[0, 0, 0, 0], plain[1, 10, 5, 1], plain[2, 63, 24, 0]], [1.450313, 1.226685, 0.0628003], rtol=1e-5
    )


@pytest.mark.parametrize(
    ("modality", "total", "values"),
    [
        ("joint", 224.983, {(1, 10, 5, 1): -0.202340, (1, 10, 20, 1): 1.429025}),
        ("bone", 185.662, {(1, 10, 20, 1): 1.429025}),
        ("joint_motion", -39.0046, {(1, 10, 5, 1): 0.413906}),
    ],
)
def test_hyperformer_streams(hyperformer_clip, modality, total, values):
    spec = SkeletonInput(layout="ntu25", centre="none", modality=modality, root_trajectory=True)
    got = prepare(hyperformer_clip, spec)
    assert got.sum() == pytest.approx(total, rel=1e-5)
    for place, value in values.items():
        assert got[place] == pytest.approx(value, rel=1e-4)


def test_modalities_are_what_their_names_say():
    clip = moving_skeleton(NTU, 12, persons=2)
    bone = to_modality(clip, NTU, "bone")
    assert not bone[..., 20, :].any()
    np.testing.assert_array_equal(bone[..., 3, :], clip[..., 3, :] - clip[..., 2, :])
    moved = to_modality(clip, NTU, "bone_motion")
    np.testing.assert_array_equal(moved[:-1], bone[1:] - bone[:-1])
    assert not moved[-1].any()
    same = to_modality(torch.from_numpy(clip), NTU, "bone_motion").numpy()
    np.testing.assert_array_equal(same, moved)


def test_ucla_feeder_is_centred_boxed_then_sampled():
    """The box is that of the whole clip, not of the frames that are taken."""
    clip = moving_skeleton(KINECT, 201)
    spec = SkeletonInput(layout="kinect20", persons=1, scale="box", resample=EvenSample())
    got = prepare(clip, spec)
    centred = clip[:, 0] - clip[0, 0, 1]
    low, high = centred.min(axis=(0, 1)), centred.max(axis=(0, 1))
    boxed = (centred - low) / (high - low) * 2 - 1
    wanted = boxed[np.floor(np.linspace(0, 200, 52)).astype(int)]
    np.testing.assert_allclose(got[..., 0].transpose(1, 2, 0), wanted, atol=1e-5)


@pytest.mark.parametrize("length", [1, 2, 6, 63, 64, 65, 300, 301])
@pytest.mark.parametrize("policy", [CropResize(), EvenSample(), UniformSample(), ZeroPad(), FixedSeconds()])
def test_every_policy_takes_any_length(policy, length):
    rng = np.random.default_rng(0)
    for positions in (policy.positions(length), policy.random_positions(length, rng)):
        real = positions[~np.isnan(positions)]
        assert len(positions) == policy.frames
        assert real.min() >= 0
        assert real.max() <= length - 1
        assert (np.diff(real) >= 0).all()


def test_zero_pad_fills_with_zeros_and_cuts():
    spec = SkeletonInput(layout="kinect20", persons=1, centre="none", resample=ZeroPad(frames=20))
    clip = moving_skeleton(KINECT, 30)
    short = prepare(clip[:7], spec)
    np.testing.assert_array_equal(short[:, :7, :, 0], clip[:7, 0].transpose(2, 0, 1))
    assert not short[:, 7:].any()
    np.testing.assert_array_equal(prepare(clip, spec)[:, -1, :, 0], clip[19, 0].T)


def test_fixed_seconds_follow_the_clock():
    """The same movement recorded at 15 and at 30 frames a second gives the same window."""
    spec = SkeletonInput(
        layout="kinect20", persons=1, centre="each-frame", resample=FixedSeconds(frames=16, seconds=2.0)
    )
    time = np.arange(91) / 30
    pose = moving_skeleton(KINECT, 1)[0, 0]
    clip = (pose * (1 + time[:, None, None]))[:, None].astype(np.float32)  # grows evenly, so interpolation is exact
    fast = prepare(clip, spec, time)
    slow = prepare(clip[::2], spec, time[::2])
    np.testing.assert_allclose(fast, slow, atol=1e-5)
    assert np.abs(prepare(clip, spec, time * 1.5) - fast).max() > 0.01


@pytest.mark.parametrize(
    ("times", "says"),
    [([0.0], "must be 2 ascending seconds"), ([1.0, 0.0], "ascending"), ([0.0, float("nan")], "ascending")],
)
def test_bad_timestamps(times, says):
    spec = SkeletonInput(layout="kinect20", persons=1, resample=FixedSeconds())
    with pytest.raises(BadInput, match=says):
        prepare(moving_skeleton(KINECT, 2), spec, np.array(times))


def test_centre_and_second_body():
    clip = moving_skeleton(NTU, 10, persons=2)
    clip[3:5, 1] = 0  # the second body is away for two frames
    first = prepare(clip, SkeletonInput(layout="ntu25", resample=ZeroPad(frames=10)))
    origin = clip[0, 0, 1]
    np.testing.assert_allclose(first[:, 0, :, 1], (clip[0, 1] - origin).T, atol=1e-6)
    assert not first[:, 3:5, :, 1].any()  # still away: its zeros are not moved
    alone = clip[:, :1]
    copied = prepare(alone, SkeletonInput(layout="ntu25", second_body="copy"))
    np.testing.assert_array_equal(copied[..., 0], copied[..., 1])
    assert not prepare(alone, SkeletonInput(layout="ntu25"))[..., 1].any()


def test_each_frame_forgets_where_the_person_is():
    clip = moving_skeleton(KINECT, 20)
    spec = SkeletonInput(layout="kinect20", persons=1, centre="each-frame", scale="bone", resample=FixedSeconds())
    away = clip + np.linspace(0, 5, 20, dtype=np.float32)[:, None, None, None]
    np.testing.assert_allclose(prepare(away, spec), prepare(clip, spec), atol=1e-4)
    np.testing.assert_allclose(prepare(clip * 1.7, spec), prepare(clip, spec), atol=1e-4)


def test_upright_is_pyskls_prenormalize():
    clip = moving_skeleton(NTU, 5)
    got = prepare(clip, SkeletonInput(layout="ntu25", align="upright", resample=ZeroPad(frames=5)))[:, 0, :, 0].T
    across = got[8] - got[4]
    np.testing.assert_allclose(
        across / np.linalg.norm(across), [1, 0, 0], atol=1e-5
    )  # the second turn has the last word
    np.testing.assert_allclose(
        np.linalg.norm(got[5] - got[4]), np.linalg.norm(clip[0, 0, 5] - clip[0, 0, 4]), rtol=1e-5
    )
    np.testing.assert_allclose(
        np.linalg.det(got[[7, 8, 3]]), np.linalg.det(clip[0, 0, [7, 8, 3]] - clip[0, 0, 1]), atol=1e-5
    )


def test_leading_and_trailing_empty_frames_are_cut():
    clip = moving_skeleton(KINECT, 20)
    padded = np.concatenate([np.zeros_like(clip[:4]), clip, np.zeros_like(clip[:9])])
    spec = SkeletonInput(layout="kinect20", persons=1)
    np.testing.assert_array_equal(prepare(padded, spec), prepare(clip, spec))


GOOD = moving_skeleton(NTU, 4)


@pytest.mark.parametrize(
    ("clip", "says"),
    [
        (GOOD[:, :, :20], r"must be \[T, M, 25, 3\] \(ntu25\), got \[4, 1, 20, 3\]"),
        (GOOD[:0], r"got \[0, 1, 25, 3\]"),
        (GOOD[0], "must be"),
        (GOOD * np.nan, "frame 0 of the skeleton holds NaN or infinity"),
        (np.zeros_like(GOOD), "the skeleton is empty"),
        (np.concatenate([np.zeros_like(GOOD), GOOD], axis=1), "body 1 is empty"),
        (GOOD.astype(str), "must hold numbers"),
    ],
)
def test_bad_skeletons(clip, says):
    with pytest.raises(BadInput, match=says):
        prepare(clip, SkeletonInput(layout="ntu25"))


def test_a_body_in_one_point_has_no_size():
    with pytest.raises(BadInput, match="lie in one point"):
        prepare(np.ones((3, 1, 20, 3)), SkeletonInput(layout="kinect20", persons=1, scale="bone"))
