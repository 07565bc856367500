"""The monitor: frames -> windows -> activities -> events, video, timeline. One readable loop.

What is recognised is a `Watch`: the whole picture with a video-text bundle, every person with a pose bundle.
"""

from __future__ import annotations

import contextlib
import fcntl
import math
import os
import signal
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from types import FrameType
from typing import Any

import numpy as np

from ski_edge.bundle.labels import read_label_file
from ski_edge.bundle.manifest import MANIFEST
from ski_edge.errors import BadInput, SkiEdgeError, require
from ski_edge.files import sha256_file, write_json
from ski_edge.monitor.activity import ActivityRules, Report, Watch, check_choices
from ski_edge.monitor.people import People
from ski_edge.monitor.picture import Annotator, VideoFile, draw_timeline, part_file
from ski_edge.monitor.pose import Estimator
from ski_edge.monitor.scene import Scene, not_for_pictures
from ski_edge.monitor.sources import Frame, FrameReader, Source, check_name
from ski_edge.monitor.store import DATABASE_FILE, EVENTS_FILE, Event, EventStore, read_events
from ski_edge.monitor.trace import ReplaySource
from ski_edge.runtime import PoseSession, Sampler, Session

SUMMARY_FILE, VIDEO_FILE, TIMELINE_FILE = "summary.json", "annotated.mp4", "timeline.png"
_RECENT = 512  # updates behind the latency percentiles of the status line
_TRACE = 4096  # points of the timeline; beyond, every second one is forgotten, so days fit in memory


@dataclass(frozen=True, slots=True)
class MonitorOptions:
    """What a run does besides recognising."""

    out: Path
    every_s: float | None = None  # seconds between updates; None: what suits the bundle's window
    rules: ActivityRules = field(default_factory=ActivityRules)
    labels_file: Path | None = None  # re-read while running when it changes
    camera: str = "camera"  # name in events
    realtime: bool = False  # files at recorded speed
    save_video: bool = False
    window: bool = False  # show the picture on the screen
    duration_s: float | None = None  # stop after this many seconds of source time
    record: Path | None = None  # new file for the skeletons that were seen (pose bundles)


@dataclass(slots=True)
class Summary:
    """What happened; written as summary.json."""

    source: str
    seconds: float = 0.0  # of source time
    wall_s: float = 0.0
    frames: int = 0  # decoded
    updates: int = 0
    dropped: int = 0  # frames thrown away because recognition was behind
    missed: int = 0  # those of them that were due: updates that did not happen
    broken: int = 0  # frames the decoder could not make a picture of
    lost: int = 0  # frames the file promised and does not have
    expected_frames: int | None = None
    events: int = 0
    update_p50_ms: float = 0.0
    update_p95_ms: float = 0.0
    lag_p95_ms: float = 0.0  # frame decoded -> state known
    stopped: str = "end of source"
    out: str = ""
    notes: list[str] = field(default_factory=list)


class Monitor:
    """One source, one bundle, one run."""

    def __init__(
        self,
        session: Session | PoseSession,
        source: Source | ReplaySource,
        options: MonitorOptions,
        estimator: Estimator | None = None,
    ) -> None:
        """estimator: for pose bundles; a replay brings its bodies along and needs none."""
        self.session, self.source, self.options = session, source, options
        self.watch = open_watch(session, source, options, estimator)
        self.summary = Summary(source.name, expected_frames=source.expected_frames, out=str(options.out))
        self.update_s: deque[float] = deque(maxlen=_RECENT)
        self._lag_s: deque[float] = deque(maxlen=_RECENT)
        self._trace: list[tuple[float, int | None, float]] = []
        self._trace_stride = 1
        self._stop_reason = ""
        self._reader: FrameReader | None = None
        self._labels_mtime = _mtime(options.labels_file)
        self._epoch = source.epoch

    def stop(self, reason: str) -> None:
        """Ask the loop to end, also while no frame arrives; safe from a signal handler."""
        self._stop_reason = self._stop_reason or reason
        if self._reader is not None:
            self._reader.stop()

    def run(self, on_status: Callable[[Monitor], None] = lambda monitor: None) -> Summary:
        """Process the source to its end, to `stop`, or to Ctrl-C; finish all files either way."""
        self.options.out.mkdir(parents=True, exist_ok=True)
        began = time.monotonic()
        with contextlib.ExitStack() as stack:
            store = self._open_store()
            stack.callback(self._finish, began, store)
            stack.callback(self.watch.close)
            if self.options.record is not None:
                self.watch.record(self.options.record, self.source)
            self._compare_bundles()
            annotator, video = self._open_video(stack)
            self._reader = self._open_reader(every_picture=annotator is not None)
            stack.callback(self._reader.close)
            stack.enter_context(_signals(self))
            try:
                for frame in self._reader:
                    self._frame(frame, store)
                    if annotator is not None:
                        self._show(self.watch.draw(annotator, frame), video, frame.timestamp)
                    on_status(self)
                if not self._stop_reason:
                    self.summary.seconds = self.source.seconds
            except BaseException as error:
                self.stop(f"failed: {error!r}")
                raise
        return self.summary

    def _open_store(self) -> EventStore:
        manifest = self.session.manifest
        return EventStore(
            self.options.out,
            started_at=time.time(),
            clock="unix" if self._epoch else "media",
            source=self.source.name,
            model=f"{manifest.model} {manifest.arch}",
            weights=manifest.provenance.weights,
        )

    def _compare_bundles(self) -> None:
        if not isinstance(self.source, ReplaySource):
            return
        recorded = self.source.header
        if not self.source.whole:
            self.note(f"{self.source.name}: the recording was cut short; this is what there is of it")
        if recorded.model_sha256 != sha256_file(self.session.folder / MANIFEST):
            self.note(f"recorded with another bundle ({recorded.model}), so its decisions may have been others")
        now = {"every_s": self.watch.every_s, **asdict(self.options.rules)}
        for key in sorted(now.keys() & recorded.config.keys()):
            if now[key] != recorded.config[key]:
                self.note(f"recorded with {key} {recorded.config[key]}, replayed with {now[key]}: decisions may differ")

    def _open_video(self, stack: contextlib.ExitStack) -> tuple[Annotator | None, VideoFile | None]:
        if not (self.options.save_video or self.options.window):
            return None, None
        annotator = Annotator(*self.source.size)
        if not self.options.save_video:
            return annotator, None
        video = VideoFile(self.options.out / VIDEO_FILE, annotator.size, self.source.fps)
        stack.callback(video.close)
        return annotator, video

    def _open_reader(self, every_picture: bool) -> FrameReader:
        live = self.source.live
        return FrameReader(
            self.source,
            "drop-oldest" if live or self.options.realtime else "block",
            paced=self.options.realtime and not live,
            sampler=Sampler(self.watch.sample_s),
            only_due=not every_picture,
            depth=self._queue_depth(every_picture),
        )

    def _queue_depth(self, every_picture: bool) -> int:
        """What waits is what the answer is late by: a quarter of a second of all frames, or two due ones. Where an
        update needs several (whole clips), those of one update, so that computing it leaves no hole in the window."""
        if every_picture:
            return 8
        sample_s, every_s = self.watch.sample_s, self.watch.every_s
        return max(2, math.ceil(every_s / sample_s) + 1) if sample_s > 0 else 2

    def _frame(self, frame: Frame, store: EventStore) -> None:
        summary = self.summary
        summary.seconds = frame.timestamp
        if self.options.duration_s is not None and frame.timestamp >= self.options.duration_s:
            self.stop("--duration reached")
        started, updates = time.perf_counter(), self.watch.updates
        for report in self.watch.see(frame):
            self._record(report, store)
        summary.updates = self.watch.updates
        if not frame.due:
            return
        self.update_s.append(time.perf_counter() - started)
        self._lag_s.append(time.monotonic() - frame.arrived)
        if self.watch.updates > updates:
            self._watch_labels()

    def _record(self, report: Report, store: EventStore) -> None:
        """A change of state closes one event and opens the next."""
        state = report.state
        if report.news == "end":
            store.end(self._epoch + report.timestamp, report.track)
        elif report.news == "same":
            store.progress(state.score, self._explain(report), report.track)
        else:
            store.start(self._event(report))
        if report.news in ("same", "change") and self.watch.updates % self._trace_stride == 0:
            self._trace.append((self._epoch + report.timestamp, report.track, state.best))
        if len(self._trace) > _TRACE:
            self._trace, self._trace_stride = self._trace[::2], self._trace_stride * 2

    def _event(self, report: Report) -> Event:
        score = report.state.score
        return Event(
            camera=self.options.camera,
            label=report.state.label,
            score=score,
            top_score=score,
            start_time=self._epoch + report.timestamp,
            model=self.session.manifest.model,
            labels_version=self.watch.labels_version,
            explain=self._explain(report),
            track=report.track,
        )

    @staticmethod
    def _explain(report: Report) -> dict[str, object]:
        return {"top": report.state.top(), "why": report.state.why}

    def _watch_labels(self) -> None:
        """Take over an edited label file; a bad one is reported and the labels stay."""
        path = self.options.labels_file
        now = _mtime(path)
        if path is None or now in (0.0, self._labels_mtime):  # 0: gone, or being replaced by an editor
            return
        self._labels_mtime = now
        try:
            wanted = read_label_file(path)
            check_choices(wanted)
            labels = self.session.labels.replace(wanted)
            self.note(f"labels changed at {self.summary.seconds:.1f} s: {len(labels.names)} (version {labels.version})")
        except SkiEdgeError as error:
            self.note(f"labels kept: {error}")

    def note(self, text: str) -> None:
        """Something a person should know: on stderr now, in summary.json later."""
        self.summary.notes.append(text)
        print(f"\nnote: {text}", file=sys.stderr)  # noqa: T201 - stderr is the log

    def _show(self, picture: np.ndarray, video: VideoFile | None, timestamp: float) -> None:
        if video is not None:
            video.write(picture, timestamp)
        if self.options.window:
            cv2 = require("cv2", "video", "the window")
            cv2.imshow("ski-edge", picture)
            if cv2.waitKey(1) & 0xFF in (27, ord("q")):
                self.stop("closed by the user")

    def _finish(self, began: float, store: EventStore) -> None:
        """Close the books: the last event's end, the summary, the timeline. Runs however the loop ended."""
        try:
            store.end_all(self._epoch + self.summary.seconds)
        finally:
            store.close()
        summary, stats = self.summary, self.source.stats
        summary.wall_s = time.monotonic() - began
        summary.events = store.count
        summary.frames, summary.broken = stats.decoded, stats.broken
        summary.dropped, summary.missed = stats.dropped, stats.missed
        ended = "the stream ended (there is no reconnection yet)" if self.source.live else "end of source"
        summary.stopped = self._stop_reason or ended
        if not self._stop_reason:
            summary.lost = self.source.lost
        if summary.lost:
            share = 100 * summary.lost / (self.source.expected_frames or 1)
            self.note(
                f"{self.source.name}: {stats.decoded} of {self.source.expected_frames} frames decode, "
                f"{summary.lost} are lost ({share:.0f} %): the file is damaged or cut short"
            )
        summary.update_p50_ms, summary.update_p95_ms = percentiles_ms(self.update_s)
        summary.lag_p95_ms = percentiles_ms(self._lag_s)[1]
        self._timeline()
        write_json(self.options.out / SUMMARY_FILE, asdict(summary))

    def _timeline(self) -> None:
        title = f"{self.source.name} · {self.session.manifest.model} {self.session.manifest.arch}"
        events, enter = read_events(self.options.out), self.options.rules.enter
        try:
            draw_timeline(self.options.out / TIMELINE_FILE, events, self._trace, title, enter)
        except Exception as error:  # a picture must never cost the summary
            self.note(f"no {TIMELINE_FILE}: {error}")


def open_watch(
    session: Session | PoseSession,
    source: Source | ReplaySource,
    options: MonitorOptions,
    estimator: Estimator | None,
) -> Watch:
    """What this bundle recognises in this source; BadInput where they do not go together."""
    if session.manifest.task == "skeleton":
        if options.labels_file is not None:
            raise BadInput("--labels: the classes of a pose bundle are fixed; leave it away")
        if isinstance(source, ReplaySource):
            if options.record is not None:
                raise BadInput("--record of a replay would only copy it; copy the file")
            layout = source.layout
        elif estimator is None:
            raise BadInput("a pose bundle needs --pose (mediapipe, mediapipe:FILE or onnx:FILE) or a replay: source")
        else:
            layout = estimator.layout
        return People(session, layout, options.rules, estimator=estimator, every_s=options.every_s)
    if estimator is not None or options.record is not None or isinstance(source, ReplaySource):
        raise not_for_pictures(session.manifest.model)
    return Scene(session, options.rules, options.every_s)


def percentiles_ms(seconds: deque[float]) -> tuple[float, float]:
    """(p50, p95) in milliseconds; zeros when there is nothing yet."""
    if not seconds:
        return 0.0, 0.0
    p50, p95 = np.percentile(np.array(seconds) * 1000, [50, 95])
    return float(p50), float(p95)


def prepare_out(out: Path, overwrite: bool) -> None:
    """Refuse to mix two runs; called before anything is opened, writes nothing."""
    check_name(str(out), "--out")
    if out.is_symlink() or (out.exists() and not out.is_dir()):
        raise BadInput(f"--out {out} exists and is not a folder; give a folder")
    if out.is_dir() and any(out.iterdir()):
        if not (out / SUMMARY_FILE).exists() and not (out / EVENTS_FILE).exists():
            raise BadInput(f"--out {out} holds other files; give a new folder")
        if not overwrite:
            raise BadInput(f"--out {out} already holds a run; give another folder, or --overwrite")


@contextlib.contextmanager
def claim_out(out: Path) -> Iterator[None]:
    """Make `out`, keep other monitors out of it while the block runs, and remove an earlier run's files."""
    out.mkdir(parents=True, exist_ok=True)
    handle = os.open(out, os.O_RDONLY)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise BadInput(f"--out {out} is in use by another monitor; give another folder") from error
        database = [DATABASE_FILE + suffix for suffix in ("", "-wal", "-shm")]
        for name in (EVENTS_FILE, *database, SUMMARY_FILE, VIDEO_FILE, part_file(out / VIDEO_FILE).name, TIMELINE_FILE):
            (out / name).unlink(missing_ok=True)
        yield
    finally:
        os.close(handle)


def _mtime(path: Path | None) -> float:
    try:
        return path.stat().st_mtime if path is not None else 0.0
    except OSError:
        return 0.0


class _signals:
    """Ctrl-C and SIGTERM end the run cleanly instead of killing it; a second Ctrl-C kills."""

    def __init__(self, monitor: Monitor) -> None:
        self._monitor = monitor
        self._before: dict[int, Any] = {}

    def __enter__(self) -> None:
        if threading.current_thread() is threading.main_thread():
            self._before = {number: signal.signal(number, self._handle) for number in (signal.SIGINT, signal.SIGTERM)}

    def __exit__(self, *error: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _handle(self, number: int, frame: FrameType | None) -> None:
        self._monitor.stop(f"stopped by {signal.Signals(number).name}")
        if number == signal.SIGINT:
            signal.signal(signal.SIGINT, signal.default_int_handler)
