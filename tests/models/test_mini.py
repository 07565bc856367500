from __future__ import annotations

import pytest
import torch

import ski_edge
from ski_edge.contracts import TextContract
from ski_edge.errors import BadInput
from ski_edge.models import ViFiCLIPConfig, load_model, save_model
from ski_edge.models.archs import clip_arch
from ski_edge.models.clip import tokenize

VIDEO_MODELS = ("vificlip", "ski-vificlip", "xclip", "ski-xclip", "froster", "ski-froster")


@pytest.mark.parametrize("name", VIDEO_MODELS)
def test_every_video_model_has_the_small_towers(name):
    model = ski_edge.create_model(name, arch="mini", seed=0)
    frames = model.config.video.window_frames
    video = torch.randn(1, frames, 3, 112, 112, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        logits = model(video, ["a photo of a falling.", "drink water"])
        rows = model.encode_text(["drink water"])
    assert logits.shape == (1, 2)
    assert torch.isfinite(logits).all()
    assert rows.shape == (1, 384)
    assert sum(p.numel() for p in model.clip.parameters()) < 1_900_000


def test_config_of_the_arch():
    config = ViFiCLIPConfig(arch="mini").for_arch()
    assert (config.preprocessing.resize_short, config.preprocessing.crop) == (128, 112)
    assert config.text.context_length == 32
    assert config.text.template == "a photo of a {}."
    assert ViFiCLIPConfig(arch="tiny").for_arch().text.context_length == 77


def test_a_context_that_the_tower_does_not_have_is_refused():
    config = ViFiCLIPConfig(arch="mini").for_arch()
    with pytest.raises(BadInput, match=r"mini reads at most 32 tokens.*is 77"):
        ski_edge.models.ViFiCLIP(config.model_copy(update={"text": TextContract()}))


def test_end_token_has_the_highest_id_and_closes_every_text():
    prompts = ["a photo of a falling.", "", "東京", "word " * 100, "x" * 300]
    tokens = tokenize(prompts, "mini")
    arch = clip_arch("mini")
    assert (tokens.dtype, tokens.shape) == (torch.int64, (len(prompts), arch.context_length))
    assert int(tokens.max()) == arch.vocab_size - 1
    ends = tokens.argmax(dim=1)
    assert ((tokens == arch.vocab_size - 1).sum(dim=1) == 1).all()
    assert all((row[end + 1 :] == 0).all() for row, end in zip(tokens, ends, strict=True))
    assert ends.tolist()[1] == 1  # start, end
    assert ends.tolist()[3] == 31


def test_no_prompts_are_no_rows():
    assert tokenize([], "mini").shape == (0, 32)


def test_large_archs_keep_clips_tokens():
    assert tokenize(["a"], "ViT-B-32")[0, :3].tolist() == [49406, 320, 49407]
    assert tokenize(["a"]).shape == (1, 77)


def test_checkpoint_keeps_the_contract(tmp_path):
    model = ski_edge.create_model("ski-vificlip", arch="mini", seed=3)
    save_model(model, tmp_path / "m")
    back = load_model(tmp_path / "m")
    assert back.config == model.config
    prompts = ["cook dinner", "a person falls"]
    with torch.no_grad():
        torch.testing.assert_close(back.encode_text(prompts), model.encode_text(prompts), rtol=0, atol=0)


def test_open_clip_has_no_weights_for_it():
    with pytest.raises(BadInput, match="no weights for arch 'mini'; use one of ViT-B-16"):
        ski_edge.models.resolve_weights("vificlip", "openclip:openai", "mini")
