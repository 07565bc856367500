"""The whole picture as one subject: what a video-text bundle watches."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from ski_edge.errors import BadInput
from ski_edge.monitor.activity import ActivityRules, ActivityState, Report, check_choices
from ski_edge.monitor.picture import Annotator
from ski_edge.monitor.sources import Frame, Source
from ski_edge.runtime import FrameStream, Session


def not_for_pictures(model: str) -> BadInput:
    """The error for whoever asks a video-text bundle for skeletons."""
    return BadInput(
        f"{model} is a video-text bundle: it sees pictures, no skeletons; leave --pose, --persons, --mirrored, "
        "--record and replay: away, or give a pose bundle"
    )


class Scene:
    """A `Watch` over one frame stream and one activity."""

    def __init__(self, session: Session, rules: ActivityRules, every_s: float | None) -> None:
        check_choices(session.labels.current.labels)
        self.session = session
        self.stream = FrameStream(session, every_s)
        self.sample_s, self.every_s, self.window_s = self.stream.sample_s, self.stream.every_s, self.stream.window_s
        self.state = ActivityState(rules, self.window_s)
        self.updates = 0
        self._begun = False
        self._update_s = 0.0  # what an update took in the rehearsal

    @property
    def names(self) -> list[str]:
        return self.session.labels.current.names

    @property
    def labels_version(self) -> int:
        return self.session.labels.current.version

    def rehearse(self, frame: Frame) -> None:
        for _ in range(2):  # the first run also allocates memory, so the second says what an update takes
            start = time.perf_counter()
            FrameStream(self.session).push(frame.image, 0.0)
            self._update_s = time.perf_counter() - start

    def see(self, frame: Frame) -> Iterator[Report]:
        if not self._begun:
            self._begun = True
            yield Report("begin", self.state, frame.timestamp)
        if not frame.due:
            return
        update = self.stream.add(frame.image, frame.timestamp)
        if update is None:
            return
        before = self.state.label
        now = self.state.step(update)
        self.updates += 1
        yield Report("same" if now == before else "change", self.state, frame.timestamp)

    def draw(self, annotator: Annotator, frame: Frame) -> np.ndarray:
        return annotator.draw(frame.image, self.state, frame.timestamp)

    def headline(self) -> str:
        return f"{self.state.label} {self.state.score:.2f}"

    def notes(self) -> list[str]:
        notes = []
        if self.session.manifest.provenance.weights.startswith("random"):
            notes.append("the weights are random, so activities and scores mean nothing")
        if self._update_s > self.every_s:
            slower = math.ceil(11 * self._update_s) / 10  # a tenth to spare
            remedy = f"--every {slower:g}s keeps up" if slower <= self.window_s else "use a smaller model"
            notes.append(
                f"an update takes {self._update_s:.2f} s here and one is due each {self.every_s:.3g} s: a live source "
                f"will lose frames, which are counted; {remedy}"
            )
        return notes

    def record(self, path: Path, source: Source) -> None:
        raise not_for_pictures(self.session.manifest.model)

    def close(self) -> None:
        """Nothing is held beyond the session."""
