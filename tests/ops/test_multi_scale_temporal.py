"""Four branches of convolution over time."""

from __future__ import annotations

import pytest

from ski_edge.testing.op_cases import OpCase, assert_equals_reference, assert_torch_op, number


def case(c: int, residual: int, stride: int) -> OpCase:
    n, w = number(), c // 4
    weights = {
        "reduce": n(3 * w, c),
        "reduce_bias": n(3 * w),
        "near": n(w, w, 5),
        "far": n(w, w, 5),
        "point": n(w, c),
        "pool_scale": n(w),
        "bias": n(4 * w),
        "skip": n(c, residual) if residual and (residual != c or stride == 2) else None,
        "skip_bias": n(c) if residual and (residual != c or stride == 2) else None,
        "stride": stride,
    }
    return OpCase("multi_scale_temporal", c, weights, residual=residual)


CASES = {
    "residual": case(16, 16, 1),
    "strided": case(20, 8, 2),
    "alone": case(16, 0, 1),
}


@pytest.mark.parametrize("name", CASES)
def test_equals_the_reference(name):
    assert_equals_reference(CASES[name])


@pytest.mark.parametrize("name", CASES)
def test_torch_op(name):
    assert_torch_op(CASES[name])
