from __future__ import annotations

import numpy as np
import pytest

from ski_edge.bundle.labels import Label, LabelSet
from ski_edge.errors import BadInput
from ski_edge.monitor.activity import UNKNOWN, ActivityRules, ActivityState, check_choices
from ski_edge.runtime.stream import Update

NAMES = ("cook", "fall", "sit")


def update(t, scores, *, span=4.0, gap=0.25, version=1, names=NAMES):
    scores = np.array(scores, np.float64)
    labels = LabelSet(tuple(map(Label, names)), np.zeros((len(names), 2), np.float32), version)
    return Update(t, labels, scores, scores, np.zeros(2), 16, span, gap)


def run(updates, rules=None):
    state = ActivityState(rules or ActivityRules(smooth_s=0), window_s=4.0)
    return [state.step(u) for u in updates], state


def test_hysteresis_enters_high_and_leaves_low():
    levels = [0.3, 0.49, 0.51, 0.4, 0.36, 0.34, 0.45, 0.6]
    got, _ = run([update(i, [v, 0.1, 0.1]) for i, v in enumerate(levels)])
    assert got == [UNKNOWN, UNKNOWN, "cook", "cook", "cook", UNKNOWN, UNKNOWN, "cook"]


def test_another_label_takes_over_only_above_enter():
    got, _ = run([update(0, [0.6, 0.1, 0.1]), update(1, [0.4, 0.45, 0.1]), update(2, [0.36, 0.55, 0.05])])
    assert got == ["cook", "cook", "fall"]


def test_two_labels_near_each_other_do_not_take_turns():
    rules = ActivityRules(enter=0.3, leave=0.2, smooth_s=0)
    close = [update(i, [0.41, 0.40, 0] if i % 2 else [0.40, 0.41, 0]) for i in range(8)]
    got, _ = run([*close, update(8, [0.30, 0.41, 0]), update(9, [0.19, 0.35, 0])], rules)
    assert got[:8] == ["fall"] * 8
    assert got[8:] == ["fall", "fall"]
    got, _ = run([update(0, [0.41, 0.4, 0]), update(1, [0.31, 0.41, 0])], rules)
    assert got == ["cook", "fall"]  # a clear lead, as wide as the hysteresis


@pytest.mark.parametrize("names", [["falling"], [], ["falling", "unknown"]])
def test_labels_that_are_no_choice(names):
    with pytest.raises(BadInput, match=r"needs at least 2 labels|is the monitor's own word"):
        check_choices([Label(name) for name in names])


def test_smoothing_outvotes_a_flicker_and_depends_on_time_not_on_count():
    rules = ActivityRules(smooth_s=1.0)
    steady = [update(i * 0.25, [0.9, 0.05, 0.05]) for i in range(8)]
    got, _ = run([*steady, update(2.0, [0.0, 1.0, 0.0]), update(2.25, [0.9, 0.05, 0.05])], rules)
    assert set(got) == {"cook"}
    # One second of evidence moves the score equally far in 4 steps or in 10.
    finals = []
    for steps in (4, 10):
        state = ActivityState(rules, 4.0)
        state.step(update(0.0, [1.0, 0.0, 0.0]))
        for k in range(1, steps + 1):
            state.step(update(k / steps, [0.0, 1.0, 0.0]))
        finals.append(state.smoothed[1])
    assert finals[0] == pytest.approx(finals[1])
    assert finals[0] == pytest.approx(1 - np.exp(-1))


def test_a_window_that_is_still_filling_is_unknown():
    got, state = run(
        [update(0, [1, 0, 0], span=0.25), update(1.75, [1, 0, 0], span=1.9), update(2, [1, 0, 0], span=2.0)]
    )
    assert got == [UNKNOWN, UNKNOWN, "cook"]
    assert state.why == ""


def test_a_window_with_a_hole_is_unknown_and_says_why():
    got, state = run([update(0, [1, 0, 0]), update(3, [1, 0, 0], gap=2.5)])
    assert got == ["cook", UNKNOWN]
    assert "hole of 2.5 s" in state.why


def test_new_labels_ask_anew():
    got, state = run(
        [
            update(0, [0.9, 0, 0]),
            update(1, [0.1, 0.2], version=2, names=("wash", "sleep")),
            update(2, [0.1, 0.9], version=2, names=("wash", "sleep")),
        ]
    )
    assert got == ["cook", UNKNOWN, "sleep"]
    assert state.names == ["wash", "sleep"]


def test_top_is_sorted_and_score_follows_the_state():
    _, state = run([update(0, [0.2, 0.7, 0.1])])
    assert state.top(2) == [("fall", 0.7), ("cook", 0.2)]
    assert state.score == 0.7


@pytest.mark.parametrize(
    "rules", [{"enter": 0.5, "leave": 0.6}, {"enter": 1.1}, {"leave": 0}, {"smooth_s": -1}, {"smooth_s": float("nan")}]
)
def test_impossible_rules(rules):
    with pytest.raises(BadInput):
        ActivityRules(**rules)
