"""Bring your own: clips as .npy ([T, V, 3] or [T, M, V, 3]) or .csv (a row a frame), and a table of labels."""

from __future__ import annotations

import csv
import io
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ski_edge.data.checks import MAX_FRAMES, read_bytes
from ski_edge.errors import BadInput
from ski_edge.files import read_text
from ski_edge.skeleton.layouts import Layout

SUFFIXES = (".npy", ".csv")
_MAX_BYTES = 1 << 30
_MAX_PERSONS = 16
_FARTHEST = 1e6  # only damage is this large, whatever the unit
_COLUMNS = ("name", "label", "subject", "split")


@dataclass(frozen=True)
class Row:
    """What the table says of a clip."""

    label: str
    subject: int = -1
    split: str = ""


def read_labels(path: Path) -> dict[str, Row]:
    """A csv with the header `name,label`, and maybe `subject` (a number) and `split` (train, val or test)."""
    reader = csv.reader(io.StringIO(read_text(path, "label file")), strict=True)
    rows: dict[str, Row] = {}
    try:
        header = [field.strip().lower() for field in next(reader, [])]
        if header[:2] != ["name", "label"] or not set(header) <= set(_COLUMNS) or len(set(header)) != len(header):
            raise BadInput(
                f"{path}: the first line must be name,label or name,label,subject, got {','.join(header)[:80]!r}"
            )
        for fields in reader:
            if any(field.strip() for field in fields):
                _add(
                    rows,
                    dict(zip(header, (field.strip() for field in fields), strict=False)),
                    f"{path}: line {reader.line_num}",
                )
    except csv.Error as error:
        raise BadInput(f"{path}: line {reader.line_num}: {error}") from error
    if not rows:
        raise BadInput(f"{path} names no clips; write a line name,label for each")
    return rows


def _add(rows: dict[str, Row], fields: dict[str, str], where: str) -> None:
    name, label = fields.get("name", ""), fields.get("label", "")
    subject, split = fields.get("subject") or "-1", fields.get("split", "")
    if not name or not label:
        raise BadInput(f"{where} has no name or no label")
    if not (subject == "-1" or (subject.isascii() and subject.isdigit() and len(subject) < 10)):
        raise BadInput(f"{where}: subject must be a number, got {subject[:40]!r}")
    if split not in ("", "train", "val", "test"):
        raise BadInput(f"{where}: split must be train, val or test, got {split[:40]!r}")
    key = key_of(name)
    if key in rows:
        raise BadInput(f"{where}: {name} is there twice")
    rows[key] = Row(label, int(subject), split)


def key_of(name: str) -> str:
    """A clip's name in the table: its path below the folder, with or without the ending."""
    return name.removesuffix(".npy").removesuffix(".csv").replace("\\", "/")


def read_clip(path: str | Path, layout: Layout) -> np.ndarray:
    """float32 [T, M, V, 3], as many bodies as the file has."""
    path = Path(path)
    array = _npy(path) if path.suffix == ".npy" else _csv(path, layout)
    found = list(array.shape)
    if array.ndim == 3:
        array = array[:, None]
    if array.ndim != 4 or array.shape[2:] != (layout.num_joints, 3) or array.dtype.kind not in "fiu":
        raise BadInput(
            f"{path} is {array.dtype} {found}, expected numbers [T, {layout.num_joints}, 3] or "
            f"[T, M, {layout.num_joints}, 3] for layout {layout.name}"
        )
    if not 0 < len(array) <= MAX_FRAMES or not 0 < array.shape[1] <= _MAX_PERSONS:
        limits = f"1 to {MAX_FRAMES} of 1 to {_MAX_PERSONS}"
        raise BadInput(f"{path} has {len(array)} frames of {array.shape[1]} bodies; expected {limits}")
    if not (np.abs(array) <= _FARTHEST).all():
        frame = int(np.argwhere(~(np.abs(array) <= _FARTHEST))[0][0])
        raise BadInput(
            f"{path}: frame {frame} holds NaN, infinity or a number above {_FARTHEST:g}; a missing body is all zeros"
        )
    return array.astype(np.float32)


def _npy(path: Path) -> np.ndarray:
    try:
        # A memory map believes no header that claims more than the file has.
        return np.load(path, mmap_mode="r", allow_pickle=False)
    except Exception as error:  # numpy's reader raises nearly anything on a damaged file
        raise BadInput(f"{path} is not a readable .npy file ({str(error)[:200]!r})") from error


def _csv(path: Path, layout: Layout) -> np.ndarray:
    """Columns x, y, z of joint 1, joint 2, ...; body after body. A first line of names is passed over."""
    rows = [row for row in read_bytes(path, "clip", _MAX_BYTES).splitlines() if row.strip()]
    if rows and not all(_is_number(field) for field in rows[0].split(b",")):
        rows = rows[1:]
    if not rows:
        raise BadInput(f"{path} holds no frames")
    try:
        values = np.loadtxt(rows, np.float64, comments=None, delimiter=",", ndmin=2)
    except ValueError as error:
        raise BadInput(f"{path}: {error}; a row must hold x, y, z of every joint, separated by commas") from error
    width = layout.num_joints * 3
    if values.shape[0] != len(rows) or values.shape[1] % width:
        raise BadInput(f"{path}: rows of {values.shape[1]} numbers; layout {layout.name} needs {width} for each body")
    return values.reshape(len(values), -1, layout.num_joints, 3)


def _is_number(field: bytes) -> bool:
    try:
        float(field)
    except ValueError:
        return False
    return True


def count_bodies(path: Path, layout: Layout) -> int:
    """How many bodies a clip has, from its header or first row; 0 where it cannot be told."""
    if path.suffix == ".npy":
        try:
            shape = _npy(path).shape
        except BadInput:
            return 0
        return min(shape[1], _MAX_PERSONS) if len(shape) == 4 else 1
    with open(path, "rb") as file:
        columns = file.readline(1 << 20).count(b",") + 1
    bodies, rest = divmod(columns, layout.num_joints * 3)
    return 0 if rest else min(bodies, _MAX_PERSONS)
