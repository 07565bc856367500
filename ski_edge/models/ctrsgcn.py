"""CTRS-GCN, the baseline of the CTR-GCN paper: three learned graphs for all channels, single-scale time."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn

from ski_edge.models.pose import BASE_WIDTH, PoseConfig, PoseNetwork, SpatialTemporalBlock, trunk_widths
from ski_edge.models.stgcn import MixedGraphConv
from ski_edge.models.temporal import TapsNorm

_TAPS = 5  # frames of the temporal convolution
_SUBSETS = 3


class CTRSGCNConfig(PoseConfig):
    model: Literal["ctrsgcn"] = "ctrsgcn"


class LearnedGraphConv(MixedGraphConv):
    """Graphs that start as identities, with columns scaled to length one; the bones of the layout play no part."""

    def __init__(self, inputs: int, outputs: int, joints: int) -> None:
        super().__init__(inputs, outputs, _SUBSETS)
        self.adjacency = nn.Parameter(torch.eye(joints).repeat(_SUBSETS, 1, 1))  # [S, source, destination]

    def forward(self, x: Tensor) -> Tensor:
        length = self.adjacency.square().sum(dim=1, keepdim=True).sqrt()
        return super().forward(x, self.adjacency / (length + 1e-4))


class CTRSGCN(PoseNetwork):
    """clip [N, 3, T, V, M] -> logits [N, K]; ten blocks, any T."""

    def __init__(self, config: CTRSGCNConfig) -> None:
        joints = config.skeleton.layout.num_joints
        widths = trunk_widths(BASE_WIDTH[config.arch])
        blocks = []
        for inputs, outputs, stride in widths:
            spatial = LearnedGraphConv(inputs, outputs, joints)
            temporal = TapsNorm(outputs, _TAPS, stride)
            blocks.append(SpatialTemporalBlock(spatial, temporal, inputs, outputs, stride, residual=bool(blocks)))
        super().__init__(config, nn.Sequential(*blocks), widths[-1][1])
