"""Where frames come from: a video file, a USB camera, an RTSP or HTTP stream. Decoding is OpenCV's."""

from __future__ import annotations

import math
import os
import re
import threading
import time
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np

from ski_edge.errors import BadInput, require
from ski_edge.redact import redact_url
from ski_edge.runtime import Sampler

_LONGEST_STEP_S = 10.0  # between two frames of a file; slow surveillance recordings stay below
SCHEMES = ("rtsp", "rtsps", "rtmp", "http", "https", "udp", "tcp")


@dataclass(frozen=True, slots=True)
class Frame:
    """image: uint8 [H, W, 3] RGB; timestamp: seconds since the first frame (of the file, or since start)."""

    image: np.ndarray
    timestamp: float
    arrived: float  # time.monotonic() when it was decoded
    due: bool  # picked by the reader's sampler: recognise this one


@dataclass(slots=True)
class SourceStats:
    """Counted while frames are read."""

    decoded: int = 0  # all, also those no picture was made of because they were not due
    dropped: int = 0  # decoded, but thrown away because the consumer was behind
    missed: int = 0  # those of them that were due for recognition
    broken: int = 0  # the container had them, the decoder could not make a picture


class Source:
    """An opened source with its first frame already decoded, so that everything that can be wrong has shown."""

    def __init__(self, capture: Any, name: str, kind: Literal["file", "camera", "stream"]) -> None:
        cv2 = require("cv2", "video", "the monitor")
        self._capture, self._cv2 = capture, cv2
        self.name = name  # redacted
        self.kind = kind
        fps = capture.get(cv2.CAP_PROP_FPS)
        self.fps = fps if math.isfinite(fps) and 0 < fps <= 1000 else 30.0
        frames = capture.get(cv2.CAP_PROP_FRAME_COUNT)
        self.expected_frames = int(frames) if kind == "file" and 0 < frames < 1e9 else None
        self.stats = SourceStats()
        self.started_at = time.time()  # Unix time of timestamp 0 of a live source
        self._start = time.monotonic()
        self._last = -math.inf
        self._stamp = 0.0  # the file's own time of the last frame
        self._first = self._decode()
        if self._first is None:
            raise BadInput(f"{name}: opened, but no frame decodes; the file is damaged or not a video")

    @property
    def first(self) -> Frame:
        """The first frame, decoded when the source was opened."""
        return self._first

    @property
    def live(self) -> bool:
        return self.kind != "file"

    @property
    def epoch(self) -> float:
        """What times in events count from: Unix time of timestamp 0 of a live source, 0 for files."""
        return self.started_at if self.live else 0.0

    @property
    def size(self) -> tuple[int, int]:
        """(height, width) of the first frame, rotation applied."""
        return self._first.image.shape[:2]

    def frames(self, sampler: Sampler | None = None, only_due: bool = False) -> Iterator[Frame]:
        """Frames in order, the first one included; ends where the source ends. Iterate once.

        The sampler marks frames as due (none: all are). With only_due the others are decoded (video needs that) but
        made no picture of, which for full HD is most of the cost.
        """
        frame = self._first
        if sampler is not None:
            sampler.take(frame.timestamp)
        while frame is not None:
            yield frame
            frame = self._decode(sampler, only_due)

    def close(self) -> None:
        self._capture.release()

    @property
    def seconds(self) -> float:
        """Time of the last frame decoded."""
        return max(self._last, 0.0)

    @property
    def lost(self) -> int:
        """Frames the file's header promises and decoding did not give; 0 for streams.

        Some containers only estimate their count, so a difference of one, or of 1 %, is not a loss.
        """
        if self.expected_frames is None:
            return 0
        missing = self.expected_frames - self.stats.decoded
        return missing if missing > max(1, 0.01 * self.expected_frames) else 0

    def _decode(self, sampler: Sampler | None = None, only_due: bool = False) -> Frame | None:
        while self._capture.grab():
            arrived = time.monotonic()
            timestamp = self._timestamp(arrived)
            due = sampler is None or sampler.take(timestamp)
            if only_due and not due:
                self.stats.decoded += 1
                continue
            ok, image = self._capture.retrieve()
            if ok and image is not None and image.size:
                self.stats.decoded += 1
                return Frame(self._cv2.cvtColor(image, self._cv2.COLOR_BGR2RGB), timestamp, arrived, due)
            self.stats.broken += 1
        return None

    def _timestamp(self, arrived: float) -> float:
        """Presentation time for files, arrival time for live sources; always growing.

        Some files carry broken times (an AVI with B-frames ends at 0, a damaged one leaps by hours): a step that is
        not forward, or far longer than a frame, is replaced by a frame's duration.
        """
        if self.live:
            now = arrived - self._start
            self._last = max(now, self._last + 1e-6)
            return self._last
        stamp = self._capture.get(self._cv2.CAP_PROP_POS_MSEC) / 1000
        if not math.isfinite(self._last):
            self._last, self._stamp = 0.0, stamp
            return self._last
        step = stamp - self._stamp
        if not 0 < step <= max(_LONGEST_STEP_S, 50 / self.fps):
            step = 1 / self.fps
        self._last, self._stamp = self._last + step, stamp
        return self._last


def open_source(spec: str, timeout_s: float = 10.0) -> Source:
    """`0` (USB camera), a path, or a URL. Raises BadInput with one line for everything that can be wrong."""
    # Both libraries write their own complaints to stderr; the caller gets one line from us instead.
    os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")
    cv2 = require("cv2", "video", "the monitor")
    cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)
    check_name(spec, "source")
    scheme = spec.split("://", 1)[0].lower() if "://" in spec else ""
    if is_camera(spec):
        capture = _open(cv2, int(spec), cv2.CAP_ANY, timeout_s, f"camera {spec}")
        return _ready(capture, f"camera {spec}", "camera", "no such camera, or another program holds it")
    if scheme in SCHEMES:
        name = redact_url(spec)
        capture = _open(cv2, spec, cv2.CAP_FFMPEG, timeout_s, name)
        return _ready(capture, name, "stream", f"no answer within {timeout_s:g} s, refused, or no such stream")
    if scheme and scheme != "file":
        raise BadInput(f"source {redact_url(spec)}: {scheme}:// is not known; use a path, 0, or {', '.join(SCHEMES)}")
    path = Path(spec.removeprefix("file://"))
    check_video_file(path)
    # Absolute: FFmpeg takes the part before a colon of a relative name for a protocol.
    capture = _open(cv2, str(path.resolve()), cv2.CAP_FFMPEG, timeout_s, str(path))
    return _ready(capture, str(path), "file", "not a video, or one this OpenCV cannot decode")


def is_camera(spec: str) -> bool:
    """`0` to `99`: a USB camera by number."""
    return re.fullmatch(r"[0-9]{1,2}", spec) is not None


def check_name(name: str, what: str) -> None:
    """OpenCV crashes on file names that are not UTF-8, so they are refused before it sees them."""
    if not name.strip():
        raise BadInput(f"{what} is empty; give a name")
    try:
        name.encode("utf-8")
    except UnicodeEncodeError as error:
        raise BadInput(f"{what} {name!a} is not UTF-8; rename it") from error


def check_video_file(path: Path) -> None:
    """A video file exists, is a file and is not empty."""
    if path.is_dir():
        raise BadInput(f"source {path} is a directory; give one video file")
    if not path.exists():
        raise BadInput(f"source {path} does not exist")
    if path.stat().st_size == 0:
        raise BadInput(f"source {path} is empty (0 bytes)")


def _open(cv2: Any, target: str | int, api: int, timeout_s: float, name: str) -> Any:
    """cv2.VideoCapture with a deadline. The FFmpeg time-outs do not cover name look-up, so a thread is watched."""
    milliseconds = max(1, int(timeout_s * 1000))
    options = []
    if api == cv2.CAP_FFMPEG:
        options = [cv2.CAP_PROP_OPEN_TIMEOUT_MSEC, milliseconds, cv2.CAP_PROP_READ_TIMEOUT_MSEC, milliseconds]
    box: list[Any] = []
    thread = threading.Thread(target=lambda: box.append(cv2.VideoCapture(target, api, options)), daemon=True)
    thread.start()
    thread.join(timeout_s + 2)
    if not box:
        raise BadInput(f"source {name}: no answer within {timeout_s:g} s; check the address, or raise --timeout")
    return box[0]


def _ready(capture: Any, name: str, kind: Literal["file", "camera", "stream"], why: str) -> Source:
    if not capture.isOpened():
        raise BadInput(f"source {name} cannot be opened: {why}")
    return Source(capture, name, kind)


class FrameReader:
    """Decodes in its own thread into a bounded queue.

    policy `block`: the decoder waits for the consumer (files at full speed, nothing is lost); `drop-oldest`: the
    consumer always gets recent frames, and what is thrown away is counted (cameras, `--realtime`).
    """

    def __init__(
        self,
        source: Source,
        policy: Literal["block", "drop-oldest"],
        *,
        paced: bool = False,
        sampler: Sampler | None = None,
        only_due: bool = False,
        depth: int = 8,
    ) -> None:
        """paced: hold every frame back until its time has come (a file played at its recorded speed).

        sampler, only_due: see `Source.frames`.
        """
        self._source, self._policy, self._paced, self._depth = source, policy, paced, depth
        self._sampler, self._only_due = sampler, only_due
        self._queue: deque[Frame] = deque()
        self._changed = threading.Condition()
        self._stop = threading.Event()
        self._finished = False
        self._error: Exception | None = None
        self._thread = threading.Thread(target=self._work, name="frame-reader", daemon=True)
        self._thread.start()

    def __iter__(self) -> Iterator[Frame]:
        while not self._stop.is_set():
            with self._changed:
                if not self._queue and not self._finished:
                    # Woken by the decoder; the time-out is for `stop`, which may come from a signal handler.
                    self._changed.wait(0.2)
                    continue
                if not self._queue:
                    if self._error is not None:
                        raise self._error
                    return
                frame = self._queue.popleft()
                self._changed.notify_all()
            yield frame

    def stop(self) -> None:
        """End the iteration soon, also while no frame arrives; takes no lock."""
        self._stop.set()

    def close(self) -> None:
        """Stop decoding; frames still queued are forgotten."""
        self.stop()
        with self._changed:
            self._changed.notify_all()
        # A decoder that waits for a silent camera cannot be interrupted; the thread ends with the process.
        self._thread.join(timeout=2)
        if not self._thread.is_alive():
            self._source.close()

    def _work(self) -> None:
        start = time.monotonic()
        try:
            for frame in self._source.frames(self._sampler, self._only_due):
                if self._paced:
                    if self._stop.wait(max(0.0, start + frame.timestamp - time.monotonic())):
                        break
                    frame = replace(frame, arrived=time.monotonic())
                self._put(frame)
                if self._stop.is_set():
                    break
        except Exception as error:  # carried to the consumer's thread, which reports it
            self._error = error
        finally:
            with self._changed:
                self._finished = True
                self._changed.notify_all()

    def _put(self, frame: Frame) -> None:
        with self._changed:
            if self._policy == "drop-oldest":
                while len(self._queue) >= self._depth:
                    lost = self._queue.popleft()
                    self._source.stats.dropped += 1
                    self._source.stats.missed += lost.due
            else:
                while len(self._queue) >= self._depth and not self._stop.is_set():
                    self._changed.wait(0.5)
            self._queue.append(frame)
            self._changed.notify_all()
