"""ST-GCN frame by frame against whole windows: cost of one new frame, and that both give the same.

    python benchmarks/models/bench_stream.py [--threads 2] [--window 300]

Random weights at the original size, 25 joints, two bodies: speed only. `clip` is the bundle's own network (padded,
strided) on the whole window; `unpadded clip` is torch's run of what the stream computes.
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


def timed(run, rounds: int) -> list[float]:
    samples = []
    for _ in range(rounds):
        start = time.perf_counter()
        run()
        samples.append(time.perf_counter() - start)
    return samples


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--window", type=int, default=300)
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    model = ski_edge.create_model("stgcn", seed=0, num_classes=120, layout="ntu25")
    random = np.random.default_rng(0)
    clip = random.normal(size=(1, 3, given.window, 25, 2)).astype(np.float32)
    with tempfile.TemporaryDirectory() as folder:
        bundle = ski_edge.export_model(model, Path(folder) / "b")
        native = ski_edge.open_bundle(bundle, "native", "cpu", given.threads)
        onnx = ski_edge.open_bundle(bundle, "onnxruntime", "cpu", given.threads)
        stream = ski_edge.SkeletonStream(bundle, given.window, given.threads)
        frames = list(np.ascontiguousarray(clip[0].transpose(1, 0, 2, 3)))
        for frame in frames:
            found = stream.step(frame)
        with torch.no_grad():
            wanted = model.head(model.unpadded_features(torch.from_numpy(clip))).numpy()[0]
            error = float(np.abs(found["logits"] - wanted).max())
            assert error < 1e-5 * max(1.0, float(np.abs(wanted).max())), error
            runs = {
                "step": timed(lambda: stream.step(frames[0]), 300),
                "clip native": timed(lambda: native.run(skeleton=clip), 10),
                "clip onnxruntime": timed(lambda: onnx.run(skeleton=clip), 10),
                "unpadded clip torch": timed(lambda: model.unpadded_features(torch.from_numpy(clip)), 5),
            }
    stages = {name: asdict(latency(samples[len(samples) // 5 :])) for name, samples in runs.items()}
    step = stages["step"]["p50_ms"]
    record = {
        "weights": "random: speed only",
        "threads": given.threads,
        "window": given.window,
        "bodies": 2,
        "max_abs_error": error,
        "stages": stages,
        "windows_per_step": {name: stage["p50_ms"] / step for name, stage in stages.items() if name != "step"},
    }
    for name, stage in stages.items():
        print(f"{name:20s} p50 {stage['p50_ms']:8.2f} p95 {stage['p95_ms']:8.2f} ms  {stage['p50_ms'] / step:6.1f}x")
    print(write_result("bench_stream", machine(), record))


if __name__ == "__main__":
    main()
