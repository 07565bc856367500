"""Streaming: keep a ring of what can be computed of each frame alone, score the window at each update.

ViFi-CLIP: the ring holds embeddings, and an update costs one frame. Exact, not an approximation: its video feature is
the mean of per-frame features, so the ring's mean equals encoding the whole window again. X-CLIP and FROSTER mix the
frames of a clip: the ring holds preprocessed frames, and an update costs a whole clip of them, evenly spaced in time.
"""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass

import numpy as np

from ski_edge.bundle.labels import LabelSet
from ski_edge.errors import BadInput
from ski_edge.runtime.preprocess import check_frame
from ski_edge.runtime.session import Session


@dataclass(frozen=True, slots=True)
class Update:
    """What the window says after one more frame."""

    timestamp: float  # seconds, of the newest frame
    labels: LabelSet  # the set that was scored: names, embeddings, version
    logits: np.ndarray  # [K] cosines
    scores: np.ndarray  # [K] softmax
    embedding: np.ndarray | None  # [D] of the window, as `Session.encode_video`; None where scores need none (X-CLIP)
    frames: int  # in the window
    span_s: float  # seconds the window's frames cover, the newest one's period included
    largest_gap_s: float  # longest time between two neighbouring frames of the window

    @property
    def label(self) -> str:
        return self.labels.names[int(self.scores.argmax())]

    @property
    def score(self) -> float:
        return float(self.scores.max())


class Sampler:
    """Which frames of a camera are due, one each `every_s`.

    On a fixed grid while frames come in time, so that the rate does not drift; after a gap the grid starts anew.
    """

    def __init__(self, every_s: float, early_s: float = 1e-6) -> None:
        """early_s: how long before its time a frame is taken, for frames that are on a grid of their own."""
        self.every_s, self.early_s = every_s, early_s
        self._next = -math.inf

    def due(self, timestamp: float) -> bool:
        """Whether a frame of this time would be taken."""
        return timestamp >= self._next - self.early_s

    def take(self, timestamp: float) -> bool:
        """`due`, and if so wait for the next one."""
        if not self.due(timestamp):
            return False
        late = timestamp - self._next
        self._next = (self._next if late < self.every_s else timestamp) + self.every_s
        return True


class FrameStream:
    """Scores of a sliding window over one camera.

        stream = FrameStream(session)
        for frame, seconds in camera:
            if update := stream.push(frame, seconds):
                print(update.label, update.score)

    The window is built by time: `push` takes every camera frame, keeps those that are due (one each `sample_s`),
    updates each `every_s` and returns None for the rest.
    """

    def __init__(self, session: Session, every_s: float | None = None) -> None:
        """every_s: seconds between updates; default: window_s / window_frames, which fills the window exactly, where
        an update costs one frame; window_s / 4 where it costs a whole clip."""
        video = session.manifest.video
        self.sample_s, self.every_s = session.rhythm(every_s)
        self.session = session
        self.window_s = video.window_s
        self._ring: deque[tuple[float, np.ndarray]] = deque()
        # Frames may come faster than training sampled them; the window's length in seconds is what counts.
        self._capacity = max(video.window_frames, math.ceil(self.window_s / self.sample_s - 1e-6))
        self.reset()

    def push(self, frame: np.ndarray, timestamp: float) -> Update | None:
        """One camera frame: uint8 [H, W, 3] RGB with its time in seconds, later than the last one's."""
        self._check(frame, timestamp)
        return self.add(frame, timestamp) if self._sampler.take(timestamp) else None

    def add(self, frame: np.ndarray, timestamp: float) -> Update | None:
        """`push` for callers with a `Sampler` of their own: every frame given is kept, and is an update where that
        costs one frame; None between the updates of models that encode whole clips."""
        self._check(frame, timestamp)
        self._last = timestamp
        self._ring.append((timestamp, self.session.keep(frame[None])[0]))
        while len(self._ring) > self._capacity or self._ring[0][0] <= timestamp - self.window_s + 1e-6:
            self._ring.popleft()
        if self.sample_s < self.every_s and not self._updates.take(timestamp):
            return None
        return self._update()

    def _check(self, frame: np.ndarray, timestamp: float) -> None:
        check_frame(frame)
        if not math.isfinite(timestamp) or timestamp <= self._last:
            raise BadInput(f"timestamps must grow; got {timestamp} s after {self._last} s")

    def window(self) -> tuple[np.ndarray, np.ndarray]:
        """(timestamps [n], what `Session.keep` made of the frames [n, ...]) now in the window."""
        return np.array([time for time, _ in self._ring]), np.array([kept for _, kept in self._ring], np.float32)

    def reset(self) -> None:
        """Forget the window: after a cut, a reconnect, another camera."""
        self._ring.clear()
        self._last = -math.inf
        self._sampler = Sampler(self.sample_s)
        # Kept frames come at most half their period before or after their place on the grid of updates.
        self._updates = Sampler(self.every_s, early_s=self.sample_s / 2)

    def _update(self) -> Update:
        times = np.array([time for time, _ in self._ring])
        labels = self.session.labels.current
        kept = np.stack([self._ring[i][1] for i in self.session.choose(times)])
        logits, embedding = self.session.score_window(kept, labels)
        return Update(
            timestamp=float(times[-1]),
            labels=labels,
            logits=logits,
            scores=self.session.softmax(logits),
            embedding=embedding,
            frames=len(times),
            span_s=float(times[-1] - times[0]) + self.sample_s,
            largest_gap_s=float(np.diff(times).max(initial=0.0)),
        )
