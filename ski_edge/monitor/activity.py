"""Scores -> one activity at a time: smoothing, hysteresis, and the honest answer *unknown*."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from ski_edge.bundle.labels import Label
from ski_edge.errors import BadInput
from ski_edge.runtime.stream import Update

UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class ActivityRules:
    """When a label is believed, and for how long.

    enter: smoothed score a label needs to become the activity; leave: below this it is given up (lower than
    enter, so that a score near the threshold does not flicker); smooth_s: time constant of the smoothing.
    """

    enter: float = 0.5
    leave: float = 0.35
    smooth_s: float = 1.0

    def __post_init__(self) -> None:
        if not 0 < self.leave <= self.enter <= 1:
            raise BadInput(
                f"--conf and --conf-leave: needs 0 < leave <= conf <= 1, got {self.leave:g} and {self.enter:g}"
            )
        if not 0 <= self.smooth_s < math.inf:
            raise BadInput(f"--smooth must be 0 seconds or more, got {self.smooth_s:g}")


def check_choices(labels: Sequence[Label]) -> None:
    """What the monitor needs of its labels: a choice, and none that reads as the state *unknown*.

    Scores are shares of all labels, so a single label would always score 1, whatever the camera sees.
    """
    names = [label.name for label in labels]
    if len(names) < 2:
        raise BadInput(
            f"the monitor needs at least 2 labels to choose from, got {names}; add what it could be otherwise, "
            "for example: falling,sitting,walking,an empty room"
        )
    if UNKNOWN in names:
        raise BadInput(f"the label {UNKNOWN!r} is the monitor's own word for no activity; choose another name")


@dataclass(slots=True)
class ActivityState:
    """The current activity; `step` moves it on by one update."""

    rules: ActivityRules
    window_s: float
    label: str = UNKNOWN
    names: list[str] = field(default_factory=list)
    smoothed: np.ndarray = field(default_factory=lambda: np.zeros(0))  # [K] of `names`
    why: str = "no frames yet"  # why it is unknown; empty while it is not
    _version: int = 0
    _time: float = -math.inf

    def step(self, update: Update) -> str:
        """Take in one update and return the activity."""
        self._smooth(update)
        reason = self._why_unreliable(update)
        best = int(self.smoothed.argmax())
        if reason:
            self.label, self.why = UNKNOWN, reason
        elif self.smoothed[best] >= self.rules.enter and self._beats_current(best):
            self.label, self.why = self.names[best], ""
        elif self._current() < self.rules.leave:
            self.label, self.why = UNKNOWN, f"no label reaches {self.rules.enter:g}"
        return self.label

    def _current(self) -> float:
        """Smoothed score of the activity; 0 while it is unknown."""
        return float(self.smoothed[self.names.index(self.label)]) if self.label in self.names else 0.0

    def _beats_current(self, best: int) -> bool:
        """Two labels near each other must not take turns: the new one leads clearly, or the old one is given up."""
        now = self._current()
        return now < self.rules.leave or self.smoothed[best] - now >= self.rules.enter - self.rules.leave

    @property
    def score(self) -> float:
        """Smoothed score of the activity, or of the best label while it is unknown."""
        return self._current() if self.label in self.names else float(self.smoothed.max(initial=0.0))

    def top(self, count: int = 3) -> list[tuple[str, float]]:
        """The best labels with their smoothed scores."""
        order = np.argsort(-self.smoothed)[:count]
        return [(self.names[i], float(self.smoothed[i])) for i in order]

    def _smooth(self, update: Update) -> None:
        elapsed, self._time = update.timestamp - self._time, update.timestamp
        if update.labels.version != self._version or elapsed > self.window_s:
            # Another question, or a hole as long as the window: old scores say nothing about now.
            self.names, self._version = update.labels.names, update.labels.version
            self.smoothed = update.scores.astype(np.float64)
            return
        keep = math.exp(-elapsed / self.rules.smooth_s) if self.rules.smooth_s else 0.0
        self.smoothed = keep * self.smoothed + (1 - keep) * update.scores

    def _why_unreliable(self, update: Update) -> str:
        # Half a window is the least that was ever scored in training terms; less is a guess.
        if update.span_s < self.window_s / 2 - 1e-6:
            return f"window filling ({update.span_s:.1f} of {self.window_s:.1f} s)"
        if update.largest_gap_s > self.window_s / 2:
            return f"window has a hole of {update.largest_gap_s:.1f} s"
        return ""
