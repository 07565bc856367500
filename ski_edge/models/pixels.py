"""Pixels as the towers take them, whole batches on their device; `runtime.preprocess` does the same by frames."""

from __future__ import annotations

import torch
from torch import Tensor

from ski_edge.contracts import Preprocessing


def planar(frames: Tensor) -> Tensor:
    """uint8 [..., H, W, 3] -> float32 [..., 3, H, W], still from 0 to 255."""
    return frames.movedim(-1, -3).float().contiguous()


def normalise(frames: Tensor, spec: Preprocessing) -> Tensor:
    """uint8 [..., S, S, 3] -> float32 [..., 3, S, S], (pixel - mean) / std, bit for bit as the runtime does it."""
    return normalise_planar(planar(frames), spec)


def normalise_planar(pixels: Tensor, spec: Preprocessing) -> Tensor:
    """float32 [..., 3, S, S] from 0 to 255 -> the same, normalised."""
    # The runtime's own two float32 constants per channel, multiply first.
    scale = torch.tensor([1 / std for std in spec.std], dtype=torch.float32, device=pixels.device)
    shift = [mean / std for mean, std in zip(spec.mean, spec.std, strict=True)]
    return pixels * scale[:, None, None] - torch.tensor(shift, device=pixels.device)[:, None, None]
