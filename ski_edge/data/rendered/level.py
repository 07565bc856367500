"""Sensors look down at an angle, so in their axes people lean, and who walks away walks uphill."""

from __future__ import annotations

import numpy as np

from ski_edge.data.rendered.solids import unit
from ski_edge.skeleton.layouts import Layout
from ski_edge.skeleton.rotations import rotation_onto

_STILL_M2 = 0.05  # feet that move about less than this (variance) tell less about the floor than how people stand
_STEEPEST = 0.5  # 27 degrees
_STRAIGHT = 0.95  # of a leg (length from end to end), and of a trunk over its legs (cosine)


def level(clip: np.ndarray, present: np.ndarray, layout: Layout) -> np.ndarray:
    """Turn a clip [T, M, V, 3] so that its floor is level.

    The lower ankle of every body is taken as standing on the floor: a ridge regression of its height on its place.
    Where nobody walks, the floor is square to those who stand upright; where nobody stands, nothing changes.
    """
    bodies = clip[present]  # [n, V, 3]
    ankles = bodies[:, [layout.index("left_ankle"), layout.index("right_ankle")]]
    lower = ankles[np.arange(len(ankles)), ankles[..., 1].argmin(axis=1)]
    lower = lower - lower.mean(axis=0)
    place, height = lower[:, [0, 2]], lower[:, 1]
    prior = _standing_slope(bodies, layout)
    spread = place.T @ place + _STILL_M2 * len(place) * np.eye(2)
    slope = _limited(prior + np.linalg.solve(spread, place.T @ (height - place @ prior)))
    return clip @ rotation_onto(np.array([-slope[0], 1.0, -slope[1]]), np.array([0.0, 1.0, 0.0])).T


def _standing_slope(bodies: np.ndarray, layout: Layout) -> np.ndarray:
    """[2]: slope along x and z of a floor square to bodies [n, V, 3] that stand straight; 0 where none does."""
    sides = [[bodies[:, layout.index(f"{side}_{joint}")] for side in ("left", "right")] for joint in ("hip", "knee")]
    hip, knee = np.array(sides)  # [2, n, 3] each
    ankle = bodies[:, [layout.index("left_ankle"), layout.index("right_ankle")]].transpose(1, 0, 2)
    path = np.linalg.norm(hip - knee, axis=-1) + np.linalg.norm(knee - ankle, axis=-1)
    legs = hip.mean(axis=0) - ankle.mean(axis=0)
    trunk = bodies[:, layout.index("head")] - hip.mean(axis=0)
    standing = (np.linalg.norm(hip - ankle, axis=-1) > _STRAIGHT * path).all(axis=0)
    standing &= ((unit(legs) * unit(trunk)).sum(axis=-1) > _STRAIGHT) & (legs[:, 1] > 0)
    if not standing.any():
        return np.zeros(2)
    right, up, away = (legs + trunk)[standing].mean(axis=0)
    return _limited(np.array([-right, -away]) / max(up, 1e-9))


def _limited(slope: np.ndarray) -> np.ndarray:
    return slope * min(1.0, _STEEPEST / max(float(np.linalg.norm(slope)), 1e-9))
