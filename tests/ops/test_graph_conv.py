"""Graph convolution with one graph for all channels."""

from __future__ import annotations

import copy
import dataclasses

import pytest
import torch
from torch import Tensor, nn

import ski_edge
from ski_edge import ops
from ski_edge.models.hdgcn import HierarchyConv
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
    "no relu": dataclasses.replace(case(16, 16, 25), weights={**case(16, 16, 25).weights, "relu": False}),
}


@pytest.mark.parametrize("name", CASES)
def test_equals_the_reference(name):
    assert_equals_reference(CASES[name])


@pytest.mark.parametrize("name", CASES)
def test_torch_op(name):
    assert_torch_op(CASES[name])


def fold(conv: nn.Conv2d, norm: nn.BatchNorm2d) -> tuple[Tensor, Tensor]:
    """norm(conv(x)) as weight [C', C] and bias [C']."""
    scale = norm.weight / (norm.running_var + norm.eps).sqrt()
    return conv.weight.flatten(1) * scale[:, None], (conv.bias - norm.running_mean) * scale + norm.bias


def level_weights(conv: HierarchyConv, level: int) -> dict[str, Tensor]:
    """One level of the hierarchy as `graph_conv` takes it."""
    count, subsets = conv.adjacency.shape[:2]
    weight, bias = fold(conv.value, conv.value_norm)
    weight, bias = weight.view(count, subsets, -1, weight.shape[1])[level], bias.view(count, -1)[level]
    width = weight.shape[1]
    value = torch.zeros(subsets, subsets, width, width, dtype=weight.dtype)  # [graph, rows of a subset, R, R]
    value[range(subsets), range(subsets)] = weight
    return {
        "graph": conv.adjacency[level].transpose(1, 2),  # destination, source there; source, destination here
        "value": value.view(subsets * subsets * width, width),
        "value_bias": torch.zeros(subsets * subsets * width, dtype=weight.dtype),
        "shift": bias,  # after the graphs, as in the model
    }


@torch.no_grad()
def test_is_a_level_of_hdgcn():
    """HD-GCN's hierarchical graph convolution, level by level: relu(reduce), then three graphs side by side."""
    torch.manual_seed(0)
    model = ski_edge.create_model("hdgcn", arch="tiny", num_classes=9, layout="ntu25").eval()
    conv = model.trunk[1].spatial
    for norm in (conv.reduce_norm, conv.value_norm):
        nn.init.uniform_(norm.running_var, 0.5, 2), nn.init.normal_(norm.running_mean), nn.init.normal_(norm.bias)
    x = torch.randn(2, conv.reduce.in_channels, 20, 25)

    def by_torch(dtype: torch.dtype) -> Tensor:
        """[N, L, S * R, V, T] of the model's own modules, without the EdgeConv that it puts beside them."""
        network = copy.deepcopy(conv).to(dtype)
        reduced = network.reduce_norm(network.reduce(x.to(dtype))).relu()
        count = len(network.adjacency)
        levels = reduced.unflatten(1, (count, -1))  # [N, L, R, T, u]
        mixed = torch.einsum("nlrtu,lsvu->nlsrtv", levels, network.adjacency)
        value = network.value_norm(network.value(mixed.flatten(1, 3)))
        return value.unflatten(1, (count, -1)).transpose(3, 4)

    exact, plain = by_torch(torch.float64), by_torch(torch.float32)
    levels = conv.reduce_norm(conv.reduce(x)).relu().unflatten(1, (len(conv.adjacency), -1)).transpose(3, 4)
    for level in range(len(conv.adjacency)):
        native = ops.GraphConv(**level_weights(conv, level), relu=False)
        got, truth = native(levels[:, level].contiguous()), exact[:, level]
        scale = truth.abs().max()
        assert got.shape == truth.shape
        assert (got - truth).abs().max() / scale <= max(2 * (plain[:, level] - truth).abs().max() / scale, 2e-6)
