"""Official checkpoints, built here with the official names and containers (their weights cannot be had)."""

from __future__ import annotations

import os
import pickle
import warnings

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from yacs.config import CfgNode

import ski_edge
from ski_edge.errors import BadInput
from ski_edge.models import save_model
from ski_edge.models.clip import tokenize
from ski_edge.models.convert import ConvertSettings, convert, parse_settings
from ski_edge.models.convert_towers import PROMPTS

CLASSES = ["drink water", "falling", "touch person’s pocket"]


@pytest.fixture(scope="module")
def source():
    """The network whose weights the official-looking files hold."""
    return ski_edge.create_model("vificlip", arch="tiny", seed=5)


def official(model, *, scale=True, teacher=False, prefix="module."):
    """A ViFi-CLIP state dict; with `teacher`, SKI phase 2 (no logit scale, Hyperformer and second text tower)."""
    state = {}
    for name, tensor in model.clip.state_dict().items():
        if name.startswith("visual."):
            state["image_encoder." + name.removeprefix("visual.")] = tensor
        elif name == "logit_scale":
            if scale:
                state[name] = tensor
        elif name != "token_embedding.weight":
            state["text_encoder." + name] = tensor
    with torch.no_grad():
        tokens = tokenize([f"a photo of a {name}." for name in CLASSES])
        prompts = model.clip.token_embedding(tokens).half()
    state["prompt_learner.complete_text_embeddings"] = prompts
    if teacher:
        state["hyperformer_model.data_bn.weight"] = torch.ones(150)
        state["hyperformer_model.fc2.weight"] = torch.zeros(512, 216)
        state["clip_text_encoder.text_projection"] = torch.zeros(64, 64)
    return {prefix + name: tensor for name, tensor in state.items()}


def save_official(path, state):
    config = CfgNode({"DATA": {"NUM_FRAMES": 16, "LABEL_LIST": "labels/ntu.csv"}, "OUTPUT": "runs"})
    extra = {"max_accuracy": 52.0, "epoch": 1, "optimizer": {"state": {}, "param_groups": []}, "config": config}
    torch.save({"model": state, **extra}, path)
    return path


def embeddings(model):
    frames = torch.randn(2, 3, 224, 224, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        return model.encode_frames(frames)


def test_vifi_checkpoint_gives_the_same_frames_and_its_own_labels(source, tmp_path):
    path = save_official(tmp_path / "best.pth", official(source))
    model = convert(path, settings=ConvertSettings(classes=tuple(CLASSES)))
    torch.testing.assert_close(embeddings(model), embeddings(source), rtol=0, atol=0)
    assert model.config.model == "vificlip"
    assert model.config.classes == tuple(CLASSES)
    # The labels come from the stored prompt embeddings, which the official code rounds to fp16.
    with torch.no_grad():
        table = source.clip.token_embedding.weight
        kept = table.clone()
        table.copy_(table.half().float())
        want = source.encode_text([f"a photo of a {name}." for name in CLASSES])
        table.copy_(kept)
    torch.testing.assert_close(model.label_embeddings, want, rtol=1e-5, atol=1e-6)
    notes = " | ".join(model.config.notes)
    assert "read as ViFi-CLIP" in notes
    assert "yacs.config.CfgNode (its code was not run)" in notes
    assert "labels are fixed to the checkpoint's 3 classes" in notes
    with pytest.raises(BadInput, match="no token embedding"):
        model.encode_text(["a photo of a cat."])


def test_ski_phase_two_drops_the_teacher_and_has_no_scale(source, tmp_path):
    model = convert(save_official(tmp_path / "ski.pth", official(source, scale=False, teacher=True)))
    assert model.config.model == "ski-vificlip"
    assert model.score_scale == 100
    notes = model.config.notes
    assert "dropped hyperformer_model: 2 tensors" in notes
    assert "dropped clip_text_encoder: 1 tensors" in notes
    assert model.config.classes == ("class_0", "class_1", "class_2")
    assert "licence" in model.config.licence
    torch.testing.assert_close(embeddings(model), embeddings(source), rtol=0, atol=0)


def test_base_weights_bring_the_token_embedding_rounded_to_fp16(source, tmp_path):
    save_model(source, tmp_path / "base")
    path = save_official(tmp_path / "best.pth", official(source))
    model = convert(path, settings=ConvertSettings(base=str(tmp_path / "base")))
    assert model.config.reads_text
    want = source.clip.token_embedding.weight.half().float()
    torch.testing.assert_close(model.clip.token_embedding.weight.data, want.data, rtol=0, atol=0)


def test_fixed_labels_survive_saving_and_export(source, tmp_path):
    model = convert(
        save_official(tmp_path / "best.pth", official(source)), settings=ConvertSettings(classes=tuple(CLASSES))
    )
    save_model(model, tmp_path / "folder")
    loaded = ski_edge.load_model(tmp_path / "folder")
    torch.testing.assert_close(loaded.label_embeddings, model.label_embeddings, rtol=0, atol=0)
    session = ski_edge.open_bundle(ski_edge.export_model(loaded, tmp_path / "bundle"))
    assert session.labels.current.names == CLASSES
    np.testing.assert_allclose(session.labels.current.embeddings, model.label_embeddings.numpy(), atol=1e-7)
    with pytest.raises(
        BadInput, match="labels are fixed; convert the checkpoint again with --set base=openclip:openai"
    ):
        session.labels.add("cooking")
    session.labels.remove("falling")  # fewer is always possible
    assert session.labels.current.names == [CLASSES[0], CLASSES[2]]
    with pytest.raises(BadInput, match="cannot encode new labels"):
        ski_edge.export_model(loaded, tmp_path / "other", classes=[ski_edge.bundle.Label("cooking")])
    assert not (tmp_path / "other").exists()


def test_clip_state_dict_with_text_prefix(source, tmp_path):
    """open_clip's CustomTextCLIP puts the text tower under `text.`."""
    state = {}
    for name, tensor in source.clip.state_dict().items():
        text = not name.startswith("visual.") and name != "logit_scale"
        state[("text." if text else "") + name] = tensor.contiguous().clone()
    save_file(state, tmp_path / "clip.safetensors")
    model = convert(tmp_path / "clip.safetensors")
    assert model.config.model == "vificlip"
    assert model.config.reads_text
    torch.testing.assert_close(embeddings(model), embeddings(source), rtol=0, atol=0)


def test_openai_names_and_their_three_integers(source, tmp_path):
    state = {**source.clip.state_dict(), "input_resolution": torch.tensor(224), "context_length": torch.tensor(77)}
    torch.save({k: v.half() if v.is_floating_point() else v for k, v in state.items()}, tmp_path / "clip.pt")
    model = convert(tmp_path / "clip.pt", settings=ConvertSettings(licence="MIT", activation="gelu"))
    assert model.config.licence == "MIT"
    assert model.config.activation == "gelu"
    assert model.clip.visual.proj.dtype == torch.float32


class Bomb:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.system, (f"touch {self.path}",)


def test_pickled_code_is_never_run(source, tmp_path):
    torch.save({"model": official(source), "config": Bomb(tmp_path / "exploded")}, tmp_path / "bomb.pth")
    with pytest.raises(BadInput, match="no pickled code is run"):
        convert(tmp_path / "bomb.pth")
    assert not (tmp_path / "exploded").exists()


def garbage(path):
    path.write_bytes(b"not a checkpoint at all")


def plain_pickle(path):
    path.write_bytes(pickle.dumps({"a": 1}))


def no_tensors(path):
    torch.save({"epoch": 3}, path)


def other_network(path):
    torch.save({"layer1.weight": torch.zeros(2), "visual.proj": torch.zeros(2, 2)}, path)


def skeletonclip(path):
    torch.save(
        {"model": {"module.hyperformer_model.fc2.weight": torch.zeros(2), "text_encoder.x": torch.zeros(1)}}, path
    )


def torchscript(path):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch deprecates the format, the files stay around
        torch.jit.script(torch.nn.Linear(2, 2)).save(str(path))


@pytest.mark.parametrize(
    ("write", "says"),
    [
        (lambda path: None, "does not exist"),
        (lambda path: path.mkdir(), "is a folder; give a file"),
        (lambda path: path.write_bytes(b""), "is empty"),
        (garbage, "cannot be read as tensors"),
        (plain_pickle, "cannot be read as tensors"),
        (no_tensors, "holds no tensors by name"),
        (
            other_network,
            "nearest is CLIP (OpenAI or open_clip names), but 1 tensors do not belong to it (layer1.weight)",
        ),
        (skeletonclip, "nearest is SkeletonCLIP (SKI-Models, phase 1), but it lacks hyperformer_model.data_bn.weight"),
        (torchscript, "is a TorchScript program, not weights"),
    ],
)
def test_files_that_cannot_be_converted(tmp_path, write, says):
    path = tmp_path / "x.pth"
    write(path)
    with pytest.raises(BadInput) as error:
        convert(path)
    assert says in str(error.value)


def test_prompt_tuned_checkpoints_are_refused(source, tmp_path):
    state = official(source) | {"module.image_encoder.VPT": torch.zeros(4, 128)}
    torch.save({"model": state}, tmp_path / "vpt.pth")
    with pytest.raises(BadInput, match="VPT"):
        convert(tmp_path / "vpt.pth", family="vificlip")


@pytest.mark.parametrize(
    ("values", "says"),
    [
        ({"colour": "red"}, "--set colour is not known; the keys are: activation, base, classes, licence, template"),
        ({"activation": "relu"}, "--set activation: Input should be 'quickgelu' or 'gelu' (got 'relu')"),
    ],
)
def test_wrong_settings(values, says):
    with pytest.raises(BadInput) as error:
        parse_settings(values)
    assert says in str(error.value)


def test_wrong_template(source, tmp_path):
    path = save_official(tmp_path / "best.pth", official(source))
    with pytest.raises(BadInput, match=r"exactly one \{\}"):
        convert(path, settings=ConvertSettings(template="no slot"))


def test_wrong_number_of_class_names(source, tmp_path):
    path = save_official(tmp_path / "best.pth", official(source))
    with pytest.raises(BadInput, match="holds prompts of 3 classes, --set classes gives 2 names"):
        convert(path, settings=ConvertSettings(classes=("a", "b")))


def change(**tensors):
    return lambda state: state.update({f"module.{name.replace('__', '.')}": tensor for name, tensor in tensors.items()})


@pytest.mark.parametrize(
    ("edit", "says"),
    [
        (
            change(image_encoder__proj=torch.zeros(128, 64, dtype=torch.complex64)),
            "no plain tensor of real numbers (torch.complex64",
        ),
        (change(image_encoder__proj=torch.zeros(128, 64).to_sparse()), "no plain tensor of real numbers"),
        (change(image_encoder__proj=torch.zeros(128, 64, device="meta")), "no plain tensor of real numbers"),
        (
            change(image_encoder__proj=torch.quantize_per_tensor(torch.zeros(128, 64), 0.1, 0, torch.qint8)),
            "no plain tensor",
        ),
        (change(image_encoder__conv1__weight=torch.tensor(1.0)), "visual.conv1.weight is [], expected 4 axes"),
        (change(image_encoder__positional_embedding=torch.zeros(0, 128)), "visual.positional_embedding is [0, 128]"),
        (change(logit_scale=torch.tensor(1000.0)), "logit_scale is 1000, expected a logarithm"),
        (change(logit_scale=torch.zeros(2)), "logit_scale is [2], expected one number"),
        (change(image_encoder__proj=torch.full((128, 64), float("inf"))), "holds NaN or infinity"),
    ],
)
def test_strange_tensors_are_one_clear_line(source, tmp_path, edit, says):
    state = official(source)
    edit(state)
    torch.save({"model": state}, tmp_path / "odd.pth")
    with pytest.raises(BadInput) as error:
        convert(tmp_path / "odd.pth")
    assert says in str(error.value)
    assert "weights_only" not in str(error.value)


def test_the_end_token_of_prompts_without_padding(source, tmp_path):
    """77 and 76 tokens leave no run of padding; the other prompts tell what the end token looks like."""
    names = ["falling", "x " * 80, "x " * 66 + "y"]
    tokens = tokenize([f"a photo of a {name}." for name in names])
    assert [int((row != 0).sum()) for row in tokens][:2] == [8, 77]
    state = official(source)
    with torch.no_grad():
        state[f"module.{PROMPTS}"] = source.clip.token_embedding(tokens)
        want = source.encode_text(tokens)
    model = convert(save_official(tmp_path / "long.pth", state))
    torch.testing.assert_close(model.label_embeddings, want, rtol=1e-5, atol=1e-6)
    state[f"module.{PROMPTS}"] = state[f"module.{PROMPTS}"][1:2]
    with pytest.raises(BadInput, match="does not look like padded prompts"):
        convert(save_official(tmp_path / "only_long.pth", state))


def test_a_family_that_is_named_must_fit(source, tmp_path):
    path = save_official(tmp_path / "best.pth", official(source))
    with pytest.raises(
        BadInput, match=r"is no SKI-ViFiCLIP.*lacks hyperformer_model\.data_bn\.weight; try --from auto"
    ):
        convert(path, family="ski-vificlip")


def test_wrong_family_says_so(source, tmp_path):
    path = save_official(tmp_path / "best.pth", official(source))
    with pytest.raises(BadInput, match=r"is no CLIP .*it lacks visual\.proj"):
        convert(path, family="clip")
    with pytest.raises(
        BadInput, match="choices are: auto, ski-vificlip, vificlip, xclip, ski-xclip, froster, ski-froster, clip"
    ):
        convert(path, family="resnet")


def test_unknown_tower_size_names_the_nearest(source, tmp_path):
    state = official(source)
    state["module.image_encoder.proj"] = torch.zeros(128, 96)
    torch.save({"model": state}, tmp_path / "odd.pth")
    with pytest.raises(BadInput, match=r"nearest is tiny, but it has embed_dim 96 \(not 64\)"):
        convert(tmp_path / "odd.pth")


def test_command_writes_a_checkpoint_folder(cli, source, tmp_path):
    path = save_official(tmp_path / "best.pth", official(source))
    (tmp_path / "names.csv").write_text("id,name\n" + "".join(f"{i},{n}\n" for i, n in enumerate(CLASSES)), "utf-8")
    assert cli("convert", path, "--out", tmp_path / "named", "--set", f"classes={tmp_path / 'names.csv'}")[0] == 0
    assert ski_edge.load_model(tmp_path / "named").config.classes == tuple(CLASSES)
    # ... and straight to a bundle, without the folder in between:
    code, _, err = cli("export", "--model", "vificlip", "--weights", path, "--out", tmp_path / "bundle")
    assert code == 0, err
    assert "labels are fixed to the checkpoint's 3 classes" in err
    code, out, _ = cli("convert", path, "--out", tmp_path / "folder")
    assert code == 0
    assert "no token embedding: labels are fixed to the checkpoint's 3 classes" in out
    assert "next: ski-edge export --model vificlip --weights" in out
    assert ski_edge.load_model(tmp_path / "folder").config.classes == ("class_0", "class_1", "class_2")
