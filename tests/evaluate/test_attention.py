"""Relevance maps: the patch that makes the score is the hottest, and where it lies is measured right."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import ski_edge
from ski_edge.errors import BadInput
from ski_edge.evaluate.attention import on_body, overlay, picture, relevance

SIDE = 7  # patches of 32 pixels
FAMILIES = ("vificlip", "xclip", "froster")
FRAMES = 3


@pytest.fixture(scope="module", params=FAMILIES)
def model(request):
    """A tower whose patches stay apart until the last block: all that a patch does goes through that block."""
    video = {"window_frames": FRAMES}
    model = ski_edge.create_model(request.param, arch="tiny", seed=0, video=video)
    visual = model.clip.visual
    with torch.no_grad():
        visual.positional_embedding.zero_()
        for block in visual.transformer.resblocks[:-1]:
            for layer in (block.attn.out_proj, block.mlp.c_proj):
                layer.weight.zero_()
                layer.bias.zero_()
    return model


def clip_with(frame: int, row: int, column: int, seed: int = 0) -> torch.Tensor:
    """[T, 3, S, S]: nothing but one patch of noise."""
    frames = torch.zeros(FRAMES, 3, 224, 224)
    noise = torch.randn(3, 32, 32, generator=torch.Generator().manual_seed(seed))
    frames[frame, :, 32 * row : 32 * row + 32, 32 * column : 32 * column + 32] = 3 * noise
    return frames


@torch.no_grad()
def label_for(model, frames: torch.Tensor) -> torch.Tensor:
    """[1, D]: the direction in which the clip differs from an empty one."""
    seen, nothing = (model.encode_video(clip[None]) for clip in (frames, torch.zeros_like(frames)))
    return seen - nothing


@pytest.mark.parametrize("place", [(0, 0, 0), (1, 2, 5), (2, 6, 6)])
def test_the_patch_that_makes_the_score_is_the_hottest(model, place):
    frames = clip_with(*place)
    maps = relevance(model, frames, label_for(model, frames))
    assert maps.shape == (FRAMES, SIDE, SIDE)
    assert maps.min() >= 0
    assert maps.sum() == pytest.approx(1, abs=1e-5)
    assert np.unravel_index(maps.argmax(), maps.shape) == place
    others = np.sort(maps.ravel())[-2]
    assert maps[place] > 3 * others


def test_relevance_follows_what_taking_a_patch_away_does(model):
    """Two patches, each with a label of its own (in X-CLIP, where labels watch the video, both follow the first)."""
    places = ((0, 1, 1), (0, 5, 4))
    first, second = (clip_with(*place, seed=seed) for seed, place in enumerate(places, start=1))
    text = torch.cat([label_for(model, first), label_for(model, second)])
    with torch.no_grad():
        without = torch.cat([model.compare(clip[None], text)[1] for clip in (second, first)])  # [patch, label]
    needed = without.argmin(dim=0).tolist()  # the score of a label falls farthest without this patch
    assert needed == ([0, 0] if model.config.model == "xclip" else [0, 1])
    for label in (0, 1):
        maps = relevance(model, first + second, text, label)
        assert maps[places[needed[label]]] > 2 * maps[places[1 - needed[label]]]


def test_the_model_is_left_as_it_was(tiny_model):
    frames, text = clip_with(1, 3, 3), torch.randn(2, 64, generator=torch.Generator().manual_seed(0))
    tiny_model.train()
    before = {name: tensor.clone() for name, tensor in tiny_model.state_dict().items()}
    first = relevance(tiny_model, frames, text, 1)
    with torch.no_grad():
        np.testing.assert_array_equal(relevance(tiny_model, frames, text, 1), first)
    assert tiny_model.training
    tiny_model.eval()
    assert all(parameter.grad is None for parameter in tiny_model.parameters())
    assert not tiny_model.clip.visual.transformer.resblocks[-1].ln_1._forward_hooks
    assert all(torch.equal(before[name], tensor) for name, tensor in tiny_model.state_dict().items())
    assert not np.allclose(relevance(tiny_model, frames, text, 0), first)  # of another label


def test_on_body_by_hand():
    maps = np.zeros((3, 2, 2), np.float32)
    maps[0] = [[0.4, 0.1], [0, 0]]
    maps[1] = [[0, 0.3], [0.2, 0]]
    maps[2, 0, 0] = 9  # nobody there: not counted
    bodies = np.zeros((3, 8, 6), bool)
    bodies[0, :4, :3] = True  # the whole first patch
    bodies[1, 4:6, :3] = True  # half of the third
    got = on_body(maps, bodies)
    assert got.frames == 2
    assert got.energy == pytest.approx(0.4 + 0.2 / 2)
    assert got.energy_by_chance == pytest.approx((1 + 0.5) / 8)
    assert got.hits == 0.5
    assert got.hits_by_chance == pytest.approx(2 / 8)


def test_no_relevance_is_no_hit():
    bodies = np.ones((1, 4, 4), bool)
    got = on_body(np.zeros((1, 2, 2), np.float32), bodies)
    assert (got.energy, got.hits, got.hits_by_chance) == (0, 0, 1)


def test_overlay_is_red_where_it_is_hot(tmp_path):
    frames = np.full((2, 16, 12, 3), (0, 60, 180), np.uint8)
    maps = np.zeros((2, 4, 3), np.float32)
    maps[1, 3, 0] = 0.2
    got = overlay(frames, maps)
    np.testing.assert_array_equal(got[0], 80)  # grey: nothing there
    hottest = np.unravel_index((got[1, ..., 0].astype(int) - got[1, ..., 1]).argmax(), (16, 12))
    assert hottest[0] >= 12
    assert hottest[1] < 4
    np.testing.assert_array_equal(got[1, :8], 80)
    pytest.importorskip("matplotlib")
    picture(tmp_path / "maps.png", frames, [("without skeletons", maps), ("with $ skeletons", maps)])
    assert (tmp_path / "maps.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (lambda m: relevance(m, torch.zeros(3, 224, 224), torch.zeros(1, 64)), r"frames \[T, 3, S, S\]"),
        (lambda m: relevance(m, torch.zeros(1, 3, 224, 224), torch.zeros(2, 64), 2), "label below K"),
        (lambda m: on_body(np.ones((2, 2, 2)), np.ones((3, 8, 8), bool)), r"\[T, h, w\] and bodies bool"),
        (lambda m: on_body(np.ones((2, 2, 2)), np.ones((2, 8, 8))), r"float64 \[2, 8, 8\]"),
        (lambda m: on_body(-np.ones((2, 2, 2)), np.ones((2, 8, 8), bool)), "below 0"),
        (lambda m: on_body(np.ones((2, 2, 2)), np.zeros((2, 8, 8), bool)), "no frame shows a person"),
        (lambda m: overlay(np.ones((2, 8, 8, 3)), np.ones((2, 2, 2))), "frames uint8"),
    ],
)
def test_what_is_refused(tiny_model, call, says):
    with pytest.raises(BadInput, match=says):
        call(tiny_model)
