"""What can be said about one drawn frame without knowing the action: clothes, place, object, how the limbs are held.

A small video network that learns to see from these phrases stands where CLIP stands for the large ones: it knows
people, things and poses by their words, and no action.
"""

from __future__ import annotations

import numpy as np

from ski_edge.data.rendered.look import Look
from ski_edge.data.rendered.objects import OBJECTS
from ski_edge.data.rendered.solids import Colour
from ski_edge.skeleton.layouts import Layout

_COLOURS: dict[str, Colour] = {
    "black": (25, 25, 25),
    "grey": (128, 128, 128),
    "white": (235, 235, 235),
    "red": (200, 35, 35),
    "orange": (235, 130, 40),
    "yellow": (230, 215, 60),
    "green": (45, 150, 60),
    "cyan": (60, 190, 200),
    "blue": (45, 75, 190),
    "purple": (125, 55, 165),
    "pink": (235, 130, 180),
    "brown": (105, 65, 35),
}
# Height of a wrist above the hips, in trunks (hips to shoulders): upper limit, words
_HEIGHTS = ((0.2, "hanging down"), (0.6, "at the belly"), (1.0, "at the chest"), (1.4, "at the face"))
_HIGHEST = "raised above the head"
# Side of a wrist from the middle of the shoulders outwards, in shoulder widths
_SIDES = ((0.0, "across the body"), (1.0, "close to the body"))
_FARTHEST = "stretched out to the side"
_POSTURES = ("standing upright", "with bent knees", "squatting or sitting low", "bending forward")
_LEGS = ("with closed legs", "with legs apart", "lifting one knee")

GROUPS: dict[str, tuple[str, ...]] = {
    "shirt": tuple(f"a person in a {colour} shirt" for colour in _COLOURS),
    "trousers": tuple(f"a person in {colour} trousers" for colour in _COLOURS),
    "object": (*(f"a person holding a {name}" for name in OBJECTS), "a person with empty hands"),
    "place": ("a photo taken outdoors", "a photo of a room"),
    **{
        f"{side}_height": tuple(f"the {side} hand {words}" for words in (*(w for _, w in _HEIGHTS), _HIGHEST))
        for side in ("right", "left")
    },
    **{
        f"{side}_side": tuple(f"the {side} arm {words}" for words in (*(w for _, w in _SIDES), _FARTHEST))
        for side in ("right", "left")
    },
    "posture": tuple(f"a person {words}" for words in _POSTURES),
    "legs": tuple(f"a person {words}" for words in _LEGS),
}
"""Group -> its phrases; of each group exactly one is true of a frame."""


def describe(look: Look, body: np.ndarray, layout: Layout) -> np.ndarray:
    """int64 [groups]: which phrase of each group is true. body: joints of body 1, metres, [V, 3]."""
    person = look.people[0]
    return np.array(
        [
            _colour(person.shirt),
            _colour(person.trousers),
            OBJECTS.index(look.held) if look.held is not None else len(OBJECTS),
            0 if look.background.outdoors else 1,
            *_pose(body, layout),
        ],
        np.int64,
    )


def _colour(colour: Colour) -> int:
    known = np.array(list(_COLOURS.values()), float)
    return int(np.linalg.norm(known - np.asarray(colour), axis=1).argmin())


def _pose(body: np.ndarray, layout: Layout) -> list[int]:
    """Indices of the six groups that speak of the body."""
    joints = {
        f"{side}_{part}": body[layout.index(f"{side}_{part}")].astype(float)
        for side in ("right", "left")
        for part in ("shoulder", "wrist", "hip", "knee", "ankle")
    }
    shoulders = (joints["right_shoulder"] + joints["left_shoulder"]) / 2
    hips = (joints["right_hip"] + joints["left_hip"]) / 2
    across = joints["right_shoulder"] - joints["left_shoulder"]
    width = max(float(np.linalg.norm(across)), 1e-6)
    trunk = max(float(np.linalg.norm(shoulders - hips)), 1e-6)
    heights, sides = [], []
    for side, sign in (("right", 1), ("left", -1)):
        wrist = joints[f"{side}_wrist"]
        heights.append(_step((wrist[1] - hips[1]) / trunk, [limit for limit, _ in _HEIGHTS]))
        outwards = sign * float((wrist - shoulders) @ across) / width**2
        sides.append(_step(outwards, [limit for limit, _ in _SIDES]))
    return [*heights, *sides, _posture(joints, shoulders - hips, hips), _legs(joints, trunk)]


def _posture(joints: dict[str, np.ndarray], up: np.ndarray, hips: np.ndarray) -> int:
    leg = sum(
        np.linalg.norm(joints[f"{side}_hip"] - joints[f"{side}_knee"])
        + np.linalg.norm(joints[f"{side}_knee"] - joints[f"{side}_ankle"])
        for side in ("right", "left")
    )
    lowest = min(joints["right_ankle"][1], joints["left_ankle"][1])
    stretch = 2 * (hips[1] - lowest) / max(float(leg), 1e-6)
    if up[1] < 0.75 * np.linalg.norm(up):  # 41 degrees
        return 3
    return 0 if stretch > 0.85 else 1 if stretch > 0.6 else 2


def _legs(joints: dict[str, np.ndarray], trunk: float) -> int:
    if abs(joints["right_knee"][1] - joints["left_knee"][1]) > 0.35 * trunk:
        return 2
    gap = float(np.linalg.norm((joints["right_ankle"] - joints["left_ankle"])[[0, 2]]))
    return 1 if gap > 0.8 * trunk else 0


def _step(value: float, limits: list[float]) -> int:
    return int(np.searchsorted(limits, value))
