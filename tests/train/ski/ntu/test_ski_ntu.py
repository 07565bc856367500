"""SKI's recipes of NTU, from raw files to a bundle, on real samples under the names of all actions."""

from __future__ import annotations

import json
import shutil

import cv2
import numpy as np
import pytest
import torch

import ski_edge
from ski_edge.data.splits import zero_shot_classes
from ski_edge.evaluate.scores import read_scores
from ski_edge.files import read_json
from ski_edge.models import load_model
from ski_edge.runtime.preprocess import preprocess_clip
from ski_edge.train.recipe import parse_recipe, read_recipe
from ski_edge.train.ski.batches import PairBatches
from ski_edge.train.ski.stages import Stages
from ski_edge.train.ski.world import open_world

OFFICIAL = "ski-vificlip-official-ntu60"
CHECK = ("data", "check", "data/ntu60", "--videos", "data/ntu60-rgb", "--split", "48/12", "--json")


@pytest.fixture(scope="module")
def official(train_toy):
    """The run folder of the official form on NTU-60, trained with all that comes before it."""
    return train_toy(OFFICIAL, 60)


@pytest.fixture
def at_ntu60(toy_ntu, monkeypatch):
    place = toy_ntu(60)
    monkeypatch.chdir(place)
    return place


def tower(checkpoint):
    """Text tower of a video-text checkpoint, by the names of a tower alone."""
    state = checkpoint.clip.state_dict()
    return {name: tensor for name, tensor in state.items() if not name.startswith("visual.") and name != "logit_scale"}


def same(first, second):
    """Whether all tensors have the same bytes."""
    return first.keys() == second.keys() and all(torch.equal(first[name], second[name]) for name in first)


def folders_of(recipe, before, backbone, teacher):
    """Stage -> its folder."""
    stages = Stages(recipe, changes=before)
    folders = {inner: stages.folder(inner) for inner in before if inner != backbone}
    return {**folders, backbone: stages.within("", stages.stage_recipe(teacher)).folder(backbone)}


def check_run(out, name, small_changes, changes=()):
    """What a run and the runs before it must have left, by the form that its name says."""
    place, recipe, form = (
        out.parents[2],
        parse_recipe(read_json(out / "recipe.json", "recipe"), name),
        name.split("-")[2],
    )
    own, before = small_changes(name)
    assert recipe == read_recipe(name, [*own, *changes])
    sixty = "-ntu60" if name.endswith("-ntu60") else ""
    with pytest.MonkeyPatch.context() as patch:  # the folders' names depend on what the data hold
        patch.chdir(place)
        folders = folders_of(recipe, before, below := f"hyperformer-ski{sixty}", bones := f"skeletonclip-{form}{sixty}")
    backbone, start, bones = (
        load_model(place / folders[inner] / "checkpoint") for inner in (below, f"{name.split('-')[1]}-{form}", bones)
    )
    clip, student, teacher = (load_model(folder) for folder in (place / "clip", out / "checkpoint", out / "teacher"))
    assert backbone.config.model == "hyperformer"
    for spec in (backbone.config.skeleton, teacher.config.backbone.skeleton):
        assert spec.second_body == ("zeros" if sixty else "copy")  # as the two sets' preparations have it
    assert (student.config.model, start.config.model) == (recipe.student.model, recipe.student.model[4:])
    assert student.config.video.window_frames == 4
    assert np.isfinite(student.score_scale)
    assert not same(bones.skeleton.state_dict(), teacher.skeleton.state_dict())  # the skeleton learns in both phases
    if form == "official":
        assert (recipe.temperature, recipe.text.freeze, teacher.config.skeleton_norm) == ("none", False, False)
        assert teacher.log_scale is None
        assert torch.equal(student.clip.logit_scale, start.clip.logit_scale)
        assert recipe.mix_skeleton_labels == (recipe.student.model != "ski-froster")  # FROSTER mixes nothing
        assert not same(tower(student), tower(start))
        looked_up = torch.equal(student.clip.token_embedding.weight, clip.clip.token_embedding.weight)
        assert looked_up == (recipe.student.model == "ski-vificlip")  # ViFi-CLIP's and SKI's prompts are
        assert not same(teacher.text.state_dict(), bones.text.state_dict())
        assert not same(bones.text.state_dict(), tower(clip))
        assert teacher.config.backbone.skeleton.resample.name == "zero-pad"
    else:
        frozen = recipe.student.model == "ski-xclip"  # its own code freezes text
        assert (recipe.temperature, recipe.text.freeze, teacher.config.skeleton_norm) == ("learned", frozen, True)
        assert not torch.equal(student.clip.logit_scale, start.clip.logit_scale)
        assert not torch.equal(teacher.log_scale, bones.log_scale)
        assert not recipe.mix_skeleton_labels
        for text in (teacher.text.state_dict(), bones.text.state_dict()):
            assert same(text, tower(clip))
        for text in (tower(student), tower(start)):
            assert same(text, tower(clip)) == frozen
        assert teacher.config.backbone.skeleton.resample.name == "crop-resize"
    check_numbers(out, recipe.data.split, student, (start, bones, teacher))


def check_numbers(out, split, student, others):
    """Zero-shot numbers are of exactly the split's novel classes, and no network was told of them."""
    result = read_json(out / "result.json", "result")
    scores = {head: read_scores(out / f"unseen-{head}.npz") for head in ("video", "skeleton")}
    seen, unseen = zero_shot_classes(split, scores["video"].classes)
    assert result["classes"] == {"seen": len(seen), "unseen": len(unseen)}
    names = tuple(scores["video"].classes[label] for label in seen)
    assert all(model.config.classes == names for model in (student, *others))
    for head, found in scores.items():
        assert set(found.labels.tolist()) == set(unseen)
        best = np.array(unseen)[found.logits[:, unseen].argmax(axis=1)]
        assert result[head]["zsl_top1"] == pytest.approx(100 * (best == found.labels).mean())
    assert result["pairs"]["unseen_test"] == len(scores["video"].labels)
    assert "both" in result


def test_prepared_data_and_videos_belong_together(cli, at_ntu60):
    code, out, err = cli(*CHECK)
    assert code == 0, err
    found = json.loads(out)
    assert (found["pairs"], found["video_files"], found["skeletons"]) == (66, 66, 66)
    for key in ("unusable", "videos_without_skeleton", "skeletons_without_video", "lengths_differ", "labels_differ"):
        assert found[key] == []
    assert found["splits"]["48/12"] == {
        "train": 52,
        "test": 14,
        "train_classes_without_pairs": [],
        "test_classes_without_pairs": [],
    }


def test_official_form_from_raw_files_to_checkpoints(official, small_changes, capsys):
    check_run(official, OFFICIAL, small_changes)


def test_labels_are_mixed_for_both_sides(official, at_ntu60):
    """The official code's: what the images' labels became, the skeletons, which are not mixed, are trained against."""
    recipe = parse_recipe(read_json(official / "recipe.json", "recipe"), "run")
    spec = load_model(official / "teacher").config.backbone.skeleton
    batches = list(PairBatches(recipe, open_world(recipe), spec, torch.device("cpu")).epoch(0, 0, 1, 0))
    assert len(batches) == 3
    for batch in batches:
        assert batch.frames.shape == (16, 4, 3, 224, 224)
        assert batch.skeleton.shape == (16, 3, 24, 25, 2)
        assert torch.equal(batch.target, batch.skeleton_target)
        assert (batch.skeleton[:, :, 20:] == 0).all()  # padded, not stretched
    largest = torch.cat([batch.target for batch in batches]).amax(dim=1)
    assert (largest < 0.9).any()  # of a clip by itself it would be 0.9 and a forty-eighth of 0.1


def test_it_is_measured_as_in_training(official, cli, at_ntu60, tmp_path):
    asked = ("--data", "data/ntu60", "--videos", "data/ntu60-rgb", "--json")
    code, out, err = cli("evaluate", official / "checkpoint", *asked, "--split", "48/12", "--out", tmp_path / "a")
    assert code == 0, err
    found, trained = json.loads(out), read_json(official / "result.json", "result")["video"]
    assert (found["clips"], found["classes"]) == (14, 12)
    assert found["top1"] == pytest.approx(trained["zsl_top1"])
    assert found["mean_recall"] == pytest.approx(trained["zsl_mean_class"])
    split = ("--split", "48/12@xsub60", "--views", "2x3")
    code, out, err = cli("evaluate", official / "checkpoint", *asked, *split, "--out", tmp_path / "b")
    assert code == 0, err
    found = json.loads(out)
    assert (found["clips"], found["seen_classes"]["clips"]) == (2, 4)  # of the six actions that subject 3 shows


def test_it_becomes_a_bundle_that_predicts(official, ntu_samples, tmp_path):
    model = load_model(official / "checkpoint")
    session = ski_edge.open_bundle(ski_edge.export_model(model, tmp_path / "bundle"))
    capture = cv2.VideoCapture(str(ntu_samples / "NTU/rgb/S001C001P001R001A001_rgb.avi"))
    frames = np.stack([capture.read()[1][:, :, ::-1] for _ in range(4)])
    prediction = session.predict(frames)
    pixels = torch.from_numpy(preprocess_clip(frames, model.config.preprocessing))[None]
    with torch.no_grad():
        cosines = model.compare(pixels, model.text_features([f"a photo of a {c}." for c in model.config.classes]))[1][0]
    assert len(model.config.classes) == 48
    assert prediction.label == model.config.classes[int(cosines.argmax())]


def test_faults_are_named_and_a_damaged_video_is_left_out(write_ntu, train_toy, toy_ntu, cli, tmp_path, monkeypatch):
    """One video missing, one damaged, one skeleton missing."""
    write_ntu(tmp_path, 60)
    shutil.copytree(toy_ntu(60) / "clip", tmp_path / "clip")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "data/ntu60-rgb/S001C001P001R001A007_rgb.avi").unlink()
    (tmp_path / "data/ntu60-rgb/S001C001P001R001A008_rgb.avi").unlink()  # a link: the others keep their content
    (tmp_path / "data/ntu60-rgb/S001C001P001R001A008_rgb.avi").write_bytes(b"RIFF and no more")
    (tmp_path / "raw/S001C001P001R001A009.skeleton").unlink()
    assert cli("data", "prepare", "ntu", "--raw", "raw", "--out", "data/ntu60")[0] == 0
    code, out, _ = cli(*CHECK, "--list", "checked.json")
    found = json.loads(out)
    assert (code, found["pairs"]) == (0, 63)
    assert [item["file"] for item in found["unusable"]] == ["S001C001P001R001A008_rgb.avi"]
    assert found["videos_without_skeleton"] == ["S001C001P001R001A009"]
    assert found["skeletons_without_video"] == ["S001C001P001R001A007", "S001C001P001R001A008"]
    assert found["splits"]["48/12"]["train_classes_without_pairs"] == [
        "throw",
        "sitting down",
        "standing up (from sitting position)",
    ]
    train = (
        "train",
        "vificlip-official",
        "data.skeletons=data/ntu60",
        "data.videos=data/ntu60-rgb",
        "data.split=48/12",
    )
    small = ("student.arch=tiny", "student.init=clip", "video.frames=2", "video.workers=0", "optim.epochs=1")
    train = (*train, *small, "optim.batch_size=16", "--threads", "1")
    code, _, err = cli(*train, "--out", "stumbles")
    assert (code, "S001C001P001R001A008_rgb.avi is not a video" in err) == (2, True)
    code, out, err = cli(*train, "data.checked=checked.json", "--out", "goes-on", "--json")
    assert code == 0, err
    assert json.loads(out)["pairs"] == {"train": 49, "seen_test": 0, "unseen_test": 14}


@pytest.fixture
def only(toy_ntu, tmp_path, monkeypatch):
    """only("ntu60"): a working directory with these folders of data and nothing else."""

    def make(*names):
        (tmp_path / "data").mkdir()
        for name in names:
            (tmp_path / "data" / name).symlink_to(toy_ntu(60) / "data" / name)
        (tmp_path / "clip").symlink_to(toy_ntu(60) / "clip")
        monkeypatch.chdir(tmp_path)

    return make


@pytest.mark.parametrize(
    ("there", "changes", "says"),
    [
        (["ntu60"], [], "data.videos data/ntu60-rgb does not exist; this recipe needs a folder of RGB videos"),
        (["ntu60-rgb"], [], "data/ntu60 holds no prepared data (no index.json); make it with: ski-edge data prepare"),
        ([], [], "data/ntu60 holds no prepared data"),
        (["ntu60", "ntu60-rgb"], ["data.split=110/10"], "is of NTU RGB+D with 120 classes; this is ntu with 60"),
        (["ntu60", "ntu60-rgb"], ["data.split=xsub60"], "SKI training needs one that divides classes"),
        (["ntu60", "ntu60-rgb"], ["data.split=48-12"], "split '48-12' is not one of ntu's; the choices are"),
        (["ntu60", "ntu60-rgb"], ["data.videos=clip"], "clip holds no videos"),
        (["ntu60", "ntu60-rgb"], ["data.checked=list.json"], "list.json"),
        (["ntu60", "ntu60-rgb"], ["optim.batch_size=64"], "batch_size 64 is larger than the training part of 52 pairs"),
        (
            ["ntu60", "ntu60-rgb"],
            ["vificlip-official:student.init=clap"],
            "recipe:vificlip-official: init 'clap' is no",
        ),
        (["ntu60", "ntu60-rgb"], ["skeletonclip-official-ntu60:text.init=clap"], "init 'clap' is no folder, no file"),
        (
            ["ntu60", "ntu60-rgb"],
            ["vificlip:optim.epochs=1"],
            "vificlip:optim.epochs=1 changes nothing: this recipe needs",
        ),
        (
            ["ntu60", "ntu60-rgb"],
            ["hyperformer-ski-ntu60:epoch=1"],
            "recipe hyperformer-ski-ntu60: epoch: Extra inputs are not",
        ),
    ],
)
def test_what_cannot_be_trained_is_said_before_anything_is(there, changes, says, only, small_changes, fails_clean):
    only(*there)
    own, before = small_changes(OFFICIAL)
    own = [*own, *(f"{name}:{change}" for name, some in before.items() for change in some), *changes]
    fails_clean("train", OFFICIAL, *own, says=says)


SPLITS = {"55/5": 60, "48/12": 60, "110/10": 120, "96/24": 120}


@pytest.mark.slow
@pytest.mark.parametrize("split", SPLITS)
@pytest.mark.parametrize("form", ["official", "paper"])
@pytest.mark.parametrize("student", ["vificlip", "xclip", "froster"])
def test_every_recipe_on_every_split(split, form, student, train_toy, small_changes):
    """The 24 runs of the paper's tables; stages that several need are trained once."""
    actions = SPLITS[split]
    name = f"ski-{student}-{form}" + ("-ntu60" if actions == 60 else "")
    changes = [f"data.split={split}", *([] if actions == 60 else ["data.videos=data/ntu120-rgb"])]
    out = train_toy(name, actions, *changes, name=f"{name}-{split.replace('/', '-')}")
    check_run(out, name, small_changes, changes)
    assert read_recipe(name).alpha == (0.01 if actions == 60 else 10)
