"""CTRS-GCN (CTR-GCN's baseline) against numbers of the official module."""

from __future__ import annotations

import pytest
import torch

import ski_edge


@torch.no_grad()
def test_golden_numbers(official):
    model = official.network("ctrsgcn", official.filled(official.ctrsgcn()), "ctrsgcn", layout="ntu25")
    official.GOLDEN["ctrsgcn"].check(model(official.clip(1, 3, 64, 25, 2))[0])


@pytest.mark.parametrize(("classes", "count"), [(60, 2_092_902), (120, 2_108_322)])
def test_parameters(classes, count):
    model = ski_edge.create_model("ctrsgcn", num_classes=classes, layout="ntu25")
    assert sum(p.numel() for p in model.parameters()) == count


def test_graphs_start_as_identities():
    model = ski_edge.create_model("ctrsgcn", arch="tiny", num_classes=5, layout="utd20", seed=0)
    assert torch.equal(model.trunk[3].spatial.adjacency, torch.eye(20).repeat(3, 1, 1))


def test_any_length_of_clip(official):
    model = ski_edge.create_model("ctrsgcn", arch="tiny", num_classes=5, layout="ntu25", seed=0)
    official.check_lengths(model, bodies=2)
