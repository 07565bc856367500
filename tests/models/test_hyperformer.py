"""Hyperformer against numbers of the official module."""

from __future__ import annotations

import pytest
import torch

import ski_edge
from ski_edge.errors import BadInput


@torch.no_grad()
def test_golden_numbers(official):
    shapes = official.hyperformer()
    assert len(shapes) == 609
    model = official.network("hyperformer", official.waves(shapes), "hyperformer", layout="ntu25")
    clip = torch.sin(0.013 * torch.arange(2 * 3 * 64 * 25 * 2, dtype=torch.float64)).view(2, 3, 64, 25, 2)
    features = model.features(clip)
    got = [features.sum(), features.abs().mean(), *features[0, :2], *features[1, -3:]]
    want = [255.4473, 0.591313, 0.0282779, 0.00058038, 2.131879, 1.695094, 1.004784]
    # The official numbers are float32, which leaves the smallest of them few digits.
    assert [float(x) for x in got] == pytest.approx(want, rel=1e-4, abs=1e-6)
    logits = model.head(features)
    got = [logits.sum(), *logits[0, :4], logits[1, -1]]
    assert [float(x) for x in got] == pytest.approx(
        [-2.59109, 0.729579, 0.653099, 0.452033, 0.153599, 0.286328], rel=1e-4
    )
    assert logits.argmax(dim=1).tolist() == [46, 46]


@pytest.mark.parametrize(
    ("classes", "layout", "persons", "count"),
    [(60, "ntu25", 2, 2_729_194), (120, "ntu25", 2, 2_742_214), (10, "kinect20", 1, 2_695_754)],
)
def test_parameters(classes, layout, persons, count):
    model = ski_edge.create_model("hyperformer", num_classes=classes, skeleton={"layout": layout, "persons": persons})
    assert sum(p.numel() for p in model.parameters()) == count


UCLA_BONE = (0, 0, 0, 0, 0, 1, 1, 1, 0, 1, 1, 1, 0, 2, 2, 2, 0, 2, 2, 2)


def test_hyperedges_can_be_given():
    fields = {"arch": "tiny", "num_classes": 5, "layout": "kinect20", "seed": 0}
    own, given = (ski_edge.create_model("hyperformer", **fields, **more) for more in ({}, {"hyperedges": UCLA_BONE}))
    assert given.trunk[0].spatial.groups.tolist() == list(UCLA_BONE)
    assert own.trunk[0].spatial.groups.tolist() == [0] * 4 + [1] * 8 + [2] * 8
    means = given.trunk[0].spatial.mean
    assert torch.allclose(means.sum(dim=0), torch.ones(3))
    assert means[:, 1].nonzero().flatten().tolist() == [5, 6, 7, 9, 10, 11]


@pytest.mark.parametrize("groups", [(0, 1), (0,) * 19 + (2,), (-1,) * 20])
def test_wrong_hyperedges(groups):
    with pytest.raises(BadInput, match="hyperedges must give each of 20 joints a group"):
        ski_edge.create_model("hyperformer", num_classes=5, layout="kinect20", hyperedges=groups)


@pytest.mark.parametrize("layout", ["ntu25", "coco17"])
def test_any_length_of_clip(official, layout):
    model = ski_edge.create_model("hyperformer", arch="tiny", num_classes=5, layout=layout, seed=0)
    official.check_lengths(model, bodies=2)
