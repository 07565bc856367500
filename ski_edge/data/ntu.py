"""NTU RGB+D `.skeleton` text: `SsssCcccPpppRrrrAaaa.skeleton`, up to six Kinect v2 bodies of 25 joints a frame.

UAV-Human's files look the same but hold 17 joints in pixels and bodies without ids of their own; they are refused by
the joint count, because nothing downstream of here (denoising by metres, tracks by id) is meant for them.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ski_edge.data.checks import FARTHEST_M, numbers_in_name, read_bytes
from ski_edge.errors import BadInput
from ski_edge.files import read_text

NAME = r"S(?P<setup>\d{3})C(?P<camera>\d{3})P(?P<subject>\d{3})R(?P<replication>\d{3})A(?P<action>\d{3})\.skeleton"
JOINTS = 25
_MAX_BYTES = 1 << 28
_BODY_FIELDS = 10  # id, clipped edges, 2 x hand confidence and state, restricted, lean x y, tracking state
_JOINT_FIELDS = 12  # x y z, depth x y, colour x y, orientation w x y z, tracking state
_NUMBER = re.compile(rb"\d{1,9}")


@dataclass(frozen=True)
class NtuRecording:
    """Every body of every frame, in the order of the file: B bodies in all."""

    frames: int  # frames of the recording, also those without a body
    frame: np.ndarray  # int64 [B], which frame a body is in, ascending
    ids: tuple[str, ...]  # [B], the sensor's track ids, as written
    joints: np.ndarray  # float32 [B, 25, 3], metres, x image right, y up, z away
    colour: np.ndarray  # float32 [B, 25, 2], pixels of the 1920 x 1080 picture; NaN or infinite where unknown


def parse_name(path: Path) -> dict[str, int]:
    """`setup`, `camera`, `subject`, `replication`, `action` and `label` (0-based)."""
    ids = numbers_in_name(path, NAME, "S001C001P001R001A001.skeleton")
    if not 1 <= ids["action"] <= 120:
        raise BadInput(f"{path.name}: there is no action {ids['action']}; NTU RGB+D 120 has 1 to 120")
    return {**ids, "label": ids["action"] - 1}


def read_ntu(path: str | Path) -> NtuRecording:
    """One `.skeleton` file, LF or CRLF. Every line must be where the counts say, and nothing may follow the last."""
    path = Path(path)
    lines = read_bytes(path, "skeleton", _MAX_BYTES).splitlines()
    while lines and not lines[-1].strip():
        lines.pop()
    frames = _count(lines, 0, path, "the number of frames")
    if frames > len(lines):
        raise _cut(path, len(lines))
    frame: list[int] = []
    ids: list[str] = []
    rows: list[bytes] = []
    at = 1
    for number in range(frames):
        bodies = _count(lines, at, path, f"the number of bodies of frame {number}")
        at += 1
        here = len(ids)
        for _ in range(bodies):
            head = _fields(lines, at, path, _BODY_FIELDS, "a body")
            joints = _count(lines, at + 1, path, "the number of joints")
            if joints != JOINTS:
                raise BadInput(
                    f"{path}: line {at + 2}: {joints} joints, NTU RGB+D has {JOINTS}; is it UAV-Human or another set?"
                )
            if len(lines) < at + 2 + JOINTS:
                raise _cut(path, len(lines))
            rows += lines[at + 2 : at + 2 + JOINTS]
            ids.append(head[0].decode("ascii", "replace"))
            frame.append(number)
            at += 2 + JOINTS
        if len(set(ids[here:])) != bodies:
            raise BadInput(f"{path}: frame {number} holds two bodies with one id; which is which cannot be told")
    if at != len(lines):
        raise BadInput(f"{path}: {len(lines) - at} lines follow the last of {frames} frames; the file is damaged")
    values = _numbers(rows, path).reshape(-1, JOINTS, _JOINT_FIELDS)
    return NtuRecording(frames, np.array(frame, np.int64), tuple(ids), _metres(values, frame, path), _pixels(values))


def read_names(path: str | Path) -> frozenset[str]:
    """Sample names in a list of NTU's (one per line; lines of text around them are passed over)."""
    text = read_text(Path(path), "list of samples")
    names = frozenset(re.findall(r"^\s*(S\d{3}C\d{3}P\d{3}R\d{3}A\d{3})(?:\.skeleton)?\s*$", text, re.MULTILINE))
    if not names:
        raise BadInput(f"{path} lists no samples; names look like S001C001P001R001A001, one per line")
    return names


def _cut(path: Path, lines: int) -> BadInput:
    return BadInput(f"{path} ends after line {lines} in the middle of its frames; it is cut off, get it again")


def _count(lines: list[bytes], at: int, path: Path, what: str) -> int:
    if at >= len(lines):
        raise _cut(path, len(lines)) if lines else BadInput(f"{path} is empty; get it again")
    text = lines[at].strip()
    if not _NUMBER.fullmatch(text):
        raise BadInput(f"{path}: line {at + 1} should be {what}, got {text[:40]!r}; is it an NTU .skeleton file?")
    return int(text)


def _fields(lines: list[bytes], at: int, path: Path, count: int, what: str) -> list[bytes]:
    if at >= len(lines):
        raise _cut(path, len(lines))
    fields = lines[at].split()
    if len(fields) != count:
        raise BadInput(
            f"{path}: line {at + 1} should be {what} with {count} values, got {len(fields)}; the file is damaged"
        )
    return fields


def _numbers(rows: list[bytes], path: Path) -> np.ndarray:
    """float64 [joints, 12]: all joint lines in one go; numpy's reader is strict about every value and every row."""
    if not rows:
        return np.zeros((0, _JOINT_FIELDS))
    try:
        values = np.loadtxt(rows, np.float64, comments=None, ndmin=2)
    except ValueError as error:
        raise BadInput(f"{path}: a joint must have {_JOINT_FIELDS} numbers: {error}; the file is damaged") from error
    if values.shape != (len(rows), _JOINT_FIELDS):
        raise BadInput(
            f"{path}: the joints make a table {list(values.shape)}, expected {len(rows)} rows of {_JOINT_FIELDS} "
            "numbers; the file is damaged"
        )
    return values


def _metres(values: np.ndarray, frame: list[int], path: Path) -> np.ndarray:
    joints = values[:, :, :3]
    bad = ~(np.abs(joints) <= FARTHEST_M)  # NaN fails the comparison too
    if bad.any():
        body, joint, axis = (int(i) for i in np.argwhere(bad)[0])
        raise BadInput(
            f"{path}: frame {frame[body]}, joint {joint + 1} is at {joints[body, joint, axis]} m; joints must be "
            f"finite and within {FARTHEST_M:g} m of the camera; get the file again"
        )
    return joints.astype(np.float32)


def _pixels(values: np.ndarray) -> np.ndarray:
    with np.errstate(over="ignore"):  # the sensor writes infinity for a joint it cannot project
        return values[:, :, 5:7].astype(np.float32)
