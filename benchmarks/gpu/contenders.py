"""Who runs a case, and how its time is taken. On a GPU: events on the stream; on the host (a dry run): a clock.

`torch graph` is eager torch recorded as a CUDA graph and replayed: no time between kernels, inputs already there.
`... run()` is wall time from a numpy array to numpy arrays. The native graph's time includes its copies in and out,
that of torch's graphs does not.
"""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from sizes import MOST_ERROR, PRECISIONS, Case

from ski_edge.models import load_model

Times = Callable[[int], list[float]]  # count -> milliseconds of each


@dataclass
class Contender:
    result: np.ndarray  # logits of the case's clip
    times: Times
    keeps: object = None  # what a recorded graph reads: freed weights would be another tensor's memory


def precision_of(label: str) -> str:
    return next(name for name in MOST_ERROR if name in label.split())


def wall(run: Callable[[], object], count: int) -> list[float]:
    found = []
    for _ in range(count):
        start = time.perf_counter()
        run()
        found.append((time.perf_counter() - start) * 1000)
    return found


def on_stream(run: Callable[[], object], count: int) -> list[float]:
    if not torch.cuda.is_available():
        return wall(run, count)
    marks = [torch.cuda.Event(enable_timing=True) for _ in range(2 * count)]
    for i in range(count):
        marks[2 * i].record()
        run()
        marks[2 * i + 1].record()
    torch.cuda.synchronize()
    return [marks[2 * i].elapsed_time(marks[2 * i + 1]) for i in range(count)]


@contextlib.contextmanager
def tf32(allowed: bool):
    """Whether float32 products may be tf32; what is recorded meanwhile stays so."""
    flags = (torch.backends.cuda.matmul, torch.backends.cudnn)
    before = [flag.allow_tf32 for flag in flags]
    for flag in flags:
        flag.allow_tf32 = allowed
    try:
        yield
    finally:
        for flag, value in zip(flags, before, strict=True):
            flag.allow_tf32 = value


def torch_parts(folder: Path, case: Case, clip: np.ndarray, label: str) -> tuple[torch.nn.Module, torch.Tensor]:
    """The network and the clip in this precision, where torch runs."""
    device = "cuda" if torch.cuda.is_available() else "cpu"
    dtype = torch.float16 if precision_of(label) == "fp16" else torch.float32
    model = load_model(folder / case.model).to(device, dtype)
    return model, torch.from_numpy(clip).to(device, dtype)


@torch.inference_mode()
def eager(folder: Path, case: Case, clip: np.ndarray, label: str) -> Contender:
    model, x = torch_parts(folder, case, clip, label)

    def times(count: int) -> list[float]:
        with torch.inference_mode(), tf32("tf32" in label):
            return on_stream(lambda: model(x), count)

    with tf32("tf32" in label):
        return Contender(model(x).float().cpu().numpy(), times)


@torch.inference_mode()
def graph(folder: Path, case: Case, clip: np.ndarray, label: str) -> Contender:
    if not torch.cuda.is_available():
        raise RuntimeError("no GPU here, so no CUDA graph")
    model, x = torch_parts(folder, case, clip, label)
    recorded, side = torch.cuda.CUDAGraph(), torch.cuda.Stream()
    with tf32("tf32" in label):
        with torch.cuda.stream(side):
            for _ in range(3):
                model(x)
        torch.cuda.synchronize()
        with torch.cuda.graph(recorded):
            y = model(x)
    recorded.replay()
    host = torch.from_numpy(clip).pin_memory()

    def whole() -> None:
        with torch.inference_mode():
            x.copy_(host, non_blocking=True)
            recorded.replay()
            y.float().cpu()

    if label.endswith("run()"):
        return Contender(y.float().cpu().numpy(), lambda count: wall(whole, count), model)
    return Contender(y.float().cpu().numpy(), lambda count: on_stream(recorded.replay, count), (model, x))


def compiled(folder: Path, case: Case, clip: np.ndarray, label: str) -> Contender:
    """max-autotune: its CUDA graph copies the input within the device. A dry run compiles nothing."""
    model, x = torch_parts(folder, case, clip, label)
    how = {"mode": "max-autotune"} if torch.cuda.is_available() else {"backend": "eager"}
    fast = torch.compile(model, dynamic=False, **how)

    def run() -> torch.Tensor:
        with torch.no_grad():
            return fast(x)

    with tf32(False):
        for _ in range(4):  # the first ones compile and record
            result = run().float().cpu().numpy()
    return Contender(result, lambda count: on_stream(run, count))


def native(folder: Path, case: Case, clip: np.ndarray, label: str, device: int) -> Contender:
    from ski_edge import _native
    from ski_edge.runtime import device_arrays

    spec = json.loads((folder / case.model / "spec.json").read_text())
    weights = folder / case.model / "model.safetensors"
    engine = _native.cuda_engine(weights, device=device, precision=precision_of(label), **spec)
    logits = engine.run(clip)[0].copy()
    if label.endswith("run()") or (device < 0 and label.startswith("native fp")):
        return Contender(logits, lambda count: wall(lambda: engine.run(clip), count))
    if label.endswith("on device"):
        x = torch.from_numpy(clip).to("cuda" if device >= 0 else "cpu")
        logits = device_arrays.run(engine, x)[0].cpu().numpy()
        return Contender(logits, lambda count: on_stream(lambda: device_arrays.run(engine, x), count))
    return Contender(logits, lambda count: engine.time_replays(count).tolist())


def onnxruntime(folder: Path, case: Case, clip: np.ndarray, label: str) -> Contender:
    """The graph that `ski-edge export` writes, on CUDA or TensorRT, where that ONNX Runtime is installed."""
    import onnxruntime as ort

    provider = "TensorrtExecutionProvider" if "TensorRT" in label else "CUDAExecutionProvider"
    if provider not in ort.get_available_providers():
        raise RuntimeError(f"this onnxruntime {ort.__version__} has no {provider}")
    import ski_edge

    bundle = folder / f"{case.model}-bundle"
    if not bundle.exists():
        ski_edge.export_model(load_model(folder / case.model), bundle)
    settings = {"trt_fp16_enable": precision_of(label) == "fp16"} if "TensorRT" in label else {"use_tf32": 0}
    session = ort.InferenceSession(str(bundle / "model.onnx"), providers=[(provider, settings)])
    given = {"skeleton": clip, "persons": np.array(case.bodies, np.int64)}
    given = {tensor.name: given[tensor.name] for tensor in session.get_inputs()}
    return Contender(
        session.run(["logits"], given)[0], lambda count: wall(lambda: session.run(["logits"], given), count)
    )


def makers(folder: Path, case: Case, clip: np.ndarray, device: int) -> dict[str, Callable[[], Contender]]:
    """Label -> makes it; who is not here says why when it is made. torch.compile runs in processes of its own."""
    given = (folder, case, clip)
    found: dict[str, Callable[[], Contender]] = {}
    for precision in PRECISIONS:
        for end in ("", " run()", " on device"):
            label = f"native {precision}{end}"
            found[label] = lambda label=label: native(*given, label, device)
    for kind, make, precisions in (("eager", eager, PRECISIONS), ("graph", graph, ("fp32", "tf32", "fp16"))):
        for precision in precisions:
            label = f"torch {kind} {precision}"
            found[label] = lambda label=label, make=make: make(*given, label)
    found["torch graph fp16 run()"] = lambda: graph(*given, "torch graph fp16 run()")
    for label in ("onnxruntime fp32 run()", "TensorRT fp32 run()", "TensorRT fp16 run()"):
        found[label] = lambda label=label: onnxruntime(*given, label)
    return found
