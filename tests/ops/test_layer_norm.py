"""LayerNorm over channels."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from ski_edge import ops
from ski_edge.testing.op_cases import OpCase, assert_equals_reference, assert_torch_op, number


def case(c: int, v: int) -> OpCase:
    n = number()
    return OpCase("layer_norm", c, {"weight": n(c), "bias": n(c)}, joints=v)


CASES = {
    "narrow": case(3, 25),
    "wide": case(36, 40),
}


@pytest.mark.parametrize("name", CASES)
def test_equals_the_reference(name):
    assert_equals_reference(CASES[name])


@pytest.mark.parametrize("name", CASES)
def test_torch_op(name):
    assert_torch_op(CASES[name])


def test_is_the_norm_of_hyperformer():
    """`nn.LayerNorm` over channels of [N, T, V, C], which is what its attention begins with."""
    torch.manual_seed(0)
    norm = nn.LayerNorm(36).requires_grad_(False)
    nn.init.normal_(norm.weight), nn.init.normal_(norm.bias)
    x = torch.randn(2, 36, 25, 20)
    native = ops.LayerNorm(weight=norm.weight, bias=norm.bias)
    torch.testing.assert_close(native(x), norm(x.permute(0, 3, 2, 1)).permute(0, 3, 2, 1))
