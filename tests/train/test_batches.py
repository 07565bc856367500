"""Training sees what the device will see: batches without augmentation equal `prepare`; windows hold what they say."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from ski_edge.errors import BadInput
from ski_edge.skeleton import LAYOUTS, SkeletonInput, arrange, prepare
from ski_edge.skeleton.resample import CropResize, EvenSample, FixedSeconds, UniformSample, ZeroPad
from ski_edge.testing.skeletons import moving_skeleton
from ski_edge.train import read_recipe
from ski_edge.train.augment import rotate
from ski_edge.train.batches import ClipBatches
from ski_edge.train.live import WindowMaker, moving_part

KINECT = LAYOUTS["kinect20"]
POLICIES = (
    CropResize(frames=16),
    EvenSample(frames=20),
    UniformSample(frames=10),
    ZeroPad(frames=30),
    FixedSeconds(frames=8),
)


@pytest.mark.parametrize("modality", ["joint", "bone_motion"])
@pytest.mark.parametrize("scale", ["none", "box", "bone"])
@pytest.mark.parametrize("policy", POLICIES, ids=lambda policy: policy.name)
def test_a_batch_without_augmentation_is_what_the_device_prepares(policy, scale, modality, monkeypatch):
    """Positions are made the same; everything else is the two paths' own."""
    monkeypatch.setattr(type(policy), "random_positions", lambda self, length, rng: self.positions(length))
    spec = SkeletonInput(layout="kinect20", persons=1, scale=scale, resample=policy, modality=modality)
    recipe = read_recipe("utd-ctrgcn", ["rotate=[0,0,0]", "batch_size=3"])
    recipe = recipe.model_copy(update={"skeleton": spec})
    clips = [moving_skeleton(KINECT, frames, seed=frames) for frames in (9, 24, 41)]
    batches = ClipBatches(clips, np.arange(3), recipe, torch.device("cpu"))
    inputs, labels = next(iter(batches.epoch(0)))
    for row, label in zip(inputs, labels, strict=True):
        np.testing.assert_allclose(row, prepare(clips[int(label)], spec), atol=2e-5)


def test_every_epoch_shows_every_clip_in_another_way():
    recipe = read_recipe("utd-ctrgcn", ["batch_size=2", "skeleton.resample.frames=8"])
    clips = [moving_skeleton(KINECT, 20, seed=seed) for seed in range(4)]
    batches = ClipBatches(clips, np.arange(4), recipe, torch.device("cpu"))
    first, again, other = (list(batches.epoch(epoch)) for epoch in (0, 0, 1))
    assert sorted(int(label) for _, labels in first for label in labels) == [0, 1, 2, 3]
    assert all(torch.equal(a[0], b[0]) for a, b in zip(first, again, strict=True))
    assert not any(torch.equal(a[0], b[0]) for a, b in zip(first, other, strict=True))


def test_processes_share_a_batch():
    recipe = read_recipe("utd-ctrgcn", ["batch_size=4", "rotate=[0,0,0]", "skeleton.resample.frames=8"])
    clips = [moving_skeleton(KINECT, 20, seed=seed) for seed in range(4)]
    batches = ClipBatches(clips, np.arange(4), recipe, torch.device("cpu"))
    whole = next(iter(batches.epoch(0)))
    parts = [next(iter(batches.epoch(0, rank, 2))) for rank in (0, 1)]
    assert torch.equal(whole[1][0::2], parts[0][1])
    assert torch.equal(whole[0][1::2], parts[1][0])


def test_ucla_turns_y_before_x():
    """Row vectors times Ry Rx: the first turn leaves a point on the y axis alone, the second tilts it about x only."""
    recipe = read_recipe("ucla-ctrgcn")
    clip = torch.zeros(6, 1, 1, 20, 3)
    clip[..., 1] = 1
    turned = rotate(clip, recipe, torch.Generator().manual_seed(0))
    assert turned[..., 0].abs().max() < 1e-6
    assert (turned[..., 1] - 1).abs().max() > 1e-3
    ntu = rotate(clip, recipe.model_copy(update={"rotate_order": "xyz"}), torch.Generator().manual_seed(0))
    assert ntu[..., 0].abs().max() > 1e-3


def rising(frames_before: int, frames_moving: int, frames_after: int) -> np.ndarray:
    """A clip in which one hand rises, between rests."""
    pose = moving_skeleton(KINECT, 1)[0]
    height = np.concatenate([np.zeros(frames_before), np.linspace(0, 1, frames_moving), np.ones(frames_after)])
    clip = np.repeat(pose[None], len(height), axis=0)
    clip[:, 0, 7, 1] += height
    return clip


def test_moving_part_is_where_the_hand_rises():
    first, last = moving_part(rising(30, 20, 30), 30)
    assert abs(first - 30) <= 4
    assert abs(last - 50) <= 4
    for frames in range(1, 8):
        first, last = moving_part(moving_skeleton(KINECT, frames), 30)
        assert 0 <= first < last <= max(frames, 2)


@pytest.fixture
def maker():
    recipe = read_recipe("utd27", ["change_speed=0"])
    clips = [arrange(rising(20, 24, 20), recipe.skeleton), arrange(rising(15, 30, 15), recipe.skeleton)]
    return WindowMaker(clips, np.array([0, 1]), np.array([1, 1]), recipe)


def height_gained(window: np.ndarray) -> float:
    """How much of the rise (in the clip's own units) a window shows."""
    hand = window[:, 0, 7, 1]
    return float(hand.max() - hand.min())


def test_windows_of_an_action_hold_most_of_it(maker):
    rng = np.random.default_rng(0)
    rise = height_gained(maker.clips[0])
    shown = [height_gained(maker.draw(0, rng)) / rise for _ in range(60)]
    assert min(shown) > 0.6
    assert {maker.draw(0, rng).shape for _ in range(3)} == {(32, 1, 20, 3)}


def test_other_windows_hold_little_of_an_action(maker):
    """Pauses show nothing; the way between two actions shows at most `max_other` of each end, and the way itself."""
    rng = np.random.default_rng(0)
    assert max(height_gained(maker._pause(rng)) for _ in range(20)) < 0.2 * height_gained(maker.clips[0])
    for _ in range(20):
        window = maker._between(rng)
        assert np.isfinite(window).all()
        assert window.shape == (32, 1, 20, 3)


def test_live_windows_refuse_what_a_stream_does_not_have():
    for change, says in (
        ("skeleton.centre=first-frame", "a stream has no first frame"),
        ("skeleton.scale=box", "a stream has no first frame"),
        ("options={seed: 3}", "options.seed is not for options"),
        ("options={arch: tiny}", "options.arch is a field of the recipe itself"),
    ):
        with pytest.raises(BadInput, match=says):
            read_recipe("utd27", [change])


def test_a_page_of_aliases_is_refused(tmp_path):
    bomb = "a: &a [x, x]\n" + "".join(
        f"{chr(98 + i)}: &{chr(98 + i)} [*{chr(97 + i)}, *{chr(97 + i)}]\n" for i in range(20)
    )
    path = tmp_path / "bomb.yaml"
    path.write_text(bomb)
    with pytest.raises(BadInput, match="aliases"):
        read_recipe(str(path))
