"""Turning skeletons."""

from __future__ import annotations

import numpy as np


def rotation_onto(vector: np.ndarray, axis: np.ndarray) -> np.ndarray:
    """[3, 3]: the smallest rotation that takes `vector` [3] to the direction of `axis` [3], of length 1 (Rodrigues).

    Identity where no smallest one exists or is needed: a vector of no length, along the axis, or straight against it
    (pyskl leaves both).
    """
    length = np.linalg.norm(vector)
    if length < 1e-9:
        return np.eye(3)
    unit = vector / length
    cross, cosine = np.cross(unit, axis), float(unit @ axis)
    if np.linalg.norm(cross) < 1e-9:
        return np.eye(3)
    skew = np.array([[0, -cross[2], cross[1]], [cross[2], 0, -cross[0]], [-cross[1], cross[0], 0]])
    # The same number twice, sin^2 = 1 - cos^2: against the axis 1 + cos is lost to rounding, along it 1 - cos is.
    beyond = 1 + cosine if cosine > 0 else float(cross @ cross) / (1 - cosine)
    return np.eye(3) + skew + skew @ skew / beyond
