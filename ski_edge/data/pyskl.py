"""pyskl's pickles: `{split: {name: [clip, ...]}, annotations: [{frame_dir, total_frames, label, keypoint, ...}]}`.

A pickle is a program, so this one is run by an interpreter that knows four harmless words. Whatever else it names is
refused before anything is called, and numpy's own unpickling code never sees it: arrays are built here, from a plain
data type, a shape and as many bytes as they need.
"""

from __future__ import annotations

import io
import math
import pickle
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, ClassVar

import numpy as np

from ski_edge.data.checks import FARTHEST_M, MAX_FRAMES, checked
from ski_edge.data.pixels import from_pixels
from ski_edge.errors import BadInput

_MAX_BODIES = 16
_WIDEST_PX = 100_000.0
_CODE = re.compile(r"[<>|=]?[fiub][1248]")


@dataclass(frozen=True)
class Annotation:
    """One clip of a pyskl file."""

    name: str
    label: int
    joints: np.ndarray  # float32 [T, M, V, 3]
    split: str  # "xsub:train xview:val"


class _Array:
    """What a pickled array becomes; its content arrives with __setstate__."""

    __slots__ = ("array",)

    def __setstate__(self, state: object) -> None:
        if not isinstance(state, tuple) or len(state) != 5:
            raise pickle.UnpicklingError("an array has a state of another kind")
        _, shape, dtype, fortran, data = state
        self.array = _build(data, dtype, shape, "F" if fortran is True else "C")


class _Dtype:
    """A pickled data type: a letter, a size and a byte order."""

    __slots__ = ("code", "order")

    def __init__(self, code: object, *flags: object) -> None:
        if not isinstance(code, str) or not _CODE.fullmatch(code):
            raise pickle.UnpicklingError(f"arrays of {str(code)[:40]!r} are not numbers")
        self.code, self.order = code.lstrip("<>|="), "<"

    def __setstate__(self, state: object) -> None:
        if not isinstance(state, tuple) or len(state) < 2 or state[1] not in ("<", ">", "|", "="):
            raise pickle.UnpicklingError("a data type has a state of another kind")
        self.order = state[1]

    def numpy(self) -> np.dtype:
        return np.dtype(("<" if self.order == "=" else self.order) + self.code)


class _Ndarray:
    """Stands for the class numpy.ndarray, which is named and never called."""

    __slots__ = ()


class _Call:
    """A function a pickle may call. An object without attributes, so that it cannot be changed either."""

    __slots__ = ("_word",)

    def __init__(self, word: str) -> None:
        object.__setattr__(self, "_word", word)

    def __setattr__(self, name: str, value: object) -> None:
        raise pickle.UnpicklingError("a pickle may not change functions")

    def __call__(self, *arguments: object) -> object:
        return getattr(_Functions, self._word)(*arguments)


class _Functions:
    @staticmethod
    def reconstruct(kind: object, shape: object, code: object) -> _Array:
        if not isinstance(kind, _Ndarray) or shape != (0,):
            raise pickle.UnpicklingError("only plain arrays can be read")
        return _Array()

    @staticmethod
    def frombuffer(data: object, dtype: object, shape: object, order: object) -> np.ndarray:
        return _build(data, dtype, shape, order)

    @staticmethod
    def scalar(dtype: object, data: object) -> object:
        return _build(data, dtype, (), "C").item()

    @staticmethod
    def dtype(code: object, *flags: object) -> _Dtype:
        return _Dtype(code, *flags)

    @staticmethod
    def encode(text: object, encoding: object = "latin1") -> bytes:
        # Old protocols write bytes as text.
        if not isinstance(text, str) or encoding not in ("latin1", "latin-1", "iso-8859-1"):
            raise pickle.UnpicklingError("bytes in an encoding of their own")
        return text.encode("latin-1")


_ALLOWED = {
    (f"numpy.{core}.multiarray", name): word
    for core in ("core", "_core")
    for name, word in (("_reconstruct", "reconstruct"), ("scalar", "scalar"))
} | {
    ("numpy.core.numeric", "_frombuffer"): "frombuffer",
    ("numpy._core.numeric", "_frombuffer"): "frombuffer",
    ("numpy", "dtype"): "dtype",
    ("_codecs", "encode"): "encode",
}


def _build(data: object, dtype: object, shape: object, order: object) -> np.ndarray:
    if not isinstance(dtype, _Dtype) or not isinstance(data, (bytes, bytearray)) or order not in ("C", "F"):
        raise pickle.UnpicklingError("an array is not described as numpy does")
    if not isinstance(shape, tuple) or not all(type(size) is int and 0 <= size < 1 << 40 for size in shape):
        raise pickle.UnpicklingError("an array has no shape")
    kind = dtype.numpy()
    if math.prod(shape) * kind.itemsize != len(data):
        raise pickle.UnpicklingError(f"an array {list(shape)} of {kind} comes with {len(data)} bytes")
    return np.frombuffer(bytes(data), kind).reshape(shape, order=order)


_SETS = {code[0] for code in (pickle.EMPTY_SET, pickle.ADDITEMS, pickle.FROZENSET)}


# The interpreter written in Python: the one in C can be made to claim all memory by one number.
class _Unpickler(pickle._Unpickler):  # type: ignore[name-defined]
    def find_class(self, module: str, name: str) -> object:
        if (module, name) == ("numpy", "ndarray"):
            return _Ndarray()
        if (module, name) not in _ALLOWED:
            raise BadInput(
                f"it names {f'{module}.{name}'[:80]!r}, which is neither an array nor a number nor text; do not open it"
            )
        return _Call(_ALLOWED[module, name])

    def _plain_keys(self, keys: list[object]) -> None:
        """Python's hash of a tuple of a tuple of ... a million times ends the process, so keys are text or numbers."""
        if not all(isinstance(key, (str, int)) for key in keys):
            raise pickle.UnpicklingError("a key is neither text nor a number")

    def _setitem(self) -> None:
        self._plain_keys(self.stack[-2:-1])
        self.load_setitem()

    def _setitems(self) -> None:
        self._plain_keys(self.stack[::2])  # the stack since the mark
        self.load_setitems()

    def _dict(self) -> None:
        self._plain_keys(self.stack[::2])
        self.load_dict()

    dispatch: ClassVar[dict[int, Callable[..., None]]] = {
        **{code: word for code, word in pickle._Unpickler.dispatch.items() if code not in _SETS},
        pickle.SETITEM[0]: _setitem,
        pickle.SETITEMS[0]: _setitems,
        pickle.DICT[0]: _dict,
    }


class _Bounded:
    """A file that never makes room for more bytes than it has."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._size = file.seek(0, io.SEEK_END)
        file.seek(0)
        self.readline = file.readline

    def read(self, count: int = -1) -> bytes:
        if count > self._size - self._file.tell():
            raise EOFError("it ends too early")
        return self._file.read(count)


def read_pyskl(path: str | Path) -> Iterator[Annotation]:
    """The clips of a pyskl file, one by one: 3D (25 joints, metres) or 2D (17 joints, pixels, see `pixels`).

    The whole file is in memory while it is read, because a pickle has no other way. A clip that is wrong raises
    BadInput with its name.
    """
    content = load(Path(path))
    if not isinstance(content, dict) or not {"split", "annotations"} <= content.keys():
        raise BadInput(f"{path} is no pyskl file: it has no `split` and `annotations`")
    annotations, splits = content["annotations"], content["split"]
    if not isinstance(annotations, list) or not isinstance(splits, dict):
        raise BadInput(f"{path} is no pyskl file: `annotations` must be a list, `split` a dict")
    assigned = _assigned(splits, path)
    for number, fields in enumerate(annotations):
        yield _annotation(fields, f"{path}: annotation {number}", assigned)


def load(path: Path) -> object:
    """Unpickle a file of dicts, lists, tuples, text, numbers and numpy arrays; anything else is refused by name."""
    try:
        with open(path, "rb") as file:
            return _Unpickler(_Bounded(file)).load()
    except BadInput as error:
        raise BadInput(f"{path} is refused: {error}") from error
    except OSError as error:
        raise BadInput(f"{path} cannot be read: {error.strerror or error}") from error
    except Exception as error:  # a damaged pickle raises nearly anything
        raise BadInput(
            f"{path} is not a readable pickle ({type(error).__name__}: {str(error)[:200]!r}); get it again"
        ) from error


def _assigned(splits: dict[Any, Any], path: str | Path) -> dict[str, str]:
    found: dict[str, list[str]] = {}
    for name, clips in splits.items():
        if not isinstance(name, str) or not re.fullmatch(r"[\w.-]{1,40}", name) or not isinstance(clips, (list, tuple)):
            raise BadInput(f"{path}: split {_brief(name)} must be a list of clip names")
        scheme, _, word = name.rpartition("_")
        for clip in clips:
            if not isinstance(clip, str):
                raise BadInput(f"{path}: split {name} must be a list of clip names, it holds {_brief(clip)}")
            found.setdefault(clip, []).append(f"{scheme}:{word}" if scheme else word)
    return {clip: " ".join(words) for clip, words in found.items()}


def _annotation(fields: object, where: str, assigned: dict[str, str]) -> Annotation:
    if not isinstance(fields, dict) or not {"frame_dir", "label", "keypoint"} <= fields.keys():
        raise BadInput(f"{where} lacks frame_dir, label or keypoint")
    name, label, keypoint = fields["frame_dir"], fields["label"], fields["keypoint"]
    keypoint = keypoint.array if isinstance(keypoint, _Array) and hasattr(keypoint, "array") else keypoint
    if not isinstance(name, str) or type(label) is not int or not 0 <= label < 10_000:
        raise BadInput(f"{where}: frame_dir must be a text and label a number, got {_brief(name)} and {_brief(label)}")
    if not isinstance(keypoint, np.ndarray) or keypoint.ndim != 4 or keypoint.shape[2:] not in ((25, 3), (17, 2)):
        shape = list(keypoint.shape) if isinstance(keypoint, np.ndarray) else type(keypoint).__name__
        raise BadInput(
            f"{where} ({name}): keypoint must be [bodies, frames, 25, 3] or [bodies, frames, 17, 2], got {shape}"
        )
    bodies, frames = keypoint.shape[:2]
    if not 1 <= bodies <= _MAX_BODIES or not 1 <= frames <= MAX_FRAMES:
        raise BadInput(
            f"{where} ({name}): {bodies} bodies in {frames} frames; expected 1 to {_MAX_BODIES} in 1 to {MAX_FRAMES}"
        )
    return Annotation(name, label, _joints(keypoint, f"{where} ({name})"), assigned.get(name, ""))


def _brief(value: object) -> str:
    """For messages: a hostile value may be too deep to print."""
    return repr(value)[:40] if isinstance(value, (str, int)) else type(value).__name__


def _joints(keypoint: np.ndarray, where: str) -> np.ndarray:
    """[M, T, V, C] -> float32 [T, M, V, 3]."""
    bodies, frames, count, axes = keypoint.shape
    clip = np.zeros((frames, bodies * count, 3), np.float64)
    clip[..., :axes] = keypoint.transpose(1, 0, 2, 3).reshape(frames, bodies * count, axes)
    flat = checked(clip, bodies * count, where, *((FARTHEST_M, "m") if axes == 3 else (_WIDEST_PX, "px")))
    joints = flat.reshape(frames, bodies, count, 3)
    return joints if axes == 3 else from_pixels(joints[..., :2], where)
