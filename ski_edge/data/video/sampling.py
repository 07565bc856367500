"""Which frames of a clip a network sees. Every function gives int64 [frames], indices below `length`."""

from __future__ import annotations

import numpy as np

from ski_edge.errors import BadInput


def segments_train(length: int, frames: int, rng: np.random.Generator) -> np.ndarray:
    """One random frame of each of `frames` equal parts (ViFi-CLIP, X-CLIP, SKI: sparse sampling).

    Parts are length // frames long, so what is left over at the end is not seen. A clip of fewer frames gives each
    of them about equally often.
    """
    _check(length, frames)
    part = length // frames
    if part:
        return np.arange(frames) * part + rng.integers(0, part, frames)
    return np.around(np.arange(frames) * (length / frames)).astype(np.int64) % length


def segments_test(length: int, frames: int, view: int = 0, views: int = 1) -> np.ndarray:
    """The middle of each of `frames` equal parts; of several views, the middles of equal pieces of each part.

    The original's several views are drawn at random; these are evenly placed, so that a score can be had again.
    """
    _check(length, frames, view, views)
    part = length / frames
    return (np.arange(frames) * part + part * (2 * view + 1) / (2 * views)).astype(np.int64) % length


def stride_train(length: int, frames: int, rate: int, rng: np.random.Generator) -> np.ndarray:
    """A stretch of frames * rate frames at a random place, `frames` of them (FROSTER, PySlowFast: dense sampling)."""
    _check(length, frames)
    return _stretch(rng.uniform(0, max(length - frames * rate, 0)), length, frames, rate)


def stride_test(length: int, frames: int, rate: int, view: int = 0, views: int = 1) -> np.ndarray:
    """The same stretch in the middle of the clip; several views lie evenly from its start to its end."""
    _check(length, frames, view, views)
    room = max(length - frames * rate, 0)
    return _stretch(room // 2 if views == 1 else view * room // (views - 1), length, frames, rate)


def _stretch(start: float, length: int, frames: int, rate: int) -> np.ndarray:
    """PySlowFast's rule: first and last frame of the stretch are both taken, so steps are a little longer than rate.

    Past the end of the clip its last frame stays.
    """
    places = np.linspace(start, start + frames * rate - 1, frames)
    return np.clip(places, 0, length - 1).astype(np.int64)


def _check(length: int, frames: int, view: int = 0, views: int = 1) -> None:
    if length < 1:
        raise BadInput(f"a clip needs at least one frame, got {length}")
    if frames < 1 or not 0 <= view < views:
        raise BadInput(f"{frames} frames and view {view} of {views} cannot be sampled")
