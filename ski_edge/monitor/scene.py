"""The whole picture as one subject: what a video-text bundle watches."""

from __future__ import annotations

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
        self.sample_s = self.every_s = self.stream.every_s
        self.window_s = self.stream.window_s
        self.state = ActivityState(rules, self.window_s)
        self.updates = 0
        self._begun = False

    @property
    def names(self) -> list[str]:
        return self.session.labels.current.names

    @property
    def labels_version(self) -> int:
        return self.session.labels.current.version

    def rehearse(self, frame: Frame) -> None:
        self.session.encode_frames([frame.image])

    def see(self, frame: Frame) -> Iterator[Report]:
        if not self._begun:
            self._begun = True
            yield Report("begin", self.state, frame.timestamp)
        if frame.due:
            before = self.state.label
            now = self.state.step(self.stream.add(frame.image, frame.timestamp))
            self.updates += 1
            yield Report("same" if now == before else "change", self.state, frame.timestamp)

    def draw(self, annotator: Annotator, frame: Frame) -> np.ndarray:
        return annotator.draw(frame.image, self.state, frame.timestamp)

    def headline(self) -> str:
        return f"{self.state.label} {self.state.score:.2f}"

    def notes(self) -> list[str]:
        random = self.session.manifest.provenance.weights.startswith("random")
        return ["the weights are random, so activities and scores mean nothing"] if random else []

    def record(self, path: Path, source: Source) -> None:
        raise not_for_pictures(self.session.manifest.model)

    def close(self) -> None:
        """Nothing is held beyond the session."""
