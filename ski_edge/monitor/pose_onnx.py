"""2D pose networks in ONNX (COCO's 17 joints) as estimators: whose output is understood is decided by its shape.

| outputs                                    | like               | input                            | finds      |
|--------------------------------------------|--------------------|----------------------------------|------------|
| `simcc_x` [1,17,a W], `simcc_y` [1,17,b H] | RTMPose            | crop, RGB, ImageNet mean and std | one person |
| one [1,17,h,w]                             | HRNet, ViTPose     | crop, RGB, ImageNet mean and std | one person |
| `dets` [1,N,5], `keypoints` [1,N,17,3]     | RTMO               | letterbox top left, BGR, 0..255  | N          |
| one [1,56,N] or [1,N,56]                   | YOLO-pose          | letterbox centred, RGB, 0..1     | N          |
| one [1,N,57]                               | YOLO-pose, end2end | letterbox centred, RGB, 0..1     | N          |

A crop network follows one person: first it looks at the whole picture, then around the last pose. 2D joints become
metres at z = 0, around the middle of the hips, by bones of known length: see `flat_to_metres`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ski_edge.contracts import IMAGENET_MEAN, IMAGENET_STD
from ski_edge.errors import BadInput, require
from ski_edge.monitor.pose import Body, body_from
from ski_edge.monitor.tracking import iou
from ski_edge.runtime.ort import OrtGraph, parse_device
from ski_edge.skeleton import LAYOUTS, swap_sides

JOINTS = 17
_GREY = 114  # of the letterbox, as these networks were trained
_MIN_SCORE = 0.3  # of a person
_SAME_BOX = 0.65  # IoU above which two boxes are one person
_CROP = 1.25  # of the person's box
# Metres of an adult; children come out larger, which scale: bone undoes
_TRUNK_M, _THIGH_M, _SHIN_M = 0.50, 0.43, 0.42
_HEIGHT_M = 1.70
_VISIBLE = 0.3


@dataclass(frozen=True, slots=True)
class Found:
    """One person of one frame. keypoints: float32 [17, 3]: x, y in pixels of the picture, confidence."""

    keypoints: np.ndarray
    score: float


class _PoseGraph(OrtGraph):
    def picture_size(self) -> tuple[int, int]:
        """(height, width) of the one input [1 or any, 3, H, W]."""
        inputs = self._session.get_inputs()
        shape = inputs[0].shape
        fits = len(inputs) == 1 and len(shape) == 4 and shape[1] == 3 and inputs[0].type == "tensor(float)"
        if not fits or not all(isinstance(size, int) and 32 <= size <= 4096 for size in shape[2:]):
            found = {tensor.name: f"{tensor.type} {tensor.shape}" for tensor in inputs}
            raise BadInput(
                f"--pose onnx:{self._path} takes {found}; a pose network takes one float32 picture [1, 3, H, W] "
                "of fixed size, so export it with one"
            )
        return shape[2], shape[3]


class OnnxEstimator:
    """`onnx:FILE`. See the table above for what is understood; anything else is refused when it is opened."""

    def __init__(
        self, path: Path, persons: int = 1, mirrored: bool = False, device: str = "auto", threads: int = 0
    ) -> None:
        if not path.is_file():
            raise BadInput(f"--pose onnx:{path} is not there; give the network's .onnx file")
        self._cv2: Any = require("cv2", "video", "--pose onnx:FILE")
        self._graph = _PoseGraph(path, parse_device(device), threads)
        self._height, self._width = self._graph.picture_size()
        self.layout = LAYOUTS["coco17"]
        self.name = f"onnx:{path.name}"
        self._persons, self._mirrored = persons, mirrored
        self._focus: np.ndarray | None = None  # where a crop network looks next: x0, y0, x1, y1
        # Shapes in the file may be names; what a picture gives are numbers.
        self._look = self._reader(path, self._run(np.zeros((self._height, self._width, 3), np.float32)))

    def estimate(self, frame: np.ndarray, timestamp_s: float) -> list[Body]:
        # A network in half precision can overflow to NaN on a strange picture: nobody was found there.
        found = [person for person in self._look(frame) if np.isfinite(person.keypoints).all()]
        found.sort(key=lambda person: -person.score)
        bodies = []
        for person in found[: self._persons]:
            pixels, visibility = person.keypoints[:, :2], np.clip(person.keypoints[:, 2], 0, 1)
            joints = flat_to_metres(pixels, visibility, self._mirrored)
            score = float(np.clip(person.score, 0, 1))
            bodies.append(body_from(joints, self.layout, pixels, visibility, self._mirrored, score))
        return bodies

    def close(self) -> None:
        """The graph goes with the object."""

    def _reader(self, path: Path, outputs: dict[str, np.ndarray]) -> Callable[[np.ndarray], list[Found]]:
        shapes = {name: list(array.shape) for name, array in outputs.items()}
        if {"simcc_x", "simcc_y"} <= shapes.keys() and shapes["simcc_x"][:2] == shapes["simcc_y"][:2] == [1, JOINTS]:
            return lambda frame: self._crop(frame, _read_simcc)
        if (
            {"dets", "keypoints"} <= shapes.keys()
            and shapes["dets"][2:] == [5]
            and shapes["keypoints"][2:] == [JOINTS, 3]
        ):
            return lambda frame: self._letterbox(frame, _read_dets, centred=False, bgr=True, scale=1.0)
        only = next(iter(shapes.values())) if len(shapes) == 1 else []
        if len(only) == 4 and only[:2] == [1, JOINTS]:
            return lambda frame: self._crop(frame, _read_heatmaps)
        if len(only) == 3 and only[0] == 1 and (56 in only[1:] or only[2] == 57):
            return lambda frame: self._letterbox(frame, _read_rows, centred=True, bgr=False, scale=255.0)
        raise BadInput(
            f"--pose onnx:{path} gives {shapes}; understood are simcc_x + simcc_y [1,17,*], heatmaps [1,17,h,w], "
            "dets [1,N,5] + keypoints [1,N,17,3], and [1,56,N], [1,N,56] or [1,N,57] (COCO's 17 joints)"
        )

    def _run(self, picture: np.ndarray) -> dict[str, np.ndarray]:
        tensor = np.ascontiguousarray(picture.transpose(2, 0, 1)[None], np.float32)
        return self._graph.run(**{self._graph.input_names[0]: tensor})

    def _crop(self, frame: np.ndarray, read: Callable[[dict[str, np.ndarray], int, int], np.ndarray]) -> list[Found]:
        """One person around where they were last."""
        height, width = frame.shape[:2]
        x0, y0, x1, y1 = (0, 0, width, height) if self._focus is None else self._focus
        zoom = 1.0 if self._focus is None else _CROP
        # The box grows to the network's aspect, so that nobody is squeezed.
        size = zoom * max((y1 - y0) / self._height, (x1 - x0) / self._width, 1e-3)
        corner = np.array([(x0 + x1) / 2 - size * self._width / 2, (y0 + y1) / 2 - size * self._height / 2])
        warp = np.array([[1 / size, 0, -corner[0] / size], [0, 1 / size, -corner[1] / size]])
        crop = self._cv2.warpAffine(frame, warp, (self._width, self._height), flags=self._cv2.INTER_LINEAR)
        normal = (crop.astype(np.float32) - np.float32(IMAGENET_MEAN)) / np.float32(IMAGENET_STD)
        keypoints = read(self._run(normal), self._width, self._height)
        keypoints[:, :2] = keypoints[:, :2] * size + corner
        seen = keypoints[keypoints[:, 2] >= _VISIBLE, :2]
        score = float(keypoints[:, 2].mean())
        if score < _MIN_SCORE or len(seen) < 4:
            self._focus = None  # lost: look everywhere
            return []
        self._focus = np.concatenate([seen.min(axis=0), seen.max(axis=0)])
        return [Found(keypoints.astype(np.float32), score)]

    def _letterbox(
        self,
        frame: np.ndarray,
        read: Callable[[dict[str, np.ndarray]], list[tuple[np.ndarray, Found]]],
        *,
        centred: bool,
        bgr: bool,
        scale: float,
    ) -> list[Found]:
        """Everybody in the picture, doubles removed."""
        height, width = frame.shape[:2]
        ratio = min(self._height / height, self._width / width)
        small = (max(1, round(width * ratio)), max(1, round(height * ratio)))
        left, top = ((self._width - small[0]) // 2, (self._height - small[1]) // 2) if centred else (0, 0)
        canvas = np.full((self._height, self._width, 3), _GREY, np.uint8)
        canvas[top : top + small[1], left : left + small[0]] = self._cv2.resize(frame, small)
        picture = canvas[:, :, ::-1] if bgr else canvas
        kept: list[tuple[np.ndarray, Found]] = []
        for box, person in sorted(read(self._run(picture / scale)), key=lambda row: -row[1].score):
            if all(iou(tuple(box), tuple(other)) < _SAME_BOX for other, _ in kept):
                kept.append((box, person))
            if len(kept) == self._persons:
                break
        moved = []
        for _, person in kept:
            keypoints = person.keypoints.copy()
            keypoints[:, :2] = (keypoints[:, :2] - (left, top)) / ratio
            moved.append(Found(keypoints, person.score))
        return moved


def flat_to_metres(pixels: np.ndarray, visibility: np.ndarray, mirrored: bool = False) -> np.ndarray:
    """COCO keypoints in pixels [17, 2] -> float32 [17, 3] metres in our axes, z = 0, the middle of the hips at 0.

    The scale is that of the bone that is least foreshortened: of trunk (0.50 m), thighs (0.43 m) and shins (0.42 m)
    the one that says most pixels to a metre; where none is visible, the keypoints' height is taken for 1.70 m.
    """
    layout = LAYOUTS["coco17"]

    def point(*joints: str) -> tuple[np.ndarray, bool]:
        index = [layout.index(joint) for joint in joints]
        return pixels[index].mean(axis=0), bool((visibility[index] >= _VISIBLE).all())

    hips, shoulders = point("left_hip", "right_hip"), point("left_shoulder", "right_shoulder")
    bones = [(hips, shoulders, _TRUNK_M)]
    for side in ("left", "right"):
        hip, knee, ankle = (point(f"{side}_{joint}") for joint in ("hip", "knee", "ankle"))
        bones += [(hip, knee, _THIGH_M), (knee, ankle, _SHIN_M)]
    scales = [float(np.linalg.norm(a - b)) / metres for (a, seen), (b, too), metres in bones if seen and too]
    per_metre = max(scales, default=float(np.ptp(pixels[:, 1])) / _HEIGHT_M)
    flat = (pixels - hips[0]) / max(per_metre, 1e-3)
    joints = np.concatenate([flat, np.zeros((JOINTS, 1))], axis=1).astype(np.float32)
    # The same turn as for MediaPipe: names stay and x turns, or, where the picture was flipped, the other way round.
    if mirrored:
        return swap_sides(joints, layout) * np.float32([1, -1, 1])
    return joints * np.float32([-1, -1, 1])


def _read_simcc(outputs: dict[str, np.ndarray], width: int, height: int) -> np.ndarray:
    """Each axis is a classification over fractions of a pixel. -> [17, 3] in pixels of the crop."""
    along_x, along_y = outputs["simcc_x"][0], outputs["simcc_y"][0]
    x, y = along_x.argmax(axis=1) * (width / along_x.shape[1]), along_y.argmax(axis=1) * (height / along_y.shape[1])
    return np.stack([x, y, np.minimum(along_x.max(axis=1), along_y.max(axis=1))], axis=1).astype(np.float64)


def _read_heatmaps(outputs: dict[str, np.ndarray], width: int, height: int) -> np.ndarray:
    """The highest cell, a quarter cell towards its higher neighbour. -> [17, 3] in pixels of the crop."""
    maps = next(iter(outputs.values()))[0]
    rows, columns = maps.shape[1:]
    points = np.zeros((JOINTS, 3))
    for joint, cells in enumerate(maps):
        y, x = divmod(int(cells.argmax()), columns)
        points[joint] = (x, y, cells[y, x])
        if 0 < x < columns - 1 and 0 < y < rows - 1:
            points[joint, 0] += 0.25 * np.sign(cells[y, x + 1] - cells[y, x - 1])
            points[joint, 1] += 0.25 * np.sign(cells[y + 1, x] - cells[y - 1, x])
    return points * (width / columns, height / rows, 1)


def _read_dets(outputs: dict[str, np.ndarray]) -> list[tuple[np.ndarray, Found]]:
    rows, keypoints = outputs["dets"][0], outputs["keypoints"][0]
    return [
        (row[:4], Found(points.astype(np.float32), float(row[4])))
        for row, points in zip(rows, keypoints, strict=True)
        if row[4] >= _MIN_SCORE
    ]


def _read_rows(outputs: dict[str, np.ndarray]) -> list[tuple[np.ndarray, Found]]:
    """56: centre, size, score, 17 x 3. 57: corners, score, class, 17 x 3."""
    rows = next(iter(outputs.values()))[0]
    if rows.shape[1] not in (56, 57):
        rows = rows.T
    rows = rows[rows[:, 4] >= _MIN_SCORE]
    if rows.shape[1] == 57:
        boxes = rows[:, :4]
    else:
        boxes = np.concatenate([rows[:, :2] - rows[:, 2:4] / 2, rows[:, :2] + rows[:, 2:4] / 2], axis=1)
    return [
        (box, Found(row[-3 * JOINTS :].reshape(JOINTS, 3).astype(np.float32), float(row[4])))
        for box, row in zip(boxes, rows, strict=True)
    ]
