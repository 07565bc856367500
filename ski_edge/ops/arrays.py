"""Arrays of any library at the border of the native ops: DLPack in and out, no copy where none is needed."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from ski_edge import _native
from ski_edge.errors import BadInput


def to_numpy(x: Any, name: str) -> np.ndarray:
    """A float32 CPU array of numpy, torch or any other library that speaks DLPack, as numpy; strides are kept."""
    if isinstance(x, torch.Tensor):
        x = x.detach()
    if not isinstance(x, np.ndarray):
        if not hasattr(x, "__dlpack__"):
            raise BadInput(f"{name} must be an array (numpy, torch, or with __dlpack__), got {type(x).__name__}")
        try:
            x = np.from_dlpack(x)
        except (BufferError, RuntimeError, TypeError, ValueError) as error:
            where = getattr(x, "device", "another device")
            raise BadInput(f"{name} cannot be read on the CPU ({where}): {error}; move it there first") from error
    if x.dtype != np.float32:
        raise BadInput(f"{name} must be float32, got {x.dtype}")
    return x


def like(result: np.ndarray, x: Any) -> Any:
    """A result in the library that the input came from, without a copy: torch for torch, else numpy."""
    return torch.from_numpy(result) if isinstance(x, torch.Tensor) else result


def bind(kind: str, weights: dict[str, Any], options: dict[str, Any]) -> Any:
    """An op of `_C` with its weights packed; raises BadInput for shapes that do not fit."""
    if reason := _native.why_not_native():
        raise BadInput(f"the native kernels are not available: {reason}")
    arrays = {name: None if x is None else np.ascontiguousarray(to_numpy(x, name)) for name, x in weights.items()}
    return _native.op(kind)(**arrays, **options)
