"""Native ops against their torch references: every op, awkward shapes, arrays of any library, torch.library."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
import torch

from ski_edge import _native, ops
from ski_edge.errors import BadInput
from ski_edge.ops import ctr_gc, graph_conv, hyperedge_attention, multi_scale_temporal, taps_conv

pytestmark = pytest.mark.skipif(bool(_native.why_not_native()), reason=_native.why_not_native())


@dataclass(frozen=True)
class Case:
    """One op with weights: what its reference, its class and its torch op take."""

    module: Any
    kind: Callable[..., Any]
    op: Callable[..., Any]
    inputs: int
    weights: dict[str, Any]
    residual: int = 0  # channels of the residual, if any

    def tensors(self, dtype: torch.dtype) -> dict[str, Any]:
        convert = lambda x: x.to(dtype) if isinstance(x, torch.Tensor) and x.is_floating_point() else x  # noqa: E731
        return {name: convert(x) for name, x in self.weights.items()}


def number(seed: int = 0) -> Callable[..., torch.Tensor]:
    random = torch.Generator().manual_seed(seed)
    return lambda *shape: torch.randn(shape, generator=random) / max(shape[-1], 1) ** 0.5


def ctr_gc_case(c: int, o: int, v: int) -> Case:
    n, s, r = number(), 3, 5
    weights = {
        "relation": n(2 * s * r, c),
        "relation_bias": n(2 * s * r),
        "expand": n(s * o, r),
        "expand_bias": n(s * o),
        "adjacency": n(s, v, v),
        "value": n(s * o, c),
        "value_bias": n(s * o),
        "shift": n(o),
        "shortcut": None if c == o else n(o, c),
    }
    return Case(ctr_gc, ops.CtrGc, torch.ops.ski_edge.ctr_gc, c, weights)


def graph_conv_case(c: int, o: int, v: int) -> Case:
    n = number()
    weights = {
        "graph": n(3, v, v),
        "value": n(3 * o, c),
        "value_bias": n(3 * o),
        "shift": n(o),
        "identity": c == o,
        "shortcut": None if c == o else n(o, c),
    }
    return Case(graph_conv, ops.GraphConv, torch.ops.ski_edge.graph_conv, c, weights)


def attention_case(c: int, o: int, v: int) -> Case:
    n, heads, hops, groups = number(), 3, min(4, v), min(2, v)
    weights = {
        "qkv": n(3 * o, c),
        "qkv_bias": n(3 * o),
        "group_features": n(o, c),
        "hop_features": n(hops, o),
        "group_weight": n(heads, o // heads),
        "attention_bias": n(heads, v, v),
        "project": n(o, o // 2),
        "project_bias": n(o),
        "group_of": torch.arange(v) % groups,
        "hop_of": (torch.arange(v)[:, None] - torch.arange(v)).abs() % hops,
        "gain": 0.7,
        "shortcut": None if c == o else n(o, c),
    }
    return Case(hyperedge_attention, ops.HyperedgeAttention, torch.ops.ski_edge.hyperedge_attention, c, weights)


def temporal_case(c: int, residual: int, stride: int) -> Case:
    n, w = number(), c // 4
    weights = {
        "reduce": n(3 * w, c),
        "reduce_bias": n(3 * w),
        "near": n(w, w, 5),
        "far": n(w, w, 5),
        "point": n(w, c),
        "pool_scale": n(w),
        "bias": n(4 * w),
        "skip": n(c, residual) if residual and (residual != c or stride == 2) else None,
        "skip_bias": n(c) if residual and (residual != c or stride == 2) else None,
        "stride": stride,
    }
    kind, op = ops.MultiScaleTemporal, torch.ops.ski_edge.multi_scale_temporal
    return Case(multi_scale_temporal, kind, op, c, weights, residual)


def taps_case(c: int, o: int, residual: int, stride: int) -> Case:
    n = number()
    weights = {
        "weight": n(o, c, 9) / 3,
        "bias": n(o),
        "skip": n(o, residual) if residual and (residual != o or stride == 2) else None,
        "stride": stride,
    }
    return Case(taps_conv, ops.TapsConv, torch.ops.ski_edge.taps_conv, c, weights, residual)


CASES = {
    "ctr_gc": ctr_gc_case(16, 16, 25),
    "ctr_gc wider": ctr_gc_case(3, 20, 17),
    "graph_conv": graph_conv_case(16, 16, 25),
    "graph_conv wider": graph_conv_case(3, 20, 33),
    "hyperedge_attention": attention_case(36, 36, 25),
    "hyperedge_attention wider": attention_case(3, 36, 20),
    "multi_scale_temporal": temporal_case(16, 16, 1),
    "multi_scale_temporal strided": temporal_case(20, 8, 2),
    "multi_scale_temporal alone": temporal_case(16, 0, 1),
    "taps_conv": taps_case(12, 16, 16, 1),
    "taps_conv strided": taps_case(12, 16, 12, 2),
}
JOINTS = {"ctr_gc wider": 17, "graph_conv wider": 33, "hyperedge_attention wider": 20}


def inputs(name: str, frames: int, bodies: int = 2) -> tuple[torch.Tensor, ...]:
    case, joints = CASES[name], JOINTS.get(name, 25)
    random = torch.Generator().manual_seed(5)
    channels = [case.inputs, *([case.residual] if case.residual else [])]
    return tuple(torch.randn(bodies, c, joints, frames, generator=random) for c in channels)


def reference(case: Case, given: tuple[torch.Tensor, ...], dtype: torch.dtype) -> torch.Tensor:
    named = dict(zip(("x", "residual"), (each.to(dtype) for each in given), strict=False))
    return case.module.reference(**named, **case.tensors(dtype))


@pytest.mark.parametrize("name", CASES)
def test_equals_the_reference(name):
    """At most twice what the reference itself loses in float32, or a few units of the last place."""
    case = CASES[name]
    native = case.kind(**case.weights, threads=2)
    for frames in (1, 2, 16, 63, 65):
        given = inputs(name, frames)
        exact, plain = (reference(case, given, dtype) for dtype in (torch.float64, torch.float32))
        got = native(*given)
        scale = exact.abs().max()
        assert got.shape == exact.shape
        assert (got - exact).abs().max() / scale <= max(2 * (plain - exact).abs().max() / scale, 2e-6), frames


@pytest.mark.parametrize("name", CASES)
def test_torch_op(name):
    """The registered op gives the class's numbers, knows its shapes, and goes through torch.compile."""
    case, given = CASES[name], inputs(name, 20)
    weights = {key: x for key, x in case.weights.items() if x is not None}
    named = dict(zip(("x", "residual"), given, strict=False))
    got = case.op(**named, **weights)
    torch.testing.assert_close(got, case.kind(**case.weights)(*given), rtol=1e-6, atol=1e-6)
    torch.library.opcheck(case.op, (), {**named, **weights}, test_utils=("test_schema", "test_faketensor"))


@pytest.mark.parametrize("kind", ["numpy", "read-only", "strided", "channels last", "dlpack"])
def test_arrays_of_any_kind(kind):
    case = CASES["ctr_gc"]
    (x,) = inputs("ctr_gc", 32)
    native = case.kind(**case.weights)
    want = native(x.numpy())
    assert isinstance(want, np.ndarray)
    array: Any = x.numpy().copy()
    if kind == "read-only":
        array.flags.writeable = False
    elif kind == "strided":
        wide = np.zeros((2, 32, 25, 64), np.float32)
        wide[:, ::2, :, ::2] = array
        array = wide[:, ::2, :, ::2]
    elif kind == "channels last":
        array = np.ascontiguousarray(array.transpose(0, 2, 3, 1)).transpose(0, 3, 1, 2)
    elif kind == "dlpack":

        class Foreign:
            """An array of a library that we know nothing of."""

            def __dlpack__(self, **options: Any) -> Any:
                return x.__dlpack__(**options)

            def __dlpack_device__(self) -> Any:
                return x.__dlpack_device__()

        array = Foreign()
    np.testing.assert_array_equal(native(array), want)
    np.testing.assert_array_equal(x.numpy(), inputs("ctr_gc", 32)[0].numpy())  # inputs are only read


@pytest.mark.parametrize(
    ("change", "part"),
    [
        ({"shift": torch.zeros(15)}, r"expand must be \[45, 5\], got \[48, 5\]"),
        ({"adjacency": torch.zeros(3, 25, 24)}, r"adjacency must be \[3, 25, 25\]"),
        ({"shortcut": torch.zeros(16, 4)}, r"shortcut must be \[16, 16\]"),
        ({"value": torch.zeros(48, 16, dtype=torch.float64)}, "value must be float32, got float64"),
        ({"value": torch.zeros(48, 16).bfloat16()}, r"value must be float32, got bfloat16; give value\.float\(\)"),
        ({"value": torch.full((48, 16), torch.nan)}, r"value holds NaN or infinity, first at \[0, 0\]"),
        ({"value": None}, "CtrGc needs the weight 'value'"),
        ({"values": torch.zeros(3)}, "CtrGc has no weight 'values'; it takes relation, "),
        ({"threads": 1.5}, "threads must be 0 .* got 1.5"),
        ({"isa": None}, "isa must be a string"),
        ({"isa": "mmx"}, "'mmx' is not known"),
    ],
)
def test_wrong_weights_are_named(change, part):
    with pytest.raises(BadInput, match=part):
        ops.CtrGc(**{**CASES["ctr_gc"].weights, **change})


def test_wrong_inputs_are_named():
    native = ops.CtrGc(**CASES["ctr_gc"].weights)
    with pytest.raises(BadInput, match=r"x must be \[N, 16, 25, T\], got \[2, 16, 20, 8\]"):
        native(np.zeros((2, 16, 20, 8), np.float32))
    with pytest.raises(BadInput, match="got 3 axes"):
        native(np.zeros((16, 25, 8), np.float32))
    with pytest.raises(BadInput, match="x must be float32, got float64"):
        native(np.zeros((1, 16, 25, 8)))
    with pytest.raises(BadInput, match="x must be an array"):
        native("clip")
    with pytest.raises(BadInput, match="x must be dense"):
        native(torch.zeros(1, 16, 25, 8).to_sparse())
    x = np.zeros((1, 16, 25, 8), np.float32)
    x[0, 3, 2, 1] = np.nan
    with pytest.raises(BadInput, match=r"x holds NaN or infinity, first at \[0, 3, 2, 1\]"):
        native(x)
    native(np.full((1, 16, 25, 8), 3e38, np.float32))  # finite, although their sum is not


@pytest.mark.parametrize(
    ("change", "part"),
    [
        ({"group_of": torch.zeros(25)}, "group_of must hold whole numbers, got float32"),
        ({"group_of": torch.arange(25) - 1}, "indices from 0 on, got -1 to 23"),
        ({"hop_of": torch.full((25, 25), 2**32)}, "hop_of must hold indices"),  # not 0, as 32 bits would have it
        ({"gain": "x"}, "gain must be a number, got 'x'"),
    ],
)
def test_tables_are_neither_cut_nor_wrapped(change, part):
    with pytest.raises(BadInput, match=part):
        ops.HyperedgeAttention(**{**CASES["hyperedge_attention"].weights, **change})


def test_one_op_serves_many_threads():
    """Its threads work for one caller at a time; others wait."""
    native = ops.CtrGc(**CASES["ctr_gc"].weights, threads=2)
    given = [torch.randn(2, 16, 25, 16, generator=torch.Generator().manual_seed(seed)).numpy() for seed in range(4)]
    want = [native(x) for x in given]
    with ThreadPoolExecutor(4) as pool:
        for number, got in zip([0, 1, 2, 3] * 8, pool.map(lambda i: native(given[i]), [0, 1, 2, 3] * 8), strict=True):
            np.testing.assert_array_equal(got, want[number])


def test_what_is_too_large_is_refused_before_it_is_sized():
    """A broadcast view may claim any size without holding a number."""
    native = ops.CtrGc(**CASES["ctr_gc"].weights)
    for shape in ((1, 16, 65536, 65536), (1 << 19, 16, 25, 1 << 19)):
        with pytest.raises(BadInput, match=r"too large|must have 1 to 256"):
            native(np.broadcast_to(np.float32(0), shape))
