"""BatchNorm folded away, exactly: a network in eval mode becomes one whose convolutions carry the norms' numbers.

`folded(model)` works on a copy. What cannot move into a convolution (a norm after a max-pool, after an
attention-weighted sum, or after the joints are mixed) stays as one multiplication and addition per channel.
"""

from __future__ import annotations

import copy
import functools

import torch
from torch import Tensor, nn

from ski_edge.models.clip import ClipModel
from ski_edge.models.ctrgcn import RefinedGraphConv
from ski_edge.models.hdgcn import EdgeConv, HierarchyConv
from ski_edge.models.pose import ConvNorm, PoseNetwork
from ski_edge.models.stem import ConvStem
from ski_edge.models.stgcn import MixedGraphConv, PartitionConv
from ski_edge.models.temporal import MultiScaleTemporal, TapsNorm


class ChannelAffine(nn.Module):
    """x [N, C, T, V] -> x * scale + shift, per channel."""

    def __init__(self, scale: Tensor, shift: Tensor) -> None:
        super().__init__()
        self.register_buffer("scale", scale[:, None, None].clone())
        self.register_buffer("shift", shift[:, None, None].clone())

    def forward(self, x: Tensor) -> Tensor:
        return x * self.scale + self.shift


class ChannelShift(nn.Module):
    """x [N, C, T, V] -> x + shift, per channel."""

    def __init__(self, shift: Tensor) -> None:
        super().__init__()
        self.register_buffer("shift", shift[:, None, None].clone())

    def forward(self, x: Tensor) -> Tensor:
        return x + self.shift


def folded_stem(model: ClipModel) -> ClipModel:
    """The model itself, or where its vision tower begins with convolutions, a copy whose stem holds no BatchNorm."""
    if not isinstance(model.clip.visual.conv1, ConvStem):
        return model
    twin = copy.deepcopy(model).eval()
    for module in list(twin.clip.visual.conv1.modules()):
        if isinstance(module, nn.Sequential) and isinstance(module[0], nn.Conv2d):
            convolution, norm = module[0], module[1]
            module[0], module[1] = nn.utils.fuse_conv_bn_eval(convolution, norm), nn.Identity()
    return twin


@torch.no_grad()
def folded(model: PoseNetwork) -> PoseNetwork:
    """A copy of the model, in eval mode, whose trunk holds no BatchNorm and gives the same numbers."""
    twin = copy.deepcopy(model).eval()
    for module in twin.trunk.modules():
        _fold(module)
    left = [name for name, module in twin.trunk.named_modules() if isinstance(module, nn.BatchNorm2d)]
    assert not left, f"no rule folds {left[:3]} of {model.config.model}"
    return twin


def affine(norm: nn.BatchNorm1d | nn.BatchNorm2d) -> tuple[Tensor, Tensor]:
    """(scale, shift) [C] of a BatchNorm in eval mode."""
    scale = norm.weight / torch.sqrt(norm.running_var + norm.eps)
    return scale, norm.bias - norm.running_mean * scale


def _into(conv: nn.Conv2d, scale: Tensor, shift: Tensor) -> None:
    """conv followed by scale and shift becomes conv."""
    conv.weight.mul_(scale[:, None, None, None])
    bias = shift if conv.bias is None else conv.bias * scale + shift
    conv.bias = nn.Parameter(bias.clone())


@functools.singledispatch
def _fold(module: nn.Module) -> None:
    """Modules without norms of their own."""


@_fold.register
def _(module: ConvNorm) -> None:
    _into(module.conv, *affine(module.norm))
    module.norm = nn.Identity()


@_fold.register
def _(module: TapsNorm) -> None:
    _into(module.conv, *affine(module.norm))
    module.norm = nn.Identity()


@_fold.register
def _(module: MultiScaleTemporal) -> None:
    _into(module.reduce, *affine(module.reduce_norm))
    module.reduce_norm = nn.Identity()
    scale, shift = (part.chunk(4) for part in affine(module.norm))
    for branch, conv in ((0, module.dilated[0]), (1, module.dilated[1]), (3, module.point)):
        _into(conv, scale[branch], shift[branch])
    module.pool = nn.Sequential(module.pool, ChannelAffine(scale[2], shift[2]))
    module.norm = nn.Identity()


@_fold.register
def _(module: RefinedGraphConv) -> None:
    # All subsets of a channel share its scale; the shift must not pass through the graphs.
    scale, shift = affine(module.norm)
    all_subsets = scale.repeat(len(module.adjacency))
    _into(module.value, all_subsets, torch.zeros_like(all_subsets))
    module.norm = ChannelShift(shift)
    module.expand.weight.mul_(module.gain)
    module.expand.bias.mul_(module.gain)
    module.gain = nn.Parameter(torch.ones_like(module.gain))


@_fold.register
def _(module: PartitionConv) -> None:
    scale, shift = affine(module.norm)
    all_subsets = scale.repeat(len(module.importance))
    _into(module.value, all_subsets, torch.zeros_like(all_subsets))
    module.norm = ChannelShift(shift)


@_fold.register
def _(module: MixedGraphConv) -> None:
    scale, shift = affine(module.norm)
    module.conv.weight.mul_(scale[:, None, None, None])
    total = module.bias.sum(dim=0) * scale + shift
    module.bias = nn.Parameter(torch.cat([total[None], torch.zeros_like(module.bias[1:])]))
    module.norm = nn.Identity()


@_fold.register
def _(module: EdgeConv) -> None:
    _into(module.conv, *affine(module.norm))
    module.norm = nn.Identity()


@_fold.register
def _(module: HierarchyConv) -> None:
    _into(module.reduce, *affine(module.reduce_norm))
    _into(module.value, *affine(module.value_norm))
    module.reduce_norm, module.value_norm = nn.Identity(), nn.Identity()
    module.norm = ChannelAffine(*affine(module.norm))
