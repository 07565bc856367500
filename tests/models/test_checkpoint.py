from __future__ import annotations

import json
import shutil

import pytest
import torch
from safetensors.torch import load_file, save_file

import ski_edge
from ski_edge.errors import BadInput
from ski_edge.models import save_model
from ski_edge.models.weights import resolve_weights


@pytest.fixture(scope="module")
def folder(tiny_model, tmp_path_factory):
    path = tmp_path_factory.mktemp("checkpoint") / "tiny"
    save_model(tiny_model, path)
    return path


def test_round_trip_is_bit_exact(tiny_model, folder):
    loaded = ski_edge.load_model(folder)
    assert loaded.config == tiny_model.config
    state, want = loaded.clip.state_dict(), tiny_model.clip.state_dict()
    assert state.keys() == want.keys()
    assert all(torch.equal(state[name], want[name]) for name in want)


def test_saving_again_replaces_the_checkpoint_but_no_other_folder(tiny_model, folder, tmp_path):
    save_model(tiny_model, folder)
    (tmp_path / "precious.txt").write_text("mine")
    with pytest.raises(BadInput, match="not ours to replace"):
        save_model(tiny_model, tmp_path)
    assert [p.name for p in tmp_path.iterdir()] == ["precious.txt"]
    # A Hugging Face folder has a config.json as well.
    (tmp_path / "config.json").write_text('{"model_type": "clip"}')
    with pytest.raises(BadInput, match="not ours to replace"):
        save_model(tiny_model, tmp_path)
    assert (tmp_path / "precious.txt").read_text() == "mine"


def damaged(folder, tmp_path, edit):
    copy = tmp_path / "copy"
    shutil.copytree(folder, copy)
    edit(copy)
    return copy


def edit_weights(change):
    def edit(copy):
        state = load_file(copy / "model.safetensors")
        change(state)
        save_file(state, copy / "model.safetensors")

    return edit


def edit_config(**fields):
    def edit(copy):
        config = json.loads((copy / "config.json").read_text())
        (copy / "config.json").write_text(json.dumps({**config, **fields}))

    return edit


def cut(copy):
    data = (copy / "model.safetensors").read_bytes()
    (copy / "model.safetensors").write_bytes(data[: len(data) // 2])


@pytest.mark.parametrize(
    ("edit", "says"),
    [
        (edit_weights(lambda s: s.pop("visual.proj")), "missing ['visual.proj'] (1)"),
        (edit_weights(lambda s: s.update(extra=torch.zeros(1))), "unknown ['extra'] (1)"),
        (
            edit_weights(lambda s: s.update({"visual.proj": torch.zeros(3, 3)})),
            "visual.proj is [3, 3], ski-vificlip tiny needs [128, 64]",
        ),
        (edit_weights(lambda s: s["visual.proj"].fill_(float("nan"))), "visual.proj holds NaN or infinity"),
        (edit_config(model="other"), "model 'other' is not known"),
        (edit_config(arch="ViT-B-32"), "ViT-B-32"),
        (edit_config(windows=3), "windows: Extra inputs"),
        (lambda copy: (copy / "config.json").write_text("{"), "is not JSON"),
        (lambda copy: (copy / "config.json").unlink(), "has no config.json"),
        (lambda copy: (copy / "model.safetensors").unlink(), "cannot be read"),
        (cut, "cannot be read"),
    ],
)
def test_damage_is_one_clear_line(folder, tmp_path, edit, says):
    with pytest.raises(BadInput) as error:
        ski_edge.load_model(damaged(folder, tmp_path, edit))
    assert says in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("model", "weights", "arch", "says"),
    [
        ("xclip", None, None, "no weights ship for xclip (there are some for: ski-vificlip); say --weights: random"),
        ("nothing", "random", None, "model 'nothing' is not known"),
        ("vificlip", "nowhere.pt", None, "'nowhere.pt' is no file or folder"),
        ("ski-vificlip", "openclip:openai", None, "use --model vificlip"),
        (
            "vificlip",
            "openclip:nonsense",
            "ViT-B-16",
            "open_clip has no ViT-B-16 weights called 'nonsense'; it has: openai",
        ),
        ("vificlip", "openclip:openai", "tiny", "open_clip has no weights for arch 'tiny'"),
    ],
)
def test_weights_that_are_not_there(model, weights, arch, says):
    with pytest.raises(BadInput) as error:
        resolve_weights(model, weights, arch)
    assert says in str(error.value)


def test_weights_folder_must_fit_what_was_asked(folder):
    assert resolve_weights("ski-vificlip", str(folder), None).config.arch == "tiny"
    with pytest.raises(BadInput, match="holds a ski-vificlip, not a vificlip"):
        resolve_weights("vificlip", str(folder), None)
    with pytest.raises(BadInput, match="is tiny, not ViT-B-16"):
        resolve_weights("ski-vificlip", str(folder), "ViT-B-16")


def test_open_clip_tag_brings_activation_and_pixel_statistics(monkeypatch):
    """The download is replaced by random weights of the right network; all that follows it is real."""
    import open_clip

    real = open_clip.create_model
    asked = []

    def offline(name, pretrained):
        asked.append((name, pretrained))
        return real(name)

    monkeypatch.setattr(open_clip, "create_model", offline)
    model = resolve_weights("vificlip", "openclip:openai", "ViT-B-32")
    assert asked == [("ViT-B-32-quickgelu", "openai")]
    assert model.config.preprocessing.mean == pytest.approx((122.771, 116.746, 104.094), abs=1e-3)  # CLIP's, on 0-255
    assert model.config.activation == "quickgelu"
    model = resolve_weights("vificlip", "openclip:laion2b_s34b_b79k", "ViT-B-32")
    assert asked[-1] == ("ViT-B-32", "laion2b_s34b_b79k")
    assert model.config.activation == "gelu"
    assert type(model.clip.visual.transformer.resblocks[0].mlp.gelu) is torch.nn.GELU
