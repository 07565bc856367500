from __future__ import annotations

import itertools

import numpy as np
import pytest

from ski_edge.errors import BadInput
from ski_edge.monitor.tracking import Tracker, TrackingRules, best_matching, iou, oks

FPS = 30


def follow(tracker, scenes):
    """scenes: one list of (who, body) per frame -> {who: set of ids they were given}."""
    ids: dict[str, set[int]] = {}
    for t, scene in enumerate(scenes):
        found = tracker.update([body for _, body in scene], t / FPS)
        for who, body in scene:
            for number, same in found:
                if same is body:
                    ids.setdefault(who, set()).add(number)
    return ids


def test_matching_is_the_best_of_all():
    rng = np.random.default_rng(0)
    for _ in range(200):
        rows, columns = rng.integers(1, 6, 2)
        likeness = np.round(rng.random((rows, columns)) * 4) / 4  # ties, too
        pairs = best_matching(likeness)
        assert len({i for i, _ in pairs}) == len({j for _, j in pairs}) == len(pairs) == min(rows, columns)
        tall = likeness if rows <= columns else likeness.T
        best = max(
            sum(tall[i, j] for i, j in enumerate(order))
            for order in itertools.permutations(range(tall.shape[1]), tall.shape[0])
        )
        assert sum(likeness[pair] for pair in pairs) == pytest.approx(best)
    assert best_matching(np.zeros((0, 3))) == best_matching(np.zeros((3, 0))) == []
    assert best_matching(np.array([[0.9, 0.8], [0.8, 0.1]])) == [(0, 1), (1, 0)]  # greedy would say (0, 0)


def test_boxes_and_keypoints(make_body):
    assert iou((0, 0, 2, 2), (1, 1, 3, 3)) == pytest.approx(1 / 7)
    assert iou((0, 0, 1, 1), (2, 2, 3, 3)) == iou((0, 0, 0, 0), (0, 0, 0, 0)) == 0
    a, b = make_body(100, 300), make_body(110, 300)
    assert oks(a, a) == pytest.approx(1)
    assert oks(a, b, np.array([10.0, 0.0])) == pytest.approx(1)
    assert oks(a, make_body(300, 300)) < 1e-3 < oks(a, b) < 1


@pytest.mark.parametrize("speed", [60, 150, 300])  # pixels a second; 1 m/s is about 120 for a person 200 px tall
@pytest.mark.parametrize("occluded_s", [0.0, 0.5, 1.0])
def test_two_people_cross_at_a_distance_and_keep_their_ids(make_body, speed, occluded_s):
    """The far one is 20 % smaller and unseen while behind the near one."""
    rng = np.random.default_rng(3)
    frames = round(600 / speed * FPS)
    scenes = []
    for t in range(frames):
        near = make_body(20 + speed * t / FPS, 310, 210, noise=1.5, rng=rng)
        far = make_body(620 - speed * t / FPS, 290, 168, noise=1.5, rng=rng)
        behind = abs(t - frames / 2) < occluded_s * FPS / 2
        scene = [("near", near)] + ([] if behind else [("far", far)])
        scenes.append(scene if t % 2 else scene[::-1])  # the order they come in says nothing
    ids = follow(Tracker(), scenes)
    assert ids == {"near": ids["near"], "far": ids["far"]}
    assert sorted(len(numbers) for numbers in ids.values()) == [1, 1], ids
    assert ids["near"] != ids["far"]


def test_an_id_survives_a_second_of_occlusion_and_not_for_ever(make_body):
    body = [make_body(200, 300)]
    tracker = Tracker()
    seen = [tracker.update(body, t / FPS) for t in range(30)][-1]
    for t in range(30, 60):
        assert tracker.update([], t / FPS) == []
    back = tracker.update([make_body(206, 301)], 2.0)
    assert [number for number, _ in back] == [number for number, _ in seen] == [1]
    assert tracker.update([], 5.0) == []
    assert tracker.ids == []
    again = [tracker.update([make_body(206, 301)], 5 + t / FPS) for t in range(1, 10)][-1]
    assert [number for number, _ in again] == [2]


def test_somebody_who_appears_elsewhere_is_somebody_else(make_body):
    tracker = Tracker()
    for t in range(30):
        tracker.update([make_body(100, 300)], t / FPS)
    found = [tracker.update([make_body(500, 300)], 1 + t / FPS) for t in range(10)][-1]
    assert [number for number, _ in found] == [2]


def test_flickers_get_no_id_and_doubles_one(make_body):
    rng = np.random.default_rng(1)
    tracker = Tracker()
    for t in range(60):
        person, double = (make_body(100, 300, noise=1.0, rng=rng, score=score) for score in (0.9, 0.6))
        bodies = [double, person]
        if t % 20 == 7:
            bodies.append(make_body(400, 200, 80, score=0.5))
        found = tracker.update(bodies, t / FPS)
        assert len(found) == (t >= 3)
        assert all(number == 1 and body is person for number, body in found)


def test_a_slow_source_keeps_ids(make_body):
    """Five frames a second, walking: boxes of neighbouring frames overlap by half."""
    tracker = Tracker()
    numbers = {number for t in range(25) for number, _ in tracker.update([make_body(50 + 24 * t, 300)], t / 5)}
    assert numbers == {1}


def test_memory_is_bounded(make_body):
    rng = np.random.default_rng(0)
    tracker = Tracker(TrackingRules(max_tracks=8))
    for t in range(50):
        bodies = [make_body(*rng.uniform(0, 2000, 2), score=float(s)) for s in rng.random(30)]
        assert len(tracker.update(bodies, t / FPS)) <= 8
        assert len(tracker._tracks) <= 8
        assert len(tracker.ids) <= 8


def test_times_must_grow(make_body):
    tracker = Tracker()
    tracker.update([], 1.0)
    for bad in (1.0, 0.5, float("nan")):
        with pytest.raises(BadInput, match="timestamps must grow"):
            tracker.update([make_body(1, 1)], bad)


@pytest.mark.parametrize(
    "rules", [{"min_likeness": 0}, {"confirm_s": 3}, {"max_tracks": 0}, {"forget_s": float("inf")}]
)
def test_impossible_rules(rules):
    with pytest.raises(BadInput, match="tracking rules"):
        TrackingRules(**rules)
