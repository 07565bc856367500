"""CTR-GCN (Chen et al., ICCV 2021): a graph of its own for every channel, refined by the clip it sees."""

from __future__ import annotations

from typing import Literal

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ski_edge.models.pose import (
    BASE_WIDTH,
    ConvNorm,
    PoseConfig,
    PoseNetwork,
    SpatialTemporalBlock,
    conv1x1,
    trunk_widths,
)
from ski_edge.models.temporal import MultiScaleTemporal
from ski_edge.skeleton.graphs import spatial_graph


class CTRGCNConfig(PoseConfig):
    model: Literal["ctrgcn"] = "ctrgcn"
    # pyskl's has one more ReLU, after the temporal branches, and keeps 8 relation channels up to 16 input channels
    variant: Literal["original", "pyskl"] = "original"


class RefinedGraphConv(nn.Module):
    """Three graphs per channel, each refined by the clip: G = gain * expand(tanh(q_u - k_v)) + A (eq. 3 to 5).

    The originals keep three units with four 1x1 convolutions each; side by side they are one `relation` (queries of
    the three subsets, then their keys), one `value` and one grouped `expand`, and the three contractions are one
    matrix product over (subset, source joint). Query and key are linear and only their mean over time is used, so they
    see the mean alone: the same numbers for a T-th of the work.
    """

    def __init__(self, inputs: int, outputs: int, adjacency: np.ndarray, reduced: int) -> None:
        super().__init__()
        subsets = len(adjacency)
        self.relation = conv1x1(inputs, 2 * subsets * reduced, parts=2 * subsets)
        self.value = conv1x1(inputs, subsets * outputs, parts=subsets)
        self.expand = conv1x1(subsets * reduced, subsets * outputs, parts=subsets, groups=subsets)
        self.adjacency = nn.Parameter(torch.tensor(adjacency, dtype=torch.float32))  # [S, destination, source]
        self.gain = nn.Parameter(torch.zeros(1))
        self.norm = nn.BatchNorm2d(outputs)
        nn.init.constant_(self.norm.weight, 1e-6)  # a block starts as its shortcut
        self.shortcut = nn.Identity() if inputs == outputs else ConvNorm(inputs, outputs)

    def forward(self, x: Tensor) -> Tensor:
        """[N, C, T, V] -> [N, C', T, V]."""
        subsets = len(self.adjacency)
        graph = self.topology(x).permute(0, 2, 1, 4, 3).flatten(2, 3)  # [N, C', S * v, u]
        value = self.value(x).unflatten(1, (subsets, -1)).permute(0, 2, 3, 1, 4).flatten(3)  # [N, C', T, S * v]
        return (self.norm(value @ graph) + self.shortcut(x)).relu()

    def topology(self, x: Tensor) -> Tensor:
        """[N, C, T, V] -> refined graphs [N, S, C', destination, source]."""
        query, key = self.relation(x.mean(dim=2, keepdim=True)).squeeze(2).chunk(2, dim=1)
        # Source before destination, as `forward` contracts them; the gain is applied to the few weights instead of the
        # many relations.
        relations = torch.tanh(query.unsqueeze(2) - key.unsqueeze(3))  # [N, S * R, v, u]
        weight, bias, subsets = self.gain * self.expand.weight, self.gain * self.expand.bias, len(self.adjacency)
        refined = F.conv2d(relations, weight, bias, groups=subsets).unflatten(1, (subsets, -1))
        return (refined + self.adjacency.transpose(1, 2).unsqueeze(1)).transpose(3, 4)


class CTRGCN(PoseNetwork):
    """clip [N, 3, T, V, M] -> logits [N, K]; ten blocks, any T."""

    def __init__(self, config: CTRGCNConfig) -> None:
        adjacency = spatial_graph(config.skeleton.layout)
        pyskl = config.variant == "pyskl"
        widths = trunk_widths(BASE_WIDTH[config.arch])
        blocks = []
        for inputs, outputs, stride in widths:
            reduced = 8 if inputs in (3, 9) or (pyskl and inputs <= 16) else inputs // 8
            spatial = RefinedGraphConv(inputs, outputs, adjacency, reduced)
            temporal = MultiScaleTemporal(outputs, stride, final_relu=pyskl)
            blocks.append(SpatialTemporalBlock(spatial, temporal, inputs, outputs, stride, residual=bool(blocks)))
        super().__init__(config, nn.Sequential(*blocks), widths[-1][1])
