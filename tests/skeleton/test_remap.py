"""Layout to layout: round trips, proportions, axes and mirroring."""

from __future__ import annotations

import numpy as np
import pytest

from ski_edge.errors import BadInput
from ski_edge.skeleton import LAYOUTS, from_mediapipe_world, remap, remap_matrix, swap_sides
from ski_edge.testing.skeletons import moving_skeleton

NAMES = list(LAYOUTS)
REACHABLE = [
    (a, b)
    for a in NAMES
    for b in NAMES
    if a == b or b in ("ntu25", "kinect20", "utd20") or (a, b) in {("mediapipe33", "coco17"), ("mediapipe33", "h36m17")}
]


@pytest.mark.parametrize(("source", "target"), REACHABLE)
def test_rows_sum_to_one_so_rotation_and_translation_commute(source, target):
    a, b = LAYOUTS[source], LAYOUTS[target]
    np.testing.assert_allclose(remap_matrix(a, b).sum(axis=1), 1, atol=1e-12)
    clip = moving_skeleton(a, 3)
    shift = np.float32([1, -2, 3])
    np.testing.assert_allclose(remap(clip + shift, a, b), remap(clip, a, b) + shift, atol=1e-4)


@pytest.mark.parametrize(("source", "target"), REACHABLE)
def test_left_stays_left(source, target):
    """Mirroring before or after remapping is the same: no rule mixes up sides."""
    a, b = LAYOUTS[source], LAYOUTS[target]
    clip = moving_skeleton(a, 2)
    np.testing.assert_allclose(remap(swap_sides(clip, a), a, b), swap_sides(remap(clip, a, b), b), atol=1e-5)


@pytest.mark.parametrize("name", ["kinect20", "utd20"])
def test_kinect_v1_survives_the_way_through_ntu(name):
    layout, ntu = LAYOUTS[name], LAYOUTS["ntu25"]
    clip = moving_skeleton(layout, 4)
    np.testing.assert_allclose(remap(remap(clip, layout, ntu), ntu, layout), clip, atol=1e-6)


def test_utd_and_kinect_are_one_skeleton_in_two_orders():
    utd, kinect = LAYOUTS["utd20"], LAYOUTS["kinect20"]
    clip = moving_skeleton(utd, 2)
    other = remap(clip, utd, kinect)
    for joint in utd.joints:
        np.testing.assert_array_equal(other[..., kinect.index(joint), :], clip[..., utd.index(joint), :])


def test_twenty_to_twenty_five_interpolates():
    kinect, ntu = LAYOUTS["kinect20"], LAYOUTS["ntu25"]
    clip = moving_skeleton(kinect, 1)
    got = remap(clip, kinect, ntu)[0, 0]
    p3, p4 = clip[0, 0, 2], clip[0, 0, 3]
    np.testing.assert_allclose(got[2], p3 + 0.34 * (p4 - p3), atol=1e-6)
    wrist, hand = clip[0, 0, 6], clip[0, 0, 7]
    np.testing.assert_allclose(got[21], hand + 0.65 * (hand - wrist), atol=1e-6)
    np.testing.assert_allclose(got[22], hand, atol=1e-6)


def test_mediapipe_proportions():
    """The fact sheet's: spine middle at 0.574, neck at 0.34, hips at 0.6 of their width."""
    source, ntu = LAYOUTS["mediapipe33"], LAYOUTS["ntu25"]
    clip = moving_skeleton(source, 1)
    got, raw = remap(clip, source, ntu)[0, 0], clip[0, 0]
    base, mid, shoulder, neck, head = (got[i] for i in (0, 1, 20, 2, 3))
    np.testing.assert_allclose(base, (raw[23] + raw[24]) / 2, atol=1e-6)
    np.testing.assert_allclose(mid, base + 0.574 * (shoulder - base), atol=1e-6)
    np.testing.assert_allclose(neck, shoulder + 0.34 * (head - shoulder), atol=1e-6)
    np.testing.assert_allclose(got[12] - got[16], 0.6 * (raw[23] - raw[24]), atol=1e-6)


def test_mediapipe_axes():
    """Who faces an unmirrored camera has the left side at larger image x; Kinect has it at smaller x."""
    landmarks = np.zeros((33, 3), np.float32)
    landmarks[11], landmarks[12], landmarks[0] = (0.2, -0.5, 0), (-0.2, -0.5, 0), (0, -0.7, -0.1)
    got = from_mediapipe_world(landmarks)
    assert got[11, 0] < got[12, 0]
    assert got[0, 1] > 0  # up
    assert got[0, 2] < 0  # the nose is nearer than the hips
    mirrored = from_mediapipe_world(
        swap_sides(landmarks * np.float32([-1, 1, 1]), LAYOUTS["mediapipe33"]), mirrored=True
    )
    np.testing.assert_allclose(mirrored, got, atol=1e-6)


def test_no_rule_is_named():
    with pytest.raises(BadInput, match="no rule maps ntu25 to coco17; there are: kinect20 to ntu25"):
        remap_matrix(LAYOUTS["ntu25"], LAYOUTS["coco17"])
    with pytest.raises(BadInput, match=r"ntu25 has 25 joints, got an array of \[3, 20, 3\]"):
        remap(np.zeros((3, 20, 3)), LAYOUTS["ntu25"], LAYOUTS["kinect20"])


def test_a_missing_body_stays_missing():
    assert not remap(np.zeros((2, 1, 33, 3)), LAYOUTS["mediapipe33"], LAYOUTS["ntu25"]).any()
