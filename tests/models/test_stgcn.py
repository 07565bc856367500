"""ST-GCN against numbers of the official module; the other forms it comes in are in test_convert_pose.py."""

from __future__ import annotations

import pytest
import torch

import ski_edge
from ski_edge.skeleton import get_layout
from ski_edge.skeleton.graphs import spatial_graph, stgcn_graph


@torch.no_grad()
def test_golden_numbers(official):
    tensors = official.with_own_graph(official.filled(official.stgcn()))
    model = official.network("stgcn", tensors, "stgcn", layout="ntu25")
    official.GOLDEN["stgcn"].check(model(official.clip(1, 3, 64, 25, 2))[0])


@pytest.mark.parametrize(
    ("classes", "variant", "count"),
    [(60, "original", 3_098_832), (120, "original", 3_114_252), (60, "continual", 3.14e6)],
)
def test_parameters(classes, variant, count):
    model = ski_edge.create_model("stgcn", num_classes=classes, layout="ntu25", variant=variant)
    found = sum(p.numel() for p in model.parameters())
    assert found == count if variant == "original" else found == pytest.approx(count, rel=1e-3)


def test_each_variant_has_its_graph():
    layout = get_layout("ntu25")
    for variant, graph in (("original", stgcn_graph(layout)), ("continual", spatial_graph(layout))):
        model = ski_edge.create_model("stgcn", arch="tiny", num_classes=5, layout=layout, variant=variant)
        torch.testing.assert_close(model.trunk.adjacency, torch.tensor(graph, dtype=torch.float32))


def test_dropout_is_in_all_blocks_but_the_first():
    model = ski_edge.create_model("stgcn", arch="tiny", num_classes=5, layout="ntu25", block_dropout=0.5)
    assert [block.dropout.p for block in model.trunk.blocks] == [0] + [0.5] * 9


@pytest.mark.parametrize("variant", ["original", "continual"])
def test_any_length_of_clip(official, variant):
    model = ski_edge.create_model("stgcn", arch="tiny", num_classes=5, layout="ntu25", variant=variant, seed=0)
    official.check_lengths(model, bodies=2)


def test_bodies_share_statistics_in_the_original_only():
    clip = torch.randn(1, 3, 8, 25, 2, generator=torch.Generator().manual_seed(0))
    swapped = clip.flip(4)
    for variant, equal in (("original", True), ("continual", False)):
        model = ski_edge.create_model("stgcn", arch="tiny", num_classes=5, layout="ntu25", variant=variant, seed=0)
        torch.nn.init.normal_(model.input_norm.weight)
        assert torch.allclose(model(clip), model(swapped), atol=1e-5) is equal
