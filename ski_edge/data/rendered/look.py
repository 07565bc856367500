"""Everything random about a rendered clip, drawn once and kept, so that a clip can be drawn again."""

from __future__ import annotations

import colorsys
from dataclasses import dataclass

import numpy as np

from ski_edge.data.rendered.objects import OBJECTS
from ski_edge.data.rendered.solids import Colour, lit
from ski_edge.errors import BadInput

# Skin from very fair to very dark, measured on nobody; each is varied a little
_SKIN = ((236, 200, 178), (226, 182, 152), (214, 164, 128), (186, 132, 94), (146, 98, 66), (108, 72, 50), (76, 50, 38))
_HAIR = ((28, 22, 20), (58, 38, 26), (104, 66, 38), (160, 118, 66), (206, 178, 124), (150, 150, 152), (128, 52, 30))
WALLS = ("plain", "stripes", "bricks", "tiles", "planks", "blotches")
FLOORS = ("plain", "tiles", "planks", "checks", "blotches")
FURNITURE = ("cupboard", "table", "lamp", "plant", "picture", "window", "door", "sofa", "shelf")


@dataclass(frozen=True)
class Person:
    """How one body looks."""

    skin: Colour
    shirt: Colour
    trousers: Colour
    shoes: Colour
    hair: Colour
    hair_style: str  # short, long, bald, cap (in the colour of the trousers)
    long_sleeves: bool
    long_legs: bool
    build: float  # thickness of limbs and trunk, 1 is usual


@dataclass(frozen=True)
class Clutter:
    """A thing that stands at the back wall or hangs on it."""

    kind: str
    along: float  # place along the wall, -1 (left border of the picture) to 1
    size: float  # 1 is usual
    colour: Colour
    second: Colour


@dataclass(frozen=True)
class Background:
    """What is behind the people; it stands still."""

    outdoors: bool
    turn: float  # radians between the back wall and the picture plane; its sign is the side of the second wall
    corner: bool  # whether there is a second wall
    gap: float  # metres between the people and the walls
    wall: str  # a pattern
    wall_colours: tuple[Colour, Colour]
    floor: str  # a pattern
    floor_colours: tuple[Colour, Colour]
    pattern_m: float  # size of a tile
    clutter: tuple[Clutter, ...]


@dataclass(frozen=True)
class Look:
    """Everything random about one clip. Angles are in radians."""

    people: tuple[Person, Person]  # body 1 and body 2; further bodies take turns
    yaw: float  # camera around the people; positive: from their right in the picture
    pitch: float  # camera above them
    roll: float
    distance: float  # metres to the middle of the clip
    fill: float  # share of the picture that the clip's people fill
    shift: tuple[float, float]  # of what is left beside them, -1 to 1; right, up
    light: tuple[float, float, float]  # direction to the lamp: right, up, towards the camera
    light_strength: float  # 0: no shading, 1: deep
    exposure: Colour  # gain of each channel, about 1: brightness and colour of the light
    background: Background
    noise: float  # standard deviation of the sensor's noise, in steps of 255
    seed: int  # of the noise and the grain of surfaces
    grip: float  # how far a held thing is turned out of the picture plane
    held: str | None = None  # one of OBJECTS, in the right hand of body 1

    def __post_init__(self) -> None:
        if self.held is not None and self.held not in OBJECTS:
            raise BadInput(f"held object {self.held!r} cannot be drawn; the choices are: {', '.join(OBJECTS)}, or None")


def draw_look(rng: np.random.Generator, held: str | None = None) -> Look:
    """A look that depends on the generator alone; `held` changes nothing else, so it can be compared with itself."""
    return Look(
        people=(_person(rng), _person(rng)),
        yaw=float(np.radians(rng.uniform(-35, 35))),
        pitch=float(np.radians(rng.uniform(-2, 20))),
        roll=float(np.radians(rng.normal(0, 1.5))),
        distance=float(rng.uniform(2.6, 5.5)),
        fill=float(rng.uniform(0.76, 0.95)),
        shift=(float(rng.uniform(-0.6, 0.6)), float(rng.uniform(-0.7, 0.7))),
        light=(float(rng.uniform(-0.8, 0.8)), float(rng.uniform(0.55, 1.0)), float(rng.uniform(0.1, 0.7))),
        light_strength=float(rng.uniform(0.45, 1.0)),
        exposure=_exposure(rng),
        background=_background(rng),
        noise=float(rng.uniform(0, 5)),
        seed=int(rng.integers(2**31)),
        grip=float(rng.uniform(-0.6, 0.6)),
        held=held,
    )


def _person(rng: np.random.Generator) -> Person:
    return Person(
        skin=lit(_near(rng, _SKIN[rng.integers(len(_SKIN))], 3), rng.uniform(0.9, 1.05)),
        shirt=_colour(rng, 0.25, 0.95),
        trousers=_colour(rng, 0.15, 0.7),
        shoes=_colour(rng, 0.1, 0.9, 0.4),
        hair=_near(rng, _HAIR[rng.integers(len(_HAIR))], 8),
        hair_style=str(rng.choice(("short", "short", "long", "bald", "cap"))),
        long_sleeves=bool(rng.random() < 0.5),
        long_legs=bool(rng.random() < 0.75),
        build=float(rng.uniform(0.85, 1.3)),
    )


def _background(rng: np.random.Generator) -> Background:
    outdoors = bool(rng.random() < 0.2)
    wall = _colour(rng, 0.45, 0.95, 0.35)
    floor = _colour(rng, 0.3, 0.8, 0.35)
    count = int(rng.integers(0, 5))
    return Background(
        outdoors=outdoors,
        turn=float(np.radians(rng.uniform(-30, 30))),
        corner=bool(rng.random() < 0.6),
        gap=float(rng.uniform(0.4, 2.0)),
        wall=str(rng.choice(WALLS)),
        wall_colours=(wall, lit(_near(rng, wall, 20), rng.uniform(0.7, 1.15))),
        floor=str(rng.choice(FLOORS)),
        floor_colours=(floor, lit(_near(rng, floor, 20), rng.uniform(0.6, 0.95))),
        pattern_m=float(rng.uniform(0.25, 0.7)),
        clutter=tuple(
            Clutter(
                kind=str(rng.choice(FURNITURE)),
                along=float(rng.uniform(-1, 1)),
                size=float(rng.uniform(0.8, 1.25)),
                colour=_colour(rng, 0.3, 0.9, 0.7),
                second=_colour(rng, 0.3, 0.95, 0.7),
            )
            for _ in range(count)
        ),
    )


def _colour(rng: np.random.Generator, low: float, high: float, saturation: float = 1.0) -> Colour:
    """Any hue; low, high: limits of its brightness."""
    red, green, blue = colorsys.hsv_to_rgb(rng.random(), saturation * rng.random() ** 0.7, rng.uniform(low, high))
    return 255 * red, 255 * green, 255 * blue


def _near(rng: np.random.Generator, colour: Colour, spread: float) -> Colour:
    red, green, blue = np.clip(np.asarray(colour) + rng.normal(0, spread, 3), 0, 255).tolist()
    return red, green, blue


def _exposure(rng: np.random.Generator) -> Colour:
    red, green, blue = (rng.uniform(0.75, 1.08) * rng.uniform(0.95, 1.05, 3)).tolist()
    return red, green, blue
