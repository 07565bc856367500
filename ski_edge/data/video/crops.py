"""Which part of the frames a network sees: uint8 [T, H, W, 3] -> uint8 [T, S, S, 3], the same for all frames.

Resizing is OpenCV's bilinear on uint8 without antialiasing, as in the test pipeline of ViFi-CLIP and in
`ski_edge.runtime.preprocess`, whose pixels `centre_crop(resize_short(...))` equals exactly.
"""

from __future__ import annotations

import cv2
import numpy as np

from ski_edge.errors import BadInput


def resize_short(frames: np.ndarray, short: int) -> np.ndarray:
    """Short side to `short`, aspect kept (mmcv's rounding of the long side)."""
    height, width = frames.shape[1:3]
    scale = short / min(height, width)
    return resize(frames, int(height * scale + 0.5), int(width * scale + 0.5))


def resize(frames: np.ndarray, height: int, width: int) -> np.ndarray:
    """Every frame to height x width; frames that have this size come back as they are."""
    if frames.shape[1:3] == (height, width):
        return frames
    out = np.empty((len(frames), height, width, 3), np.uint8)
    for frame, target in zip(frames, out, strict=True):
        cv2.resize(frame, (width, height), dst=target, interpolation=cv2.INTER_LINEAR)
    return out


def centre_crop(frames: np.ndarray, size: int) -> np.ndarray:
    """The square in the middle."""
    height, width = _fits(frames, size)
    top, left = (height - size) // 2, (width - size) // 2
    return frames[:, top : top + size, left : left + size]


def three_crops(frames: np.ndarray, size: int) -> list[np.ndarray]:
    """Squares at the left (top), right (bottom) and middle of frames whose short side is `size`; mmaction's order."""
    height, width = _fits(frames, size)
    if min(height, width) != size:
        raise BadInput(f"three crops of {size} need a short side of {size}, got frames of {height} x {width}")
    step = (max(height, width) - size) // 2
    starts = (0, 2 * step, step)
    if height == size:
        return [frames[:, :, left : left + size] for left in starts]
    return [frames[:, top : top + size] for top in starts]


def multi_scale_crop(
    frames: np.ndarray, size: int, rng: np.random.Generator, scales: tuple[float, ...], gap: int
) -> np.ndarray:
    """A box whose sides are scales of the short side, at one of five places, stretched to size x size.

    gap: by how many places in `scales` height and width may differ (mmaction's max_wh_scale_gap). The places are the
    corners and the middle.
    """
    height, width = frames.shape[1:3]
    sides = [int(min(height, width) * scale) for scale in scales]
    boxes = [(w, h) for i, h in enumerate(sides) for j, w in enumerate(sides) if abs(i - j) <= gap]
    # a side within two pixels of the network's becomes that, so that nothing is stretched by a hair
    w, h = (size if abs(side - size) < 3 else side for side in boxes[rng.integers(len(boxes))])
    w, h = min(w, width), min(h, height)
    x, y = ((0, 0), (4, 0), (0, 4), (4, 4), (2, 2))[rng.integers(5)]
    left, top = x * ((width - w) // 4), y * ((height - h) // 4)
    return resize(frames[:, top : top + h, left : left + w], size, size)


def jitter_crop(frames: np.ndarray, size: int, short: tuple[int, int], rng: np.random.Generator) -> np.ndarray:
    """Short side to a random length from `short` (both ends included), then a square at a random place (FROSTER)."""
    frames = resize_short(frames, round(rng.uniform(*short)))
    height, width = _fits(frames, size)
    top, left = rng.integers(height - size + 1), rng.integers(width - size + 1)
    return frames[:, top : top + size, left : left + size]


def flip(frames: np.ndarray) -> np.ndarray:
    """Left and right exchanged."""
    return frames[:, :, ::-1]


def _fits(frames: np.ndarray, size: int) -> tuple[int, int]:
    height, width = frames.shape[1:3]
    if min(height, width) < size:
        raise BadInput(f"a crop of {size} does not fit into frames of {height} x {width}; resize them first")
    return height, width
