"""The one shape of the renderer: the convex hull of some spheres. A limb has two, a head two, a box face four."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

Colour = tuple[float, float, float]  # RGB, 0 to 255
Point = tuple[float, float, float]  # metres
_FACE_LIGHT = ((0, 0.72, 0.84), (1, 0.6, 1.14), (2, 0.7, 1.0))  # axis, light on its low face, light on its high face
_RIM = 14  # points of a disc


@dataclass(frozen=True)
class Blob:
    """Convex hull of n spheres, one colour."""

    centres: np.ndarray  # float64 [T or 1, n, 3], metres
    radii: np.ndarray  # float64 [n], metres
    colour: Colour
    round: bool = True  # shaded as something round; a face of a box is flat
    nearer: float = 0.0  # metres by which it is sorted before its depth: an arm that touches the shirt is on it
    shown: np.ndarray | None = None  # bool [T]; None: in every frame

    def placed(self, origin: np.ndarray, axes: np.ndarray) -> Blob:
        """Local coordinates -> the world's. origin: [T, 3]; axes: [T, 3, 3], its rows are the local axes."""
        return replace(self, centres=origin[:, None] + self.centres @ axes)


def hull(points: object, radii: object, colour: Colour, nearer: float = 0.0, round: bool = True) -> Blob:
    """points: [n, 3] or a list of n arrays [T, 3]; radii: a number or [n]."""
    stacked = np.asarray(points, np.float64)
    centres = stacked.transpose(1, 0, 2) if stacked.ndim == 3 else stacked[None]
    return Blob(centres, np.broadcast_to(np.asarray(radii, np.float64), centres.shape[1:2]), colour, round, nearer)


def rod(start: Point, end: Point, radius: float, colour: Colour, end_radius: float = 0.0, nearer: float = 0.0) -> Blob:
    """A capsule; with `end_radius`, a cone with round ends."""
    return hull([start, end], [radius, end_radius or radius], colour, nearer)


def disc(centre: Point, across: float, along: float, colour: Colour, nearer: float = 0.0) -> Blob:
    """A flat ellipse in the plane of axes 0 and 1. across, along: its half axes."""
    turn = np.arange(_RIM) * (2 * np.pi / _RIM)
    rim = np.stack([across * np.cos(turn), along * np.sin(turn), 0 * turn], 1)
    return hull(rim + np.asarray(centre), 0.0, colour, round=False, nearer=nearer)


def polygon(points: list[Point], colour: Colour, nearer: float = 0.0) -> Blob:
    """A flat convex face."""
    return hull(points, 0.0, colour, round=False, nearer=nearer)


def slab(low: Point, high: Point, colour: Colour, nearer: float = 0.0) -> list[Blob]:
    """A box between two corners: six faces, each with its own light. Axis 1 is up."""
    faces = []
    for axis, *lights in _FACE_LIGHT:
        first, second = (other for other in range(3) if other != axis)
        for level, light in zip((low[axis], high[axis]), lights, strict=True):
            corners = np.empty((4, 3))
            corners[:, axis] = level
            corners[:, first] = np.array([low[first], high[first], high[first], low[first]])
            corners[:, second] = np.array([low[second], low[second], high[second], high[second]])
            faces.append(polygon(corners.tolist(), lit(colour, light), nearer))
    return faces


def lit(colour: Colour, light: float) -> Colour:
    """The colour in more or less light."""
    red, green, blue = (min(255.0, max(0.0, channel * light)) for channel in colour)
    return red, green, blue


def unit(vectors: np.ndarray) -> np.ndarray:
    """[..., 3] of length 1; zero stays zero."""
    return vectors / np.maximum(np.linalg.norm(vectors, axis=-1, keepdims=True), 1e-9)
