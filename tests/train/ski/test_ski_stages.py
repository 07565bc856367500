"""Runs that come before: trained once, on the run's own data, shared by all runs that mean the same."""

from __future__ import annotations

import shutil

import pytest
import torch
import yaml

from ski_edge.errors import BadInput
from ski_edge.models import load_model
from ski_edge.train.ski.loop import train_ski
from ski_edge.train.ski.stages import Stages


@pytest.fixture
def stage_file(tmp_path, ski_fields):
    """Write a recipe as NAME.yaml; returns what `recipe:` must name."""

    def write(name: str, *fields) -> str:
        path = tmp_path / f"{name}.yaml"
        path.write_text(yaml.safe_dump(ski_fields(*fields)))
        return str(path)

    return write


@pytest.fixture
def stages(tmp_path):
    """recipe -> its stages, and the lines they say."""

    def make(recipe, **fields):
        said: list[str] = []
        return Stages(recipe, root=tmp_path / "stages", threads=1, say=said.append, **fields), said

    return make


def test_stages_are_trained_once_and_shared(ski_recipe, stage_file, stages, tmp_path):
    """A SKI run whose teacher is a stage, and a second one with another alpha."""
    other = {"data": {"split": "unseen:1", "seen_test_share": 0}, "seed": 9}  # of the stage's own recipe; not used
    name = stage_file("bones", "skeletonclip", other)
    init = {"teacher": {"init": f"recipe:{name}"}}
    recipe = ski_recipe("scd", init)
    made, said = stages(recipe)
    result = train_ski(recipe, tmp_path / "first", made, threads=1)
    assert result["finished"]
    assert len(said) == 1
    assert said[0].startswith("stage ")
    again, quiet = stages(ski_recipe("scd", init, {"alpha": 10.0}))
    train_ski(again.recipe, tmp_path / "second", again, threads=1)
    assert quiet == []
    folders = [path for path in (tmp_path / "stages").iterdir() if path.is_dir()]
    assert [path.name.rpartition("-")[0] for path in folders] == ["bones"]
    teacher = load_model(folders[0] / "checkpoint")
    assert teacher.config.classes == ("right hand wave", "two hand push", "walking in place")  # the run's split
    assert "seed 1" in teacher.config.weights


def test_what_decides_a_stages_weights_decides_its_folder(ski_recipe, stage_file, stages):
    name = stage_file("bones", "skeletonclip")
    changes = {"teacher": {"init": f"recipe:{name}"}}
    digest = stages(ski_recipe("scd", changes))[0].digest(name)

    def of(*more, **fields) -> str:
        return stages(ski_recipe("scd", changes, *more), **fields)[0].digest(name)

    assert of() == digest
    assert of({"alpha": 3.0, "optim": {"lr": 1.0}}) == digest  # of the run alone
    assert of({"data": {"rendered": {"looks": 2}}}) == digest  # skeletons have no looks
    assert of({"seed": 2}) != digest
    assert of({"data": {"split": "unseen:1"}}) != digest
    assert of({"text": {"template": "a photo of {}."}}) == digest  # of the student; a teacher has its own
    assert of(changes={name: ["text.template=a photo of {}."]}) != digest
    assert of(changes={name: ["optim.lr=0.5"]}) != digest


def test_what_files_hold_decides_a_stages_folder(ski_recipe, ski_place, stage_file, stages, tmp_path):
    """Data prepared again in the same place, weights replaced, descriptions edited."""
    shutil.copytree(ski_place / "skeletons", tmp_path / "own")
    prompts = tmp_path / "prompts.txt"
    prompts.write_text("squat: a person squats\n")
    name = stage_file("bones", "skeletonclip")
    fields = {"data": {"skeletons": str(tmp_path / "own")}, "text": {"prompts": str(prompts)}}

    def digest() -> str:
        return stages(ski_recipe("scd", fields, {"teacher": {"init": f"recipe:{name}"}}))[0].digest(name)

    seen = [digest()]
    assert digest() == seen[0]
    with open(tmp_path / "own" / "clips.npy", "r+b") as file:
        file.seek(-1, 2)
        file.write(b"\x01")
    seen.append(digest())
    prompts.write_text("squat: somebody squats\n")
    seen.append(digest())
    assert len(set(seen)) == 3


@pytest.mark.parametrize("change", ["seed=2", "data.split=unseen:1", "text.prompts=utd"])
def test_changes_that_the_run_would_go_over_are_refused(change, ski_recipe, stage_file, stages):
    name = stage_file("bones", "skeletonclip")
    made, _ = stages(ski_recipe("scd", {"teacher": {"init": f"recipe:{name}"}}), changes={name: [change]})
    with pytest.raises(BadInput, match=f"a stage takes {change.split('=')[0]} from the run it is for; set it there"):
        made.check()


def test_stages_within_stages_count(ski_recipe, stage_file, stages):
    """bones -> student that is taught by it -> the run."""
    bones = stage_file("bones", "skeletonclip")
    inner = stage_file("inner", "scd", {"teacher": {"init": f"recipe:{bones}"}})
    recipe = ski_recipe("student", {"student": {"init": f"recipe:{inner}"}})
    before = stages(recipe)[0].digest(inner)
    assert stages(recipe, changes={bones: ["optim.lr=0.5"]})[0].digest(inner) != before
    stage_file("bones", "skeletonclip", {"optim": {"lr": 0.01}})
    assert stages(recipe)[0].digest(inner) != before


def test_stages_within_stages_run(ski_recipe, stage_file, stages, tmp_path):
    bones = stage_file("bones", "skeletonclip")
    inner = stage_file("inner", "scd", {"teacher": {"init": f"recipe:{bones}"}, "student": {"model": "ski-vificlip"}})
    recipe = ski_recipe("student", {"student": {"init": f"recipe:{inner}", "model": "ski-vificlip"}})
    made, said = stages(recipe)
    checkpoint = made(inner)
    assert [line.split(":")[0].rpartition("/")[2] for line in said] == ["inner.yaml", "bones.yaml"]
    assert load_model(checkpoint).config.model == "ski-vificlip"
    assert sorted(path.name.rpartition("-")[0] for path in (tmp_path / "stages").iterdir() if path.is_dir()) == [
        "bones",
        "inner",
    ]


def test_a_stopped_stage_goes_on(ski_recipe, stage_file, stages, tmp_path):
    """A stage that was killed after its first epoch is resumed, not begun again."""
    name = stage_file("bones", "skeletonclip", {"optim": {"epochs": 2}})
    made, _ = stages(ski_recipe("scd", {"teacher": {"init": f"recipe:{name}"}}))
    folder = tmp_path / "stages" / f"bones-{made.digest(name)}"
    train_ski(made.stage_recipe(name), folder, made, threads=1, stop_after_s=0.0)
    first = torch.load(folder / "state.pt", weights_only=True)["epoch"]
    assert made(name) == folder / "checkpoint"
    assert (first, torch.load(folder / "state.pt", weights_only=True)["epoch"]) == (1, 2)
    assert len((folder / "log.csv").read_text().splitlines()) == 3


def test_recipes_that_need_each_other_are_refused(ski_recipe, stage_file, stages, tmp_path):
    first, second = (str(tmp_path / f"{name}.yaml") for name in ("first", "second"))
    stage_file("first", "student", {"student": {"init": f"recipe:{second}"}})
    stage_file("second", "student", {"student": {"init": f"recipe:{first}"}})
    made, _ = stages(ski_recipe("student", {"student": {"init": f"recipe:{first}"}}))
    with pytest.raises(BadInput, match=r"first\.yaml needs itself, by way of .*first\.yaml -> .*second\.yaml -> "):
        made(first)
    assert not (tmp_path / "stages").exists()


def test_an_unknown_stage_is_named(ski_recipe, stages):
    recipe = ski_recipe("student", {"student": {"init": "recipe:nobody"}})
    with pytest.raises(BadInput, match="recipe 'nobody' is not known; the choices are"):
        stages(recipe)[0]("nobody")


def test_captions_keep_their_own_world(ski_recipe, stage_file, stages):
    video = {"frames": 1}
    described = {"data": {"rendered": None, "split": "", "described": {"count": 8, "size": 112}}, "teacher": None}
    name = stage_file("phrases", "captions", described, {"video": video, "text": {"template": "{}"}})
    recipe = ski_recipe("student", {"student": {"init": f"recipe:{name}"}, "text": {"template": "a photo of {}."}})
    stage = stages(recipe)[0].stage_recipe(name)
    assert stage.data.described.count == 8
    assert stage.data.rendered is None
    assert stage.text.template == "{}"
