"""A person's last seconds of skeletons: what a pose session classifies, built by time and not by count."""

from __future__ import annotations

import math
from collections import deque

import numpy as np

from ski_edge.errors import BadInput

_MAX_FPS = 240  # bounds the memory of a window, whatever a source claims


class PoseWindow:
    """A ring of (timestamp, joints) that knows whether it says anything about now.

    Ready means: half the window is filled (as for video windows), no hole is longer than `max_gap_s`, and poses came
    at least twice in that time on average. Anything less is *unknown*, never a class.
    """

    def __init__(self, seconds: float, max_gap_s: float = 0.5) -> None:
        """seconds: length of the window; max_gap_s: longest time without a pose that interpolation may bridge."""
        if not (0 < seconds <= 3600 and 0 < max_gap_s <= seconds):
            raise BadInput(f"a pose window needs 0 < max_gap_s <= seconds <= 3600, got {max_gap_s:g} and {seconds:g}")
        self.seconds, self.max_gap_s = seconds, max_gap_s
        self._ring: deque[tuple[float, np.ndarray]] = deque(maxlen=math.ceil(seconds * _MAX_FPS) + 2)

    def add(self, timestamp: float, joints: np.ndarray) -> None:
        """One pose: joints float32 [V, 3] in metres, its time in seconds, later than the last one's."""
        last = self._ring[-1] if self._ring else None
        if joints.ndim != 2 or joints.shape[1] != 3 or (last is not None and joints.shape != last[1].shape):
            raise BadInput(f"a pose must be [V, 3] with the same V in every frame, got {list(joints.shape)}")
        if not np.isfinite(joints).all():
            raise BadInput("a pose holds NaN or infinity; leave frames without a pose away")
        if not math.isfinite(timestamp) or (last is not None and timestamp <= last[0]):
            raise BadInput(f"timestamps must grow; got {timestamp} s after {last[0] if last else None} s")
        if last is not None and timestamp - last[0] > self.max_gap_s:
            self._ring.clear()  # after such a hole the window fills anew, as for somebody who just came
        self._ring.append((timestamp, np.array(joints, np.float32)))
        # One pose before the window's start stays: the first moment of the window is interpolated from it.
        while len(self._ring) > 1 and self._ring[1][0] <= timestamp - self.seconds:
            self._ring.popleft()

    def __len__(self) -> int:
        return len(self._ring)

    def times(self) -> np.ndarray:
        """float64 [T], ascending seconds."""
        return np.array([timestamp for timestamp, _ in self._ring], np.float64)

    def span_s(self, now: float) -> float:
        """Seconds of the window that lie between its first pose and now."""
        return min(now - self._ring[0][0], self.seconds) if self._ring else 0.0

    def largest_gap_s(self, now: float) -> float:
        """Longest time without a pose, up to now."""
        times = self.times()
        return float(np.diff(times, append=now).max()) if len(times) else self.seconds

    def why_not_ready(self, now: float) -> str:
        """Empty when the window can be classified at `now` (seconds), else the reason."""
        if not self._ring:
            return "no pose yet"
        gap, span = self.largest_gap_s(now), self.span_s(now)
        if gap > self.max_gap_s + 1e-6:
            return f"not seen for {gap:.1f} s"
        if span < self.seconds / 2 - 1e-6:
            return f"window filling ({span:.1f} of {self.seconds:.1f} s)"
        if len(self._ring) - 1 < 2 * span / self.max_gap_s - 1e-6:
            return f"only {len(self._ring)} poses in {span:.1f} s"
        return ""

    def ready(self, now: float) -> bool:
        return not self.why_not_ready(now)

    def sequence(self) -> tuple[np.ndarray, np.ndarray]:
        """(float32 [T, 1, V, 3], float64 [T] seconds): every pose in the window, oldest first."""
        if not self._ring:
            raise BadInput("the pose window is empty; ask `ready` first")
        return np.stack([joints for _, joints in self._ring])[:, None], self.times()
