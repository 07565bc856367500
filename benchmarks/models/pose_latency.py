"""Skeleton networks at their original size, one window: ONNX Runtime on the exported graph against torch eager.

    python benchmarks/models/pose_latency.py [MODEL ...]

Random weights: speed only. Every result is checked against torch before it is timed; the peers take turns in one
process.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from dataclasses import asdict
from pathlib import Path

import numpy as np
import torch

import ski_edge
from ski_edge.runtime.measure import latency, machine
from ski_edge.testing.results import write_result

MODELS = ("ctrgcn", "stgcn", "hyperformer")
ROUNDS = 30


def measure_model(name: str, threads: int) -> dict[str, object]:
    """Milliseconds for one person: graph without the empty body, graph with both, torch with both."""
    model = ski_edge.create_model(name, seed=0, num_classes=120, layout="ntu25")
    clip = np.random.default_rng(0).normal(size=(1, 3, 64, 25, 2)).astype(np.float32)
    clip[..., 1] = 0
    tensor = torch.from_numpy(clip)
    with tempfile.TemporaryDirectory() as folder:
        session = ski_edge.open_bundle(ski_edge.export_model(model, Path(folder) / "b"), threads=threads)
        one, two = np.array(1, np.int64), np.array(2, np.int64)
        runs = {
            "onnxruntime_one_body": lambda: session.run(skeleton=clip, persons=one)["logits"],
            "onnxruntime_both_bodies": lambda: session.run(skeleton=clip, persons=two)["logits"],
            "torch_eager_both_bodies": lambda: model(tensor).numpy(),
        }
        with torch.no_grad():
            wanted = model(tensor).numpy()
            for label, run in runs.items():
                error = np.abs(run() - wanted).max() / np.abs(wanted).max()
                assert error < 1e-4, f"{name} {label} is off by {error:.1e}"
            samples: dict[str, list[float]] = {label: [] for label in runs}
            labels = list(runs)
            for number in range(ROUNDS):
                turn = number % len(labels)  # nobody always runs after the same neighbour
                for label in labels[turn:] + labels[:turn]:
                    run = runs[label]
                    run()  # what the last one left in caches and threads is not this one's
                    start = time.perf_counter()
                    run()
                    samples[label].append(time.perf_counter() - start)
        manifest = session.manifest
    stages = {label: latency(seconds) for label, seconds in samples.items()}
    one_ms, two_ms, torch_ms = (stage.p50_ms for stage in stages.values())
    return {
        "stages": {label: asdict(stage) for label, stage in stages.items()},
        "both_over_one": two_ms / one_ms,
        "torch_over_one": torch_ms / one_ms,
        "gmacs_one_body": manifest.cost.gmacs,
        "achieved_gflops_per_s": manifest.cost.gflops / one_ms * 1000,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="*", default=MODELS)
    parser.add_argument("--threads", type=int, default=2)
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    record: dict[str, object] = {"weights": "random: speed only", "threads": given.threads, "models": {}}
    for name in given.models:
        result = measure_model(name, given.threads)
        record["models"][name] = result
        p50 = {label: f"{stage['p50_ms']:.1f}" for label, stage in result["stages"].items()}
        print(f"{name}: p50 ms {p50}, {result['achieved_gflops_per_s']:.0f} GFLOP/s", flush=True)
    print(write_result("pose_latency", machine(), record))


if __name__ == "__main__":
    main()
