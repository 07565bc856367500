"""A small residual network in place of CLIP's patch projection, for vision towers that are trained from nothing.

After Xiao et al., "Early Convolutions Help Transformers See Better" (NeurIPS 2021): convolutions learn where limbs and
things are from far fewer pictures than attention does; here they are the larger part of the tower.
"""

from __future__ import annotations

import itertools

import torch
from torch import Tensor, nn

from ski_edge.errors import BadInput


class ConvStem(nn.Module):
    """frames [B, 3, S, S] -> [B, W, S / patch, S / patch]; the picture is halved again and again, the width doubled."""

    def __init__(self, width: int, patch: int) -> None:
        super().__init__()
        halvings = patch.bit_length() - 1
        if 2**halvings != patch or halvings < 1 or width % 2 ** (halvings - 1):
            raise BadInput(f"a convolutional stem needs a patch that is a power of two, and width {width} to halve")
        widths = [3, *(width // 2 ** (halvings - 1 - i) for i in range(halvings))]
        layers: list[nn.Module] = []
        for number, (inputs, outputs) in enumerate(itertools.pairwise(widths)):
            layers.append(_convolution(inputs, outputs, stride=2))
            if number:  # the first, largest picture gets no more: it would cost as much as all others
                layers.append(Residual(outputs))
        self.layers = nn.Sequential(*layers)

    def forward(self, frames: Tensor) -> Tensor:
        if self.training:  # twice as fast on a CPU
            frames = frames.contiguous(memory_format=torch.channels_last)
        return self.layers(frames)


class Residual(nn.Module):
    """x + two 3x3 convolutions of x."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.first, self.second = _convolution(width, width), _convolution(width, width)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.second(self.first(x))


def _convolution(inputs: int, outputs: int, stride: int = 1) -> nn.Sequential:
    convolution = nn.Conv2d(inputs, outputs, 3, stride, padding=1, bias=False)
    return nn.Sequential(convolution, nn.BatchNorm2d(outputs), nn.ReLU())
