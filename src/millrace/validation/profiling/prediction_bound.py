"""How many rows of a coming batch may break a habit that the reference kept, if nothing changed."""

from __future__ import annotations

import math

import numpy as np

_WIDTH = 14.0  # standard deviations on either side of the mean that are looked at


def most_expected(alpha: float, beta: float, rows: int, chance: float) -> int:
    """The smallest count that is exceeded with at most `chance` among `rows` rows.

    The count is beta-binomial: each row breaks the habit with a probability that is known only as beta distributed.

    Parameters
    ----------
    alpha, beta : float
        Of the share. After k of n rows broke the habit, Jeffreys' prior makes them k + 1/2 and n - k + 1/2. For the
        values outside the least and greatest of n, alpha 2 and beta n - 1 are exact for every continuous
        distribution (source: Wilks, "Determination of sample sizes for setting tolerance limits", 1941).

    >>> most_expected(0.5, 1000.5, 1000, 1e-5)
    14
    """
    if rows <= 0:
        return 0
    share = alpha / (alpha + beta)
    spread = math.sqrt(rows * share * (1 - share) * (1 + rows / (alpha + beta + 1)))
    low = max(0, math.floor(rows * share - _WIDTH * spread))
    high = min(rows, math.ceil(rows * share + _WIDTH * spread) + 200)
    counts = np.arange(low, high)
    # Ratios of neighbouring probabilities: no term is computed that overflows.
    steps = np.log((rows - counts) * (counts + alpha)) - np.log((counts + 1) * (rows - counts - 1 + beta))
    logs = _log_probability(low, alpha, beta, rows) + np.concatenate([[0.0], np.cumsum(steps)])
    above = np.cumsum(np.exp(logs)[::-1])[::-1]  # above[i]: at least low + i
    enough = np.flatnonzero(above <= chance)
    return int(low + enough[0] - 1) if len(enough) else rows


def share_kept(broken: int, of: int, rows: int, chance: float) -> float:
    """The share of `rows` rows that keeps a habit which `broken` of `of` rows broke, but for that chance.

    Rounded down to four digits, so that the rule is not stricter than it says.

    >>> share_kept(0, 1000, 1000, 1e-5)
    0.986
    """
    return kept_share(most_expected(broken + 0.5, of - broken + 0.5, rows, chance), rows)


def kept_share(most: int, rows: int) -> float:
    """What is left of all rows when `most` break a rule, rounded down to four digits."""
    return max(0.0, math.floor((1 - most / rows) * 10_000 + 1e-9) / 10_000) if rows else 0.0


def _log_probability(count: int, alpha: float, beta: float, rows: int) -> float:
    return (
        math.lgamma(rows + 1)
        - math.lgamma(count + 1)
        - math.lgamma(rows - count + 1)
        + math.lgamma(count + alpha)
        + math.lgamma(rows - count + beta)
        - math.lgamma(rows + alpha + beta)
        + math.lgamma(alpha + beta)
        - math.lgamma(alpha)
        - math.lgamma(beta)
    )
