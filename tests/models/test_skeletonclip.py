"""SkeletonCLIP: sizes, scores by hand, configs that do not fit, its checkpoint."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F

import ski_edge
from ski_edge.data.clips import load_clips
from ski_edge.data.store import open_data
from ski_edge.errors import BadInput
from ski_edge.evaluate.classify import classifier_of, classify, own_classes
from ski_edge.evaluate.scores import read_scores
from ski_edge.models import resolve_weights, save_model
from ski_edge.models.clip import tokenize
from ski_edge.models.sentence import SentenceEncoder
from ski_edge.skeleton import prepare

PROMPTS = ["a photo of a drink water.", "a photo of a falling.", "a photo of a hand waving."]
FIXED = {"text_arch": None, "reads_text": False}
TINY = {"arch": "tiny", "layout": "kinect20"}


def small(**fields):
    return ski_edge.create_model("skeletonclip", backbone="ctrgcn", text_arch="tiny", seed=3, **TINY, **fields)


@pytest.fixture
def clip(official):
    return official.clip(2, 3, 9, 20, 2).float()


def test_official_size():
    """Hyperformer without its classifier, and the projection to 512 numbers."""
    model = ski_edge.create_model("skeletonclip", layout="ntu25", embed_dim=512, classes=("a",), **FIXED)
    assert model.config.backbone.model == "hyperformer"
    assert sum(p.numel() for p in model.skeleton.parameters()) == 2_827_278
    spread = model.skeleton.head.weight.detach().std()
    assert float(spread) == pytest.approx(math.sqrt(2 / 512), rel=0.02)


@torch.no_grad()
@pytest.mark.parametrize("normed", [True, False])
@pytest.mark.parametrize("temperature", ["learned", "none"])
def test_scores_by_hand(clip, normed, temperature):
    model = small(skeleton_norm=normed, temperature=temperature)
    p = model.skeleton.head(model.skeleton.features(clip))
    t = model.text(tokenize(PROMPTS))
    t = t / t.norm(dim=-1, keepdim=True)
    want = (p / p.norm(dim=-1, keepdim=True) if normed else p) @ t.T
    embedding, products = model.compare(clip, 7 * t)  # the length of a text feature does not count
    torch.testing.assert_close(embedding.norm(dim=-1), torch.ones(2) if normed else p.norm(dim=-1))
    torch.testing.assert_close(products, want)
    scale = 1 / 0.07 if temperature == "learned" else 1  # CLIP's start
    torch.testing.assert_close(model(clip, PROMPTS), scale * want)
    assert ("log_scale" in dict(model.named_parameters())) == (temperature == "learned")
    if temperature == "learned":
        model.log_scale += math.log(2)
        torch.testing.assert_close(model(clip, PROMPTS), 2 * scale * want)


def test_gradients_reach_both_sides_and_the_temperature(clip):
    model = small()
    F.cross_entropy(model(clip, PROMPTS), torch.tensor([0, 2])).backward()
    for parameter in (model.skeleton.head.weight, model.text.text_projection, model.log_scale):
        assert parameter.grad is not None
        assert parameter.grad.abs().max() > 0


@torch.no_grad()
@pytest.mark.parametrize(
    "fields",
    [
        {"text_arch": "tiny", "skeleton_norm": False, "temperature": "none"},
        {**FIXED, "embed_dim": 384, "classes": ("fall", "sit", "wave")},
        {"text_arch": "mini", "classes": ("fall",), "text": {"template": "{}", "context_length": 32}},
    ],
)
def test_checkpoint_round_trip(clip, tmp_path, fields):
    model = ski_edge.create_model("skeletonclip", backbone="stgcn", seed=4, **TINY, **fields)
    if model.label_embeddings is not None:
        model.label_embeddings = F.normalize(torch.randn(3, 384, generator=torch.Generator().manual_seed(0)), dim=-1)
    save_model(model, tmp_path / "folder")
    loaded = ski_edge.load_model(tmp_path / "folder")
    assert loaded.config == model.config
    assert type(loaded.config.backbone) is type(model.config.backbone)
    texts = model.label_embeddings if model.text is None else model.encode_text(["fall", "sit"])
    again = loaded.label_embeddings if model.text is None else loaded.encode_text(["fall", "sit"])
    torch.testing.assert_close(loaded.compare(clip, again), model.compare(clip, texts), rtol=0, atol=0)


def test_fixed_labels_cannot_read_prompts():
    for fields in ({**FIXED, "embed_dim": 64}, {"text_arch": "tiny", "reads_text": False}):
        model = ski_edge.create_model("skeletonclip", backbone="ctrgcn", classes=("a", "b"), **TINY, **fields)
        assert model.label_embeddings.shape == (2, 64)
        with pytest.raises(BadInput, match="cannot encode new prompts"):
            model.encode_text(PROMPTS)


NESTED = {"model": "ctrgcn", "num_classes": 8, "layout": "ntu25"}


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"backbone": "resnet", "layout": "ntu25"}, "model 'resnet' is not known"),
        ({"backbone": "vificlip", "layout": "ntu25"}, "backbone 'vificlip' is no skeleton network"),
        ({"backbone": "skeletonclip", "layout": "ntu25"}, "backbone 'skeletonclip' is no skeleton network"),
        ({"backbone": 3}, "backbone must be a skeleton network's name or its config"),
        ({"backbone": "ctrgcn"}, "backbone.skeleton: Field required"),
        ({"backbone": "ctrgcn", "arch": "huge", "layout": "ntu25"}, "backbone.arch: Input should be 'base'"),
        ({"backbone": "ctrgcn", "layout": "ntu26"}, "layout 'ntu26' is not known"),
        ({"backbone": NESTED | {"num_classes": 0}}, "backbone.num_classes: Input should be greater than 0"),
        (
            {"backbone": NESTED, "arch": "tiny", "embed_dim": 8},
            "arch, embed_dim: write it inside backbone, or give backbone as a name",
        ),
        ({"backbone": NESTED, "text_arch": "tiny"}, "embedding has 8 numbers, the text tower's 64"),
        ({"backbone": NESTED, "text_arch": "huge"}, "arch 'huge' is not known; the choices are: ViT-B-16"),
        (
            {"backbone": NESTED, "text_arch": None},
            "without a text tower (text_arch: null) reads_text must be false",
        ),
        ({"backbone": NESTED, **FIXED, "temperature": "0.07"}, "temperature: Input should be 'learned' or 'none'"),
        ({"backbone": NESTED, **FIXED, "temperatur": "none"}, "temperatur: Extra inputs are not permitted"),
    ],
)
def test_configs_that_do_not_fit(fields, says):
    with pytest.raises(BadInput) as error:
        ski_edge.create_model("skeletonclip", **fields)
    assert says in str(error.value)
    assert "\n" not in str(error.value)


def test_a_teacher_is_not_exported(fails_clean, tmp_path):
    model = small()
    save_model(model, tmp_path / "folder")
    says = "skeletonclip is a teacher and becomes no bundle; export the ski-* student"
    for asked in (("skeletonclip", "random"), ("ski-vificlip", str(tmp_path / "folder"))):
        with pytest.raises(BadInput) as error:
            resolve_weights(*asked, None)
        assert says in str(error.value)
    with pytest.raises(BadInput) as error:
        ski_edge.export_model(model, tmp_path / "bundle")
    assert says in str(error.value)
    flags = ("--weights", tmp_path / "folder", "--out", tmp_path / "bundle")
    fails_clean("export", "--model", "skeletonclip", *flags, says=says)
    assert not (tmp_path / "bundle").exists()
    fails_clean("benchmark", "--model", tmp_path / "folder", says="manifest.json")


@torch.no_grad()
@pytest.mark.parametrize("normed", [True, False])
def test_own_classes_make_a_classifier(clip, normed):
    model = small(classes=("left", "right", "foot"), skeleton_norm=normed, text={"template": "lift the {}"})
    network = own_classes(model)
    texts = model.encode_text(["lift the left", "lift the right", "lift the foot"])
    want = model.skeleton(clip) @ texts.T  # the norm of the skeleton's vector changes no ranking
    torch.testing.assert_close(network(clip), want, rtol=1e-4, atol=1e-5 * float(want.abs().max()))
    assert network.config.class_names == ("left", "right", "foot")
    assert network.config.skeleton == model.config.backbone.skeleton
    with pytest.raises(BadInput, match="names no classes of its own"):
        own_classes(small())


def test_evaluate_measures_it_on_its_own_classes(cli, fails_clean, waving, tmp_path):
    skeleton = {"layout": "kinect20", "persons": 1, "resample": {"name": "crop-resize", "frames": 16}}
    fields = {"backbone": "ctrgcn", "arch": "tiny", "skeleton": skeleton, "seed": 1, **FIXED, "embed_dim": 64}
    model = ski_edge.create_model("skeletonclip", classes=("left", "right", "foot"), **fields)
    model.label_embeddings = F.normalize(torch.randn(3, 64, generator=torch.Generator().manual_seed(0)), dim=-1)
    save_model(model, tmp_path / "ckpt")
    asked = ("--data", waving, "--split", "odd-even", "--out", tmp_path / "out")
    code, out, err = cli("evaluate", tmp_path / "ckpt", *asked, "--json")
    assert code == 0, err
    assert json.loads(out)["model"] == "skeletonclip"
    scores = read_scores(tmp_path / "out" / "scores.npz")
    assert scores.classes == ("left", "right", "foot")
    assert len(scores.names) == 45
    assert np.isfinite(scores.logits).all()
    save_model(ski_edge.create_model("skeletonclip", classes=("a", "b"), **fields), tmp_path / "other")
    fails_clean("evaluate", tmp_path / "other", *asked, says="the network has no class")


def test_evaluate_asks_it_about_classes_it_never_saw(cli, fails_clean, waving, tmp_path):
    """Zero-shot on skeletons: texts of the split's classes, among the unseen ones alone."""
    skeleton = {"layout": "kinect20", "persons": 1, "resample": {"name": "crop-resize", "frames": 16}}
    fields = {"backbone": "ctrgcn", "arch": "tiny", "skeleton": skeleton, "seed": 1}
    model = ski_edge.create_model("skeletonclip", classes=("left",), text_arch="mini", embed_dim=384, **fields)
    save_model(model, tmp_path / "ckpt")
    asked = ("--data", waving, "--split", "unseen:right;foot", "--out", tmp_path / "out", "--template", "lift the {}")
    code, out, err = cli("evaluate", tmp_path / "ckpt", *asked, "--json")
    assert code == 0, err
    found, scores = json.loads(out), read_scores(tmp_path / "out" / "scores.npz")
    assert (found["classes"], found["clips"], scores.classes) == (2, 60, ("right", "foot"))
    own = classifier_of(model, scores.classes, "lift the {}")
    data = open_data(waving)
    clips = load_clips(data, np.flatnonzero(data.labels > 0)[:3], own.config.skeleton)
    np.testing.assert_allclose(scores.logits[:3], classify(own, clips), rtol=1e-5, atol=1e-5)
    code, out, _ = cli("evaluate", tmp_path / "ckpt", *asked)
    assert "60 skeletons, 2 classes" in out
    fixed = {**fields, **FIXED, "embed_dim": 384}
    save_model(ski_edge.create_model("skeletonclip", classes=("left",), **fixed), tmp_path / "fixed")
    fails_clean("evaluate", tmp_path / "fixed", *asked, says="reads no text and has no embedding of 'right' (2 such)")


def test_the_sentence_encoder_reads_for_what_it_taught(cli, waving, tmp_path):
    """Trained with it, a checkpoint has no text tower; new classes are read all the same."""
    skeleton = {"layout": "kinect20", "persons": 1, "resample": {"name": "crop-resize", "frames": 16}}
    fields = {"backbone": "ctrgcn", "arch": "tiny", "skeleton": skeleton, "seed": 1, **FIXED, "embed_dim": 384}
    model = ski_edge.create_model("skeletonclip", classes=("left",), sentence_encoder=True, **fields)
    save_model(model, tmp_path / "ckpt")
    (tmp_path / "words.json").write_text(json.dumps({"right": ["lift the right", "raise the right"]}))
    asked = ("--data", waving, "--split", "unseen:right;foot", "--prompts", tmp_path / "words.json")
    code, _, err = cli("evaluate", tmp_path / "ckpt", *asked, "--out", tmp_path / "out")
    assert code == 0, err
    scores, spec = read_scores(tmp_path / "out" / "scores.npz"), model.config.backbone.skeleton
    data = open_data(waving)
    clips = load_clips(data, np.flatnonzero(data.labels > 0)[:3], spec)
    texts = F.normalize(SentenceEncoder().encode(["lift the right", "raise the right", "a photo of a foot."]), dim=-1)
    rows = F.normalize(torch.stack([texts[:2].mean(dim=0), texts[2]]), dim=-1)
    with torch.no_grad():
        want = model.eval().skeleton(torch.from_numpy(np.stack([prepare(clip, spec) for clip in clips]))) @ rows.T
    np.testing.assert_allclose(scores.logits[:3], want.numpy(), rtol=1e-4, atol=1e-4)
