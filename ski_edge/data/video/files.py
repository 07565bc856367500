"""Clips that are video files of one folder, and the list of what a check found about them."""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import numpy as np
from pydantic import Field, ValidationError

from ski_edge.contracts import Contract
from ski_edge.data.video.decode import promised_frames, read_frames
from ski_edge.errors import BadInput
from ski_edge.files import read_json, write_json

# What data sets put behind a clip's name to tell its video from its skeleton.
_KIND = re.compile(r"_(rgb|color|skeleton)$", re.IGNORECASE)


class FileCheck(Contract):
    """What reading one whole file showed, and which file that was."""

    bytes: int = Field(ge=0)
    mtime_ns: int
    frames: int = Field(0, ge=0)
    steady: bool = False
    why: str = ""  # it cannot be used; empty: it can


class CheckedFiles(Contract):
    """The list that `ski-edge data check --list` writes: by path below the root."""

    schema_version: Literal[1] = 1
    files: dict[str, FileCheck]


def read_checked(path: Path) -> CheckedFiles:
    """Read the list of a check."""
    try:
        return CheckedFiles.model_validate(read_json(path, "list of checked videos"))
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise BadInput(f"{path}: {where}: {first['msg']}; write it again with ski-edge data check --list") from error


def write_checked(path: Path, checked: CheckedFiles) -> None:
    """Write the list of a check."""
    write_json(path, checked.model_dump(mode="json"))


def clip_name(path: str) -> str:
    """`x/S001C001P001R001A001_rgb` -> `S001C001P001R001A001`: what a video and its skeleton have in common."""
    return _KIND.sub("", path.rsplit("/", 1)[-1])


def stamp(path: Path) -> tuple[int, int]:
    """(bytes, mtime in ns) of a file, (0, 0) where there is none: another stamp means another file."""
    try:
        found = path.stat()
    except OSError:
        return 0, 0
    return found.st_size, found.st_mtime_ns


class VideoFiles:
    """Clips of a folder: a `VideoSource` whose frames are decoded when they are asked for.

    Files that are not there are an error, unless the list of a check says so. `left_out` has (path, reason) of every
    file that the list finds unusable.
    """

    def __init__(
        self,
        root: Path,
        files: Sequence[str],
        labels: Sequence[int],
        classes: Sequence[str],
        checked: CheckedFiles | None = None,
    ) -> None:
        """files: paths below root; labels: of each, into classes (-1: not known); checked: what a check found."""
        known = checked.files if checked else {}
        self.root, self.classes = Path(root), tuple(classes)
        self.left_out: list[tuple[str, str]] = []
        self.files: tuple[str, ...] = ()
        self._facts: dict[str, FileCheck] = {}
        kept: list[int] = []
        missing: list[str] = []
        for position, file in enumerate(files):
            now, facts = stamp(self.root / file), known.get(file)
            fresh = facts is not None and now == (facts.bytes, facts.mtime_ns)
            if fresh and facts.why:
                self.left_out.append((file, facts.why))
                continue
            if now == (0, 0):
                missing.append(file)
            elif fresh:
                self._facts[file] = facts
            kept.append(position)
        if missing:
            raise BadInput(
                f"{len(missing)} of {len(files)} videos are not below {self.root}, the first is {missing[0]}; "
                "mend the root, or leave them out with the list of: ski-edge data check --videos ... --list FILE"
            )
        if not kept:
            raise BadInput(f"no video is left of {len(files)} below {self.root}")
        self.files = tuple(files[position] for position in kept)
        self.labels = np.array([labels[position] for position in kept], np.int64)
        self.names = _names(self.files)
        wrong = (self.labels < -1) | (self.labels >= len(self.classes))
        if wrong.any():
            worst = int(np.argmax(wrong))
            raise BadInput(
                f"{self.files[worst]} has the label {self.labels[worst]}, there are {len(self.classes)} class names "
                "(labels count from 0)"
            )

    def path(self, clip: int) -> Path:
        """Where a clip's file is."""
        return self.root / self.files[clip]

    def length(self, clip: int) -> int:
        """As a check counted, else as the header says."""
        file = self.files[clip]
        if file not in self._facts:
            frames = promised_frames(self.path(clip))
            size, mtime_ns = stamp(self.path(clip))
            self._facts[file] = FileCheck(bytes=size, mtime_ns=mtime_ns, frames=frames)
        return self._facts[file].frames

    def read(self, clip: int, indices: np.ndarray) -> np.ndarray:
        """uint8 [n, H, W, 3], as recorded."""
        return self.read_short(clip, indices, None)

    def read_short(self, clip: int, indices: np.ndarray, short: int | None) -> np.ndarray:
        """The same, resized to a short side while reading, so that a clip in full HD need not fit into memory."""
        length = self.length(clip)
        return read_frames(self.path(clip), indices, length, short, self._facts[self.files[clip]].steady)


class ShortVideos:
    """A `VideoSource` in front of video files that gives their frames at a short side of `short`."""

    def __init__(self, source: VideoFiles, short: int) -> None:
        self.source, self.short = source, short
        self.names, self.classes, self.labels = source.names, source.classes, source.labels

    def length(self, clip: int) -> int:
        return self.source.length(clip)

    def read(self, clip: int, indices: np.ndarray) -> np.ndarray:
        """uint8 [n, H, W, 3] with min(H, W) = short."""
        return self.source.read_short(clip, indices, self.short)


def _names(files: tuple[str, ...]) -> tuple[str, ...]:
    """Clip names; paths without their endings where two files would share one."""
    stems = [os.path.splitext(file)[0] for file in files]
    names = tuple(clip_name(stem) for stem in stems)
    if len(set(names)) == len(names):
        return names
    paths = tuple(_KIND.sub("", stem) for stem in stems)
    twice = [path for path, count in Counter(paths).items() if count > 1]
    if twice:
        raise BadInput(f"the video {twice[0]} is there twice; a clip needs a name of its own")
    return paths
