"""Everybody in the picture: poses, who is who, a window and an activity per person, one batch for all of them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from ski_edge.bundle.labels import Label
from ski_edge.bundle.manifest import MANIFEST
from ski_edge.errors import BadInput
from ski_edge.files import sha256_file
from ski_edge.monitor.activity import ActivityRules, ActivityState, Report, check_choices
from ski_edge.monitor.picture import Annotator
from ski_edge.monitor.pose import Body, Estimator
from ski_edge.monitor.sources import Frame, Source
from ski_edge.monitor.trace import RecordedFrame, TraceHeader, TraceWriter
from ski_edge.monitor.tracking import Tracker, TrackingRules
from ski_edge.runtime import PoseSession, Sampler
from ski_edge.runtime.windows import PoseWindow
from ski_edge.skeleton import Layout, SkeletonInput, remap_matrix
from ski_edge.skeleton.resample import FixedSeconds

OTHER = "other"  # the class of networks trained with one for everything beside their activities
MAX_GAP_S = 0.5  # longest time without a pose that a window may bridge
_UPDATES_PER_WINDOW = 8


@dataclass(frozen=True, slots=True)
class ClosedChoices:
    """The classes of a network; they never change."""

    names: list[str]
    version: int = 1


@dataclass(frozen=True, slots=True)
class PoseUpdate:
    """What one person's window says now."""

    timestamp: float
    labels: ClosedChoices
    logits: np.ndarray  # [K]
    scores: np.ndarray  # [K]
    span_s: float
    largest_gap_s: float


@dataclass(slots=True)
class Person:
    """What is known of one tracked person."""

    window: PoseWindow
    state: ActivityState


class People:
    """A `Watch` over everybody an estimator, or a recording, shows."""

    def __init__(
        self,
        session: PoseSession,
        layout: Layout,
        rules: ActivityRules,
        *,
        estimator: Estimator | None = None,
        every_s: float | None = None,
        tracking: TrackingRules | None = None,
    ) -> None:
        """layout: of the bodies that come; estimator: None when frames carry their bodies (a replay).

        Whoever opened the estimator closes it.
        """
        spec: SkeletonInput = session.manifest.skeleton
        check_choices([Label(name) for name in session.classes])
        self.window_s = _window_s(spec)
        self.every_s = self.window_s / _UPDATES_PER_WINDOW if every_s is None else float(every_s)
        if not 1e-3 <= self.every_s <= self.window_s:
            raise BadInput(f"every must be 0.001 s to the window's {self.window_s:g} s, got {every_s}")
        self.sample_s = 0.0  # tracking is the better the more frames it sees
        self.updates = 0
        self.session, self.layout, self.rules = session, layout, rules
        self.persons: dict[int, Person] = {}
        self.seen: list[tuple[int, Body]] = []  # in the last frame
        self._choices = ClosedChoices(list(session.classes))
        self._matrix = remap_matrix(layout, spec.layout).astype(np.float32)
        self._spec, self._estimator = spec, estimator
        self._recorder: TraceWriter | None = None
        self._tracker, self._sampler = Tracker(tracking), Sampler(self.every_s)

    @property
    def names(self) -> list[str]:
        return self._choices.names

    @property
    def labels_version(self) -> int:
        return self._choices.version

    def rehearse(self, frame: Frame) -> None:
        times = np.arange(0, self.window_s, 0.1)
        joints = np.random.default_rng(0).normal(size=(self._spec.layout.num_joints, 3)).astype(np.float32)
        self.session.classify([np.repeat(joints[None, None], len(times), axis=0)], [times])

    def see(self, frame: Frame) -> Iterator[Report]:
        if not frame.due:
            return
        bodies = frame.bodies if isinstance(frame, RecordedFrame) else self._estimate(frame)
        if self._recorder is not None:
            self._recorder.write(frame.timestamp, bodies)
        self.seen = self._tracker.update(bodies, frame.timestamp)
        for track, body in self.seen:
            if track not in self.persons:
                window = PoseWindow(self.window_s, min(MAX_GAP_S, self.window_s))
                nothing = OTHER if OTHER in self._choices.names else None
                self.persons[track] = Person(window, ActivityState(self.rules, self.window_s, nothing))
                yield Report("begin", self.persons[track].state, frame.timestamp, track)
            if body.mostly_visible:  # guessed joints must not decide; the hole they leave is seen by the window
                self.persons[track].window.add(frame.timestamp, self._matrix @ body.joints)
        for track in self.persons.keys() - set(self._tracker.ids):
            yield Report("end", self.persons.pop(track).state, frame.timestamp, track)
        if self._sampler.take(frame.timestamp):
            yield from self._update(frame.timestamp)

    def draw(self, annotator: Annotator, frame: Frame) -> np.ndarray:
        people = [(track, body, self.persons[track].state) for track, body in self.seen]
        return annotator.draw_people(frame.image, people, self.layout, frame.timestamp)

    def headline(self) -> str:
        if not self.persons:
            return "nobody"
        parts = [f"{track} {p.state.label} {p.state.score:.2f}" for track, p in list(self.persons.items())[:3]]
        more = len(self.persons) - len(parts)
        return ", ".join(parts) + (f" and {more} more" if more else "")

    def notes(self) -> list[str]:
        found = []
        if self.session.manifest.provenance.weights.startswith("random"):
            found.append("the weights are random, so activities and scores mean nothing")
        if self._spec.centre != "each-frame":
            found.append(
                f"the bundle was trained with positions in the room (centre: {self._spec.centre}), which poses of one "
                "camera do not give: walking is seen on the spot"
            )
        return found

    def record(self, path: Path, source: Source) -> None:
        assert self._estimator is not None, "a replay is recorded already"
        header = TraceHeader(
            layout=self.layout.name,
            estimator=self._estimator.name,
            source=source.name,
            epoch=source.epoch,
            fps=source.fps,
            size=source.size,
            model=f"{self.session.manifest.model} {self.session.manifest.arch}",
            model_sha256=sha256_file(self.session.folder / MANIFEST),
            config={"every_s": self.every_s, **asdict(self.rules)},
        )
        self._recorder = TraceWriter(path, header)

    def close(self) -> None:
        if self._recorder is not None:
            self._recorder.close()

    def _estimate(self, frame: Frame) -> list[Body]:
        assert self._estimator is not None, "frames without bodies need an estimator"
        return self._estimator.estimate(frame.image, frame.timestamp)

    def _update(self, now: float) -> Iterator[Report]:
        """All ready windows in one batch; whoever's is not is unknown, with the reason."""
        why = {track: person.window.why_not_ready(now) for track, person in self.persons.items()}
        ready = {track: person.window for track, person in self.persons.items() if not why[track]}
        scored: dict[int, PoseUpdate] = {}
        if ready:
            sequences, times = zip(*(window.sequence() for window in ready.values()), strict=True)
            logits = self.session.classify(list(sequences), list(times))
            scores = self.session.score(logits)
            for i, (track, window) in enumerate(ready.items()):
                span, gap = window.span_s(now), window.largest_gap_s(now)
                scored[track] = PoseUpdate(now, self._choices, logits[i], scores[i], span, gap)
        self.updates += 1
        for track, person in self.persons.items():
            before = person.state.label
            label = person.state.step(scored[track]) if track in scored else person.state.lose(why[track])
            yield Report("same" if label == before else "change", person.state, now, track)


def _window_s(spec: SkeletonInput) -> float:
    if not isinstance(spec.resample, FixedSeconds):
        raise BadInput(
            f"this bundle was trained on whole clips (resample: {spec.resample.name}), of which a stream has none; "
            "the monitor needs one trained on windows of fixed seconds (resample: fixed-seconds)"
        )
    return spec.resample.seconds
