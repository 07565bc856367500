"""ST-GCN (Yan et al., AAAI 2018), and the form CoST-GCN gives it (Hedegaard et al., Pattern Recognition 2023)."""

from __future__ import annotations

import math
from typing import Literal

import torch
import torch.nn.functional as F
from pydantic import Field, model_validator
from torch import Tensor, nn

from ski_edge.errors import BadInput
from ski_edge.models.pose import (
    BASE_WIDTH,
    ConvNorm,
    PoseConfig,
    PoseNetwork,
    SpatialTemporalBlock,
    conv1x1,
    trunk_widths,
)
from ski_edge.models.temporal import TapsNorm
from ski_edge.skeleton.graphs import spatial_graph, stgcn_graph

_TAPS = 9  # frames of the temporal convolution
_BLOCKS = 10
RECEPTIVE_FIELD = 1 + _BLOCKS * (_TAPS - 1)  # frames that one output sees where nothing is padded or strided


class STGCNConfig(PoseConfig):
    model: Literal["stgcn"] = "stgcn"
    # original: 1x1 convolution before the joints are mixed, input statistics shared by the bodies (yysijie, CrosSCLR).
    # continual: convolutions after it, a shortcut around each graph convolution, statistics per body (CoST-GCN).
    variant: Literal["original", "continual"] = "original"
    # What the weights are trained to. padded: time is padded and halved twice, as in the original. unpadded: CoST-GCN*,
    # the same tensors without padding and stride, which a stream computes exactly; clips need RECEPTIVE_FIELD frames.
    temporal: Literal["padded", "unpadded"] = "padded"
    block_dropout: float = Field(0.0, ge=0, lt=1)  # after the temporal convolution; ST-GCN's supervised configs: 0.5
    final_width: int | None = Field(None, gt=0, le=4096)  # of the last block; CrosSCLR widens it, None: as the others

    @model_validator(mode="after")
    def _clips_are_long_enough(self) -> STGCNConfig:
        frames = self.skeleton.resample.frames
        if self.temporal == "unpadded" and frames < RECEPTIVE_FIELD:
            raise ValueError(
                f"temporal unpadded needs clips of at least {RECEPTIVE_FIELD} frames, skeleton.resample gives {frames}"
            )
        return self


class PartitionConv(nn.Module):
    """relu(norm(sum over subsets of value_k(x) @ A_k)): one 1x1 convolution gives the values of all subsets."""

    def __init__(self, inputs: int, outputs: int, joints: int, subsets: int = 3) -> None:
        super().__init__()
        self.value = conv1x1(inputs, subsets * outputs)
        self.importance = nn.Parameter(torch.ones(subsets, joints, joints))  # learned weight of every link
        self.norm = nn.BatchNorm2d(outputs)

    def forward(self, x: Tensor, adjacency: Tensor) -> Tensor:
        """[N, C, T, V], [S, source, destination] -> [N, C', T, V]."""
        graph = (adjacency * self.importance).flatten(0, 1)  # [S * v, w]
        value = self.value(x).unflatten(1, (len(adjacency), -1)).permute(0, 2, 3, 1, 4).flatten(3)  # [N, C', T, S * v]
        return self.norm(value @ graph).relu()


class MixedGraphConv(nn.Module):
    """relu(norm(sum over subsets of conv_k(x @ A_k)) + shortcut): joints are mixed first, then channels."""

    def __init__(self, inputs: int, outputs: int, subsets: int = 3) -> None:
        super().__init__()
        self.conv = nn.Conv2d(subsets * inputs, outputs, 1, bias=False)  # the subsets' convolutions, side by side
        self.bias = nn.Parameter(torch.zeros(subsets, outputs))  # one per subset as in the originals; they just add up
        self.norm = nn.BatchNorm2d(outputs)
        self.shortcut = nn.Identity() if inputs == outputs else ConvNorm(inputs, outputs)
        nn.init.normal_(self.conv.weight, 0, math.sqrt(2 / (outputs * inputs * subsets)))
        nn.init.constant_(self.norm.weight, 1e-6)  # a block starts as its shortcut

    def forward(self, x: Tensor, graph: Tensor) -> Tensor:
        """[N, C, T, V], [S, source, destination] -> [N, C', T, V]."""
        subsets = len(graph)
        mixed = x @ graph.permute(1, 0, 2).flatten(1)  # [N, C, T, S * w]
        mixed = mixed.unflatten(3, (subsets, -1)).permute(0, 3, 1, 2, 4).flatten(1, 2)
        y = self.conv(mixed) + self.bias.sum(dim=0)[:, None, None]
        return (self.norm(y) + self.shortcut(x)).relu()


class ImportanceGraphConv(MixedGraphConv):
    """CoST-GCN's: the fixed graph times a learned weight of every link."""

    def __init__(self, inputs: int, outputs: int, joints: int, subsets: int = 3) -> None:
        super().__init__(inputs, outputs, subsets)
        self.importance = nn.Parameter(torch.ones(subsets, joints, joints))

    def forward(self, x: Tensor, adjacency: Tensor) -> Tensor:
        return super().forward(x, adjacency * self.importance)


class Block(SpatialTemporalBlock):
    """A block whose spatial part takes the graph; optional dropout before the residual is added."""

    def __init__(
        self, spatial: nn.Module, temporal: nn.Module, sizes: tuple[int, int, int], first: bool, dropout: float
    ) -> None:
        super().__init__(spatial, temporal, *sizes, residual=not first)
        self.dropout = nn.Dropout(0 if first else dropout)

    def forward(self, x: Tensor, adjacency: Tensor) -> Tensor:
        y = self.dropout(self.temporal(self.spatial(x, adjacency)))
        return (y + self.skip(x)).relu() if self.residual else y.relu()

    def unpadded(self, x: Tensor, adjacency: Tensor) -> Tensor:
        """[N, C, T, V] -> [N, C', T - 8, V]: no padding, no stride; the residual of a convolution's middle frame."""
        conv = self.temporal.conv
        y = F.conv2d(self.spatial(x, adjacency), conv.weight, conv.bias)
        y = self.dropout(self.temporal.norm(y))
        if self.residual:
            middle = x[:, :, _TAPS // 2 : x.shape[2] - _TAPS // 2]
            skip = self.skip
            y = y + (middle if isinstance(skip, nn.Identity) else skip.norm(_one_by_one(skip.conv, middle)))
        return y.relu()


class Trunk(nn.Module):
    """Ten blocks over one graph, which is a constant of the checkpoint: [S, V, V], rows sources."""

    def __init__(self, blocks: list[Block], adjacency: Tensor, padded: bool = True) -> None:
        super().__init__()
        self.register_buffer("adjacency", adjacency)
        self.blocks = nn.ModuleList(blocks)
        self.padded = padded

    def forward(self, x: Tensor) -> Tensor:
        if not self.padded:
            return self.unpadded(x)
        for block in self.blocks:
            x = block(x, self.adjacency)
        return x

    def unpadded(self, x: Tensor) -> Tensor:
        """[N, 3, T, V] -> [N, D, T - 80, V], whatever the weights are trained to."""
        for block in self.blocks:
            x = block.unpadded(x, self.adjacency)
        return x


class STGCN(PoseNetwork):
    """clip [N, 3, T, V, M] -> logits [N, K]; ten blocks, any T (unpadded: at least 81)."""

    def __init__(self, config: STGCNConfig) -> None:
        layout, original = config.skeleton.layout, config.variant == "original"
        adjacency = stgcn_graph(layout) if original else spatial_graph(layout)
        graph_conv = PartitionConv if original else ImportanceGraphConv
        widths = trunk_widths(BASE_WIDTH[config.arch])
        if config.final_width is not None:
            widths[-1] = (widths[-1][0], config.final_width, 1)
        blocks = [
            Block(
                graph_conv(inputs, outputs, layout.num_joints),
                TapsNorm(outputs, _TAPS, stride),
                (inputs, outputs, stride),
                first=i == 0,
                dropout=config.block_dropout,
            )
            for i, (inputs, outputs, stride) in enumerate(widths)
        ]
        assert len(blocks) == _BLOCKS
        trunk = Trunk(blocks, torch.tensor(adjacency, dtype=torch.float32), config.temporal == "padded")
        super().__init__(config, trunk, widths[-1][1])
        if original:
            self.input_norm = nn.BatchNorm1d(layout.num_joints * 3)
            self.apply(_small_init)

    def features(self, clip: Tensor) -> Tensor:
        if not self.trunk.padded:
            _check_long_enough(clip)
        return super().features(clip)

    def unpadded_features(self, clip: Tensor) -> Tensor:
        """[N, 3, T, V, M] -> [N, D]: `features` of CoST-GCN*, which can run frame by frame (its README's starred rows).

        The same weights; temporal convolutions without padding and stride, residuals taken at the middle of each
        convolution's frames, the mean over the frames that are left: T - 80. What `ski_edge/stream.h` computes; equal
        to `features` where the config says `temporal: unpadded`.
        """
        _check_long_enough(clip)
        x = self.trunk.unpadded(self.normalise(clip))
        return x.mean(dim=(2, 3)).unflatten(0, (-1, clip.shape[4])).mean(dim=1)

    def normalise(self, clip: Tensor) -> Tensor:
        """[N, 3, T, V, M] -> [N*M, 3, T, V]; the original has one statistic per joint and coordinate for all bodies."""
        if self.config.variant != "original":
            return super().normalise(clip)
        n, c, t, v, m = clip.shape
        x = clip.permute(0, 4, 3, 1, 2).reshape(n * m, v * c, t)
        return self.input_norm(x).view(n * m, v, c, t).permute(0, 2, 3, 1)


def _check_long_enough(clip: Tensor) -> None:
    if clip.shape[2] < RECEPTIVE_FIELD:
        raise BadInput(
            f"without padding stgcn needs at least {RECEPTIVE_FIELD} frames, got {clip.shape[2]}; give longer clips"
        )


def _one_by_one(conv: nn.Conv2d, x: Tensor) -> Tensor:
    """A 1x1 convolution at every frame, whatever its stride."""
    return F.conv2d(x, conv.weight, conv.bias)


def _small_init(module: nn.Module) -> None:
    """The original trainer's: every convolution and the head N(0, 0.02), every BatchNorm N(1, 0.02), biases 0."""
    if isinstance(module, (nn.Conv2d, nn.Linear)):
        nn.init.normal_(module.weight, 0, 0.02)
    elif isinstance(module, (nn.BatchNorm1d, nn.BatchNorm2d)):
        nn.init.normal_(module.weight, 1, 0.02)
    else:
        return
    nn.init.zeros_(module.bias)
