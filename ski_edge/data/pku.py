"""PKU-MMD: long recordings as text, a row of 150 numbers a frame (two Kinect v2 bodies), and label files of actions.

Names: `0002-L` (version 1) or `A01N01-L` (version 2); the letter is the camera: left, middle or right.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ski_edge.data.checks import MAX_FRAMES, checked, read_bytes
from ski_edge.errors import BadInput
from ski_edge.files import read_text

NAME = r"(?:\d{4}|A\d{2}N\d{2})-(?P<camera>[LMR])"
CAMERAS = {"L": 1, "M": 2, "R": 3}
_JOINTS, _BODIES, _CLASSES = 25, 2, 51
_MAX_BYTES = 1 << 28


@dataclass(frozen=True)
class Action:
    """One row of a label file."""

    label: int  # 0-based
    start: int  # first frame
    stop: int  # the frame after the last one


def camera_of(name: str) -> int:
    """1 left, 2 middle, 3 right."""
    match = re.fullmatch(NAME, name, re.ASCII)
    if not match:
        raise BadInput(f"{name} is not a name of this data set; names look like 0002-L or A01N01-L")
    return CAMERAS[match["camera"]]


def read_pku(path: str | Path) -> np.ndarray:
    """float32 [T, 2, 25, 3] of a whole recording, metres; a missing body is all zeros."""
    path = Path(path)
    rows = [row for row in read_bytes(path, "skeleton", _MAX_BYTES).splitlines() if row.strip()]
    width = _BODIES * _JOINTS * 3
    if not 0 < len(rows) <= MAX_FRAMES:
        raise BadInput(f"{path} has {len(rows)} rows; a recording has one row a frame, 1 to {MAX_FRAMES}")
    try:
        values = np.loadtxt(rows, np.float64, comments=None, ndmin=2)
    except ValueError as error:
        raise BadInput(f"{path}: a row must hold {width} numbers: {error}; the file is damaged") from error
    if values.shape != (len(rows), width):
        raise BadInput(f"{path}: the rows hold {values.shape[1]} numbers, expected {width} (2 bodies x 25 joints x 3)")
    return checked(values.reshape(-1, _BODIES * _JOINTS, 3), _BODIES * _JOINTS, str(path)).reshape(
        -1, _BODIES, _JOINTS, 3
    )


def read_pku_labels(path: str | Path) -> list[Action]:
    """The actions of a recording: rows `action, start, end, confidence`, frames [start, end)."""
    actions = []
    for number, row in enumerate(read_text(Path(path), "label file").splitlines(), 1):
        if not row.strip():
            continue
        fields = [field.strip() for field in row.split(",")]
        if len(fields) != 4 or not all(re.fullmatch(r"\d{1,7}", field, re.ASCII) for field in fields[:3]):
            raise BadInput(f"{path}: line {number} should be action,start,end,confidence, got {row[:40]!r}")
        action, start, stop = (int(field) for field in fields[:3])
        if not 1 <= action <= _CLASSES:
            raise BadInput(f"{path}: line {number}: there is no action {action}; PKU-MMD has 1 to {_CLASSES}")
        actions.append(Action(action - 1, start, stop))
    return actions


def read_pku_split(path: str | Path) -> dict[str, str]:
    """Recording -> `train` or `test`: the second line of a split file lists the one, the fourth the other."""
    lines = read_text(Path(path), "split file").splitlines()
    if len(lines) < 4:
        raise BadInput(f"{path} has {len(lines)} lines; a split file has a title and a list, twice")
    assigned: dict[str, str] = {}
    for word, line in (("train", lines[1]), ("test", lines[3])):
        for name in filter(None, (item.strip() for item in line.split(","))):
            camera_of(name)
            if assigned.setdefault(name, word) != word:
                raise BadInput(f"{path}: {name} is in both lists")
    return assigned
