"""A camera fitted to the people of a whole clip, then moved by the look."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ski_edge.data.rendered.look import Look

_NEAREST_M = 1.2  # no sphere may be nearer to the camera: perspective would blow it up
_CLIP_M = 0.05  # depths below are points of missing bodies or of the floor behind the camera


@dataclass(frozen=True)
class Camera:
    """World metres -> pixels of a square picture; x right, y up, z away from the camera."""

    rotation: np.ndarray  # [3, 3]: world -> camera
    position: np.ndarray  # [3], metres
    focal: float  # pixels
    centre: np.ndarray  # [2]: pixel of what is straight ahead
    pixels: int  # width and height of the picture

    def project(self, points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """[..., 3] -> pixels [..., 2] (right, down) and depth [...] in metres."""
        seen = (points - self.position) @ self.rotation.T
        depth = np.maximum(seen[..., 2], _CLIP_M)
        return self.centre + seen[..., :2] * (self.focal / depth[..., None]) * (1, -1), depth

    def rays(self) -> np.ndarray:
        """float32 [H, W, 3]: direction in the world of every pixel; not of length 1."""
        pixels = self.pixels
        right = (np.arange(pixels) + 0.5 - self.centre[0]) / self.focal
        up = (self.centre[1] - np.arange(pixels) - 0.5) / self.focal
        directions = np.stack(np.broadcast_arrays(right[None, :], up[:, None], 1.0), -1)
        return (directions @ self.rotation).astype(np.float32)


def fit(centres: np.ndarray, radii: np.ndarray, look: Look, pixels: int) -> Camera:
    """A camera around the origin that sees all spheres of the clip. centres: [n, 3], radii: [n], metres."""
    rotation = _rotation(look)
    seen = centres @ rotation.T
    distance = max(look.distance, _NEAREST_M - float((seen[:, 2] - radii).min()))
    depth = (seen[:, 2] + distance)[:, None]
    low = ((seen[:, :2] - radii[:, None]) / depth).min(axis=0)
    high = ((seen[:, :2] + radii[:, None]) / depth).max(axis=0)
    focal = look.fill * pixels / float((high - low).max())
    slack = (pixels - focal * (high - low)) / 2
    middle = np.array([1, -1]) * (np.array(look.shift) * slack - focal * (low + high) / 2)
    return Camera(rotation, -distance * rotation[2], focal, pixels / 2 + middle, pixels)


def _rotation(look: Look) -> np.ndarray:
    """[3, 3], rows are the camera's axes in the world: first around the vertical, then down, then about the view."""
    (sy, sp, sr), (cy, cp, cr) = (f([look.yaw, look.pitch, look.roll]) for f in (np.sin, np.cos))
    yaw = np.array([[cy, 0, sy], [0, 1, 0], [-sy, 0, cy]])
    pitch = np.array([[1, 0, 0], [0, cp, sp], [0, -sp, cp]])
    roll = np.array([[cr, -sr, 0], [sr, cr, 0], [0, 0, 1]])
    return roll @ pitch @ yaw
