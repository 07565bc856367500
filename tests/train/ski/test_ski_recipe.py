"""Recipes of SKI: kind, extends, what is wrong in one line; those that are shipped are valid."""

from __future__ import annotations

import pytest
import yaml

from ski_edge.errors import BadInput
from ski_edge.train.recipe import RECIPES, Recipe, parse_recipe, read_recipe
from ski_edge.train.ski.recipe import SkiRecipe


@pytest.mark.parametrize("path", sorted(RECIPES.glob("*.yaml")), ids=lambda path: path.stem)
def test_shipped_recipes_are_valid(path):
    ski = yaml.safe_load(path.read_text()).get("kind") == "ski"
    extends = "extends" in yaml.safe_load(path.read_text())
    found = read_recipe(path.stem)
    assert isinstance(found, (Recipe, SkiRecipe))
    assert isinstance(found, SkiRecipe) == ski or extends


def test_a_recipe_begins_with_another(tmp_path, ski_fields):
    (tmp_path / "below.yaml").write_text(yaml.safe_dump(ski_fields("scd", {"alpha": 2.0})))
    above = {"extends": str(tmp_path / "below.yaml"), "alpha": 5.0, "optim": {"epochs": 7}}
    (tmp_path / "above.yaml").write_text(yaml.safe_dump(above))
    top = {"extends": str(tmp_path / "above.yaml"), "objective": "student", "teacher": None}
    (tmp_path / "top.yaml").write_text(yaml.safe_dump(top))
    middle = read_recipe(str(tmp_path / "above.yaml"), ["optim.lr=0.5", "data.rendered.looks=3"])
    assert (middle.objective, middle.alpha, middle.optim.epochs, middle.optim.batch_size) == ("scd", 5.0, 7, 4)
    assert (middle.optim.lr, middle.data.rendered.looks, middle.data.rendered.frames) == (0.5, 3, 4)
    found = read_recipe(str(tmp_path / "top.yaml"))
    assert (found.objective, found.teacher, found.alpha) == ("student", None, 5.0)


@pytest.mark.parametrize("extends", [3, ["a"], "self"])
def test_a_recipe_must_begin_with_another_one(extends, tmp_path):
    path = tmp_path / "r.yaml"
    path.write_text(yaml.safe_dump({"extends": str(path) if extends == "self" else extends}))
    with pytest.raises(BadInput, match="extends must name another recipe that does not extend this one") as failed:
        read_recipe(str(path))
    assert "\n" not in str(failed.value)


def test_an_unknown_kind_is_refused():
    with pytest.raises(BadInput, match="kind 'skii' is not known; write kind: ski, or leave it away"):
        parse_recipe({"kind": "skii"}, "recipe x")


@pytest.mark.parametrize(
    ("objective", "changes", "says"),
    [
        ("scd", {"objective": "distil"}, "objective: Input should be"),
        ("scd", {"teacher": None}, "objective scd needs a teacher"),
        ("scd", {"student": None}, "objective scd needs a student"),
        ("student", {"teacher": {"backbone": "ctrgcn"}}, "objective student has no use for a teacher"),
        ("skeletonclip", {"student": {"arch": "mini"}}, "objective skeletonclip has no use for a student"),
        ("student", {"video": None}, "a student needs video"),
        ("student", {"data": {"rendered": None}}, "a student needs data.videos or data.rendered"),
        ("student", {"data": {"videos": "x"}}, "videos and rendered exclude each other"),
        ("skeletonclip", {"data": {"split": None}}, "split is missing"),
        ("student", {"text": {"encoder": "sentence", "freeze": False}}, "the sentence encoder is not trained"),
        ("feature", {"teacher": {"embeddings": "x.npz"}}, "saved embeddings can teach by scd only"),
        ("scd", {"optim": {"learning_rate": 1}}, "optim.learning_rate: Extra inputs are not permitted"),
        ("scd", {"optim": {"epochs": 0}}, "optim.epochs: Input should be greater than 0"),
        ("scd", {"optim": {"lr_factors": {"student": -1}}}, "greater than or equal to 0"),
        ("scd", {"optim": {"average": "epochs", "average_from": 2}}, "average_from 2 comes after the last of 1 epochs"),
        ("scd", {"optim": {"shard": True, "compile": True}}, "shard and compile exclude each other"),
        ("scd", {"optim": {"shard": True, "precision": "fp16"}}, "use bf16 with it"),
        (
            "scd",
            {"teacher": {"init": "x", "skeleton_norm": False}},
            "skeleton_norm is a matter of the network that init",
        ),
        ("student", {"student": {"arch": "foo"}}, "student.arch: Input should be 'ViT-B-16'"),
        ("student", {"student": {"model": "foo"}}, "student.model: Input should be 'vificlip'"),
        ("student", {"text": {"template": "hello"}}, "text.template: String should match pattern"),
        ("student", {"video": {"frames": 32}}, "video.frames is 32, data.rendered.frames 4; draw more"),
        ("scd", {"alpha": -1}, "alpha: Input should be greater than or equal to 0"),
    ],
)
def test_wrong_recipe_is_one_clear_line(objective, changes, says, ski_recipe):
    with pytest.raises(BadInput) as failed:
        ski_recipe(objective, changes)
    assert says in str(failed.value)
    assert str(failed.value).startswith("recipe of the test: ")
    assert "\n" not in str(failed.value)
