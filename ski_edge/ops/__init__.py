"""The ops that skeleton networks are made of: for each a readable torch reference and the native CPU kernel.

Every file has three things of one name: `reference` (plain torch, what tests, autograd and export trust), a class that
packs weights once and runs the native kernel on arrays, and `torch.ops.ski_edge.<op>`, the same for torch tensors, with
shapes known to torch.compile. Activations are time-last here, `[N, C, V, T]`; networks of `ski_edge.models` hold
`[N, C, T, V]`: pass `x.transpose(2, 3)`.
"""

from ski_edge.ops.ctr_gc import CtrGc
from ski_edge.ops.graph_conv import GraphConv
from ski_edge.ops.hyperedge_attention import HyperedgeAttention
from ski_edge.ops.layer_norm import LayerNorm
from ski_edge.ops.multi_scale_temporal import MultiScaleTemporal
from ski_edge.ops.pool_head import PoolHead
from ski_edge.ops.taps_conv import TapsConv

__all__ = [
    "CtrGc",
    "GraphConv",
    "HyperedgeAttention",
    "LayerNorm",
    "MultiScaleTemporal",
    "PoolHead",
    "TapsConv",
]
