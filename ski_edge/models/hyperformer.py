"""Hyperformer (Zhou et al., 2022): attention between joints that knows bones and groups of joints."""

from __future__ import annotations

from typing import Literal

import numpy as np
import torch
import torch.nn.functional as F
from pydantic import model_validator
from torch import Tensor, nn

from ski_edge.models.pose import PoseConfig, PoseNetwork, SpatialTemporalBlock
from ski_edge.models.temporal import MultiScaleTemporal
from ski_edge.skeleton.graphs import hops, hyperedges

HEADS = 9
_PROJECTION_GROUPS = 6  # of the convolution after the heads: six although there are nine heads, as in the original
WIDTH = {"base": 216, "small": 108, "tiny": 36}  # each divides by heads, projection groups and temporal branches
# Groups of the bone streams on NW-UCLA; its joint streams have the layout's own.
UCLA_BONE_HYPEREDGES = (0, 0, 0, 0, 0, 1, 1, 1, 0, 1, 1, 1, 0, 2, 2, 2, 0, 2, 2, 2)
_STRIDED = (4, 7)  # blocks that halve the frame rate


class HyperformerConfig(PoseConfig):
    model: Literal["hyperformer"] = "hyperformer"
    # Group of each joint, counted from 0; empty: the layout's own
    hyperedges: tuple[int, ...] = ()

    @model_validator(mode="after")
    def _groups_fit(self) -> HyperformerConfig:
        joints = self.skeleton.layout.num_joints
        groups = set(self.hyperedges)
        if groups and (len(self.hyperedges) != joints or groups != set(range(len(groups)))):
            raise ValueError(f"hyperedges must give each of {joints} joints a group, groups counted 0, 1, 2, ...")
        return self


class HyperedgeAttention(nn.Module):
    """x + Attn(LN(x)): scores of query n and key m add content, hop distance and m's group.

    Scores q.k + q.rpe + q.e + w.e. Keys and group features meet every query alike, so q.k + q.e is one product with
    k + e; q.rpe is taken per hop distance, then looked up per pair of joints.
    """

    def __init__(self, inputs: int, width: int, distance: np.ndarray, groups: np.ndarray) -> None:
        super().__init__()
        joints = len(distance)
        members = np.eye(groups.max() + 1)[groups]  # [V, G]
        self.norm = nn.LayerNorm(inputs)
        self.qkv = nn.Conv2d(inputs, 3 * width, 1, bias=False)
        self.group_features = nn.Conv2d(inputs, width, 1, bias=False)
        self.hop_features = nn.Parameter(torch.zeros(int(distance.max()) + 1, width))
        self.group_weight = nn.Parameter(torch.zeros(HEADS, width // HEADS))
        self.gain = nn.Parameter(torch.zeros(1))
        self.bias = nn.Parameter(torch.eye(joints).repeat(HEADS, 1, 1))  # attention that does not look at the clip
        self.project = nn.Conv2d(width, width, 1, groups=_PROJECTION_GROUPS)
        self.shortcut = nn.Identity() if inputs == width else nn.Conv2d(inputs, width, 1, bias=False)
        mean = torch.tensor(members / members.sum(axis=0), dtype=torch.float32)
        pairs = np.arange(joints)[:, None] * (distance.max() + 1) + distance  # [n, m] -> position in (n, hop)
        self.register_buffer("mean", mean, persistent=False)
        self.register_buffer("groups", torch.tensor(groups), persistent=False)
        self.register_buffer("pairs", torch.tensor(pairs.ravel()), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """[N, C, T, V] -> [N, C', T, V]."""
        # The group mean is taken before the LayerNorm, queries and keys after it, as in the original.
        group = self.group_features(x @ self.mean).unflatten(1, (HEADS, -1)).permute(0, 3, 1, 4, 2)  # [N, T, H, G, c]
        # Channels last: joints of all frames are rows, and every later lookup moves rows, not single numbers.
        normed = self.norm(x.permute(0, 2, 3, 1))
        qkv = F.linear(normed, self.qkv.weight.flatten(1)).unflatten(3, (3, HEADS, -1))
        query, key, value = qkv.permute(3, 0, 1, 4, 2, 5).unbind()  # [N, T, H, V, c]
        # Keys and group features meet every query alike; what a group weighs for itself is one number per group.
        own = (group @ self.group_weight.unsqueeze(2)).index_select(3, self.groups).transpose(3, 4)
        score = query @ (key + group.index_select(3, self.groups)).transpose(3, 4) + own
        table = self.hop_features.unflatten(1, (HEADS, -1)).permute(1, 2, 0)  # [H, c, hop]
        by_hop = (query @ table).flatten(3).index_select(3, self.pairs)
        score = score + by_hop.unflatten(3, (len(self.groups), -1))
        attention = self.gain * (score * query.shape[-1] ** -0.5).softmax(dim=-1) + self.bias
        y = (attention @ value).transpose(2, 3).flatten(3)  # [N, T, V, C']
        return self.project(y.permute(0, 3, 1, 2)) + self.shortcut(x)


class Hyperformer(PoseNetwork):
    """clip [N, 3, T, V, M] -> logits [N, K]; ten blocks of one width, any T."""

    def __init__(self, config: HyperformerConfig) -> None:
        layout, width = config.skeleton.layout, WIDTH[config.arch]
        groups = np.array(config.hyperedges) if config.hyperedges else hyperedges(layout)
        distance = hops(layout)
        blocks = []
        for i in range(10):
            inputs, stride = width if i else 3, 2 if i in _STRIDED else 1
            spatial = HyperedgeAttention(inputs, width, distance, groups)
            blocks.append(SpatialTemporalBlock(spatial, MultiScaleTemporal(width, stride), inputs, width, stride))
        super().__init__(config, nn.Sequential(*blocks), width)
