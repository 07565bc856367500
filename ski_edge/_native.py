"""The only importer of the native module `ski_edge._C`."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from ski_edge.errors import BadInput

_MOST_THREADS = 256  # more would take minutes to start, in any backend

try:
    from ski_edge import _C
except ImportError as error:  # a bare checkout: the Python part still works
    _C = None
    _WHY_NOT = f"the native module did not import ({error}); run: pip install -e . in the checkout"
else:
    _WHY_NOT = ""


def why_not_native() -> str:
    """Empty when `ski_edge._C` is importable, else one line that says why not."""
    return _WHY_NOT


def build_info() -> dict[str, str | int]:
    """What the native module was built with: version, compiler, cpp_standard, cuda_version, cuda_archs."""
    if _C is None:
        raise ImportError(_WHY_NOT)
    return _C.build_info()


def why_not_cuda() -> str:
    """Empty when the native module can run on a CUDA device, else one line that says why not."""
    return _C.why_not_cuda() if _C is not None else _WHY_NOT


def why_not_cuda_engine(device: int = 0) -> str:
    """Empty when whole networks run on this CUDA device, else one line that says why not."""
    return _C.why_not_cuda(device) if _C is not None else _WHY_NOT


def why_not_code(sm: int, archs: str) -> str:
    """Empty when code built for `archs` (as `build_info` names them) runs on compute capability `sm`, 87 for 8.7."""
    return _C.why_not_code(sm, archs) if _C is not None else _WHY_NOT


def cuda_devices() -> list[dict[str, str | int]]:
    """CUDA devices the driver reports: name, sm (87 for 8.7), memory in bytes."""
    return _C.cuda_devices() if _C is not None else []


def why_not_engine(model: str) -> str:
    """Empty when the native engine has this network, else one line that says why not."""
    return _C.why_not_engine(model) if _C is not None else _WHY_NOT


def why_not_stream(model: str) -> str:
    """Empty when this network runs frame by frame, else one line that says why not."""
    return _C.why_not_stream(model) if _C is not None else _WHY_NOT


def isas() -> dict[str, str]:
    """Instruction sets the CPU kernels were built for -> empty, or why they do not run here."""
    return dict(_C.isas()) if _C is not None else {}


def bf16_isa() -> str:
    """The instruction set that multiplies bfloat16 on this architecture; empty when this build has none."""
    return next((isa for isa in isas() if isa.endswith("bf16")), "")


def why_not_bf16() -> str:
    """Empty when the CPU kernels can compute in bfloat16 here, else one line that says why not."""
    if _C is None:
        return _WHY_NOT
    isa, chosen = bf16_isa(), os.environ.get("SKI_EDGE_ISA", "")
    if not isa:
        return "this build has no kernels for bfloat16"
    if chosen not in ("", isa):
        return f"SKI_EDGE_ISA={chosen} asks for kernels that do not multiply bfloat16; unset it, or set it to {isa}"
    return isas()[isa]


def engine(weights: Path, *, threads: int = 0, isa: str = "", **spec: Any) -> Any:
    """`_C.Engine` on a safetensors file; spec: the fields of `NetworkSpec` (ski_edge/engine.h).

    isa: one of `isas()`; empty: SKI_EDGE_ISA, or the fastest there is. Raises BadInput.
    """
    if _C is None:
        raise ImportError(_WHY_NOT)
    return _C.Engine(str(weights), _C.NetworkSpec(**spec), threads=threads, isa=isa)


def cuda_engine(weights: Path, *, device: int = 0, precision: str = "fp16", **spec: Any) -> Any:
    """`_C.CudaEngine` on a safetensors file; spec: the fields of `NetworkSpec` (ski_edge/engine.h).

    device: -1 runs the kernels on the host, slowly, for tests; precision: fp32, fp16 or bf16. Raises BadInput.
    """
    if _C is None:
        raise ImportError(_WHY_NOT)
    if not hasattr(_C, "CudaEngine"):
        raise BadInput(_C.why_not_cuda())
    return _C.CudaEngine(str(weights), _C.NetworkSpec(**spec), device=device, precision=precision)


def stream(weights: Path, *, window: int, threads: int = 0, isa: str = "", **spec: Any) -> Any:
    """`_C.Stream` on a safetensors file: a network frame by frame; spec: the fields of `NetworkSpec`.

    window: frames of a prediction. Raises BadInput for networks that do not run frame by frame.
    """
    if _C is None:
        raise ImportError(_WHY_NOT)
    return _C.Stream(str(weights), _C.NetworkSpec(**spec), window, threads=threads, isa=isa)


def check_threads(threads: object) -> None:
    """Raise unless it is a number of threads, 0 for one per CPU."""
    whole = isinstance(threads, int) and not isinstance(threads, bool)
    if not whole or not 0 <= threads <= _MOST_THREADS:
        raise BadInput(f"threads must be 0 (one per CPU) to {_MOST_THREADS}, a whole number, got {threads!r}")


def peak_gflops(threads: int = 0, isa: str = "") -> float:
    """GFLOP/s of multiply-adds that touch no memory, on so many threads: the limit that benchmarks compare with."""
    if _C is None:
        raise ImportError(_WHY_NOT)
    return _C.peak_gflops(threads=threads, isa=isa)


def op(kind: str) -> Any:
    """A class of `_C` by its name, those of `ski_edge.ops`: CtrGc, GraphConv and so on."""
    if _C is None:
        raise ImportError(_WHY_NOT)
    return getattr(_C, kind)
