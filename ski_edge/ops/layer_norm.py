"""LayerNorm over channels, time last (Hyperformer)."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from ski_edge.ops.arrays import bind, like, to_numpy


def reference(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """x [N, C, V, T] -> the same shape; weight and bias [C]; epsilon 1e-5."""
    return F.layer_norm(x.permute(0, 3, 2, 1), x.shape[1:2], weight, bias).permute(0, 3, 2, 1)


class LayerNorm:
    """The native kernel with its weights packed. Takes and gives arrays of numpy or torch; not differentiable."""

    def __init__(self, *, threads: int = 0, isa: str = "", **weights: Any) -> None:
        """weights: those of `reference` by name. threads: 0 takes one per CPU; isa: "" takes the fastest."""
        self._op = bind("LayerNorm", reference, weights, {"threads": threads, "isa": isa})

    def __call__(self, x: Any) -> Any:
        """float32 [N, C, V, T] -> [N, C, V, T]."""
        return like(self._op.run(to_numpy(x, "x")), x)


@torch.library.custom_op("ski_edge::layer_norm", mutates_args=(), device_types="cpu")
def layer_norm(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    return LayerNorm(weight=weight, bias=bias, threads=torch.get_num_threads())(x)


@layer_norm.register_fake
def _(x, weight, bias):
    return x.new_empty(x.shape)
