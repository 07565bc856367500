"""`ski-edge benchmark`: latency, throughput, cost and memory of a bundle on this machine."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import typer

from ski_edge.cli.output import BACKEND, DEVICE, JSON, PRECISION, THREADS, emit, log, seconds, steps, table

_STAGES = {
    "preprocess": "preprocess one 640x480 frame",
    "encode": "encode one frame (graph only)",
    "update": "stream update (preprocess, encode, score)",
    "reencode_window": "encode the whole window again",
    "clip": "score one clip (graph, labels)",
    "prepare": "prepare one skeleton window",
    "network": "network, one window (graph only)",
    "window": "one person's window (prepare, network, scores)",
    "four_people": "four people's windows in one batch",
}


def register(app: typer.Typer) -> None:
    app.command("benchmark", help="Measure a bundle here: latency, frames/s, GMACs, memory; table, JSON, picture.")(
        benchmark
    )


def benchmark(
    model: Path = typer.Option(..., "-m", "--model", help="Bundle folder or shipped name."),
    out: Path = typer.Option(None, help="Folder for benchmark.json and benchmark.png. Default: runs/benchmark/NAME."),
    duration: str = typer.Option("10s", help="Measuring time."),
    warmup: int = typer.Option(3, min=0, help="Runs of each stage before measuring."),
    backend: str = BACKEND,
    device: str = DEVICE,
    threads: int = THREADS,
    precision: str = PRECISION,
    as_json: bool = JSON,
) -> None:
    from ski_edge.bundle import read_manifest
    from ski_edge.errors import MissingDependency
    from ski_edge.files import write_json
    from ski_edge.runtime import find_bundle
    from ski_edge.runtime.measure import measure

    out = out or Path("runs/benchmark") / model.resolve().name
    read_manifest(find_bundle(model))  # before the folder is made
    duration_s = seconds(duration, "--duration")
    with _folder(out), steps(quiet=as_json) as step:
        record = measure(
            model,
            backend=backend,
            device=device,
            threads=threads,
            precision=precision,
            duration_s=duration_s,
            warmup=warmup,
            progress=step,
        )
    write_json(out / "benchmark.json", record)
    try:
        _picture(record, out / "benchmark.png")
    except MissingDependency as error:
        log(f"note: no picture: {error}")
    emit(record, as_json, lambda: _text(record, out))


@contextlib.contextmanager
def _folder(out: Path) -> Iterator[None]:
    """Make it before minutes are spent measuring; where nothing could be measured, no new folder stays behind."""
    new = not out.exists()
    out.mkdir(parents=True, exist_ok=True)
    try:
        yield
    except BaseException:
        if new:
            with contextlib.suppress(OSError):
                out.rmdir()
        raise


def _text(record: dict[str, Any], out: Path) -> str:
    columns = ("p50_ms", "p90_ms", "p95_ms", "p99_ms", "max_ms")
    rows = [
        [_STAGES[name], *(f"{stage[c]:.2f}" for c in columns), str(stage["count"])]
        for name, stage in record["stages"].items()
    ]
    device = record["device"]
    title = (
        f"{record['model']} {record['arch']}, {record['precision_asked']}, {record['backend']} "
        f"{record['backend_version']} on {device['device']} ({device['cpu']}, {record['threads']} threads)"
    )
    cold = record["cold_ms"]
    return "\n".join(
        [
            table(title, ["milliseconds", "p50", "p90", "p95", "p99", "max", "runs"], rows),
            _ratios(record),
            f"{record['gmacs']:.3f} GMACs = {record['gflops']:.3f} GFLOPs ({record['flops_convention']}), "
            f"{record['achieved_gflops_per_s']:.0f} GFLOP/s reached",
            f"{record['params_m']:.1f} M parameters, bundle {record['size_mb']:.1f} MB, peak memory "
            f"{record['peak_rss_mb']:.0f} MB, cold start {cold['open_and_hash']:.0f} ms to open and check hashes, "
            f"{cold['first']:.0f} ms for the first run",
            *(["weights are random: speed only"] if record["weights"].startswith("random") else []),
            f"{out}: benchmark.json" + (", benchmark.png" if (out / "benchmark.png").exists() else ""),
        ]
    )


def _ratios(record: dict[str, Any]) -> str:
    speed = f"{record['updates_per_second']:.1f} updates/s"
    if record["task"] == "skeleton":
        return f"{speed}; four people cost {record['four_people_over_one']:.2f} of one"
    if "clip" in record["stages"]:
        return (
            f"{speed}; an update costs {record['update_over_clip']:.3f} of a clip ({record['window_frames']} frames, "
            f"{record['labels']} labels); with one each {record['every_s']:.3g} s this machine is busy "
            f"{100 * record['busy']:.1f} % of the time"
        )
    return (
        f"{speed}; an update costs {record['update_over_encode']:.3f} of one frame's encoding; encoding all "
        f"{record['window_frames']} frames again costs {record['reencode_over_update']:.1f} updates"
    )


def _picture(record: dict[str, Any], path: Path) -> None:
    """Horizontal bars: p50, with a line to p95, on a logarithmic axis."""
    from ski_edge.errors import require

    require("matplotlib", "plot", "the picture")
    from matplotlib.figure import Figure

    stages = record["stages"]
    names = [_STAGES[name] for name in stages]
    p50 = [stage["p50_ms"] for stage in stages.values()]
    p95 = [stage["p95_ms"] for stage in stages.values()]
    figure = Figure(figsize=(9, 2.8), layout="constrained")
    axes = figure.subplots()
    axes.barh(names, p50, color=["#9aa5b1", "#5b8bc9", "#3c9a5f", "#c97b5b"])
    axes.hlines(range(len(names)), p50, p95, color="#222222", linewidth=1.5)
    for row, (low, high) in enumerate(zip(p50, p95, strict=True)):
        axes.annotate(f"{low:.2f} ms (p95 {high:.2f})", (high, row), (4, 0), textcoords="offset points", va="center")
    axes.set_xscale("log")
    axes.set_xlim(min(p50) * 0.7, max(p95) * 8)
    axes.invert_yaxis()
    axes.set_xlabel("milliseconds, p50; line to p95")
    axes.set_title(
        f"{record['model']} {record['arch']} on {record['device']['cpu']}", fontsize=10, loc="left", parse_math=False
    )
    figure.savefig(path, dpi=110)
