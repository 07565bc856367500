"""Clips of prepared data, as a network's input contract wants to meet them."""

from __future__ import annotations

import numpy as np

from ski_edge.data.store import SkeletonData
from ski_edge.skeleton import SkeletonInput, remap


def load_clips(data: SkeletonData, which: np.ndarray, spec: SkeletonInput) -> list[np.ndarray]:
    """The clips `which`, float32 [T, M, V, 3] in metres, remapped to the spec's layout where it differs."""
    clips = [data[int(i)] for i in which]
    if data.index.layout != spec.layout:
        clips = [remap(clip, data.index.layout, spec.layout) for clip in clips]
    return clips
