"""Who is who: bodies of one frame -> bodies with ids that stay with a person.

Each known person is predicted to the new frame at constant velocity, likeness is box overlap (IoU) and keypoint
similarity (OKS), and the likeliest matching of all persons at once is taken, not the first that fits.
Times, never frame counts, so dropped frames change nothing.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from ski_edge.errors import BadInput
from ski_edge.monitor.pose import MAX_PERSONS, Body

_SPREAD = 0.1  # of the body's size: how far a keypoint of the same person may lie off its prediction
_SPREAD_PER_S = 0.4  # what an unseen second adds to that
# Boxes of two people side by side with arms spread overlap by half; their keypoints do not.
_BOX_SHARE = 0.3
_VELOCITY_S = 0.2  # time constant of the velocity; the hips of a walking person sway
_LONGEST_COAST_S = 1.0  # nobody is predicted further than this


@dataclass(frozen=True, slots=True)
class TrackingRules:
    """When two bodies are the same person, and when a person is gone."""

    min_likeness: float = 0.3  # of 0..1; below, it is somebody else
    same_body: float = 0.7  # OKS above which two bodies of one frame are one person found twice
    confirm_s: float = 0.1  # a body must persist this long to be given an id: flickers get none
    forget_s: float = 2.0  # unseen for longer: gone, and a new id if they come back
    max_tracks: int = 2 * MAX_PERSONS  # more are never remembered; whoever was unseen longest is forgotten

    def __post_init__(self) -> None:
        if not (0 < self.min_likeness < 1 and 0 < self.same_body <= 1 and self.max_tracks >= 1):
            raise BadInput(f"tracking rules need likenesses in 0..1 and at least 1 track, got {self}")
        if not 0 <= self.confirm_s < self.forget_s < math.inf:
            raise BadInput(f"tracking rules need 0 <= confirm_s < forget_s, got {self.confirm_s} and {self.forget_s}")


@dataclass(slots=True, eq=False)
class Track:
    """One person as last seen."""

    body: Body
    first_seen: float
    last_seen: float
    velocity: np.ndarray  # [2] pixels per second
    id: int = 0  # 0: not confirmed yet

    def moved(self, timestamp: float) -> np.ndarray:
        """[2] pixels: where the person should have gone since they were last seen."""
        return self.velocity * min(timestamp - self.last_seen, _LONGEST_COAST_S)


class Tracker:
    """`update` once per frame. Ids count from 1 and are never given twice."""

    def __init__(self, rules: TrackingRules | None = None) -> None:
        self.rules = rules or TrackingRules()
        self._tracks: list[Track] = []
        self._next_id = 1
        self._last = -math.inf

    def update(self, bodies: list[Body], timestamp: float) -> list[tuple[int, Body]]:
        """Bodies of one frame, in any order -> (id, body) of every confirmed person among them.

        timestamp: seconds, later than the last frame's.
        """
        if not math.isfinite(timestamp) or timestamp <= self._last:
            raise BadInput(f"timestamps must grow; got {timestamp} s after {self._last} s")
        self._last = timestamp
        self._forget(timestamp)
        bodies = _without_doubles(bodies, self.rules.same_body)[: self.rules.max_tracks]
        likeness = np.array([[_likeness(track, body, timestamp) for body in bodies] for track in self._tracks])
        likeness = likeness.reshape(len(self._tracks), len(bodies))
        pairs = [(i, j) for i, j in best_matching(likeness) if likeness[i, j] >= self.rules.min_likeness]
        for i, j in pairs:
            self._follow(self._tracks[i], bodies[j], timestamp)
        new = sorted(set(range(len(bodies))) - {j for _, j in pairs})
        self._tracks += [Track(bodies[j], timestamp, timestamp, np.zeros(2)) for j in new]
        self._confirm(timestamp)
        return [(track.id, track.body) for track in self._tracks if track.id and track.last_seen == timestamp]

    @property
    def ids(self) -> list[int]:
        """Confirmed persons not forgotten yet, seen in the last frame or not."""
        return [track.id for track in self._tracks if track.id]

    def _forget(self, timestamp: float) -> None:
        def keep(track: Track) -> bool:
            # A flicker is forgotten sooner: it has no id that could be missed.
            patience = self.rules.forget_s if track.id else max(2 * self.rules.confirm_s, 0.2)
            return timestamp - track.last_seen <= patience

        self._tracks = [track for track in self._tracks if keep(track)]

    def _follow(self, track: Track, body: Body, timestamp: float) -> None:
        elapsed = timestamp - track.last_seen
        measured = (_centre(body) - _centre(track.body)) / elapsed
        keep = math.exp(-elapsed / _VELOCITY_S)
        track.velocity = keep * track.velocity + (1 - keep) * measured
        track.body, track.last_seen = body, timestamp

    def _confirm(self, timestamp: float) -> None:
        for track in self._tracks:
            seen_twice = track.last_seen == timestamp > track.first_seen
            if not track.id and seen_twice and timestamp - track.first_seen >= self.rules.confirm_s - 1e-6:
                track.id, self._next_id = self._next_id, self._next_id + 1
        if len(self._tracks) > self.rules.max_tracks:
            newest_first = sorted(self._tracks, key=lambda track: (track.last_seen, track.id > 0), reverse=True)
            kept = newest_first[: self.rules.max_tracks]
            self._tracks = [track for track in self._tracks if track in kept]


def best_matching(likeness: np.ndarray) -> list[tuple[int, int]]:
    """The (row, column) pairs of a matrix [n, m] with the greatest sum, one per row or column: exact, O(n^2 m).

    The Hungarian method with potentials: rows are added one by one, each along the cheapest augmenting path.
    """
    if likeness.size == 0:
        return []
    if likeness.shape[0] > likeness.shape[1]:
        return sorted((row, column) for column, row in best_matching(likeness.T))
    rows, columns = likeness.shape
    cost = -np.asarray(likeness, np.float64)
    row_price, column_price = np.zeros(rows), np.zeros(columns + 1)
    owner = np.full(columns + 1, -1)  # row of each column; the last column is where a path begins
    for row in range(rows):
        owner[columns] = row
        slack, came_from = np.full(columns, np.inf), np.full(columns, columns)
        done = np.zeros(columns + 1, bool)
        column = columns
        while owner[column] >= 0:
            done[column] = True
            current = owner[column]
            reduced = cost[current] - row_price[current] - column_price[:columns]
            better = ~done[:columns] & (reduced < slack)
            slack[better], came_from[better] = reduced[better], column
            following = int(np.where(done[:columns], np.inf, slack).argmin())
            step = slack[following]
            row_price[owner[done]] += step
            column_price[done] -= step
            slack[~done[:columns]] -= step
            column = following
        while column != columns:
            owner[column] = owner[came_from[column]]
            column = int(came_from[column])
        owner[columns] = -1
    return sorted((int(owner[column]), column) for column in range(columns) if owner[column] >= 0)


def iou(a: tuple[float, ...], b: tuple[float, ...]) -> float:
    """Overlap of two boxes (x0, y0, x1, y1) over their union, 0..1."""
    width, height = min(a[2], b[2]) - max(a[0], b[0]), min(a[3], b[3]) - max(a[1], b[1])
    if width <= 0 or height <= 0:
        return 0.0
    shared = width * height
    return shared / (_area(a) + _area(b) - shared)


def oks(a: Body, b: Body, shift: np.ndarray | float = 0.0, spread: float = _SPREAD) -> float:
    """Keypoint similarity, 0..1: mean of exp(-d^2 / 2 (spread * size)^2), weighted by what both saw.

    As COCO's, with one spread for all joints, so that it holds for every layout. shift: [2] pixels added to a.
    """
    weight = a.visibility * b.visibility + 1e-3
    square = ((a.keypoints_px + shift - b.keypoints_px) ** 2).sum(axis=1)
    size = math.sqrt(max(math.sqrt(_area(a.box) * _area(b.box)), 1.0))
    return float((np.exp(-square / (2 * (spread * size) ** 2)) * weight).sum() / weight.sum())


def _likeness(track: Track, body: Body, timestamp: float) -> float:
    shift, unseen = track.moved(timestamp), timestamp - track.last_seen
    box = track.body.box
    moved = (box[0] + shift[0], box[1] + shift[1], box[2] + shift[0], box[3] + shift[1])
    same_pose = oks(track.body, body, shift, _SPREAD + _SPREAD_PER_S * unseen)
    return _BOX_SHARE * iou(moved, body.box) + (1 - _BOX_SHARE) * same_pose


def _without_doubles(bodies: list[Body], same: float) -> list[Body]:
    """Estimators with several slots may find one person twice; the surer body stays."""
    kept: list[Body] = []
    for body in sorted(bodies, key=lambda body: -body.score):
        if all(oks(body, other) < same for other in kept):
            kept.append(body)
    return kept


def _centre(body: Body) -> np.ndarray:
    """[2] mean keypoint: unlike the box's centre it hardly moves when an arm is raised."""
    return np.average(body.keypoints_px.astype(np.float64), axis=0, weights=body.visibility + 1e-3)


def _area(box: tuple[float, ...]) -> float:
    return max(box[2] - box[0], 0.0) * max(box[3] - box[1], 0.0)
