"""Pose estimators: a picture becomes bodies. One protocol; `mediapipe` here, `onnx:FILE` in pose_onnx.

Bodies come in our axes (x right, mirrored as NTU has it; y up; z away; metres), hip-centred: no single camera gives a
trustworthy global position, so networks for live use centre each frame (`SkeletonInput.centre: each-frame`).
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from ski_edge.errors import BadInput, SkiEdgeError, require
from ski_edge.skeleton import LAYOUTS, Layout, from_mediapipe_world, swap_sides

MODEL_FILE = "pose_landmarker_full.task"
MODEL_URL = (
    "https://storage.googleapis.com/mediapipe-models/pose_landmarker/pose_landmarker_full/float16/latest/" + MODEL_FILE
)
MAX_PERSONS = 16
_BOX_MARGIN = 0.05  # of the body's size; keypoints lie inside a person's outline
_VISIBLE = 0.3  # below it a keypoint is a guess


@dataclass(frozen=True, slots=True)
class Body:
    """One person in one frame. The arrays of a Body are never changed."""

    joints: np.ndarray  # float32 [V, 3] metres, our axes
    layout: str  # name of a built-in layout
    keypoints_px: np.ndarray  # float32 [V, 2] x, y in the picture as it came
    visibility: np.ndarray  # float32 [V] in 0..1
    box: tuple[float, float, float, float]  # x0, y0, x1, y1 in pixels
    score: float  # in 0..1

    @property
    def mostly_visible(self) -> bool:
        """At least half of the joints were seen, not guessed."""
        return bool((self.visibility >= _VISIBLE).mean() >= 0.5)


class Estimator(Protocol):
    """Turns pictures of one source into bodies; may use the pictures before, so give them in order."""

    layout: Layout
    name: str  # for headings and recordings

    def estimate(self, frame: np.ndarray, timestamp_s: float) -> list[Body]:
        """frame: uint8 [H, W, 3] RGB; timestamp_s: seconds, later than the last one's."""
        ...

    def close(self) -> None: ...


def open_estimator(
    spec: str, persons: int = 1, mirrored: bool = False, device: str = "auto", threads: int = 0
) -> Estimator:
    """`mediapipe`, `mediapipe:FILE` or `onnx:FILE`.

    mirrored: the pictures were flipped before they came (selfie view, NTU's own RGB). device, threads: of ONNX
    networks; MediaPipe runs on the CPU.
    """
    if not 1 <= persons <= MAX_PERSONS:
        raise BadInput(f"--persons must be 1 to {MAX_PERSONS}, got {persons}")
    kind, _, file = spec.partition(":")
    if kind == "mediapipe":
        return MediaPipeEstimator(find_model(file or None), persons, mirrored)
    if kind == "onnx" and file:
        from ski_edge.monitor.pose_onnx import OnnxEstimator

        return OnnxEstimator(Path(file), persons, mirrored, device, threads)
    raise BadInput(f"--pose {spec!r} is not known; use mediapipe, mediapipe:FILE or onnx:FILE")


def find_model(file: str | None) -> Path:
    """The MediaPipe pose model: the file given, $SKI_EDGE_POSE_MODEL, or the cache folder, in this order."""
    variable = os.environ.get("SKI_EDGE_POSE_MODEL")
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "ski-edge" / MODEL_FILE
    path = Path(file or variable or cache)
    if path.is_file() and path.stat().st_size:
        return path
    asked = "--pose" if file else "$SKI_EDGE_POSE_MODEL" if variable else "the pose model"
    raise BadInput(
        f"{asked} {path} is not there (or empty); get Google's file (Apache-2.0) with: "
        f"mkdir -p {cache.parent} && curl -L -o {cache} {MODEL_URL}"
    )


def why_not_mediapipe() -> str:
    """Empty when people can be found with MediaPipe here, else one line that says why not."""
    try:
        require("mediapipe", "pose", "finding people")
        find_model(None)
    except SkiEdgeError as error:
        return str(error)
    return ""


class MediaPipeEstimator:
    """MediaPipe Tasks' PoseLandmarker in video mode: 33 joints in 3D, several persons, about 20 ms each on a CPU."""

    def __init__(self, model: Path, persons: int = 1, mirrored: bool = False) -> None:
        self._mediapipe: Any = require("mediapipe", "pose", "--pose mediapipe")
        tasks = self._mediapipe.tasks
        vision = tasks.vision
        options = vision.PoseLandmarkerOptions(
            base_options=tasks.BaseOptions(model_asset_buffer=_read_model(model)),
            running_mode=vision.RunningMode.VIDEO,
            num_poses=persons,
        )
        try:
            self._landmarker = vision.PoseLandmarker.create_from_options(options)
        except (ValueError, RuntimeError) as error:
            line = " ".join(str(error).split())[:200]
            raise BadInput(f"--pose {model} is not a MediaPipe pose landmarker: {line}; get {MODEL_URL}") from error
        self.layout = LAYOUTS["mediapipe33"]
        self.name = "mediapipe"
        self._mirrored = mirrored
        self._last_ms = -1

    def estimate(self, frame: np.ndarray, timestamp_s: float) -> list[Body]:
        # The landmarker counts in whole milliseconds, and each must be later than the last.
        self._last_ms = max(self._last_ms + 1, round(timestamp_s * 1000))
        image = self._mediapipe.Image(
            image_format=self._mediapipe.ImageFormat.SRGB, data=np.ascontiguousarray(frame, np.uint8)
        )
        found = self._landmarker.detect_for_video(image, self._last_ms)
        return [
            self._body(flat, world, frame.shape)
            for flat, world in zip(found.pose_landmarks, found.pose_world_landmarks, strict=True)
        ]

    def close(self) -> None:
        self._landmarker.close()

    def _body(self, flat: Any, world: Any, shape: tuple[int, ...]) -> Body:
        pixels = np.array([(mark.x * shape[1], mark.y * shape[0]) for mark in flat], np.float32)
        visibility = np.array([mark.visibility for mark in flat], np.float32)
        metres = np.array([(mark.x, mark.y, mark.z) for mark in world], np.float32)
        return body_from(from_mediapipe_world(metres, self._mirrored), self.layout, pixels, visibility, self._mirrored)


def body_from(
    joints: np.ndarray, layout: Layout, pixels: np.ndarray, visibility: np.ndarray, mirrored: bool, score: float = -1
) -> Body:
    """A Body from joints whose sides are right already, and 2D keypoints as the estimator named them.

    score: the estimator's own, or (default) the mean visibility.
    """
    if mirrored:
        pixels = swap_sides(pixels, layout)
        visibility = swap_sides(visibility[:, None], layout)[:, 0]
    visibility = np.clip(visibility, 0, 1).astype(np.float32)
    return Body(
        joints=np.ascontiguousarray(joints, np.float32),
        layout=layout.name,
        keypoints_px=np.ascontiguousarray(pixels, np.float32),
        visibility=visibility,
        box=_box(pixels, visibility),
        score=float(visibility.mean() if score < 0 else score),
    )


def _box(pixels: np.ndarray, visibility: np.ndarray) -> tuple[float, float, float, float]:
    seen = pixels[visibility >= _VISIBLE]
    points = seen if len(seen) >= 2 else pixels
    low, high = points.min(axis=0).astype(float), points.max(axis=0).astype(float)
    margin = _BOX_MARGIN * float((high - low).max()) + 1
    return (float(low[0]) - margin, float(low[1]) - margin, float(high[0]) + margin, float(high[1]) + margin)


def _read_model(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise BadInput(f"--pose {path} cannot be read: {error.strerror}; give a readable file") from error
