"""One op at a time: the native kernel against torch's reference of the same op, eager and compiled.

    python benchmarks/ops/bench_ops.py [--threads 2] [--ops ctr_gc multi_scale_temporal ...]

Shapes are those of the original networks' middle blocks, two bodies. Inputs are time-last and aligned, so the native
ops read them in place; results are checked before anything is timed, and everybody takes turns in one process. The
references are written to be read: how the kernels stand against tuned peers is in `benchmarks/models/bench_pose.py`.
GFLOP/s are of the products that have to be computed; the share is of a probe that only multiplies and adds.
"""

from __future__ import annotations

import argparse
import time
from dataclasses import asdict

import numpy as np
import torch

from ski_edge import _native, ops
from ski_edge.ops import ctr_gc, graph_conv, hyperedge_attention, multi_scale_temporal, taps_conv
from ski_edge.runtime.measure import latency, machine
from ski_edge.testing.results import write_result

JOINTS, BODIES, ROUNDS = 25, 2, 40


def number(*shape: int) -> torch.Tensor:
    return torch.randn(shape) / shape[-1] ** 0.5


def case(name: str) -> tuple[object, type, dict[str, object], tuple[int, ...], int, float]:
    """(module, class, weights, channels of x and residual, frames, multiply-adds per body)."""
    v = JOINTS
    if name == "ctr_gc":
        c, r, s, t = 128, 16, 3, 32
        weights = {
            "relation": number(2 * s * r, c),
            "relation_bias": number(2 * s * r),
            "expand": number(s * c, r),
            "expand_bias": number(s * c),
            "adjacency": number(s, v, v),
            "value": number(s * c, c),
            "value_bias": number(s * c),
            "shift": number(c),
        }
        macs = 2 * s * r * c * v + s * c * r * v * v + s * c * c * v * t + s * c * v * v * t
        return ctr_gc, ops.CtrGc, weights, (c,), t, macs
    if name == "graph_conv":
        c, s, t = 128, 3, 32
        weights = {"graph": number(s, v, v), "value": number(s * c, c), "value_bias": number(s * c), "shift": number(c)}
        return graph_conv, ops.GraphConv, weights, (c,), t, s * c * c * v * t + s * c * v * v * t
    if name == "taps_conv":
        c, t = 128, 32
        weights = {"weight": number(c, c, 9), "bias": number(c)}
        return taps_conv, ops.TapsConv, weights, (c, c), t, 9 * c * c * v * t
    if name == "multi_scale_temporal":
        c, t = 128, 32
        w = c // 4
        weights = {
            "reduce": number(3 * w, c),
            "reduce_bias": number(3 * w),
            "near": number(w, w, 5),
            "far": number(w, w, 5),
            "point": number(w, c),
            "pool_scale": number(w),
            "bias": number(c),
        }
        macs = (3 * w * c + w * c + 10 * w * w) * v * t
        return multi_scale_temporal, ops.MultiScaleTemporal, weights, (c, c), t, macs
    c, t, heads, hops, groups, width = 216, 32, 9, 11, 5, 36
    weights = {
        "qkv": number(3 * c, c),
        "qkv_bias": number(3 * c),
        "group_features": number(c, c),
        "hop_features": number(hops, c),
        "group_weight": number(heads, c // heads),
        "attention_bias": number(heads, v, v),
        "project": number(c, width),
        "project_bias": number(c),
        "group_of": torch.arange(v) % groups,
        "hop_of": (torch.arange(v)[:, None] - torch.arange(v)).abs() % hops,
        "gain": 0.7,
    }
    macs = (3 * c * c * v + groups * c * c + 2 * c * v * v + c * hops * v + width * c * v) * t
    return hyperedge_attention, ops.HyperedgeAttention, weights, (c,), t, macs


NAMES = ("ctr_gc", "graph_conv", "multi_scale_temporal", "taps_conv", "hyperedge_attention")


def aligned(*shape: int) -> torch.Tensor:
    """Random numbers that begin at a multiple of 64 bytes."""
    room = torch.empty(int(np.prod(shape)) + 16)
    first = (-room.data_ptr() % 64) // 4
    return room[first : first + int(np.prod(shape))].view(shape).normal_()


def measure(name: str, threads: int) -> dict[str, object]:
    module, kind, weights, channels, frames, macs = case(name)
    inputs = tuple(aligned(BODIES, c, JOINTS, frames) for c in channels)
    named = dict(zip(("x", "residual"), inputs, strict=False))
    native = kind(**weights, threads=threads)
    compiled = torch.compile(module.reference)
    runs = {
        "native": lambda: native(*inputs),
        "torch eager": lambda: module.reference(**named, **weights),
        "torch.compile": lambda: compiled(**named, **weights),
    }
    if not _native.why_not_bf16():
        half = kind(**weights, threads=threads, isa=_native.bf16_isa())
        runs["native bf16"] = lambda: half(*inputs)
    with torch.no_grad():
        wanted = module.reference(**named, **weights)
        for label, run in runs.items():
            error = float((run() - wanted).abs().max() / wanted.abs().max())
            assert error < (0.03 if "bf16" in label else 1e-4), (name, label, error)
        samples: dict[str, list[float]] = {label: [] for label in runs}
        for _ in range(ROUNDS):
            for label, run in runs.items():
                run()
                start = time.perf_counter()
                run()
                samples[label].append(time.perf_counter() - start)
    stages = {label: asdict(latency(seconds)) for label, seconds in samples.items()}
    gflop = 2 * BODIES * macs / 1e9
    best = min(("torch eager", "torch.compile"), key=lambda label: stages[label]["p50_ms"])
    return {
        "op": name,
        "threads": threads,
        "gflop": gflop,
        "stages": stages,
        "ratio_to_best": {label: stages[best]["p50_ms"] / stages[label]["p50_ms"] for label in stages},
        "gflops_per_s": {label: gflop / stages[label]["p50_ms"] * 1000 for label in stages},
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--ops", nargs="+", choices=NAMES, default=NAMES)
    parser.add_argument("--threads", type=int, default=2)
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    torch.manual_seed(0)
    peaks = {"": _native.peak_gflops(given.threads)}
    if not _native.why_not_bf16():
        peaks["bf16"] = _native.peak_gflops(given.threads, _native.bf16_isa())
    rows = [measure(name, given.threads) for name in given.ops]
    for row in rows:
        print(
            f"{row['op']}, {row['gflop']:.3f} GFLOP, probes "
            + ", ".join(f"{x:.0f}" for x in peaks.values())
            + " GFLOP/s"
        )
        for label, stage in row["stages"].items():
            rate, peak = row["gflops_per_s"][label], peaks["bf16" if "bf16" in label else ""]
            print(
                f"  {label:14s} p50 {stage['p50_ms']:7.3f} p95 {stage['p95_ms']:7.3f} ms  "
                f"{row['ratio_to_best'][label]:5.2f}x  {rate:6.1f} GFLOP/s  {rate / peak:.0%}"
            )
    print(write_result("bench_ops", machine(), {"threads": given.threads, "peak_gflops": peaks, "rows": rows}))


if __name__ == "__main__":
    main()
