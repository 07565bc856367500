"""ST-GCN frame by frame against its definition on whole clips."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import ski_edge
from ski_edge import _native
from ski_edge.errors import BadInput, DeviceRefused
from ski_edge.export.pose import native_network
from ski_edge.models.checkpoint import save_model

pytestmark = pytest.mark.skipif(bool(_native.why_not_native()), reason=_native.why_not_native())
FIELD = 81  # frames that one output of ten blocks with nine taps sees
FLOAT_ISAS = [isa for isa, reason in _native.isas().items() if not reason and not isa.endswith("bf16")]


def network(variant: str = "original", **config: object) -> torch.nn.Module:
    torch.manual_seed(0)
    model = ski_edge.create_model("stgcn", seed=0, arch="tiny", num_classes=7, variant=variant, **config)
    for module in model.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            torch.nn.init.normal_(module.weight, 1, 0.1)
            torch.nn.init.normal_(module.running_mean, 0, 0.1)
            torch.nn.init.uniform_(module.running_var, 0.5, 1.5)
    return model


@pytest.fixture
def stream(tmp_path):
    def of(network: torch.nn.Module, window: int, **options: object):
        save_model(network, tmp_path / "checkpoint")
        config, about = network.config, native_network(network)
        return _native.stream(
            tmp_path / "checkpoint" / "model.safetensors",
            window=window,
            model=config.model,
            variant=about.variant,
            joints=config.skeleton.layout.num_joints,
            persons=config.skeleton.persons,
            classes=config.num_classes,
            skip_empty=about.skip_empty,
            group_of=[],
            hop_of=[],
            **options,
        )

    return of


@torch.no_grad()
def clip_logits(model: torch.nn.Module, clip: torch.Tensor) -> np.ndarray:
    logits = model.double().head(model.unpadded_features(clip.double())).numpy()
    model.float()
    return logits[0]


def frames_of(clip: torch.Tensor) -> list[np.ndarray]:
    return list(clip.numpy().transpose(2, 0, 1, 3, 4)[:, :, :, None])


@pytest.mark.parametrize("isa", FLOAT_ISAS)
@pytest.mark.parametrize("variant", ["original", "continual"])
def test_equals_the_clip_at_every_frame(stream, variant, isa):
    """After each new frame: the logits of the last `window` frames as one clip, to 1e-5."""
    model = network(variant, layout="ntu25")
    window, total = FIELD + 15, FIELD + 24
    clip = torch.randn(1, 3, total, 25, 2, generator=torch.Generator().manual_seed(1))
    running = stream(model, window, isa=isa, threads=2)
    assert (running.window, running.receptive_field) == (window, FIELD)
    for seen, frame in enumerate(frames_of(clip), start=1):
        got = running.step(frame)
        assert (got is None) == (seen < window)
        if got is not None:
            want = clip_logits(model, clip[:, :, seen - window : seen])
            assert np.abs(got[0] - want).max() <= 1e-5 * max(1, np.abs(want).max())


def test_long_streams_do_not_drift(stream):
    """Thousands of frames later the running mean is still that of its window."""
    model = network(skeleton={"layout": "kinect20", "persons": 1})
    running = stream(model, FIELD + 3)
    random = torch.Generator().manual_seed(2)
    clip = torch.randn(1, 3, FIELD + 3, 20, 1, generator=random)
    loud = torch.randn(1, 3, 400, 20, 1, generator=random)
    for frame in frames_of(loud) * 5 + frames_of(clip):
        got = running.step(frame)
    want = clip_logits(model, clip)
    assert np.abs(got[0] - want).max() <= 1e-5 * max(1, np.abs(want).max())


def test_reset_forgets(stream):
    model = network(skeleton={"layout": "coco17", "persons": 1})
    running = stream(model, FIELD)
    clip = torch.randn(1, 3, FIELD, 17, 1, generator=torch.Generator().manual_seed(3))
    first = [running.step(frame) for frame in frames_of(clip)][-1]
    running.reset()
    again = [running.step(frame) for frame in frames_of(clip)]
    assert all(each is None for each in again[:-1])
    np.testing.assert_array_equal(again[-1][0], first[0])


def test_refusals(stream):
    model = network(layout="ntu25")
    with pytest.raises(BadInput, match=r"81 .* got 80"):
        stream(model, 80)
    running = stream(model, 100)
    with pytest.raises(BadInput, match="a stream takes one frame"):
        running.step(np.zeros((1, 3, 2, 25, 2), np.float32))
    other = ski_edge.create_model("ctrgcn", arch="tiny", num_classes=7, layout="ntu25")
    with pytest.raises(BadInput, match="mean over the whole window"):
        stream(other, 100)


def test_a_bundle_runs_frame_by_frame(tmp_path):
    """`SkeletonStream` opens a bundle; networks that cannot stream say why."""
    model = network(skeleton={"layout": "kinect20", "persons": 1})
    running = ski_edge.SkeletonStream(ski_edge.export_model(model, tmp_path / "bundle"), window=FIELD + 1, threads=1)
    clip = torch.randn(1, 3, FIELD + 1, 20, 1, generator=torch.Generator().manual_seed(4))
    found = [running.step(frame[0, :, 0]) for frame in frames_of(clip)]
    assert found[:-1] == [None] * FIELD
    want = clip_logits(model, clip)
    assert np.abs(found[-1]["logits"] - want).max() <= 1e-5 * max(1, np.abs(want).max())
    with pytest.raises(BadInput, match=r"float32 \[3, V, M\]"):
        running.step(clip[0].numpy())
    with pytest.raises(DeviceRefused, match="mean over the whole window"):
        ski_edge.SkeletonStream("utd27")
