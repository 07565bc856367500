"""What `bench_<op>.py` share: one op at real layer sizes, the native kernel against its peers, in turns.

    python benchmarks/ops/bench_<op>.py [--quick] [--threads 1 2] [--batch 1 8] [--bodies 1 2] [--blocks N ...]
                                        [--no-compile] [--json FILE]

Every peer gets the op's torch reference (`ski_edge/ops/<op>.py`): eager, compiled, or exported to ONNX. It is written
to be read; how whole networks stand against tuned graphs is in `benchmarks/models/bench_pose.py`.

Results are checked against float64 first: the native kernel may lose at most twice what torch's float32 loses (or
`_TINY`), bfloat16 and peers what `_MOST` says; the errors are in the table. `native` is the call of `ski_edge.ops`,
which makes its workspace and a new output and, where the stride is 2, orders the frames anew; `kernel` is the same call
without that border, as the engine runs the op. GFLOP/s are of the operations that have to be computed
(`ski_edge/testing/op_costs.py`), the share is of what a probe that only multiplies and adds reaches on as many threads.
"""

from __future__ import annotations

import argparse
import itertools
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import peers
import torch
from torch import Tensor

from ski_edge import _native
from ski_edge.files import write_json
from ski_edge.runtime.measure import latency, machine
from ski_edge.testing.op_costs import cost
from ski_edge.testing.op_layers import Layer, network_layers
from ski_edge.testing.results import commit, load, versions, write_result

_MOST = {"fp32": 1e-4, "bf16": 0.05}  # error of a peer or of bfloat16, of the largest number of the result
_TINY = 2e-6  # so much of the largest number nobody is asked to be better than
Run = Callable[[], Tensor]


def native_runs(layer: Layer, inputs: tuple[Tensor, ...], threads: int) -> tuple[dict[str, Run], dict[str, str]]:
    """Label -> run, and label -> why it does not run here."""
    runs, missing = {}, {}
    isas = {"fp32": ""}
    if reason := _native.why_not_bf16():
        missing["native bf16"] = reason
    else:
        isas["bf16"] = _native.bf16_isa()
    for precision, isa in isas.items():
        op = layer.native(threads, isa)
        runs[f"native {precision}"] = lambda op=op: op(*inputs)
        runs[f"native {precision}"].kernel = op._op  # it knows the seconds without the border
    return runs, missing


def errors_of(layer: Layer, inputs: tuple[Tensor, ...], runs: dict[str, Run], missing: dict[str, str]) -> dict:
    """Largest error of each result over the largest number of the truth. Peers that are wrong leave `runs`."""
    truth = peers.call(layer, tuple(x.double() for x in inputs), layer.arguments(torch.float64))
    scale = float(truth.abs().max())
    plain = float((peers.call(layer, inputs, layer.arguments()) - truth).abs().max()) / scale
    errors = {}
    for label, run in list(runs.items()):
        try:
            errors[label] = float((run() - truth).abs().max()) / scale
        except Exception as error:
            missing[label] = peers.one_line(error)
            del runs[label]
            continue
        most = _MOST["bf16" if "bf16" in label else "fp32"]
        if label == "native fp32":
            most = max(2 * plain, _TINY)
        if not errors[label] <= most:
            # A wrong kernel has no speed: ours stops the run, a peer's is left out.
            assert not label.startswith("native"), f"{layer.name}: {label} is off by {errors[label]:.1e}"
            missing[label] = f"off by {errors[label]:.1e}, allowed {most:.0e}"
            del runs[label]
    return {"torch float32": plain, **errors}


def turns(runs: dict[str, Run], rounds: int) -> dict[str, list[float]]:
    """Seconds of each, and of each native kernel without the border."""
    labels = list(runs)
    kernels = {label: label.replace("native", "kernel") for label in labels if hasattr(runs[label], "kernel")}
    samples: dict[str, list[float]] = {label: [] for label in [*kernels, *kernels.values(), *labels]}
    for number in range(rounds):
        turn = number % len(labels)  # nobody always runs after the same neighbour
        for label in labels[turn:] + labels[:turn]:
            runs[label]()  # what the last one left in caches and threads is not this one's
            start = time.perf_counter()
            runs[label]()
            samples[label].append(time.perf_counter() - start)
            if label in kernels:
                samples[kernels[label]].append(runs[label].kernel.seconds)
    return samples


def measure(layer: Layer, threads: int, batch: int, bodies: int, given: argparse.Namespace, made: peers.Made) -> dict:
    """One row of the record."""
    inputs = layer.inputs(batch * bodies)
    runs, missing = native_runs(layer, inputs, threads)
    found, why = made.runs(layer, inputs, threads, compiled=not given.no_compile)
    runs, missing = runs | found, missing | why
    with torch.inference_mode():
        errors = errors_of(layer, inputs, runs, missing)
        stages = {label: asdict(latency(seconds)) for label, seconds in turns(runs, given.rounds).items()}
    spent = cost(layer, batch * bodies)
    floats = [label for label in stages if not label.startswith(("native", "kernel")) and "bf16" not in label]
    best = min(floats, key=lambda label: stages[label]["p50_ms"])
    return {
        "op": layer.op,
        "network": layer.network,
        "block": layer.block + 1,
        "channels": list(layer.channels),
        "outputs": layer.outputs,
        "frames": layer.frames,
        "stride": layer.stride,
        "threads": threads,
        "batch": batch,
        "bodies": bodies,
        "gflop": spent.flop / 1e9,
        "errors": errors,
        "missing": missing,
        "stages": stages,
        "best_float_peer": best,
        "ratio_to_best": {label: stages[best]["p50_ms"] / stages[label]["p50_ms"] for label in stages},
        "gflops_per_s": {label: spent.flop / 1e6 / stages[label]["p50_ms"] for label in stages},
    }


def show(row: dict, peaks: dict[str, float]) -> None:
    print(
        f"\n{row['network']} block {row['block']} {row['op']}: {row['channels']} -> {row['outputs']} channels, "
        f"{row['frames']} frames, stride {row['stride']}; {row['threads']} threads, batch {row['batch']}, "
        f"{row['bodies']} bodies, {row['gflop']:.3f} GFLOP"
    )
    print(f"  {'':18s} {'p50 ms':>8s} {'p95 ms':>8s} {'ratio':>6s} {'GFLOP/s':>8s} {'of peak':>7s} {'error':>8s}")
    for label, stage in row["stages"].items():
        rate = row["gflops_per_s"][label]
        row.setdefault("share_of_peak", {})[label] = rate / peaks["bf16" if "bf16" in label else "fp32"]
        error = row["errors"].get(label.replace("kernel", "native"), row["errors"]["torch float32"])
        print(
            f"  {label:18s} {stage['p50_ms']:8.3f} {stage['p95_ms']:8.3f} {row['ratio_to_best'][label]:6.2f} "
            f"{rate:8.1f} {row['share_of_peak'][label]:7.0%} {error:8.1e}"
        )
    for label, reason in row["missing"].items():
        print(f"  {label:18s} not run: {reason}")
    print(end="", flush=True)


def options(about: str | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=about, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--batch", type=int, nargs="+", default=[1, 8])
    parser.add_argument("--bodies", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--blocks", type=int, nargs="+", help="blocks of the networks, counted from 1")
    parser.add_argument("--rounds", type=int, default=30)
    parser.add_argument("--no-compile", action="store_true", help="leave torch.compile out (most of the time)")
    parser.add_argument("--quick", action="store_true", help="a look: one size of input, 5 rounds, no torch.compile")
    parser.add_argument("--json", type=Path, help="where the record goes; else benchmarks/results/<machine>/")
    given = parser.parse_args()
    if given.quick:
        given.threads, given.batch, given.bodies = given.threads[-1:], given.batch[:1], given.bodies[-1:]
        given.rounds, given.no_compile = 5, True
    return given


def main(op: str, blocks: dict[str, tuple[int, ...]], about: str | None) -> None:
    """blocks: of each network that has the op, counted from 1."""
    given = options(about)
    layers = [
        layer
        for network, chosen in blocks.items()
        for layer in network_layers(network)
        if layer.op == op and layer.block + 1 in (given.blocks or chosen)
    ]
    isas = {"fp32": "", **({} if _native.why_not_bf16() else {"bf16": _native.bf16_isa()})}
    peaks = {n: {p: _native.peak_gflops(n, isa) for p, isa in isas.items()} for n in given.threads}
    for n in given.threads:
        peaks[n].setdefault("bf16", peaks[n]["fp32"])  # a peer may compute in bfloat16 without instructions for it
    rows, busy = [], load()
    with peers.Made() as made:
        for layer, batch, bodies in itertools.product(layers, given.batch, given.bodies):
            for threads in given.threads:
                row = measure(layer, threads, batch, bodies, given, made)
                show(row, peaks[threads])
                rows.append(row)
    record = {
        "weights": "random: speed only",
        "versions": versions(),
        "commit": commit(),
        "load": busy,
        "peak_gflops": {f"{p} {n}": value for n, each in peaks.items() for p, value in each.items()},
        "rows": rows,
    }
    if given.json is None and not given.quick:
        print(write_result(f"bench_{op}", machine(), record))
    elif given.json is not None:
        write_json(given.json, {"name": f"bench_{op}", "device": machine(), **record})
        print(given.json)
