from __future__ import annotations

import numpy as np
import pytest

from ski_edge.errors import BadInput
from ski_edge.runtime.windows import PoseWindow


def pose(value=0.0, joints=5):
    return np.full((joints, 3), value, np.float32)


def fill(window, times):
    for t in times:
        window.add(t, pose(t))
    return window


def test_sequence_is_every_pose_of_the_last_seconds_and_one_before():
    window = fill(PoseWindow(2.0), np.arange(100) / 10)
    joints, times = window.sequence()
    assert joints.shape == (len(times), 1, 5, 3)
    assert joints.dtype == np.float32
    np.testing.assert_allclose(times, np.arange(79, 100) / 10)  # 7.9 is the moment the window starts
    np.testing.assert_array_equal(joints[:, 0, 0, 0], times.astype(np.float32))


def test_ready_from_half_a_window_on():
    window = PoseWindow(2.0)
    assert window.why_not_ready(0.0) == "no pose yet"
    for i in range(31):
        window.add(i / 30, pose())
        assert window.ready(i / 30) == (i == 30)
    assert "window filling (0.5 of 2.0 s)" in fill(PoseWindow(2.0), np.arange(16) / 30).why_not_ready(0.5)


def test_a_hole_makes_it_unknown_until_the_window_has_filled_anew():
    times = np.arange(120) / 30
    window = fill(PoseWindow(2.0), times[:60])
    assert window.ready(2.0)
    assert "not seen for 1.0 s" in window.why_not_ready(times[59] + 1.0)  # nothing came: the hole is at the end
    window.add(3.0, pose())
    assert "window filling (0.0 of 2.0 s)" in window.why_not_ready(3.0)  # as for somebody who just came
    fill(window, 3.0 + np.arange(1, 90) / 30)
    assert window.ready(3.0 + 89 / 30)
    assert window.times()[0] >= 3.0  # nothing from before the hole


def test_many_small_holes_are_too_many():
    window = fill(PoseWindow(2.0, max_gap_s=0.5), np.arange(20) * 0.45)
    assert "only" in window.why_not_ready(19 * 0.45)
    assert fill(PoseWindow(2.0, max_gap_s=0.5), np.arange(40) * 0.2).ready(39 * 0.2)  # five a second is enough


def test_memory_is_bounded_whatever_the_rate():
    window = PoseWindow(1.0)
    for i in range(5000):
        window.add(i * 1e-5, pose())
    assert len(window) <= 242


@pytest.mark.parametrize(
    ("timestamp", "joints", "says"),
    [
        (1.0, pose(), "timestamps must grow"),
        (float("nan"), pose(), "timestamps must grow"),
        (2.0, pose(joints=6), "same V"),
        (2.0, pose(float("nan")), "NaN"),
        (2.0, np.zeros((5, 2), np.float32), r"\[V, 3\]"),
    ],
)
def test_bad_poses_change_nothing(timestamp, joints, says):
    window = fill(PoseWindow(2.0), [0.5, 1.0])
    with pytest.raises(BadInput, match=says):
        window.add(timestamp, joints)
    assert len(window) == 2


@pytest.mark.parametrize(("seconds", "gap"), [(0, 0.5), (-1, 0.5), (2, 0), (2, 3), (float("nan"), 1), (1e9, 1)])
def test_impossible_windows(seconds, gap):
    with pytest.raises(BadInput, match="needs 0 < max_gap_s"):
        PoseWindow(seconds, gap)


def test_an_empty_window_has_no_sequence():
    with pytest.raises(BadInput, match="empty"):
        PoseWindow(2.0).sequence()


def test_the_window_owns_its_poses():
    window, joints = PoseWindow(2.0), pose()
    window.add(0.0, joints)
    joints[:] = 7
    assert (window.sequence()[0] == 0).all()
