"""The small world: which clips are drawn, of which skeleton, with what in the hand."""

from __future__ import annotations

from typing import Literal

import numpy as np
from pydantic import Field

from ski_edge.contracts import Contract
from ski_edge.data.rendered.objects import OBJECTS
from ski_edge.data.rendered.solids import unit
from ski_edge.skeleton.layouts import Layout

# What one holds while doing it. Classes share objects, so that an object narrows a class down and does not give it
# away, and so that classes which are never shown in training meet objects that are.
_TABLE = {
    # UTD-MHAD
    "right arm swipe to the left": "book",
    "right arm swipe to the right": "book",
    "right hand wave": "umbrella",
    "two hand front clap": "plate",
    "right arm throw": "ball",
    "cross arms in the chest": "bag",
    "basketball shoot": "ball",
    "right hand draw x": "phone",
    "right hand draw circle (clockwise)": "phone",
    "right hand draw circle (counter clockwise)": "phone",
    "draw triangle": "phone",
    "bowling (right hand)": "ball",
    "front boxing": "knife",
    "baseball swing from right": "stick",
    "tennis right hand forehand swing": "racket",
    "arm curl (two arms)": "hammer",
    "tennis serve": "racket",
    "two hand push": "plate",
    "right hand knock on door": "hammer",
    "right hand catch an object": "ball",
    "right hand pick up and throw": "bottle",
    "jogging in place": "bottle",
    "walking in place": "umbrella",
    "sit to stand": "cup",
    "stand to sit": "cup",
    "forward lunge (left foot forward)": "knife",
    "squat (two arms stretch out)": "stick",
    # NW-UCLA
    "pick up with one hand": "bottle",
    "pick up with two hands": "bag",
    "drop trash": "bottle",
    "walk around": "umbrella",
    "sit down": "cup",
    "stand up": "cup",
    "donning": "bag",
    "doffing": "bag",
    "throw": "ball",
    "carry": "plate",
}


class RenderedWorld(Contract):
    """Skeletons drawn as video: a pure function of the skeletons and these fields."""

    looks: int = Field(4, ge=1, le=64)  # different clips drawn of every skeleton: clothes, room, light, camera
    frames: int = Field(16, ge=1, le=256)  # of each clip, evenly spaced
    size: int = Field(112, ge=16, le=1024)  # pixels
    # table: every class has its object, but some clips show another; shuffled: objects are independent of the class
    # (the control); none: empty hands
    objects: Literal["table", "shuffled", "none"] = "table"
    object_noise: float = Field(0.2, ge=0, le=1)  # share of clips whose object is drawn from all
    seed: int = Field(0, ge=0)


class RenderedFrames(Contract):
    """Single frames with a description each; see `captions`."""

    count: int = Field(32_000, ge=1, le=10_000_000)
    size: int = Field(112, ge=16, le=1024)  # pixels
    moved_arms: float = Field(0.6, ge=0, le=1)  # chance that an arm is turned anywhere: data sets mostly let them hang
    seed: int = Field(0, ge=0)


def move_arms(body: np.ndarray, layout: Layout, chance: float, rng: np.random.Generator) -> np.ndarray:
    """Joints [V, 3] with each arm, by chance, in a new direction; bones keep their lengths."""
    moved = body.astype(np.float64)
    for side in ("left", "right"):
        upper, bend, chosen = rng.normal(size=3), rng.normal(size=3), rng.random() < chance
        if not chosen:
            continue
        chain = [layout.index(f"{side}_{part}") for part in ("shoulder", "elbow", "wrist")]
        upper, lower = unit(upper), unit(unit(upper) + 0.8 * unit(bend))
        elbow = moved[chain[0]] + upper * np.linalg.norm(body[chain[1]] - body[chain[0]])
        wrist = elbow + lower * np.linalg.norm(body[chain[2]] - body[chain[1]])
        hand = [joint for joint, name in enumerate(layout.joints) if name.startswith(f"{side}_") and _of_hand(name)]
        for joint in hand:
            moved[joint] = wrist + lower * np.linalg.norm(body[joint] - body[chain[2]])
        moved[chain[1]], moved[chain[2]] = elbow, wrist
    return moved.astype(body.dtype)


def _of_hand(name: str) -> bool:
    return any(part in name for part in ("hand", "thumb"))


def object_of(name: str, label: int) -> str:
    """The object of a class; classes that are not in the table take turns."""
    return _TABLE.get(name, OBJECTS[label % len(OBJECTS)])


def held_object(world: RenderedWorld, name: str, label: int, rng: np.random.Generator) -> str | None:
    """What the hand holds in one clip. Draws the same numbers in every kind of world."""
    other, chance = str(rng.choice(OBJECTS)), rng.random()
    if world.objects == "none":
        return None
    if world.objects == "shuffled" or chance < world.object_noise:
        return other
    return object_of(name, label)
