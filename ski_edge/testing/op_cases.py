"""Cases of the native ops: weights and inputs from a seed, and what every op must do with them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ski_edge import ops

FRAMES = (1, 2, 16, 63, 65)


@dataclass(frozen=True)
class OpCase:
    """An op by its name (`ctr_gc`) with weights: what its reference, its class and its torch op take."""

    name: str
    channels: int  # of x
    weights: dict[str, Any]
    joints: int = 25
    bodies: int = 2
    residual: int = 0  # channels of the residual, if any

    @property
    def kind(self) -> Callable[..., Any]:
        """The class that packs weights: ops.CtrGc."""
        return getattr(ops, "".join(word.capitalize() for word in self.name.split("_")))

    @property
    def torch_op(self) -> Callable[..., Any]:
        return getattr(torch.ops.ski_edge, self.name)

    def inputs(self, frames: int) -> tuple[Tensor, ...]:
        """x [N, C, V, T], and a residual where the op takes one."""
        random = torch.Generator().manual_seed(5)
        channels = [self.channels, *([self.residual] if self.residual else [])]
        return tuple(torch.randn(self.bodies, c, self.joints, frames, generator=random) for c in channels)

    def named(self, given: tuple[Tensor, ...]) -> dict[str, Tensor]:
        return dict(zip(("x", "residual"), given, strict=False))

    def reference(self, given: tuple[Tensor, ...], dtype: torch.dtype) -> tuple[Tensor, ...]:
        """What the readable torch version makes of it, computed in `dtype`."""
        convert = lambda x: x.to(dtype) if isinstance(x, Tensor) and x.is_floating_point() else x  # noqa: E731
        weights = {name: convert(x) for name, x in self.weights.items()}
        module = getattr(ops, self.name)
        return _tuple(module.reference(**self.named(tuple(x.to(dtype) for x in given)), **weights))


def number(seed: int = 0) -> Callable[..., Tensor]:
    """A maker of normal numbers, scaled so that sums along the last axis are of order one."""
    random = torch.Generator().manual_seed(seed)
    return lambda *shape: torch.randn(shape, generator=random) / max(shape[-1], 1) ** 0.5


def assert_equals_reference(case: OpCase, frames: tuple[int, ...] = FRAMES) -> None:
    """At most twice what the reference itself loses in float32, or a few units of the last place."""
    native = case.kind(**case.weights, threads=2)
    for count in frames:
        given = case.inputs(count)
        exact, plain = (case.reference(given, dtype) for dtype in (torch.float64, torch.float32))
        for got, truth, rounded in zip(_tuple(native(*given)), exact, plain, strict=True):
            assert got.shape == truth.shape
            scale = truth.abs().max()
            assert (got - truth).abs().max() / scale <= max(2 * (rounded - truth).abs().max() / scale, 2e-6), count


def assert_torch_op(case: OpCase) -> None:
    """The registered op gives the class's numbers, knows its shapes, and goes through torch.compile."""
    given = case.inputs(20)
    weights = {key: x for key, x in case.weights.items() if x is not None}
    named = {**case.named(given), **weights}
    got = case.torch_op(**named)
    torch.testing.assert_close(_tuple(got), _tuple(case.kind(**case.weights)(*given)), rtol=1e-6, atol=1e-6)
    torch.library.opcheck(case.torch_op, (), named, test_utils=("test_schema", "test_faketensor"))


def _tuple(x: Any) -> tuple[Any, ...]:
    return x if isinstance(x, tuple) else (x,)
