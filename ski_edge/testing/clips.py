"""Generated video: reproducible, smooth in time, with edges and texture, and in no way a person. numpy only."""

from __future__ import annotations

import numpy as np


def moving_shapes(num_frames: int, height: int = 240, width: int = 320, seed: int = 0) -> np.ndarray:
    """uint8 [T, H, W, 3] RGB: discs of random colours drifting over a textured background."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[0:height, 0:width].astype(np.float32)
    waves = np.sin(x * rng.uniform(0.02, 0.2)) + np.cos(y * rng.uniform(0.02, 0.2))
    background = (waves[..., None] * 25 + rng.uniform(60, 160, 3)).astype(np.float32)
    discs = 5
    radius = rng.uniform(0.06, 0.18, discs) * min(height, width)
    colour = rng.uniform(0, 255, (discs, 3))
    start, drift = rng.uniform(0, 1, (discs, 2)), rng.uniform(-0.4, 0.4, (discs, 2))
    frames = np.empty((num_frames, height, width, 3), np.uint8)
    for t in range(num_frames):
        canvas = background.copy()
        for k in range(discs):
            # Positions bounce between the borders: a triangle wave of time, 30 frames a second.
            px, py = np.abs((start[k] + drift[k] * t / 30) % 2 - 1) * (width, height)
            canvas[(x - px) ** 2 + (y - py) ** 2 < radius[k] ** 2] = colour[k]
        frames[t] = np.clip(canvas, 0, 255)
    return frames
