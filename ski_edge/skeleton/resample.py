"""From any number of frames to the number a network takes: policies by name, each a list of positions in time.

A policy turns a length (or times) into frame positions; `take` interpolates there, linearly, for one clip or a batch,
in numpy or torch.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

import numpy as np
from pydantic import Field

from ski_edge.contracts import Contract
from ski_edge.errors import BadInput

_Frames = Annotated[int, Field(gt=0, le=4096)]


class CropResize(Contract):
    """CTR-GCN, Hyperformer, MMCL, C2VL on NTU: cut the ends, stretch the rest to `frames` (half-pixel centres)."""

    name: Literal["crop-resize"] = "crop-resize"
    frames: _Frames = 64
    keep: float = Field(0.95, gt=0, le=1)  # share that is kept in evaluation
    train_keep: tuple[float, float] = (0.5, 1.0)  # drawn from in training

    def positions(self, length: int) -> np.ndarray:
        # The authors' expression: its rounding in float64 decides between two frames.
        bias = int((1 - self.keep) * length / 2)
        return bias + _stretch(length - 2 * bias, self.frames)

    def random_positions(self, length: int, rng: np.random.Generator) -> np.ndarray:
        kept = min(max(int(length * rng.uniform(*self.train_keep)), self.frames), length)
        return rng.integers(0, length - kept + 1) + _stretch(kept, self.frames)


class EvenSample(Contract):
    """CTR-GCN on NW-UCLA: `frames` frames, evenly spaced, repeated where the clip is shorter."""

    name: Literal["even-sample"] = "even-sample"
    frames: _Frames = 52

    def positions(self, length: int) -> np.ndarray:
        return np.floor(np.linspace(0, length - 1, self.frames))

    def random_positions(self, length: int, rng: np.random.Generator) -> np.ndarray:
        """Sorted draws without replacement from 100 copies of every frame (more where that is too few)."""
        copies = max(100, -(-self.frames // length))
        return np.sort(rng.choice(copies * length, self.frames, replace=False) % length).astype(float)


class UniformSample(Contract):
    """pyskl: one frame of each of `frames` equal parts; evaluation takes the middle one (pyskl averages ten draws)."""

    name: Literal["uniform-sample"] = "uniform-sample"
    frames: _Frames = 100

    def positions(self, length: int) -> np.ndarray:
        return np.floor((np.arange(self.frames) + 0.5) * length / self.frames)

    def random_positions(self, length: int, rng: np.random.Generator) -> np.ndarray:
        return np.floor((np.arange(self.frames) + rng.random(self.frames)) * length / self.frames)


class ZeroPad(Contract):
    """ST-GCN and SKI: the frames as they are, then zeros up to `frames`; longer clips are cut."""

    name: Literal["zero-pad"] = "zero-pad"
    frames: _Frames = 300

    def positions(self, length: int) -> np.ndarray:
        return np.where(np.arange(self.frames) < length, np.arange(self.frames), np.nan)  # NaN: a frame of zeros

    def random_positions(self, length: int, rng: np.random.Generator) -> np.ndarray:
        return self.positions(length)


class FixedSeconds(Contract):
    """Live: `frames` moments of the last `seconds`, evenly spaced, the last one now. Speed is kept."""

    name: Literal["fixed-seconds"] = "fixed-seconds"
    frames: _Frames = 32
    seconds: float = Field(2.0, gt=0, le=3600)
    fps: float = Field(30.0, gt=0, le=1000)  # of clips that come without times

    def positions(self, length: int) -> np.ndarray:
        """The middle window; where the clip is shorter, its first and last frame stand still."""
        span = self.seconds * self.fps
        return np.clip((length - 1 + span) / 2 - self._back() * self.fps, 0, length - 1)

    def random_positions(self, length: int, rng: np.random.Generator) -> np.ndarray:
        span = self.seconds * self.fps
        low, high = sorted((span, length - 1.0))
        return np.clip(rng.uniform(low, high) - self._back() * self.fps, 0, length - 1)

    def positions_at(self, times: np.ndarray) -> np.ndarray:
        """times: seconds of each frame, ascending -> positions; the window ends at the last frame."""
        return np.interp(times[-1] - self._back(), times, np.arange(len(times)))

    def _back(self) -> np.ndarray:
        """Seconds before now, of each moment."""
        return np.arange(self.frames)[::-1] * (self.seconds / self.frames)


Resample = Annotated[CropResize | EvenSample | UniformSample | ZeroPad | FixedSeconds, Field(discriminator="name")]


def _stretch(length: int, frames: int) -> np.ndarray:
    """Positions of `torch.nn.functional.interpolate(mode="linear", align_corners=False)`."""
    return np.clip((np.arange(frames) + 0.5) * (length / frames) - 0.5, 0, length - 1)


def check_times(times: Any, length: int) -> np.ndarray:
    """Seconds [T], finite and ascending, or a line that says what is wrong."""
    array = np.asarray(times, np.float64)
    if array.shape != (length,) or not np.isfinite(array).all() or (np.diff(array) < 0).any():
        raise BadInput(f"timestamps must be {length} ascending seconds, got an array of {list(array.shape)}")
    return array


def neighbours(positions: np.ndarray, length: int) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Positions -> (frame before, frame after, weight of the frame after, 1 or 0 for a frame of zeros)."""
    real = ~np.isnan(positions)
    inside = np.where(real, positions, 0)
    before = np.floor(inside).astype(np.int64)
    return before, np.minimum(before + 1, length - 1), (inside - before).astype(np.float32), real.astype(np.float32)


def take(clip: Any, before: Any, after: Any, weight: Any, real: Any) -> Any:
    """Frames [..., M, V, 3] of `clip` [T, M, V, 3] at index arrays [..., F], interpolated. numpy or torch."""
    weight, real = weight[..., None, None, None], real[..., None, None, None]
    return (clip[before] * (1 - weight) + clip[after] * weight) * real
