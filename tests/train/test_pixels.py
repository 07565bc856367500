"""Pixels on the device: against torchvision's own functions, and against the official labels by hand."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from ski_edge.contracts import Preprocessing
from ski_edge.models.pixels import normalise
from ski_edge.runtime.preprocess import preprocess_clip
from ski_edge.testing.clips import moving_shapes
from ski_edge.train.pixels import augment, blend, change_colours, draw_colours, soft_labels
from ski_edge.train.recipe import read_recipe
from ski_edge.train.video_recipe import VideoRecipe

PLAIN = {"colour_jitter": 0, "grey": 0, "mixup_alpha": 0, "cutmix_alpha": 0}


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


@pytest.fixture(scope="module")
def clips():
    """uint8 [4, 3, 32, 32, 3]: shapes, noise, a grey one, one of pure colours."""
    rng = np.random.default_rng(0)
    grey = np.repeat(rng.integers(0, 256, (3, 32, 32, 1)), 3, axis=-1)
    pure = 255 * rng.integers(0, 2, (3, 32, 32, 3))
    made = [moving_shapes(3, 32, 32), rng.integers(0, 256, (3, 32, 32, 3)), grey, pure]
    return torch.from_numpy(np.stack(made).astype(np.uint8))


def test_normalise_is_the_runtime_bit_for_bit():
    spec = Preprocessing(resize_short=64, crop=64)
    frames = moving_shapes(5, 64, 64)
    got = normalise(torch.from_numpy(frames), spec)
    assert got.shape == (5, 3, 64, 64)
    np.testing.assert_array_equal(got.numpy(), preprocess_clip(frames, spec))


@pytest.mark.parametrize("seed", range(3))
def test_colours_equal_torchvision(clips, seed):
    functional = pytest.importorskip("torchvision.transforms.functional")
    changes = (
        functional.adjust_brightness,
        functional.adjust_contrast,
        functional.adjust_saturation,
        functional.adjust_hue,
    )
    pixels = clips.flatten(0, 1).movedim(-1, 1).float()
    recipe = VideoRecipe(brightness=0.9, contrast=0.9, saturation=0.9, hue=0.5)
    factors, order = draw_colours(len(pixels), recipe, np.random.default_rng(seed))
    assert len({tuple(row) for row in order}) > 5  # frames have orders of their own
    got = change_colours(pixels, factors, order)
    for frame, factor, steps, result in zip(pixels, factors, order, got, strict=True):
        want = frame.double() / 255
        for number in steps:
            want = changes[number](want, float(factor[number]))
        # A grey frame has no hue; torchvision's default there is red, ours too, so even those agree.
        assert (want * 255 - result).abs().max() < 0.02
    assert (got - pixels)[:6].abs().amax(dim=(1, 2, 3)).min() > 0.5  # all but those without shades to change
    torch.testing.assert_close(change_colours(pixels, factors, np.full_like(order, -1)), pixels, rtol=0, atol=0)


def test_colour_factors_stay_inside_the_recipe():
    factors, order = draw_colours(4000, VideoRecipe(), np.random.default_rng(0))
    low, high = factors.min(axis=0), factors.max(axis=0)
    np.testing.assert_allclose(low, [0.6, 0.6, 0.8, -0.1], atol=0.01)
    np.testing.assert_allclose(high, [1.4, 1.4, 1.2, 0.1], atol=0.01)
    assert np.all(np.sort(order, axis=1) == np.arange(4))
    assert len(np.unique(order, axis=0)) == 24


def test_augment_chooses_clips_and_changes_frames(clips):
    many = clips[:1].repeat(400, 1, 1, 1, 1)
    plain = VideoRecipe(**PLAIN, preprocessing=Preprocessing(resize_short=32, crop=32))
    reference = augment(many, plain, seeded())
    torch.testing.assert_close(reference, normalise(many, plain.preprocessing), rtol=0, atol=0)
    jittered = augment(many, plain.model_copy(update={"colour_jitter": 0.8}), seeded())
    changed = (jittered != reference).flatten(2).any(dim=2)
    assert torch.equal(changed.any(dim=1), changed.all(dim=1))  # whole clips
    assert 0.7 < changed.any(dim=1).float().mean() < 0.9
    first = jittered[changed.any(dim=1)][0]
    gains = [(first[t] - reference[0, t]).mean() for t in range(3)]
    assert len({round(float(gain), 3) for gain in gains}) == 3  # frames anew
    greyed = augment(many, plain.model_copy(update={"grey": 0.2}), seeded())
    spec = plain.preprocessing
    levels = greyed * torch.tensor(spec.std)[:, None, None] + torch.tensor(spec.mean)[:, None, None]
    colourless = (levels.amax(dim=2) - levels.amin(dim=2)).flatten(1).amax(dim=1) < 1e-2
    assert 0.12 < colourless.float().mean() < 0.28
    untouched = ~colourless
    torch.testing.assert_close(greyed[untouched], reference[untouched], rtol=0, atol=0)


def test_the_generator_decides(clips):
    recipe = VideoRecipe(preprocessing=Preprocessing(resize_short=32, crop=32))
    target = torch.eye(7)[:4]
    one, same, other = (
        blend(augment(clips, recipe, generator), target, recipe, generator)
        for generator in (seeded(1), seeded(1), seeded(2))
    )
    assert torch.equal(one[0], same[0])
    assert torch.equal(one[1], same[1])
    assert not torch.equal(one[0], other[0])
    generator = seeded(1)
    assert not torch.equal(augment(clips, recipe, generator), augment(clips, recipe, generator))


def test_smoothing_is_the_official():
    soft = soft_labels(torch.tensor([2, 0]), 5, 0.1)
    torch.testing.assert_close(soft[0], torch.tensor([0.02, 0.02, 0.92, 0.02, 0.02]))
    assert torch.equal(soft_labels(torch.tensor([1]), 3, 0.0), torch.tensor([[0.0, 1.0, 0.0]]))


def mixing(**fields):
    return VideoRecipe(**{**PLAIN, **fields})


def test_nothing_is_mixed_where_both_are_off():
    frames = torch.randn(3, 2, 3, 8, 8)
    target = soft_labels(torch.tensor([0, 1, 2]), 4, 0.1)
    mixed, soft = blend(frames, target, mixing(), seeded())
    assert mixed is frames
    assert soft is target


def test_mixup_mixes_frames_and_labels_by_the_same_share():
    """Frames that hold their own one-hot label in place of pixels must come out as the labels do."""
    labels = torch.arange(3)
    frames = torch.eye(3)[labels][:, None, :, None, None].expand(3, 2, 3, 6, 6)
    shares = set()
    for seed in range(20):
        mixed, soft = blend(frames, soft_labels(labels, 3, 0.1), mixing(mixup_alpha=0.8), seeded(seed))
        want = 0.9 * mixed[:, 0, :, 0, 0] + 0.1 / 3
        torch.testing.assert_close(soft, want)
        torch.testing.assert_close(mixed, mixed[:, :1, :, :1, :1].expand_as(mixed))
        shares.add(round(float(mixed[0, 0, 0, 0, 0]), 4))
    assert len(shares) > 10


def test_cutmix_moves_one_box_and_its_area_is_the_share():
    labels = torch.arange(3)
    frames = torch.eye(3)[labels][:, None, :, None, None].repeat(1, 2, 1, 10, 12)
    before, boxes = frames.clone(), 0
    for seed in range(20):
        mixed, soft = blend(frames, soft_labels(labels, 3, 0.1), mixing(cutmix_alpha=1.0), seeded(seed))
        torch.testing.assert_close(soft, 0.9 * mixed.mean(dim=(1, 3, 4)) + 0.1 / 3)
        assert set(mixed.unique().tolist()) <= {0.0, 1.0}
        assert torch.equal(mixed[:, 0], mixed[:, 1])  # every frame alike
        moved = (mixed[:, 0] != frames[:, 0]).any(dim=1)
        for clip in moved:
            if clip.any():
                rows, columns = clip.any(dim=1).sum(), clip.any(dim=0).sum()
                assert clip.sum() == rows * columns
                boxes += 1
    assert boxes > 10
    assert torch.equal(frames, before)


def test_switch_chooses_between_the_two():
    frames = torch.eye(4)[:, None, :3, None, None].repeat(1, 1, 1, 8, 8)
    recipe = mixing(mixup_alpha=0.8, cutmix_alpha=1.0, switch_prob=0.5)
    kinds = []
    for seed in range(60):
        mixed, _ = blend(frames, torch.eye(4), recipe, seeded(seed))
        kinds.append(bool(((mixed > 0.01) & (mixed < 0.99)).any()))
    assert 15 < sum(kinds) < 45
    always = recipe.model_copy(update={"switch_prob": 1.0})
    for seed in range(10):
        mixed, _ = blend(frames, torch.eye(4), always, seeded(seed))
        assert set(mixed.unique().tolist()) <= {0.0, 1.0}


def test_recipes_have_the_frames_of_the_papers():
    vifi, froster = (read_recipe(name).video for name in ("vificlip-official", "froster-official"))
    assert (vifi.frames, vifi.sampling, vifi.preprocessing) == (16, "segments", Preprocessing())
    assert (froster.frames, froster.rate, froster.preprocessing.resize_short) == (8, 16, 224)
    np.testing.assert_allclose(np.array(froster.preprocessing.mean) / 255, [0.48145466, 0.4578275, 0.40821073])
    np.testing.assert_allclose(np.array(froster.preprocessing.std) / 255, [0.26862954, 0.26130258, 0.27577711])


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"crop": "jitter", "jitter_short": (200, 256)}, "at least the crop of 224"),
        ({"crop": "jitter", "jitter_short": (256, 224)}, "ascending"),
        ({"scales": ()}, "scales must be"),
        ({"scales": (1.0, 0.0)}, "scales must be"),
        ({"hue": 0.6}, "less than or equal to 0.5"),
        ({"colour": 1}, "Extra inputs"),
    ],
)
def test_recipes_that_cannot_be(fields, says):
    with pytest.raises(ValueError, match=says):
        VideoRecipe(**fields)
