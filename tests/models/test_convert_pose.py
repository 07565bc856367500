"""Official skeleton checkpoints, built with the official names, shapes and containers (their weights cannot be had)."""

from __future__ import annotations

import json
from collections import OrderedDict

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import save_file

import ski_edge
from ski_edge.cli import convert as command
from ski_edge.errors import BadInput
from ski_edge.models.convert import FAMILIES, ConvertSettings, convert, parse_settings
from ski_edge.models.convert_pose import rename_tensors
from ski_edge.models.hyperformer import UCLA_BONE_HYPEREDGES
from ski_edge.models.pose_families import POSE_FAMILIES
from ski_edge.skeleton.resample import CropResize, EvenSample, UniformSample, ZeroPad

CONTAINERS = {
    "bare": OrderedDict,
    "parallel": lambda tensors: OrderedDict((f"module.{name}", tensor) for name, tensor in tensors.items()),
    "mmcv": lambda tensors: {"meta": {"epoch": 16}, "state_dict": OrderedDict(tensors), "optimizer": {"state": {}}},
    "model_state": lambda tensors: {"model_state": {f"module.{name}": t for name, t in tensors.items()}, "epoch": 3},
}


@pytest.fixture
def save(official, tmp_path):
    """Fill shapes (or take tensors) and write them as a training script would."""

    def write(shapes, container="bare", **edits):
        tensors = official.filled({name: shape for name, shape in shapes.items() if isinstance(shape, tuple)})
        tensors |= {name: tensor for name, tensor in shapes.items() if isinstance(tensor, torch.Tensor)}
        path = tmp_path / "official.pt"
        torch.save(CONTAINERS[container]({**tensors, **edits}), path)
        return path

    return write


@pytest.mark.parametrize(
    ("name", "container"), [("ctrgcn", "parallel"), ("ctrsgcn", "bare"), ("hdgcn", "bare"), ("stgcn", "model_state")]
)
@torch.no_grad()
def test_golden_numbers_after_conversion(official, tmp_path, name, container):
    tensors = official.filled(getattr(official, name)())
    if name == "stgcn":
        tensors = official.with_own_graph(tensors)
    torch.save(CONTAINERS[container](tensors), tmp_path / "official.pt")
    model = convert(tmp_path / "official.pt")
    assert (model.config.model, model.config.arch) == (name, "base")
    golden = official.GOLDEN[name]
    # Weights are kept in float32: errors are small beside the largest logit, not beside each.
    golden.check(model.double()(official.clip(1, 3, 64, 25, 2))[0], atol=1e-5 * max(golden.first))


def family_cases(official):
    """(family, shapes, SkeletonInput fields, other config fields)"""
    ntu = {"layout": "ntu25", "persons": 2, "resample": CropResize(), "scale": "none", "centre": "first-frame"}
    ucla = {"layout": "kinect20", "persons": 1, "resample": EvenSample(), "scale": "box", "centre": "first-frame"}
    raw = {"layout": "ntu25", "persons": 2, "resample": ZeroPad(), "second_body": "zeros", "centre": "none"}
    upright = {**ntu, "align": "upright", "second_body": "zeros"}
    tiny = {"arch": "tiny"}
    return {
        "ctrgcn-60": ("ctrgcn", official.ctrgcn(60, base=16), {**ntu, "second_body": "zeros"}, tiny),
        "ctrgcn-120": ("ctrgcn", official.ctrgcn(120, base=32), {**ntu, "second_body": "copy"}, {"arch": "small"}),
        "ctrgcn-ucla": ("ctrgcn", official.ctrgcn(10, 20, 1, base=16), ucla, tiny),
        "mmcl": ("mmcl", official.mmcl(base=16), {**ntu, "second_body": "copy"}, {**tiny, "model": "ctrgcn"}),
        "ctrsgcn": ("ctrsgcn", official.ctrsgcn(60, base=16), {**ntu, "second_body": "zeros"}, tiny),
        "hdgcn": ("hdgcn", official.hdgcn(120, base=16), {**ntu, "second_body": "copy"}, {**tiny, "centre": 0}),
        "stgcn": ("stgcn", official.stgcn(base=16), raw, {**tiny, "variant": "original", "final_width": None}),
        "crossclr": (
            "crossclr",
            official.stgcn(base=16, head="fc", final=256),
            {**raw, "resample": CropResize(frames=50, keep=1.0), "centre": "each-frame"},
            {**tiny, "model": "stgcn", "variant": "original", "final_width": 256},
        ),
        "hyperformer": (
            "hyperformer",
            official.hyperformer(),
            {**ntu, "second_body": "zeros", "root_trajectory": True},
            {"arch": "base"},
        ),
        "hyperformer-ucla": (
            "hyperformer",
            official.hyperformer(10, 20, 1, hops=11),
            {**ucla, "root_trajectory": True},
            {"arch": "base"},
        ),
        "pyskl": (
            "pyskl-ctrgcn",
            official.ctrgcn(60, base=16, pyskl=True),
            {**upright, "resample": UniformSample()},
            {**tiny, "model": "ctrgcn", "variant": "pyskl"},
        ),
        "costgcn": (
            "costgcn",
            official.costgcn(base=16),
            {**upright, "resample": ZeroPad()},
            {**tiny, "model": "stgcn", "variant": "continual"},
        ),
    }


CASES = (
    *("ctrgcn-60", "ctrgcn-120", "ctrgcn-ucla", "mmcl", "ctrsgcn", "hdgcn", "stgcn", "crossclr", "hyperformer"),
    *("hyperformer-ucla", "pyskl", "costgcn"),
)


@pytest.mark.parametrize("case", CASES)
def test_every_family_is_recognised_with_its_preprocessing(official, save, case):
    family, shapes, spec, fields = family_cases(official)[case]
    tensors = official.filled(shapes)
    if "A" in tensors:
        tensors = official.with_own_graph(tensors)
    if family == "costgcn":  # all blocks hold the same constant
        graphs = [name for name in tensors if name.endswith("gcn.A")]
        tensors |= {name: tensors[graphs[-1]] for name in graphs}
    model = convert(save(tensors, "mmcv"))
    assert model.config.notes[0] == f"read as {POSE_FAMILIES[family].title}"
    found = model.config.skeleton
    got = {name: getattr(found, name) for name in spec} | {"layout": found.layout.name}
    assert got == spec
    assert {name: getattr(model.config, name) for name in fields} == fields
    state = model.state_dict()
    for name, tensor in rename_tensors(tensors, POSE_FAMILIES[family]).items():
        assert torch.equal(state[name], tensor.float()), name


def test_the_table_of_cases_covers_every_family(official):
    assert {case[0] for case in family_cases(official).values()} == set(POSE_FAMILIES)
    assert set(CASES) == set(family_cases(official))


def test_what_only_training_needs_is_dropped_and_said(official, save):
    path = save(official.mmcl(base=16))
    model = convert(path)
    notes = " | ".join(model.config.notes)
    for dropped in ("FAM_Aligh: 1", "NegMatrix: 1", "PosMatrix: 1", "inception_v3: 2", "mlp: 4"):
        assert f"dropped {dropped} tensors" in notes
    backbone = convert(save(official.ctrgcn(base=16)))
    clip = official.clip(1, 3, 64, 25, 2).float()
    torch.testing.assert_close(model(clip), backbone(clip), rtol=0, atol=0)


# Independent computations of the networks that have no golden numbers, straight from their formulas.


def norm(w, name, x):
    shape = (1, -1) + (1,) * (x.ndim - 2)
    mean, var, scale, shift = (w[f"{name}.{k}"].view(shape) for k in ("running_mean", "running_var", "weight", "bias"))
    return (x - mean) / (var + 1e-5).sqrt() * scale + shift


def conv(w, name, x, stride=1, dilation=1):
    weight = w[f"{name}.weight"]
    padding = (weight.shape[2] // 2 * dilation, 0)
    return F.conv2d(x, weight, w[f"{name}.bias"], (stride, 1), padding, (dilation, 1))


def stride_of(block):
    return 2 if block in (4, 7) else 1


def bodies(w, name, clip, shared=False):
    n, c, t, v, m = clip.shape
    x = clip.permute(0, 4, 3, 1, 2)
    x = norm(w, name, x.reshape(n * m, v * c, t) if shared else x.reshape(n, m * v * c, t))
    return x.reshape(n * m, v, c, t).permute(0, 2, 3, 1)


def head(x, weight, bias, people):
    x = x.mean(dim=(2, 3))
    return x.view(-1, people, x.shape[1]).mean(dim=1) @ weight.flatten(1).T + bias


def pyskl_ctrgcn(w, clip):
    x = bodies(w, "backbone.data_bn", clip)
    for i in range(10):
        at, branch = f"backbone.net.{i}.gcn1", f"backbone.net.{i}.tcn1.branches"
        y = 0
        for s in range(3):
            unit = f"{at}.convs.{s}"
            q, k = (conv(w, f"{unit}.conv{j}", x).mean(dim=2) for j in (1, 2))
            graph = conv(w, f"{unit}.conv4", torch.tanh(q.unsqueeze(3) - k.unsqueeze(2))) * w[f"{at}.alpha"]
            y = y + torch.einsum("ncuv,nctu->nctv", graph + w[f"{at}.A"][s], conv(w, f"{unit}.conv3", x))
        down = norm(w, f"{at}.down.1", conv(w, f"{at}.down.0", x)) if f"{at}.down.0.weight" in w else x
        y = (norm(w, f"{at}.bn", y) + down).relu()
        parts = []
        for b in range(4):
            stride = stride_of(i) if b == 3 else 1
            z = norm(w, f"{branch}.{b}.1", conv(w, f"{branch}.{b}.0", y, stride))
            if b < 2:
                z = norm(w, f"{branch}.{b}.3.bn", conv(w, f"{branch}.{b}.3.conv", z.relu(), stride_of(i), b + 1))
            elif b == 2:
                z = norm(w, f"{branch}.2.4", F.max_pool2d(z.relu(), (3, 1), (stride_of(i), 1), (1, 0)))
            parts.append(z)
        y = torch.cat(parts, dim=1).relu()  # this ReLU is pyskl's own
        at = f"backbone.net.{i}.residual"
        if f"{at}.conv.weight" in w:
            y = y + norm(w, f"{at}.bn", conv(w, f"{at}.conv", x, stride_of(i)))
        elif i:
            y = y + x
        x = y.relu()
    return head(x, w["cls_head.fc_cls.weight"], w["cls_head.fc_cls.bias"], clip.shape[4])


def st_gcn(w, clip):
    x = bodies(w, "data_bn", clip, shared=True)
    for i in range(10):
        at = f"st_gcn_networks.{i}"
        value = conv(w, f"{at}.gcn.conv", x).unflatten(1, (3, -1))
        y = torch.einsum("nkctv,kvw->nctw", value, w["A"] * w[f"edge_importance.{i}"])
        y = norm(w, f"{at}.tcn.3", conv(w, f"{at}.tcn.2", norm(w, f"{at}.tcn.0", y).relu(), stride_of(i)))
        if f"{at}.residual.0.weight" in w:
            y = y + norm(w, f"{at}.residual.1", conv(w, f"{at}.residual.0", x, stride_of(i)))
        elif i:
            y = y + x
        x = y.relu()
    return head(x, w["fc.weight"], w["fc.bias"], clip.shape[4])


def cost_gcn(w, clip):
    """With the regular names."""
    x = bodies(w, "data_bn", clip)
    for i in range(10):
        at = f"layers.layer{i + 1}"
        graph = w[f"{at}.gcn.A"] * w[f"{at}.gcn.graph_attn"]
        y = sum(conv(w, f"{at}.gcn.g_conv.{s}", x @ graph[s]) for s in range(3))
        inner = f"{at}.gcn.gcn_residual"
        own = norm(w, f"{inner}.1", conv(w, f"{inner}.0", x)) if f"{inner}.0.weight" in w else x
        y = (norm(w, f"{at}.gcn.bn", y) + own).relu()
        y = norm(w, f"{at}.tcn.bn", conv(w, f"{at}.tcn.t_conv", y, stride_of(i)))
        if f"{at}.residual.t_conv.weight" in w:
            y = y + norm(w, f"{at}.residual.bn", conv(w, f"{at}.residual.t_conv", x, stride_of(i)))
        elif i:
            y = y + x
        x = y.relu()
    return head(x, w["fc.weight"], w["fc.bias"], clip.shape[4])


def same_graph(tensors):
    graph = next(tensor for name, tensor in tensors.items() if name.endswith("gcn.A"))
    return {name: graph if name.endswith("gcn.A") else tensor for name, tensor in tensors.items()}


@torch.no_grad()
def test_pyskl_computes_what_pyskl_computes(official, save):
    tensors = official.filled(official.ctrgcn(60, base=16, pyskl=True))
    model = convert(save(tensors, "mmcv"))
    clip = official.clip(2, 3, 20, 25, 2)
    rounded = {name: tensor.float().double() for name, tensor in tensors.items()}
    torch.testing.assert_close(model.double()(clip), pyskl_ctrgcn(rounded, clip), rtol=1e-9, atol=1e-9)


@torch.no_grad()
def test_crossclr_computes_what_crossclr_computes(official, save):
    shapes = official.stgcn(base=16, head="fc", final=256)
    tensors = official.with_own_graph(official.filled(shapes))
    model = convert(save({f"encoder_q.{name}": tensor for name, tensor in tensors.items()}))
    clip = official.clip(2, 3, 20, 25, 2)
    rounded = {name: tensor.float().double() for name, tensor in tensors.items()}
    torch.testing.assert_close(model.double()(clip), st_gcn(rounded, clip), rtol=1e-9, atol=1e-9)


@torch.no_grad()
@pytest.mark.parametrize("continual", [False, True])
def test_costgcn_computes_what_its_clip_network_computes(official, save, continual):
    """The names of the continual network differ, its tensors do not."""
    regular = same_graph(official.filled(official.costgcn(base=16)))
    names = dict(zip(official.costgcn(base=16, continual=continual), regular, strict=True))
    model = convert(save({name: regular[own] for name, own in names.items()}))
    clip = official.clip(2, 3, 20, 25, 2)
    rounded = {name: tensor.float().double() for name, tensor in regular.items()}
    torch.testing.assert_close(model.double()(clip), cost_gcn(rounded, clip), rtol=1e-9, atol=1e-9)


def test_costgcn_without_its_graph_takes_the_layouts(official, save):
    shapes = {name: shape for name, shape in official.costgcn(base=16).items() if not name.endswith("gcn.A")}
    model = convert(save(shapes))
    fresh = ski_edge.create_model("stgcn", num_classes=2, layout="ntu25", arch="tiny", variant="continual")
    assert torch.equal(model.trunk.adjacency, fresh.trunk.adjacency)


@torch.no_grad()
def test_starred_costgcn_is_a_setting(official, save):
    """CoST-GCN* has CoST-GCN's tensors: only the user knows which it is."""
    path = save(same_graph(official.filled(official.costgcn(base=16))))
    padded, starred = convert(path), convert(path, settings=parse_settings({"temporal": "unpadded"}))
    assert (padded.config.temporal, starred.config.temporal) == ("padded", "unpadded")
    assumed = "time assumed padded and strided; else --set temporal=unpadded"
    assert [any(assumed in note for note in each.config.notes) for each in (padded, starred)] == [True, False]
    clip = official.clip(1, 3, 90, 25, 2).float()
    torch.testing.assert_close(starred.features(clip), padded.unpadded_features(clip))
    assert not torch.allclose(starred(clip), padded(clip))
    with pytest.raises(BadInput, match="is for ST-GCN; CTR-GCN"):
        convert(save(official.ctrgcn(60, 25, 2, base=16)), settings=parse_settings({"temporal": "unpadded"}))


def test_hdgcn_takes_the_second_name_of_a_tensor(official):
    tensors = official.filled(official.hdgcn(base=16))
    got = rename_tensors(tensors, POSE_FAMILIES["hdgcn"])["trunk.3.spatial.value.weight"][-4:]
    assert torch.equal(got, tensors["l4.gcn1.conv_d.2.0.weight"])
    assert not torch.equal(got, tensors["l4.gcn1.conv.5.2.0.weight"])


def test_settings_that_tensors_cannot_tell(official, tmp_path):
    path = tmp_path / "hdgcn.safetensors"
    save_file(
        {name: tensor.contiguous() for name, tensor in official.filled(official.hdgcn(60, base=16)).items()}, path
    )
    values = {"modality": "bone", "body2": "copy", "centre": "20", "licence": "mine", "layout": "ntu25"}
    model = convert(path, settings=parse_settings(values))
    config = model.config
    assert (config.skeleton.modality, config.skeleton.second_body, config.centre) == ("bone", "copy", 20)
    assert config.licence == "mine"
    assert not any("assumed" in note for note in config.notes)


def test_assumptions_are_said(official, tmp_path):
    tensors = official.filled(official.hdgcn(base=16))
    save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, tmp_path / "hdgcn.safetensors")
    notes = " | ".join(convert(tmp_path / "hdgcn.safetensors").config.notes)
    assert "body 2 assumed: copy, as in arrays of 120 classes" in notes
    assert "modality assumed: joint" in notes
    assert "hierarchy assumed to start from joint 0 (its CoM 1)" in notes


def test_a_layout_of_the_users(official, save, tmp_path):
    path = save(official.ctrgcn(7, 5, 1, base=16))
    with pytest.raises(
        BadInput, match=r"a network of 5 joints; say what they are with --set layout=NAME or FILE\.yaml"
    ):
        convert(path)
    with pytest.raises(BadInput, match="has 5 joints, layout ntu25 has 25"):
        convert(path, settings=ConvertSettings(layout="ntu25"))
    (tmp_path / "hand.yaml").write_text(
        "{name: hand, joints: [w, a, b, c, d], bones: [[a, w], [b, w], [c, w], [d, w]], centre: [w]}"
    )
    model = convert(path, settings=ConvertSettings(layout=str(tmp_path / "hand.yaml")))
    assert model.config.skeleton.layout.name == "hand"


def test_a_head_that_is_no_matrix(official, save):
    with pytest.raises(BadInput, match=r"fcn\.weight is torch\.float32 \[\], not a tensor of head\.weight"):
        convert(save(official.stgcn(base=16), **{"fcn.weight": torch.tensor(1.0)}))


def without(name):
    return lambda tensors: tensors.pop(name)


def replaced(**changes):
    return lambda tensors: tensors.update({name.replace("__", "."): tensor for name, tensor in changes.items()})


@pytest.mark.parametrize(
    ("edit", "says"),
    [
        (
            without("l3.gcn1.convs.2.conv1.bias"),
            "trunk.2.spatial.relation.bias needs more than l3.gcn1.convs.0.conv1.bias",
        ),
        (without("l7.gcn1.bn.weight"), "missing ['trunk.6.spatial.norm.weight'] (1)"),
        (without("l10.gcn1.PA"), "nearest is CTR-GCN, but it lacks l10.gcn1.PA"),
        (without("data_bn.weight"), "what becomes input_norm.weight is missing"),
        (
            replaced(extra__weight=torch.zeros(2), other=torch.zeros(2)),
            "nearest is CTR-GCN, but 2 tensors do not belong to it (extra.weight, other)",
        ),
        (
            replaced(l2__gcn1__convs__1__conv3__weight=torch.zeros(16, 8, 1, 1)),
            "do not fit together: l2.gcn1.convs.0.conv3.weight [16, 16, 1, 1], l2.gcn1.convs.1.conv3.weight [16, 8",
        ),
        (
            replaced(l2__gcn1__alpha=torch.zeros(3)),
            "l2.gcn1.alpha give [3], ctrgcn tiny needs [1]",
        ),
        (replaced(l2__gcn1__alpha=torch.tensor(0.1)), "l2.gcn1.alpha give [], ctrgcn tiny needs [1]"),
        (replaced(l5__tcn1__branches__0__0__weight=torch.tensor(0.1)), "do not fit together"),
        (replaced(data_bn__weight=torch.zeros(151)), "data_bn has 151 channels, no multiple of 3 x 25 joints"),
        (replaced(fc__weight=torch.zeros(0, 64)), "what becomes head.weight is [0, 64]"),
        (replaced(fc__weight=torch.full((60, 64), float("nan"))), "head.weight holds NaN or infinity"),
        (replaced(l11__gcn1__alpha=torch.zeros(1)), "unknown ['trunk.10.spatial.gain'] (1)"),
    ],
)
def test_strange_tensors_are_one_clear_line(official, tmp_path, edit, says):
    tensors = official.filled(official.ctrgcn(60, base=16))
    edit(tensors)
    torch.save(tensors, tmp_path / "odd.pt")
    with pytest.raises(BadInput) as error:
        convert(tmp_path / "odd.pt")
    assert says in str(error.value)
    assert "\n" not in str(error.value)


def test_a_width_nobody_uses(official, save):
    with pytest.raises(
        BadInput, match=r"a CTR-GCN of width 48; the widths that are known are: 64 \(base\), 32 \(small\)"
    ):
        convert(save(official.ctrgcn(60, base=48)))


def test_networks_of_pixels_are_refused(official, save, tmp_path):
    """2D networks of these families read x, y and a score; naming the joints does not make that metres."""
    with pytest.raises(BadInput, match="of 17 joints reads image positions and scores; only those of metres convert"):
        convert(save(official.ctrgcn(60, 17, base=16, pyskl=True)), settings=ConvertSettings(layout="coco17"))
    joints = [f"j{i}" for i in range(18)]
    layout = {"name": "openpose18", "joints": joints, "bones": [[j, "j0"] for j in joints[1:]], "centre": ["j0"]}
    (tmp_path / "openpose.yaml").write_text(json.dumps(layout))
    with pytest.raises(BadInput, match="of 18 joints reads image positions"):
        convert(
            save(official.stgcn(400, 18, base=16)), settings=ConvertSettings(layout=str(tmp_path / "openpose.yaml"))
        )


def test_hyperformer_groups_ucla_bones_otherwise(official, save):
    path = save(official.hyperformer(10, 20, 1, hops=11))
    for modality, groups in (("joint", ()), ("bone_motion", UCLA_BONE_HYPEREDGES)):
        assert convert(path, settings=ConvertSettings(modality=modality)).config.hyperedges == groups


def test_a_pretraining_checkpoint_is_no_classifier(official, save):
    shapes = {f"encoder_q.{name}": shape for name, shape in official.stgcn(base=16, head="fc").items()}
    with pytest.raises(BadInput, match=r"nearest is ST-GCN \(CrosSCLR.*do not belong to it \(encoder_k\.A, queue\)"):
        convert(save(shapes, **{"encoder_k.A": torch.zeros(3, 25, 25), "queue": torch.zeros(2)}))


def test_a_family_that_is_named_must_fit(official, save):
    path = save(official.ctrgcn(60, base=16))
    with pytest.raises(BadInput, match=r"is no MMCL-Action .*: it lacks PosMatrix; try --from auto"):
        convert(path, family="mmcl")
    with pytest.raises(BadInput, match=r"tensor mlp\.0\.weight does not belong to CTR-GCN; try --from auto"):
        convert(save(official.mmcl(base=16)), family="ctrgcn")


@pytest.mark.parametrize(
    ("values", "says"),
    [
        ({"base": "openclip:openai"}, "--set base means nothing for CTR-GCN; leave it away"),
        ({"centre": 1}, "--set centre=1 is for HD-GCN; CTR-GCN has no hierarchy of joints"),
        ({"classes": ("a", "b")}, "2 class names for 60 classes"),
        ({"layout": "kinect21"}, "layout 'kinect21' is not known"),
    ],
)
def test_settings_that_do_not_belong(official, save, values, says):
    path = save(official.ctrgcn(60, base=16))
    with pytest.raises(BadInput) as error:
        convert(path, settings=ConvertSettings(**values))
    assert says in str(error.value)


def test_skeleton_settings_mean_nothing_for_a_video_network(tmp_path):
    names = FAMILIES["clip"].needs
    torch.save({name: torch.zeros(2, 2) for name in names}, tmp_path / "clip.pt")
    with pytest.raises(BadInput, match="--set layout means nothing for CLIP"):
        convert(tmp_path / "clip.pt", settings=ConvertSettings(layout="ntu25"))


@torch.no_grad()
def test_command_writes_a_checkpoint_folder(cli, official, save, tmp_path):
    path = save(official.ctrgcn(12, base=16), "parallel")
    (tmp_path / "names.txt").write_text("".join(f"action {i}\n" for i in range(12)))
    settings = ("modality=joint_motion", "body2=copy", f"classes={tmp_path / 'names.txt'}")
    flags = [part for setting in settings for part in ("--set", setting)]
    code, out, err = cli("convert", path, "--out", tmp_path / "folder", "--from", "ctrgcn", *flags)
    assert code == 0, err
    assert "read as CTR-GCN" in out
    assert "next: ski-edge export --model ctrgcn" in out
    model = ski_edge.load_model(tmp_path / "folder")
    assert model.config.classes[11] == "action 11"
    assert model.config.skeleton.modality == "joint_motion"
    assert model.config.skeleton.second_body == "copy"
    assert model.config.weights.startswith("official.pt (sha256 ")
    clip = official.clip(1, 3, 64, 25, 2).float()
    np.testing.assert_array_equal(model(clip), convert(path)(clip))
    code, out, _ = cli("convert", path, "--out", tmp_path / "folder", "--json")
    assert json.loads(out)["config"]["skeleton"]["layout"] == "ntu25"


def test_command_with_a_wrong_setting(fails_clean, official, save, tmp_path):
    path = save(official.ctrgcn(12, base=16))
    fails_clean("convert", path, "--out", tmp_path / "x", "--set", "body2=mirror", says="--set body2")
    fails_clean("convert", path, "--out", tmp_path / "x", "--set", "centre=left", says="--set centre")


def test_help_lists_every_family():
    assert set(command._FAMILIES) == set(FAMILIES)
