"""`ski-edge monitor`: a video or camera becomes activities and events."""

from __future__ import annotations

import contextlib
import re
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import typer

from ski_edge.cli.output import BACKEND, DEVICE, JSON, PRECISION, THREADS, emit, log, seconds
from ski_edge.errors import BadInput, DeviceRefused


def register(app: typer.Typer) -> None:
    app.command("monitor", help="Watch a video file, camera or stream; write events, SQLite, video and timeline.")(
        monitor
    )


def monitor(
    model: Path = typer.Option(..., "-m", "--model", help="Bundle folder, or a shipped name (utd27)."),
    source: str = typer.Option(
        ..., "-s", "--source", help="0 (USB camera), a video file, rtsp://..., or replay:FILE that --record wrote."
    ),
    out: Path = typer.Option(None, help="Folder for the results. Default: runs/monitor/NAME."),
    labels: str = typer.Option(None, help="Label file (watched while running), a,b,c, ntu60 or ntu120."),
    every: str = typer.Option(None, help="Time between updates, 0.5s or 200ms. Default: by the bundle's window."),
    conf: float = typer.Option(0.5, help="Smoothed score a label needs to become the activity."),
    conf_leave: float = typer.Option(None, help="Score below which it is given up. Default: 0.7 x conf."),
    smooth: float = typer.Option(1.0, help="Smoothing time constant in seconds; 0: none."),
    pose: str = typer.Option(
        None, help="For pose bundles: mediapipe (default), mediapipe:FILE or onnx:FILE, a pose network."
    ),
    persons: int = typer.Option(None, help="Most people to find at once. Default: 4."),
    mirrored: bool = typer.Option(False, "--mirrored", help="The source is flipped (selfie view): left is right."),
    record: Path = typer.Option(None, help="Write the skeletons to FILE, for --source replay:FILE."),
    camera: str = typer.Option("camera", help="Name of the camera in events."),
    save_video: bool = typer.Option(
        None, "--save-video/--no-save-video", help="Write annotated.mp4. Default: for files yes, for cameras no."
    ),
    show: bool = typer.Option(False, "--show/--headless", help="Show the picture in a window, or (default) not."),
    realtime: bool = typer.Option(False, "--realtime", help="Play files at recorded speed, dropping what is late."),
    duration: str = typer.Option(None, help="Stop after this much source time: 30s, 10m."),
    timeout: str = typer.Option("10s", help="How long to wait for a camera or stream."),
    overwrite: bool = typer.Option(False, "--overwrite", help="Replace an earlier run in --out."),
    backend: str = BACKEND,
    device: str = DEVICE,
    threads: int = THREADS,
    precision: str = PRECISION,
    as_json: bool = JSON,
) -> None:
    from ski_edge.bundle.labels import label_file, read_labels
    from ski_edge.monitor import ActivityRules, Monitor, MonitorOptions
    from ski_edge.monitor.pipeline import claim_out, prepare_out
    from ski_edge.monitor.scene import not_for_pictures
    from ski_edge.monitor.status import StatusLine
    from ski_edge.runtime import open_bundle

    timeout_s = seconds(timeout, "--timeout")
    options = MonitorOptions(
        out=out or next_folder(Path("runs/monitor"), source_name(source)),
        every_s=seconds(every, "--every") if every else None,
        rules=ActivityRules(conf, conf_leave if conf_leave is not None else 0.7 * conf, smooth),
        labels_file=label_file(labels) if labels else None,
        camera=check_camera(camera),
        realtime=realtime,
        save_video=bool(save_video),
        window=show,
        duration_s=seconds(duration, "--duration") if duration else None,
        record=record,
    )
    prepare_out(options.out, overwrite)
    check_record(record, overwrite)
    if show:
        check_window()
    new_labels = read_labels(labels) if labels else None
    check_source(source, timeout_s)  # a wrong path is said before seconds go into the bundle
    session = open_bundle(model, backend, device, threads, precision)
    with contextlib.ExitStack() as stack:
        if session.manifest.task == "skeleton":
            if labels:
                raise BadInput("--labels: the classes of a pose bundle are fixed; leave it away")
            estimator = pose_estimator(source, pose, persons, mirrored, device, threads)
        else:
            estimator = None
            if pose or persons is not None or mirrored or record or is_replay(source):
                raise not_for_pictures(session.manifest.model)
            if new_labels is not None:
                session.labels.replace(new_labels)
        if estimator is not None:
            stack.callback(estimator.close)
        # Opened last: a live source must not fill its buffers while the bundle loads.
        opened = open_any(source, timeout_s)
        if save_video is None:
            options = replace(options, save_video=not opened.live and not is_replay(source))
        run = Monitor(session, opened, options, estimator)
        # A bundle that cannot run shows now, before an earlier run's files are removed.
        run.watch.rehearse(opened.first)
        if not as_json:
            log(_heading(run, opened))
            for note in run.watch.notes():
                log(f"note: {note}")
        status = StatusLine(quiet=as_json)
        stack.callback(status.close)
        with claim_out(options.out):
            if record is not None and overwrite:
                record.unlink(missing_ok=True)
            summary = run.run(status)
    emit(asdict(summary), as_json, lambda: _text(summary, options.out))


def check_camera(name: str) -> str:
    """Camera names appear in files, topics and addresses: letters, digits, - and _ only."""
    if not re.fullmatch(r"[a-zA-Z0-9_-]+", name):
        raise BadInput(f"--camera {name!r} may hold letters, digits, - and _ only")
    return name


def is_replay(source: str) -> bool:
    return source.startswith("replay:")


def open_any(source: str, timeout_s: float) -> Any:
    """A camera, file or stream, or `replay:FILE`."""
    from ski_edge.monitor import open_source
    from ski_edge.monitor.trace import ReplaySource

    if is_replay(source):
        file = source.removeprefix("replay:")
        if not file:
            raise BadInput("--source replay: needs a file, replay:FILE, that --record wrote")
        return ReplaySource(Path(file))
    return open_source(source, timeout_s)


def check_source(source: str, timeout_s: float) -> None:
    """Files are opened and closed again; cameras and streams are left for later."""
    from ski_edge.monitor.sources import is_camera

    if "://" not in source and not is_camera(source):
        open_any(source, timeout_s).close()


def check_record(record: Path | None, overwrite: bool) -> None:
    """Said before anything is opened or removed."""
    if record is None:
        return
    if (record.exists() and not record.is_file()) or record.is_symlink():
        raise BadInput(f"--record {record} is no plain file; give the name of a new one")
    if record.exists() and not overwrite:
        raise BadInput(f"--record {record} exists; give another name, or --overwrite")
    if not record.parent.is_dir():
        raise BadInput(f"--record {record}: its folder does not exist; make it first")


def pose_estimator(
    source: str, pose: str | None, persons: int | None, mirrored: bool, device: str, threads: int
) -> Any:
    """What turns the source's pictures into bodies; None for a replay. The caller closes it."""
    from ski_edge.monitor.pose import open_estimator

    if not is_replay(source):
        return open_estimator(pose or "mediapipe", 4 if persons is None else persons, mirrored, device, threads)
    if pose or persons is not None or mirrored:
        raise BadInput("--pose, --persons and --mirrored were settled when the replay was recorded; leave them away")
    return None


def check_window() -> None:
    from ski_edge.monitor.picture import why_no_window

    if reason := why_no_window():
        raise DeviceRefused(f"--show: {reason}")


def source_name(source: str) -> str:
    """A folder name for the results of a source."""
    if is_replay(source):
        return Path(source.removeprefix("replay:")).stem
    return "stream" if "://" in source else f"camera{source}" if source.isdecimal() else Path(source).stem


def _heading(run: Any, source: Any) -> str:
    manifest = run.session.manifest
    return (
        f"{manifest.model} {manifest.arch} ({manifest.provenance.weights}), {len(run.watch.names)} labels, "
        f"one update each {run.watch.every_s:g} s, window {run.watch.window_s:g} s | "
        f"{source.name}: {source.size[1]}x{source.size[0]}, {source.fps:.3g} fps | Ctrl-C ends"
    )


def next_folder(parent: Path, name: str) -> Path:
    """parent/name, parent/name2, parent/name3: the first that does not exist."""
    number = 1
    while (folder := parent / (name if number == 1 else f"{name}{number}")).exists():
        number += 1
    return folder


def _text(summary: Any, out: Path) -> str:
    files = sorted(p.name for p in out.iterdir() if not p.name.startswith("."))
    dropped = f", {summary.dropped} frames dropped ({summary.missed} updates)" if summary.dropped else ""
    return (
        f"{summary.seconds:.1f} s of video in {summary.wall_s:.1f} s: {summary.frames} frames, "
        f"{summary.updates} updates (p50 {summary.update_p50_ms:.1f} ms, p95 {summary.update_p95_ms:.1f} ms)"
        f"{dropped}, {summary.events} events; {summary.stopped}\n{out}: {', '.join(files)}"
    )
