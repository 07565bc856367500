"""The mean over persons, joints and frames, and the linear layer after it."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import ski_edge
from ski_edge import ops
from ski_edge.errors import BadInput
from ski_edge.testing.op_cases import OpCase, assert_equals_reference, assert_torch_op, number


def case(c: int, classes: int, persons: int) -> OpCase:
    n = number()
    weights = {"weight": n(classes, c), "bias": n(classes), "persons": persons}
    return OpCase("pool_head", c, weights, bodies=2 * persons)


CASES = {
    "one person": case(16, 60, 1),
    "two persons": case(50, 7, 2),
}


@pytest.mark.parametrize("name", CASES)
def test_equals_the_reference(name):
    assert_equals_reference(CASES[name])


@pytest.mark.parametrize("name", CASES)
def test_torch_op(name):
    assert_torch_op(CASES[name])


def test_ends_a_network():
    """With the trunk's output it gives what the model gives."""
    torch.manual_seed(0)
    model = ski_edge.create_model("ctrgcn", arch="tiny", num_classes=9, layout="ntu25").eval().requires_grad_(False)
    clip = torch.randn(2, 3, 16, 25, 2)
    native = ops.PoolHead(weight=model.head.weight, bias=model.head.bias, persons=2)
    logits, features = native(model.trunk(model.normalise(clip)).transpose(2, 3))
    for got, want in ((features, model.features(clip)), (logits, model(clip))):
        assert (got - want).abs().max() <= 1e-5 * want.abs().max()  # the same sums in another order


def test_half_a_clip_is_refused():
    native = ops.PoolHead(weight=torch.zeros(4, 8), bias=torch.zeros(4), persons=2)
    with pytest.raises(BadInput, match="x must hold 2 bodies per clip, got 3"):
        native(np.zeros((3, 8, 25, 16), np.float32))
