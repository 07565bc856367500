"""The shadow of a person on the floor: without one, people float."""

from __future__ import annotations

from types import ModuleType

import numpy as np

from ski_edge.data.rendered.camera import Camera
from ski_edge.data.rendered.coordinates import FAR, SHIFT, fixed_point
from ski_edge.data.rendered.look import Look
from ski_edge.data.rendered.solids import Blob

_RING = 8  # points of a sphere's shadow
_SLANT = 0.6  # share of the true slant: a lamp in a room throws short shadows


class Shadow:
    """Shadows of round shapes, thrown by the look's lamp on a level floor."""

    def __init__(self, blobs: list[Blob], floor: float, camera: Camera, look: Look, cv2: ModuleType) -> None:
        casting = [blob for blob in blobs if blob.round and blob.shown is not None]
        self._camera, self._cv2 = camera, cv2
        stops = np.cumsum([len(blob.radii) for blob in casting])
        self._ranges = list(zip([0, *stops.tolist()], stops.tolist(), strict=False))
        self._shown = np.stack([blob.shown for blob in casting], axis=1)
        self._mask = np.zeros((camera.pixels, camera.pixels), np.uint8)
        centres = np.concatenate([blob.centres for blob in casting], axis=1)
        right, up, towards = look.light
        ahead = camera.rotation[2] * (1, 0, 1)
        slope = _SLANT / up * (towards * ahead / np.linalg.norm(ahead) - right * camera.rotation[0] * (1, 0, 1))
        self._spots = centres + (centres[..., 1:2] - floor) * slope
        self._spots[..., 1] = floor
        turn = np.arange(_RING) * (2 * np.pi / _RING)
        ring = np.stack([np.cos(turn), 0 * turn, np.sin(turn)], 1)
        self._rings = ring * np.concatenate([blob.radii for blob in casting])[:, None, None]  # [S, P, 3]

    def paint(self, picture: np.ndarray, shaded: np.ndarray, frame: int) -> None:
        """Put `shaded`, the picture with a dark floor, where the shadow is."""
        points, _ = self._camera.project(self._spots[frame][:, None] + self._rings)
        points = fixed_point(np.clip(points, -FAR, FAR))
        self._mask.fill(0)
        for (start, stop), shown in zip(self._ranges, self._shown[frame], strict=True):
            if shown:
                outline = self._cv2.convexHull(points[start:stop].reshape(-1, 2))
                self._cv2.fillConvexPoly(self._mask, outline, 255, self._cv2.LINE_8, SHIFT)
        self._cv2.copyTo(shaded, self._mask, picture)
