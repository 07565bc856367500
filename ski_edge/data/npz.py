"""Arrays inside .npz files, read a piece at a time: no pickle, and no memory for what a header merely claims."""

from __future__ import annotations

import contextlib
import math
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ski_edge.errors import BadInput

_PIECE_BYTES = 1 << 25
_DAMAGE = (
    zipfile.BadZipFile,
    zlib.error,
    OSError,
    EOFError,
    ValueError,
    NotImplementedError,
    RuntimeError,
    KeyError,
    SyntaxError,
)


@dataclass(frozen=True)
class Member:
    """One array of a .npz file: what its header says."""

    path: Path
    name: str
    shape: tuple[int, ...]
    dtype: np.dtype

    def pieces(self) -> Iterator[np.ndarray]:
        """The array in blocks of rows, about 32 MB each."""
        row_shape = self.shape[1:]
        row_bytes = max(math.prod(row_shape) * self.dtype.itemsize, 1)
        step = max(_PIECE_BYTES // row_bytes, 1)
        with _opened(self.path) as archive, archive.open(f"{self.name}.npy") as file:
            _header(file)
            for start in range(0, self.shape[0], step):
                rows = min(step, self.shape[0] - start)
                data = file.read(rows * row_bytes)
                if len(data) != rows * row_bytes:
                    raise EOFError(f"{self.name} ends after row {start + len(data) // row_bytes} of {self.shape[0]}")
                yield np.frombuffer(data, self.dtype).reshape(rows, *row_shape)

    def read(self, limit: int) -> np.ndarray:
        """The whole array, if it has at most `limit` numbers."""
        if math.prod(self.shape) > limit:
            raise BadInput(
                f"{self.path}: {self.name} is {list(self.shape)}, more than {limit} numbers; is it the right file?"
            )
        return np.concatenate(list(self.pieces())) if math.prod(self.shape) else np.zeros(self.shape, self.dtype)


@contextlib.contextmanager
def damage_named(path: Path) -> Iterator[None]:
    """Whatever a damaged zip raises becomes one line."""
    try:
        yield
    except BadInput:
        raise
    except _DAMAGE as error:
        raise BadInput(
            f"{path} is not a readable .npz file ({type(error).__name__}: {str(error)[:200]!r}); get it again"
        ) from error


def members(path: Path) -> dict[str, Member]:
    """The arrays of a .npz file by name. Arrays of objects are left out: reading them would run code."""
    found = {}
    with damage_named(path), _opened(path) as archive:
        for info in archive.infolist():
            if info.filename.endswith(".npy"):
                with archive.open(info) as file:
                    shape, dtype = _header(file)
                name = info.filename.removesuffix(".npy")
                if not dtype.hasobject and name.isprintable():
                    found[name] = Member(path, name, shape, dtype)
    return found


@contextlib.contextmanager
def _opened(path: Path) -> Iterator[zipfile.ZipFile]:
    if not path.is_file():
        raise BadInput(f"{path} does not exist or is not a file")
    with zipfile.ZipFile(path) as archive:
        yield archive


def _header(file: object) -> tuple[tuple[int, ...], np.dtype]:
    version = np.lib.format.read_magic(file)
    if version not in ((1, 0), (2, 0)):
        raise ValueError(f"format version {version} is not known")
    read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    shape, fortran, dtype = read(file)
    if (fortran and len(shape) > 1) or not shape or min(shape) < 0:
        raise ValueError(f"an array of shape {shape} in column order cannot be read row by row")
    return shape, dtype
