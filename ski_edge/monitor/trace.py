"""Recorded skeletons: `--record trace.skr` writes them, `--source replay:trace.skr` plays them to the same decisions.

A trace is gzipped JSON lines: a header, then one record per frame an estimator looked at, also when it saw nobody.
Every line begins with the CRC-32 of its rest, numbers are written so that each float32 comes back bit for bit, and
every record is flushed whole, so a killed recording can be read up to its last one.
"""

from __future__ import annotations

import math
import time
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Annotated, Literal

import numpy as np
from pydantic import Field, ValidationError, model_validator

from ski_edge.contracts import Contract
from ski_edge.errors import BadInput
from ski_edge.monitor.pose import MAX_PERSONS, Body
from ski_edge.monitor.sources import Frame, SourceStats
from ski_edge.runtime import Sampler
from ski_edge.skeleton import LAYOUTS, Layout

_LONGEST_LINE = 1 << 20  # bytes; sixteen bodies of 33 joints take 40 kB
_GZIP = 31  # zlib's name for gzip framing
_HEAD = len('{"crc":"00000000",')


class TraceHeader(Contract):
    """The first line: what the records are, and what they were recorded with."""

    format: Literal["ski-edge-trace"] = "ski-edge-trace"
    version: Literal[1] = 1
    layout: str  # of the bodies, a built-in one
    estimator: str
    source: str  # without credentials
    epoch: float = Field(ge=0, le=1e11)  # Unix time of timestamp 0 of a live source; 0: timestamps are the file's
    fps: float = Field(gt=0, le=1000)
    size: tuple[Annotated[int, Field(ge=1, le=16384)], Annotated[int, Field(ge=1, le=16384)]]  # height, width
    model: str  # of the bundle that watched
    model_sha256: str  # of its manifest, which holds the hashes of all its files
    config: dict[str, float | int | str | bool | None]  # the options that bear on decisions

    @model_validator(mode="after")
    def _layout_is_known(self) -> TraceHeader:
        if self.layout not in LAYOUTS:
            raise ValueError(f"layout {self.layout!r} is not built in; the choices are: {', '.join(LAYOUTS)}")
        return self


class _BodyRecord(Contract):
    joints: tuple[float, ...]  # [V * 3]
    pixels: tuple[float, ...]  # [V * 2]
    visibility: tuple[Annotated[float, Field(ge=0, le=1)], ...]  # [V]
    box: tuple[float, float, float, float]
    score: float = Field(ge=0, le=1)


class _Record(Contract):
    t: float = Field(ge=0, le=1e10)  # seconds
    bodies: tuple[_BodyRecord, ...] = Field(max_length=4 * MAX_PERSONS)


class TraceWriter:
    """Appends records to a new file; each is on its way to the disk before `write` returns."""

    def __init__(self, path: Path, header: TraceHeader) -> None:
        try:
            self._file: IO[bytes] = open(path, "xb", buffering=0)  # noqa: SIM115 - closed in close()
        except FileExistsError as error:
            raise BadInput(f"--record {path} exists; give another name, or --overwrite") from error
        except OSError as error:
            raise BadInput(f"--record {path} cannot be written: {error.strerror}; choose another place") from error
        self._path, self._layout = path, header.layout
        self._squeeze = zlib.compressobj(6, zlib.DEFLATED, _GZIP)
        self._line(header.model_dump_json())

    def write(self, timestamp: float, bodies: list[Body]) -> None:
        """One frame; timestamp: seconds, later than the last one's."""
        assert all(body.layout == self._layout for body in bodies)
        records = tuple(
            _BodyRecord(
                joints=_exact(body.joints),
                pixels=_exact(body.keypoints_px),
                visibility=_exact(body.visibility),
                box=body.box,
                score=body.score,
            )
            for body in bodies
        )
        self._line(_Record(t=timestamp, bodies=records).model_dump_json())

    def close(self) -> None:
        try:
            self._put(self._squeeze.flush())
        finally:
            self._file.close()

    def _line(self, text: str) -> None:
        rest = text[1:].encode() + b"\n"
        line = b'{"crc":"%08x",' % zlib.crc32(rest) + rest
        self._put(self._squeeze.compress(line) + self._squeeze.flush(zlib.Z_SYNC_FLUSH))

    def _put(self, data: bytes) -> None:
        rest = memoryview(data)
        try:
            while rest:  # an unbuffered file may take a part only
                rest = rest[self._file.write(rest) :]
        except OSError as error:
            raise BadInput(
                f"--record {self._path} could not be written on: {error.strerror}; what is there can be replayed"
            ) from error


def _exact(values: np.ndarray) -> tuple[float, ...]:
    """Nine digits are enough to give every float32 back, and half as long as a float64's."""
    return tuple(float(f"{value:.9g}") for value in values.ravel().tolist())


def read_trace(path: Path) -> tuple[TraceHeader, Iterator[tuple[float, list[Body]]]]:
    """Header, and records as they are asked for. Every line is checked; damage is BadInput, a cut end the end."""
    lines = _lines(path)
    first = next(lines, None)
    if first is None:
        raise BadInput(f"trace {path} holds no header; it is empty or was cut before it began, record it again")
    header = _parse(TraceHeader, first, path, "header")
    return header, _records(path, lines, LAYOUTS[header.layout])


def ends_properly(path: Path) -> bool:
    """Whether the recording was closed; what a killed one holds plays, but it is not all there was."""
    squeeze = zlib.decompressobj(_GZIP)
    with open(path, "rb") as file:
        while not squeeze.eof and (block := file.read(1 << 16)):
            while block and not squeeze.eof:
                squeeze.decompress(block, 1 << 20)
                block = squeeze.unconsumed_tail
    return squeeze.eof


def _records(path: Path, lines: Iterator[bytes], layout: Layout) -> Iterator[tuple[float, list[Body]]]:
    last = -math.inf
    for number, line in enumerate(lines, start=1):
        record = _parse(_Record, line, path, f"record {number}")
        if record.t <= last:
            raise BadInput(
                f"trace {path}: record {number}: time {record.t} s does not follow {last} s; record it again"
            )
        last = record.t
        yield record.t, [_body(body, layout, path, number) for body in record.bodies]


def _body(record: _BodyRecord, layout: Layout, path: Path, number: int) -> Body:
    joints = layout.num_joints
    if (len(record.joints), len(record.pixels), len(record.visibility)) != (3 * joints, 2 * joints, joints):
        raise BadInput(f"trace {path}: record {number}: a body must have {joints} joints ({layout.name})")
    with np.errstate(over="ignore"):
        body = Body(
            joints=np.array(record.joints, np.float32).reshape(joints, 3),
            layout=layout.name,
            keypoints_px=np.array(record.pixels, np.float32).reshape(joints, 2),
            visibility=np.array(record.visibility, np.float32),
            box=record.box,
            score=record.score,
        )
    if not (np.isfinite(body.joints).all() and np.isfinite(body.keypoints_px).all()):
        raise BadInput(f"trace {path}: record {number}: a number does not fit float32; record it again")
    return body


def _parse(kind: type, line: bytes, path: Path, what: str) -> TraceHeader | _Record:
    """A line without its CRC, as the contract wants it."""
    if line[:8] != b'{"crc":"' or line[_HEAD - 2 : _HEAD] != b'",':
        raise BadInput(f"trace {path}: {what} is not a trace's; give a file that --record wrote")
    if line[8 : _HEAD - 2] != b"%08x" % zlib.crc32(line[_HEAD:]):
        raise BadInput(f"trace {path}: {what} is damaged (its CRC differs); copy the file again")
    try:
        return kind.model_validate_json(b"{" + line[_HEAD:])
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise BadInput(
            f"trace {path}: {what}: {where}: {first['msg'].removeprefix('Value error, ')}; record it again"
        ) from error


def _lines(path: Path) -> Iterator[bytes]:
    """Whole lines, newline included; an unfinished one at the end is left away (the recording was killed)."""
    if path.is_dir():
        raise BadInput(f"trace {path} is a directory; give one .skr file")
    squeezed, pending = zlib.decompressobj(_GZIP), b""
    try:
        with open(path, "rb") as file:
            while chunk := file.read(1 << 16):
                while chunk:
                    pending += squeezed.decompress(chunk, 1 << 16)  # a little at a time: a bomb stays small
                    chunk = squeezed.unconsumed_tail
                    *whole, pending = pending.split(b"\n")
                    yield from (line + b"\n" for line in whole)
                    if len(pending) > _LONGEST_LINE:
                        raise BadInput(f"trace {path} has a line above {_LONGEST_LINE} bytes; record it again")
                if squeezed.unused_data:
                    raise BadInput(f"trace {path} goes on after its end; give the file as --record wrote it")
    except OSError as error:
        raise BadInput(f"trace {path} cannot be read: {error.strerror}; check the name") from error
    except zlib.error as error:
        raise BadInput(f"trace {path} is not a trace or is damaged ({error}); copy or record it again") from error


@dataclass(frozen=True, slots=True)
class RecordedFrame(Frame):
    """A frame whose bodies are known; its picture is black."""

    bodies: list[Body]


class ReplaySource:
    """A trace as a source: has the face of `sources.Source`. The whole file is checked before it plays."""

    live = False
    lost = 0
    kind = "file"

    def __init__(self, path: Path) -> None:
        self._path = path
        self.header, records = read_trace(path)
        times = [timestamp for timestamp, _ in records]
        if not times:
            raise BadInput(f"trace {path} holds no record: nothing was recorded before it ended")
        self.name = f"replay of {self.header.source}"
        self.layout = LAYOUTS[self.header.layout]
        self.fps, self.size = self.header.fps, self.header.size
        self.epoch = self.started_at = self.header.epoch
        self.expected_frames = len(times)
        self.stats = SourceStats()
        self._seconds = times[-1]
        self.whole = ends_properly(path)  # False: the recording was killed, or the file cut
        # Broadcast: a picture of any size costs nothing until somebody draws on it.
        self._black = np.broadcast_to(np.zeros((1, 1, 3), np.uint8), (*self.size, 3))
        self.first = RecordedFrame(self._black, times[0], time.monotonic(), True, [])

    @property
    def seconds(self) -> float:
        """Time of the last record."""
        return self._seconds

    def frames(self, sampler: Sampler | None = None, only_due: bool = False) -> Iterator[RecordedFrame]:
        """Every record in order; all are due, because only what was looked at is in a trace."""
        for timestamp, bodies in read_trace(self._path)[1]:
            self.stats.decoded += 1
            yield RecordedFrame(self._black, timestamp, time.monotonic(), True, bodies)

    def close(self) -> None:
        """Nothing stays open between frames."""
