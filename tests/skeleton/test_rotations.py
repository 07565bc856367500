"""The smallest rotation between two directions, also where they are nearly opposite."""

from __future__ import annotations

import numpy as np
import pytest

from ski_edge.skeleton.rotations import rotation_onto

UP = np.array([0.0, 0.0, 1.0])


@pytest.mark.parametrize("off", [1.0, 1e-3, 1e-5, 1e-7, 1e-8])
@pytest.mark.parametrize("along", [1.0, 0.0, -1.0])
def test_it_is_a_rotation_that_hits_the_axis(off, along):
    """Off by 1e-8 from straight against the axis, 1 + cosine is 0 in float64."""
    vector = 3 * np.array([0.6 * off, 0.8 * off, along])
    turn = rotation_onto(vector, UP)
    np.testing.assert_allclose(turn @ turn.T, np.eye(3), atol=1e-12)
    assert np.linalg.det(turn) == pytest.approx(1)
    np.testing.assert_allclose(turn @ vector / np.linalg.norm(vector), UP, atol=1e-12)
    square = np.array([-0.8, 0.6, 0.0])  # to both: the smallest turn is about it
    np.testing.assert_allclose(turn @ square, square, atol=1e-12)


@pytest.mark.parametrize("vector", [UP, -2 * UP, 0 * UP, np.array([1e-10, 0, -1])])
def test_what_needs_no_turn_or_has_no_smallest_one_stays(vector):
    np.testing.assert_array_equal(rotation_onto(vector, UP), np.eye(3))
