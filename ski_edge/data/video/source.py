"""What every source of labelled clips offers: files, a cache in front of them, rendered clips."""

from __future__ import annotations

from typing import Protocol

import numpy as np


class VideoSource(Protocol):
    """N labelled clips. `length` and `read` are called from several threads at once.

    names: [N], one of its own for every clip; classes: class names in the order of the labels; labels: int64 [N].
    """

    names: tuple[str, ...]
    classes: tuple[str, ...]
    labels: np.ndarray

    def length(self, clip: int) -> int:
        """Frames of a clip, at least 1."""
        ...

    def read(self, clip: int, indices: np.ndarray) -> np.ndarray:
        """Frames `indices` (int64 [n], any order, repeats allowed) of a clip: uint8 [n, H, W, 3], RGB.

        Raises BadInput, naming the clip, where frames cannot be had.
        """
        ...
