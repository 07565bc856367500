"""Shapes -> pixels. Each shape is the filled hull of its spheres' outlines, painted over what is farther away.

Roundness: a round shape is painted several times, each time with smaller spheres, brighter, and moved to the lamp.
"""

from __future__ import annotations

from dataclasses import dataclass
from types import ModuleType

import numpy as np

from ski_edge.data.rendered.camera import Camera
from ski_edge.data.rendered.coordinates import FAR, SHIFT, fixed_point
from ski_edge.data.rendered.look import Look
from ski_edge.data.rendered.solids import Blob, Colour, lit

# Per stroke: size of its spheres, how far they move to the lamp (both in radii), and light (at strength 1)
_STROKES = ((1.0, 0.0, 0.5), (0.84, 0.12, 0.8), (0.6, 0.28, 1.0), (0.3, 0.46, 1.18))
_OUTLINE = 16  # points of a sphere's outline


@dataclass(frozen=True)
class Scene:
    """All shapes of all frames, in the picture."""

    spots: np.ndarray  # [T, S, 2]: centres of spheres, pixels
    sizes: np.ndarray  # [T, S]: their radii, pixels
    ranges: tuple[tuple[int, int], ...]  # which spheres a shape has
    order: np.ndarray  # int [T, B]: shapes from far to near
    shown: np.ndarray  # bool [T, B]
    strokes: tuple[tuple[tuple[int, Colour], ...], ...]


class Painter:
    """Paints prepared scenes. Holds what stays the same through a clip."""

    def __init__(self, camera: Camera, look: Look, cv2: ModuleType) -> None:
        self._camera, self._look, self._cv2 = camera, look, cv2
        turn = np.arange(_OUTLINE) * (2 * np.pi / _OUTLINE)
        circle = np.stack([np.cos(turn), np.sin(turn)], 1)
        lamp = np.array([look.light[0], -look.light[1]]) / np.linalg.norm(look.light)
        # [L, 1, P, 2], in radii
        self._outlines = np.stack([size * circle + move * lamp for size, move, _ in _STROKES])[:, None]
        self._lights = [1 + look.light_strength * (light - 1) for *_, light in _STROKES]

    def prepare(self, blobs: list[Blob], frames: int) -> Scene:
        """Project shapes, and sort them in every frame."""
        stops = np.cumsum([len(blob.radii) for blob in blobs], dtype=np.int64)
        starts = np.concatenate([[0], stops[:-1]]).astype(np.int64) if blobs else stops
        if not blobs:
            none = np.zeros((frames, 0))
            return Scene(np.zeros((frames, 0, 2)), none, (), none.astype(int), none.astype(bool), ())
        centres = np.concatenate(
            [np.broadcast_to(blob.centres, (frames, *blob.centres.shape[1:])) for blob in blobs], axis=1
        )
        spots, depth = self._camera.project(centres)
        sizes = np.concatenate([blob.radii for blob in blobs]) * self._camera.focal / depth
        mean = np.add.reduceat(depth, starts, axis=1) / (stops - starts) - [blob.nearer for blob in blobs]
        shown = [np.ones(frames, bool) if blob.shown is None else blob.shown for blob in blobs]
        return Scene(
            np.clip(spots, -FAR, FAR),
            np.minimum(sizes, FAR),
            tuple(zip(starts.tolist(), stops.tolist(), strict=True)),
            np.argsort(-mean, axis=1, kind="stable"),
            np.stack(shown, axis=1),
            tuple(self._strokes(blob) for blob in blobs),
        )

    def paint(self, picture: np.ndarray, scene: Scene, frame: int) -> None:
        """Paint one frame of a scene on a uint8 picture."""
        cv2 = self._cv2
        points = scene.spots[frame, :, None] + scene.sizes[frame, :, None, None] * self._outlines  # [L, S, P, 2]
        points = fixed_point(points)
        shown = scene.shown[frame]
        for shape in scene.order[frame]:
            if shown[shape]:
                start, stop = scene.ranges[shape]
                for stroke, colour in scene.strokes[shape]:
                    outline = cv2.convexHull(points[stroke, start:stop].reshape(-1, 2))
                    cv2.fillConvexPoly(picture, outline, colour, cv2.LINE_AA, SHIFT)

    def _strokes(self, blob: Blob) -> tuple[tuple[int, Colour], ...]:
        """Which strokes a shape needs, and their colours under this light."""
        red, green, blue = (c * gain for c, gain in zip(blob.colour, self._look.exposure, strict=True))
        if not blob.round:
            return ((0, lit((red, green, blue), 1.0)),)
        return tuple((stroke, lit((red, green, blue), light)) for stroke, light in enumerate(self._lights))
