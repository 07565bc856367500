"""A clip set up to be drawn: people, what they hold, a camera that sees them and a room around them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ski_edge.data.rendered.background import Room, room
from ski_edge.data.rendered.body import body, hand
from ski_edge.data.rendered.camera import Camera, fit
from ski_edge.data.rendered.level import level
from ski_edge.data.rendered.look import Look
from ski_edge.data.rendered.objects import held
from ski_edge.data.rendered.solids import Blob
from ski_edge.errors import BadInput
from ski_edge.skeleton.layouts import Layout

_REACH_M = 0.36  # room for what a hand may hold; kept free without it too, so that a held thing moves no camera
_WIDEST_M = 100.0


@dataclass(frozen=True)
class Stage:
    """Metres, x right, y up, z away; the origin is the middle of the clip."""

    joints: np.ndarray  # float64 [T, M, V, 3], level
    camera: Camera
    room: Room
    people: list[Blob]
    things: list[Blob]


def set_stage(clip: np.ndarray, layout: Layout, look: Look, pixels: int) -> Stage:
    """clip: float64 [T, M, V, 3], checked, of a layout that can be drawn; pixels: width and height."""
    present = (clip != 0).any(axis=(2, 3))  # [T, M]
    low, high = clip[present].min(axis=(0, 1)), clip[present].max(axis=(0, 1))
    span = 2 * float((high / 2 - low / 2).max())  # the halves cannot overflow
    if not span <= _WIDEST_M:
        raise BadInput(f"the skeleton spans {span:.3g} m, more than {_WIDEST_M:g}; joints must be in metres")
    joints = level(clip - (low + high) / 2, present, layout)  # a body far from the origin would turn about it
    joints = joints - joints[present][:, list(layout.centre)].mean(axis=(0, 1))
    people = [
        blob
        for m in range(clip.shape[1])
        if present[:, m].any()
        for blob in body(joints[:, m], present[:, m], layout, look.people[m % len(look.people)])
    ]
    fists, forearms = hand(joints[:, 0], layout)
    seen = [blob.centres[blob.shown].reshape(-1, 3) for blob in people]
    radii = [np.tile(blob.radii, int(blob.shown.sum())) for blob in people]
    reach = fists[present[:, 0]]
    camera = fit(np.concatenate([*seen, reach]), np.concatenate([*radii, np.full(len(reach), _REACH_M)]), look, pixels)
    place = room(np.concatenate(seen), _floor(people), camera, look)
    things = []
    if look.held is not None:
        things = held(look.held, fists, forearms, camera.rotation[2], look.grip, present[:, 0])
    return Stage(joints, camera, place, people, things)


def _floor(people: list[Blob]) -> float:
    """Height of the floor. Feet shake and jump: it is where the lowest shape mostly is, not where it once was."""
    lows = [np.where(blob.shown, (blob.centres[..., 1] - blob.radii).min(axis=1), np.inf) for blob in people]
    lowest = np.min(lows, axis=0)
    return float(np.percentile(lowest[np.isfinite(lowest)], 25))
