"""CTR-GCN against numbers of the official module."""

from __future__ import annotations

import pytest
import torch

import ski_edge


@pytest.fixture(scope="module")
def model(official):
    return official.network("ctrgcn", official.filled(official.ctrgcn()), "ctrgcn", layout="ntu25")


@pytest.fixture(scope="module")
def clip(official):
    return official.clip(1, 3, 64, 25, 2)


@torch.no_grad()
def test_golden_numbers(official, model, clip):
    official.GOLDEN["ctrgcn"].check(model(clip)[0])


@torch.no_grad()
def test_golden_numbers_with_an_empty_second_body(official, model, clip):
    want = official.Golden((144.4357, 895.1309, 34.66159, -1.091442, 79.93189), 1128.529, 94)
    want.check(model(torch.stack([clip[..., 0], torch.zeros_like(clip[..., 0])], dim=-1))[0])


@torch.no_grad()
def test_golden_numbers_with_a_copied_body(official, model, clip):
    want = official.Golden((284.4853, 1589.157, 140.5291, -5.065454, 21.13602), 1656.629, 94)
    want.check(model(torch.stack([clip[..., 0], clip[..., 0]], dim=-1))[0])


@torch.no_grad()
def test_golden_numbers_on_ucla(official):
    tensors = official.filled(official.ctrgcn(classes=10, joints=20, persons=1))
    model = official.network("ctrgcn", tensors, "ctrgcn", skeleton={"layout": "kinect20", "persons": 1})
    want = official.Golden((19.96324, 449.7598, 67.46221, 22.48345, 101.5739), 809.4866, 1)
    want.check(model(official.clip(1, 3, 52, 20, 1))[0])


@torch.no_grad()
def test_golden_numbers_of_one_refined_graph(model, clip):
    """Subset 0 of the first layer: the refined graph times its values, before anything else."""
    unit = model.trunk[0].spatial
    x = clip[..., 0]
    graph, value = unit.topology(x)[:, 0], unit.value(x).chunk(3, dim=1)[0]
    y = torch.einsum("ncuv,nctv->nctu", graph, value).flatten()
    want = torch.tensor([0.03634045, -0.06917895, 0.05514559, -0.0961281, -0.03326786], dtype=torch.float64)
    torch.testing.assert_close(y[:5], want, rtol=1e-4, atol=0)
    assert float(y.sum()) == pytest.approx(759.1418, rel=1e-4)


@pytest.mark.parametrize(
    ("classes", "layout", "persons", "count"),
    [(60, "ntu25", 2, 1_446_672), (120, "ntu25", 2, 1_462_092), (10, "kinect20", 1, 1_426_892)],
)
def test_parameters(classes, layout, persons, count):
    model = ski_edge.create_model("ctrgcn", num_classes=classes, skeleton={"layout": layout, "persons": persons})
    assert sum(p.numel() for p in model.parameters()) == count


def test_any_length_of_clip(official):
    model = ski_edge.create_model("ctrgcn", arch="tiny", num_classes=5, layout="ntu25", seed=0)
    official.check_lengths(model, bodies=2)


def test_a_block_starts_as_its_shortcut():
    """The graph convolution's BatchNorm starts at 1e-6, so training begins without it."""
    model = ski_edge.create_model("ctrgcn", arch="tiny", num_classes=5, layout="ntu25", seed=0)
    block = model.trunk[1].spatial
    x = torch.rand(2, 16, 8, 25, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(block(x), x, rtol=0, atol=1e-4)
