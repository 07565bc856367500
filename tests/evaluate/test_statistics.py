"""Intervals over seeds against scipy, differences by pairs, and what is refused."""

from __future__ import annotations

import math

import numpy as np
import pytest

from ski_edge.errors import BadInput
from ski_edge.evaluate.statistics import paired, spread, t_quantile, t_within

stats = pytest.importorskip("scipy.stats")
DEGREES = (1, 2, 3, 4, 5, 9, 10, 30, 31, 999, 1000)


@pytest.mark.parametrize("degrees", DEGREES)
def test_student_t_is_scipys(degrees):
    for t in (0.0, 0.05, 0.3, 1.0, 2.5, 12.0):
        assert t_within(t, degrees) == pytest.approx(1 - 2 * stats.t.sf(t, degrees), abs=1e-13)
    for confidence in (0.01, 0.5, 0.9, 0.95, 0.999):
        assert t_quantile(degrees, confidence) == pytest.approx(stats.t.ppf((1 + confidence) / 2, degrees), rel=1e-9)


def test_spread_is_scipys():
    values = [51.2, 52.9, 52.0, 50.4, 53.1]
    got = spread(values)
    low, high = stats.t.interval(0.95, 4, np.mean(values), stats.sem(values))
    assert got.interval == pytest.approx((low, high))
    assert (got.n, got.mean, got.sd) == (5, pytest.approx(np.mean(values)), pytest.approx(np.std(values, ddof=1)))
    assert spread([3.0, 3.0]).ci95 == 0


def test_one_seed_has_no_interval():
    got = spread([52.0])
    assert (got.mean, got.sd, got.ci95, got.interval) == (52, None, None, None)
    assert not paired({1: 3.0}, {1: 9.0}).sure


def test_intervals_hold_the_truth_19_times_in_20():
    rng = np.random.default_rng(0)
    held = [abs(s.mean - 50) <= s.ci95 for s in (spread(rng.normal(50, 2, 3).tolist()) for _ in range(4000))]
    assert 0.938 < np.mean(held) < 0.962  # four standard errors


def test_pairs_see_what_seeds_hide():
    """A gain of about one point under seeds that differ by ten: paired it is sure, row against row it is not."""
    seeds = {1: 40.0, 2: 50.0, 3: 60.0, 4: 45.0}
    better = {4: 46.1, 3: 61.0, 2: 50.8, 1: 41.2}  # in another order
    got = paired(seeds, better)
    assert got.spread.mean == pytest.approx(1.025)
    assert got.sure
    assert got.p == pytest.approx(stats.ttest_rel([41.2, 50.8, 61.0, 46.1], list(seeds.values())).pvalue, rel=1e-9)
    rows = spread(list(seeds.values())), spread(list(better.values()))
    assert abs(rows[1].mean - rows[0].mean) < rows[0].ci95
    back = paired(better, seeds)
    assert (back.spread.mean, back.p, back.sure) == (-got.spread.mean, pytest.approx(got.p), True)


def test_the_same_difference_in_every_seed():
    got = paired({1: 1.0, 2: 2.0}, {1: 2.0, 2: 3.0})
    assert (got.p, got.sure) == (None, True)
    assert not paired({1: 1.0, 2: 2.0}, {1: 1.0, 2: 2.0}).sure


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (lambda: spread([]), "one finite number per seed"),
        (lambda: spread([1.0, math.nan]), "one finite number per seed"),
        (lambda: paired({1: 1.0, 2: 2.0}, {1: 1.0, 3: 2.0}), r"only one of them has \[2, 3\]"),
        (lambda: t_quantile(0), "from 1 to"),
        (lambda: t_quantile(2.5), "whole number"),
        (lambda: t_quantile(10**9), "from 1 to"),
        (lambda: t_quantile(3, 1.0), "between 0 and 1"),
    ],
)
def test_what_is_refused(call, says):
    with pytest.raises(BadInput, match=says):
        call()
