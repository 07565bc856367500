"""A video-text checkpoint on videos: the same numbers as by hand, fixed labels, views, and what it is told."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

import ski_edge
from ski_edge.data import ClipEntry, Index, write_data
from ski_edge.data.splits import zero_shot_classes
from ski_edge.data.store import open_data
from ski_edge.data.video import open_videos
from ski_edge.evaluate.scores import read_scores
from ski_edge.evaluate.video import measure_videos, open_test, run_videos, sum_policy, views_of
from ski_edge.models import load_model, save_model
from ski_edge.models.clip import tokenize
from ski_edge.models.convert_towers import PROMPTS
from ski_edge.runtime.preprocess import preprocess_clip, sample_indices
from ski_edge.skeleton import get_layout
from ski_edge.testing.clips import moving_shapes
from ski_edge.testing.weights import clip_like

CLASSES = tuple(f"action {number}" for number in range(1, 61))
NOVEL = (3, 5, 9)  # of 48/12, those that have clips here: A4, A6, A10
SEEN = (0, 1)


def frames_of(number):
    """Nine frames that have nothing in common, so that a wrong choice of frames shows."""
    return [moving_shapes(1, seed=9 * number + frame, height=60, width=80)[0] for frame in range(9)]


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """Prepared NTU-60 by names, five actions of subjects 1 (trains in xsub60) and 3 (tests), and their videos."""
    folder = tmp_path_factory.mktemp("videos")
    (folder / "data").mkdir()
    (folder / "rgb").mkdir()
    clips = []
    for number, (label, subject) in enumerate((label, subject) for label in SEEN + NOVEL for subject in (1, 3)):
        name = f"S001C001P{subject:03d}R001A{label + 1:03d}"
        clips.append(ClipEntry(name=name, label=label, frames=9, subject=subject, camera=1, setup=1))
        fourcc = cv2.VideoWriter_fourcc(*"MJPG")
        writer = cv2.VideoWriter(str(folder / "rgb" / f"{name}_rgb.avi"), fourcc, 30, (80, 60))
        for frame in frames_of(number):
            writer.write(frame[:, :, ::-1])
        writer.release()
    fields = {"dataset": "ntu", "layout": get_layout("ntu25"), "fps": 30, "persons": 1, "classes": CLASSES}
    write_data(folder / "data", Index(**fields, clips=tuple(clips)), [np.ones((9, 1, 25, 3), np.float32)] * 10, {})
    for name in ("ski-vificlip", "xclip", "froster"):
        model = ski_edge.create_model(name, arch="tiny", seed=1, video={"window_frames": 4})
        save_model(clip_like(model), folder / name)
    return folder


def arguments(models, model="ski-vificlip", split="48/12", place=None):
    place = place or models
    return ("evaluate", models / model, "--data", place / "data", "--videos", place / "rgb", "--split", split)


@pytest.mark.parametrize("name", ["ski-vificlip", "xclip", "froster"])
def test_numbers_are_those_of_the_model_by_itself(name, cli, place, tmp_path):
    code, out, err = cli(*arguments(place, name), "--rate", 2, "--out", tmp_path / "out", "--json")
    assert code == 0, err
    found, scores = json.loads(out), read_scores(tmp_path / "out" / "scores.npz")
    novel = zero_shot_classes("48/12", CLASSES)[1]
    assert scores.classes == tuple(CLASSES[label] for label in novel)
    assert (found["clips"], found["classes"], found["clips_without_video"]) == (6, 12, 0)
    assert {path.name for path in (tmp_path / "out").iterdir()} == {
        *("metrics.json", "per_class.csv", "confusion.csv", "confusion.png", "scores.npz"),
    }
    model = load_model(place / name)
    source = open_videos(place / "rgb", CLASSES)
    pixels = []
    for clip in scores.names:
        frames = source.read(source.names.index(str(clip)), np.array([0, 2, 4, 7]))  # of the first 8 frames
        pixels.append(preprocess_clip(frames, model.config.preprocessing))
    text = [model.config.text.template.replace("{}", label) for label in scores.classes]
    with torch.no_grad():
        logits = model(torch.from_numpy(np.stack(pixels)), text).double()
    wanted = (logits if name == "froster" else logits.softmax(dim=1)).numpy()
    np.testing.assert_allclose(scores.logits, wanted, rtol=1e-3, atol=1e-4)
    assert found["top1"] == pytest.approx(100 * float((wanted.argmax(axis=1) == scores.labels).mean()))


def test_equal_parts_and_four_by_three(place):
    """The middle of each part of the clip, as the device takes it; of several views the scores are added."""
    data, source, model = open_data(place / "data"), open_videos(place / "rgb", CLASSES), load_model(place / "xclip")
    test = open_test(data, source, "48/12")
    one, embeddings = run_videos(model, source, test, views_of(model.config))
    frames = source.read(int(test.clips[0]), sample_indices(9, 4))
    clip = torch.from_numpy(preprocess_clip(frames, model.config.preprocessing))[None]
    with torch.no_grad():
        wanted = model(clip, [model.config.text.template.replace("{}", name) for name in test.classes])
    np.testing.assert_allclose(one[0], wanted.numpy(), rtol=1e-3, atol=1e-3)
    done = []
    many, _ = run_videos(
        model, source, test, views_of(model.config, (4, 3)), workers=2, progress=lambda *counts: done.append(counts)
    )
    assert many.shape == (6, 12, 12)
    assert embeddings.shape == (6, 64)
    np.testing.assert_allclose(np.linalg.norm(embeddings, axis=1), 1, rtol=1e-5)
    assert done[-1] == (6, 6)
    assert np.abs(many - many[:, :1]).max() > 1e-3
    found = measure_videos(many, test, sum_policy(model.config))
    power = np.exp(many.astype(np.float64) - many.max(axis=-1, keepdims=True))
    np.testing.assert_allclose(found.scores, (power / power.sum(axis=-1, keepdims=True)).sum(axis=1), rtol=1e-5)


def clip_of(place, name, model):
    """The middle of each part of a video, as the network takes it: [1, T, 3, S, S]."""
    source = open_videos(place / "rgb", CLASSES)
    frames = source.read(source.names.index(str(name)), sample_indices(9, 4))
    return torch.from_numpy(preprocess_clip(frames, model.config.preprocessing))[None]


def test_sentences_stand_for_names(cli, place, tmp_path, fails_clean):
    """Several of a class are averaged; `data prompts` writes what is read."""
    code, _, err = cli("data", "prompts", place / "data", "--templates", "froster", "--out", tmp_path / "prompts")
    assert code == 0, err
    file = tmp_path / "prompts" / "prompts.json"
    made = json.loads(file.read_text())
    novel = {CLASSES[label] for label in zero_shot_classes("48/12", CLASSES)[1]}
    file.write_text(json.dumps({name: made[name] for name in novel}))
    code, _, err = cli(*arguments(place), "--prompts", file, "--out", tmp_path / "out")
    assert code == 0, err
    scores, model = read_scores(tmp_path / "out" / "scores.npz"), load_model(place / "ski-vificlip")
    clip = clip_of(place, scores.names[0], model)
    with torch.no_grad():
        texts = [model.encode_text(made[name]).mean(dim=0) for name in scores.classes]
        assert len(made[scores.classes[0]]) == 29
        wanted = (model.clip.logit_scale.exp() * model.compare(clip, torch.stack(texts))[1]).softmax(dim=1)
    np.testing.assert_allclose(scores.logits[0], wanted[0].numpy(), rtol=1e-3, atol=1e-4)
    file.write_text(json.dumps(made))  # of all classes of the data: those that are not asked about do no harm
    code, _, err = cli(*arguments(place), "--prompts", file, "--out", tmp_path / "all")
    assert code == 0, err
    np.testing.assert_array_equal(read_scores(tmp_path / "all" / "scores.npz").logits, scores.logits)
    file.write_text(json.dumps({**made, "action 61": ["x"]}))
    fails_clean(*arguments(place), "--prompts", file, says="'action 61', which is no class of the data")


def test_names_may_be_read_bare(cli, place, tmp_path, fails_clean):
    """As raw CLIP's baseline does; the checkpoint has a template of its own."""
    code, _, err = cli(*arguments(place), "--template", "{}", "--out", tmp_path / "out")
    assert code == 0, err
    scores, model = read_scores(tmp_path / "out" / "scores.npz"), load_model(place / "ski-vificlip")
    clip = clip_of(place, scores.names[0], model)
    with torch.no_grad():
        wanted = model(clip, list(scores.classes)).softmax(dim=1)
    np.testing.assert_allclose(scores.logits[0], wanted[0].numpy(), rtol=1e-3, atol=1e-4)
    fails_clean(*arguments(place), "--template", "a photo", says="--template needs exactly one {} for the class name")


def test_pictures_of_embeddings_and_of_where_two_models_look(cli, place, tmp_path):
    """Maps are of the videos' own classes, class after class; two models stand in one picture."""
    shown = ("--tsne", "--maps", 3, "--beside", place / "other")
    other = load_model(place / "ski-vificlip")
    with torch.no_grad():
        other.clip.visual.proj.mul_(-1)
    save_model(other, place / "other")
    code, out, err = cli(*arguments(place), "--out", tmp_path / "out", *shown, "--json")
    assert code == 0, err
    found = json.loads(out)
    assert found["embeddings"].startswith(("t-SNE", "PCA"))
    assert (tmp_path / "out" / "embeddings.png").stat().st_size > 5000
    drawn = [Path(path) for path in found["maps"]]
    assert len({path.stem[-3:] for path in drawn}) == 3  # three classes
    for path in drawn:
        one = cv2.imread(str(path))
        assert one.shape[1] > one.shape[0] > 200
    code, out, _ = cli(*arguments(place), "--out", tmp_path / "again", "--maps", 1)
    assert code == 0
    assert "maps/: 1 videos" in out
    alone = cv2.imread(str(next((tmp_path / "again" / "maps").iterdir())))
    assert cv2.imread(str(drawn[0])).shape[0] > alone.shape[0]  # a row more


def test_models_in_one_picture_take_the_same_frames(fails_clean, place):
    says = "take other frames"
    fails_clean(*arguments(place), "--maps", 1, "--beside", place / "froster", says=says)


def test_a_rule_tests_the_seen_classes_too(cli, place, tmp_path):
    """48/12@xsub60: clips of subject 3, novel classes among themselves, seen ones too, and both among all sixty."""
    code, out, err = cli(*arguments(place, split="48/12@xsub60"), "--views", "2x1", "--out", tmp_path, "--json")
    assert code == 0, err
    found = json.loads(out)
    own, every = read_scores(tmp_path / "scores.npz"), read_scores(tmp_path / "scores-generalised.npz")
    assert (found["clips"], found["seen_classes"]["clips"], found["views"]) == (3, 2, "2x1")
    assert all("P003" in str(name) for name in (*own.names, *every.names))
    assert (own.logits.shape, every.logits.shape, every.classes) == ((3, 12), (5, 60), CLASSES)
    assert sorted(every.labels.tolist()) == sorted(SEEN + NOVEL)
    best = every.logits.argmax(axis=1) == every.labels
    of_novel = np.isin(every.labels, NOVEL)
    assert found["generalised"]["unseen"] == pytest.approx(100 * best[of_novel].mean())
    assert found["generalised"]["seen"] == pytest.approx(100 * best[~of_novel].mean())
    code, out, _ = cli(*arguments(place, split="48/12@xsub60"), "--out", tmp_path)
    assert "seen classes among themselves: top-1" in out


def test_a_split_of_people_chooses_among_all_classes_it_has(cli, place, tmp_path):
    code, out, err = cli(*arguments(place, split="xsub60"), "--out", tmp_path, "--json")
    assert code == 0, err
    assert (json.loads(out)["clips"], json.loads(out)["classes"]) == (5, 5)


def official_phase_two(model, names, path):
    """The weights as SKI's code saves phase 2: no token embedding but looked-up prompts, no temperature, a teacher."""
    state = {"module.hyperformer_model.data_bn.weight": torch.ones(150)}
    for name, tensor in model.clip.state_dict().items():
        if name.startswith("visual."):
            state[f"module.image_encoder.{name.removeprefix('visual.')}"] = tensor
        elif name not in ("logit_scale", "token_embedding.weight"):
            state[f"module.text_encoder.{name}"] = tensor
    tokens = tokenize([f"a photo of a {name}." for name in names], "tiny")
    with torch.no_grad():
        state[f"module.{PROMPTS}"] = model.clip.token_embedding(tokens).half()
    torch.save({"model": state}, path)


def test_a_converted_phase_two_answers(cli, place, tmp_path):
    """With fixed labels where the names agree, through its text tower where it got a token embedding."""
    reads = load_model(place / "ski-vificlip")
    novel = tuple(CLASSES[label] for label in zero_shot_classes("48/12", CLASSES)[1])
    official_phase_two(reads, novel[::-1], tmp_path / "ckpt_epoch_1.pth")
    data, source = open_data(place / "data"), open_videos(place / "rgb", CLASSES)
    test = open_test(data, source, "48/12")
    wanted = run_videos(reads, source, test, views_of(reads.config))[0] / float(reads.clip.logit_scale.detach().exp())
    settings = {
        name: ["--set", f"{name}={tmp_path / file}"] for name, file in (("classes", "novel.txt"), ("base", "clip"))
    }
    clip = ski_edge.create_model("vificlip", arch="tiny")
    clip.load_state_dict(reads.state_dict())
    save_model(clip, tmp_path / "clip")
    (tmp_path / "novel.txt").write_text("\n".join(novel[::-1]))
    for name, more in settings.items():
        code, _, err = cli("convert", tmp_path / "ckpt_epoch_1.pth", "--out", tmp_path / name, *more)
        assert code == 0, err
        model = load_model(tmp_path / name)
        model.config = model.config.model_copy(update={"video": reads.config.video})  # four frames, as the other
        assert (model.config.model, model.config.reads_text) == ("ski-vificlip", name == "base")
        # No temperature: a view's softmax is of the cosines, as in the official code
        got, _ = run_videos(model, source, test, views_of(model.config))
        np.testing.assert_allclose(got, wanted, rtol=0, atol=2e-3)  # prompts went through float16
        code, _, err = cli(*arguments(tmp_path, name, place=place), "--out", tmp_path / f"{name}-report")
        assert code == 0, err
    code, _, err = cli("convert", tmp_path / "ckpt_epoch_1.pth", "--out", tmp_path / "nameless")
    assert code == 0, err
    code, _, err = cli(*arguments(tmp_path, "nameless", place=place), "--out", tmp_path / "nameless-report")
    assert code == 2
    assert "reads no text and keeps no embedding of 'action 4' (12 such; it has class_0" in err


def test_videos_that_are_not_there(cli, place, tmp_path):
    """A missing one is counted, a damaged one stops the run unless the list of a check names it."""
    shutil.copytree(place / "rgb", tmp_path / "rgb")
    (tmp_path / "rgb" / "S001C001P001R001A004_rgb.avi").unlink()
    (tmp_path / "rgb" / "S001C001P003R001A006_rgb.avi").write_bytes(b"damage")
    asked = ("evaluate", place / "ski-vificlip", "--data", place / "data", "--videos", tmp_path / "rgb")
    code, _, err = cli(*asked, "--split", "48/12", "--out", tmp_path / "out")
    assert code == 2
    assert "S001C001P003R001A006_rgb.avi is not a video" in err
    assert not (tmp_path / "out").exists()
    code, _, _ = cli("data", "check", place / "data", "--videos", tmp_path / "rgb", "--list", tmp_path / "list.json")
    assert code == 0
    listed = ("--checked", tmp_path / "list.json")
    code, out, err = cli(*asked, "--split", "48/12", "--out", tmp_path / "out", *listed)
    assert code == 0, err
    assert "4 videos, 12 classes" in out
    assert "2 test clips have no video (1 left out)" in out


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"--videos": "nowhere"}, "nowhere does not exist"),
        ({"--data": "nowhere"}, "nowhere holds no prepared data"),
        ({"--split": "110/10"}, "is of NTU RGB+D with 120 classes"),
        ({"--split": "xview"}, "leaves no train clips"),
        ({"--views": "4x2"}, "must be views in time x crops, crops 1 or 3"),
        ({"--views": "0x1"}, "must be views in time x crops"),
        ({"--videos": None}, "which sees videos; give --videos"),
        ({"--videos": None, "--views": "1x1"}, "are about videos; give --videos"),
        ({"--videos": None, "--maps": "3"}, "are about videos; give --videos"),
        ({"--beside": "other"}, "--beside goes with --maps"),
        ({"--checked": "nothing.json"}, "nothing.json"),
    ],
)
def test_what_evaluate_is_told(change, says, fails_clean, place):
    options = {"--data": place / "data", "--videos": place / "rgb", "--split": "48/12", **change}
    pairs = [(key, value) for key, value in options.items() if value is not None]
    fails_clean("evaluate", place / "ski-vificlip", *(item for option in pairs for item in option), says=says)


def test_videos_of_other_clips_and_networks_of_skeletons(fails_clean, place, tmp_path_factory):
    other = tmp_path_factory.mktemp("other")
    shutil.copy(place / "rgb" / "S001C001P001R001A004_rgb.avi", other / "somebody.avi")
    asked = ("--data", place / "data", "--split", "48/12")
    says = "no video has the name of a test clip of split 48/12; look at both with: ski-edge data check"
    fails_clean("evaluate", place / "ski-vificlip", *asked, "--videos", other, says=says)
    save_model(ski_edge.create_model("ctrgcn", arch="tiny", num_classes=60, layout="ntu25"), other / "bones")
    says = "is a ctrgcn, which sees skeletons; leave --videos away"
    fails_clean("evaluate", other / "bones", *asked, "--videos", place / "rgb", says=says)
