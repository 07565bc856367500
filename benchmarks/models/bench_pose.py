"""Skeleton networks at their original size on the CPU: the native engine against torch, ONNX Runtime and OpenVINO.

    python benchmarks/models/bench_pose.py [MODEL ...] [--threads 1 2] [--batch 1 8] [--bodies 1 2] [--quick]

Random weights: speed only (bf16 accuracy is in `benchmarks/accuracy/native_precision.py`). Every result is checked
against torch before anything is timed; the peers take turns in one process, an untimed run before each timed one.
`plain` is the export of the torch model as it stands, which computes both bodies; `folded` is the graph that
`ski-edge export` writes, told how many persons there are. Ratios are to the best float32 peer without that graph.
Shares are of what the engine has to compute (`gflop`), against a probe that only multiplies and adds. Needs the extra
`bench` for OpenVINO; a peer that does not run says why. Without options one call makes the whole record; compiling
takes most of its time.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import itertools
import tempfile
import time
import warnings
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np
import torch
from torch.utils.flop_counter import FlopCounterMode

import ski_edge
from ski_edge import _native
from ski_edge.export.pose_graph import PoseGraph
from ski_edge.files import write_json
from ski_edge.runtime.measure import latency, machine
from ski_edge.testing.results import commit, load, versions, write_result

MODELS = ("ctrgcn", "hyperformer", "stgcn")
FRAMES = 64
_MOST = {"fp32": 1e-4, "bf16": 0.05}  # error of the logits, of the largest of torch's
Run = Callable[[np.ndarray], np.ndarray]


@dataclass
class Networks:
    """What is made once for many rows: models, their files, and what was compiled of them."""

    folder: Path
    _models: dict[str, torch.nn.Module] = field(default_factory=dict)
    _compiled: dict[tuple[str, int, int], Run] = field(default_factory=dict)

    def model(self, name: str) -> torch.nn.Module:
        if name not in self._models:
            self._models[name] = ski_edge.create_model(name, seed=0, num_classes=120, layout="ntu25")
        return self._models[name]

    def bundle(self, name: str) -> Path:
        path = self.folder / name
        if not path.exists():
            ski_edge.export_model(self.model(name), path)
        return path

    def plain_onnx(self, name: str, batch: int) -> Path:
        path = self.folder / f"{name}-{batch}.onnx"
        if not path.exists():
            with contextlib.redirect_stdout(io.StringIO()), warnings.catch_warnings():
                warnings.simplefilter("ignore")
                example = (torch.zeros(batch, 3, FRAMES, 25, 2),)
                torch.onnx.export(self.model(name), example, str(path), dynamo=True, external_data=False)
        return path

    def compiled(self, name: str, batch: int, threads: int) -> Run:
        """The number of threads is part of what the compiler writes."""
        if (name, batch, threads) not in self._compiled:
            torch._dynamo.reset()  # or what other rows compiled would make this one dynamic, and slower
            self._compiled.clear()
            fast = torch.compile(self.model(name), dynamic=False)

            def run(clip: np.ndarray) -> np.ndarray:
                with torch.no_grad():
                    return fast(torch.from_numpy(clip)).numpy()

            self._compiled[name, batch, threads] = run
        return self._compiled[name, batch, threads]


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


def eager_peer(model: torch.nn.Module) -> Run:
    def run(clip: np.ndarray) -> np.ndarray:
        with torch.inference_mode():
            return model(torch.from_numpy(clip)).numpy()

    return run


def contenders(made: Networks, name: str, threads: int, batch: int, bodies: int, compiled: bool) -> dict[str, Callable]:
    """Label -> makes the run; what a label lacks here is what making it raises."""
    bundle, plain = made.bundle(name), made.plain_onnx(name, batch)
    folded = bundle / "model.onnx"

    def native(precision: str) -> Run:
        session = ski_edge.open_bundle(bundle, "native", "cpu", threads, precision)
        return lambda clip: session.run(skeleton=clip)["logits"]

    def fast() -> Run:
        if not compiled:
            raise RuntimeError("left out (--no-compile)")
        return made.compiled(name, batch, threads)

    return {
        "native fp32": lambda: native("fp32"),
        "native bf16": lambda: native("bf16"),
        "torch eager": lambda: eager_peer(made.model(name)),
        "torch.compile": fast,
        "onnxruntime plain": lambda: onnxruntime_peer(plain, threads),
        "onnxruntime folded": lambda: onnxruntime_peer(folded, threads, bodies),
        "openvino plain": lambda: openvino_peer(plain, threads, "f32"),
        "openvino folded": lambda: openvino_peer(folded, threads, "f32", bodies),
        "openvino bf16": lambda: openvino_peer(plain, threads, "bf16"),
    }


def flops(model: torch.nn.Module, batch: int, bodies: int) -> float:
    """GFLOP that have to be computed: queries and keys at the time-mean, empty bodies left out."""
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        PoseGraph(model)(torch.zeros(batch, 3, FRAMES, 25, bodies))
    whole = counter.get_total_flops()
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        PoseGraph(model)
    return (whole - counter.get_total_flops()) / 1e9


def checked(makers: dict[str, Callable], clip: np.ndarray, wanted: np.ndarray) -> tuple[dict, dict, dict]:
    """Runs by label, their errors, and why the other labels have none. A wrong native result stops everything."""
    runs, errors, missing = {}, {}, {}
    for label, make in makers.items():
        try:
            run = make()
            error = float(np.abs(run(clip) - wanted).max() / np.abs(wanted).max())
        except Exception as reason:
            lines = str(reason).strip().splitlines()
            missing[label] = f"{type(reason).__name__}: {lines[0] if lines else ''}"[:160]
            if label == "native fp32":
                raise
            continue
        if not error < _MOST["bf16" if "bf16" in label else "fp32"]:
            assert not label.startswith("native"), f"{label}: logits are off by {error:.1e}"
            missing[label] = f"logits are off by {error:.1e}"
            continue
        runs[label], errors[label] = run, error
    return runs, errors, missing


def turns(runs: dict[str, Run], clip: np.ndarray, rounds: int) -> dict[str, list[float]]:
    samples: dict[str, list[float]] = {name: [] for name in runs}
    names = list(runs)
    for number in range(rounds):
        turn = number % len(names)  # nobody always runs after the same neighbour
        for name in names[turn:] + names[:turn]:
            runs[name](clip)  # what the last one left in caches and threads is not this one's
            start = time.perf_counter()
            runs[name](clip)
            samples[name].append(time.perf_counter() - start)
    return samples


def measure(made: Networks, name: str, threads: int, batch: int, bodies: int, given: argparse.Namespace) -> dict:
    """One row of the record."""
    torch.set_num_threads(threads)
    model = made.model(name)
    clip = np.random.default_rng(0).normal(size=(batch, 3, FRAMES, 25, 2)).astype(np.float32)
    if bodies == 1:
        clip[..., 1] = 0
    with torch.no_grad():
        wanted = model(torch.from_numpy(clip)).numpy()
    makers = contenders(made, name, threads, batch, bodies, not given.no_compile)
    runs, errors, missing = checked(makers, clip, wanted)
    stages = {label: asdict(latency(seconds)) for label, seconds in turns(runs, clip, given.rounds).items()}
    gflop = flops(model, batch, bodies)
    float_peers = [label for label in runs if not label.startswith("native") and "bf16" not in label]
    best = min((x for x in float_peers if "folded" not in x), key=lambda label: stages[label]["p50_ms"])
    return {
        "model": name,
        "threads": threads,
        "batch": batch,
        "bodies": bodies,
        "gflop": gflop,
        "errors": errors,
        "missing": missing,
        "stages": stages,
        "best_float_peer": best,
        "ratio_to_best": {label: stages[best]["p50_ms"] / stages[label]["p50_ms"] for label in stages},
        "ratio_p95": {label: stages[best]["p95_ms"] / stages[label]["p95_ms"] for label in stages},
        "gflops_per_s": {
            label: gflop / stages[label]["p50_ms"] * 1000 for label in stages if label.startswith("native")
        },
    }


def show(row: dict) -> None:
    print(
        f"\n{row['model']}, {row['threads']} threads, batch {row['batch']}, {row['bodies']} bodies, "
        f"{row['gflop']:.2f} GFLOP"
    )
    print(f"  {'':20s} {'p50 ms':>8s} {'p95 ms':>8s} {'ratio':>6s} {'of peak':>7s} {'error':>8s}")
    for label, stage in row["stages"].items():
        share = f"{row['share_of_peak'][label]:7.0%}" if label in row["share_of_peak"] else " " * 7
        print(
            f"  {label:20s} {stage['p50_ms']:8.2f} {stage['p95_ms']:8.2f} {row['ratio_to_best'][label]:6.2f} {share} "
            f"{row['errors'][label]:8.1e}"
        )
    for label, reason in row["missing"].items():
        print(f"  {label:20s} not run: {reason}")
    print(end="", flush=True)


def summary(rows: list[dict]) -> str:
    """The rows as a table in Markdown; milliseconds are medians."""
    peers = ("openvino plain", "onnxruntime plain", "torch.compile", "torch eager", "openvino bf16")
    head = ["network", "threads", "batch", "bodies", "native fp32 (p95)", "of peak", "native bf16 (p95)", "of peak"]
    head += [*peers, "fp32 / best fp32 peer", "bf16 / best fp32 peer"]
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]

    def ms(row: dict, label: str) -> str:
        return f"{row['stages'][label]['p50_ms']:.1f}" if label in row["stages"] else "-"

    for row in rows:
        cells = [row["model"], row["threads"], row["batch"], row["bodies"]]
        for label in ("native fp32", "native bf16"):
            there = label in row["stages"]
            cells += [f"{ms(row, label)} ({row['stages'][label]['p95_ms']:.1f})" if there else "-"]
            cells += [f"{row['share_of_peak'][label]:.0%}" if there else "-"]
        cells += [ms(row, label) for label in peers]
        cells += [f"{row['ratio_to_best'].get(label, float('nan')):.2f}" for label in ("native fp32", "native bf16")]
        lines.append("| " + " | ".join(map(str, cells)) + " |")
    return "\n".join(lines)


def options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="*", default=MODELS)
    parser.add_argument("--threads", type=int, nargs="+", default=[2, 1])
    parser.add_argument("--batch", type=int, nargs="+", default=[1, 8])
    parser.add_argument("--bodies", type=int, nargs="+", default=[2, 1])
    parser.add_argument("--rounds", type=int, default=30)
    parser.add_argument("--no-compile", action="store_true", help="leave torch.compile out (minutes of compiling)")
    parser.add_argument("--quick", action="store_true", help="a look: one size, 5 rounds, no torch.compile, no record")
    parser.add_argument("--json", type=Path, help="where the record goes; else benchmarks/results/<machine>/")
    given = parser.parse_args()
    if given.quick:
        given.threads, given.batch, given.bodies = given.threads[:1], given.batch[:1], given.bodies[:1]
        given.rounds, given.no_compile = 5, True
    return given


def main() -> None:
    given = options()
    isas = {"fp32": "", **({} if _native.why_not_bf16() else {"bf16": _native.bf16_isa()})}
    record: dict = {
        "weights": "random: speed only",
        "versions": versions(),
        "commit": commit(),
        "load": load(),
        "peak_gflops": {f"{p} {n}": _native.peak_gflops(n, isa) for p, isa in isas.items() for n in given.threads},
        "rows": [],
    }
    print({k: round(v, 1) for k, v in record["peak_gflops"].items()}, flush=True)
    with tempfile.TemporaryDirectory() as folder:
        made = Networks(Path(folder))
        for name, threads, batch, bodies in itertools.product(given.models, given.threads, given.batch, given.bodies):
            row = measure(made, name, threads, batch, bodies, given)
            peak = {label: record["peak_gflops"][f"{label.split()[1]} {threads}"] for label in row["gflops_per_s"]}
            row["share_of_peak"] = {label: rate / peak[label] for label, rate in row["gflops_per_s"].items()}
            record["rows"].append(row)
            show(row)
    print("\n" + summary(record["rows"]))
    if given.json is not None:
        write_json(given.json, {"name": "bench_pose", "device": machine(), **record})
        print(given.json)
    elif not given.quick:
        print(write_result("bench_pose", machine(), record))


if __name__ == "__main__":
    main()
