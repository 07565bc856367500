"""ST-GCN frame by frame against its definition on whole clips."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest
import torch
import torch.nn.functional as F

import ski_edge
from ski_edge import _native
from ski_edge.bundle.manifest import _digest, read_manifest
from ski_edge.data.utd import read_utd
from ski_edge.errors import BadInput, DeviceRefused
from ski_edge.export.pose import native_network
from ski_edge.files import write_json
from ski_edge.models.checkpoint import load_model, save_model
from ski_edge.runtime import about_streaming, find_bundle, open_bundle
from ski_edge.skeleton import LAYOUTS
from ski_edge.skeleton.inputs import arrange
from ski_edge.testing.skeletons import moving_skeleton

pytestmark = pytest.mark.skipif(bool(_native.why_not_native()), reason=_native.why_not_native())
FIELD = 81  # frames that one output of ten blocks with nine taps sees
FLOAT_ISAS = [isa for isa, reason in _native.isas().items() if not reason and not isa.endswith("bf16")]


def network(variant: str = "original", **config: object) -> torch.nn.Module:
    torch.manual_seed(0)
    model = ski_edge.create_model("stgcn", seed=0, arch="tiny", num_classes=7, variant=variant, **config)
    for module in model.modules():
        if isinstance(module, (torch.nn.Conv2d, torch.nn.Linear)):
            torch.nn.init.kaiming_normal_(module.weight)  # the original's own numbers let no input reach the logits
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
            assert np.abs(got[0] - want).max() <= 1e-5 * np.abs(want).max()


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
    assert np.abs(got[0] - want).max() <= 1e-5 * np.abs(want).max()


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
    assert np.abs(found[-1]["logits"] - want).max() <= 1e-5 * np.abs(want).max()
    with pytest.raises(BadInput, match=r"float32 \[3, V, M\]"):
        running.step(clip[0].numpy())
    with pytest.raises(BadInput, match="must be an array"):
        running.step([[1], [1, 2]])
    with pytest.raises(BadInput, match=r"whole number of frames, got 90\.5"):
        ski_edge.SkeletonStream("utd27", window=90.5)
    with pytest.raises(DeviceRefused, match="mean over the whole window"):
        ski_edge.SkeletonStream("utd27")


UTD = {"layout": "utd20", "persons": 1, "resample": {"name": "crop-resize", "frames": FIELD + 4}}


@pytest.fixture(scope="module")
def padded_bundle(tmp_path_factory):
    return ski_edge.export_model(network(skeleton=UTD), tmp_path_factory.mktemp("padded") / "bundle")


def test_weights_trained_without_padding_say_the_same_in_windows_and_streams(tmp_path, cli):
    """`temporal: unpadded` from the checkpoint to the bundle: torch, ONNX Runtime and the stream are one definition."""
    model = network(skeleton=UTD, temporal="unpadded")
    save_model(model, tmp_path / "checkpoint")
    model = load_model(tmp_path / "checkpoint")
    bundle = ski_edge.export_model(model, tmp_path / "bundle")
    manifest = read_manifest(bundle)
    assert manifest.streaming.model_dump() == {"receptive_field": FIELD, "trained": "unpadded"}
    session, running = open_bundle(bundle), ski_edge.SkeletonStream(bundle, window=FIELD + 4)
    assert (session.backend, running.trained) == ("onnxruntime", "unpadded")
    with pytest.raises(DeviceRefused, match="whole windows run on onnxruntime"):
        open_bundle(bundle, "native")
    clip = torch.randn(1, 3, FIELD + 9, 20, 1, generator=torch.Generator().manual_seed(5))
    answers = 0
    for seen, frame in enumerate(frames_of(clip), start=1):
        if (found := running.step(frame[0, :, 0])) is None:
            continue
        answers += 1
        window = clip[:, :, seen - running.window : seen]
        with torch.no_grad():
            torch.testing.assert_close(model.features(window), model.unpadded_features(window))
        for name, want in session.run(skeleton=window.numpy()).items():
            assert np.abs(found[name] - want[0]).max() <= 1e-5 * np.abs(want).max()
    assert answers == 6
    code, out, err = cli("verify", bundle)
    assert code == 0, err
    assert f"exactly the scores of a window, of at least {FIELD} frames" in out


def test_too_few_frames_for_no_padding():
    with pytest.raises(BadInput, match=r"temporal unpadded needs clips of at least 81 frames.* gives 64"):
        network(layout="ntu25", temporal="unpadded")
    model = network(skeleton=UTD, temporal="unpadded")
    with pytest.raises(BadInput, match="at least 81 frames, got 80"):
        model(torch.zeros(1, 3, 80, 20, 1))


def test_a_bundle_says_how_its_weights_were_trained(padded_bundle, cli):
    assert read_manifest(padded_bundle).streaming.trained == "padded"
    running = ski_edge.SkeletonStream(padded_bundle)
    assert (running.trained, running.receptive_field) == ("padded", FIELD)
    assert open_bundle(padded_bundle).backend == "native"
    assert "other scores than those of a window" in cli("verify", padded_bundle)[1]
    assert about_streaming(read_manifest(find_bundle("utd27"))) == ""


def test_a_bundle_of_before_still_opens(padded_bundle, tmp_path):
    old = tmp_path / "old"
    shutil.copytree(padded_bundle, old)
    fields = json.loads((old / "manifest.json").read_text())
    del fields["streaming"], fields["sha256"]
    write_json(old / "manifest.json", {**fields, "sha256": _digest(fields)})
    assert open_bundle(old).backend == "native"
    assert ski_edge.SkeletonStream(old).trained == "unknown"
    assert "export the bundle again" in about_streaming(read_manifest(old))


@torch.no_grad()
def trunk_frames(model: torch.nn.Module, clip: torch.Tensor, strided: bool) -> np.ndarray:
    """[T or T / 4, D]: the padded trunk's output at each frame, averaged over joints; strided: the network as it is."""
    if strided:
        return model.trunk(model.normalise(clip)).mean(dim=3)[0].T.numpy()
    x = model.normalise(clip)
    for block in model.trunk.blocks:
        temporal, skip = block.temporal, block.skip
        y = block.spatial(x, model.trunk.adjacency)
        y = temporal.norm(F.conv2d(y, temporal.conv.weight, temporal.conv.bias, padding=(4, 0)))
        if block.residual:
            identity = isinstance(skip, torch.nn.Identity)
            y = y + (x if identity else skip.norm(F.conv2d(x, skip.conv.weight, skip.conv.bias)))
        x = y.relu()
    return x.mean(dim=3)[0].T.numpy()


@pytest.mark.parametrize("source", ["generated", "real"])
def test_where_padded_weights_differ_in_a_stream(padded_bundle, source, request):
    """Padding alone changes the 40 frames at both ends and not one in the middle; strides change the middle as well."""
    model = network(skeleton=UTD)
    if source == "real":
        joints = read_utd(request.getfixturevalue("utd_mhad") / "a21_s8_t2_skeleton.mat")
    else:
        joints = moving_skeleton(LAYOUTS["utd20"], 300)[:, 0]
    arranged = arrange(joints[:, None], model.config.skeleton)
    clip = torch.from_numpy(arranged.transpose(3, 0, 2, 1)[None].copy())
    frames, half = clip.shape[2], FIELD // 2
    running = ski_edge.SkeletonStream(padded_bundle, window=FIELD)  # one output of the trunk at a time
    steps = [running.step(frame[0, :, 0]) for frame in frames_of(clip)]
    stream = np.array([found["embedding"] for found in steps if found is not None])  # of frames 40 .. T - 41
    assert len(stream) == frames - FIELD + 1
    scale = np.abs(stream).max()
    padded = trunk_frames(model, clip, strided=False)
    assert np.abs(padded[half:-half] - stream).max() <= 1e-5 * scale
    # Beside the middle, a window has outputs that saw zeros in place of frames; they look like none of the stream's.
    for end in (padded[:4], padded[-4:]):
        assert np.abs(end[:, None] - stream).max(axis=2).min() > 0.02 * scale
    # The network as it is halves time twice, so that an output sees 153 frames; where all of them are there, it is
    # not the stream's either.
    strided = trunk_frames(model, clip, strided=True)
    at = 4 * np.arange(len(strided))
    inside = (at >= 76) & (at < frames - 76)
    assert inside.any() == (source == "generated")  # the longest real clip is too short for one
    change = np.abs(strided - stream[np.clip(at - half, 0, len(stream) - 1)]).max(axis=1) / scale
    if inside.any():
        assert change[inside].min() > 0.02
