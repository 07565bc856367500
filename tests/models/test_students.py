"""X-CLIP and FROSTER: the official numbers, the official names, and what makes a clip model a clip model."""

from __future__ import annotations

import math
import re

import numpy as np
import pytest
import torch
import torch.nn.functional as F

import ski_edge
from ski_edge.errors import BadInput
from ski_edge.models import archs, save_model
from ski_edge.models.archs import ClipArch
from ski_edge.models.convert import convert


@pytest.fixture
def golden(monkeypatch):
    """The towers of ski.md 5.6 and 6.5: 32 px, patch 16, width 64, 2 layers; heads of 64 or 32 channels."""
    text = {"vocab_size": 50, "context_length": 12}
    monkeypatch.setitem(archs.ARCHS, "golden-x", ClipArch(32, 16, 64, 2, 64, 2, 1, 64, **text))
    monkeypatch.setitem(archs.ARCHS, "golden-f", ClipArch(32, 16, 64, 2, 64, 2, 1, 64, vision_head_width=32, **text))


def sines(*shape: int) -> torch.Tensor:
    return torch.from_numpy(np.sin(0.013 * np.arange(math.prod(shape))).reshape(shape).astype(np.float32))


# Our name of X-CLIP's parts -> the official one, written down apart from the converter's table.
OFFICIAL = (
    (r"messages\.(\d+)\.fc\.", r"visual.transformer.resblocks.\1.message_fc."),
    (r"messages\.(\d+)\.norm\.", r"visual.transformer.resblocks.\1.message_ln."),
    (r"messages\.(\d+)\.attention\.", r"visual.transformer.resblocks.\1.message_attn."),
    (r"integration\.positional_embedding", "mit.positional_embedding"),
    (r"integration\.norm_(\d)\.", r"mit.resblocks.0.ln_\1."),
    (r"integration\.attention\.", "mit.resblocks.0.attn."),
    (r"integration\.mlp\.0\.", "mit.resblocks.0.mlp.c_fc."),
    (r"integration\.mlp\.2\.", "mit.resblocks.0.mlp.c_proj."),
    (r"prompts\.patch_norm\.", "prompts_visual_ln."),
    (r"prompts\.patch_proj", "prompts_visual_proj"),
    (r"prompts\.(alpha|norm\.)", r"prompts_generator.\1"),
    (r"prompts\.layers\.(\d)\.query\.", r"prompts_generator.decoder.\1.cross_attn.q_proj."),
    (r"prompts\.layers\.(\d)\.key\.", r"prompts_generator.decoder.\1.cross_attn.k_proj."),
    (r"prompts\.layers\.(\d)\.value\.", r"prompts_generator.decoder.\1.cross_attn.v_proj."),
    (r"prompts\.layers\.(\d)\.out\.", r"prompts_generator.decoder.\1.cross_attn.proj."),
    (r"prompts\.layers\.(\d)\.norm_1\.", r"prompts_generator.decoder.\1.norm1."),
    (r"prompts\.layers\.(\d)\.norm_2\.", r"prompts_generator.decoder.\1.norm3."),
    (r"prompts\.layers\.(\d)\.mlp\.0\.", r"prompts_generator.decoder.\1.mlp.0."),
    (r"prompts\.layers\.(\d)\.mlp\.2\.", r"prompts_generator.decoder.\1.mlp.3."),
)


def official_xclip(model) -> dict[str, torch.Tensor]:
    def name_of(name: str) -> str:
        for pattern, official in OFFICIAL:
            if re.match(pattern, name):
                return re.sub(f"^{pattern}", official, name)
        return name

    return {name_of(name): tensor for name, tensor in model.checkpoint_state().items()}


def saved(tmp_path, state, key="model"):
    torch.save({key: state, "epoch": 3}, tmp_path / "official.pth")
    return tmp_path / "official.pth"


def test_xclip_equals_the_official_numbers(golden, sine_fill, tmp_path):
    made = ski_edge.create_model("xclip", arch="golden-x", video={"window_frames": 4})
    model = convert(saved(tmp_path, sine_fill(official_xclip(made))))
    assert (model.config.model, model.config.video.window_frames, model.config.text.template) == ("xclip", 4, "{}")
    video = sines(2, 4, 3, 32, 32)
    tokens = torch.zeros(3, 12, dtype=torch.long)
    for row, ids in zip(tokens, ([48, 3, 7, 49], [48, 5, 49], [48, 9, 11, 13, 49]), strict=True):
        row[: len(ids)] = torch.tensor(ids)
    with torch.no_grad():
        features, patches = model.video_features(video)
        text, logits = model.text_features(tokens), model(video, tokens)
    expected = [[-4.106766, 1.252891, -7.624897], [-0.797823, -1.464380, -5.582240]]
    np.testing.assert_allclose(logits, expected, rtol=1e-4)
    assert float(features.sum()) == pytest.approx(-1.785147, rel=1e-4)
    np.testing.assert_allclose(features[0, :4], [0.669333, -0.259809, -0.892815, -1.075530], rtol=1e-4)
    assert 4 * float(patches.sum()) == pytest.approx(4.326733, rel=1e-4)  # theirs is of all four frames, not their mean
    assert float(text.sum()) == pytest.approx(-4.966862, rel=1e-4)


def test_froster_equals_the_official_numbers(golden, sine_fill):
    model = ski_edge.create_model("froster", arch="golden-f")
    model.clip.visual.load_state_dict(sine_fill(model.clip.visual.state_dict()))
    with torch.no_grad():
        rows = model.frame_features(sines(2, 4, 3, 32, 32)).flatten(0, 1)
    assert float(rows.sum()) == pytest.approx(-6.348022, rel=1e-4)
    np.testing.assert_allclose(rows[0, :4], [-0.621364, -2.203091, -2.748670, -2.001506], rtol=1e-4)
    np.testing.assert_allclose(rows[3, :4], [-0.215117, -1.731527, -2.433573, -1.991071], rtol=1e-4)
    np.testing.assert_allclose(rows[7, -2:], [0.212262, -1.259591], rtol=1e-4)


def test_xclip_has_the_official_size():
    model = ski_edge.create_model("xclip", arch="ViT-B-16")
    state = model.checkpoint_state()
    assert len(state) == 443
    assert sum(tensor.numel() for tensor in state.values()) == 194_929_153


def test_froster_is_clip_plus_nothing_and_its_teacher_is_dropped(tmp_path):
    source = ski_edge.create_model("froster", arch="tiny", seed=2)
    plain = ski_edge.create_model("vificlip", arch="tiny").checkpoint_state()
    state = source.checkpoint_state()
    assert state.keys() == plain.keys()
    teacher = {"raw_model.visual.proj": state["visual.proj"], "projector_v.0.weight": torch.zeros(64, 64)}
    official = {f"model.{name}": tensor for name, tensor in state.items()}
    model = convert(saved(tmp_path, {**official, **teacher}, key="model_state"))
    assert model.config.model == "froster"
    assert "dropped raw_model: 1 tensors" in model.config.notes
    assert model.config.licence.startswith("CC BY-NC-SA")
    assert model.config.preprocessing.mean[0] == pytest.approx(0.48145466 * 255)
    clip = torch.randn(1, 4, 3, 224, 224, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        torch.testing.assert_close(model.encode_video(clip), source.encode_video(clip))


def test_froster_averages_the_scores_of_frames():
    model = ski_edge.create_model("froster", arch="tiny", seed=1)
    clip = torch.randn(2, 4, 3, 224, 224, generator=torch.Generator().manual_seed(0))
    labels = ["a", "b", "c"]
    with torch.no_grad():
        text, rows = model.encode_text(labels), F.normalize(model.frame_features(clip), dim=-1)
        scale = model.clip.logit_scale.exp()
        torch.testing.assert_close(model(clip, labels), (scale * rows @ text.T).mean(dim=1))


@pytest.mark.parametrize("name", ["xclip", "froster"])
def test_frames_of_a_clip_see_each_other(name):
    """Changing one frame changes what another contributes, so that a ring of frame embeddings would be wrong."""
    model = ski_edge.create_model(name, arch="tiny", seed=1)
    length = model.config.video.window_frames
    clip = torch.randn(1, length, 3, 224, 224, generator=torch.Generator().manual_seed(0))
    other = clip.clone()
    other[:, 1] = 0
    seen = []
    if name == "xclip":  # what its frames are before they are joined on purpose
        model.integration.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    with torch.no_grad():
        for video in (clip, other):
            model.encode_video(video) if name == "xclip" else seen.append(model.frame_features(video))
    assert (seen[0][:, 0] - seen[1][:, 0]).abs().max() > 1e-4
    with pytest.raises(BadInput, match="encode a whole clip with encode_video"):
        model.encode_frames(clip[0])


def test_xclip_takes_the_length_it_was_trained_with(tmp_path):
    model = ski_edge.create_model("xclip", arch="tiny", seed=1)
    with pytest.raises(BadInput, match="takes clips of 8 frames, got 4"):
        model.encode_video(torch.zeros(1, 4, 3, 224, 224))
    state = official_xclip(model)
    state["mit.positional_embedding"] = torch.zeros(8)
    with pytest.raises(BadInput, match=r"mit.positional_embedding is \[8\], expected"):
        convert(saved(tmp_path, state))


def test_how_frames_are_mixed_is_no_setting():
    assert ski_edge.create_model("xclip", arch="tiny", video={"window_frames": 4}).config.video.pooling == "joint"
    with pytest.raises(BadInput, match="vificlip is frame, mean-then-norm; got frame, norm-then-mean"):
        ski_edge.create_model("vificlip", arch="tiny", video={"pooling": "norm-then-mean"})


def test_one_tensor_under_two_names_is_refused(tmp_path):
    state = official_xclip(ski_edge.create_model("xclip", arch="tiny", seed=1))
    state["text.text_projection"] = torch.zeros_like(state["text_projection"])
    with pytest.raises(BadInput, match=r"text.text_projection is there twice"):
        convert(saved(tmp_path, state))


@pytest.mark.parametrize("name", ["ski-xclip", "ski-froster"])
def test_students_convert_with_or_without_their_teacher(name, tmp_path):
    """By the networks' own names; the teacher beside them gives the student away, else the family is named."""
    source = ski_edge.create_model(name, arch="tiny", seed=3)
    plain = name.removeprefix("ski-")
    state = (
        official_xclip(source) if plain == "xclip" else {f"model.{k}": v for k, v in source.checkpoint_state().items()}
    )
    teacher = {"hyperformer_model.data_bn.weight": torch.ones(150), "clip_text_encoder.ln_final.bias": torch.zeros(64)}
    path = saved(tmp_path, state)
    assert convert(path).config.model == plain
    named = convert(path, family=name)
    found = convert(saved(tmp_path, {**state, **teacher}))
    assert (named.config.model, found.config.model) == (name, name)
    assert "dropped hyperformer_model: 1 tensors" in found.config.notes
    assert "publishes no such weights" in found.config.licence
    clip = torch.randn(1, 8, 3, 224, 224, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        want = source(clip, ["falling", "cooking"])
        torch.testing.assert_close(named(clip, ["falling", "cooking"]), want)
        torch.testing.assert_close(found(clip, ["falling", "cooking"]), want)


@pytest.mark.parametrize("name", ["ski-xclip", "ski-froster"])
def test_students_save_load_and_train(name, tmp_path):
    model = ski_edge.create_model(name, arch="tiny", seed=0).train()
    clip = torch.randn(2, model.config.video.window_frames, 3, 224, 224, generator=torch.Generator().manual_seed(0))
    F.cross_entropy(model(clip, ["falling", "cooking"]), torch.arange(2)).backward()
    silent = [name for name, parameter in model.named_parameters() if parameter.grad is None]
    assert not silent
    save_model(model.eval(), tmp_path / "checkpoint")
    again = ski_edge.load_model(tmp_path / "checkpoint")
    with torch.no_grad():
        torch.testing.assert_close(again(clip, ["falling"]), model(clip, ["falling"]))


def test_froster_sees_clips_own_pixels():
    """OpenAI's mean and standard deviation, on the 0-255 scale."""
    spec = ski_edge.create_model("froster", arch="tiny").config.preprocessing
    np.testing.assert_allclose(np.array(spec.mean) / 255, [0.48145466, 0.4578275, 0.40821073], rtol=1e-8)
    np.testing.assert_allclose(np.array(spec.std) / 255, [0.26862954, 0.26130258, 0.27577711], rtol=1e-8)
