"""Streaming: encode every frame once, keep a ring of embeddings, score the window at each update.

Exact, not an approximation: a ViFi-CLIP video feature is the mean of per-frame features, so the ring's mean equals
encoding the whole window again, at the cost of one frame instead of `window_frames`.
"""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass

import numpy as np

from ski_edge.bundle.labels import LabelSet, l2_normalise
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
    embedding: np.ndarray  # [D] of the window, L2-normalised
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

    def __init__(self, every_s: float) -> None:
        self.every_s = every_s
        self._next = -math.inf

    def due(self, timestamp: float) -> bool:
        """Whether a frame of this time would be taken."""
        return timestamp >= self._next - 1e-6

    def take(self, timestamp: float) -> bool:
        """`due`, and if so wait for the next one."""
        if not self.due(timestamp):
            return False
        late = timestamp - self._next
        self._next = (self._next if late < self.every_s else timestamp) + self.every_s
        return True


class FrameStream:
    """Scores of a sliding window over one camera, one frame's encoding per update.

        stream = FrameStream(session)
        for frame, seconds in camera:
            if update := stream.push(frame, seconds):
                print(update.label, update.score)

    The window is built by time: `push` takes every camera frame, encodes those that are due (one each `every_s`)
    and returns None for the rest.
    """

    def __init__(self, session: Session, every_s: float | None = None) -> None:
        """every_s: seconds between updates; default window_s / window_frames, which fills the window exactly."""
        video = session.manifest.video
        self.every_s = video.period_s if every_s is None else float(every_s)
        if not 1e-3 <= self.every_s <= video.window_s:
            raise BadInput(f"every must be 0.001 s to the window's {video.window_s:g} s, got {every_s}")
        self.session = session
        self.window_s = video.window_s
        self._ring: deque[tuple[float, np.ndarray]] = deque()
        # Updates may come faster than training sampled frames; the window's length in seconds is what counts.
        self._capacity = max(video.window_frames, math.ceil(self.window_s / self.every_s - 1e-6))
        self._last = -math.inf
        self._sampler = Sampler(self.every_s)

    def push(self, frame: np.ndarray, timestamp: float) -> Update | None:
        """One camera frame: uint8 [H, W, 3] RGB with its time in seconds, later than the last one's."""
        self._check(frame, timestamp)
        return self.add(frame, timestamp) if self._sampler.take(timestamp) else None

    def add(self, frame: np.ndarray, timestamp: float) -> Update:
        """`push` for callers with a `Sampler` of their own: every frame given is encoded."""
        self._check(frame, timestamp)
        self._last = timestamp
        self._ring.append((timestamp, self.session.encode_frames(frame[None])[0]))
        while len(self._ring) > self._capacity or self._ring[0][0] <= timestamp - self.window_s + 1e-6:
            self._ring.popleft()
        return self._update()

    def _check(self, frame: np.ndarray, timestamp: float) -> None:
        check_frame(frame)
        if not math.isfinite(timestamp) or timestamp <= self._last:
            raise BadInput(f"timestamps must grow; got {timestamp} s after {self._last} s")

    def window(self) -> tuple[np.ndarray, np.ndarray]:
        """(timestamps [n], frame embeddings [n, D]) now in the window."""
        times, rows = zip(*self._ring, strict=True) if self._ring else ((), ())
        return np.array(times), np.array(rows, np.float32).reshape(len(rows), self.session.manifest.embed_dim)

    def reset(self) -> None:
        """Forget the window: after a cut, a reconnect, another camera."""
        self._ring.clear()
        self._last = -math.inf
        self._sampler = Sampler(self.every_s)

    def _update(self) -> Update:
        times, rows = self.window()
        labels = self.session.labels.current
        embedding = l2_normalise(rows.mean(axis=0))
        logits, scores = self.session.score(embedding, labels)
        return Update(
            timestamp=float(times[-1]),
            labels=labels,
            logits=logits,
            scores=scores,
            embedding=embedding,
            frames=len(times),
            span_s=float(times[-1] - times[0]) + self.every_s,
            largest_gap_s=float(np.diff(times).max(initial=0.0)),
        )
