"""Clips longer than a fixed window: what a network that watches two seconds says about five."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from ski_edge.skeleton import SkeletonInput
from ski_edge.skeleton.resample import FixedSeconds

_WINDOWS = 5  # of a longer clip: from its start to its end


def windows(clip: np.ndarray, spec: SkeletonInput) -> list[np.ndarray]:
    """The clip [T, M, V, 3] itself, or for fixed-seconds networks up to five windows from its start to its end."""
    policy = spec.resample
    if not isinstance(policy, FixedSeconds):
        return [clip]
    span = round(policy.seconds * policy.fps)
    spare = len(clip) - span
    if spare <= 0:
        return [clip]
    starts = np.unique(np.linspace(0, spare, _WINDOWS).round().astype(int))
    parts = [clip[start : start + span] for start in starts]
    return [part for part in parts if part[:, 0].any()] or [clip]  # where body 1 is away there is nothing to see


def over_windows(
    classify: Callable[[list[np.ndarray]], np.ndarray], clips: Sequence[np.ndarray], spec: SkeletonInput
) -> np.ndarray:
    """Logits float32 [N, K] of whole clips: the mean over each clip's windows."""
    cut = [windows(clip, spec) for clip in clips]
    owner = np.repeat(np.arange(len(clips)), [len(parts) for parts in cut])
    logits = classify([window for parts in cut for window in parts])
    total = np.zeros((len(clips), logits.shape[1]), np.float64)
    np.add.at(total, owner, logits)
    return (total / np.bincount(owner)[:, None]).astype(np.float32)
