"""Pose bundles: every backbone equals live torch, the empty body is left out exactly, fp16 storage, bad input."""

from __future__ import annotations

import json

import numpy as np
import onnx
import pytest
import torch

import ski_edge
from ski_edge.errors import BadInput, ParityFailed
from ski_edge.export.fold import folded
from ski_edge.export.pose_graph import PoseGraph
from ski_edge.runtime import PoseSession
from ski_edge.runtime.verify import verify
from ski_edge.skeleton import LAYOUTS, prepare
from ski_edge.testing.skeletons import moving_skeleton

NTU = LAYOUTS["ntu25"]
BACKBONES = ("ctrgcn", "ctrsgcn", "stgcn", "hyperformer", "hdgcn")


def lively(model):
    """Norms as training leaves them, and every gate open: untrained ones hide half of the network."""
    generator = torch.Generator().manual_seed(1)
    for name, tensor in model.state_dict().items():
        if "running" in name:
            tensor.copy_(0.5 + torch.rand(tensor.shape, generator=generator))
        elif tensor.ndim == 1 and tensor.is_floating_point():
            tensor.add_(0.3 * torch.randn(tensor.shape, generator=generator))
    return model


def make(name, **config):
    fields = {"num_classes": 7, "layout": "ntu25", "arch": "tiny", **config}
    return lively(ski_edge.create_model(name, seed=0, **fields))


@pytest.fixture(scope="module")
def ctrgcn():
    return make("ctrgcn")


@pytest.fixture(scope="module")
def ctrgcn_bundle(ctrgcn, tmp_path_factory):
    return ski_edge.export_model(ctrgcn, tmp_path_factory.mktemp("pose") / "ctrgcn")


@pytest.mark.parametrize("name", BACKBONES)
def test_folding_is_exact(name):
    model = make(name).double()
    clip = torch.randn(2, 3, 9, 25, 2, dtype=torch.float64)
    with torch.no_grad():
        got = PoseGraph(model)(clip)[0]
        torch.testing.assert_close(got, model(clip), rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("frames", [1, 16, 63])
def test_the_stored_empty_body_is_what_the_network_computes(frames):
    model = make("ctrgcn", skeleton={"layout": "ntu25", "resample": {"name": "crop-resize", "frames": frames}}).double()
    clip = torch.randn(2, 3, frames, 25, 2, dtype=torch.float64)
    clip[..., 1] = 0
    with torch.no_grad():
        torch.testing.assert_close(PoseGraph(model)(clip[..., :1])[0], model(clip), rtol=1e-9, atol=1e-9)


def test_folding_leaves_the_live_model_alone(ctrgcn):
    before = {name: tensor.clone() for name, tensor in ctrgcn.state_dict().items()}
    folded(ctrgcn)
    for name, tensor in ctrgcn.state_dict().items():
        assert torch.equal(tensor, before[name]), name


@pytest.mark.slow
@pytest.mark.parametrize("name", BACKBONES[1:])
def test_every_backbone_becomes_a_verified_bundle(name, tmp_path):
    bundle = ski_edge.export_model(make(name), tmp_path / name)
    session = ski_edge.open_bundle(bundle)
    assert isinstance(session, PoseSession)
    # HD-GCN's edges are differences of neighbours: torch's own float32 is off from float64 by 1e-5, folded by 2e-5
    limit = 1e-4 if name == "hdgcn" else 1e-5
    assert verify(session).parts["logits"].relative_error < limit


def test_graph_equals_torch_at_any_shape(ctrgcn, ctrgcn_bundle):
    session = ski_edge.open_bundle(ctrgcn_bundle)
    generator = torch.Generator().manual_seed(3)
    for n, frames, persons in ((1, 64, 1), (3, 64, 2), (2, 63, 1), (1, 1, 1), (2, 65, 2), (1, 300, 1)):
        clip = torch.randn(n, 3, frames, 25, 2, generator=generator)
        clip[..., persons:] = 0
        with torch.no_grad():
            wanted = ctrgcn(clip).numpy()
        got = session.run(skeleton=clip.numpy(), persons=np.array(persons))["logits"]
        np.testing.assert_allclose(got, wanted, atol=1e-4 * np.abs(wanted).max())


def test_one_person_costs_half(ctrgcn_bundle):
    """The promise of `persons`, counted in the graph's own arithmetic rather than in time."""
    session = ski_edge.open_bundle(ctrgcn_bundle)
    manifest = session.manifest
    assert manifest.takes_persons
    assert "1 of 2 body slots computed, 1 empty body left out" in manifest.cost.convention
    garbage = np.full((1, 3, 64, 25, 2), 1e3, np.float32)
    garbage[..., 0] = np.random.default_rng(0).normal(size=(1, 3, 64, 25))
    alone = garbage.copy()
    alone[..., 1] = 0
    one = np.array(1, np.int64)
    # With persons = 1 slot 2 is not even looked at.
    same = [session.run(skeleton=clip, persons=one)["logits"] for clip in (garbage, alone)]
    np.testing.assert_array_equal(*same)


def test_graph_holds_the_algebra(ctrgcn_bundle):
    graph = onnx.load(ctrgcn_bundle / "model.onnx").graph
    kinds = [node.op_type for node in graph.node]
    assert not {"BatchNormalization", "Einsum"} & set(kinds)
    assert kinds.count("MatMul") == 10  # all subsets of a block in one product
    # Queries and keys see the mean over time: ten means feed ten small convolutions.
    means = {node.output[0] for node in graph.node if node.op_type == "ReduceMean"}
    assert sum(node.op_type == "Conv" and node.input[0] in means for node in graph.node) == 10


def test_groups_clips_by_persons(ctrgcn_bundle):
    session = ski_edge.open_bundle(ctrgcn_bundle)
    clips = [moving_skeleton(NTU, 40 + i, persons=1 + i % 2, seed=i) for i in range(5)]
    together = session.classify(clips)
    for clip, row in zip(clips, together, strict=True):
        np.testing.assert_allclose(session.classify([clip])[0], row, atol=1e-4)
    prediction = session.predict(clips[0])
    assert prediction.scores.sum() == pytest.approx(1, rel=1e-5)
    assert prediction.labels[0] == session.classes[together[0].argmax()]


@pytest.mark.slow
def test_copies_and_single_slots_take_no_persons(tmp_path):
    for spec in ({"layout": "ntu25", "second_body": "copy"}, {"layout": "kinect20", "persons": 1}):
        model = make("ctrsgcn", layout=spec["layout"], skeleton=spec)
        session = ski_edge.open_bundle(ski_edge.export_model(model, tmp_path / spec["layout"]))
        assert not session.manifest.takes_persons
        clip = moving_skeleton(LAYOUTS[spec["layout"]], 30)
        with torch.no_grad():
            wanted = model(torch.from_numpy(prepare(clip, model.config.skeleton))[None]).numpy()
        np.testing.assert_allclose(session.classify([clip]), wanted, rtol=1e-3, atol=1e-4)


@pytest.mark.slow
def test_fp16_storage_halves_the_file_and_is_measured(ctrgcn, ctrgcn_bundle, tmp_path):
    bundle = ski_edge.export_model(ctrgcn, tmp_path / "half", precision="fp16-storage")
    manifest = json.loads((bundle / "manifest.json").read_text())
    realised = manifest["precision"]["realised"]
    assert realised["float16"] > 20 * realised["float32"]
    assert (bundle / "model.safetensors").stat().st_size < 0.6 * (ctrgcn_bundle / "model.safetensors").stat().st_size
    parity = json.loads((bundle / "parity.json").read_text())
    assert 1e-6 < parity["logits"]["relative_error"] < 2e-2
    assert parity["precision"] == "fp16-storage"


def test_a_wrong_graph_ships_nothing(ctrgcn, tmp_path, monkeypatch):
    class Wrong(PoseGraph):
        def forward(self, bodies):
            logits, embedding = super().forward(bodies)
            return logits * 1.01, embedding

    monkeypatch.setattr("ski_edge.export.pose.PoseGraph", Wrong)
    with pytest.raises(ParityFailed, match=r"logits off by 1\.00e-02"):
        ski_edge.export_model(ctrgcn, tmp_path / "b")
    assert not list(tmp_path.iterdir())


def test_what_export_is_told(ctrgcn, tmp_path, fails_clean):
    with pytest.raises(BadInput, match="a ctrgcn has classes of its own"):
        ski_edge.export_model(ctrgcn, tmp_path / "b", classes=[])
    fails_clean("export", "-m", "ctrgcn", "--out", tmp_path / "b", says="no weights ship for ctrgcn")
    fails_clean(
        *("export", "-m", "ctrgcn", "--weights", "random", "--arch", "huge", "--out", tmp_path / "b"),
        says="arch: Input",
    )


def test_commands_over_a_pose_bundle(ctrgcn_bundle, cli, tmp_path):
    code, out, err = cli("verify", ctrgcn_bundle)
    assert code == 0, err
    assert "logits" in out
    code, out, err = cli("benchmark", "-m", ctrgcn_bundle, "--duration", "200ms", "--out", tmp_path / "bench", "--json")
    assert code == 0, err
    record = json.loads(out)
    assert record["updates_per_second"] == pytest.approx(1000 / record["stages"]["window"]["p50_ms"])
    assert (tmp_path / "bench" / "benchmark.png").stat().st_size > 5000


def test_damaged_pose_bundles(ctrgcn_bundle, fails_clean, tmp_path_factory):
    import shutil

    copy = tmp_path_factory.mktemp("damaged") / "b"
    shutil.copytree(ctrgcn_bundle, copy)
    (copy / "model.safetensors").unlink()
    fails_clean("verify", copy, says="model.safetensors is missing")


def test_pose_session_runs_without_torch(without_torch, ctrgcn_bundle):
    code = """
import ski_edge
from ski_edge.testing.skeletons import moving_skeleton
from ski_edge.runtime.verify import verify
session = ski_edge.open_bundle(sys.argv[1])
assert verify(session).passed
assert session.predict(moving_skeleton(session.manifest.skeleton.layout, 50)).label in session.classes
"""
    done = without_torch(code, ctrgcn_bundle)
    assert done.returncode == 0, done.stderr
