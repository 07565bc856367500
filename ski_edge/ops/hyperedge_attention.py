"""Self-attention between joints that knows bones and groups of joints (Hyperformer, Zhou et al. 2022, eq. 5 to 8)."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from ski_edge.ops.arrays import bind, like, to_numpy, to_table


def reference(
    x: Tensor,
    qkv: Tensor,
    qkv_bias: Tensor,
    group_features: Tensor,
    hop_features: Tensor,
    group_weight: Tensor,
    attention_bias: Tensor,
    project: Tensor,
    project_bias: Tensor,
    group_of: Tensor,
    hop_of: Tensor,
    gain: float,
    shortcut: Tensor | None = None,
) -> Tensor:
    """x [N, C, V, T] -> [N, C', V, T].

    qkv [3 C', C] with LayerNorm's weights folded in; group_features [C', C]; hop_features [hops, C']; group_weight
    [H, C' / H]; attention_bias [H, V, V]; project [C', C' / groups of the convolution]; group_of [V]; hop_of [V, V];
    shortcut [C', C], or None where x itself is added.
    """
    heads, outputs = len(attention_bias), len(group_features)
    normed = F.layer_norm(x.permute(0, 3, 2, 1), x.shape[1:2])  # [N, T, V, C]
    query, key, value = (normed @ qkv.T + qkv_bias).unflatten(3, (3, heads, -1)).permute(3, 0, 1, 4, 2, 5).unbind()
    members = F.one_hot(group_of).to(x.dtype)  # [V, G]
    means = torch.einsum("ncvt,vg->ntgc", x, members / members.sum(dim=0))
    groups = (means @ group_features.T).unflatten(3, (heads, -1))[:, :, group_of].transpose(2, 3)  # [N, T, H, V, c]
    hops = hop_features.unflatten(1, (heads, -1))[hop_of]  # [V, V, H, c]
    score = query @ key.transpose(3, 4) + query @ groups.transpose(3, 4)
    score = score + torch.einsum("nthvc,vmhc->nthvm", query, hops)
    score = score + torch.einsum("hc,nthmc->nthm", group_weight, groups)[:, :, :, None]
    attention = gain * (score * query.shape[-1] ** -0.5).softmax(dim=-1) + attention_bias
    mixed = (attention @ value).transpose(2, 3).flatten(3).permute(0, 3, 2, 1)  # [N, C', V, T]
    projected = F.conv2d(mixed, project[:, :, None, None], project_bias, groups=outputs // project.shape[1])
    return projected + (x if shortcut is None else torch.einsum("oc,ncvt->novt", shortcut, x))


class HyperedgeAttention:
    """The native kernel with its weights packed. Takes and gives arrays of numpy or torch; not differentiable."""

    def __init__(
        self, *, group_of: Any, hop_of: Any, gain: float, threads: int = 0, isa: str = "", **weights: Any
    ) -> None:
        """weights: those of `reference` by name. threads: 0 takes one per CPU; isa: "" takes the fastest."""
        tables = {"group_of": to_table(group_of, "group_of"), "hop_of": to_table(hop_of, "hop_of")}
        gain = float(gain) if isinstance(gain, (int, np.number)) else gain
        options = {**tables, "gain": gain, "threads": threads, "isa": isa}
        self._op = bind("HyperedgeAttention", reference, weights, options)

    def __call__(self, x: Any) -> Any:
        """float32 [N, C, V, T] -> [N, C', V, T]."""
        return like(self._op.run(to_numpy(x, "x")), x)


@torch.library.custom_op("ski_edge::hyperedge_attention", mutates_args=(), device_types="cpu")
def hyperedge_attention(
    x: Tensor,
    qkv: Tensor,
    qkv_bias: Tensor,
    group_features: Tensor,
    hop_features: Tensor,
    group_weight: Tensor,
    attention_bias: Tensor,
    project: Tensor,
    project_bias: Tensor,
    group_of: Tensor,
    hop_of: Tensor,
    gain: float,
    shortcut: Tensor | None = None,
) -> Tensor:
    return HyperedgeAttention(
        qkv=qkv,
        qkv_bias=qkv_bias,
        group_features=group_features,
        hop_features=hop_features,
        group_weight=group_weight,
        attention_bias=attention_bias,
        project=project,
        project_bias=project_bias,
        group_of=group_of,
        hop_of=hop_of,
        gain=gain,
        shortcut=shortcut,
        threads=torch.get_num_threads(),
    )(x)


@hyperedge_attention.register_fake
def _(
    x,
    qkv,
    qkv_bias,
    group_features,
    hop_features,
    group_weight,
    attention_bias,
    project,
    project_bias,
    group_of,
    hop_of,
    gain,
    shortcut=None,
):
    return x.new_empty(x.shape[0], group_features.shape[0], x.shape[2], x.shape[3])
