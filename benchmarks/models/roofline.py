"""Where the time of a skeleton network goes, and how near each op is to what the machine can do.

    python benchmarks/models/roofline.py [MODEL ...] [--threads 1 2] [--quick] [--json FILE] [--picture FILE]

The engine itself says how long each step of a clip takes (`Engine.profile`), so nothing is timed outside the network it
works in. Operations and bytes are counted (`ski_edge/testing/op_costs.py`); limits are measured here and now: a probe
that only multiplies and adds, and reading from caches and memory (`bandwidth.py`). Random weights at the original size,
one clip of two bodies, 64 frames; logits are checked against torch first.

`int8` holds what 8-bit *weights* (products staying as they are) could save at most: the bytes of weights that move,
over the measured rate at which the machine reads them, as if arithmetic hid none of it; and what a clip costs more
after the caches were filled with something else, which is all that memory can be to blame for.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from bandwidth import evict, read_gb_per_s
from roofline_picture import picture

import ski_edge
from ski_edge import _native
from ski_edge.bundle import read_manifest
from ski_edge.files import member, write_json
from ski_edge.runtime.measure import machine
from ski_edge.runtime.native import network_spec
from ski_edge.testing.op_costs import cost
from ski_edge.testing.op_layers import network_layers
from ski_edge.testing.results import commit, load, versions, write_result

MODELS = ("ctrgcn", "hyperformer")
FRAMES, BODIES = 64, 2
_MOST = {"fp32": 1e-4, "bf16": 0.05}  # error of the logits, of the largest


def isas() -> dict[str, str]:
    return {"fp32": "", **({} if _native.why_not_bf16() else {"bf16": _native.bf16_isa()})}


def limits(threads: int) -> dict[str, object]:
    return {
        "threads": threads,
        "peak_gflops": {precision: _native.peak_gflops(threads, isa) for precision, isa in isas().items()},
        "read_gb_per_s": read_gb_per_s(threads),
    }


def p50(samples: object) -> float:
    return float(np.percentile(samples, 50))


def sample(engine, clip: np.ndarray, rounds: int, cold: Iterator[None]) -> dict[str, np.ndarray]:
    """Seconds: of each step [rounds, steps], of whole runs, of those that were profiled, and of runs on cold caches."""
    steps, runs, profiled, after = [], [], [], []
    for turn in range(rounds):
        for clock, run in ((runs, engine.run), (profiled, engine.profile)):
            run(clip)
            start = time.perf_counter()
            seconds = run(clip)
            clock.append(time.perf_counter() - start)
        steps.append(seconds)
        if turn % 3 == 0:
            next(cold)
            start = time.perf_counter()
            engine.run(clip)
            after.append(time.perf_counter() - start)
    found = {"steps": steps, "run": runs, "profiled": profiled, "cold": after}
    return {name: np.array(samples) for name, samples in found.items()}


def ops_of(network: str, precision: str, steps: np.ndarray, limit: dict) -> list[dict[str, object]]:
    """A row for each op of the network. steps: seconds [rounds, 2 + ops], the input norm first, pooling last."""
    layers, rows = network_layers(network, frames=FRAMES), []
    assert steps.shape[1] == len(layers) + 2, (steps.shape, len(layers))
    for number, layer in enumerate(layers):
        # The first graph convolution reads coordinates and stays in float32 (engine/network.h).
        computed = "fp32" if number == 0 else precision
        spent = cost(layer, BODIES, 2 if computed == "bf16" else 4)
        seconds = steps[:, number + 1]
        rate = spent.flop / p50(seconds) / 1e9
        rows.append(
            {
                "op": layer.op,
                "block": layer.block + 1,
                "channels": list(layer.channels),
                "outputs": layer.outputs,
                "frames": layer.frames,
                "stride": layer.stride,
                "precision": computed,
                "gflop": spent.flop / 1e9,
                "weight_bytes": spent.weight_bytes,
                "activation_bytes": spent.activation_bytes,
                "compulsory_bytes": spent.compulsory_bytes,
                "our_bytes": round(spent.our_bytes),
                "our_weight_bytes": round(spent.our_weight_bytes),
                "p50_ms": p50(seconds) * 1e3,
                "p95_ms": float(np.percentile(seconds, 95)) * 1e3,
                "gflops_per_s": rate,
                "share_of_peak": rate / limit["peak_gflops"][computed],
                "flop_per_compulsory_byte": spent.flop / spent.compulsory_bytes,
                "flop_per_our_byte": spent.flop / spent.our_bytes,
            }
        )
    return rows


def int8_of(network: str, rows: list[dict], total_ms: float, cold_ms: float, limit: dict) -> dict[str, float]:
    """What weights of one byte could save, in ms and as a share of the clip; upper bounds, from what was measured."""
    rates = limit["read_gb_per_s"]
    now = sum(row["weight_bytes"] for row in rows)
    numbers = sum(cost(layer, 1, 1).weight_bytes for layer in network_layers(network, frames=FRAMES))
    read = sum(row["our_weight_bytes"] for row in rows)
    saved = 1 - numbers / now  # the same share of every byte of weights

    def ms(count: float, place: str) -> float:
        return count / rates[place] / 1e6

    return {
        "weight_bytes": now,
        "int8_weight_bytes": numbers,
        "weight_bytes_read": read,  # again for every body or tile, from the second cache or further away
        "once_from_memory_ms": ms(now, "memory"),
        "once_from_last_cache_ms": ms(now, "last_cache"),
        "all_reads_from_l2_ms": ms(read, "l2"),
        "share_once_from_last_cache": ms(now, "last_cache") / total_ms,
        "share_all_reads_from_l2": ms(read, "l2") / total_ms,
        # Each weight comes once from the last cache, all other reads from the second: nothing hidden by arithmetic.
        "most_saved_ms": saved * (ms(now, "last_cache") + ms(read, "l2")),
        "most_saved_share": saved * (ms(now, "last_cache") + ms(read, "l2")) / total_ms,
        "cold_ms": cold_ms,
        "cold_costs_share": cold_ms / total_ms - 1,
        "most_saved_share_cold": saved * ms(now, "memory") / cold_ms,
    }


def measure(network: str, precision: str, limit: dict, folder: Path, rounds: int, cold: Iterator[None]) -> dict:
    torch.set_num_threads(limit["threads"])
    model = ski_edge.create_model(network, seed=0, num_classes=120, layout="ntu25")
    bundle = folder / network
    if not bundle.exists():
        ski_edge.export_model(model, bundle)
    manifest = read_manifest(bundle)
    weights = member(bundle, manifest.weights)
    isa = isas()[precision]
    engine = _native.engine(weights, threads=limit["threads"], isa=isa, **network_spec(manifest))
    clip = np.random.default_rng(0).normal(size=(1, 3, FRAMES, 25, BODIES)).astype(np.float32)
    with torch.no_grad():
        wanted = model(torch.from_numpy(clip)).numpy()
    error = float(np.abs(engine.run(clip)[0] - wanted).max() / np.abs(wanted).max())
    assert error < _MOST[precision], f"{network} {precision}: logits are off by {error:.1e}"
    seconds = sample(engine, clip, rounds, cold)
    rows = ops_of(network, precision, seconds["steps"], limit)
    total, steps = p50(seconds["run"]) * 1e3, seconds["steps"]
    parts = {"input norm": p50(steps[:, 0]) * 1e3}
    for row in rows:
        parts[row["op"]] = parts.get(row["op"], 0.0) + row["p50_ms"]
    parts["pooling"] = p50(steps[:, -1]) * 1e3
    # Checks of the clip, the head, the way in and out of Python.
    parts["the rest"] = max(0.0, p50(seconds["profiled"] - steps.sum(axis=1)) * 1e3)
    gflop = sum(row["gflop"] for row in rows)
    return {
        "network": network,
        "precision": precision,
        "threads": limit["threads"],
        "bodies": BODIES,
        "frames": FRAMES,
        "error": error,
        "gflop": gflop,
        "p50_ms": total,
        "p95_ms": float(np.percentile(seconds["run"], 95)) * 1e3,
        "profiled_p50_ms": p50(seconds["profiled"]) * 1e3,
        "gflops_per_s": gflop / total * 1e3,
        "share_of_peak": gflop / total * 1e3 / limit["peak_gflops"][precision],
        "parts_ms": parts,
        "ops": rows,
        "int8": int8_of(network, rows, total, p50(seconds["cold"]) * 1e3, limit),
    }


def show(row: dict) -> None:
    print(
        f"\n{row['network']} {row['precision']}, {row['threads']} threads: {row['gflop']:.2f} GFLOP in "
        f"{row['p50_ms']:.2f} ms (p95 {row['p95_ms']:.2f}), {row['share_of_peak']:.0%} of peak, logits off by "
        f"{row['error']:.0e}"
    )
    print(f"   # {'op':20s}  channels frames   GFLOP weights    ours    FLOP/B   p50 ms  GFLOP/s of peak  time")
    for op in row["ops"]:
        width = f"{op['channels'][0]}>{op['outputs']}"
        print(
            f"  {op['block']:2d} {op['op']:20s} {width:>9s} {op['frames']:4d}/{op['stride']} {op['gflop']:7.3f} "
            f"{op['weight_bytes'] / 1e6:5.2f} MB {op['our_bytes'] / 1e6:5.1f} MB {op['flop_per_compulsory_byte']:7.0f} "
            f"{op['p50_ms']:8.3f} {op['gflops_per_s']:8.1f} {op['share_of_peak']:7.0%} "
            f"{op['p50_ms'] / row['p50_ms']:5.1%}"
        )
    total = sum(row["parts_ms"].values())
    print("  time: " + ", ".join(f"{name} {ms / total:.1%}" for name, ms in row["parts_ms"].items()))
    int8 = row["int8"]
    print(
        f"  weights: {int8['weight_bytes'] / 1e6:.2f} MB (int8: {int8['int8_weight_bytes'] / 1e6:.2f}), read "
        f"{int8['weight_bytes_read'] / 1e6:.0f} MB; at the measured rates {int8['share_once_from_last_cache']:.1%} of "
        f"the time (once, last cache) + {int8['share_all_reads_from_l2']:.1%} (all, second cache), were none hidden\n"
        f"  int8 weights save at most {int8['most_saved_share']:.1%}; on cold caches (a clip costs "
        f"{int8['cold_costs_share']:+.1%}) at most {int8['most_saved_share_cold']:.1%} of what comes from memory",
        flush=True,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="*", default=MODELS)
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--rounds", type=int, default=100)
    parser.add_argument("--quick", action="store_true", help="a look: the last thread count, 9 rounds, no record")
    parser.add_argument("--json", type=Path, help="where the record goes; else benchmarks/results/<machine>/")
    parser.add_argument("--picture", type=Path, help="where the picture goes; else beside the record")
    given = parser.parse_args()
    if given.quick:
        given.threads, given.rounds = given.threads[-1:], 9
    busy, cold, rows = load(), evict(), []
    found = {threads: limits(threads) for threads in given.threads}
    for limit in found.values():
        print({k: {name: round(x, 1) for name, x in v.items()} if isinstance(v, dict) else v for k, v in limit.items()})
    with tempfile.TemporaryDirectory() as folder:
        for name in given.models:
            for limit in found.values():
                for precision in limit["peak_gflops"]:
                    rows.append(measure(name, precision, limit, Path(folder), given.rounds, cold))
                    show(rows[-1])
    record = {
        "weights": "random: speed only",
        "versions": versions(),
        "commit": commit(),
        "load": busy,
        "limits": list(found.values()),
        "networks": rows,
    }
    if given.json is not None:
        write_json(given.json, {"name": "roofline", "device": machine(), **record})
        path = given.json
    elif given.quick:
        return  # a look is no record
    else:
        path = write_result("roofline", machine(), record)
    where = given.picture or path.with_suffix(".png")
    picture(where, {"device": machine(), **record})
    print(path, where)


if __name__ == "__main__":
    main()
