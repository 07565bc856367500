"""One convolution over several frames."""

from __future__ import annotations

import pytest

from ski_edge.testing.op_cases import OpCase, assert_equals_reference, assert_torch_op, number


def case(c: int, o: int, residual: int, stride: int) -> OpCase:
    n = number()
    weights = {
        "weight": n(o, c, 9) / 3,
        "bias": n(o),
        "skip": n(o, residual) if residual and (residual != o or stride == 2) else None,
        "stride": stride,
    }
    return OpCase("taps_conv", c, weights, residual=residual)


CASES = {
    "residual": case(12, 16, 16, 1),
    "strided": case(12, 16, 12, 2),
}


@pytest.mark.parametrize("name", CASES)
def test_equals_the_reference(name):
    assert_equals_reference(CASES[name])


@pytest.mark.parametrize("name", CASES)
def test_torch_op(name):
    assert_torch_op(CASES[name])
