"""Pixels of a batch of clips on the device that trains: colours, mixing of clips and labels.

Frames come as uint8 [N, T, S, S, 3] and leave as float32 [N, T, 3, S, S]. A torch generator seeds everything that is
random; of what is drawn only a few numbers per frame exist, so they are drawn on the CPU, and a generator on the CPU
gives the same batch on every device.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from ski_edge.models.pixels import normalise_planar, planar
from ski_edge.train.video_recipe import VideoRecipe

_GREY = (0.2989, 0.587, 0.114)  # ITU-R 601, with torchvision's digits
_MOST = 255.0


def augment(frames: Tensor, recipe: VideoRecipe, generator: torch.Generator) -> Tensor:
    """uint8 [N, T, S, S, 3] -> float32 [N, T, 3, S, S]: colours changed and lost as the recipe asks, normalised.

    Whether a clip is changed is drawn per clip, by how much and in which order per frame, as in X-CLIP and ViFi-CLIP
    (which round to whole grey levels after every step; this does not).
    """
    rng = _numbers(generator)
    clips, length = frames.shape[:2]
    pixels = planar(frames).flatten(0, 1)
    changed = np.repeat(rng.random(clips) < recipe.colour_jitter, length)
    grey = np.repeat(rng.random(clips) < recipe.grey, length)
    factors, order = draw_colours(clips * length, recipe, rng)
    pixels = change_colours(pixels, factors, np.where(changed[:, None], order, -1))
    which = torch.from_numpy(np.flatnonzero(grey)).to(pixels.device)
    pixels[which] = _grey(pixels[which]).expand(-1, 3, -1, -1)
    return normalise_planar(pixels, recipe.preprocessing).unflatten(0, (clips, length))


def draw_colours(count: int, recipe: VideoRecipe, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """(factors float32 [count, 4], order int64 [count, 4]) of brightness, contrast, saturation and hue."""
    spread = np.array([recipe.brightness, recipe.contrast, recipe.saturation, recipe.hue])
    factors = np.array([1, 1, 1, 0]) + spread * rng.uniform(-1, 1, (count, 4))
    order = np.argsort(rng.random((count, 4)), axis=1)
    return factors.astype(np.float32), order


def change_colours(pixels: Tensor, factors: np.ndarray, order: np.ndarray) -> Tensor:
    """Frames [F, 3, S, S] from 0 to 255, every one by its own factors [F, 4] in its own order [F, 4].

    order: which change comes first, second, ... (0 brightness, 1 contrast, 2 saturation, 3 hue); -1: none.
    """
    pixels = pixels.clone()
    for step in range(4):
        for number, change in enumerate((_brightness, _contrast, _saturation, _hue)):
            chosen = np.flatnonzero(order[:, step] == number)
            if len(chosen):
                which = torch.from_numpy(chosen).to(pixels.device)
                factor = torch.from_numpy(factors[chosen, number]).to(pixels)[:, None, None, None]
                pixels[which] = change(pixels[which], factor)
    return pixels


def soft_labels(labels: Tensor, num_classes: int, smoothing: float) -> Tensor:
    """int64 [N] -> float32 [N, K]: 1 - smoothing at the label, and smoothing / K everywhere."""
    soft = torch.full((len(labels), num_classes), smoothing / num_classes, device=labels.device)
    return soft.scatter_(1, labels[:, None], 1 - smoothing + smoothing / num_classes)


def blend(frames: Tensor, target: Tensor, recipe: VideoRecipe, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """(frames [N, T, 3, S, S], soft labels [N, K]) -> both mixed.

    One draw per batch: cutmix with `switch_prob`, else mixup; every clip is mixed with another (or itself) of the
    batch.
    """
    rng = _numbers(generator)
    cutmix = recipe.cutmix_alpha > 0 and (recipe.mixup_alpha == 0 or rng.random() < recipe.switch_prob)
    if not cutmix and recipe.mixup_alpha == 0:
        return frames, target
    partner = torch.from_numpy(rng.permutation(len(frames))).to(frames.device)
    alpha = recipe.cutmix_alpha if cutmix else recipe.mixup_alpha
    kept = float(rng.beta(alpha, alpha))
    if cutmix:
        rows, columns = _box(*frames.shape[-2:], kept, rng)
        mixed = frames.clone()
        mixed[..., rows, columns] = frames[partner][..., rows, columns]
        area = (rows.stop - rows.start) * (columns.stop - columns.start)
        kept = 1 - area / (frames.shape[-2] * frames.shape[-1])
    else:
        mixed = kept * frames + (1 - kept) * frames[partner]
    return mixed, kept * target + (1 - kept) * target[partner]


def _box(height: int, width: int, kept: float, rng: np.random.Generator) -> tuple[slice, slice]:
    """Rows and columns of a box of 1 - kept of the area around a random pixel, cut at the border (CutMix)."""
    share = (1 - kept) ** 0.5
    half_h, half_w = int(height * share) // 2, int(width * share) // 2
    y, x = int(rng.integers(height)), int(rng.integers(width))
    rows = slice(max(y - half_h, 0), min(y + half_h, height))
    return rows, slice(max(x - half_w, 0), min(x + half_w, width))


def _numbers(generator: torch.Generator) -> np.random.Generator:
    """A numpy generator that goes on from a torch one: torch has no Beta with a generator of its own."""
    return np.random.default_rng(int(torch.randint(2**62, (), generator=generator, device=generator.device)))


def _grey(pixels: Tensor) -> Tensor:
    """[F, 3, S, S] -> [F, 1, S, S]."""
    return (pixels * pixels.new_tensor(_GREY)[:, None, None]).sum(dim=1, keepdim=True)


def _mix(pixels: Tensor, other: Tensor, factor: Tensor) -> Tensor:
    return (factor * pixels + (1 - factor) * other).clamp(0, _MOST)


def _brightness(pixels: Tensor, factor: Tensor) -> Tensor:
    return (factor * pixels).clamp(0, _MOST)


def _contrast(pixels: Tensor, factor: Tensor) -> Tensor:
    return _mix(pixels, _grey(pixels).mean(dim=(-2, -1), keepdim=True), factor)


def _saturation(pixels: Tensor, factor: Tensor) -> Tensor:
    return _mix(pixels, _grey(pixels), factor)


def _hue(pixels: Tensor, turn: Tensor) -> Tensor:
    """The colour circle turned by `turn` of its circumference; value and saturation (of HSV) stay."""
    red, green, blue = pixels.unbind(1)
    value, strongest = pixels.max(dim=1)
    chroma = value - pixels.amin(dim=1)
    safe = torch.where(chroma > 0, chroma, 1)
    # In sixths of the circle, from the strongest channel (red where several are equal)
    sixth = torch.stack([(green - blue) / safe, (blue - red) / safe + 2, (red - green) / safe + 4], dim=1)
    sixth = sixth.gather(1, strongest[:, None])[:, 0] + 6 * turn[:, 0]
    channels = []
    for place in (5, 3, 1):  # red, green, blue fall off from their own place on the circle
        away = torch.remainder(sixth + place, 6)
        channels.append(value - chroma * torch.minimum(away, 4 - away).clamp(0, 1))
    return torch.stack(channels, dim=1)
