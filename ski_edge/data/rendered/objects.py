"""What a hand can hold. Small things are drawn about twice their size: at 112 pixels a true cup has four.

Local axes: 0 across, 1 out of the fist, 2 towards the viewer, origin in the fist, metres.
"""

from __future__ import annotations

import itertools
from dataclasses import replace

import numpy as np

from ski_edge.data.rendered.solids import Blob, Colour, disc, lit, polygon, rod, slab, unit

_WOOD: Colour = (150, 100, 55)
_STEEL: Colour = (196, 204, 214)
_BLACK: Colour = (34, 34, 38)
_WHITE: Colour = (244, 242, 236)


def _cup() -> list[Blob]:
    red: Colour = (214, 40, 36)
    handle = [(0.06, 0.09, 0.0), (0.13, 0.07, 0.0), (0.13, -0.02, 0.0), (0.06, -0.04, 0.0)]
    blobs = [rod(*ends, 0.014, lit(red, 0.85)) for ends in itertools.pairwise(handle)]
    blobs.append(polygon([(-0.075, 0.12, 0), (0.075, 0.12, 0), (0.06, -0.07, 0), (-0.06, -0.07, 0)], red, 0.03))
    blobs.append(
        polygon([(-0.06, 0.12, 0), (-0.03, 0.12, 0), (-0.025, -0.07, 0), (-0.05, -0.07, 0)], lit(red, 1.3), 0.04)
    )
    return [
        *blobs,
        disc((0, 0.12, 0), 0.075, 0.022, _WHITE, 0.05),
        disc((0, 0.118, 0), 0.06, 0.014, (70, 40, 24), 0.06),
    ]


def _bottle() -> list[Blob]:
    green: Colour = (26, 140, 70)
    return [
        rod((0, -0.08, 0), (0, 0.12, 0), 0.055, green),
        rod((0, 0.14, 0), (0, 0.24, 0), 0.038, green, 0.02),
        rod((0, 0.25, 0), (0, 0.275, 0), 0.026, (240, 200, 40), nearer=0.01),
        polygon([(-0.055, 0, 0), (0.055, 0, 0), (0.055, 0.08, 0), (-0.055, 0.08, 0)], _WHITE, 0.06),
    ]


def _phone() -> list[Blob]:
    screen = [(-0.052, -0.02, 0.02), (0.052, -0.02, 0.02), (0.052, 0.16, 0.02), (-0.052, 0.16, 0.02)]
    bar = [(-0.052, 0.1, 0.021), (0.052, 0.1, 0.021), (0.052, 0.13, 0.021), (-0.052, 0.13, 0.021)]
    case = slab((-0.068, -0.05, -0.015), (0.068, 0.19, 0.015), _BLACK)
    return [*case, polygon(screen, (60, 210, 255), 0.04), polygon(bar, _WHITE, 0.06)]


def _book() -> list[Blob]:
    cover: Colour = (44, 70, 170)
    title = [(-0.06, 0.14, 0.04), (0.09, 0.14, 0.04), (0.09, 0.19, 0.04), (-0.06, 0.19, 0.04)]
    return [
        *slab((-0.13, -0.06, -0.035), (0.13, 0.27, -0.025), lit(cover, 0.8)),
        *slab((-0.125, -0.05, -0.025), (0.122, 0.26, 0.025), _WHITE, 0.01),
        *slab((-0.13, -0.06, 0.025), (0.13, 0.27, 0.035), cover, 0.02),
        polygon(title, (246, 206, 70), 0.06),
    ]


def _ball() -> list[Blob]:
    orange: Colour = (240, 120, 24)
    seams = [((-0.1, 0.06, 0.06), (0.1, 0.16, 0.06)), ((-0.045, 0.2, 0.06), (0.045, 0.02, 0.06))]
    return [rod((0, 0.11, 0), (0, 0.11, 0), 0.13, orange), *(rod(*ends, 0.006, _BLACK, nearer=0.1) for ends in seams)]


def _stick() -> list[Blob]:
    # In pieces: one long shape has one depth, and would be before or behind the body as a whole.
    marks = np.linspace(-0.3, 0.55, 5).tolist()
    return [rod((0, a, 0), (0, b, 0), 0.02, _WOOD) for a, b in itertools.pairwise(marks)]


def _racket() -> list[Blob]:
    frame: Colour = (230, 30, 130)
    strings = [rod((x, 0.24, 0), (x, 0.48, 0), 0.004, (120, 130, 120), nearer=0.04) for x in (-0.06, 0.0, 0.06)]
    strings += [rod((-0.09, y, 0), (0.09, y, 0), 0.004, (120, 130, 120), nearer=0.04) for y in (0.29, 0.36, 0.43)]
    return [
        rod((0, -0.1, 0), (0, 0.08, 0), 0.022, _BLACK),
        rod((0, 0.08, 0), (0, 0.2, 0), 0.016, frame),
        disc((0, 0.36, 0), 0.13, 0.165, frame, 0.01),
        disc((0, 0.36, 0), 0.1, 0.135, (226, 238, 214), 0.02),
        *strings,
    ]


def _bag() -> list[Blob]:
    purple: Colour = (150, 50, 150)
    low, high = -0.1, 0.1
    handles = [rod((side, 0.14, 0), (0, 0, 0), 0.012, lit(purple, 0.6)) for side in (low, high)]
    body = [(-0.13, 0.12, 0), (0.13, 0.12, 0), (0.18, 0.42, 0), (-0.18, 0.42, 0)]
    stripe = [(-0.15, 0.24, 0), (0.15, 0.24, 0), (0.16, 0.31, 0), (-0.16, 0.31, 0)]
    return [*handles, polygon(body, purple, 0.02), polygon(stripe, (250, 190, 60), 0.04)]


def _knife() -> list[Blob]:
    blade = [(-0.03, 0.07, 0), (0.035, 0.07, 0), (0.035, 0.26, 0), (-0.03, 0.37, 0)]
    edge = [(0.015, 0.07, 0), (0.035, 0.07, 0), (0.035, 0.26, 0), (0.015, 0.29, 0)]
    handle = rod((0, -0.08, 0), (0, 0.06, 0), 0.026, _BLACK)
    return [handle, polygon(blade, _STEEL, 0.02), polygon(edge, (246, 250, 255), 0.03)]


def _hammer() -> list[Blob]:
    return [
        rod((0, -0.1, 0), (0, 0.3, 0), 0.02, _WOOD),
        *slab((-0.13, 0.26, -0.045), (0.07, 0.35, 0.045), (88, 94, 104), 0.03),
        *slab((0.07, 0.275, -0.03), (0.12, 0.335, 0.03), (150, 156, 166), 0.03),
    ]


def _plate() -> list[Blob]:
    rims = ((0.2, (70, 130, 210)), (0.175, _WHITE), (0.11, (224, 222, 214)))
    return [disc((0, 0.05, 0), width, 0.45 * width, colour, 0.02 * i) for i, (width, colour) in enumerate(rims)]


def _umbrella() -> list[Blob]:
    colours: tuple[Colour, Colour] = ((220, 40, 60), (250, 214, 60))
    pole = [rod((0, a, 0), (0, a + 0.15, 0), 0.012, (70, 70, 76)) for a in (-0.12, 0.03, 0.18)]
    rim = [(x, 0.27 - 0.04 * (i % 2), 0.0) for i, x in enumerate((-0.34, -0.21, -0.07, 0.07, 0.21, 0.34))]
    gores = []
    for i, (left, right) in enumerate(itertools.pairwise(rim)):
        bulge = [(0.75 * x, 0.27 + 0.15 * (1 - (x / 0.4) ** 2), 0.0) for x, *_ in (right, left)]
        gores.append(polygon([(0, 0.46, 0), bulge[0], right, left, bulge[1]], colours[i % 2], 0.02))
    return [*pole, *gores, rod((0, 0.46, 0), (0, 0.5, 0), 0.012, (70, 70, 76))]


# name -> (parts, which way the fist's axis points: the forearm's way, up, or down where a thing hangs)
_HELD = {
    "cup": (_cup(), "up"),
    "bottle": (_bottle(), "forearm"),
    "phone": (_phone(), "forearm"),
    "book": (_book(), "forearm"),
    "ball": (_ball(), "forearm"),
    "stick": (_stick(), "forearm"),
    "racket": (_racket(), "forearm"),
    "bag": (_bag(), "down"),
    "knife": (_knife(), "forearm"),
    "hammer": (_hammer(), "forearm"),
    "plate": (_plate(), "up"),
    "umbrella": (_umbrella(), "up"),
}
OBJECTS: tuple[str, ...] = tuple(_HELD)


def held(
    name: str, hand: np.ndarray, forearm: np.ndarray, view: np.ndarray, grip: float, shown: np.ndarray
) -> list[Blob]:
    """The thing in a hand.

    hand, forearm: [T, 3], place in metres and direction; view: [3], where the camera looks; grip: radians.
    A flat thing turns its face to the camera as far as the hand allows, and `grip` off it: edge on it cannot be told.
    """
    parts, points = _HELD[name]
    along = forearm
    if points != "forearm":
        along = np.broadcast_to(np.array([0.0, 1.0 if points == "up" else -1.0, 0.0]), hand.shape)
    towards = np.array([0.0, 0.3, 0.0]) - view  # somewhat up: a forearm that points at the camera still has a face
    out = unit(towards - along * (along @ towards)[:, None])
    across = np.cross(out, along)
    turned = np.cos(grip) * out + np.sin(grip) * across
    axes = np.stack([np.cross(turned, along), along, turned], axis=1)
    origin = hand + 0.04 * forearm
    return [replace(part.placed(origin, axes), nearer=part.nearer + 0.14, shown=shown) for part in parts]
