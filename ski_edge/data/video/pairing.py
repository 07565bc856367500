"""Videos and skeletons of the same clip, by its name."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ski_edge.data.store import SkeletonData
from ski_edge.data.video.files import clip_name
from ski_edge.data.video.source import VideoSource


def pair(videos: VideoSource, skeletons: SkeletonData) -> tuple[np.ndarray, np.ndarray]:
    """(clips of videos, clips of skeletons), int64 [P] each: pair p shows the same; in the order of the videos.

    Names agree by their last part, less `_rgb`, `_color`, `_skeleton`; by the whole where that would not be unique.
    `unpaired` lists the others.
    """
    video_keys, skeleton_keys = _keys(videos, skeletons)
    where = {key: place for place, key in enumerate(skeleton_keys)}
    found = [(place, where[key]) for place, key in enumerate(video_keys) if key in where]
    pairs = np.array(found, np.int64).reshape(-1, 2)
    return pairs[:, 0], pairs[:, 1]


def unpaired(videos: VideoSource, skeletons: SkeletonData) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """(names of videos without a skeleton, names of skeletons without a video)."""
    video_keys, skeleton_keys = _keys(videos, skeletons)
    lost_videos = set(video_keys) - set(skeleton_keys)
    lost_skeletons = set(skeleton_keys) - set(video_keys)
    names = zip(videos.names, video_keys, strict=True), zip(skeletons.index.clips, skeleton_keys, strict=True)
    return (
        tuple(name for name, key in names[0] if key in lost_videos),
        tuple(clip.name for clip, key in names[1] if key in lost_skeletons),
    )


def _keys(videos: VideoSource, skeletons: SkeletonData) -> tuple[list[str], list[str]]:
    names = list(videos.names), [clip.name for clip in skeletons.index.clips]
    keys = _unique(names[0]), _unique(names[1])
    return keys if keys[0] is not None and keys[1] is not None else names


def _unique(names: Sequence[str]) -> list[str] | None:
    keys = [clip_name(name) for name in names]
    return keys if len(set(keys)) == len(keys) else None
