"""Things that stand at the back wall or hang on it, so that a person is never the only shape in the picture."""

from __future__ import annotations

import numpy as np

from ski_edge.data.rendered.camera import Camera
from ski_edge.data.rendered.look import Background, Clutter
from ski_edge.data.rendered.solids import Blob, hull, lit, polygon, rod, slab

_OUTDOORS = ("plant", "lamp", "table")  # what may stand on a meadow


def furniture(axes: np.ndarray, foot: np.ndarray, camera: Camera, look: Background) -> list[Blob]:
    """Shapes in the world. axes: [3, 3] (along the wall, up, into the room), foot: [3], a point at the wall's foot."""
    blobs = []
    for item in look.clutter:
        if look.outdoors and item.kind not in _OUTDOORS:
            continue
        origin = _spot(axes, foot, camera, item.along)
        blobs += [part.placed(origin[None], axes[None]) for part in _MAKE[item.kind](item)]
    return blobs


def _spot(axes: np.ndarray, foot: np.ndarray, camera: Camera, along: float) -> np.ndarray:
    """[3]: the foot of the wall in the picture's column `along`, so that things stand in the picture."""
    column = (
        camera.rotation[2]
        + camera.rotation[0] * (along * 0.5 * camera.pixels + camera.pixels / 2 - camera.centre[0]) / camera.focal
    )
    normal = axes[2]
    reach = (foot - camera.position) @ normal / min(column @ normal, -0.2)
    hit = camera.position + reach * column
    hit[1] = foot[1]
    return hit


def _cupboard(item: Clutter) -> list[Blob]:
    wide, high = 0.45 * item.size, 1.7 * item.size
    gap = rod((0, 0.05, 0.46), (0, high - 0.05, 0.46), 0.008, lit(item.colour, 0.5), nearer=0.3)
    return [*slab((-wide, 0, 0), (wide, high, 0.45), item.colour), gap]


def _shelf(item: Clutter) -> list[Blob]:
    blobs = slab((-0.4, 0, 0), (0.4, 1.6 * item.size, 0.3), lit(item.colour, 0.6))
    for row in range(4):
        low = 0.1 + 0.38 * row * item.size
        for place in range(5):
            left, high = -0.36 + 0.145 * place, low + 0.2 + 0.03 * ((row + 2 * place) % 4)
            face = [(left, low, 0.31), (left + 0.12, low, 0.31), (left + 0.12, high, 0.31), (left, high, 0.31)]
            blobs.append(polygon(face, (item.colour, item.second)[(row + place) % 2], 0.3))
    return blobs


def _table(item: Clutter) -> list[Blob]:
    wide, high = 0.6 * item.size, 0.72
    legs = [
        rod((x, 0, z), (x, high, z), 0.03, lit(item.colour, 0.7))
        for x in (-wide + 0.05, wide - 0.05)
        for z in (0.1, 0.6)
    ]
    return [*legs, *slab((-wide, high, 0.05), (wide, high + 0.06, 0.65), item.colour, 0.2)]


def _sofa(item: Clutter) -> list[Blob]:
    wide = 0.8 * item.size
    arms = [slab((x - 0.1, 0, 0.05), (x + 0.1, 0.6, 0.8), lit(item.colour, 0.9), 0.2) for x in (-wide, wide)]
    seat = slab((-wide, 0, 0.1), (wide, 0.42, 0.75), item.colour, 0.1)
    return [*slab((-wide, 0, 0), (wide, 0.85, 0.2), item.colour), *seat, *arms[0], *arms[1]]


def _lamp(item: Clutter) -> list[Blob]:
    top = 1.5 * item.size
    shade = [(-0.12, top + 0.25, 0.25), (0.12, top + 0.25, 0.25), (0.22, top, 0.25), (-0.22, top, 0.25)]
    pole = rod((0, 0, 0.25), (0, top, 0.25), 0.02, (60, 60, 64))
    return [
        pole,
        rod((-0.12, 0.02, 0.25), (0.12, 0.02, 0.25), 0.03, (60, 60, 64)),
        polygon(shade, lit(item.second, 1.4)),
    ]


def _plant(item: Clutter) -> list[Blob]:
    pot = hull(
        [(-0.11, 0.02, 0.3), (0.11, 0.02, 0.3), (0.15, 0.3, 0.3), (-0.15, 0.3, 0.3)], 0.02, lit(item.second, 0.8)
    )
    ends = [(-0.35, 0.85), (-0.18, 1.1), (0.02, 1.2), (0.2, 1.05), (0.36, 0.8), (0.1, 0.8), (-0.1, 0.75)]
    greens = ((40, 110, 50), (60, 140, 60), (30, 90, 60))
    leaves = [
        hull(
            [(0, 0.3, 0.3), (0.7 * x, 0.7 * y * item.size, 0.3), (x, y * item.size, 0.35)],
            (0.01, 0.05, 0.01),
            greens[i % 3],
        )
        for i, (x, y) in enumerate(ends)
    ]
    return [*leaves, pot]


def _frame(item: Clutter, low: float, wide: float, high: float, inside: list[Blob]) -> list[Blob]:
    """A flat thing on the wall."""
    return [*slab((-wide, low, 0), (wide, low + high, 0.04), item.colour), *inside]


def _picture(item: Clutter) -> list[Blob]:
    wide, high = 0.32 * item.size, 0.45 * item.size
    sheet = _sheet(-wide + 0.05, wide - 0.05, 1.3, 1.2 + high - 0.05, item.second, 0.1)
    mark = _sheet(-0.4 * wide, 0.6 * wide, 1.32, 1.25 + 0.5 * high, lit(item.colour, 1.3), 0.12)
    return _frame(item, 1.25, wide, high, [sheet, mark])


def _window(item: Clutter) -> list[Blob]:
    wide, high = 0.5 * item.size, 1.0 * item.size
    panes = [_sheet(left, left + wide - 0.08, 1.06, 0.94 + high, (200, 226, 250), 0.1) for left in (0.04 - wide, 0.04)]
    return _frame(item, 1.0, wide, high, panes)


def _door(item: Clutter) -> list[Blob]:
    panel = _sheet(-0.38, 0.38, 0.0, 1.98, item.second, 0.1)
    return _frame(
        item, 0.0, 0.45, 2.05, [panel, rod((0.28, 0.95, 0.06), (0.34, 0.95, 0.06), 0.025, (190, 180, 120), nearer=0.15)]
    )


def _sheet(left: float, right: float, low: float, high: float, colour: tuple, nearer: float) -> Blob:
    return polygon([(left, low, 0.05), (right, low, 0.05), (right, high, 0.05), (left, high, 0.05)], colour, nearer)


_MAKE = {
    "cupboard": _cupboard,
    "table": _table,
    "lamp": _lamp,
    "plant": _plant,
    "picture": _picture,
    "window": _window,
    "door": _door,
    "sofa": _sofa,
    "shelf": _shelf,
}
