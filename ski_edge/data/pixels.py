"""2D keypoints in pixels -> our axes, in something like metres, at depth 0."""

from __future__ import annotations

import numpy as np

from ski_edge.errors import BadInput
from ski_edge.skeleton.layouts import COCO17

TORSO_M = 0.5  # shoulders to hips of an adult
_SHOULDERS = [COCO17.index("left_shoulder"), COCO17.index("right_shoulder")]
_HIPS = [COCO17.index("left_hip"), COCO17.index("right_hip")]


def from_pixels(keypoints: np.ndarray, where: str) -> np.ndarray:
    """coco17 pixels [T, M, 17, 2] (x right, y down) -> float32 [T, M, 17, 3], x mirrored as Kinect's, y up, z = 0.

    One scale for the whole clip: its median torso becomes 0.5 m. The origin is the median hip centre of the clip. A
    keypoint at exactly (0, 0) was not found: it goes to the origin, and a body of such keypoints stays all zeros.
    """
    points = keypoints.astype(np.float64)
    found = (points != 0).any(axis=-1)  # [T, M, 17]
    torso = found[..., _SHOULDERS + _HIPS].all(axis=-1)
    if not torso.any():
        raise BadInput(f"{where}: no frame shows both shoulders and both hips, so there is no scale; leave it out")
    hips = points[..., _HIPS, :].mean(axis=-2)
    length = np.linalg.norm(points[..., _SHOULDERS, :].mean(axis=-2) - hips, axis=-1)[torso]
    length = float(np.median(length))
    if length < 1:
        raise BadInput(f"{where}: the torso is {length:.2g} pixels long; are the keypoints in pixels?")
    moved = (points - np.median(hips[torso], axis=0)) * (-TORSO_M / length)
    clip = np.zeros((*points.shape[:-1], 3), np.float32)
    clip[..., :2] = moved * found[..., None]
    return clip
