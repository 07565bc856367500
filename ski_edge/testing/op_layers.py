"""The ops of whole networks at their real sizes: for tests and benchmarks that take one op at a time.

A layer is one op with random weights, as the engine makes it of a block (norms folded). Activations are time-last.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from ski_edge import ops
from ski_edge.models.hyperformer import HEADS, WIDTH
from ski_edge.models.pose import BASE_WIDTH, trunk_widths
from ski_edge.ops import ctr_gc, graph_conv, hyperedge_attention, multi_scale_temporal, taps_conv
from ski_edge.skeleton import get_layout
from ski_edge.skeleton.graphs import hops, hyperedges

NETWORKS = ("ctrgcn", "stgcn", "hyperformer")
_SUBSETS, _TAPS, _BRANCH_TAPS, _PROJECTION_GROUPS = 3, 9, 5, 6
_KINDS: dict[str, tuple[Any, Callable[..., Any]]] = {
    "ctr_gc": (ctr_gc, ops.CtrGc),
    "graph_conv": (graph_conv, ops.GraphConv),
    "hyperedge_attention": (hyperedge_attention, ops.HyperedgeAttention),
    "multi_scale_temporal": (multi_scale_temporal, ops.MultiScaleTemporal),
    "taps_conv": (taps_conv, ops.TapsConv),
}
OPS = tuple(_KINDS)


@dataclass(frozen=True)
class Layer:
    """One op of one block. channels: of x, and of the residual if there is one."""

    op: str
    network: str
    block: int  # counted from 0
    joints: int
    frames: int  # of x
    outputs: int
    channels: tuple[int, ...]
    weights: dict[str, Tensor | None]
    options: dict[str, Any] = field(default_factory=dict)  # stride, gain: what is no array

    @property
    def name(self) -> str:
        return f"{self.network} block {self.block + 1} {self.op}"

    @property
    def stride(self) -> int:
        return int(self.options.get("stride", 1))

    @property
    def reference(self) -> Callable[..., Tensor]:
        return _KINDS[self.op][0].reference

    def arguments(self, dtype: torch.dtype = torch.float32) -> dict[str, Any]:
        """Everything `reference` takes besides x and the residual."""
        given = {
            name: x.to(dtype) if x is not None and x.is_floating_point() else x for name, x in self.weights.items()
        }
        return {**given, **self.options}

    def native(self, threads: int = 0, isa: str = "") -> Any:
        """The native kernel with these weights."""
        return _KINDS[self.op][1](**self.weights, **self.options, threads=threads, isa=isa)

    def inputs(self, bodies: int, seed: int = 0) -> tuple[Tensor, ...]:
        """x and the residual, [bodies, C, V, T], at addresses where the native op reads them in place."""
        random = torch.Generator().manual_seed(seed)
        return tuple(_aligned(random, bodies, c, self.joints, self.frames) for c in self.channels)


def network_layers(network: str, layout: str = "ntu25", frames: int = 64) -> list[Layer]:
    """The twenty ops of a network's original size, in the order they run: spatial and temporal part of each block."""
    make = _Weights(network, layout)
    layers, inputs = [], 3
    base = WIDTH["base"] if network == "hyperformer" else BASE_WIDTH["base"]
    for block, (_, outputs, stride) in enumerate(trunk_widths(base)):
        outputs = base if network == "hyperformer" else outputs  # one width throughout
        sizes = {"network": network, "block": block, "joints": make.joints, "frames": frames, "outputs": outputs}
        op, weights, options = make.spatial(inputs, outputs)
        layers.append(Layer(op, channels=(inputs,), weights=weights, options=options, **sizes))
        # As in the originals: CTR-GCN's and ST-GCN's first blocks have no residual.
        residual = block > 0 or network == "hyperformer"
        op, weights = make.temporal(inputs, outputs, residual and (inputs != outputs or stride != 1))
        channels = (outputs, inputs) if residual else (outputs,)
        layers.append(Layer(op, channels=channels, weights=weights, options={"stride": stride}, **sizes))
        inputs, frames = outputs, -(-frames // stride)
    return layers


class _Weights:
    """Random weights of a network's ops, of a size that keeps activations near 1."""

    def __init__(self, network: str, layout: str) -> None:
        self.network, self._layout = network, get_layout(layout)
        self.joints = self._layout.num_joints
        self._random = torch.Generator().manual_seed(0)

    def _n(self, *shape: int) -> Tensor:
        return torch.randn(shape, generator=self._random) / max(shape[1:] or (8,)) ** 0.5

    def spatial(self, c: int, o: int) -> tuple[str, dict[str, Tensor | None], dict[str, Any]]:
        if self.network == "hyperformer":
            return self._attention(c, o)
        n, s, v = self._n, _SUBSETS, self.joints
        shared = {"value": n(s * o, c), "value_bias": n(s * o), "shift": n(o)}
        if self.network == "stgcn":
            return "graph_conv", {"graph": n(s, v, v), **shared, "shortcut": None}, {}
        r = 8 if c == 3 else c // 8
        weights = {
            "relation": n(2 * s * r, c),
            "relation_bias": n(2 * s * r),
            "expand": n(s * o, r),
            "expand_bias": n(s * o),
            "adjacency": n(s, v, v),
            "shortcut": None if c == o else n(o, c),
        }
        return "ctr_gc", {**weights, **shared}, {}

    def _attention(self, c: int, o: int) -> tuple[str, dict[str, Tensor | None], dict[str, Any]]:
        n, v, distance = self._n, self.joints, torch.tensor(hops(self._layout))
        weights = {
            "qkv": n(3 * o, c),
            "qkv_bias": n(3 * o),
            "group_features": n(o, c),
            "hop_features": n(int(distance.max()) + 1, o),
            "group_weight": n(HEADS, o // HEADS),
            "attention_bias": n(HEADS, v, v),
            "project": n(o, o // _PROJECTION_GROUPS),
            "project_bias": n(o),
            "group_of": torch.tensor(hyperedges(self._layout)),
            "hop_of": distance,
            "shortcut": None if c == o else n(o, c),
        }
        return "hyperedge_attention", weights, {"gain": 0.7}

    def temporal(self, c: int, o: int, convolved: bool) -> tuple[str, dict[str, Tensor | None]]:
        n, w = self._n, o // 4
        skip = n(o, c) if convolved else None
        if self.network == "stgcn":
            return "taps_conv", {"weight": n(o, o, _TAPS), "bias": n(o), "skip": skip}
        weights = {
            "reduce": n(3 * w, o),
            "reduce_bias": n(3 * w),
            "near": n(w, w, _BRANCH_TAPS),
            "far": n(w, w, _BRANCH_TAPS),
            "point": n(w, o),
            "pool_scale": n(w),
            "bias": n(o),
            "skip": skip,
            "skip_bias": n(o) if convolved else None,
        }
        return "multi_scale_temporal", weights


def _aligned(random: torch.Generator, *shape: int) -> Tensor:
    """Random numbers that begin at a multiple of 64 bytes."""
    count = torch.Size(shape).numel()
    room = torch.empty(count + 16)
    first = (-room.data_ptr() % 64) // 4
    x = room[first : first + count].view(shape)
    return x.copy_(torch.randn(shape, generator=random))
