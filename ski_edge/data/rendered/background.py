"""What is behind the people: a room with one or two walls or the open air, and furniture. Drawn once per clip."""

from __future__ import annotations

from dataclasses import dataclass
from types import ModuleType

import numpy as np

from ski_edge.data.rendered.camera import Camera
from ski_edge.data.rendered.furniture import furniture
from ski_edge.data.rendered.look import Background, Look
from ski_edge.data.rendered.paint import Painter

_SKY = ((0.62, 0.8, 1.0), (0.93, 0.96, 1.0))  # share of white at the zenith and at the horizon


@dataclass(frozen=True)
class Room:
    """Where the planes are, in world metres."""

    floor: float  # height
    along: np.ndarray  # [3]: to the right along the back wall
    away: np.ndarray  # [3]: through the back wall
    back: float  # the back wall is at away . p = back
    side: float  # the second wall is at along . p = side
    side_sign: int  # -1: on the left, 1: on the right

    @property
    def axes(self) -> np.ndarray:
        """[3, 3]: along the wall, up, out of it into the room."""
        return np.stack([self.along, np.array([0.0, 1.0, 0.0]), -self.away])


def room(points: np.ndarray, floor: float, camera: Camera, look: Look) -> Room:
    """Walls around the people of the whole clip. points: [n, 3]."""
    turn, view = look.background.turn, camera.rotation[2]
    heading = np.arctan2(view[0], view[2]) + turn
    away = np.array([np.sin(heading), 0, np.cos(heading)])
    along = np.array([np.cos(heading), 0, -np.sin(heading)])
    # Seen from here, the wall on the side to which the back wall comes nearer is the one that would be cut.
    sign = 1 if turn < 0 else -1
    gap = look.background.gap
    back = float((points @ away).max()) + gap
    return Room(floor, along, away, back, float((points @ along * sign).max() + 0.6 + gap) * sign, sign)


@dataclass(frozen=True)
class Backdrop:
    """uint8 [pixels, pixels, 3] each."""

    picture: np.ndarray
    shaded: np.ndarray  # the same with the whole floor in shadow


def draw_background(place: Room, camera: Camera, look: Look, cv2: ModuleType) -> Backdrop:
    """What the camera sees where nobody is there."""
    rays, pixels = camera.rays(), camera.pixels
    rng = np.random.default_rng(look.seed)
    colours, on_floor = (_outdoors if look.background.outdoors else _indoors)(rays, place, camera, look.background, rng)
    y, x = np.mgrid[0:pixels, 0:pixels].astype(np.float32) / pixels - 0.5
    side, height, _ = look.light
    falloff = 1 + 0.25 * look.light_strength * (side * x - height * y) - 0.25 * (x * x + y * y)
    picture = np.clip(colours * falloff[..., None] * np.float32(look.exposure), 0, 255).astype(np.uint8)
    painter = Painter(camera, look, cv2)
    bare = picture.copy()
    painter.paint(picture, painter.prepare(furniture(place.axes, _wall_point(place), camera, look.background), 1), 0)
    # Shadows fall on the floor only, and not through a table.
    on_floor &= (picture == bare).all(axis=-1)
    shaded = np.where(on_floor[..., None], picture * np.float32(1 - 0.5 * look.light_strength), picture)
    return Backdrop(picture, shaded.astype(np.uint8))


def _wall_point(place: Room) -> np.ndarray:
    """[3]: some point at the foot of the back wall."""
    return place.back * place.away + np.array([0, place.floor, 0])


def _indoors(
    rays: np.ndarray, place: Room, camera: Camera, look: Background, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """The nearest of floor and walls along each ray: float32 [H, W, 3], and bool [H, W], where the floor is."""
    away, along = np.float32(place.away), np.float32(place.along)
    to_floor = _reach(rays[..., 1], place.floor - camera.position[1])
    to_back = _reach(rays @ away, place.back - camera.position @ place.away)
    to_side = np.full_like(to_back, np.inf)
    if look.corner:
        to_side = _reach(rays @ along, place.side - camera.position @ place.along)
    reach = np.minimum(np.minimum(to_floor, to_back), to_side)
    hit = rays * np.minimum(reach, 60)[..., None] + np.float32(camera.position)
    across, deep, high = hit @ along, hit @ away, hit[..., 1] - np.float32(place.floor)
    on_floor, on_side = reach == to_floor, reach == to_side
    colours = np.empty_like(rays)
    for mask, kind, pair, u, v, light in (
        (on_floor, look.floor, look.floor_colours, across, deep, 1.0),
        (on_side & ~on_floor, look.wall, look.wall_colours, deep, high, 0.8),
        (~on_floor & ~on_side, look.wall, look.wall_colours, across, high, 1.0),
    ):
        colours[mask] = _mix(pair, pattern(kind, u[mask] / look.pattern_m, v[mask] / look.pattern_m, rng)) * light
    skirting = ~on_floor & (high < 0.09)
    colours[skirting] = np.float32(look.wall_colours[1]) * 0.6
    return colours, on_floor


def _outdoors(
    rays: np.ndarray, place: Room, camera: Camera, look: Background, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Ground to the horizon, hills or houses on it, sky: as `_indoors`."""
    to_floor = _reach(rays[..., 1], place.floor - camera.position[1])
    ground = to_floor < 60
    hit = rays * np.minimum(to_floor, 60)[..., None] + np.float32(camera.position)
    u, v = hit @ np.float32(place.along), hit @ np.float32(place.away)
    height = np.clip(rays[..., 1] / np.linalg.norm(rays, axis=-1) * 2.5, 0, 1)
    sky = np.float32(_SKY[1]) + (np.float32(_SKY[0]) - np.float32(_SKY[1])) * height[..., None]
    colours = 250 * sky
    heading = np.arctan2(rays @ np.float32(place.along), rays @ np.float32(place.away))
    steps = np.floor(heading * 7) if rng.random() < 0.5 else heading * 3  # houses have edges, hills have none
    ridge = 0.06 + 0.05 * np.sin(3.1 * steps + rng.uniform(0, 6)) + 0.04 * np.sin(7.3 * steps + rng.uniform(0, 6))
    colours[height / 2.5 < ridge] = look.wall_colours[0]
    grass = _mix(look.floor_colours, pattern("blotches", u / look.pattern_m, v / look.pattern_m, rng))
    return np.where(ground[..., None], grass, colours).astype(np.float32), ground


def _reach(speed: np.ndarray, gap: float) -> np.ndarray:
    """How many ray lengths away a plane is; infinite where the ray never meets it."""
    with np.errstate(divide="ignore", invalid="ignore"):
        reach = np.float32(gap) / speed
    return np.where(reach > 0, reach, np.float32(np.inf))


def _mix(pair: tuple, share: np.ndarray) -> np.ndarray:
    first, second = np.float32(pair[0]), np.float32(pair[1])
    return first + (second - first) * share[..., None]


def pattern(kind: str, u: np.ndarray, v: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """float32, the shape of u and v (in tiles), 0 to 1: share of the second colour."""
    waves = rng.uniform(0.7, 4, (4, 2)), rng.uniform(0, 6, 4)
    if kind == "plain":
        return np.zeros_like(u)
    if kind == "stripes":
        return (np.floor(2 * u) % 2).astype(np.float32)
    if kind == "checks":
        return ((np.floor(u) + np.floor(v)) % 2).astype(np.float32)
    if kind == "tiles":
        return _joints(u, v, 0.06) + 0.25 * _hash(np.floor(u), np.floor(v))
    if kind == "bricks":
        row = np.floor(3 * v)
        shifted = 1.5 * u + 0.5 * (row % 2)
        return _joints(shifted, 3 * v, 0.1) + 0.5 * _hash(np.floor(shifted), row)
    if kind == "planks":
        row = np.floor(2 * v)
        shifted = 0.3 * u + _hash(row, row)
        return _joints(shifted, 2 * v, 0.06) + 0.6 * _hash(np.floor(shifted), row)
    total = sum(np.sin(a * u + b * v + phase) for (a, b), phase in zip(*waves, strict=True))
    return np.clip(0.5 + 0.25 * total, 0, 1).astype(np.float32)


def _joints(u: np.ndarray, v: np.ndarray, width: float) -> np.ndarray:
    """1 on the lines between tiles."""
    near = np.minimum(u - np.floor(u), v - np.floor(v))
    return np.where(near < width, np.float32(0.7), np.float32(0))


def _hash(row: np.ndarray, column: np.ndarray) -> np.ndarray:
    """A number in 0 to 1 for each tile, in integers: the same on every machine."""
    mixed = row.astype(np.int32) * 73 + column.astype(np.int32) * 151
    return ((mixed * mixed % 1021) % 256).astype(np.float32) / 255
