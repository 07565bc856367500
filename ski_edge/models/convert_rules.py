"""How official names of skeleton networks become ours: one line per kind of tensor.

Our networks do side by side what the originals keep apart (three subsets, four branches, six levels), so several
official tensors become one of ours, joined in the order given by `{p}` and `{q}`.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

_LEAF = r"(?P<leaf>weight|bias|running_mean|running_var|num_batches_tracked)"


@dataclass(frozen=True, slots=True)
class Rule:
    """Official name -> our name. `{b}` a block, `{p}` and `{q}` parts of the join, a final `*` any leaf of a layer.

    Of several rules that fit a name, the first one counts.
    """

    source: str
    target: str  # `{b}`: our block, counted from 0; `*`: the same leaf
    first: int = 0  # place of part 0 in the join
    per_p: int = 1  # places that one step of {p} takes
    axis: int | None = 0  # that parts are joined along; None: stacked along a new first axis
    change: Callable[[Tensor], Tensor] | None = None
    pattern: re.Pattern[str] = field(init=False)

    def __post_init__(self) -> None:
        text = re.escape(self.source).replace(r"\*", _LEAF)
        for name in "bpq":
            text = text.replace(rf"\{{{name}\}}", rf"(?P<{name}>[0-9]{{1,4}})")
        object.__setattr__(self, "pattern", re.compile(text))

    def match(self, name: str, first_block: int) -> tuple[str, int] | None:
        """(our name, place in the join), or None where the rule is about something else."""
        found = self.pattern.fullmatch(name)
        if not found:
            return None
        groups = found.groupdict()
        target = self.target.replace("*", groups.get("leaf") or "")
        if "b" in groups:
            target = target.replace("{b}", str(int(groups["b"]) - first_block))
        return target, self.first + self.per_p * int(groups.get("p") or 0) + int(groups.get("q") or 0)


def _matrix(tensor: Tensor) -> Tensor:
    """The weight of a 1x1 convolution [K, C, 1, 1] -> of a linear layer [K, C]."""
    return tensor.flatten(1)


def _transposed(tensor: Tensor) -> Tensor:
    return tensor.transpose(-2, -1)


def _ends(
    head: str = "fc", norm: str = "data_bn", change: Callable[[Tensor], Tensor] | None = None
) -> tuple[Rule, ...]:
    return (
        Rule(f"{norm}.*", "input_norm.*"),
        Rule(f"{head}.weight", "head.weight", change=change),
        Rule(f"{head}.bias", "head.bias"),
    )


def _projections(block: str, shortcut: str | None, skip: tuple[str, str]) -> tuple[Rule, ...]:
    """1x1 convolution and norm, around the graph convolution (`shortcut` .0 and .1) and around the block."""
    conv, norm = skip
    inner = (
        Rule(f"{block}.{shortcut}.0.*", "trunk.{b}.spatial.shortcut.conv.*"),
        Rule(f"{block}.{shortcut}.1.*", "trunk.{b}.spatial.shortcut.norm.*"),
    )
    return (
        *(inner if shortcut else ()),
        Rule(f"{block}.{conv}.*", "trunk.{b}.skip.conv.*"),
        Rule(f"{block}.{norm}.*", "trunk.{b}.skip.norm.*"),
    )


def _branches(block: str, separate_bias: bool = False) -> tuple[Rule, ...]:
    """The four branches of the multi-scale temporal module. separate_bias: HD-GCN adds it after the convolution."""
    at, ours = f"{block}.tcn1.branches", "trunk.{b}.temporal"
    taps = []
    for branch in (0, 1):
        bias = f"{at}.{branch}.3.bias" if separate_bias else f"{at}.{branch}.3.conv.bias"
        taps += [
            Rule(f"{at}.{branch}.3.conv.weight", f"{ours}.dilated.{branch}.weight"),
            Rule(bias, f"{ours}.dilated.{branch}.bias", change=Tensor.flatten if separate_bias else None),
        ]
    return (
        *taps,
        Rule(f"{at}.3.0.*", f"{ours}.point.*"),
        Rule(f"{at}.3.1.*", f"{ours}.norm.*", first=3),
        Rule(f"{at}.2.4.*", f"{ours}.norm.*", first=2),
        Rule(f"{at}.{{p}}.3.bn.*", f"{ours}.norm.*"),
        Rule(f"{at}.{{p}}.0.*", f"{ours}.reduce.*"),
        Rule(f"{at}.{{p}}.1.*", f"{ours}.reduce_norm.*"),
    )


_RESIDUAL = ("residual.conv", "residual.bn")


def _ctr(block: str, adjacency: str, swapped: bool, ends: tuple[Rule, ...]) -> tuple[Rule, ...]:
    """CTR-GCN. swapped: pyskl contracts the other index, so queries are keys, the sign of `expand` turns, A too."""
    unit, ours = f"{block}.gcn1.convs.{{p}}", "trunk.{b}.spatial"
    return (
        *ends,
        Rule(f"{unit}.conv1.*", f"{ours}.relation.*", first=3 if swapped else 0),
        Rule(f"{unit}.conv2.*", f"{ours}.relation.*", first=0 if swapped else 3),
        Rule(f"{unit}.conv3.*", f"{ours}.value.*"),
        Rule(f"{unit}.conv4.weight", f"{ours}.expand.weight", change=torch.neg if swapped else None),
        Rule(f"{unit}.conv4.bias", f"{ours}.expand.bias"),
        Rule(f"{block}.gcn1.{adjacency}", f"{ours}.adjacency", change=_transposed if swapped else None),
        Rule(f"{block}.gcn1.alpha", f"{ours}.gain"),
        Rule(f"{block}.gcn1.bn.*", f"{ours}.norm.*"),
        *_projections(block, "gcn1.down", _RESIDUAL),
        *_branches(block),
    )


CTRGCN = _ctr("l{b}", "PA", swapped=False, ends=_ends())
PYSKL_CTRGCN = _ctr("backbone.net.{b}", "A", swapped=True, ends=_ends(head="cls_head.fc_cls", norm="backbone.data_bn"))

CTRSGCN = (
    *_ends(),
    Rule("l{b}.gcn1.PA", "trunk.{b}.spatial.adjacency"),
    Rule("l{b}.gcn1.conv_d.{p}.weight", "trunk.{b}.spatial.conv.weight", axis=1),
    Rule("l{b}.gcn1.conv_d.{p}.bias", "trunk.{b}.spatial.bias", axis=None),
    Rule("l{b}.gcn1.bn.*", "trunk.{b}.spatial.norm.*"),
    *_projections("l{b}", "gcn1.down", _RESIDUAL),
    Rule("l{b}.tcn1.conv.*", "trunk.{b}.temporal.conv.*"),
    Rule("l{b}.tcn1.bn.*", "trunk.{b}.temporal.norm.*"),
)

# HD-GCN: units of a level before its EdgeConv; it has six levels, whatever the centre.
_SUBSETS, _LAST_LEVEL = 3, 5
HDGCN = (
    *_ends(),
    Rule("l{b}.gcn1.PA", "trunk.{b}.spatial.adjacency"),
    Rule("l{b}.gcn1.conv_down.{p}.0.*", "trunk.{b}.spatial.reduce.*"),
    Rule("l{b}.gcn1.conv_down.{p}.1.*", "trunk.{b}.spatial.reduce_norm.*"),
    Rule("l{b}.gcn1.conv.{p}.{q}.0.*", "trunk.{b}.spatial.value.*", per_p=_SUBSETS),
    Rule("l{b}.gcn1.conv.{p}.{q}.1.*", "trunk.{b}.spatial.value_norm.*", per_p=_SUBSETS),
    Rule("l{b}.gcn1.conv.{p}.3.conv.0.weight", "trunk.{b}.spatial.edge.conv.weight"),
    Rule("l{b}.gcn1.conv.{p}.3.conv.1.*", "trunk.{b}.spatial.edge.norm.*"),
    # The units of the last level are saved a second time, under these names.
    Rule("l{b}.gcn1.conv_d.{q}.0.*", "trunk.{b}.spatial.value.*", first=_LAST_LEVEL * _SUBSETS),
    Rule("l{b}.gcn1.conv_d.{q}.1.*", "trunk.{b}.spatial.value_norm.*", first=_LAST_LEVEL * _SUBSETS),
    Rule("l{b}.gcn1.conv_d.3.conv.0.weight", "trunk.{b}.spatial.edge.conv.weight", first=_LAST_LEVEL),
    Rule("l{b}.gcn1.conv_d.3.conv.1.*", "trunk.{b}.spatial.edge.norm.*", first=_LAST_LEVEL),
    Rule("l{b}.gcn1.aha.conv_down.0.*", "trunk.{b}.spatial.attention.reduce.conv.*"),
    Rule("l{b}.gcn1.aha.conv_down.1.*", "trunk.{b}.spatial.attention.reduce.norm.*"),
    Rule("l{b}.gcn1.aha.edge_conv.conv.0.weight", "trunk.{b}.spatial.attention.edge.conv.weight"),
    Rule("l{b}.gcn1.aha.edge_conv.conv.1.*", "trunk.{b}.spatial.attention.edge.norm.*"),
    Rule("l{b}.gcn1.aha.aggregate.*", "trunk.{b}.spatial.attention.expand.*"),
    Rule("l{b}.gcn1.bn.*", "trunk.{b}.spatial.norm.*"),
    *_projections("l{b}", "gcn1.down", _RESIDUAL),
    *_branches("l{b}", separate_bias=True),
)

HYPERFORMER = (
    *_ends(),
    Rule("l{b}.vit1.norm1.*", "trunk.{b}.spatial.norm.*"),
    Rule("l{b}.vit1.attn.q.weight", "trunk.{b}.spatial.qkv.weight"),
    Rule("l{b}.vit1.attn.kv.weight", "trunk.{b}.spatial.qkv.weight", first=1),
    Rule("l{b}.vit1.attn.rpe", "trunk.{b}.spatial.hop_features"),
    Rule("l{b}.vit1.attn.w1", "trunk.{b}.spatial.group_weight"),
    Rule("l{b}.vit1.attn.alpha", "trunk.{b}.spatial.gain"),
    Rule("l{b}.vit1.attn.outer", "trunk.{b}.spatial.bias"),
    Rule("l{b}.vit1.attn.proj.*", "trunk.{b}.spatial.project.*"),
    Rule("l{b}.vit1.pe_proj.weight", "trunk.{b}.spatial.group_features.weight"),
    Rule("l{b}.vit1.skip_proj.weight", "trunk.{b}.spatial.shortcut.weight"),
    *_projections("l{b}", None, _RESIDUAL),
    *_branches("l{b}"),
)


def _in_trunk(rules: tuple[Rule, ...]) -> tuple[Rule, ...]:
    """ST-GCN's blocks lie below `trunk.blocks`, beside the graph they share."""
    return tuple(replace(rule, target=rule.target.replace("trunk.{b}", "trunk.blocks.{b}")) for rule in rules)


def _stgcn(head: str) -> tuple[Rule, ...]:
    block = "st_gcn_networks.{b}"
    return _in_trunk(
        (
            *_ends(head, change=_matrix if head == "fcn" else None),
            Rule("A", "trunk.adjacency"),
            Rule("edge_importance.{b}", "trunk.{b}.spatial.importance"),
            Rule(f"{block}.gcn.conv.*", "trunk.{b}.spatial.value.*"),
            Rule(f"{block}.tcn.0.*", "trunk.{b}.spatial.norm.*"),
            Rule(f"{block}.tcn.2.*", "trunk.{b}.temporal.conv.*"),
            Rule(f"{block}.tcn.3.*", "trunk.{b}.temporal.norm.*"),
            *_projections(block, None, ("residual.0", "residual.1")),
        )
    )


STGCN = _stgcn("fcn")
CROSSCLR_STGCN = _stgcn("fc")

COSTGCN = _in_trunk(
    (
        *_ends(),
        Rule("layers.layer{b}.gcn.A", "trunk.adjacency"),  # the same constant in every block; some versions lack it
        Rule("layers.layer{b}.gcn.graph_attn", "trunk.{b}.spatial.importance"),
        Rule("layers.layer{b}.gcn.g_conv.{p}.weight", "trunk.{b}.spatial.conv.weight", axis=1),
        Rule("layers.layer{b}.gcn.g_conv.{p}.bias", "trunk.{b}.spatial.bias", axis=None),
        Rule("layers.layer{b}.gcn.bn.*", "trunk.{b}.spatial.norm.*"),
        Rule("layers.layer{b}.tcn.t_conv.*", "trunk.{b}.temporal.conv.*"),
        Rule("layers.layer{b}.tcn.bn.*", "trunk.{b}.temporal.norm.*"),
        *_projections("layers.layer{b}", "gcn.gcn_residual", ("residual.t_conv", "residual.bn")),
    )
)
