"""How fast is this bundle here? Latency of each stage, streaming against re-encoding, memory. No torch.

Every stage is measured in the same process on the same frames, in turns, so that ratios hold although clocks drift.
"""

from __future__ import annotations

import os
import platform
import resource
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from ski_edge.errors import require
from ski_edge.runtime.open import open_bundle
from ski_edge.runtime.preprocess import preprocess_clip, preprocess_frame
from ski_edge.runtime.session import Session
from ski_edge.runtime.stream import FrameStream
from ski_edge.runtime.verify import verify
from ski_edge.testing.clips import moving_shapes

SOURCE_SIZE = (480, 640)  # height, width of the raw frames


@dataclass(frozen=True, slots=True)
class Latency:
    """Milliseconds over `count` runs."""

    count: int
    mean_ms: float
    std_ms: float
    min_ms: float
    p50_ms: float
    p90_ms: float
    p95_ms: float
    p99_ms: float
    max_ms: float


def latency(samples_s: list[float]) -> Latency:
    """Statistics of run times in seconds."""
    ms = np.array(samples_s) * 1000
    p50, p90, p95, p99 = np.percentile(ms, [50, 90, 95, 99])
    return Latency(len(ms), ms.mean(), ms.std(), ms.min(), p50, p90, p95, p99, ms.max())


def _timed(run: Callable[[], object]) -> float:
    start = time.perf_counter()
    run()
    return time.perf_counter() - start


def measure(
    folder: str | Path,
    *,
    backend: str = "auto",
    device: str = "auto",
    threads: int = 0,
    duration_s: float = 10.0,
    warmup: int = 3,
    progress: Callable[[str], None] = lambda step: None,
) -> dict[str, object]:
    """Measure a bundle and return one flat record (JSON-able); parity is checked first, a wrong graph has no speed."""
    began = time.perf_counter()
    session = open_bundle(folder, backend, device, threads)
    opened = time.perf_counter()
    clip = moving_shapes(session.manifest.video.window_frames, *SOURCE_SIZE, seed=1)
    first = time.perf_counter()
    session.encode_frames(clip[:1])
    first_s = time.perf_counter() - first
    progress("checking parity")
    parity = verify(session)
    parity.check()
    progress("measuring")
    stages = _run_stages(session, clip, duration_s, warmup)
    stats = {name: latency(samples) for name, samples in stages.items()}
    manifest = session.manifest
    encode, update, reencode = (stats[name].p50_ms for name in ("encode", "update", "reencode_window"))
    return {
        "model": manifest.model,
        "arch": manifest.arch,
        "task": manifest.task,
        "weights": manifest.provenance.weights,
        "weights_sha256": manifest.provenance.weights_sha256,
        "format": "onnx",
        "backend": session.backend,
        "backend_version": require("onnxruntime", "cpu", "the benchmark").__version__,
        "precision_asked": manifest.precision.asked,
        "precision_realised": manifest.precision.realised,
        "device": machine(session),
        "threads": threads or "default",  # of ONNX Runtime: one per physical core
        "mode": "back-to-back",
        "warmup": warmup,
        "source_size": list(SOURCE_SIZE),
        "window_frames": manifest.video.window_frames,
        "cold_ms": {"open_and_hash": (opened - began) * 1000, "first_frame": first_s * 1000},
        "stages": {name: asdict(value) for name, value in stats.items()},
        "frames_per_second": 1000 / update,
        "update_over_encode": update / encode,
        "reencode_over_update": reencode / update,
        "gmacs": manifest.cost.gmacs,
        "gflops": manifest.cost.gflops,
        "flops_convention": manifest.cost.convention,
        "achieved_gflops_per_s": manifest.cost.gflops / (encode / 1000),
        "params_m": manifest.cost.parameters / 1e6,
        "size_mb": sum(entry.bytes for entry in manifest.files.values()) / 1e6,
        "peak_rss_mb": peak_rss_mb(),
        "parity": parity.as_dict(),
    }


def _run_stages(session: Session, clip: np.ndarray, duration_s: float, warmup: int) -> dict[str, list[float]]:
    """Seconds per run of each stage. One round: a few single frames, then (seldom) a whole window again."""
    spec, labels = session.manifest.preprocessing, session.labels.current
    one, window = preprocess_clip(clip[:1], spec), preprocess_clip(clip, spec)
    stream = FrameStream(session)
    clock = iter(range(1, 1 << 40))
    runs: dict[str, Callable[[], object]] = {
        "preprocess": lambda: preprocess_frame(clip[0], spec),
        "encode": lambda: session.run(one),
        "update": lambda: stream.push(clip[0], next(clock) * stream.every_s),
        "reencode_window": lambda: session.score(session.run(window)["embedding"].mean(0), labels),
    }
    for name, run in runs.items():
        for _ in range(warmup if name != "reencode_window" else 1):
            run()
    while len(stream.window()[0]) < session.manifest.video.window_frames:
        runs["update"]()
    samples: dict[str, list[float]] = {name: [] for name in runs}
    end = time.perf_counter() + duration_s
    while len(samples["reencode_window"]) < 3 or time.perf_counter() < end:
        for _ in range(8):
            for name in ("preprocess", "encode", "update"):
                samples[name].append(_timed(runs[name]))
        samples["reencode_window"].append(_timed(runs["reencode_window"]))
    return samples


def peak_rss_mb() -> float:
    """Highest resident memory of this process so far, in 10^6 bytes."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / 1e6 if sys.platform == "darwin" else peak * 1024 / 1e6


def machine(session: Session | None = None) -> dict[str, object]:
    """What the numbers were measured on."""
    name = platform.processor() or platform.machine()
    info = Path("/proc/cpuinfo")
    if info.is_file():
        names = [
            line.split(":", 1)[1].strip() for line in info.read_text().splitlines() if line.startswith("model name")
        ]
        name = names[0] if names else name
    return {
        "device": str(session.device) if session else "cpu",
        "cpu": name,
        "cores": os.cpu_count(),
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
    }
