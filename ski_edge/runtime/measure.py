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

from ski_edge.runtime.open import open_bundle
from ski_edge.runtime.pose_session import PoseSession
from ski_edge.runtime.preprocess import preprocess_clip, preprocess_frame
from ski_edge.runtime.session import Session
from ski_edge.runtime.stream import FrameStream
from ski_edge.runtime.verify import verify
from ski_edge.runtime.video_sessions import ClipSession, FrameSession
from ski_edge.skeleton import prepare
from ski_edge.testing.clips import moving_shapes
from ski_edge.testing.skeletons import moving_skeleton

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
    precision: str = "fp32",
    duration_s: float = 10.0,
    warmup: int = 3,
    progress: Callable[[str], None] = lambda step: None,
) -> dict[str, object]:
    """Measure a bundle and return one flat record (JSON-able); parity is checked first, a wrong graph has no speed."""
    began = time.perf_counter()
    session = open_bundle(folder, backend, device, threads, precision)
    opened = time.perf_counter()
    if isinstance(session, PoseSession):
        first, stages, more = _first_window, _run_pose_stages, _about_pose
    elif isinstance(session, FrameSession):
        first, stages, more = _first_update, _run_stages, _about_frames
    else:
        first, stages, more = _first_update, _run_clip_stages, _about_clips
    first_s = first(session)
    progress("checking parity")
    parity = verify(session)
    parity.check()
    progress("measuring")
    stats = {name: latency(samples) for name, samples in stages(session, duration_s, warmup).items()}
    manifest = session.manifest
    return {
        "model": manifest.model,
        "arch": manifest.arch,
        "task": manifest.task,
        "weights": manifest.provenance.weights,
        "weights_sha256": manifest.provenance.weights_sha256,
        "format": "onnx" if session.backend == "onnxruntime" else "safetensors",
        "backend": session.backend,
        "backend_version": session.backend_version,
        "precision_asked": manifest.precision.asked,
        "precision_computed": precision,
        "precision_realised": manifest.precision.realised,
        "device": machine(session),
        "threads": threads or "default",  # one per core
        "mode": "back-to-back",
        "warmup": warmup,
        "cold_ms": {"open_and_hash": (opened - began) * 1000, "first": first_s * 1000},
        "stages": {name: asdict(value) for name, value in stats.items()},
        **more(session, stats),
        "gmacs": manifest.cost.gmacs,
        "gflops": manifest.cost.gflops,
        "flops_convention": manifest.cost.convention,
        "params_m": manifest.cost.parameters / 1e6,
        "size_mb": sum(entry.bytes for entry in manifest.files.values()) / 1e6,
        "peak_rss_mb": peak_rss_mb(),
        "parity": parity.as_dict(),
    }


def _first_update(session: Session) -> float:
    frame = moving_shapes(1, *SOURCE_SIZE, seed=1)[0]
    return _timed(lambda: FrameStream(session).push(frame, 0.0))


def _first_window(session: PoseSession) -> float:
    clip = _skeleton(session, 0)
    return _timed(lambda: session.classify([clip]))


def _about_frames(session: FrameSession, stats: dict[str, Latency]) -> dict[str, object]:
    encode, update, reencode = (stats[name].p50_ms for name in ("encode", "update", "reencode_window"))
    return {
        "source_size": list(SOURCE_SIZE),
        "window_frames": session.manifest.video.window_frames,
        "updates_per_second": 1000 / update,
        "update_over_encode": update / encode,
        "reencode_over_update": reencode / update,
        "achieved_gflops_per_s": session.manifest.cost.gflops / (encode / 1000),
    }


def _about_clips(session: ClipSession, stats: dict[str, Latency]) -> dict[str, object]:
    clip, update, preprocess = (stats[name].p50_ms for name in ("clip", "update", "preprocess"))
    stream = FrameStream(session)  # at its own pace: between two updates, other frames are preprocessed
    work_ms = update + (stream.every_s / stream.sample_s - 1) * preprocess
    return {
        "source_size": list(SOURCE_SIZE),
        "window_frames": session.manifest.video.window_frames,
        "labels": len(session.labels.current.names),
        "updates_per_second": 1000 / update,
        "update_over_clip": update / clip,
        "every_s": stream.every_s,
        "busy": work_ms / 1000 / stream.every_s,  # share of the time spent computing; above 1 it falls behind
        "achieved_gflops_per_s": session.manifest.cost.gflops / (clip / 1000),
    }


def _about_pose(session: PoseSession, stats: dict[str, Latency]) -> dict[str, object]:
    return {
        "window_frames": session.manifest.skeleton.resample.frames,
        "updates_per_second": 1000 / stats["window"].p50_ms,
        "four_people_over_one": stats["four_people"].p50_ms / stats["window"].p50_ms,
        "achieved_gflops_per_s": session.manifest.cost.gflops / (stats["network"].p50_ms / 1000),
    }


def _skeleton(session: PoseSession, seed: int) -> np.ndarray:
    """Two and a bit seconds of one generated person."""
    return moving_skeleton(session.manifest.skeleton.layout, 75, seed=seed)


def _run_pose_stages(session: PoseSession, duration_s: float, warmup: int) -> dict[str, list[float]]:
    """Seconds per run of each stage, in turns."""
    spec = session.manifest.skeleton
    clips = [_skeleton(session, seed) for seed in range(4)]
    one = {"skeleton": prepare(clips[0], spec)[None]}
    if session.manifest.takes_persons:
        one["persons"] = np.array(1, np.int64)
    runs: dict[str, Callable[[], object]] = {
        "prepare": lambda: prepare(clips[0], spec),
        "network": lambda: session.run(**one),
        "window": lambda: session.score(session.classify(clips[:1])),
        "four_people": lambda: session.score(session.classify(clips)),
    }
    for run in runs.values():
        for _ in range(warmup):
            run()
    samples: dict[str, list[float]] = {name: [] for name in runs}
    end = time.perf_counter() + duration_s
    while len(samples["window"]) < 5 or time.perf_counter() < end:
        for name, run in runs.items():
            samples[name].append(_timed(run))
    return samples


def _run_clip_stages(session: ClipSession, duration_s: float, warmup: int) -> dict[str, list[float]]:
    """Seconds per run of each stage, in turns. The stream's window is full: every frame of the clip is another one."""
    spec, labels = session.manifest.preprocessing, session.labels.current
    frames = moving_shapes(session.manifest.video.window_frames, *SOURCE_SIZE, seed=1)
    window = preprocess_clip(frames, spec)
    stream = FrameStream(session, session.manifest.video.period_s)  # every kept frame is an update
    clock = iter(range(1, 1 << 40))
    runs: dict[str, Callable[[], object]] = {
        "preprocess": lambda: preprocess_frame(frames[0], spec),
        "clip": lambda: session.score_window(window, labels),
        "update": lambda: stream.push(frames[0], next(clock) * stream.every_s),
    }
    for run in runs.values():
        for _ in range(warmup):
            run()
    while len(stream.window()[0]) < len(frames):
        stream.push(frames[0], next(clock) * stream.every_s)
    samples: dict[str, list[float]] = {name: [] for name in runs}
    end = time.perf_counter() + duration_s
    while len(samples["update"]) < 5 or time.perf_counter() < end:
        for name, run in runs.items():
            samples[name].append(_timed(run))
    return samples


def _run_stages(session: FrameSession, duration_s: float, warmup: int) -> dict[str, list[float]]:
    """Seconds per run of each stage. One round: a few single frames, then (seldom) a whole window again."""
    spec, labels = session.manifest.preprocessing, session.labels.current
    clip = moving_shapes(session.manifest.video.window_frames, *SOURCE_SIZE, seed=1)
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


def machine(session: Session | PoseSession | None = None) -> dict[str, object]:
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
