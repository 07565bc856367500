"""Clips of prepared data, as a network's input contract wants to meet them."""

from __future__ import annotations

import numpy as np

from ski_edge.data.store import SkeletonData
from ski_edge.errors import BadInput
from ski_edge.skeleton import SkeletonInput, remap
from ski_edge.skeleton.resample import FixedSeconds


def check_rate(data: SkeletonData, spec: SkeletonInput) -> None:
    """Networks for fixed seconds count frames of clips by their own rate: it must be the data's."""
    if isinstance(spec.resample, FixedSeconds) and abs(spec.resample.fps - data.index.fps) > 0.01 * data.index.fps:
        raise BadInput(
            f"{data.folder} has {data.index.fps:g} frames a second, skeleton.resample.fps says {spec.resample.fps:g}; "
            f"set skeleton.resample.fps={data.index.fps:g}"
        )


def load_clips(data: SkeletonData, which: np.ndarray, spec: SkeletonInput) -> list[np.ndarray]:
    """The clips `which`, float32 [T, M, V, 3] in metres, remapped to the spec's layout where it differs."""
    clips = [data[int(i)] for i in which]
    if data.index.layout != spec.layout:
        clips = [remap(clip, data.index.layout, spec.layout) for clip in clips]
    return clips
