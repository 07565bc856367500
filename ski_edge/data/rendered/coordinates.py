"""Pixels with a fraction, as OpenCV's drawing functions take them: whole numbers with a shift."""

from __future__ import annotations

import numpy as np

SHIFT = 4  # binary digits behind the point: without them a slow hand jumps
FAR = 1 << 14  # pixels; OpenCV's coordinates must stay small


def fixed_point(points: np.ndarray) -> np.ndarray:
    """Pixels, float, within FAR -> int32 for `shift=SHIFT`."""
    return np.rint(points * (1 << SHIFT)).astype(np.int32)
