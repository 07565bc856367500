"""Prepared skeleton data: one memory-mapped array of all frames and an index beside it.

clips.npy    float32 [frames of all clips, M, V, 3], metres, in our axes; a missing body is all zeros
index.json   dataset, layout, fps, class names, and per clip: name, label, frames and what splits need
report.json  what was skipped and why
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from pydantic import Field, ValidationError, model_validator

from ski_edge.contracts import Contract
from ski_edge.errors import BadInput
from ski_edge.files import read_json, write_json
from ski_edge.skeleton.layouts import LayoutField

CLIPS, INDEX, REPORT = "clips.npy", "index.json", "report.json"


class ClipEntry(Contract):
    """One clip. The ids are the data set's own; -1 where it has none."""

    name: str
    label: int = Field(ge=-1)  # index into classes; -1: not labelled
    frames: int = Field(gt=0, le=1_000_000)  # nine hours
    subject: int = -1
    camera: int = -1
    setup: int = -1
    # What the data set's own lists say: "train", "val" or "test"; where it has several lists, "xsub:train xview:test"
    split: str = ""


class Index(Contract):
    schema_version: Literal[1] = 1
    dataset: str
    layout: LayoutField
    fps: float = Field(gt=0)
    persons: int = Field(ge=1)
    classes: tuple[str, ...]
    centred: bool = False  # whether preparation already subtracted an origin (NTU's pipeline)
    # What slot 2 of a one-person clip holds in the official preparation: NTU-120's files repeat body 1
    second_body: Literal["zeros", "copy"] = "zeros"
    licence: str = "unknown"
    clips: tuple[ClipEntry, ...]

    @model_validator(mode="after")
    def _labels_have_names(self) -> Index:
        worst = max((clip.label for clip in self.clips), default=-1)
        if worst >= len(self.classes):
            raise ValueError(f"label {worst} has no name: there are {len(self.classes)} classes")
        return self


@dataclass(frozen=True)
class SkeletonData:
    """A prepared folder, open. Clips are read from the disk when they are asked for."""

    folder: Path
    index: Index
    frames: np.ndarray  # memory map
    starts: np.ndarray  # int64 [N + 1]

    def __len__(self) -> int:
        return len(self.index.clips)

    def __getitem__(self, clip: int) -> np.ndarray:
        """float32 [T, M, V, 3]."""
        return np.asarray(self.frames[self.starts[clip] : self.starts[clip + 1]])

    @property
    def labels(self) -> np.ndarray:
        """int64 [N]."""
        return np.array([clip.label for clip in self.index.clips], np.int64)

    def column(self, name: str) -> np.ndarray:
        """One field of every clip: `subject`, `camera`, ..."""
        return np.array([getattr(clip, name) for clip in self.index.clips])


def open_data(folder: str | Path) -> SkeletonData:
    """Open a folder that `ski-edge data prepare` wrote."""
    folder = Path(folder)
    if not (folder / INDEX).is_file():
        raise BadInput(f"{folder} holds no prepared data (no {INDEX}); make it with: ski-edge data prepare")
    try:
        index = Index.model_validate(read_json(folder / INDEX, "index"))
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise BadInput(f"{folder / INDEX}: {where}: {first['msg']}; prepare the data again") from error
    try:
        frames = np.load(folder / CLIPS, mmap_mode="r", allow_pickle=False)
    except Exception as error:  # numpy's reader raises nearly anything on a damaged file
        raise BadInput(f"{folder / CLIPS} cannot be read: {error}; prepare the data again") from error
    starts = np.concatenate([[0], np.cumsum([clip.frames for clip in index.clips], dtype=np.int64)])
    wanted = (int(starts[-1]), index.persons, index.layout.num_joints, 3)
    if frames.shape != wanted or frames.dtype != np.float32:
        raise BadInput(
            f"{folder / CLIPS} is {frames.dtype} {list(frames.shape)}, the index says float32 {list(wanted)}; "
            "prepare the data again"
        )
    return SkeletonData(folder, index, frames, starts)


def is_prepared(folder: Path) -> bool:
    """Whether a folder is prepared data and holds nothing else; only such a folder is ever replaced."""
    try:
        fields = read_json(folder / INDEX, "index")
    except BadInput:
        return False
    known = isinstance(fields, dict) and {"schema_version", "dataset", "clips"} <= fields.keys()
    return known and {path.name for path in folder.iterdir()} <= {CLIPS, INDEX, REPORT}


# clips.npy is written front to back before its length is known: its header gets a place of this size
HEADER_BYTES = 256


def write_header(path: Path, shape: tuple[int, ...]) -> None:
    """Put the header of a float32 .npy file (version 1.0) into the place left for it in front of the frames."""
    fields = f"{{'descr': '<f4', 'fortran_order': False, 'shape': {shape}, }}"
    text = fields.ljust(HEADER_BYTES - 11) + "\n"
    with open(path, "r+b") as file:
        file.write(b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text.encode("ascii"))


def write_data(folder: Path, index: Index, clips: list[np.ndarray], report: dict[str, Any]) -> None:
    """Write a small data set whose clips [T, M, V, 3] are in memory."""
    total = sum(clip.frames for clip in index.clips)
    shape = (total, index.persons, index.layout.num_joints, 3)
    frames = np.lib.format.open_memmap(folder / CLIPS, mode="w+", dtype=np.float32, shape=shape)
    start = 0
    for clip in clips:
        frames[start : start + len(clip)] = clip
        start += len(clip)
    frames.flush()
    write_json(folder / INDEX, index.model_dump(mode="json"))
    write_json(folder / REPORT, report)
