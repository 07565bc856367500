"""What benchmarks count: the layers of a network are its ops, and their operations are those torch counts."""

from __future__ import annotations

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

import ski_edge
from ski_edge.export.pose_graph import PoseGraph
from ski_edge.testing.op_costs import cost
from ski_edge.testing.op_layers import NETWORKS, network_layers


@pytest.mark.parametrize("network", NETWORKS)
def test_operations_are_those_torch_counts_in_the_exported_graph(network):
    graph = PoseGraph(ski_edge.create_model(network, seed=0, num_classes=60, layout="ntu25"))
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        graph(torch.zeros(1, 3, 16, 25, 1))
    counted = sum(cost(layer).flop for layer in network_layers(network, frames=16))
    # torch also counts the head, and Hyperformer's means over groups of joints as products.
    assert counted == pytest.approx(counter.get_total_flops(), rel=5e-3)


@pytest.mark.parametrize("network", NETWORKS)
def test_layers_chain_and_hold_the_weights_of_the_network(network):
    layers = network_layers(network)
    frames, width = 64, 3
    for layer in layers:
        assert (layer.frames, layer.channels[0]) == (frames, width)
        frames, width = -(-frames // layer.stride), layer.outputs
    model = ski_edge.create_model(network, seed=0, num_classes=60, layout="ntu25")
    held = sum(x.numel() for x in model.trunk.parameters())
    numbers = sum(cost(layer, operand_bytes=1).weight_bytes for layer in layers)
    assert numbers == pytest.approx(held, rel=0.02)  # norms are folded


def test_kernels_ask_for_no_less_than_has_to_move():
    for network in NETWORKS:
        for layer in network_layers(network):
            for operand_bytes in (2, 4):
                spent = cost(layer, 2, operand_bytes)
                assert spent.our_bytes >= spent.activation_bytes
                assert spent.our_weight_bytes > 0.5 * spent.weight_bytes, layer.name
