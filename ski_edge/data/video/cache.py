"""Decoded frames kept on the disk, so that the second epoch decodes nothing.

FOLDER/ab/<key>.npy: uint8 [T, H, W, 3] of one whole clip at the short side that training wants. The key holds the
file's path, size and time of change, and the short side: a changed file is another entry. Files appear whole or not
at all, so several processes may share a folder, and one that was killed leaves nothing false.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import tempfile
import threading
import warnings
from pathlib import Path

import numpy as np

from ski_edge.data.video.files import ShortVideos, VideoFiles, stamp
from ski_edge.errors import BadInput

_MOST_BYTES = 1 << 30  # of one clip, which passes through memory; a recording of many minutes is decoded in part


class CachedVideos(ShortVideos):
    """The same, and every clip is decoded once."""

    def __init__(self, source: VideoFiles, folder: Path, short: int, limit_bytes: int) -> None:
        """limit_bytes: of the folder; clips that do not fit any more are decoded every time.

        Several processes may go beyond it by a hundredth each, because each counts what the others wrote only so often.
        """
        super().__init__(source, short)
        self.folder, self.limit_bytes = Path(folder), limit_bytes
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise BadInput(f"cache {folder} cannot be made: {error.strerror}; choose another folder") from error
        self._lock = threading.Lock()
        self._used = self._counted = self._count()

    def read(self, clip: int, indices: np.ndarray) -> np.ndarray:
        """uint8 [n, H, W, 3] with a short side of `short`, however they were had."""
        indices = np.asarray(indices, np.int64)
        path = self._path(clip)
        with contextlib.suppress(OSError, ValueError):  # not there, or cut by a full disk: decode it (again)
            kept = np.load(path, mmap_mode="r", allow_pickle=False)
            if kept.dtype == np.uint8 and kept.ndim == 4 and len(kept) == self.length(clip):
                return kept[indices]
        least = self.length(clip) * self.short**2 * 3
        if least > min(self.limit_bytes - self._used, _MOST_BYTES):
            return super().read(clip, indices)
        frames = super().read(clip, np.arange(self.length(clip)))
        self._keep(path, frames)
        return frames[indices]

    def _path(self, clip: int) -> Path:
        path = self.source.path(clip)
        size, mtime_ns = stamp(path)
        text = f"{path.resolve()}\n{size}\n{mtime_ns}\n{self.short}"
        key = hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
        return self.folder / key[:2] / f"{key[2:34]}.npy"

    def _keep(self, path: Path, frames: np.ndarray) -> None:
        with self._lock:
            if self._used + frames.nbytes > self.limit_bytes:
                self._used = self.limit_bytes
                return
            self._used += frames.nbytes
            recount = self._used - self._counted > self.limit_bytes // 100
        try:
            path.parent.mkdir(exist_ok=True)
            handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=".")
            try:
                # Not synced: that would cost more than the decoding it saves, and a file that a power cut left short is
                # found by its length and made again.
                with os.fdopen(handle, "wb") as file:
                    np.save(file, frames, allow_pickle=False)
                os.replace(temporary, path)
            except BaseException:
                Path(temporary).unlink(missing_ok=True)
                raise
        except OSError as error:
            warnings.warn(
                f"cache {self.folder} takes no more ({error.strerror}); clips are decoded every time", stacklevel=2
            )
            self._used = self.limit_bytes
            return
        if recount:
            used = self._count()
            with self._lock:
                self._used = self._counted = used

    def _count(self) -> int:
        """Bytes in the folder."""
        total = 0
        for part in self.folder.glob("[0-9a-f][0-9a-f]"):
            for file in part.glob("*.npy"):
                total += stamp(file)[0]
        return total
