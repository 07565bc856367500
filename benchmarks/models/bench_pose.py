"""Skeleton networks at their original size on the CPU: the native engine against torch, ONNX Runtime and OpenVINO.

    python benchmarks/models/bench_pose.py [MODEL ...] [--threads 1 2] [--batch 1 8] [--bodies 1 2]

Random weights: speed only (bf16 accuracy is in `benchmarks/accuracy/native_precision.py`). Every result is checked
against torch before anything is timed; the peers take turns in one process, an untimed run before each timed one.
`plain` is the export of the torch model as it stands, which computes both bodies; `folded` is the graph that
`ski-edge export` writes, told how many persons there are. Ratios are to the best float32 peer without that graph.
Shares are of what the engine has to compute (`gflop`), against a probe that only multiplies and adds. Needs the extra
`bench` for OpenVINO; what is not installed is left out.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import itertools
import os
import tempfile
import time
import warnings
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import numpy as np
import torch
from torch.utils.flop_counter import FlopCounterMode

import ski_edge
from ski_edge import _native
from ski_edge.export.pose_graph import PoseGraph
from ski_edge.runtime.measure import latency, machine
from ski_edge.testing.results import write_result

MODELS = ("ctrgcn", "hyperformer", "stgcn")
ROUNDS = 30
FRAMES = 64
Run = Callable[[np.ndarray], np.ndarray]


def plain_onnx(model: torch.nn.Module, path: Path, batch: int) -> None:
    with contextlib.redirect_stdout(io.StringIO()), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(model, (torch.zeros(batch, 3, FRAMES, 25, 2),), str(path), dynamo=True, external_data=False)


def onnxruntime_peer(path: Path, threads: int, bodies: int = 2) -> Run:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.log_severity_level = threads, 4
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    names = [tensor.name for tensor in session.get_inputs()]
    more = {"persons": np.array(bodies, np.int64)} if "persons" in names else {}
    return lambda clip: session.run(None, {names[0]: clip, **more})[0]


def openvino_peer(path: Path, threads: int, precision: str, bodies: int = 2) -> Run:
    import openvino

    core = openvino.Core()
    network = core.read_model(str(path))
    hints = {"INFERENCE_NUM_THREADS": threads, "PERFORMANCE_HINT": "LATENCY", "INFERENCE_PRECISION_HINT": precision}
    request = core.compile_model(network, "CPU", hints).create_infer_request()
    more = {"persons": np.array(bodies, np.int64)} if len(network.inputs) > 1 else {}
    name = network.inputs[0].any_name
    return lambda clip: request.infer({name: clip, **more})[0]


def torch_peers(model: torch.nn.Module, compiled: bool) -> dict[str, Run]:
    def eager(clip: np.ndarray) -> np.ndarray:
        with torch.inference_mode():
            return model(torch.from_numpy(clip)).numpy()

    peers: dict[str, Run] = {"torch eager": eager}
    if compiled:
        fast = torch.compile(model)

        def run(clip: np.ndarray) -> np.ndarray:
            with torch.no_grad():
                return fast(torch.from_numpy(clip)).numpy()

        peers["torch.compile"] = run
    return peers


def flops(model: torch.nn.Module, batch: int, bodies: int) -> float:
    """GFLOP that have to be computed: queries and keys at the time-mean, empty bodies left out."""
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        PoseGraph(model)(torch.zeros(batch, 3, FRAMES, 25, bodies))
    whole = counter.get_total_flops()
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        PoseGraph(model)
    return (whole - counter.get_total_flops()) / 1e9


def turns(runs: dict[str, Run], clip: np.ndarray) -> dict[str, list[float]]:
    samples: dict[str, list[float]] = {name: [] for name in runs}
    names = list(runs)
    for number in range(ROUNDS):
        turn = number % len(names)  # nobody always runs after the same neighbour
        for name in names[turn:] + names[:turn]:
            runs[name](clip)  # what the last one left in caches and threads is not this one's
            start = time.perf_counter()
            runs[name](clip)
            samples[name].append(time.perf_counter() - start)
    return samples


def measure(name: str, threads: int, batch: int, bodies: int, folder: Path, compiled: bool) -> dict[str, object]:
    torch.set_num_threads(threads)
    model = ski_edge.create_model(name, seed=0, num_classes=120, layout="ntu25")
    bundle = folder / name
    if not bundle.exists():
        ski_edge.export_model(model, bundle)
    plain = folder / f"{name}-{batch}.onnx"
    if not plain.exists():
        plain_onnx(model, plain, batch)
    clip = np.random.default_rng(0).normal(size=(batch, 3, FRAMES, 25, 2)).astype(np.float32)
    if bodies == 1:
        clip[..., 1] = 0
    native = {
        precision: ski_edge.open_bundle(bundle, "native", "cpu", threads, precision)
        for precision in ("fp32", *(() if _native.why_not_bf16() else ("bf16",)))
    }
    runs: dict[str, Run] = {
        f"native {precision}": (lambda x, session=session: session.run(skeleton=x)["logits"])
        for precision, session in native.items()
    }
    peers = torch_peers(model, compiled)
    peers["onnxruntime plain"] = onnxruntime_peer(plain, threads)
    peers["onnxruntime folded"] = onnxruntime_peer(bundle / "model.onnx", threads, bodies)
    with contextlib.suppress(ImportError):
        peers["openvino plain"] = openvino_peer(plain, threads, "f32")
        peers["openvino folded"] = openvino_peer(bundle / "model.onnx", threads, "f32", bodies)
        peers["openvino bf16"] = openvino_peer(plain, threads, "bf16")
    runs |= peers
    with torch.no_grad():
        wanted = model(torch.from_numpy(clip)).numpy()
    errors = {label: float(np.abs(run(clip) - wanted).max() / np.abs(wanted).max()) for label, run in runs.items()}
    wrong = {label: e for label, e in errors.items() if not e < (0.05 if "bf16" in label else 1e-4)}
    assert not wrong, f"{name}: {wrong}"
    stages = {label: asdict(latency(seconds)) for label, seconds in turns(runs, clip).items()}
    gflop = flops(model, batch, bodies)
    float_peers = [label for label in peers if "bf16" not in label and "folded" not in label]
    best = min(float_peers, key=lambda label: stages[label]["p50_ms"])
    return {
        "model": name,
        "threads": threads,
        "batch": batch,
        "bodies": bodies,
        "gflop": gflop,
        "errors": errors,
        "stages": stages,
        "best_float_peer": best,
        "ratio_to_best": {label: stages[best]["p50_ms"] / stages[label]["p50_ms"] for label in stages},
        "ratio_p95": {label: stages[best]["p95_ms"] / stages[label]["p95_ms"] for label in stages},
        "gflops_per_s": {
            label: gflop / stages[label]["p50_ms"] * 1000 for label in stages if label.startswith("native")
        },
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="*", default=MODELS)
    parser.add_argument("--threads", type=int, nargs="+", default=[2, 1])
    parser.add_argument("--batch", type=int, nargs="+", default=[1, 8])
    parser.add_argument("--bodies", type=int, nargs="+", default=[2, 1])
    parser.add_argument("--no-compile", action="store_true", help="leave torch.compile out (minutes of compiling)")
    given = parser.parse_args()
    isas = {"fp32": "", **({} if _native.why_not_bf16() else {"bf16": _native.bf16_isa()})}
    record: dict[str, object] = {
        "weights": "random: speed only",
        "load": os.getloadavg()[0],
        "peak_gflops": {f"{p} {n}": _native.peak_gflops(n, isa) for p, isa in isas.items() for n in given.threads},
        "rows": [],
    }
    print({k: round(v, 1) for k, v in record["peak_gflops"].items()}, flush=True)
    with tempfile.TemporaryDirectory() as folder:
        for name, threads, batch, bodies in itertools.product(given.models, given.threads, given.batch, given.bodies):
            compiled = not given.no_compile and batch == 1
            row = measure(name, threads, batch, bodies, Path(folder), compiled)
            for label in row["gflops_per_s"]:
                share = row["gflops_per_s"][label] / record["peak_gflops"][f"{label.split()[1]} {threads}"]
                row.setdefault("share_of_peak", {})[label] = share
            record["rows"].append(row)
            print(f"{name}, {threads} threads, batch {batch}, {bodies} bodies, {row['gflop']:.2f} GFLOP", flush=True)
            for label, stage in row["stages"].items():
                share = row["share_of_peak"].get(label)
                print(
                    f"  {label:20s} p50 {stage['p50_ms']:7.2f} p95 {stage['p95_ms']:7.2f} ms  "
                    f"{row['ratio_to_best'][label]:5.2f}x" + (f"  {share:.0%} of peak" if share else ""),
                    flush=True,
                )
    print(write_result("bench_pose", machine(), record))


if __name__ == "__main__":
    main()
