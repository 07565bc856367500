"""Means over seeds with their intervals: what may be said of a difference between two rows of a table."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from ski_edge.errors import BadInput

_CONFIDENCE = 0.95
_MOST_DEGREES = 1_000_000  # of freedom; the sum below has half as many terms


@dataclass(frozen=True, slots=True)
class Spread:
    """Of one row over n seeds. One seed has a mean and nothing else."""

    n: int
    mean: float
    sd: float | None  # of the sample, n - 1 in the denominator
    ci95: float | None  # half the width of the 95 % interval of the mean, Student's t

    @property
    def interval(self) -> tuple[float, float] | None:
        return None if self.ci95 is None else (self.mean - self.ci95, self.mean + self.ci95)


@dataclass(frozen=True, slots=True)
class Difference:
    """Second row minus first, seed by seed."""

    spread: Spread
    p: float | None  # two-sided, paired t-test; None with one seed or where every seed differs by the same

    @property
    def sure(self) -> bool:
        """Whether the 95 % interval leaves out 0."""
        interval = self.spread.interval
        return interval is not None and (interval[0] > 0 or interval[1] < 0)


def spread(values: Sequence[float]) -> Spread:
    """Mean, standard deviation and 95 % interval of one number per seed."""
    given = np.asarray(values, np.float64)
    if given.ndim != 1 or not len(given) or not np.isfinite(given).all():
        raise BadInput(f"an interval needs one finite number per seed, got {list(values)!r}")
    n, mean = len(given), float(given.mean())
    if n == 1:
        return Spread(1, mean, None, None)
    sd = float(given.std(ddof=1))
    return Spread(n, mean, sd, t_quantile(n - 1) * sd / math.sqrt(n))


def paired(first: Mapping[int, float], second: Mapping[int, float]) -> Difference:
    """Two rows, seed -> number, run on the same seeds. What a seed does to both rows cancels."""
    if set(first) != set(second):
        odd = sorted(set(first) ^ set(second))
        raise BadInput(f"a paired difference needs the same seeds in both rows; only one of them has {odd}")
    result = spread([second[seed] - first[seed] for seed in sorted(first)])
    if not result.sd:
        return Difference(result, None)
    t = abs(result.mean) / (result.sd / math.sqrt(result.n))
    return Difference(result, 1 - t_within(t, result.n - 1))


def t_within(t: float, degrees: int) -> float:
    """Probability that Student's t with `degrees` of freedom lies between -t and t (Abramowitz, Stegun 26.7.3-4)."""
    if not 1 <= degrees <= _MOST_DEGREES or degrees != int(degrees):
        raise BadInput(f"degrees of freedom must be a whole number from 1 to {_MOST_DEGREES}, got {degrees}")
    return _within(math.atan2(t, math.sqrt(degrees)), int(degrees))


def t_quantile(degrees: int, confidence: float = _CONFIDENCE) -> float:
    """The t that `t_within` gives `confidence` for: 4.303 for two degrees of freedom and 0.95."""
    if not 0 < confidence < 1:
        raise BadInput(f"the confidence must be between 0 and 1, got {confidence}")
    t_within(0.0, degrees)  # checks them
    low, high = 0.0, math.pi / 2
    while (middle := (low + high) / 2) not in (low, high):
        low, high = (middle, high) if _within(middle, int(degrees)) < confidence else (low, middle)
    return math.sqrt(degrees) * math.tan(low)


def _within(angle: float, degrees: int) -> float:
    """`t_within`, by the angle whose tangent is t / sqrt(degrees): a finite sum of powers of its cosine."""
    sine, cosine = math.sin(angle), math.cos(angle)
    odd = degrees % 2
    term, total = (cosine if odd else 1.0), 0.0
    for k in range(1 + odd, degrees, 2):
        total += term
        term *= cosine * cosine * k / (k + 1)
    return 2 / math.pi * (angle + sine * total) if odd else sine * total
