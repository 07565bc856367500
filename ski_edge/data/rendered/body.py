"""Joints -> the shapes of a dressed person. Which bones there are, and which joint is which, comes from the layout."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from ski_edge.data.rendered.look import Person
from ski_edge.data.rendered.solids import Blob, Colour, hull, lit, unit
from ski_edge.errors import BadInput
from ski_edge.skeleton.layouts import Layout

_SIDED = ("shoulder", "elbow", "wrist", "hip", "knee", "ankle")
_NEEDED = ("head", *(f"{side}_{joint}" for side in ("left", "right") for joint in _SIDED))
_EYE: Colour = (24, 20, 22)


@dataclass(frozen=True)
class Limb:
    """How the bone that ends in a joint is drawn: radii in metres at its parent and at the joint."""

    start: float
    end: float
    wears: str  # sleeve, cuff (long sleeves only), leg, hem (long legs only), skin, shoe
    nearer: float


_LIMBS = {
    "elbow": Limb(0.056, 0.046, "sleeve", 0.1),
    "wrist": Limb(0.045, 0.034, "cuff", 0.11),
    "hand": Limb(0.034, 0.046, "skin", 0.12),
    "hand_tip": Limb(0.03, 0.022, "skin", 0.12),
    "thumb": Limb(0.022, 0.018, "skin", 0.12),
    "knee": Limb(0.088, 0.064, "leg", 0.0),
    "ankle": Limb(0.06, 0.042, "hem", 0.0),
    "foot": Limb(0.048, 0.042, "shoe", 0.02),
}


def check_layout(layout: Layout) -> None:
    """A body can be drawn where the layout has a head and both arms and legs."""
    missing = [name for name in _NEEDED if name not in layout.joints]
    if missing:
        raise BadInput(
            f"layout {layout.name} cannot be drawn, it has no {', '.join(missing)}; convert it to kinect20 or ntu25"
        )


def body(joints: np.ndarray, present: np.ndarray, layout: Layout, person: Person) -> list[Blob]:
    """joints: float64 [T, V, 3], metres; present: bool [T] -> shapes, shown where the person is there."""
    at = {name: joints[:, index] for index, name in enumerate(layout.joints)}
    blobs = [*_trunk(at, person), *_head(at, person)]
    # Both fingers hang on the hand where the layout's bones for distances say so (ntu25).
    for child, parent in layout.hop_bones or layout.bones:
        limb = _LIMBS.get(_plain(layout.joints[child]))
        if limb:
            blobs += _limb(at[layout.joints[parent]], at[layout.joints[child]], limb, person)
    return [replace(blob, shown=present) for blob in blobs]


def hand(joints: np.ndarray, layout: Layout) -> tuple[np.ndarray, np.ndarray]:
    """[T, 3]: the right hand, and the direction of its forearm. From the elbow on: wrists of depth cameras shake."""
    name = "right_hand" if "right_hand" in layout.joints else "right_wrist"
    place = joints[:, layout.index(name)]
    return place, unit(place - joints[:, layout.index("right_elbow")])


def facing(at: dict[str, np.ndarray]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """[T, 3] each: to the right hip and shoulder, up the spine, and where the chest looks."""
    across = unit(at["right_shoulder"] - at["left_shoulder"])
    up = unit(at["right_shoulder"] + at["left_shoulder"] - at["right_hip"] - at["left_hip"])
    # Our axes are left-handed (x right, y up, z away), and a left shoulder with the smaller x faces the camera.
    return across, up, unit(np.cross(up, across))


def _plain(joint: str) -> str:
    return joint.removeprefix("left_").removeprefix("right_")


def _trunk(at: dict[str, np.ndarray], person: Person) -> list[Blob]:
    across, up, _ = facing(at)
    shoulders = [at["left_shoulder"] + 0.03 * across - 0.02 * up, at["right_shoulder"] - 0.03 * across - 0.02 * up]
    hips = [at["left_hip"] - 0.015 * across, at["right_hip"] + 0.015 * across]
    hem = [hip + 0.04 * up for hip in hips]
    neck = (at["left_shoulder"] + at["right_shoulder"]) / 2
    wide = np.array([0.078, 0.078, 0.092, 0.092]) * person.build
    return [
        hull([neck, 0.6 * at["head"] + 0.4 * neck], 0.05 * person.build, lit(person.skin, 0.85), nearer=0.07),
        hull(hips, 0.096 * person.build, person.trousers),
        hull(shoulders + hem, wide, person.shirt, nearer=0.06),
    ]


def _head(at: dict[str, np.ndarray], person: Person) -> list[Blob]:
    across, trunk_up, front = facing(at)
    up = unit(at["head"] - (at["left_shoulder"] + at["right_shoulder"]) / 2 + 0.1 * trunk_up)
    head, size = at["head"], 0.088 + 0.012 * person.build
    hair = {"bald": person.skin, "cap": person.trousers}.get(person.hair_style, person.hair)
    crown = head + 0.045 * up - 0.02 * front
    face = [head - 0.06 * up + 0.02 * front, head + 0.005 * up + 0.03 * front]
    blobs = [
        hull([crown], 1.08 * size, hair, nearer=0.05),
        hull(face, [0.74 * size, 0.92 * size], person.skin, nearer=0.05),
    ]
    for side in (-0.036, 0.036):  # they tell front from back
        blobs.append(hull([head + 0.11 * front + side * across], 0.014, _EYE, round=False, nearer=0.06))
    if person.hair_style == "long":
        ends = [crown - 0.03 * front, head - 0.06 * front - 0.15 * up]
        blobs.append(hull(ends, [1.05 * size, 0.095], hair, nearer=0.03))
    elif person.hair_style == "cap":
        brim = [crown + 0.17 * front + side * across for side in (-0.05, 0.05)]
        blobs.append(hull([*brim, crown + 0.1 * front], 0.018, lit(hair, 0.8), nearer=0.07))
    return blobs


def _limb(start: np.ndarray, end: np.ndarray, limb: Limb, person: Person) -> list[Blob]:
    radii = np.array([limb.start, limb.end]) * person.build
    if limb.wears == "shoe":
        toe = end + 0.05 * unit(end - start)  # the joint lies in the middle of the foot
        return [hull([start, toe], radii, person.shoes, nearer=limb.nearer)]
    cloth = person.shirt if limb.wears in ("sleeve", "cuff") else person.trousers
    covered = {"sleeve": True, "cuff": person.long_sleeves, "leg": True, "hem": person.long_legs, "skin": False}
    if not covered[limb.wears]:
        return [hull([start, end], radii, person.skin, nearer=limb.nearer)]
    if limb.wears == "sleeve" and not person.long_sleeves:
        middle = start + 0.6 * (end - start)
        sleeve = hull([start, middle], radii + 0.008, cloth, nearer=limb.nearer + 0.01)
        return [hull([start, end], radii, person.skin, nearer=limb.nearer), sleeve]
    return [hull([start, end], radii + 0.004, cloth, nearer=limb.nearer)]
