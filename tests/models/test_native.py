"""The native engine against the official modules' golden numbers."""

from __future__ import annotations

import pytest
import torch

from ski_edge import _native
from ski_edge.export.pose import native_network
from ski_edge.models.checkpoint import save_model

pytestmark = pytest.mark.skipif(bool(_native.why_not_native()), reason=_native.why_not_native())


@pytest.fixture
def run(tmp_path):
    """Logits and features of a network of ours on the native engine."""

    def on(model: torch.nn.Module, clip: torch.Tensor, **options: object) -> tuple[torch.Tensor, torch.Tensor]:
        save_model(model.float(), tmp_path / "checkpoint")
        config, about = model.config, native_network(model)
        engine = _native.engine(
            tmp_path / "checkpoint" / "model.safetensors",
            model=config.model,
            variant=about.variant,
            joints=config.skeleton.layout.num_joints,
            persons=config.skeleton.persons,
            classes=config.num_classes,
            skip_empty=about.skip_empty,
            group_of=list(about.group_of),
            hop_of=list(about.hop_of),
            **options,
        )
        logits, features = engine.run(clip.float().numpy())
        return torch.from_numpy(logits).double(), torch.from_numpy(features).double()

    return on


def float32(golden) -> float:
    """What float32 may be off by: a few units of the last place of the largest logits."""
    return 2e-6 * max(map(abs, golden.first))


@pytest.mark.parametrize("name", ["ctrgcn", "ctrsgcn", "stgcn"])
def test_golden_numbers(official, run, name):
    tensors = official.filled(getattr(official, name)())
    if name == "stgcn":
        tensors = official.with_own_graph(tensors)
    model = official.network(name, tensors, name, layout="ntu25")
    logits, _ = run(model, official.clip(1, 3, 64, 25, 2))
    golden = official.GOLDEN[name]
    golden.check(logits[0], atol=max(float32(golden), 1e-6))


def test_golden_numbers_with_an_empty_second_body(official, run):
    """The body is not computed: its feature is remembered."""
    model = official.network("ctrgcn", official.filled(official.ctrgcn()), "ctrgcn", layout="ntu25")
    clip = official.clip(1, 3, 64, 25, 2)
    clip[..., 1] = 0
    want = official.Golden((144.4357, 895.1309, 34.66159, -1.091442, 79.93189), 1128.529, 94)
    want.check(run(model, clip)[0][0], atol=float32(want))


def test_golden_numbers_on_ucla(official, run):
    tensors = official.filled(official.ctrgcn(classes=10, joints=20, persons=1))
    model = official.network("ctrgcn", tensors, "ctrgcn", skeleton={"layout": "kinect20", "persons": 1})
    want = official.Golden((19.96324, 449.7598, 67.46221, 22.48345, 101.5739), 809.4866, 1)
    want.check(run(model, official.clip(1, 3, 52, 20, 1))[0][0], atol=float32(want))


def test_golden_numbers_of_hyperformer(official, run):
    model = official.network("hyperformer", official.waves(official.hyperformer()), "hyperformer", layout="ntu25")
    clip = torch.sin(0.013 * torch.arange(2 * 3 * 64 * 25 * 2, dtype=torch.float64)).view(2, 3, 64, 25, 2)
    logits, features = run(model, clip)
    got = [features.sum(), features.abs().mean(), *features[0, :2], *features[1, -3:]]
    want = [255.4473, 0.591313, 0.0282779, 0.00058038, 2.131879, 1.695094, 1.004784]
    assert [float(x) for x in got] == pytest.approx(want, rel=1e-4, abs=1e-6)
    assert [float(x) for x in [logits.sum(), *logits[0, :4], logits[1, -1]]] == pytest.approx(
        [-2.59109, 0.729579, 0.653099, 0.452033, 0.153599, 0.286328], rel=1e-4
    )
