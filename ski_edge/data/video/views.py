"""What a network is tested on: one clip or several of each video, one square or three of each frame."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

import numpy as np
from pydantic import Field

from ski_edge.contracts import Contract, Preprocessing
from ski_edge.data.video.ahead import Allocate, read_ahead
from ski_edge.data.video.crops import centre_crop, resize_short, three_crops
from ski_edge.data.video.sampling import segments_test, stride_test
from ski_edge.data.video.source import VideoSource
from ski_edge.errors import BadInput


class Views(Contract):
    """V = temporal * crops views of each video; scores of views are added. 1 x 1, or 4 x 3 in the papers' tables."""

    frames: int = Field(gt=0, le=1024)  # of each view
    sampling: Literal["segments", "stride"] = "segments"
    rate: int = Field(16, gt=0)  # stride: frames of the video per frame of the view
    preprocessing: Preprocessing
    temporal: int = Field(1, gt=0, le=100)
    crops: Literal[1, 3] = 1  # 3: left, right, middle (top, bottom, middle) of the frame at a short side of `crop`

    @property
    def shape(self) -> tuple[int, int, int, int, int]:
        """[V, T, S, S, 3]."""
        size = self.preprocessing.crop
        return self.temporal * self.crops, self.frames, size, size, 3

    @property
    def short(self) -> int:
        """The short side that frames are resized to."""
        return self.preprocessing.resize_short if self.crops == 1 else self.preprocessing.crop


def view_clip(source: VideoSource, clip: int, views: Views) -> np.ndarray:
    """uint8 [V, T, S, S, 3], temporal views outside, crops inside. 1 x 1 is the runtime's own preprocessing."""
    length, count = source.length(clip), views.frames
    every = range(views.temporal)
    if views.sampling == "segments":
        indices = [segments_test(length, count, view, views.temporal) for view in every]
    else:
        indices = [stride_test(length, count, views.rate, view, views.temporal) for view in every]
    frames = source.read(clip, np.concatenate(indices))
    size = views.preprocessing.crop
    frames = resize_short(frames, views.short)
    squares = [centre_crop(frames, size)] if views.crops == 1 else three_crops(frames, size)
    split = [square.reshape(views.temporal, count, size, size, 3) for square in squares]
    return np.stack(split, axis=1).reshape(views.shape)


def view_batches(
    source: VideoSource,
    which: np.ndarray,
    views: Views,
    batch_size: int,
    workers: int = 0,
    allocate: Allocate | None = None,
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """(clips int64 [n], uint8 [n, V, T, S, S, 3]) of all the clips `which` in their order, the last batch shorter."""
    if batch_size < 1:
        raise BadInput(f"batch_size must be at least 1, got {batch_size}")
    which = np.asarray(which, np.int64)
    batches = (which[start : start + batch_size] for start in range(0, len(which), batch_size))
    return read_ahead(lambda clip: view_clip(source, clip, views), batches, views.shape, workers, allocate)
