"""A preparation as a value: which files, how one is read, what the index says. Each data set makes one (`sources`)."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np
from pydantic import Field

from ski_edge import __version__
from ski_edge.contracts import Contract
from ski_edge.data.store import ClipEntry
from ski_edge.errors import BadInput
from ski_edge.skeleton.layouts import Layout


class PrepareOptions(Contract):
    """What the files cannot tell. A data set takes those that concern it and refuses the others."""

    subset: Literal["60", "120"] | None = None  # ntu; None: 120 where the files hold actions above 60
    second_body: Literal["zeros", "copy"] | None = None  # ntu; None: zeros for 60, copy for 120, as the originals
    missing: Path | None = None  # ntu: list of samples to leave out; None: such a list below or beside --raw
    labels: Path | None = None  # folder: csv of name,label[,subject]; None: labels.csv in --raw
    layout: str | None = None  # folder: name or YAML file
    fps: float | None = Field(None, gt=0, le=1000)  # folder; None: 30


@dataclass(frozen=True)
class Clip:
    """One clip on its way into the store."""

    entry: ClipEntry
    joints: np.ndarray  # float32 [T, M, V, 3]


# Reads one file: clips, and (name, reason) appended for what is left out. Runs in worker processes: picklable, pure.
Reader = Callable[[Path, list[tuple[str, str]]], list[Clip]]


@dataclass(frozen=True)
class Plan:
    """One preparation: the files in order, how to read one, what the index says."""

    dataset: str
    files: tuple[Path, ...]
    read: Reader
    layout: Layout
    classes: tuple[str, ...]
    persons: int = 1
    fps: float = 30.0  # Kinect's rate; the files hold no times
    centred: bool = False
    second_body: Literal["zeros", "copy"] = "zeros"
    licence: str = "unknown"
    notes: tuple[str, ...] = ()
    skipped: tuple[tuple[str, str], ...] = ()  # files that are known and left out on purpose

    def index_fields(self) -> dict[str, Any]:
        """Fields of the index that do not depend on the clips."""
        keys = ("dataset", "layout", "fps", "persons", "classes", "centred", "second_body", "licence")
        return {key: getattr(self, key) for key in keys}

    def fingerprint(self) -> str:
        """Changes when the files or what is made of them change: only an equal plan is resumed."""
        fields = {
            **self.index_fields(),
            "layout": self.layout.model_dump(mode="json"),
            "read": _name_of(self.read),
            "version": __version__,
        }
        files = [(str(file), file.stat().st_size) for file in self.files]
        text = json.dumps([fields, files], ensure_ascii=False)
        return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()

    def without_files(self) -> Plan:
        """What a worker process needs of it."""
        return replace(self, files=(), skipped=())


def _name_of(read: Reader) -> list[str]:
    """A function and what is bound to it, the same in every process."""
    inner = read.func if isinstance(read, partial) else read
    bound = read.keywords if isinstance(read, partial) else {}
    return [inner.__qualname__, *(f"{key}={value!r}" for key, value in sorted(bound.items()))]


def find(raw: Path, pattern: str, what: str) -> tuple[Path, ...]:
    """Files below `raw` that fit a pattern, by name."""
    if not raw.is_dir():
        raise BadInput(f"--raw {raw} is not a folder; give the folder with {what}")
    files = tuple(
        sorted((path for path in raw.rglob(pattern) if path.is_file()), key=lambda path: (path.name, str(path)))
    )
    if not files:
        raise BadInput(f"--raw {raw} holds no {pattern} files; give the folder with {what}")
    return files
