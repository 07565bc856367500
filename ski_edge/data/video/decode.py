"""Frames of one video file, by OpenCV. Frames are counted as they decode, not as the header promises."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from ski_edge.data.video.crops import resize_short
from ski_edge.errors import BadInput

# With this many frames between two wanted ones, a jump to a key frame costs less than decoding what lies between.
_FAR = 150
# One thread per file: clips are decoded side by side. No hardware decoder: its pixels differ from machine to machine.
_OPEN = [cv2.CAP_PROP_N_THREADS, 1, cv2.CAP_PROP_HW_ACCELERATION, cv2.VIDEO_ACCELERATION_NONE]


@dataclass(frozen=True)
class VideoFacts:
    """What reading a whole file shows.

    steady: the frames' own times are evenly spaced, so that a jump to a frame's number finds that frame.
    """

    frames: int
    height: int
    width: int
    fps: float
    steady: bool


def probe(path: Path) -> VideoFacts:
    """Decode a whole file. BadInput where it is no video, or holds fewer frames than it promises."""
    with _opened(path) as capture:
        promised, fps = _promised(capture), capture.get(cv2.CAP_PROP_FPS)
        times, size, broken = [], None, 0
        while capture.grab():
            if size is None:
                decoded, frame = capture.retrieve()
                size = frame.shape[:2] if decoded else None
                broken += not decoded
            times.append(capture.get(cv2.CAP_PROP_POS_MSEC))
    if size is None:
        raise BadInput(f"{path}: opened, but no frame decodes; the file is damaged or not a video")
    frames = len(times) - broken
    if promised - frames > _excused(promised):
        raise BadInput(
            f"{path}: the header says {promised} frames, {frames} decode; get the file again or leave it out"
        )
    fps = fps if math.isfinite(fps) and 0 < fps <= 1000 else 0.0
    drift = np.abs(np.array(times) - times[0] - np.arange(len(times)) * 1000 / fps).max() if fps else math.inf
    return VideoFacts(frames, *size, fps, bool(drift < 0.5 * 1000 / fps) if fps else False)


def promised_frames(path: Path) -> int:
    """What the header says, and a count of all frames where it says nothing."""
    with _opened(path) as capture:
        promised = _promised(capture)
    return promised or probe(path).frames


def read_frames(
    path: Path, indices: np.ndarray, length: int, short: int | None = None, steady: bool = False
) -> np.ndarray:
    """Frames `indices` (int64 [n], any order, below `length`) -> uint8 [n, H, W, 3], RGB, rotated as the file asks.

    short: resize to this short side while reading. steady: the file is known to be so (`probe`), and jumps are made
    where wanted frames lie far apart. Of a file that is a frame or 1 % shorter than `length` says (some headers only
    estimate), the last frame stays; a shorter one is BadInput.
    """
    wanted, places = np.unique(np.asarray(indices, np.int64), return_inverse=True)
    if not len(wanted) or wanted[0] < 0 or wanted[-1] >= length:
        raise BadInput(f"{path}: frames {wanted[:3].tolist()}... were asked for, it has {length}")
    with _opened(path) as capture:
        frames, decoded = _frames(capture, wanted, steady, short)
    if len(frames) < len(wanted):
        if not frames or length - decoded > _excused(length):
            raise BadInput(
                f"{path}: frame {decoded} of {length} does not decode; the file is damaged, "
                "find all such files with: ski-edge data check --videos"
            )
        frames += [frames[-1]] * (len(wanted) - len(frames))
    if len({frame.shape for frame in frames}) > 1:
        raise BadInput(f"{path}: frames change their size within the file; convert it to one size")
    return np.stack([frames[place] for place in places.reshape(-1)])


def _frames(
    capture: cv2.VideoCapture, wanted: np.ndarray, steady: bool, short: int | None
) -> tuple[list[np.ndarray], int]:
    """(the wanted frames in order, until one does not come; how many frames of the file were passed by then)."""
    frames: list[np.ndarray] = []
    at = 0  # number of the frame that the next grab gives
    for index in wanted.tolist():
        if steady and index - at > _FAR:
            capture.set(cv2.CAP_PROP_POS_FRAMES, index)
            at = index
        while at <= index:
            if not capture.grab():
                return frames, at
            at += 1
        decoded, frame = capture.retrieve()
        if not decoded:
            return frames, index
        if short is not None:
            frame = resize_short(frame[None], short)[0]
        frames.append(cv2.cvtColor(frame, cv2.COLOR_BGR2RGB))
    return frames, at


@contextmanager
def _opened(path: Path) -> Iterator[cv2.VideoCapture]:
    if not path.is_file():
        raise BadInput(f"video {path} does not exist")
    if not os.access(path, os.R_OK):
        raise BadInput(f"video {path} cannot be read: no permission")
    capture = None
    try:
        capture = cv2.VideoCapture(str(path), cv2.CAP_FFMPEG, _OPEN)
        if not capture.isOpened():
            raise BadInput(f"{path} is not a video that OpenCV can read, or it is damaged; get the file again")
        yield capture
    except cv2.error as error:
        raise BadInput(f"{path} cannot be decoded: {str(error).splitlines()[0][:200]}") from error
    finally:
        if capture is not None:
            capture.release()


def _promised(capture: cv2.VideoCapture) -> int:
    frames = capture.get(cv2.CAP_PROP_FRAME_COUNT)
    return int(frames) if 0 < frames < 1e7 else 0


def _excused(frames: int) -> int:
    """By how many frames an estimate may be wrong; the rule of the monitor's sources."""
    return max(1, int(0.01 * frames))
