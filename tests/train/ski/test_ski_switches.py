"""What the official code does differently, mixed precision, activations computed twice, numbers that are not finite."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch

from ski_edge.data.prompts import class_prompts
from ski_edge.data.store import ClipEntry, Index, write_data
from ski_edge.errors import BadInput
from ski_edge.models.clip import tokenize
from ski_edge.skeleton import LAYOUTS
from ski_edge.testing.skeletons import moving_skeleton
from ski_edge.train.ski.loop import train_ski
from ski_edge.train.ski.losses import soft_cross_entropy

MIXED = {"video": {"mixup_alpha": 0.8, "cutmix_alpha": 1.0}}


@pytest.fixture
def first_step(pieces):
    """recipe -> (pair, batch, out) of the first batch, gradients taken."""

    def make(recipe):
        _, pair, batches = pieces(recipe)
        batch = next(iter(batches.epoch(0, 0, 1, 0)))
        pair.train()
        torch.manual_seed(0)
        out = pair(batch.frames, batch.skeleton, batch.target, batch.skeleton_target)
        out["loss"].backward()
        return pair, batch, out

    return make


def test_without_temperature_logits_are_plain_similarities(ski_recipe, first_step):
    pair, batch, out = first_step(ski_recipe("scd", {"temperature": "none"}))
    torch.testing.assert_close(out["video_loss"].detach(), soft_cross_entropy(out["video"], batch.target))
    torch.testing.assert_close(
        out["skeleton_loss"].detach(), soft_cross_entropy(out["skeleton"], batch.skeleton_target)
    )
    assert pair.student.clip.logit_scale.grad is None
    assert pair.teacher.log_scale is None
    assert pair.teacher.config.temperature == "none"


def test_a_trained_temperature_is_left_alone_where_none_is_wanted(ski_recipe, first_step, tmp_path, no_stage):
    train_ski(ski_recipe("skeletonclip"), tmp_path / "first", no_stage, threads=1)
    init = {"teacher": {"init": str(tmp_path / "first" / "checkpoint")}}
    pair, batch, out = first_step(ski_recipe("scd", init, {"temperature": "none"}))
    torch.testing.assert_close(
        out["skeleton_loss"].detach(), soft_cross_entropy(out["skeleton"], batch.skeleton_target)
    )
    assert pair.teacher.log_scale.grad is None


def test_with_temperature_both_scales_learn(ski_recipe, first_step):
    pair, batch, out = first_step(ski_recipe("scd"))
    scale = float(pair.student.clip.logit_scale.detach().exp())
    torch.testing.assert_close(out["video_loss"].detach(), soft_cross_entropy(scale * out["video"], batch.target))
    assert pair.student.clip.logit_scale.grad.abs() > 0
    assert pair.teacher.log_scale.grad.abs() > 0


def test_weights_of_the_parts(ski_recipe, first_step):
    plain = first_step(ski_recipe("scd"))[2]
    weighted = first_step(ski_recipe("scd", {"alpha": 10.0, "teacher_weight": 0.5}))[2]
    torch.testing.assert_close(weighted["distil_loss"], 10 * plain["distil_loss"])
    torch.testing.assert_close(weighted["skeleton_loss"], 0.5 * plain["skeleton_loss"])
    torch.testing.assert_close(weighted["video_loss"], plain["video_loss"])


def test_mixed_labels_are_the_videos_alone_unless_asked(ski_recipe, first_step):
    _, own, _ = first_step(ski_recipe("scd", MIXED))
    _, official, _ = first_step(ski_recipe("scd", MIXED, {"mix_skeleton_labels": True}))
    torch.testing.assert_close(own.target, official.target)
    torch.testing.assert_close(official.skeleton_target, official.target)
    assert not torch.allclose(own.skeleton_target, own.target)
    on, off = 0.9 + 0.1 / 3, 0.1 / 3
    hard = torch.full((4, 3), off).scatter_(1, own.labels.view(4, 1), on)
    torch.testing.assert_close(own.skeleton_target, hard)
    torch.testing.assert_close(own.target.sum(dim=1), torch.ones(4))


def test_the_official_skeleton_is_not_normalised(ski_recipe, pieces):
    for norm in (True, False):
        _, pair, batches = pieces(ski_recipe("scd", {"teacher": {"skeleton_norm": norm}}))
        batch = next(iter(batches.epoch(0, 0, 1, 0)))
        length = pair.teacher.compare(batch.skeleton, pair.skeleton_text)[0].norm(dim=1)
        assert torch.allclose(length, torch.ones(4)) == norm


def test_text_towers_learn_if_they_may(ski_recipe, first_step, tmp_path, no_stage):
    """Both, each from tokens; after the run, labels are read with the towers as they have become."""
    recipe = ski_recipe("scd", {"text": {"freeze": False}})
    pair, _, _ = first_step(recipe)
    before = {name: tensor.clone() for name, tensor in pair.state_dict().items()}
    assert (pair.video_text.dtype, pair.skeleton_text.dtype) == (torch.int64, torch.int64)
    train_ski(recipe, tmp_path / "run", no_stage, threads=1)
    after = torch.load(tmp_path / "run" / "state.pt", weights_only=True)["model"]
    for tower in ("student.clip", "teacher.text"):
        for name in ("token_embedding.weight", "positional_embedding", "text_projection", "ln_final.bias"):
            assert not torch.equal(before[f"{tower}.{name}"], after[f"{tower}.{name}"]), f"{tower}.{name}"
    # Words of no class (and padding, 0) have no gradient; what moves them is decay alone, a little.
    moved = (after["student.clip.token_embedding.weight"] - before["student.clip.token_embedding.weight"]).abs()
    words = torch.zeros(len(moved), dtype=torch.bool).index_fill_(0, pair.video_text.flatten(), True)
    words[0] = False
    assert moved[words].amax(dim=1).min() > 10 * moved[~words].max()


def test_a_class_may_have_many_sentences(ski_recipe, pieces):
    """Frozen: the mean of all 29. Learning: any of the first 28 and the last, as FROSTER's code reads them."""
    froster = {"text": {"templates": "froster"}}
    _, frozen, _ = pieces(ski_recipe("student", froster))
    names = list(frozen.student.config.classes)
    sentences = class_prompts(names, "froster")
    with torch.no_grad():
        want = torch.stack([frozen.student.encode_text(list(sentences[name])).mean(dim=0) for name in names])
        torch.testing.assert_close(frozen.video_text, want)
        learning = ski_recipe("student", froster, {"text": {"freeze": False}, "student": {"residual": 2.0}})
        pair = pieces(learning)[1].train()
        assert pair.video_text.shape[:2] == (3, 29)
        torch.manual_seed(0)
        drawn = [pair._drawn(pair.video_text) for _ in range(200)]
        assert {tuple(text.shape[:2]) for text in drawn} == {(3, 2)}
        every = tokenize([text for name in names for text in sentences[name]], "mini").unflatten(0, (3, 29))
        found = {(every[0] == text[0, 0]).all(dim=1).nonzero()[0].item() for text in drawn}
        assert found == set(range(28))
        assert all(torch.equal(text[:, 1], every[:, -1]) for text in drawn)
        assert pair.eval()._drawn(pair.video_text).shape[1] == 29


def test_frozen_text_stays(ski_recipe, first_step):
    pair, _, _ = first_step(ski_recipe("scd"))
    assert (pair.video_text.shape, pair.skeleton_text.shape) == ((3, 384), (3, 384))
    assert pair.student.clip.token_embedding.weight.grad is None
    assert pair.teacher.text.token_embedding.weight.grad is None


@pytest.mark.parametrize("model", ["vificlip", "xclip", "froster"])
def test_activations_computed_twice_change_nothing_but_memory(model, ski_recipe, pieces):
    """Equal losses and gradients; between the passes fewer numbers are kept."""
    _, pair, batches = pieces(ski_recipe("student", {"student": {"model": model}, "text": {"freeze": False}}))
    batch = next(iter(batches.epoch(0, 0, 1, 0)))
    pair.train()
    losses, gradients, kept = [], [], []
    for twice in (False, True):
        pair.student.clip.set_grad_checkpointing(twice)
        numbers = 0

        def count(tensor: torch.Tensor) -> torch.Tensor:
            nonlocal numbers
            numbers += tensor.numel()
            return tensor

        with torch.autograd.graph.saved_tensors_hooks(count, lambda tensor: tensor):
            loss = pair(batch.frames, None, batch.target, batch.skeleton_target)["loss"]
        pair.zero_grad()
        loss.backward()
        losses.append(loss.detach())
        kept.append(numbers)
        gradients.append(pair.student.clip.visual.class_embedding.grad.clone())
    assert torch.equal(*losses)
    torch.testing.assert_close(*gradients)
    assert kept[1] < 0.8 * kept[0]


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_a_run_with_activations_computed_twice_is_the_same_run(precision, ski_recipe, tmp_path, no_stage):
    """Frames, and both text towers."""
    ends = []
    for twice in (False, True):
        optim = {"optim": {"checkpoint_activations": twice, "precision": precision}}
        recipe = ski_recipe("scd", {"student": {"model": "ski-xclip"}, "text": {"freeze": False}}, optim)
        train_ski(recipe, tmp_path / str(twice), no_stage, threads=1)
        ends.append(torch.load(tmp_path / str(twice) / "state.pt", weights_only=True))
    assert ends[0]["totals"] == ends[1]["totals"] == {}
    for name, tensor in ends[0]["model"].items():
        torch.testing.assert_close(tensor, ends[1]["model"][name])


def test_bf16_stays_near_fp32(ski_recipe, tmp_path, no_stage):
    rows = []
    for precision in ("fp32", "bf16"):
        recipe = ski_recipe("scd", {"optim": {"precision": precision}})
        train_ski(recipe, tmp_path / precision, no_stage, threads=1, report=lambda row, _: rows.append(row))
    for part in ("loss", "video_loss", "skeleton_loss"):
        assert rows[1][part] == pytest.approx(rows[0][part], rel=0.05)
        assert rows[1][part] != rows[0][part]
    state = torch.load(tmp_path / "bf16" / "state.pt", weights_only=True)["model"]
    assert {tensor.dtype for tensor in state.values()} == {torch.float32, torch.int64}


@pytest.mark.skipif(torch.cuda.is_available(), reason="fp16 is fine on a GPU")
def test_fp16_on_a_cpu_is_refused(ski_recipe, tmp_path, no_stage):
    with pytest.raises(BadInput, match="precision fp16 needs a GPU"):
        train_ski(ski_recipe("student", {"optim": {"precision": "fp16"}}), tmp_path / "run", no_stage)
    assert not (tmp_path / "run").exists()


@pytest.fixture
def with_a_clip_of(tmp_path):
    """largest number -> changes of a recipe that make it read data of which clip10 is so large."""

    def make(largest: float) -> dict:
        clips, entries = [], []
        for number in range(20):
            clip = moving_skeleton(LAYOUTS["kinect20"], 8, seed=number)
            clips.append(clip * np.float32(largest / np.abs(clip).max() if number == 10 else 1))
            entries.append(ClipEntry(name=f"clip{number}", label=number % 5, frames=8, subject=number // 5 + 1))
        classes = ("right hand wave", "squat", "two hand push", "front boxing", "walking in place")
        index = Index(dataset="utd-mhad", layout="kinect20", fps=30, persons=1, classes=classes, clips=tuple(entries))
        (tmp_path / "huge").mkdir()
        write_data(tmp_path / "huge", index, clips, {})
        return {"data": {"skeletons": str(tmp_path / "huge"), "seen_test_share": 0}, "optim": {"batch_size": 12}}

    return make


@pytest.mark.parametrize(
    ("largest", "says"),
    [
        (
            3.3e38,
            r"the loss became nan in epoch 1, batch 1 \(clip10\); lower optim\.lr \(now 0\.002\) or look at these",
        ),
        (1e30, r"teacher\.skeleton\.\S+running_var is not finite after epoch 1; .* look for clips with huge numbers"),
    ],
)
def test_what_is_not_finite_stops_the_run(largest, says, ski_recipe, with_a_clip_of, tmp_path, no_stage):
    with pytest.raises(BadInput, match=says):
        train_ski(ski_recipe("skeletonclip", with_a_clip_of(largest)), tmp_path / "run", no_stage, threads=1)
    assert not (tmp_path / "run" / "state.pt").exists()


def test_a_strange_clip_is_named_where_it_can_be_told_from_the_others(ski_recipe, pieces):
    from ski_edge.train.ski.batches import PairBatch
    from ski_edge.train.ski.loop import _suspects

    video = torch.zeros(3, 2)
    video[1, 0] = float("nan")
    batch = PairBatch(None, None, torch.zeros(3, 2), torch.zeros(3, 2), torch.zeros(3, 1), ("a", "b", "c"))
    assert _suspects({"video": video}, batch) == "b"
    assert _suspects({"video": torch.zeros(3, 2)}, batch) == "a, b, c"
    assert _suspects({"video": torch.full((3, 2), float("nan"))}, batch) == "a, b, c"
    skeleton = torch.zeros(3, 3, 4, 2, 1)
    skeleton[2, 0, 0, 0, 0] = float("inf")  # a BatchNorm spreads it over all
    batch = dataclasses.replace(batch, skeleton=skeleton)
    assert _suspects({"skeleton": torch.full((3, 2), float("nan"))}, batch) == "c"


@pytest.mark.parametrize("objective", ["scd", "tri-modal"])
def test_temperatures_stop_at_a_hundred(objective, ski_recipe, tmp_path, no_stage):
    recipe = ski_recipe(objective, {"optim": {"lr": 10.0, "epochs": 1}, "alpha": 0.0})
    train_ski(recipe, tmp_path / "run", no_stage, threads=1)
    state = torch.load(tmp_path / "run" / "state.pt", weights_only=True)["model"]
    scales = {name: float(tensor.exp()) for name, tensor in state.items() if name.endswith("log_scale")}
    scales["logit_scale"] = float(state["student.clip.logit_scale"].exp())
    assert all(np.isfinite(scale) and scale <= 100.001 for scale in scales.values()), scales
