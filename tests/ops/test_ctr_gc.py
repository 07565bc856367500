"""Channel-wise topology refinement."""

from __future__ import annotations

import pytest

from ski_edge.testing.op_cases import OpCase, assert_equals_reference, assert_torch_op, number


def case(c: int, o: int, v: int) -> OpCase:
    n, s, r = number(), 3, 5
    weights = {
        "relation": n(2 * s * r, c),
        "relation_bias": n(2 * s * r),
        "expand": n(s * o, r),
        "expand_bias": n(s * o),
        "adjacency": n(s, v, v),
        "value": n(s * o, c),
        "value_bias": n(s * o),
        "shift": n(o),
        "shortcut": None if c == o else n(o, c),
    }
    return OpCase("ctr_gc", c, weights, joints=v)


CASES = {
    "same width": case(16, 16, 25),
    "wider": case(3, 20, 17),
}


@pytest.mark.parametrize("name", CASES)
def test_equals_the_reference(name):
    assert_equals_reference(CASES[name])


@pytest.mark.parametrize("name", CASES)
def test_torch_op(name):
    assert_torch_op(CASES[name])
