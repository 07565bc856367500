"""HD-GCN against numbers of the official module."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

import ski_edge
from ski_edge.errors import BadInput
from ski_edge.models.hdgcn import EdgeConv


@torch.no_grad()
def test_golden_numbers(official):
    model = official.network("hdgcn", official.filled(official.hdgcn()), "hdgcn", layout="ntu25", centre=0)
    official.GOLDEN["hdgcn"].check(model(official.clip(1, 3, 64, 25, 2))[0])


@pytest.mark.parametrize(
    ("classes", "centre", "count"), [(60, 0, 1_659_980), (120, 1, 1_675_400), (120, 20, 1_675_400)]
)
def test_parameters(classes, centre, count):
    model = ski_edge.create_model("hdgcn", num_classes=classes, layout="ntu25", centre=centre)
    assert sum(p.numel() for p in model.parameters()) == count


@torch.no_grad()
def test_edge_conv_by_hand():
    """Two groups of channels, each with the nearest points of its own space."""
    edge = EdgeConv(3, 2, 4).double().eval()
    points = torch.randn(2, 6, 7, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    got = edge(points)
    for n in range(2):
        for group in range(2):
            x = points[n, 3 * group : 3 * group + 3].T  # [point, channel]
            weight = edge.conv.weight[3 * group : 3 * group + 3, :, 0, 0]
            for p in range(7):
                nearest = ((x - x[p]) ** 2).sum(dim=1).argsort()[:4]
                edges = torch.cat([x[nearest] - x[p], x[p].expand(4, 3)], dim=1) @ weight.T
                want = F.leaky_relu(edges / (1 + 1e-5) ** 0.5, 0.2).amax(dim=0)
                torch.testing.assert_close(got[n, 3 * group : 3 * group + 3, p], want)


def test_centres_give_different_networks():
    clip = torch.randn(1, 3, 8, 25, 2, generator=torch.Generator().manual_seed(0))
    logits = []
    for centre in (0, 1, 20):
        model = ski_edge.create_model("hdgcn", arch="tiny", num_classes=5, layout="ntu25", centre=centre, seed=0)
        for block in model.trunk:  # switch the graph convolutions on, they start at 1e-6
            torch.nn.init.ones_(block.spatial.norm.weight)
        logits.append(model(clip))
    assert not torch.allclose(logits[0], logits[1])
    assert not torch.allclose(logits[0], logits[2])


def test_a_centre_that_is_no_joint():
    with pytest.raises(BadInput, match="centre 20 is not a joint of kinect20"):
        ski_edge.create_model("hdgcn", num_classes=5, layout="kinect20", centre=20)


@pytest.mark.parametrize("layout", ["ntu25", "kinect20", "h36m17"])
def test_any_length_of_clip(official, layout):
    model = ski_edge.create_model("hdgcn", arch="tiny", num_classes=5, layout=layout, seed=0)
    official.check_lengths(model, bodies=2)
