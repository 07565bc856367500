from __future__ import annotations

import collections
import json
from dataclasses import replace

import numpy as np
import onnx
import onnxruntime
import pytest
import torch

import ski_edge
from ski_edge.bundle import Label, read_manifest
from ski_edge.errors import BadInput, ParityFailed, PrecisionNotRealised
from ski_edge.export import compare_live
from ski_edge.export import video as export_video
from ski_edge.export.graphs import JointScorer, NeighbourClipEncoder, TextEncoder
from ski_edge.export.onnx_file import write_onnx
from ski_edge.models.clip import tokenize

NAMES = ("xclip", "froster")


def random_clips(count, length=8, seed=0):
    return torch.randn(count, length, 3, 224, 224, generator=torch.Generator().manual_seed(seed))


def graph_and_live(name, model, clips, text):
    """(restated graph, the model's own forward) on the same clips and raw text features."""
    if name == "xclip":
        return JointScorer(model)(clips, text), model.compare(clips, text)[1]
    return NeighbourClipEncoder(model)(clips), model.encode_video(clips)


@pytest.mark.parametrize("name", NAMES)
def test_graphs_restate_the_live_model(clip_models, name):
    """The shortcuts are exact; against float64, no worse than twice plain torch."""
    model = clip_models[name]
    clips = random_clips(2)
    with torch.no_grad():
        text = model.text_features(["falling", "cooking", "reading"])
        mine, live = graph_and_live(name, model, clips, text)
        model.double()
        try:
            exact, truth = graph_and_live(name, model, clips.double(), text.double())
        finally:
            model.float()
    torch.testing.assert_close(exact, truth, rtol=1e-12, atol=1e-12)
    floor = (live.double() - truth).abs().max()
    assert (mine.double() - truth).abs().max() <= 2 * floor + 1e-7


@pytest.mark.parametrize("name", NAMES)
def test_graphs_have_the_contracted_tensors(clip_bundles, name):
    graph = onnx.load(clip_bundles[name] / "model.onnx").graph
    found = {i.name: [d.dim_param or d.dim_value for d in i.type.tensor_type.shape.dim] for i in graph.input}
    frames = {"frames": ["N", 8, 3, 224, 224]}
    assert found == (frames | {"text": ["K", 64]} if name == "xclip" else frames)
    assert [o.name for o in graph.output] == ["logits" if name == "xclip" else "embedding"]
    manifest = read_manifest(clip_bundles[name])
    assert manifest.frame_encoder is None
    assert [list(spec.shape) for spec in manifest.clip_encoder.inputs] == list(found.values())
    assert ("not normalised" in manifest.text_encoder.outputs[0].units) == (name == "xclip")
    ops = collections.Counter(node.op_type for node in graph.node)
    assert ops["LayerNormalization"] == (2 + 3 * 3 + 2 + 2 + 2 * 2 if name == "xclip" else 2 + 2 * 3)


@pytest.mark.parametrize(("clips", "labels"), [(1, 1), (3, 5)])
@pytest.mark.parametrize("name", NAMES)
def test_any_number_of_clips_and_labels(clip_bundles, clip_models, name, clips, labels):
    graph = onnxruntime.InferenceSession(clip_bundles[name] / "model.onnx", providers=["CPUExecutionProvider"])
    model, video = clip_models[name], random_clips(clips, seed=clips)
    with torch.no_grad():
        text = model.text_features([f"label {i}" for i in range(labels)])
        want = graph_and_live(name, model, video, text)[1].numpy()
    tensors = {"frames": video.numpy(), **({"text": text.numpy()} if name == "xclip" else {})}
    got = graph.run(None, tensors)[0]
    assert got.shape == (clips, labels if name == "xclip" else 64)
    np.testing.assert_allclose(got, want, rtol=1e-4, atol=1e-4 * np.abs(want).max())


def test_froster_embedding_is_not_normalised_again(clip_bundles, clip_models):
    graph = onnxruntime.InferenceSession(clip_bundles["froster"] / "model.onnx", providers=["CPUExecutionProvider"])
    video = random_clips(2)
    got = graph.run(None, {"frames": video.numpy()})[0]
    norms = np.linalg.norm(got, axis=1)
    assert (norms < 1 - 1e-6).all()
    with torch.no_grad():  # its cosines are the mean of the frames' cosines
        model = clip_models["froster"]
        text = model.encode_text(["falling", "cooking"])
        rows = torch.nn.functional.normalize(model.frame_features(video), dim=-1)
        want = (rows @ text.T).mean(dim=1).numpy()
    np.testing.assert_allclose(got @ text.numpy().T, want, atol=1e-6)


def test_text_is_raw_for_xclip_and_normalised_for_froster(clip_models):
    tokens = tokenize(["falling", "eat meal/snack"])
    with torch.no_grad():
        raw, unit = (TextEncoder(clip_models[name])(tokens) for name in NAMES)
        torch.testing.assert_close(raw, clip_models["xclip"].text_features(tokens), rtol=1e-5, atol=1e-6)
        torch.testing.assert_close(unit, clip_models["froster"].encode_text(tokens), rtol=1e-5, atol=1e-6)
    assert (raw.norm(dim=-1) - 1).abs().min() > 0.01


def test_stored_labels_are_what_the_network_takes(clip_bundles, clip_models):
    rows = np.load(clip_bundles["xclip"] / "labels.npy")
    with torch.no_grad():
        want = clip_models["xclip"].text_features(["falling"])[0].numpy()
    np.testing.assert_allclose(rows[42], want, rtol=1e-4, atol=1e-5)  # bare names: X-CLIP's template is {}
    norms = np.linalg.norm(np.load(clip_bundles["froster"] / "labels.npy"), axis=1)
    np.testing.assert_allclose(norms, 1, atol=1e-6)


def test_cost_is_the_sum_of_the_layers(clip_bundles):
    """tiny by hand; FROSTER's keys are three frames', X-CLIP adds a message per frame and layer, and the labels."""
    tokens, width, patches, embed, frames = 50, 128, 49, 64, 8
    patch = patches * 3 * 32 * 32 * width
    full = tokens * 12 * width * width + 2 * tokens * 3 * tokens * width
    last = tokens * 2 * width * width + 10 * width * width + 2 * 3 * tokens * width
    cost = read_manifest(clip_bundles["froster"]).cost
    assert cost.gmacs * 1e9 == pytest.approx(frames * (patch + 2 * full + last + width * embed), rel=1e-9)
    assert cost.convention.startswith("one clip of 8 frames through the clip encoder; ")
    assert cost.gflops == pytest.approx(2 * cost.gmacs)

    block = tokens * 12 * width**2 + 2 * width**2 + 2 * tokens * (tokens + 1) * width  # the message has key and value
    message = 5 * width**2 + 2 * frames * width
    vision = frames * (patch + 3 * (block + message) + width * embed) + patches * width * embed
    integration = frames * 12 * embed**2 + 2 * frames**2 * embed
    labels = 60
    prompts = 2 * (labels * 10 * embed**2 + patches * 2 * embed**2 + 2 * labels * patches * embed)
    cost = read_manifest(clip_bundles["xclip"]).cost
    assert cost.gmacs * 1e9 == pytest.approx(vision + integration + prompts + labels * embed, rel=1e-9)
    assert "against 60 labels" in cost.convention


def test_parameters_leave_the_text_tower_out(clip_bundles, clip_models):
    for name in NAMES:
        own = clip_models[name].checkpoint_state()
        text = ("transformer.", "token_embedding", "positional_embedding", "ln_final", "text_projection", "logit_scale")
        want = sum(tensor.numel() for key, tensor in own.items() if not key.startswith(text))
        assert read_manifest(clip_bundles[name]).cost.parameters == want


def test_parity_failure_ships_nothing(clip_models, tmp_path, monkeypatch):
    model = clip_models["froster"]
    pooling = model.config.video.pooling
    kind = export_video.KINDS[pooling]

    def wrong(model):
        encoder = kind.encoder(model)
        encoder.register_forward_hook(lambda module, inputs, output: output * 1.001)
        return encoder

    monkeypatch.setitem(export_video.KINDS, pooling, replace(kind, encoder=wrong))
    with pytest.raises(ParityFailed, match=r"clips off by 1\.0\de-03"):
        ski_edge.export_model(model, tmp_path / "b", classes=[Label("a"), Label("b")])
    assert list(tmp_path.iterdir()) == []


def test_a_graph_that_fixes_a_size_is_refused(tmp_path):
    """The exporter takes len() of a tensor for the example's size, and says nothing."""

    class Fixed(torch.nn.Module):
        def forward(self, x):
            return torch.ones(1, 4).expand(len(x), -1) * x

    with pytest.raises(PrecisionNotRealised, match="x: N should be any size, the graph fixes 3"):
        write_onnx(
            *(Fixed().eval(), {"x": torch.zeros(3, 4)}, tmp_path / "x.onnx"),
            output_names=("y",), dynamic={"x": {0: "N"}}, opset=18, metadata={},
        )  # fmt: skip
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["ski-xclip", "ski-froster"])
def test_students_of_another_length_export_and_open(tmp_path, name):
    """Five frames a clip: the eight reference frames are sampled down; the bundle says who it is."""
    model = ski_edge.create_model(name, arch="tiny", seed=2, video={"window_frames": 5, "window_s": 2.0})
    out = ski_edge.export_model(model, tmp_path / "b", classes=[Label("a", ("x", "a longer prompt")), Label("b")])
    session = ski_edge.open_bundle(out)
    assert (session.manifest.model, session.manifest.video.window_frames) == (name, 5)
    assert json.loads((out / "parity.json").read_text())["passed"]
    assert compare_live(session, model).passed
    other = ski_edge.create_model(name, arch="tiny", seed=2)
    with pytest.raises(BadInput, match="the bundle takes clips of 5 frames, these weights 8"):
        compare_live(session, other)


def test_commands(cli, tmp_path, videos):
    """export, verify and predict by the words a person types, on real clips."""
    out = tmp_path / "b"
    arguments = ["--weights", "random", "--arch", "tiny", "--classes", "falling,cooking", "--clips", videos / "ucf101"]
    code, text, err = cli("export", "--model", "ski-xclip", *arguments, "--out", out)
    assert code == 0, err
    assert "GMACs a clip; parity with torch on real clips" in text
    code, text, _ = cli("verify", out, "--weights", "random", "--clips", videos / "ucf101")
    assert code == 0
    assert "logits" in text
