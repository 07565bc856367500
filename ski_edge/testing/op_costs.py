"""What one layer costs, counted: multiply-adds, and the bytes that have to move or do move.

*Compulsory* bytes are weights, inputs and output, once each. *Ours* are those the CPU kernels ask of what lies behind
the first-level cache, counted from how they are blocked (csrc/cpu): a panel of 8 rows reads all columns of x again, or
a tile of 32 columns all weights; what an op parks in its workspace is written and read. Weights and operands of
products are 4 bytes, or 2 in bfloat16 (the few small ones that stay float32 count as 2, too); activations between ops
are float32 in both.
"""

from __future__ import annotations

from dataclasses import dataclass

from ski_edge.testing.op_layers import Layer

_ROWS, _COLUMNS = 8, 32  # of a tile (cpu/tile.h with AVX-512)
_FLOAT = 4


@dataclass(frozen=True)
class Cost:
    """Of one layer and so many bodies."""

    flop: float
    weight_bytes: int
    activation_bytes: int  # x, residual and output
    our_weight_bytes: float  # weights as the kernels read them
    our_other_bytes: float  # activations, and what is parked in the workspace

    @property
    def our_bytes(self) -> float:
        return self.our_weight_bytes + self.our_other_bytes

    @property
    def compulsory_bytes(self) -> int:
        return self.weight_bytes + self.activation_bytes


def cost(layer: Layer, bodies: int = 1, operand_bytes: int = _FLOAT) -> Cost:
    """operand_bytes: 4, or 2 for bfloat16."""
    sizes = _Sizes(layer, operand_bytes)
    macs, weights, others = _COUNTS[layer.op](sizes)
    activations = layer.channels[0] * sizes.columns + layer.outputs * sizes.outer
    if len(layer.channels) == 2:
        # A strided op reads every second frame of the residual.
        activations += layer.channels[1] * sizes.outer
    numbers = sum(x.numel() for x in layer.weights.values() if x is not None and x.is_floating_point())
    return Cost(
        flop=2.0 * macs * bodies,
        weight_bytes=numbers * operand_bytes,
        activation_bytes=_FLOAT * activations * bodies,
        our_weight_bytes=weights * bodies,
        our_other_bytes=(others + _FLOAT * activations) * bodies,
    )


class _Sizes:
    """Letters of the op headers, of one body."""

    def __init__(self, layer: Layer, operand_bytes: int) -> None:
        self.layer, self.b = layer, operand_bytes
        self.v, self.t, self.o, self.c = layer.joints, layer.frames, layer.outputs, layer.channels[0]
        self.columns = self.v * self.t
        self.outer = self.v * -(-self.t // layer.stride)  # columns of the output
        self.packs = operand_bytes < _FLOAT  # x is written once more, in pairs
        self.panels = -(-self.o // _ROWS)

    def shape(self, name: str) -> tuple[int, ...]:
        found = self.layer.weights.get(name)
        return (0, 0, 0) if found is None else tuple(found.shape)

    def has(self, name: str) -> bool:
        return self.layer.weights.get(name) is not None


_Count = tuple[int, float, float]  # of one body: multiply-adds, bytes of weights, other bytes beyond input and output


def _graph_op(z: _Sizes, subsets: int) -> _Count:
    """Values of all subsets and their sum over source joints, as `cpu/contract.h` blocks them."""
    shortcut = z.has("shortcut")
    macs = (subsets + shortcut) * z.o * z.c * z.columns + subsets * z.o * z.v * z.columns
    weights = z.b * (subsets + shortcut) * z.o * z.c
    others = z.panels * z.b * z.c * z.columns  # x, for every panel
    # x itself is counted as an input already: packed once, or the first panel's.
    others += z.b * z.c * z.columns if z.packs else -z.b * z.c * z.columns
    others += 2 * z.b * subsets * z.o * z.columns + 2 * _FLOAT * shortcut * z.o * z.columns  # values, out and in
    return macs, weights, others


def _ctr_gc(z: _Sizes) -> _Count:
    subsets, relations = z.shape("adjacency")[0], z.shape("expand")[1]
    macs, weights, others = _graph_op(z, subsets)
    pairs = z.v * z.v
    macs += 2 * subsets * relations * z.c * z.v + subsets * z.o * relations * pairs
    weights += _FLOAT * 2 * subsets * relations * z.c + z.b * subsets * z.o * relations
    others += 0 if z.packs else _FLOAT * z.c * z.columns  # means over time read x; packing does it on the way
    others += z.b * subsets * relations * pairs * (1 + z.panels)  # tangents: written once, read by every panel
    others += 2 * z.b * subsets * z.o * pairs  # refined graphs, out and in
    if not z.has("shortcut"):
        others += _FLOAT * z.c * z.columns  # x is added
    return macs, weights, others


def _graph_conv(z: _Sizes) -> _Count:
    subsets = z.shape("graph")[0]
    macs, weights, others = _graph_op(z, subsets)
    return macs, weights + _FLOAT * subsets * z.v * z.v, others


def _multi_scale_temporal(z: _Sizes) -> _Count:
    width, taps = z.o // 4, z.shape("near")[2]
    reduce, point, skip = 3 * width * z.c, width * z.c, z.shape("skip")[0] * z.shape("skip")[1]
    outer = 2 * taps * width * width + point + skip
    macs = reduce * z.columns + outer * z.outer
    others = 2 * z.b * 3 * width * z.columns + 2 * z.b * z.c * z.columns * z.packs  # reduced columns; packed ones
    return macs, z.b * macs / _COLUMNS, others


def _taps_conv(z: _Sizes) -> _Count:
    taps, skip = z.shape("weight")[2], z.shape("skip")[0] * z.shape("skip")[1]
    macs = (taps * z.c * z.o + skip) * z.outer
    return macs, z.b * macs / _COLUMNS, 2 * z.b * z.c * z.columns  # shifted columns, out and in


def _hyperedge_attention(z: _Sizes) -> _Count:
    heads, hop_count = z.shape("attention_bias")[0], z.shape("hop_features")[0]
    groups = int(z.layer.weights["group_of"].max()) + 1
    width, shortcut = z.shape("project")[1], z.has("shortcut") * z.o * z.c
    products = (3 * z.o * z.c + z.o * hop_count + width * z.o + shortcut) * z.columns + z.o * z.c * groups * z.t
    macs = products + 2 * z.o * z.v * z.columns
    others = z.b * z.c * (z.columns + groups * z.t) * (1 + heads)  # normed x, group means: once out, in for every head
    others += 2 * _FLOAT * 4 * z.o * z.columns  # queries, keys, values, mixed values, out and in
    others += _FLOAT * z.c * z.columns  # the shortcut reads x again
    return macs, z.b * products / _COLUMNS, others


_COUNTS = {
    "ctr_gc": _ctr_gc,
    "graph_conv": _graph_conv,
    "multi_scale_temporal": _multi_scale_temporal,
    "taps_conv": _taps_conv,
    "hyperedge_attention": _hyperedge_attention,
}
