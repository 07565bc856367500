"""HD-GCN (Lee et al., ICCV 2023): graphs between the levels of a hierarchy of joints, weighted by attention."""

from __future__ import annotations

from typing import Literal

import numpy as np
import torch
import torch.nn.functional as F
from pydantic import Field, model_validator
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
from ski_edge.skeleton.graphs import hd_graph, hd_groups

_JOINT_NEIGHBOURS = 5  # k of the EdgeConv over joints
_LEVEL_NEIGHBOURS = 3  # k of the EdgeConv over levels


class HDGCNConfig(PoseConfig):
    model: Literal["hdgcn"] = "hdgcn"
    # Joint the hierarchy starts from; HD-GCN trains one network each for 0, 1 and 20 of NTU-25 (its CoM 1, 2 and 21).
    centre: int = Field(0, ge=0, le=255)

    @model_validator(mode="after")
    def _is_a_joint(self) -> HDGCNConfig:
        if self.centre >= self.skeleton.layout.num_joints:
            raise ValueError(f"centre {self.centre} is not a joint of {self.skeleton.layout.name}")
        return self


class EdgeConv(nn.Module):
    """For each point the largest of conv(neighbour - point, point) over its `count` nearest points, itself included.

    groups: independent sets of channels, each with neighbours of its own.
    """

    def __init__(self, channels: int, groups: int, count: int) -> None:
        super().__init__()
        self.groups, self.count = groups, count
        self.conv = conv1x1(2 * groups * channels, groups * channels, bias=False, parts=groups, groups=groups)
        self.norm = nn.BatchNorm2d(groups * channels)

    def forward(self, points: Tensor) -> Tensor:
        """[N, G * C, P] -> [N, G * C, P]."""
        x = points.unflatten(1, (self.groups, -1))  # [N, G, C, P]
        # Nearest first: -|x_q - x_p|^2 without the term that is the same for all p.
        closeness = 2 * x.transpose(2, 3) @ x - x.square().sum(dim=2, keepdim=True)  # [N, G, q, p]
        nearest = closeness.topk(self.count, dim=3).indices.unsqueeze(2)  # [N, G, 1, q, k]
        channels, among = x.shape[2], x.shape[3]
        neighbour = x.unsqueeze(3).expand(-1, -1, -1, among, -1).gather(4, nearest.expand(-1, -1, channels, -1, -1))
        own = x.unsqueeze(4).expand_as(neighbour)
        edges = torch.cat([neighbour - own, own], dim=2).flatten(1, 2)  # [N, G * 2C, q, k]
        return F.leaky_relu(self.norm(self.conv(edges)), 0.2).amax(dim=3)


class LevelAttention(nn.Module):
    """Sum over levels, each channel of each weighted by what its joints do (attention-guided hierarchy aggregation)."""

    def __init__(self, channels: int, levels: np.ndarray) -> None:
        super().__init__()
        width = channels // 4
        mean = torch.tensor(levels / levels.sum(axis=1, keepdims=True), dtype=torch.float32)
        self.register_buffer("mean", mean, persistent=False)  # [L, V]: averages the joints of each level
        self.reduce = ConvNorm(channels, width)
        self.edge = EdgeConv(width, 1, min(_LEVEL_NEIGHBOURS, len(levels)))
        self.expand = nn.Conv1d(width, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        """[N, L, C, T, V] -> [N, C, T, V]."""
        peak = self.reduce(x.amax(dim=3).transpose(1, 2)).relu()  # [N, C / 4, L, V]
        levels = (peak * self.mean).sum(dim=3)
        weight = self.expand(self.edge(levels)).sigmoid()  # [N, C, L]
        return (x * weight.transpose(1, 2)[:, :, :, None, None]).sum(dim=1)


class HierarchyConv(nn.Module):
    """Per level: three graphs (within, outward, inward) and an EdgeConv, each a quarter of the channels.

    The originals keep L levels times four units; what they do alike is done once here, with levels (and subsets) as
    groups of channels in the order (level, subset, channel).
    """

    def __init__(self, inputs: int, outputs: int, graph: np.ndarray, levels: np.ndarray | None) -> None:
        super().__init__()
        count, subsets, joints, _ = graph.shape
        width = outputs // (subsets + 1)
        units = count * subsets
        self.adjacency = nn.Parameter(torch.tensor(graph, dtype=torch.float32))  # [L, S, destination, source]
        self.reduce = conv1x1(inputs, count * width, parts=count)
        self.reduce_norm = nn.BatchNorm2d(count * width)
        self.value = conv1x1(units * width, units * width, parts=units, groups=units)
        self.value_norm = nn.BatchNorm2d(units * width)
        self.edge = EdgeConv(width, count, min(_JOINT_NEIGHBOURS, joints))
        self.attention = None if levels is None else LevelAttention(outputs, levels)
        self.norm = nn.BatchNorm2d(outputs)
        nn.init.constant_(self.norm.weight, 1e-6)  # a block starts as its shortcut
        self.shortcut = nn.Identity() if inputs == outputs else ConvNorm(inputs, outputs)

    def forward(self, x: Tensor) -> Tensor:
        """[N, C, T, V] -> [N, C', T, V]."""
        count, subsets, joints, _ = self.adjacency.shape
        frames = x.shape[2]
        reduced = self.reduce_norm(self.reduce(x)).relu()  # [N, L * R, T, u]
        graph = self.adjacency.permute(0, 3, 1, 2).flatten(2)  # [L, u, S * v]
        mixed = reduced.unflatten(1, (count, -1)).flatten(2, 3) @ graph  # [N, L, R * T, S * v]
        mixed = mixed.unflatten(3, (subsets, joints)).unflatten(2, (-1, frames))  # [N, L, R, T, S, v]
        mixed = mixed.permute(0, 1, 4, 2, 3, 5).flatten(1, 3)
        value = self.value_norm(self.value(mixed)).unflatten(1, (count, -1))  # [N, L, S * R, T, V]
        edge = self.edge(reduced.mean(dim=2)).unflatten(1, (count, -1)).unsqueeze(3)
        y = torch.cat([value, edge.expand(-1, -1, -1, frames, -1)], dim=2)  # [N, L, C', T, V]
        y = y.sum(dim=1) if self.attention is None else self.attention(y)
        return (self.norm(y) + self.shortcut(x)).relu()


class HDGCN(PoseNetwork):
    """clip [N, 3, T, V, M] -> logits [N, K]; ten blocks, any T."""

    def __init__(self, config: HDGCNConfig) -> None:
        layout = config.skeleton.layout
        graph, groups = hd_graph(layout, config.centre), hd_groups(layout, config.centre)
        levels = np.zeros((len(graph), layout.num_joints))
        for row, inner, outer in zip(levels, groups[:-1], groups[1:], strict=True):
            row[[*inner, *outer]] = 1
        widths = trunk_widths(BASE_WIDTH[config.arch])
        blocks = []
        for inputs, outputs, stride in widths:
            spatial = HierarchyConv(inputs, outputs, graph, levels if blocks else None)  # the first block just sums
            temporal = MultiScaleTemporal(outputs, stride)
            blocks.append(SpatialTemporalBlock(spatial, temporal, inputs, outputs, stride, residual=bool(blocks)))
        super().__init__(config, nn.Sequential(*blocks), widths[-1][1])
