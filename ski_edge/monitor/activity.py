"""Scores -> one activity at a time: smoothing, hysteresis, and the honest answer *unknown*.

A `Watch` is what the monitor's loop drives: it takes frames and reports on its subjects, each with an ActivityState.
`scene.Scene` has one subject, the whole picture; `people.People` one per person.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Protocol

import numpy as np

from ski_edge.bundle.labels import Label
from ski_edge.errors import BadInput
from ski_edge.monitor.sources import Frame

UNKNOWN = "unknown"


class Choices(Protocol):
    """What is chosen from. version grows with every change."""

    @property
    def names(self) -> list[str]: ...

    @property
    def version(self) -> int: ...


class Evidence(Protocol):
    """What a window says now: `runtime.Update` of a picture, `people.PoseUpdate` of a person."""

    @property
    def timestamp(self) -> float: ...  # seconds

    @property
    def labels(self) -> Choices: ...

    @property
    def scores(self) -> np.ndarray: ...  # [K] of labels

    @property
    def span_s(self) -> float: ...  # seconds of the window that are filled

    @property
    def largest_gap_s(self) -> float: ...  # longest time in it without a frame


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
    """The current activity of one subject; `step` moves it on by one update.

    nothing: the class that a closed network has for everything it does not know; it is believed like any other, and
    then the activity is unknown.
    """

    rules: ActivityRules
    window_s: float
    nothing: str | None = None
    label: str = UNKNOWN
    names: list[str] = field(default_factory=list)
    smoothed: np.ndarray = field(default_factory=lambda: np.zeros(0))  # [K] of `names`
    why: str = "no frames yet"  # why it is unknown; empty while it is not
    _version: int = 0
    _time: float = -math.inf

    def step(self, update: Evidence) -> str:
        """Take in one update and return the activity."""
        self._smooth(update)
        reason = self._why_unreliable(update)
        best = int(self.smoothed.argmax())
        if reason:
            self.label, self.why = UNKNOWN, reason
        elif self.smoothed[best] >= self.rules.enter and self._beats_current(best):
            self._believe(self.names[best])
        elif self._current() < self.rules.leave:
            self.label, self.why = UNKNOWN, f"no label reaches {self.rules.enter:g}"
        return self.label

    def lose(self, why: str) -> str:
        """Nothing can be said now: the activity is unknown, and what comes later is judged afresh."""
        self.label, self.why = UNKNOWN, why
        self.names, self.smoothed, self._version = [], np.zeros(0), 0
        return self.label

    def _believe(self, name: str) -> None:
        if name == self.nothing:
            self.label, self.why = UNKNOWN, "none of the known activities"
        else:
            self.label, self.why = name, ""

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
        return self._current() if self.label in self.names else self.best

    @property
    def best(self) -> float:
        """Smoothed score of the best label, whether it is believed or not."""
        return float(self.smoothed.max(initial=0.0))

    def top(self, count: int = 3) -> list[tuple[str, float]]:
        """The best labels with their smoothed scores."""
        order = np.argsort(-self.smoothed)[:count]
        return [(self.names[i], float(self.smoothed[i])) for i in order]

    def _smooth(self, update: Evidence) -> None:
        elapsed, self._time = update.timestamp - self._time, update.timestamp
        if update.labels.version != self._version or elapsed > self.window_s:
            # Another question, or a hole as long as the window: old scores say nothing about now.
            self.names, self._version = update.labels.names, update.labels.version
            self.smoothed = update.scores.astype(np.float64)
            return
        keep = math.exp(-elapsed / self.rules.smooth_s) if self.rules.smooth_s else 0.0
        self.smoothed = keep * self.smoothed + (1 - keep) * update.scores

    def _why_unreliable(self, update: Evidence) -> str:
        # Half a window is the least that was ever scored in training terms; less is a guess.
        if update.span_s < self.window_s / 2 - 1e-6:
            return f"window filling ({update.span_s:.1f} of {self.window_s:.1f} s)"
        if update.largest_gap_s > self.window_s / 2:
            return f"window has a hole of {update.largest_gap_s:.1f} s"
        return ""


@dataclass(frozen=True, slots=True)
class Report:
    """What one frame brought for one subject.

    news: `begin` (first seen), `change` (another activity), `same` (scores moved), `end` (gone for good).
    """

    news: Literal["begin", "change", "same", "end"]
    state: ActivityState
    timestamp: float
    track: int | None = None  # person; None: the whole picture


class Watch(Protocol):
    """The recognising half of the monitor: frames in, reports out."""

    sample_s: float  # it wants one frame each, 0: all
    every_s: float  # between updates
    window_s: float
    updates: int  # so far

    @property
    def names(self) -> list[str]: ...  # of the labels

    @property
    def labels_version(self) -> int: ...

    def rehearse(self, frame: Frame) -> None:
        """Run the networks once, so that a bundle that cannot run shows before anything is written."""
        ...

    def see(self, frame: Frame) -> Iterator[Report]:
        """One frame, in order; those that are not due only show that the source lives.

        A report's state is what it was when the report was given, so take them one by one.
        """
        ...

    def draw(self, annotator: Any, frame: Frame) -> np.ndarray:
        """The frame with what was recognised, as a BGR picture of the annotator's size."""
        ...

    def headline(self) -> str:
        """The state of all subjects, for one line of text."""
        ...

    def notes(self) -> list[str]:
        """What a person should know before it starts."""
        ...

    def record(self, path: Path, source: Any) -> None:
        """Write the skeletons that are seen in `source` to a new file; BadInput where none are."""
        ...

    def close(self) -> None: ...
