"""Graph convolution with one graph for all channels."""

from __future__ import annotations

import pytest

from ski_edge.testing.op_cases import OpCase, assert_equals_reference, assert_torch_op, number


def case(c: int, o: int, v: int) -> OpCase:
    n = number()
    weights = {
        "graph": n(3, v, v),
        "value": n(3 * o, c),
        "value_bias": n(3 * o),
        "shift": n(o),
        "identity": c == o,
        "shortcut": None if c == o else n(o, c),
    }
    return OpCase("graph_conv", c, weights, joints=v)


CASES = {
    "same width": case(16, 16, 25),
    "wider": case(3, 20, 33),
}


@pytest.mark.parametrize("name", CASES)
def test_equals_the_reference(name):
    assert_equals_reference(CASES[name])


@pytest.mark.parametrize("name", CASES)
def test_torch_op(name):
    assert_torch_op(CASES[name])
