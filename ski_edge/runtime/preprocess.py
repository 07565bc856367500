"""Raw frames -> network input, exactly as the manifest says. numpy and OpenCV only."""

from __future__ import annotations

import numpy as np

from ski_edge.contracts import Preprocessing
from ski_edge.errors import BadInput, require


def check_frame(frame: np.ndarray, name: str = "frame") -> None:
    """A raw frame is uint8 [H, W, 3], RGB."""
    got = getattr(frame, "shape", None), getattr(frame, "dtype", type(frame).__name__)
    if got[1] != np.uint8 or len(got[0]) != 3 or got[0][2] != 3 or min(got[0]) == 0:
        raise BadInput(f"{name} must be uint8 [H, W, 3] in RGB order, got {got[1]} {list(got[0] or [])}")


def preprocess_frame(frame: np.ndarray, spec: Preprocessing) -> np.ndarray:
    """uint8 [H, W, 3] RGB -> float32 [3, crop, crop].

    Short side to `resize_short` (OpenCV bilinear on uint8, no antialiasing), centre crop, (x - mean) / std: the
    test pipeline of ViFi-CLIP and SKI (mmcv's rounding of the long side).
    """
    check_frame(frame)
    cv2 = require("cv2", "video", "frame preprocessing")
    height, width = frame.shape[:2]
    scale = spec.resize_short / min(height, width)
    size = (int(width * scale + 0.5), int(height * scale + 0.5))
    if size != (width, height):
        frame = cv2.resize(frame, size, interpolation=cv2.INTER_LINEAR)
    left, top = (size[0] - spec.crop) // 2, (size[1] - spec.crop) // 2
    crop = frame[top : top + spec.crop, left : left + spec.crop]
    # One multiply-add per channel, written planar: (x - mean) / std = x * (1 / std) - mean / std.
    out = np.empty((3, spec.crop, spec.crop), np.float32)
    for channel, (mean, std) in enumerate(zip(spec.mean, spec.std, strict=True)):
        np.multiply(crop[:, :, channel], np.float32(1 / std), out=out[channel], casting="unsafe")
        out[channel] -= np.float32(mean / std)
    return out


def preprocess_clip(frames: np.ndarray, spec: Preprocessing) -> np.ndarray:
    """uint8 [T, H, W, 3] (or a list of frames) -> float32 [T, 3, crop, crop]."""
    if len(frames) == 0:
        raise BadInput("frames must hold at least one frame, got none")
    return np.stack([preprocess_frame(frame, spec) for frame in frames])


def sample_indices(num_frames: int, window_frames: int) -> np.ndarray:
    """Which of `num_frames` frames a clip of `window_frames` takes: the middle of each equal part (SKI, test mode)."""
    if num_frames < 1:
        raise BadInput(f"a clip needs at least one frame, got {num_frames}")
    step = num_frames / window_frames
    return (np.arange(window_frames) * step + step / 2).astype(np.int64) % num_frames


def sample_times(times: np.ndarray, window_frames: int) -> np.ndarray:
    """Which of the frames at `times` (seconds, [n], ascending) a clip of `window_frames` takes: those in view at the
    middle of each equal part of the time they cover, the newest one's period included.

    Evenly spaced frames are chosen as `sample_indices` does; where there are fewer than needed, they repeat.
    """
    period = (times[-1] - times[0]) / max(len(times) - 1, 1)
    wanted = times[0] + (np.arange(window_frames) + 0.5) / window_frames * (times[-1] - times[0] + period)
    # A frame is in view until the next one comes; the slack keeps rounding from choosing the one before.
    return np.clip(np.searchsorted(times, wanted + 1e-6, side="right") - 1, 0, len(times) - 1)
