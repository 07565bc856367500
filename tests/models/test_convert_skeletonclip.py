"""SKI's teacher out of files with the official names (their weights cannot be had): phase 1 and its half of phase 2."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
import yaml

import ski_edge
from ski_edge.errors import BadInput
from ski_edge.models import save_model
from ski_edge.models.clip import tokenize
from ski_edge.models.convert import ConvertSettings, convert
from ski_edge.models.convert_towers import PROMPTS
from ski_edge.skeleton import get_layout
from ski_edge.skeleton.resample import ZeroPad

CLASSES = ("drink water", "falling", "touch person's pocket")
TEXTS = [f"a photo of a {name}." for name in CLASSES]
SKELETON = ConvertSettings(part="skeleton")


@pytest.fixture(scope="module")
def student():
    """Towers of phase 2's student; its token embedding is the one all prompts were made with."""
    return rounded(ski_edge.create_model("vificlip", arch="tiny", seed=5))


@pytest.fixture(scope="module")
def teacher(student):
    """Text tower of the teacher: it began as the student's, with the same token embedding."""
    model = ski_edge.create_model("vificlip", arch="tiny", seed=6)
    model.clip.token_embedding.load_state_dict(student.clip.token_embedding.state_dict())
    return model


def rounded(model):
    """A token embedding that fp16 holds exactly, as the official files store prompts."""
    with torch.no_grad():
        model.clip.token_embedding.weight.copy_(model.clip.token_embedding.weight.half().float())
    return model


def hyperformer(official, dim=64):
    """A Hyperformer whose classifier has `dim` outputs, by its own official names."""
    return {name: tensor.float() for name, tensor in official.filled(official.hyperformer(dim)).items()}


def skeleton_half(tensors):
    """SKI's names: behind a prefix, the classifier replaced by fc2."""
    return {f"hyperformer_model.{name.replace('fc.', 'fc2.')}": tensor for name, tensor in tensors.items()}


def text_tower(model, prefix):
    names = ("visual.", "logit_scale", "token_embedding.")
    return {prefix + name: t for name, t in model.clip.state_dict().items() if not name.startswith(names)}


@torch.no_grad()
def prompts(model):
    return {PROMPTS: model.clip.token_embedding(tokenize(TEXTS)).half()}


def phase_one(skeleton, teacher):
    return {**prompts(teacher), **text_tower(teacher, "text_encoder."), **skeleton_half(skeleton)}


def phase_two(skeleton, teacher, student):
    image = {f"image_encoder.{name}": tensor for name, tensor in student.clip.visual.state_dict().items()}
    state = {**prompts(student), **image, **text_tower(student, "text_encoder.")}
    return {**state, **text_tower(teacher, "clip_text_encoder."), **skeleton_half(skeleton)}


def save(path, state, **edits):
    model = {f"module.{name}": tensor for name, tensor in {**state, **edits}.items() if tensor is not None}
    torch.save({"model": model, "max_accuracy": 52.0, "epoch": 99, "optimizer": {"state": {}}}, path)
    return path


@pytest.fixture(scope="module")
def skeleton(official):
    return hyperformer(official)


@pytest.fixture
def clip(official):
    """Two bodies, then one; few frames, as any number may come."""
    clip = official.clip(2, 3, 21, 25, 2).float()
    clip[1, ..., 1] = 0
    return clip


@pytest.fixture
def by_hand(skeleton, teacher, clip, tmp_path):
    """p @ T^T: p from the same tensors as a Hyperformer of 64 classes, T from the tower that has a token embedding."""
    torch.save(skeleton, tmp_path / "hyperformer.pt")
    with torch.no_grad():
        p = convert(tmp_path / "hyperformer.pt", family="hyperformer")(clip)
        return p @ F.normalize(teacher.clip.encode_text(tokenize(TEXTS)), dim=-1).T


def check_scores(got, want):
    torch.testing.assert_close(got, want, rtol=1e-4, atol=1e-5 * float(want.abs().max()))


@torch.no_grad()
@pytest.mark.parametrize("phase", ["phase 1", "phase 2"])
def test_scores_are_products_with_the_checkpoints_own_labels(
    skeleton, teacher, student, clip, by_hand, phase, tmp_path
):
    if phase == "phase 1":
        path, part = save(tmp_path / "p1.pth", phase_one(skeleton, teacher)), None
    else:
        path, part = save(tmp_path / "p2.pth", phase_two(skeleton, teacher, student)), "skeleton"
    model = convert(path, settings=ConvertSettings(part=part, classes=CLASSES))
    save_model(model, tmp_path / "folder")
    loaded = ski_edge.load_model(tmp_path / "folder")
    assert loaded.config == model.config
    for each in (model, loaded):
        p, products = each.compare(clip, each.label_embeddings)
        check_scores(products, by_hand)
        assert p.norm(dim=-1).sub(1).abs().min() > 0.1  # as it is, not normalised
        assert each.scale == 1
    with pytest.raises(BadInput, match="cannot encode new prompts"):
        loaded.encode_text(TEXTS)


@torch.no_grad()
def test_base_weights_bring_new_labels(skeleton, teacher, student, clip, by_hand, tmp_path):
    save_model(student, tmp_path / "base")
    path = save(tmp_path / "p1.pth", phase_one(skeleton, teacher))
    model = convert(path, settings=ConvertSettings(base=str(tmp_path / "base"), classes=CLASSES, template="{}"))
    assert model.config.reads_text
    assert model.config.classes == CLASSES
    assert model.config.text.template == "{}"
    check_scores(model(clip, TEXTS), by_hand)
    torch.testing.assert_close(model.encode_text(["waving"]), teacher.encode_text(["waving"]))
    assert any("token embedding taken from" in note for note in model.config.notes)


def test_config_says_what_was_assumed(skeleton, teacher, tmp_path):
    path = save(tmp_path / "ckpt_epoch_99.pth", phase_one(skeleton, teacher))
    config = convert(path).config
    assert (config.model, config.text_arch, config.embed_dim, config.arch) == ("skeletonclip", "tiny", 64, "base")
    assert (config.skeleton_norm, config.temperature, config.reads_text) == (False, "none", False)
    assert config.classes == ("class_0", "class_1", "class_2")
    spec = config.backbone.skeleton
    assert (spec.layout.name, spec.persons, spec.second_body) == ("ntu25", 2, "zeros")
    assert (spec.centre, spec.scale, spec.align, spec.root_trajectory) == ("first-frame", "none", "none", False)
    assert spec.resample == ZeroPad(frames=300)
    assert spec.modality == "joint"
    assert config.weights.startswith("ckpt_epoch_99.pth (sha256 ")
    assert "no licence file" in config.licence
    notes = " | ".join(config.notes)
    assert notes.startswith("read as SkeletonCLIP (SKI-Models, phase 1)")
    for said in (
        "modality assumed: joint",
        "input assumed: origin at body 1's spine",
        "no norm, no temperature",
    ):
        assert said in notes
    assert "labels are fixed to the checkpoint's 3 classes" in notes
    settings = ConvertSettings(body2="copy", licence="mine", layout="ntu25", modality="bone")
    config = convert(path, settings=settings).config
    assert config.backbone.skeleton.second_body == "copy"
    assert (config.licence, config.backbone.licence) == ("mine", "mine")
    assert config.backbone.skeleton.modality == "bone"


def test_joint_groups_are_ntus_whatever_the_layout(skeleton, teacher, tmp_path):
    """SKI's copy of Hyperformer has them in its code and does not read them from the config."""
    path = save(tmp_path / "p1.pth", phase_one(skeleton, teacher))
    ntu = get_layout("ntu25")
    named = [[ntu.joints[end] for end in bone] for bone in ntu.hop_bones or ntu.bones]
    mine = {"name": "mine", "joints": list(ntu.joints), "bones": named, "centre": [ntu.joints[1]]}
    (tmp_path / "mine.yaml").write_text(yaml.safe_dump({**mine, "hyperedges": [0] * 24 + [1]}))
    model = convert(path, settings=ConvertSettings(layout=str(tmp_path / "mine.yaml")))
    assert model.config.backbone.skeleton.layout.name == "mine"
    plain = ski_edge.create_model("hyperformer", num_classes=64, layout="ntu25")
    assert torch.equal(model.skeleton.trunk[0].spatial.groups, plain.trunk[0].spatial.groups)


def test_phase_two_is_the_student_unless_the_skeleton_is_asked_for(skeleton, teacher, student, tmp_path):
    path = save(tmp_path / "p2.pth", phase_two(skeleton, teacher, student))
    for settings in (None, ConvertSettings(part="video")):
        model = convert(path, settings=settings)
        assert model.config.model == "ski-vificlip"
        assert torch.equal(model.clip.text_projection, student.clip.text_projection)
    model = convert(path, settings=SKELETON)
    assert torch.equal(model.text.text_projection, teacher.clip.text_projection)
    notes = model.config.notes
    assert notes[0] == "read as SkeletonCLIP (SKI-Models, teacher in phase 2)"
    towers = [len(student.clip.visual.state_dict()), len(text_tower(student, ""))]
    assert f"dropped image_encoder: {towers[0]} tensors" in notes
    assert f"dropped text_encoder: {towers[1]} tensors" in notes


@torch.no_grad()
def test_golden_numbers(official, teacher, tmp_path):
    """Numbers of the official Hyperformer: its fill rule counts tensors by name, so the classifier is filled, too."""
    tensors = official.waves(official.hyperformer())
    tensors |= {"fc.weight": torch.zeros(64, 216), "fc.bias": torch.zeros(64)}
    model = convert(save(tmp_path / "golden.pth", phase_one(tensors, teacher)))
    clip = torch.sin(0.013 * torch.arange(2 * 3 * 64 * 25 * 2, dtype=torch.float64)).view(2, 3, 64, 25, 2)
    features = model.skeleton.double().features(clip)
    got = [features.sum(), features.abs().mean(), features[0, 0], *features[1, -3:]]
    assert [float(x) for x in got] == pytest.approx(
        [255.4473, 0.591313, 0.0282779, 2.131879, 1.695094, 1.004784], rel=1e-4, abs=1e-5
    )


@pytest.mark.parametrize(
    ("values", "says"),
    [
        ({"part": "skeleton"}, "--set part means nothing for SkeletonCLIP (SKI-Models, phase 1); leave it away"),
        ({"activation": "gelu"}, "--set activation means nothing for SkeletonCLIP"),
        ({"centre": 0}, "--set centre means nothing for SkeletonCLIP"),
        ({"classes": ("a", "b")}, "holds prompts of 3 classes, --set classes gives 2 names"),
        ({"layout": "kinect20"}, "has 25 joints, layout kinect20 has 20"),
        ({"template": "no slot"}, "exactly one {}"),
        ({"base": "nowhere"}, "'nowhere' is no file or folder"),
    ],
)
def test_settings_that_do_not_belong(skeleton, teacher, tmp_path, values, says):
    path = save(tmp_path / "p1.pth", phase_one(skeleton, teacher))
    with pytest.raises(BadInput) as error:
        convert(path, settings=ConvertSettings(**values))
    assert says in str(error.value)


def test_part_belongs_to_phase_two_alone(skeleton, tmp_path):
    torch.save(skeleton, tmp_path / "hyperformer.pt")
    with pytest.raises(BadInput, match="--set part means nothing for Hyperformer"):
        convert(tmp_path / "hyperformer.pt", settings=SKELETON)


@pytest.mark.parametrize(
    ("edits", "says"),
    [
        ({"hyperformer_model.fc2.weight": torch.zeros(32, 216)}, "fc2.bias"),
        (
            {"hyperformer_model.fc2.weight": torch.zeros(32, 216), "hyperformer_model.fc2.bias": torch.zeros(32)},
            "the skeleton's embedding has 32 numbers, the text tower's 64",
        ),
        ({"hyperformer_model.fc.weight": torch.zeros(60, 216)}, "(hyperformer_model.fc.weight)"),
        ({"hyperformer_model.fc2.weight": None}, "it lacks hyperformer_model.fc2.weight"),
        ({"text_encoder.text_projection": None}, "it lacks text_encoder.text_projection"),
        (
            {"text_encoder.transformer.resblocks.1.VPT": torch.zeros(8, 64)},
            "(text_encoder.transformer.resblocks.1.VPT)",
        ),
        ({"text_encoder.ln_final.scale": torch.zeros(64)}, "unknown ['text.ln_final.scale']"),
        ({"text_encoder.positional_embedding": torch.zeros(60, 64)}, "nearest is tiny, but it has context_length 60"),
        ({"text_encoder.positional_embedding": torch.tensor(1.0)}, "positional_embedding is [], expected 2 axes"),
        (
            {"hyperformer_model.l4.vit1.attn.rpe": torch.zeros(9, 216)},
            "hyperformer_model.l4.vit1.attn.rpe give [9, 216]",
        ),
        ({"hyperformer_model.l4.vit1.attn.kv.weight": None}, "hyperformer_model.l4.vit1.attn.q.weight"),
        ({"hyperformer_model.l4.tcn1.branches.0.0.bias": torch.full((54,), torch.nan)}, "holds NaN or infinity"),
        ({"hyperformer_model.fc2.weight": torch.tensor(1.0)}, "head.weight is [], expected 2 axes"),
        ({PROMPTS: None}, f"no token embedding and no {PROMPTS}"),
        ({PROMPTS: torch.zeros(3, 77, 32)}, f"{PROMPTS} is [3, 77, 32]"),
        ({PROMPTS: torch.zeros(0, 77, 64)}, "does not look like padded prompts"),
    ],
)
def test_strange_files_are_one_clear_line(skeleton, teacher, tmp_path, edits, says):
    path = save(tmp_path / "p1.pth", phase_one(skeleton, teacher), **edits)
    with pytest.raises(BadInput) as error:
        convert(path)
    assert says in str(error.value)
    assert "\n" not in str(error.value)


def test_a_half_that_is_not_there(skeleton, teacher, student, tmp_path):
    state = phase_two(skeleton, teacher, student)
    path = save(tmp_path / "p2.pth", state, **{"clip_text_encoder.text_projection": None})
    with pytest.raises(BadInput, match=r"teacher in phase 2\): it lacks clip_text_encoder\.text_projection"):
        convert(path, settings=SKELETON)
    with pytest.raises(BadInput, match=r"tensor image_encoder\.\S+ does not belong to SkeletonCLIP .*phase 1"):
        convert(save(tmp_path / "p2.pth", state), family="skeletonclip")


def test_command(cli, fails_clean, skeleton, teacher, student, tmp_path):
    path = save(tmp_path / "p2.pth", phase_two(skeleton, teacher, student))
    code, out, err = cli("convert", path, "--out", tmp_path / "folder", "--set", "part=skeleton")
    assert code == 0, err
    assert "skeletonclip base" in out
    assert f"teacher.init: {tmp_path / 'folder'}" in out
    assert "ski-edge export" not in out
    assert ski_edge.load_model(tmp_path / "folder").config.model == "skeletonclip"
    fails_clean("convert", path, "--out", tmp_path / "x", "--set", "part=half", says="--set part")
