"""Official skeleton checkpoints by name and shape (their weights cannot be had), and the rule that fills them."""

from __future__ import annotations

import functools
import zlib
from dataclasses import dataclass
from types import SimpleNamespace

import numpy as np
import pytest
import torch

Shapes = dict[str, tuple[int, ...]]


@functools.cache
def fill(name: str, shape: tuple[int, ...]) -> np.ndarray:
    """The rule the golden numbers were made with: normal numbers seeded by the tensor's name."""
    n = np.random.RandomState(zlib.crc32(name.encode())).standard_normal(shape)
    if name.endswith("num_batches_tracked"):
        return np.zeros(shape)
    if name.endswith("running_var"):
        return 0.5 + abs(n)
    if name.endswith("alpha"):
        return np.full(shape, 0.1)
    if name.endswith("PA") or "edge_importance" in name:
        return 0.05 * n
    if name.endswith(("running_mean", "bias")):
        return 0.1 * n
    return 1 + 0.1 * n if len(shape) == 1 else n / np.sqrt(np.prod(shape[1:]))


def filled(shapes: Shapes) -> dict[str, torch.Tensor]:
    return {name: torch.from_numpy(np.asarray(fill(name, shape))) for name, shape in shapes.items()}


def norm(name: str, channels: int) -> Shapes:
    shapes = {f"{name}.{leaf}": (channels,) for leaf in ("weight", "bias", "running_mean", "running_var")}
    return {**shapes, f"{name}.num_batches_tracked": ()}


def conv(name: str, outputs: int, inputs: int, taps: int = 1, bias: bool = True) -> Shapes:
    return {f"{name}.weight": (outputs, inputs, taps, 1), **({f"{name}.bias": (outputs,)} if bias else {})}


def widths(base: int = 64) -> list[tuple[int, int]]:
    outputs = [base] * 4 + [2 * base] * 3 + [4 * base] * 3
    return list(zip([3, *outputs[:-1]], outputs, strict=True))


def ends(classes: int, features: int, channels: int, head: str = "fc", bn: str = "data_bn") -> Shapes:
    return {**norm(bn, channels), f"{head}.weight": (classes, features), f"{head}.bias": (classes,)}


def branches(block: str, width: int, separate_bias: bool = False) -> Shapes:
    at, part, shapes = f"{block}.tcn1.branches", width // 4, {}
    for i in range(4):
        shapes |= conv(f"{at}.{i}.0", part, width) | norm(f"{at}.{i}.1", part)
    for i in (0, 1):
        shapes |= conv(f"{at}.{i}.3.conv", part, part, 5, bias=not separate_bias) | norm(f"{at}.{i}.3.bn", part)
        if separate_bias:
            shapes[f"{at}.{i}.3.bias"] = (1, part, 1, 1)
    return shapes | norm(f"{at}.2.4", part)


def residual(name: str, inputs: int, outputs: int, parts: tuple[str, str] = ("conv", "bn")) -> Shapes:
    return conv(f"{name}.{parts[0]}", outputs, inputs) | norm(f"{name}.{parts[1]}", outputs)


def ctrgcn(classes: int = 120, joints: int = 25, persons: int = 2, base: int = 64, pyskl: bool = False) -> Shapes:
    bn, head, graph = ("backbone.data_bn", "cls_head.fc_cls", "A") if pyskl else ("data_bn", "fc", "PA")
    shapes = ends(classes, 4 * base, 3 * joints * persons, head, bn)
    if pyskl:
        shapes["backbone.A"] = (3, joints, joints)
    for i, (inputs, outputs) in enumerate(widths(base)):
        block = f"backbone.net.{i}" if pyskl else f"l{i + 1}"
        reduced = 8 if inputs == 3 or (pyskl and inputs <= 16) else inputs // 8
        for s in range(3):
            unit = f"{block}.gcn1.convs.{s}"
            shapes |= conv(f"{unit}.conv1", reduced, inputs) | conv(f"{unit}.conv2", reduced, inputs)
            shapes |= conv(f"{unit}.conv3", outputs, inputs) | conv(f"{unit}.conv4", outputs, reduced)
        shapes |= {f"{block}.gcn1.{graph}": (3, joints, joints), f"{block}.gcn1.alpha": (1,)}
        shapes |= norm(f"{block}.gcn1.bn", outputs) | branches(block, outputs)
        if inputs != outputs:
            shapes |= residual(f"{block}.gcn1.down", inputs, outputs, ("0", "1"))
            shapes |= residual(f"{block}.residual", inputs, outputs) if i else {}
    return shapes


def mmcl(base: int = 64) -> Shapes:
    shapes = {"mlp.0.weight": (64, 3), "mlp.0.bias": (64,), "mlp.2.weight": (2, 64), "mlp.2.bias": (2,)}
    shapes |= {"FAM_Aligh.mlp.0.weight": (256, 1000), "PosMatrix": (120,), "NegMatrix": (120,)}
    shapes |= {"inception_v3.Conv2d_1a_3x3.conv.weight": (32, 3, 3, 3), "inception_v3.AuxLogits.fc.bias": (1000,)}
    return ctrgcn(base=base) | shapes


def ctrsgcn(classes: int = 120, joints: int = 25, persons: int = 2, base: int = 64) -> Shapes:
    shapes = ends(classes, 4 * base, 3 * joints * persons)
    for i, (inputs, outputs) in enumerate(widths(base), 1):
        shapes[f"l{i}.gcn1.PA"] = (3, joints, joints)
        for s in range(3):
            shapes |= conv(f"l{i}.gcn1.conv_d.{s}", outputs, inputs)
        shapes |= norm(f"l{i}.gcn1.bn", outputs) | conv(f"l{i}.tcn1.conv", outputs, outputs, 5)
        shapes |= norm(f"l{i}.tcn1.bn", outputs)
        if inputs != outputs:
            shapes |= residual(f"l{i}.gcn1.down", inputs, outputs, ("0", "1"))
            shapes |= residual(f"l{i}.residual", inputs, outputs) if i > 1 else {}
    return shapes


def hdgcn(classes: int = 120, joints: int = 25, base: int = 64) -> Shapes:
    def edge(name: str, width: int) -> Shapes:
        return {f"{name}.conv.0.weight": (width, 2 * width, 1, 1), **norm(f"{name}.conv.1", width)}

    shapes = ends(classes, 4 * base, 3 * joints * 2)
    for i, (inputs, outputs) in enumerate(widths(base), 1):
        gcn, part = f"l{i}.gcn1", outputs // 4
        shapes[f"{gcn}.PA"] = (6, 3, joints, joints)
        for level in range(6):
            shapes |= conv(f"{gcn}.conv_down.{level}.0", part, inputs) | norm(f"{gcn}.conv_down.{level}.1", part)
        for level in [f"conv.{level}" for level in range(6)] + ["conv_d"]:  # the last level a second time
            for s in range(3):
                shapes |= conv(f"{gcn}.{level}.{s}.0", part, part) | norm(f"{gcn}.{level}.{s}.1", part)
            shapes |= edge(f"{gcn}.{level}.3", part)
        if i > 1:
            shapes |= conv(f"{gcn}.aha.conv_down.0", part, outputs) | norm(f"{gcn}.aha.conv_down.1", part)
            shapes |= edge(f"{gcn}.aha.edge_conv", part)
            shapes |= {f"{gcn}.aha.aggregate.weight": (outputs, part, 1), f"{gcn}.aha.aggregate.bias": (outputs,)}
        shapes |= norm(f"{gcn}.bn", outputs) | branches(f"l{i}", outputs, separate_bias=True)
        if inputs != outputs:
            shapes |= residual(f"{gcn}.down", inputs, outputs, ("0", "1"))
            shapes |= residual(f"l{i}.residual", inputs, outputs) if i > 1 else {}
    return shapes


def stgcn(classes: int = 60, joints: int = 25, base: int = 64, head: str = "fcn", final: int | None = None) -> Shapes:
    """yysijie's; `head="fc"` and `final`: CrosSCLR's."""
    sizes = widths(base)
    sizes[-1] = (sizes[-1][0], final or sizes[-1][1])
    shapes = {"A": (3, joints, joints), **ends(classes, sizes[-1][1], 3 * joints, head)}
    if head == "fcn":
        shapes["fcn.weight"] = (classes, sizes[-1][1], 1, 1)
    for i, (inputs, outputs) in enumerate(sizes):
        block = f"st_gcn_networks.{i}"
        shapes |= {f"edge_importance.{i}": (3, joints, joints), **conv(f"{block}.gcn.conv", 3 * outputs, inputs)}
        shapes |= norm(f"{block}.tcn.0", outputs) | conv(f"{block}.tcn.2", outputs, outputs, 9)
        shapes |= norm(f"{block}.tcn.3", outputs)
        shapes |= residual(f"{block}.residual", inputs, outputs, ("0", "1")) if i and inputs != outputs else {}
    return shapes


def costgcn(classes: int = 60, joints: int = 25, base: int = 64, continual: bool = False) -> Shapes:
    shapes = ends(classes, 4 * base, 3 * joints * 2)
    for i, (inputs, outputs) in enumerate(widths(base), 1):
        block = f"layers.layer{i}" + (".0.1" if continual and i > 1 else "")
        shapes |= {f"{block}.gcn.graph_attn": (3, joints, joints), f"{block}.gcn.A": (3, joints, joints)}
        for s in range(3):
            shapes |= conv(f"{block}.gcn.g_conv.{s}", outputs, inputs)
        shapes |= norm(f"{block}.gcn.bn", outputs) | conv(f"{block}.tcn.t_conv", outputs, outputs, 9)
        shapes |= norm(f"{block}.tcn.bn", outputs)
        if inputs != outputs:
            shapes |= residual(f"{block}.gcn.gcn_residual", inputs, outputs, ("0", "1"))
            skip = f"layers.layer{i}" + (".0.0" if continual else "") + ".residual"
            shapes |= residual(skip, inputs, outputs, ("t_conv", "bn")) if i > 1 else {}
    return shapes


def hyperformer(classes: int = 60, joints: int = 25, persons: int = 2, hops: int = 12) -> Shapes:
    d = 216
    shapes = ends(classes, d, 3 * joints * persons)
    for i in range(1, 11):
        inputs, at = d if i > 1 else 3, f"l{i}.vit1"
        shapes |= {f"{at}.norm1.weight": (inputs,), f"{at}.norm1.bias": (inputs,), f"{at}.attn.rpe": (hops, d)}
        shapes |= {f"{at}.attn.w1": (9, 24), f"{at}.attn.outer": (9, joints, joints), f"{at}.attn.alpha": (1,)}
        shapes |= conv(f"{at}.attn.kv", 2 * d, inputs, bias=False) | conv(f"{at}.attn.q", d, inputs, bias=False)
        shapes |= conv(f"{at}.attn.proj", d, 36) | conv(f"{at}.pe_proj", d, inputs, bias=False)
        shapes |= conv(f"{at}.skip_proj", d, inputs, bias=False) if i == 1 else {}
        shapes |= branches(f"l{i}", d)
        shapes |= residual(f"l{i}.residual", inputs, d) if i in (1, 5, 8) else {}
    return shapes


def waves(shapes: Shapes) -> dict[str, torch.Tensor]:
    """Hyperformer's own fill rule: sines that depend on a tensor's place in the sorted state dict."""
    tensors = {}
    for i, (name, shape) in enumerate(sorted(shapes.items())):
        s = np.sin(0.7 * np.arange(int(np.prod(shape))) + 1.3 * (i % 17)).reshape(shape)
        if name.endswith("running_var"):
            value = 1 + 0.2 * s
        elif name.endswith("outer"):
            value = 0.5 * np.eye(shape[-1]) + 0.02 * s
        elif name.endswith("alpha"):
            value = 0.3 + 0.1 * s
        else:
            value = 1 + 0.1 * s if len(shape) == 1 and name.endswith("weight") else 0.08 * s
        tensors[name] = torch.from_numpy(np.asarray(value))
    return tensors


@dataclass(frozen=True)
class Golden:
    """Numbers of an official module in float64: first five logits, sum over all, largest."""

    first: tuple[float, ...]
    total: float
    largest: int

    def check(self, logits: torch.Tensor, atol: float = 1e-6) -> None:
        torch.testing.assert_close(logits[:5], torch.tensor(self.first, dtype=torch.float64), rtol=1e-4, atol=atol)
        torch.testing.assert_close(logits.sum(), torch.tensor(self.total, dtype=torch.float64), rtol=1e-4, atol=atol)
        assert int(logits.argmax()) == self.largest


# On the clip [1, 3, 64, 25, 2] of `clip`, weights from `fill`.
GOLDEN = {
    "ctrgcn": Golden((220.7858, 1525.319, 145.5713, 3.194962, -6.168789), 1646.679, 94),
    "ctrsgcn": Golden((40.13219, 27.29471, 10.9294, 36.19719, 20.19153), 190.8862, 94),
    "hdgcn": Golden((1.001551, 5.824686, 1.02651, -0.198329, 1.902188), 40.90549, 77),
    "stgcn": Golden((0.06459167, -0.2153002, -0.2058566, -0.7922298, 0.09362), -0.004979657, 10),
}


def with_own_graph(tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """ST-GCN's buffer A is the one tensor that the golden numbers leave at its own values."""
    from ski_edge.skeleton import get_layout
    from ski_edge.skeleton.graphs import stgcn_graph

    return {**tensors, "A": torch.from_numpy(stgcn_graph(get_layout("ntu25")))}


def network(family: str, tensors: dict[str, torch.Tensor], name: str, **config: object) -> torch.nn.Module:
    """A network of ours with official tensors in their own precision (conversion proper rounds to float32)."""
    import ski_edge
    from ski_edge.models.convert_pose import rename_tensors
    from ski_edge.models.pose_families import POSE_FAMILIES

    state = rename_tensors(tensors, POSE_FAMILIES[family])
    model = ski_edge.create_model(name, num_classes=len(state["head.weight"]), **config).double()
    left = model.load_state_dict(state, strict=False)
    assert not left.unexpected_keys
    assert all(key.endswith("num_batches_tracked") for key in left.missing_keys)
    return model


def clip(*shape: int) -> torch.Tensor:
    """The input of the golden numbers."""
    return torch.from_numpy(np.random.RandomState(0).standard_normal(shape))


def check_lengths(model: torch.nn.Module, bodies: int) -> None:
    """Awkward clip lengths: finite logits that do not depend on what else is in the batch."""
    joints = model.config.skeleton.layout.num_joints
    with torch.no_grad():
        for frames in (1, 63, 65):
            clips = clip(2, 3, frames, joints, bodies).float()
            features = model.features(clips)
            assert torch.isfinite(features).all()
            logits = model(clips[1:])
            assert logits.shape == (1, model.config.num_classes)
            torch.testing.assert_close(model.head(features)[1:], logits, rtol=1e-4, atol=1e-5)


@pytest.fixture(scope="session")
def official() -> SimpleNamespace:
    """Shapes by official name (`official.ctrgcn(classes=60)`, ...) and what tests of networks share."""
    shapes = (ctrgcn, mmcl, ctrsgcn, hdgcn, stgcn, costgcn, hyperformer)
    tools = (fill, filled, waves, with_own_graph, network, clip, check_lengths, Golden)
    return SimpleNamespace(GOLDEN=GOLDEN, **{item.__name__: item for item in (*shapes, *tools)})


@pytest.fixture(scope="session")
def sine_fill():
    """The rule of ski.md 5.6: a sine of position in the sorted official names and of the flat index."""

    def fill(state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        filled = {}
        for i, key in enumerate(sorted(state)):
            shape = state[key].shape
            s = np.sin(0.7 * np.arange(state[key].numel()) + 1.3 * (i % 17)).reshape(shape)
            norm_weight = len(shape) == 1 and key.endswith(".weight")
            values = np.log(10.0) if key == "logit_scale" else 1 + 0.1 * s if norm_weight else 0.08 * s
            filled[key] = torch.from_numpy(np.asarray(values, np.float32))
        return filled

    return fill
