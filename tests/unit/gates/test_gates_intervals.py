"""Intervals and exact tests against scipy, published values and simulation."""

import numpy as np
import pytest
from scipy import stats

from millrace.gates.intervals import (
    chance_of_so_few,
    paired_bounds,
    quantile_ranks,
    rows_for_a_decision,
)


@pytest.mark.parametrize(
    ("k", "n", "share"), [(3, 20, 0.5), (190, 200, 0.95), (4900, 10_000, 0.5), (5100, 10_000, 0.5), (0, 5, 0.3)]
)
def test_binomial_tail_equals_scipy(k, n, share):
    assert chance_of_so_few(k, n, share) == pytest.approx(stats.binom.cdf(k, n, share), rel=1e-9)


def test_binomial_tail_ends():
    assert (chance_of_so_few(5, 5), chance_of_so_few(0, 0), chance_of_so_few(-1, 5)) == (1.0, 1.0, 0.0)


def test_paired_bounds_without_a_discordant_row_are_those_of_zero_out_of_n():
    # With nothing lost and nothing won the score bound of a loss is Wilson's for 0 of n.
    z = stats.norm.ppf(0.95)
    expected = z * z / (200 + z * z)
    assert paired_bounds(0, 0, 200) == pytest.approx((-expected, expected), abs=1e-9)


def test_paired_bounds_are_antisymmetric_and_hold_the_estimate():
    lower, upper = paired_bounds(30, 12, 500)
    assert lower < 18 / 500 < upper
    assert paired_bounds(12, 30, 500) == pytest.approx((-upper, -lower), abs=1e-9)


def test_paired_bounds_near_the_normal_interval_in_large_samples():
    won, lost, n = 3000, 2800, 100_000
    difference = (won - lost) / n
    half = stats.norm.ppf(0.95) * (((won + lost) / n - difference**2) / n) ** 0.5
    assert paired_bounds(won, lost, n) == pytest.approx((difference - half, difference + half), abs=2e-6)


@pytest.mark.parametrize(("difference", "n"), [(0.0, 200), (-0.02, 200), (-0.01, 1000)])
def test_paired_bounds_cover_the_truth(difference, n):
    rng = np.random.default_rng(n)
    draws = rng.multinomial(n, [(0.06 + difference) / 2, (0.06 - difference) / 2, 0.94], size=1500)
    below = np.mean([paired_bounds(int(won), int(lost), n)[0] > difference for won, lost, _ in draws])
    assert below <= 0.05 + 3 * (0.05 * 0.95 / 1500) ** 0.5


def test_quantile_ranks():
    assert quantile_ranks(200, 0.95) == (185, 196)
    assert quantile_ranks(58, 0.95)[1] is None


def test_quantile_ranks_cover_the_truth():
    rng = np.random.default_rng(2)
    samples = np.sort(rng.exponential(size=(3000, 200)), axis=1)
    truth = -np.log(0.05)
    lower, upper = quantile_ranks(200, 0.95)
    allowed = 0.05 + 3 * (0.05 * 0.95 / 3000) ** 0.5
    assert np.mean(samples[:, upper - 1] < truth) <= allowed
    assert np.mean(samples[:, lower - 1] > truth) <= allowed


def test_rows_for_a_decision():
    assert rows_for_a_decision(0.06**0.5, 0.01) == pytest.approx(3700, rel=0.01)
    assert rows_for_a_decision(0.2, 0.0) is None
