"""Arrays of any library at the border of the native ops: DLPack in and out, no copy where none is needed."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from ski_edge import _native
from ski_edge.errors import BadInput

_MOST_NUMBERS = 1 << 31
_OPTIONS = {  # name -> (type, what to call it)
    "stride": (int, "a whole number"),
    "identity": (bool, "True or False"),
    "relu_before": (bool, "True or False"),
    "gain": (float, "a number"),
    "isa": (str, "a string, empty for the fastest"),
}


def to_numpy(x: Any, name: str) -> np.ndarray:
    """A float32 CPU array of numpy, torch or any other library that speaks DLPack, as numpy; strides are kept.

    Its numbers must be finite: a ReLU on the way would make zeros of NaN, where torch keeps them.
    """
    if isinstance(x, torch.Tensor):
        x = x.detach()
        if x.dtype != torch.float32:
            raise BadInput(f"{name} must be float32, got {str(x.dtype).removeprefix('torch.')}; give {name}.float()")
        if x.layout != torch.strided:
            raise BadInput(f"{name} must be dense, got {x.layout}; give {name}.to_dense()")
    if not isinstance(x, np.ndarray):
        if not hasattr(x, "__dlpack__"):
            raise BadInput(f"{name} must be an array (numpy, torch, or with __dlpack__), got {type(x).__name__}")
        try:
            x = np.from_dlpack(x)
        except (BufferError, RuntimeError, TypeError, ValueError) as error:
            where = getattr(x, "device", "another device")
            raise BadInput(f"{name} cannot be read on the CPU ({where}): {error}; move it there first") from error
    if x.dtype != np.float32:
        raise BadInput(f"{name} must be float32, got {x.dtype}; give {name}.astype(np.float32)")
    if x.size < _MOST_NUMBERS:  # the op refuses more; a broadcast view may claim any size
        _check_finite(x, name)
    return x


def _check_finite(x: np.ndarray, name: str) -> None:
    with np.errstate(all="ignore"):
        total = x.sum()  # one fast pass; a sum that overflows is looked at again
    if not np.isfinite(total) and not np.isfinite(x).all():
        where = [int(i) for i in np.argwhere(~np.isfinite(x))[0]]
        raise BadInput(f"{name} holds NaN or infinity, first at {where}; give finite numbers")


def to_table(x: Any, name: str) -> np.ndarray:
    """Indices of any integer type as int32: numbers that an index cannot have are named, not wrapped or cut."""
    try:
        table = np.asarray(x)
    except (ValueError, TypeError, RuntimeError) as error:
        raise BadInput(f"{name} must be an array of whole numbers: {error}") from error
    if table.dtype.kind not in "iu":
        raise BadInput(f"{name} must hold whole numbers, got {table.dtype}")
    if table.size and not (table.min() >= 0 and table.max() < 1 << 16):
        raise BadInput(f"{name} must hold indices from 0 on, got {table.min()} to {table.max()}")
    return table.astype(np.int32)


def like(result: np.ndarray, x: Any) -> Any:
    """A result in the library that the input came from, without a copy: torch for torch, else numpy."""
    return torch.from_numpy(result) if isinstance(x, torch.Tensor) else result


def bind(kind: str, reference: Callable[..., Any], weights: dict[str, Any], options: dict[str, Any]) -> Any:
    """An op of `_C` with its weights packed, those that its reference takes; raises BadInput for what does not fit."""
    if reason := _native.why_not_native():
        raise BadInput(f"the native kernels are not available: {reason}")
    _check_names(kind, reference, weights, options)
    _native.check_threads(options["threads"])
    for name, (kinds, what) in _OPTIONS.items():
        given = options.get(name, kinds())
        if not isinstance(given, kinds) or (kinds is int and isinstance(given, bool)):
            raise BadInput(f"{kind}: {name} must be {what}, got {given!r}")
    arrays = {name: None if x is None else np.ascontiguousarray(to_numpy(x, name)) for name, x in weights.items()}
    return _native.op(kind)(**arrays, **options)


def _check_names(kind: str, reference: Callable[..., Any], weights: dict[str, Any], options: dict[str, Any]) -> None:
    """The weights are those of the reference: none unknown, and all that have no default."""
    known = {
        name: parameter.default is inspect.Parameter.empty
        for name, parameter in inspect.signature(reference).parameters.items()
        if name not in {"x", "residual", *options}
    }
    if unknown := sorted(weights.keys() - known.keys()):
        raise BadInput(f"{kind} has no weight {unknown[0]!r}; it takes {', '.join(known)}")
    if missing := [name for name, needed in known.items() if needed and weights.get(name) is None]:
        raise BadInput(f"{kind} needs the weight {missing[0]!r} ({len(missing)} missing); it takes {', '.join(known)}")
