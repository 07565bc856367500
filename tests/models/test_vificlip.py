from __future__ import annotations

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F

import ski_edge
from ski_edge.errors import BadInput
from ski_edge.models import archs
from ski_edge.models.archs import ARCHS, ClipArch
from ski_edge.models.clip import tokenize


@pytest.fixture
def golden_model(monkeypatch, sine_fill):
    """The towers of ski.md 6.5: 32 px, patch 16, width 64, 2 layers, 2 heads, 64-d."""
    monkeypatch.setitem(archs.ARCHS, "golden", ClipArch(32, 16, 64, 2, 64, 2, 1, 64, vision_head_width=32))
    model = ski_edge.create_model("vificlip", arch="golden")
    model.clip.visual.load_state_dict(sine_fill(model.clip.visual.state_dict()))
    return model


def test_frame_embeddings_equal_the_official_numbers(golden_model):
    frames = torch.from_numpy(np.sin(0.013 * np.arange(8 * 3 * 32 * 32)).reshape(8, 3, 32, 32).astype(np.float32))
    with torch.no_grad():
        rows = golden_model.encode_frames(frames)
    assert float(rows.sum()) == pytest.approx(-7.763224, rel=1e-4)
    expected = [-1.126955, -2.121970, -2.118989, -1.119415]
    np.testing.assert_allclose(rows[0, :4].numpy(), expected, rtol=1e-4)


def test_video_embedding_is_the_normalised_mean_of_raw_frame_embeddings(golden_model):
    noise = torch.Generator().manual_seed(0)
    video = torch.randn(2, 5, 3, 32, 32, generator=noise) * torch.linspace(0.1, 3, 5)[:, None, None, None]
    with torch.no_grad():
        got = golden_model.encode_video(video)
        rows = torch.stack([golden_model.encode_frames(clip) for clip in video])
    torch.testing.assert_close(got, F.normalize(rows.mean(1), dim=-1), rtol=1e-5, atol=1e-6)
    # ... which is not the mean of normalised ones (FROSTER's order):
    other = F.normalize(F.normalize(rows, dim=-1).mean(1), dim=-1)
    assert (got - other).abs().max() > 1e-3


def test_logits_are_scaled_cosines(tiny_model):
    video = torch.randn(1, 2, 3, 224, 224, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        logits = tiny_model(video, ["a photo of a cat.", "a photo of a dog."])
        cosine = tiny_model.encode_video(video) @ tiny_model.encode_text(["a photo of a cat.", "a photo of a dog."]).T
    torch.testing.assert_close(logits, 100 * cosine)
    assert tiny_model.score_scale == pytest.approx(100)


def test_text_is_normalised_and_takes_tokens(tiny_model):
    with torch.no_grad():
        rows = tiny_model.encode_text(["a photo of a falling."])
        same = tiny_model.encode_text(tokenize(["a photo of a falling."]))
    torch.testing.assert_close(rows, same)
    torch.testing.assert_close(rows.norm(dim=-1), torch.ones(1))


def test_b16_has_the_official_size():
    model = ski_edge.create_model("ski-vificlip", arch="ViT-B-16")
    assert sum(p.numel() for p in model.clip.parameters()) == 149_620_737
    assert len(model.clip.state_dict()) == 302
    assert model.clip.visual.transformer.resblocks[0].mlp.gelu.__class__.__name__ == "QuickGELU"


def test_every_arch_crops_what_its_tower_takes():
    for name, arch in ARCHS.items():
        config = ski_edge.models.ViFiCLIPConfig(arch=name).for_arch()
        assert config.preprocessing.crop == arch.image_size
    assert ski_edge.models.ViFiCLIPConfig(arch="ViT-L-14-336").for_arch().preprocessing.resize_short == 384


def test_seed_makes_weights_reproducible_and_leaves_the_global_state_alone():
    torch.manual_seed(7)
    before = torch.get_rng_state()
    a, b = (ski_edge.create_model("vificlip", arch="tiny", seed=3) for _ in range(2))
    assert torch.equal(torch.get_rng_state(), before)
    assert all(torch.equal(x, y) for x, y in zip(a.parameters(), b.parameters(), strict=True))


def test_tiny_learns_two_classes_in_seconds():
    """Steps on two easy clips must move the right logits apart: the model trains, end to end."""
    model = ski_edge.create_model("vificlip", arch="tiny", seed=0).train()
    video = torch.stack([torch.full((2, 3, 224, 224), -1.0), torch.full((2, 3, 224, 224), 1.0)])
    prompts = tokenize(["a photo of a dark room.", "a photo of a bright room."])
    target = torch.arange(2)
    optimizer = torch.optim.AdamW(model.parameters(), lr=5e-4)
    losses = []
    for _ in range(25):
        loss = F.cross_entropy(model(video, prompts), target)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[0] > 0.3
    assert losses[-1] < 0.1 * losses[0], losses
    assert model.clip.logit_scale.grad is not None


@pytest.mark.parametrize(
    ("name", "fields", "says"),
    [
        ("vifi", {}, "model 'vifi' is not known; the choices are: vificlip, ski-vificlip"),
        ("vificlip", {"arch": "ViT-H"}, "arch 'ViT-H' is not known; the choices are: ViT-B-16"),
        ("vificlip", {"archh": "tiny"}, "archh: Extra inputs are not permitted"),
        ("vificlip", {"arch": "tiny", "text": {"template": "no slot"}}, "exactly one {}"),
        (
            "vificlip",
            {"arch": "tiny", "preprocessing": {"crop": 100}},
            "tiny takes 224 px frames, the config crops 100",
        ),
    ],
)
def test_wrong_configs_say_what_is_wrong(name, fields, says):
    with pytest.raises(BadInput) as error:
        ski_edge.create_model(name, **fields)
    assert says in str(error.value)


def test_random_scale_is_clips_initial_one():
    model = ski_edge.create_model("vificlip", arch="tiny")
    assert model.score_scale == pytest.approx(math.exp(math.log(1 / 0.07)), rel=1e-5)
