"""Clips that are in a GPU's memory already, of torch or CuPy: read where they are, results of the same library.

Neither library is imported: whoever has such an array has imported it.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from ski_edge.errors import BadInput

_CPU, _CUDA, _CUDA_MANAGED = 1, 2, 13  # DLPack's kinds of devices
_LEGACY_STREAM = 1  # DLPack's number of the stream that CUDA calls 0


@dataclass(frozen=True)
class _Library:
    """What DLPack does not say: where the caller's work is queued, and how outputs are made."""

    stream: Callable[[Any], int]  # of a clip -> address of the current stream of its device
    empty: Callable[[Any, tuple[int, int]], Any]  # float32, beside a clip


def _cupy_stream(clip: Any) -> int:
    cupy = sys.modules["cupy"]
    with clip.device:
        return cupy.cuda.get_current_stream().ptr


def _cupy_empty(clip: Any, shape: tuple[int, int]) -> Any:
    with clip.device:
        return sys.modules["cupy"].empty(shape, clip.dtype)


_LIBRARIES = {
    "torch": _Library(
        lambda clip: sys.modules["torch"].cuda.current_stream(clip.device).cuda_stream,
        lambda clip, shape: clip.new_empty(shape),
    ),
    "cupy": _Library(_cupy_stream, _cupy_empty),
}


def run(engine: Any, clip: Any) -> tuple[Any, Any]:
    """clip: float32 [N, 3, T, V, M], preprocessed, on the engine's device, any strides -> logits [N, K], features
    [N, D]: arrays of the clip's library, ready on its current stream, which is not waited for.

    Nothing looks at the numbers: empty slots are computed, and NaN comes out as it may. An engine on the host takes
    arrays of the host. Raises BadInput.
    """
    library = _LIBRARIES.get(type(clip).__module__.partition(".")[0])
    if library is None:
        raise BadInput(f"clip must be a CUDA array of {' or '.join(_LIBRARIES)}, got {type(clip).__name__}")
    if len(clip.shape) != 5:
        raise BadInput(f"clip must be float32 [N, 3, T, V, M], got {len(clip.shape)} axes")
    kind, index = (int(number) for number in clip.__dlpack_device__())
    host = engine.device < 0
    if not host and kind not in (_CUDA, _CUDA_MANAGED):
        raise BadInput("clip is in the host's memory; give it to run(), or move it to the engine's device")
    if not host and index != engine.device:
        raise BadInput(f"clip is on CUDA device {index}, the engine on {engine.device}; move one of them")
    if "float32" not in str(clip.dtype):
        raise BadInput(f"clip must be float32, got {clip.dtype}")
    outputs = [library.empty(clip, (clip.shape[0], width)) for width in (engine.classes, engine.feature_dim)]
    stream = _LEGACY_STREAM if host else library.stream(clip) or _LEGACY_STREAM
    if clip.shape[0] > 0:
        engine.run_device(*(_lent(each, host, stream) for each in (clip, *outputs)), stream)
    return outputs[0], outputs[1]


def _lent(array: Any, host: bool, stream: int) -> Any:
    """Its DLPack capsule; what the library still does with it is done before what comes next on the stream."""
    try:
        return array.__dlpack__() if host else array.__dlpack__(stream=stream)
    except (BufferError, RuntimeError, TypeError, ValueError) as error:  # tensors with gradients, sparse ones
        raise BadInput(f"the clip's memory is not lent: {error}") from error
