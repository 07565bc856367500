"""Four branches of convolution over time in one pass (CTR-GCN, HD-GCN, Hyperformer), norms folded."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from ski_edge.ops.arrays import bind, like, to_numpy


def reference(
    x: Tensor,
    reduce: Tensor,
    reduce_bias: Tensor,
    near: Tensor,
    far: Tensor,
    point: Tensor,
    pool_scale: Tensor,
    bias: Tensor,
    residual: Tensor | None = None,
    skip: Tensor | None = None,
    skip_bias: Tensor | None = None,
    stride: int = 1,
    relu_before: bool = False,
) -> Tensor:
    """x [N, C, V, T], residual [N, C or its own width, V, T] -> [N, C, V, ceil(T / stride)].

    reduce [3 W, C] of the first three branches, W = C / 4; near and far [W, W, taps] at dilation 1 and 2; point [W, C];
    pool_scale [W]: of the maximum over three frames; bias [4 W]; skip [C, residual's width]: convolution of it.
    """
    first, second, third = (torch.einsum("oc,ncvt->novt", reduce, x) + reduce_bias[:, None, None]).relu().chunk(3, 1)

    def over_time(z: Tensor, weight: Tensor, dilation: int) -> Tensor:
        halo = dilation * (weight.shape[2] // 2)
        return F.conv2d(z, weight[:, :, None], None, (1, stride), (0, halo), (1, dilation))

    most = F.max_pool2d(third, (1, 3), (1, stride), (0, 1)) * pool_scale[:, None, None]
    own = torch.einsum("oc,ncvt->novt", point, x[:, :, :, ::stride])
    y = torch.cat([over_time(first, near, 1), over_time(second, far, 2), most, own], dim=1) + bias[:, None, None]
    if relu_before:
        y = y.relu()
    if residual is not None:
        added = residual[:, :, :, ::stride]
        y = y + (added if skip is None else torch.einsum("oc,ncvt->novt", skip, added) + skip_bias[:, None, None])
    return y.relu()


class MultiScaleTemporal:
    """The native kernel with its weights packed. Takes and gives arrays of numpy or torch; not differentiable."""

    def __init__(
        self, *, stride: int = 1, relu_before: bool = False, threads: int = 0, isa: str = "", **weights: Any
    ) -> None:
        """weights: those of `reference` by name. threads: 0 takes one per CPU; isa: "" takes the fastest."""
        options = {"stride": stride, "relu_before": relu_before, "threads": threads, "isa": isa}
        self._op = bind("MultiScaleTemporal", reference, weights, options)

    def __call__(self, x: Any, residual: Any = None) -> Any:
        """float32 [N, C, V, T] -> [N, C, V, ceil(T / stride)]."""
        added = None if residual is None else to_numpy(residual, "residual")
        return like(self._op.run(to_numpy(x, "x"), added), x)


@torch.library.custom_op("ski_edge::multi_scale_temporal", mutates_args=(), device_types="cpu")
def multi_scale_temporal(
    x: Tensor,
    reduce: Tensor,
    reduce_bias: Tensor,
    near: Tensor,
    far: Tensor,
    point: Tensor,
    pool_scale: Tensor,
    bias: Tensor,
    residual: Tensor | None = None,
    skip: Tensor | None = None,
    skip_bias: Tensor | None = None,
    stride: int = 1,
    relu_before: bool = False,
) -> Tensor:
    op = MultiScaleTemporal(
        reduce=reduce,
        reduce_bias=reduce_bias,
        near=near,
        far=far,
        point=point,
        pool_scale=pool_scale,
        bias=bias,
        skip=skip,
        skip_bias=skip_bias,
        stride=stride,
        relu_before=relu_before,
        threads=torch.get_num_threads(),
    )
    return op(x, residual)


@multi_scale_temporal.register_fake
def _(
    x,
    reduce,
    reduce_bias,
    near,
    far,
    point,
    pool_scale,
    bias,
    residual=None,
    skip=None,
    skip_bias=None,
    stride=1,
    relu_before=False,
):
    return x.new_empty(x.shape[0], x.shape[1], x.shape[2], (x.shape[3] + stride - 1) // stride)
