"""Multi-scale temporal convolution, shared by CTR-GCN, HD-GCN and Hyperformer.

The originals keep four separate branches. Here what they do alike is done once: one 1x1 convolution and one BatchNorm
feed the first three, one BatchNorm follows all four. Channel by channel these are the same numbers.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ski_edge.models.pose import conv1x1, he_init


class MultiScaleTemporal(nn.Module):
    """[N, C, T, V] -> [N, C, ceil(T / stride), V]: five taps at dilation 1 and 2, maximum of three, point; C/4 each."""

    def __init__(self, channels: int, stride: int, final_relu: bool = False) -> None:
        super().__init__()
        width = channels // 4
        self.final_relu = final_relu  # pyskl's habit
        self.reduce = conv1x1(channels, 3 * width, parts=3)
        self.reduce_norm = nn.BatchNorm2d(3 * width)
        self.dilated = nn.ModuleList(_taps(width, dilation, stride) for dilation in (1, 2))
        self.pool = nn.MaxPool2d((3, 1), (stride, 1), (1, 0))
        self.point = conv1x1(channels, width, stride)
        self.norm = nn.BatchNorm2d(4 * width)
        for norm in (self.reduce_norm, self.norm):
            nn.init.normal_(norm.weight, 1, 0.02)

    def forward(self, x: Tensor) -> Tensor:
        first, second, third = self.reduce_norm(self.reduce(x)).relu().chunk(3, dim=1)
        branches = [self.dilated[0](first), self.dilated[1](second), self.pool(third), self.point(x)]
        y = self.norm(torch.cat(branches, dim=1))
        return y.relu() if self.final_relu else y


class TapsNorm(nn.Module):
    """[N, C, T, V] -> [N, C, ceil(T / stride), V]: one convolution over `taps` frames and BatchNorm."""

    def __init__(self, channels: int, taps: int, stride: int) -> None:
        super().__init__()
        self.conv = he_init(nn.Conv2d(channels, channels, (taps, 1), (stride, 1), (taps // 2, 0)))
        self.norm = nn.BatchNorm2d(channels)

    def forward(self, x: Tensor) -> Tensor:
        return self.norm(self.conv(x))


def _taps(width: int, dilation: int, stride: int) -> nn.Conv2d:
    return he_init(nn.Conv2d(width, width, (5, 1), (stride, 1), padding=(2 * dilation, 0), dilation=(dilation, 1)))
