"""One convolution over several frames, with the residual that follows (ST-GCN, CTRS-GCN), norms folded."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from ski_edge.ops.arrays import bind, like, to_numpy


def reference(
    x: Tensor,
    weight: Tensor,
    bias: Tensor,
    residual: Tensor | None = None,
    skip: Tensor | None = None,
    stride: int = 1,
) -> Tensor:
    """x [N, C, V, T], residual [N, C' or its own width, V, T] -> [N, C', V, ceil(T / stride)].

    weight [C', C, taps]; bias [C'], the skip's included; skip [C', residual's width]: convolution of the residual.
    """
    y = F.conv2d(x, weight[:, :, None], bias, (1, stride), (0, weight.shape[2] // 2))
    if residual is not None:
        added = residual[:, :, :, ::stride]
        y = y + (added if skip is None else torch.einsum("oc,ncvt->novt", skip, added))
    return y.relu()


class TapsConv:
    """The native kernel with its weights packed. Takes and gives arrays of numpy or torch; not differentiable."""

    def __init__(self, *, stride: int = 1, threads: int = 0, isa: str = "", **weights: Any) -> None:
        """weights: those of `reference` by name. threads: 0 takes one per CPU; isa: "" takes the fastest."""
        self._op = bind("TapsConv", reference, weights, {"stride": stride, "threads": threads, "isa": isa})

    def __call__(self, x: Any, residual: Any = None) -> Any:
        """float32 [N, C, V, T] -> [N, C', V, ceil(T / stride)]."""
        added = None if residual is None else to_numpy(residual, "residual")
        return like(self._op.run(to_numpy(x, "x"), added), x)


@torch.library.custom_op("ski_edge::taps_conv", mutates_args=(), device_types="cpu")
def taps_conv(
    x: Tensor,
    weight: Tensor,
    bias: Tensor,
    residual: Tensor | None = None,
    skip: Tensor | None = None,
    stride: int = 1,
) -> Tensor:
    op = TapsConv(weight=weight, bias=bias, skip=skip, stride=stride, threads=torch.get_num_threads())
    return op(x, residual)


@taps_conv.register_fake
def _(x, weight, bias, residual=None, skip=None, stride=1):
    return x.new_empty(x.shape[0], weight.shape[0], x.shape[2], (x.shape[3] + stride - 1) // stride)
