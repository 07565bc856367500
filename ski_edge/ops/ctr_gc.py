"""Channel-wise topology refinement graph convolution (CTR-GCN, Chen et al. 2021, eq. 3 to 5), norms folded."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from ski_edge.ops.arrays import bind, like, to_numpy


def reference(
    x: Tensor,
    relation: Tensor,
    relation_bias: Tensor,
    expand: Tensor,
    expand_bias: Tensor,
    adjacency: Tensor,
    value: Tensor,
    value_bias: Tensor,
    shift: Tensor,
    shortcut: Tensor | None = None,
) -> Tensor:
    """x [N, C, V, T] -> [N, C', V, T].

    relation [2 S R, C]: queries of all subsets, then keys; expand [S C', R]; adjacency [S, V, V]: destination, source;
    value [S C', C]; shift [C']; shortcut [C', C], or None where x itself is added.
    """
    subsets, outputs = len(adjacency), len(shift)
    mean = x.mean(dim=3)  # query and key are linear: taking them at the mean is the mean of taking them
    query, key = (torch.einsum("rc,ncv->nrv", relation, mean) + relation_bias[:, None]).chunk(2, dim=1)
    tangents = torch.tanh(query[:, :, :, None] - key[:, :, None, :]).unflatten(1, (subsets, -1))  # [N, S, R, u, v]
    graphs = torch.einsum("sor,nsruv->nsouv", expand.unflatten(0, (subsets, outputs)), tangents)
    graphs = graphs + expand_bias.view(subsets, outputs, 1, 1) + adjacency[:, None]
    values = torch.einsum("oc,ncvt->novt", value, x) + value_bias[:, None, None]
    y = torch.einsum("nsouv,nsovt->nout", graphs, values.unflatten(1, (subsets, outputs)))
    added = x if shortcut is None else torch.einsum("oc,ncvt->novt", shortcut, x)
    return (y + shift[:, None, None] + added).relu()


class CtrGc:
    """The native kernel with its weights packed. Takes and gives arrays of numpy or torch; not differentiable."""

    def __init__(self, *, threads: int = 0, isa: str = "", **weights: Any) -> None:
        """weights: those of `reference` by name. threads: 0 takes one per CPU; isa: "" takes the fastest."""
        self._op = bind("CtrGc", reference, weights, {"threads": threads, "isa": isa})

    def __call__(self, x: Any) -> Any:
        """float32 [N, C, V, T] -> [N, C', V, T]."""
        return like(self._op.run(to_numpy(x, "x")), x)


@torch.library.custom_op("ski_edge::ctr_gc", mutates_args=(), device_types="cpu")
def ctr_gc(
    x: Tensor,
    relation: Tensor,
    relation_bias: Tensor,
    expand: Tensor,
    expand_bias: Tensor,
    adjacency: Tensor,
    value: Tensor,
    value_bias: Tensor,
    shift: Tensor,
    shortcut: Tensor | None = None,
) -> Tensor:
    return CtrGc(
        relation=relation,
        relation_bias=relation_bias,
        expand=expand,
        expand_bias=expand_bias,
        adjacency=adjacency,
        value=value,
        value_bias=value_bias,
        shift=shift,
        shortcut=shortcut,
        threads=torch.get_num_threads(),
    )(x)


@ctr_gc.register_fake
def _(x, relation, relation_bias, expand, expand_bias, adjacency, value, value_bias, shift, shortcut=None):
    return x.new_empty(x.shape[0], shift.shape[0], x.shape[2], x.shape[3])
