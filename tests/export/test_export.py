from __future__ import annotations

import collections
import hashlib
import json
from dataclasses import replace

import numpy as np
import onnx
import onnxruntime
import pytest
import torch

import ski_edge
from ski_edge.bundle import Label, read_manifest
from ski_edge.errors import BadInput, ParityFailed
from ski_edge.export import video as export_video
from ski_edge.export.graphs import FrameEncoder, TextEncoder
from ski_edge.export.onnx_file import realised_precision
from ski_edge.models.clip import tokenize


def test_frame_encoder_restates_the_live_model(tiny_model):
    """The class-token shortcut in the last block is exact; against float64, no worse than twice plain torch."""
    frames = torch.randn(4, 3, 224, 224, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        live, mine = tiny_model.encode_frames(frames), FrameEncoder(tiny_model)(frames)
        tiny_model.double()
        try:
            truth = tiny_model.encode_frames(frames.double())
            exact = FrameEncoder(tiny_model)(frames.double())
        finally:
            tiny_model.float()
    torch.testing.assert_close(exact, truth, rtol=1e-12, atol=1e-12)
    floor = (live.double() - truth).abs().max()
    assert (mine.double() - truth).abs().max() <= 2 * floor + 1e-7


def test_text_encoder_is_exact_at_any_length(tiny_model):
    tokens = tokenize(["a photo of a falling.", "a photo of a eat meal/snack.", "x " * 90])
    with torch.no_grad():
        want = tiny_model.encode_text(tokens)
        torch.testing.assert_close(TextEncoder(tiny_model)(tokens), want, rtol=1e-5, atol=1e-6)
        short = TextEncoder(tiny_model)(tokens[:2, :12])
    torch.testing.assert_close(short, want[:2], rtol=1e-5, atol=1e-6)


def test_graphs_have_the_contracted_tensors(tiny_bundle):
    graph = onnx.load(tiny_bundle / "model.onnx").graph
    assert [(i.name, [d.dim_param or d.dim_value for d in i.type.tensor_type.shape.dim]) for i in graph.input] == [
        ("frames", ["B", 3, 224, 224])
    ]
    assert [o.name for o in graph.output] == ["embedding"]
    text = onnx.load(tiny_bundle / "text_encoder.onnx").graph
    assert [i.name for i in text.input] == ["tokens"]
    assert [d.dim_param for d in text.input[0].type.tensor_type.shape.dim] == ["K", "L"]
    assert [o.name for o in text.output] == ["text_embedding"]


def test_layer_norm_stays_one_operator(tiny_bundle):
    ops = collections.Counter(node.op_type for node in onnx.load(tiny_bundle / "model.onnx").graph.node)
    assert ops["LayerNormalization"] == 2 + 2 * 3
    assert not ops["Pow"]
    assert not ops["ReduceMean"]


def test_onnx_files_explain_themselves_and_name_no_machine(tiny_bundle):
    for name, part in (("model.onnx", "frame_encoder"), ("text_encoder.onnx", "text_encoder")):
        model = onnx.load(tiny_bundle / name)
        props = {p.key: p.value for p in model.metadata_props}
        assert props["ski_edge.part"] == part
        assert json.loads(props["preprocessing"])["mean"] == [123.675, 116.28, 103.53]
        assert json.loads(props["video"])["pooling"] == "mean-then-norm"
        assert float(props["score_scale"]) == pytest.approx(100)
        assert json.loads(props["labels"])[42] == "falling"
        assert json.loads(props["cost"])["gmacs"] == read_manifest(tiny_bundle).cost.gmacs
        rows = np.load(tiny_bundle / "labels.npy")
        assert props["text_embeddings_sha256"] == hashlib.sha256(rows.tobytes()).hexdigest()
        assert not any(node.metadata_props for node in model.graph.node)
        assert b"site-packages" not in (tiny_bundle / name).read_bytes()


@pytest.mark.parametrize("batch", [1, 2, 7, 17])
def test_any_batch(tiny_bundle, tiny_model, batch):
    graph = onnxruntime.InferenceSession(tiny_bundle / "model.onnx", providers=["CPUExecutionProvider"])
    frames = torch.randn(batch, 3, 224, 224, generator=torch.Generator().manual_seed(batch))
    with torch.no_grad():
        want = tiny_model.encode_frames(frames).numpy()
    got = graph.run(None, {"frames": frames.numpy()})[0]
    np.testing.assert_allclose(got, want, rtol=1e-4, atol=1e-4 * np.abs(want).max())


def test_cost_is_the_sum_of_the_layers(tiny_bundle):
    """tiny by hand: patches, two full blocks, one block for the class token only, the projection."""
    tokens, width, patches, embed = 50, 128, 49, 64
    attention = 2 * tokens * tokens * width
    full = tokens * 12 * width * width + attention
    last = tokens * 2 * width * width + 10 * width * width + 2 * tokens * width
    macs = patches * 3 * 32 * 32 * width + 2 * full + last + width * embed
    cost = read_manifest(tiny_bundle).cost
    assert cost.gmacs * 1e9 == pytest.approx(macs, rel=1e-9)
    assert cost.gflops == pytest.approx(2 * cost.gmacs)


def test_precision_is_read_back(tiny_bundle, tiny_model):
    counts = realised_precision(tiny_bundle / "model.onnx")
    assert set(counts) <= {"float32", "int64"}
    assert counts["float32"] == pytest.approx(sum(p.numel() for p in tiny_model.clip.visual.parameters()), rel=0.01)
    assert read_manifest(tiny_bundle).precision.realised == counts


def test_default_labels_are_ntu60(tiny_bundle):
    labels = json.loads((tiny_bundle / "labels.json").read_text("utf-8"))
    assert len(labels) == 60
    assert labels[42]["name"] == "falling"
    rows = np.load(tiny_bundle / "labels.npy")
    assert rows.shape == (60, 64)
    np.testing.assert_allclose(np.linalg.norm(rows, axis=1), 1, atol=1e-6)


def test_export_does_not_touch_the_live_model(tiny_model, tmp_path):
    before = {name: tensor.clone() for name, tensor in tiny_model.state_dict().items()}
    tiny_model.train()
    tiny_model.clip.visual.ln_post.eval()
    modes = [module.training for module in tiny_model.modules()]
    ski_edge.export_model(tiny_model, tmp_path / "b", classes=[Label("a"), Label("b", ("x", "y"))], opset=20)
    assert [module.training for module in tiny_model.modules()] == modes
    tiny_model.eval()
    assert all(torch.equal(before[name], tensor) for name, tensor in tiny_model.state_dict().items())
    assert read_manifest(tmp_path / "b").provenance.opset == 20
    assert onnx.load(tmp_path / "b" / "model.onnx").opset_import[0].version == 20
    session = ski_edge.open_bundle(tmp_path / "b")
    assert session.labels.current.labels == (Label("a"), Label("b", ("x", "y")))


def test_parity_failure_ships_nothing(tiny_model, tmp_path, monkeypatch):
    """A graph that computes something else must not become a bundle."""

    class Wrong(FrameEncoder):
        def forward(self, frames):
            return super().forward(frames) * 1.001

    kind = export_video.KINDS["mean-then-norm"]
    monkeypatch.setitem(export_video.KINDS, "mean-then-norm", replace(kind, encoder=Wrong))
    with pytest.raises(ParityFailed, match=r"frames off by 1\.0\de-03") as error:
        ski_edge.export_model(tiny_model, tmp_path / "b", classes=[Label("a")])
    assert error.value.exit_code == 3
    assert list(tmp_path.iterdir()) == []


def test_real_clips_can_be_the_reference(tiny_model, tmp_path, videos):
    ski_edge.export_model(tiny_model, tmp_path / "b", classes=[Label("a"), Label("b")], clips=videos / "ucf101")
    parity = json.loads((tmp_path / "b" / "parity.json").read_text())
    assert parity["inputs"] == "real clips"
    assert parity["passed"]
    with np.load(tmp_path / "b" / "reference.npz", allow_pickle=False) as data:
        assert data["frames"].shape == (8, 240, 320, 3)
        assert data["frames"].std() > 10


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"precision": "fp8"}, "precision 'fp8' is not available; this version exports: fp32"),
        ({"opset": 12}, "opset 12 is not supported; use 18 to 23"),
        ({"clips": "no_such_folder"}, "no video found"),
    ],
)
def test_bad_options_write_nothing(tiny_model, tmp_path, options, says):
    with pytest.raises(BadInput, match=says):
        ski_edge.export_model(tiny_model, tmp_path / "b", **options)
    assert list(tmp_path.iterdir()) == []


def test_a_web_project_is_not_a_bundle(tiny_model, tmp_path):
    """It has a manifest.json too."""
    (tmp_path / "manifest.json").write_text('{"name": "my web app", "schema_version": 1, "files": {}}')
    (tmp_path / "src").mkdir()
    (tmp_path / "src" / "thesis.tex").write_text("years of work")
    with pytest.raises(BadInput, match="holds files that are not ours to replace"):
        ski_edge.export_model(tiny_model, tmp_path)
    assert (tmp_path / "src" / "thesis.tex").read_text() == "years of work"


def test_an_output_folder_of_somebody_else_is_left_alone(tiny_model, tmp_path):
    (tmp_path / "thesis.tex").write_text("years of work")
    with pytest.raises(BadInput, match="holds files that are not ours to replace"):
        ski_edge.export_model(tiny_model, tmp_path)
    assert (tmp_path / "thesis.tex").read_text() == "years of work"
