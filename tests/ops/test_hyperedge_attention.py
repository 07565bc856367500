"""Attention between joints that knows bones and groups."""

from __future__ import annotations

import pytest
import torch

from ski_edge import ops
from ski_edge.errors import BadInput
from ski_edge.testing.op_cases import OpCase, assert_equals_reference, assert_torch_op, number


def case(c: int, o: int, v: int) -> OpCase:
    n, heads, hops, groups = number(), 3, min(4, v), min(2, v)
    weights = {
        "qkv": n(3 * o, c),
        "qkv_bias": n(3 * o),
        "group_features": n(o, c),
        "hop_features": n(hops, o),
        "group_weight": n(heads, o // heads),
        "attention_bias": n(heads, v, v),
        "project": n(o, o // 2),
        "project_bias": n(o),
        "group_of": torch.arange(v) % groups,
        "hop_of": (torch.arange(v)[:, None] - torch.arange(v)).abs() % hops,
        "gain": 0.7,
        "shortcut": None if c == o else n(o, c),
    }
    return OpCase("hyperedge_attention", c, weights, joints=v)


CASES = {
    "same width": case(36, 36, 25),
    "wider": case(3, 36, 20),
}


@pytest.mark.parametrize("name", CASES)
def test_equals_the_reference(name):
    assert_equals_reference(CASES[name])


@pytest.mark.parametrize("name", CASES)
def test_torch_op(name):
    assert_torch_op(CASES[name])


@pytest.mark.parametrize(
    ("change", "part"),
    [
        ({"group_of": torch.zeros(25)}, "group_of must hold whole numbers, got float32"),
        ({"group_of": torch.arange(25) - 1}, "indices from 0 on, got -1 to 23"),
        ({"hop_of": torch.full((25, 25), 2**32)}, "hop_of must hold indices"),  # not 0, as 32 bits would have it
        ({"gain": "x"}, "gain must be a number, got 'x'"),
    ],
)
def test_tables_are_neither_cut_nor_wrapped(change, part):
    with pytest.raises(BadInput, match=part):
        ops.HyperedgeAttention(**{**CASES["same width"].weights, **change})


@pytest.mark.parametrize("group", [-1, 256, 2**31 - 1])
def test_groups_that_cannot_be_are_refused(group):
    weights = dict(CASES["wider"].weights)
    weights["group_of"] = torch.full_like(weights["group_of"], group)
    with pytest.raises(BadInput, match="group"):
        ops.HyperedgeAttention(**weights)
