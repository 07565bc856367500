"""What all native ops do with arrays: any library's, any strides, wrong ones named; one caller at a time."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
import torch

from ski_edge import ops
from ski_edge.errors import BadInput
from ski_edge.testing.op_cases import OpCase, number


@pytest.fixture(scope="module")
def case() -> OpCase:
    """One op stands for all: the border is shared."""
    n = number()
    weights = {
        "relation": n(30, 16),
        "relation_bias": n(30),
        "expand": n(48, 5),
        "expand_bias": n(48),
        "adjacency": n(3, 25, 25),
        "value": n(48, 16),
        "value_bias": n(48),
        "shift": n(16),
        "shortcut": None,
    }
    return OpCase("ctr_gc", 16, weights)


@pytest.mark.parametrize("kind", ["numpy", "read-only", "strided", "channels last", "dlpack"])
def test_arrays_of_any_kind(case, kind):
    (x,) = case.inputs(32)
    native = ops.CtrGc(**case.weights)
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
    np.testing.assert_array_equal(x.numpy(), case.inputs(32)[0].numpy())  # inputs are only read


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
        ({"value": torch.zeros(48, 20_000)}, "value must have up to 16384 in axis 1, got 20000"),
        ({"value": torch.zeros(48)}, "value must have an axis 1, it has 1 axes"),
        ({"expand": torch.zeros(48, 0)}, r"relation must be \[0, 16\]"),
        ({"isa": "mmx"}, "'mmx' is not known"),
    ],
)
def test_wrong_weights_are_named(case, change, part):
    with pytest.raises(BadInput, match=part):
        ops.CtrGc(**{**case.weights, **change})


def test_wrong_inputs_are_named(case):
    native = ops.CtrGc(**case.weights)
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


def test_one_op_serves_many_threads(case):
    """Its threads work for one caller at a time; others wait."""
    native = ops.CtrGc(**case.weights, threads=2)
    given = [torch.randn(2, 16, 25, 16, generator=torch.Generator().manual_seed(seed)).numpy() for seed in range(4)]
    want = [native(x) for x in given]
    with ThreadPoolExecutor(4) as pool:
        for number, got in zip([0, 1, 2, 3] * 8, pool.map(lambda i: native(given[i]), [0, 1, 2, 3] * 8), strict=True):
            np.testing.assert_array_equal(got, want[number])


def test_what_is_too_large_is_refused_before_it_is_sized(case):
    """A broadcast view may claim any size without holding a number."""
    native = ops.CtrGc(**case.weights)
    for shape in ((1, 16, 65536, 65536), (1 << 19, 16, 25, 1 << 19)):
        with pytest.raises(BadInput, match=r"too large|must have 1 to 256"):
            native(np.broadcast_to(np.float32(0), shape))
