"""What follows the last block of every network: the mean over persons, joints and frames, and a linear layer."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from ski_edge.ops.arrays import bind, like, to_numpy


def reference(x: Tensor, weight: Tensor, bias: Tensor, persons: int = 1) -> tuple[Tensor, Tensor]:
    """x [N M, C, V, T], a clip's bodies one after the other -> logits [N, K], features [N, C].

    weight [K, C]; bias [K]; persons: M.
    """
    features = x.mean(dim=(2, 3)).unflatten(0, (-1, persons)).mean(dim=1)
    return features @ weight.T + bias, features


class PoolHead:
    """The native kernel with its weights packed. Takes and gives arrays of numpy or torch; not differentiable."""

    def __init__(self, *, persons: int = 1, threads: int = 0, isa: str = "", **weights: Any) -> None:
        """weights: those of `reference` by name. threads: 0 takes one per CPU; isa: "" takes the fastest."""
        self._op = bind("PoolHead", reference, weights, {"persons": persons, "threads": threads, "isa": isa})

    def __call__(self, x: Any) -> tuple[Any, Any]:
        """float32 [N M, C, V, T] -> logits [N, K], features [N, C]."""
        logits, features = self._op.run(to_numpy(x, "x"))
        return like(logits, x), like(features, x)


@torch.library.custom_op("ski_edge::pool_head", mutates_args=(), device_types="cpu")
def pool_head(x: Tensor, weight: Tensor, bias: Tensor, persons: int = 1) -> tuple[Tensor, Tensor]:
    return PoolHead(weight=weight, bias=bias, persons=persons, threads=torch.get_num_threads())(x)


@pool_head.register_fake
def _(x, weight, bias, persons=1):
    clips = x.shape[0] // persons
    return x.new_empty(clips, weight.shape[0]), x.new_empty(clips, x.shape[1])
