"""Graph convolution with one graph for all channels (ST-GCN, CTRS-GCN, a hierarchy level of HD-GCN), norms folded."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from ski_edge.ops.arrays import bind, like, to_numpy


def reference(
    x: Tensor,
    graph: Tensor,
    value: Tensor,
    value_bias: Tensor,
    shift: Tensor,
    identity: bool = False,
    shortcut: Tensor | None = None,
    relu: bool = True,
) -> Tensor:
    """x [N, C, V, T] -> [N, C', V, T].

    graph [S, V, V]: source, destination; value [S C', C]; shift [C']; what is added: x (`identity`), a convolution of
    it (`shortcut` [C', C]) or nothing. A level of HD-GCN is its three graphs without the ReLU, each subset's value
    matrix filling rows of its own: HD-GCN concatenates what others sum.
    """
    values = torch.einsum("oc,ncvt->novt", value, x) + value_bias[:, None, None]
    y = torch.einsum("svw,nsovt->nowt", graph, values.unflatten(1, (len(graph), -1))) + shift[:, None, None]
    if shortcut is not None:
        y = y + torch.einsum("oc,ncvt->novt", shortcut, x)
    y = y + x if identity else y
    return y.relu() if relu else y


class GraphConv:
    """The native kernel with its weights packed. Takes and gives arrays of numpy or torch; not differentiable."""

    def __init__(
        self, *, identity: bool = False, relu: bool = True, threads: int = 0, isa: str = "", **weights: Any
    ) -> None:
        """weights: those of `reference` by name. threads: 0 takes one per CPU; isa: "" takes the fastest."""
        options = {"identity": identity, "relu": relu, "threads": threads, "isa": isa}
        self._op = bind("GraphConv", reference, weights, options)

    def __call__(self, x: Any) -> Any:
        """float32 [N, C, V, T] -> [N, C', V, T]."""
        return like(self._op.run(to_numpy(x, "x")), x)


@torch.library.custom_op("ski_edge::graph_conv", mutates_args=(), device_types="cpu")
def graph_conv(
    x: Tensor,
    graph: Tensor,
    value: Tensor,
    value_bias: Tensor,
    shift: Tensor,
    identity: bool = False,
    shortcut: Tensor | None = None,
    relu: bool = True,
) -> Tensor:
    op = GraphConv(
        graph=graph,
        value=value,
        value_bias=value_bias,
        shift=shift,
        identity=identity,
        shortcut=shortcut,
        relu=relu,
        threads=torch.get_num_threads(),
    )
    return op(x)


@graph_conv.register_fake
def _(x, graph, value, value_bias, shift, identity=False, shortcut=None, relu=True):
    return x.new_empty(x.shape[0], shift.shape[0], x.shape[2], x.shape[3])
