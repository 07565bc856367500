"""`render`: a skeleton sequence and a look -> a clip; `silhouette`: where its people are."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

from ski_edge.data.rendered.background import draw_background
from ski_edge.data.rendered.body import check_layout
from ski_edge.data.rendered.look import Look
from ski_edge.data.rendered.paint import Painter
from ski_edge.data.rendered.shadow import Shadow
from ski_edge.data.rendered.stage import set_stage
from ski_edge.errors import BadInput, require
from ski_edge.skeleton.inputs import check_sequence
from ski_edge.skeleton.layouts import Layout, get_layout

_SMALLEST, _LARGEST = 16, 1024  # pixels
_FINER = 2  # painted at twice the size, then made small: edges come out smooth
_NOISE_MARGIN = 24  # the noise is one larger field, cut out at another place in every frame


def render(sequence: np.ndarray, layout: str | Path | Layout, look: Look, size: int = 112) -> np.ndarray:
    """float [T, M, V, 3], metres (x right, y up, z away), a missing body all zeros -> uint8 [T, size, size, 3] RGB.

    A pure function of its arguments. x is to the right in the picture: where a data set is mirrored, so is its clip.
    Joints of layouts that have a head, shoulders, elbows, wrists, hips, knees and ankles (kinect20, utd20, ntu25, ...).
    """
    clip, layout, size = _checked(sequence, layout, size)
    cv2 = require("cv2", "video", "drawing skeletons")
    stage = set_stage(clip, layout, look, _FINER * size)
    backdrop = draw_background(stage.room, stage.camera, look, cv2)
    shapes = [*stage.people, *stage.things]
    shadow = Shadow(shapes, stage.room.floor, stage.camera, look, cv2)
    painter = Painter(stage.camera, look, cv2)
    frames = np.empty((len(clip), size, size, 3), np.uint8)
    scene = painter.prepare(shapes, len(frames))
    noise = _Noise(look, size, len(frames))
    for frame, out in enumerate(frames):
        picture = backdrop.picture.copy()
        shadow.paint(picture, backdrop.shaded, frame)
        painter.paint(picture, scene, frame)
        small = cv2.resize(picture, (size, size), interpolation=cv2.INTER_AREA)
        cv2.add(small, noise[frame], out, dtype=cv2.CV_8U)
    return frames


def silhouette(sequence: np.ndarray, layout: str | Path | Layout, look: Look, size: int = 112) -> np.ndarray:
    """Where people are in what `render` draws of the same arguments: bool [T, size, size]; not what they hold."""
    clip, layout, size = _checked(sequence, layout, size)
    cv2 = require("cv2", "video", "drawing skeletons")
    stage = set_stage(clip, layout, look, _FINER * size)
    painter = Painter(stage.camera, look, cv2)
    scene = painter.prepare(stage.people, len(clip))
    white = ((0, (255.0, 255.0, 255.0)),)  # each shape's whole outline
    scene = replace(scene, strokes=(white,) * len(scene.strokes))
    masks = np.empty((len(clip), size, size), bool)
    for frame, mask in enumerate(masks):
        picture = np.zeros((_FINER * size, _FINER * size, 3), np.uint8)
        painter.paint(picture, scene, frame)
        mask[:] = cv2.resize(picture[..., 0], (size, size), interpolation=cv2.INTER_AREA) > 127
    return masks


def _checked(sequence: np.ndarray, layout: str | Path | Layout, size: int) -> tuple[np.ndarray, Layout, int]:
    layout = get_layout(layout)
    check_layout(layout)
    if isinstance(size, bool) or not isinstance(size, (int, np.integer)) or not _SMALLEST <= size <= _LARGEST:
        raise BadInput(f"size must be a whole number of pixels from {_SMALLEST} to {_LARGEST}, got {size!r}")
    return check_sequence(sequence, layout), layout, int(size)


class _Noise:
    """The sensor's: one field larger than the picture, cut out at another place for every frame."""

    def __init__(self, look: Look, size: int, frames: int) -> None:
        rng = np.random.default_rng(look.seed)
        wide = size + _NOISE_MARGIN
        self._size = size
        self._field = np.rint(rng.normal(0, look.noise, (wide, wide, 3))).astype(np.int16)
        self._places = rng.integers(0, _NOISE_MARGIN, (frames, 2)).tolist()

    def __getitem__(self, frame: int) -> np.ndarray:
        """int16 [size, size, 3]."""
        down, right = self._places[frame]
        return self._field[down : down + self._size, right : right + self._size]
