"""One numeric array out of a MATLAB 5 file (what `save` writes by default, `-v6` and `-v7`).

Ours, although scipy has a reader: a damaged tag makes scipy's C code crash the process (measured on mutated files,
scipy 1.17), and a data set is somebody else's file. Only real arrays of doubles or singles are read.
Format: MAT-File Format, The MathWorks, chapter 1 (level 5).
"""

from __future__ import annotations

import math
import re
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ski_edge.data.checks import read_bytes
from ski_edge.errors import BadInput

_HEADER = 128
_INT8, _INT32, _UINT32, _MATRIX, _COMPRESSED = 1, 5, 6, 14, 15
# Storage types of numbers: MATLAB keeps doubles in the smallest one that holds them.
_STORED = {1: "i1", 2: "u1", 3: "i2", 4: "u2", 5: "i4", 6: "u4", 7: "f4", 9: "f8", 12: "i8", 13: "u8"}
_CLASSES = {6: "f8", 7: "f4"}  # double, single
_CLASS_NAMES = {1: "cell", 2: "struct", 3: "object", 4: "char", 5: "sparse", 6: "double", 7: "single"}
_COMPLEX = 0x0800
_MAX_BYTES = 1 << 26


@dataclass(frozen=True)
class _Element:
    kind: int
    data: bytes


def read_mat(path: Path, variable: str, limit: int) -> np.ndarray:
    """The array called `variable`, float64 or float32, of at most `limit` numbers.

    A compressed file is unpacked into at most 64 MB, whatever it claims.
    """
    data = read_bytes(path, "MATLAB file", _MAX_BYTES)
    try:
        return _read(data, variable, limit)
    except BadInput as error:
        raise BadInput(f"{path}: {error}") from error
    except (struct.error, zlib.error, ValueError) as error:
        raise BadInput(f"{path} is not a readable MATLAB 5 file ({error}); get it again") from error


def _read(data: bytes, variable: str, limit: int) -> np.ndarray:
    if data[:10] == b"MATLAB 7.3":
        raise BadInput("a MATLAB 7.3 file is HDF5 inside; save it with -v7")
    if len(data) < _HEADER or data[126:128] not in (b"IM", b"MI"):
        raise ValueError("its header is of another kind")
    order = "<" if data[126:128] == b"IM" else ">"
    names = []
    for element in _elements(data[_HEADER:], order):
        if element.kind == _COMPRESSED:
            element = next(_elements(_unpacked(element.data), order), _Element(0, b""))
        if element.kind != _MATRIX:
            continue
        parts = _elements(element.data, order)
        kind, flags, shape, name = _described(parts, order)
        names.append(name if re.fullmatch(r"[A-Za-z]\w{0,62}", name, re.ASCII) else "an unreadable name")
        if name == variable:
            return _numbers(next(parts, None), kind, flags, shape, order, limit)
    raise BadInput(
        f"there is no variable {variable} (it has: {', '.join(names[:10]) or 'none'}); is it the right file?"
    )


def _elements(data: bytes, order: str) -> Iterator[_Element]:
    """Tagged pieces: type and size in 8 bytes, or in 4 with up to 4 bytes of data behind them."""
    at = 0
    while at < len(data):
        (first,) = struct.unpack_from(f"{order}I", data, at)
        if first >> 16:
            kind, size, start = first & 0xFFFF, first >> 16, at + 4
            if size > 4:
                raise ValueError(f"a short element of {size} bytes")
            after = at + 8
        else:
            kind, size = struct.unpack_from(f"{order}II", data, at)
            start = at + 8
            after = start + size + (0 if kind == _COMPRESSED else -size % 8)
        if start + size > len(data):
            raise ValueError(f"an element of {size} bytes where {len(data) - start} are left")
        yield _Element(kind, data[start : start + size])
        at = after


def _unpacked(data: bytes) -> bytes:
    unpacker = zlib.decompressobj()
    content = unpacker.decompress(data, _MAX_BYTES)
    if not unpacker.eof:
        raise ValueError("its compressed part is cut off, or holds more than 64 MB")
    return content


def _described(parts: Iterator[_Element], order: str) -> tuple[int, int, tuple[int, ...], str]:
    """(class, flags, shape, name): what stands before the numbers of every matrix."""
    flags, shape, name = (next(parts, _Element(0, b"")) for _ in range(3))
    if flags.kind != _UINT32 or shape.kind != _INT32 or name.kind != _INT8 or len(shape.data) % 4:
        raise ValueError("a matrix is not described as MATLAB does")
    (word,) = struct.unpack_from(f"{order}I", flags.data)
    sizes = struct.unpack(f"{order}{len(shape.data) // 4}i", shape.data)
    return word & 0xFF, word & 0xFF00, sizes, name.data.decode("ascii", "replace")


def _numbers(
    part: _Element | None, kind: int, flags: int, shape: tuple[int, ...], order: str, limit: int
) -> np.ndarray:
    found = f"{_CLASS_NAMES.get(kind, 'something else')} {list(shape)}"
    if (
        kind not in _CLASSES
        or flags & _COMPLEX
        or not 0 < len(shape) <= 32
        or min(shape) <= 0
        or math.prod(shape) > limit
    ):
        raise BadInput(f"the variable is {found}; expected real doubles or singles, at most {limit}")
    stored = _STORED.get(part.kind) if part else None
    if part is None or stored is None or len(part.data) != math.prod(shape) * np.dtype(stored).itemsize:
        raise ValueError(f"the numbers of a {found} are not all there")
    return np.frombuffer(part.data, order + stored).astype(_CLASSES[kind]).reshape(shape, order="F")
