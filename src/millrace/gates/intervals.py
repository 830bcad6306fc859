"""Intervals and exact tests for counts, in closed form or by bisection. Standard library only."""

from __future__ import annotations

import math
from collections.abc import Callable
from statistics import NormalDist

Z_ONE_SIDED = NormalDist().inv_cdf(0.95)
_Z_POWER = NormalDist().inv_cdf(0.80)


def paired_bounds(only_candidate: int, only_champion: int, n: int, z: float = Z_ONE_SIDED) -> tuple[float, float]:
    """One-sided 95 % bounds, below and above, of the difference of two paired shares.

    Score interval of Tango (Statistics in Medicine 17, 1998): unlike the plain normal interval it stays honest when
    few rows or none at all tell the two models apart.

    Parameters
    ----------
    only_candidate, only_champion : int
        Rows that only one of the two answers rightly.
    n : int
        All rows.
    """

    def statistic(difference: float) -> float:
        a = 2.0 * n
        b = -only_candidate - only_champion + (2 * n - only_candidate + only_champion) * difference
        c = -only_champion * difference * (1 - difference)
        share = (math.sqrt(max(0.0, b * b - 4 * a * c)) - b) / (2 * a)
        variance = n * (2 * share + difference * (1 - difference))
        distance = only_candidate - only_champion - n * difference
        if variance <= 0:
            return math.copysign(math.inf, distance) if distance else 0.0
        return distance / math.sqrt(variance)

    observed = (only_candidate - only_champion) / n
    return _where(statistic, z, -1.0, observed), _where(statistic, -z, observed, 1.0)


def chance_of_so_few(successes: int, trials: int, share: float = 0.5) -> float:
    """P(Binomial(trials, share) <= successes), exact to rounding.

    With the discordant rows of two models as trials and those the candidate won as successes this is McNemar's exact
    one-sided test of "the candidate is worse".
    """
    if successes >= trials:
        return 1.0
    if successes < 0:
        return 0.0
    if successes > trials * share:
        return 1.0 - chance_of_so_few(trials - successes - 1, trials, 1 - share)
    term = math.exp(
        math.lgamma(trials + 1)
        - math.lgamma(successes + 1)
        - math.lgamma(trials - successes + 1)
        + successes * math.log(share)
        + (trials - successes) * math.log1p(-share)
    )
    total = 0.0
    for k in range(successes, -1, -1):
        total += term
        if term < total * 1e-17:  # below the mode terms only fall: nothing left that a float can see
            break
        term *= k / (trials - k + 1) * (1 - share) / share
    return min(1.0, total)


def quantile_ranks(n: int, share: float, confidence: float = 0.95) -> tuple[int | None, int | None]:
    """Ranks (from 1) of the order statistics that bound a quantile from below and above, each one-sided.

    None where `n` is too small for such a bound: above the 95 % quantile it takes 59 values.

    >>> quantile_ranks(58, 0.95), quantile_ranks(59, 0.95)
    ((52, None), (53, 59))
    """
    lower = next(
        (k for k in range(min(n, int(n * share) + 2), 0, -1) if 1 - chance_of_so_few(k - 1, n, share) >= confidence),
        None,
    )
    upper = next(
        (k for k in range(max(1, int(n * share)), n + 1) if chance_of_so_few(k - 1, n, share) >= confidence), None
    )
    return lower, upper


def rows_for_a_decision(deviation: float, margin: float) -> int | None:
    """Rows at which two equal models pass a margin 80 times in 100; None when no number would do.

    `deviation` is the standard deviation of one row's paired difference.
    """
    if margin <= 0:
        return None
    return max(1, math.ceil(((Z_ONE_SIDED + _Z_POWER) * deviation / margin) ** 2))


def _where(statistic: Callable[[float], float], target: float, low: float, high: float) -> float:
    """The point in [low, high] at which a falling function takes the value `target`."""
    for _ in range(60):
        middle = (low + high) / 2
        if statistic(middle) > target:
            low = middle
        else:
            high = middle
    return (low + high) / 2
