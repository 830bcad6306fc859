"""Two-sample contingency chi-square for levels, and the test for levels never seen before."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

_LEAST_EXPECTED = 5.0  # Cochran: below five expected rows the chi-square law is not yet true
_SHOWN_LEVELS = 10


def count_levels(
    reference: pa.ChunkedArray, current: pa.ChunkedArray
) -> tuple[list[Any], NDArray[np.int64], NDArray[np.int64]]:
    """Every level of both samples with its count in each: (k,) names, (k,) and (k,) counts."""
    both = pa.chunked_array([*reference.chunks, *current.chunks], type=reference.type)
    encoded = both.combine_chunks().dictionary_encode()
    codes = encoded.indices.to_numpy(zero_copy_only=False)
    names = encoded.dictionary.to_pylist()
    split = len(reference)
    return (
        names,
        np.bincount(codes[:split], minlength=len(names)),
        np.bincount(codes[split:], minlength=len(names)),
    )


def pool_rare(reference: NDArray[np.int64], current: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Counts with every level that expects fewer than five rows in the smaller sample put into one last cell."""
    smaller = min(reference.sum(), current.sum())
    total = reference + current
    rare = total * smaller < _LEAST_EXPECTED * total.sum()
    if not rare.any():
        return reference, current
    return (
        np.append(reference[~rare], reference[rare].sum()),
        np.append(current[~rare], current[rare].sum()),
    )


def chi2_test(reference: NDArray[np.int64], current: NDArray[np.int64]) -> dict[str, Any]:
    """Contingency chi-square (no continuity correction) of two rows of counts.

    Parameters
    ----------
    reference, current : ndarray of shape (k,), counts of the same k cells, each cell seen at least once.

    Returns
    -------
    dict
        statistic, p_value (1 when there is only one cell), and effect: the total variation distance less what
        it is expected to be for two samples of one law.
    """
    from scipy import special

    n, m = int(reference.sum()), int(current.sum())
    share = (reference + current) / (n + m)
    statistic = float(np.sum((reference - n * share) ** 2 / (n * share) + (current - m * share) ** 2 / (m * share)))
    distance = 0.5 * float(np.abs(reference / n - current / m).sum())
    # E|X| of a normal variable is sqrt(2/pi) of its standard deviation; summed over the cells.
    by_chance = 0.5 * float(np.sqrt(2 / math.pi * share * (1 - share) * (1 / n + 1 / m)).sum())
    freedom = len(share) - 1
    return {
        "test": "chi2",
        "statistic": statistic,
        "p_value": float(special.chdtrc(freedom, statistic)) if freedom else 1.0,
        "effect": max(0.0, distance - by_chance),
    }


def unseen_test(reference: NDArray[np.int64], current: NDArray[np.int64]) -> dict[str, Any]:
    """Do more current rows carry a level the reference never saw than two samples of one law would show?

    Under one law each of the n + m rows is equally likely to lie on either side, so a level of N rows falls wholly
    into the current sample with the hypergeometric probability. The p-value is Chernoff's bound for the number of
    rows in such levels: never smaller than the truth, at any number of levels. `statistic` is the share of current
    rows with an unseen level, `effect` that share less its expectation.
    """
    n, m = int(reference.sum()), int(current.sum())
    sizes, how_many = np.unique(reference + current, return_counts=True)
    wholly_current = _chance_wholly_current(sizes, n, m)
    expected = float(np.sum(how_many * sizes * wholly_current))
    unseen = int(current[reference == 0].sum())
    return {
        "test": "unseen",
        "statistic": unseen / m,
        "p_value": _chernoff(unseen, expected, sizes, how_many, wholly_current),
        "effect": max(0.0, (unseen - expected) / m),
    }


def largest_moves(names: list[Any], reference: NDArray[np.int64], current: NDArray[np.int64]) -> list[dict[str, Any]]:
    """The levels whose share moved most, largest first, at most ten, those that moved at all."""
    before, after = reference / reference.sum(), current / current.sum()
    order = np.argsort(-np.abs(after - before), kind="stable")[:_SHOWN_LEVELS]
    return [
        {"level": str(names[i]), "reference": float(before[i]), "current": float(after[i])}
        for i in order
        if before[i] != after[i]
    ]


def _chance_wholly_current(sizes: NDArray[np.int64], n: int, m: int) -> NDArray[np.float64]:
    """C(m, s) / C(n + m, s) for each size s; 0 where the level is larger than the current sample."""
    from scipy.special import gammaln

    fits = sizes <= m
    s = np.where(fits, sizes, 0)
    log = gammaln(m + 1) - gammaln(m - s + 1) - gammaln(n + m + 1) + gammaln(n + m - s + 1)
    return np.where(fits, np.exp(np.minimum(log, 0.0)), 0.0)


def _chernoff(
    unseen: int,
    expected: float,
    sizes: NDArray[np.int64],
    how_many: NDArray[np.int64],
    chance: NDArray[np.float64],
) -> float:
    """min over t of exp(K(t) - t * unseen), K the cumulant function of the sum of independent levels."""
    if unseen <= expected:
        return 1.0
    from scipy.optimize import minimize_scalar

    possible = chance > 0
    if not possible.any():
        return 0.0
    sizes, how_many, chance = sizes[possible], how_many[possible], chance[possible]

    def exponent(log_t: float) -> float:
        t = math.exp(log_t)
        grown = np.logaddexp(np.log1p(-np.minimum(chance, 1 - 1e-16)), np.log(chance) + t * sizes)
        return float(np.sum(how_many * grown) - t * unseen)

    # The exponent is convex in t; searched over log t because t spans 1 / rows to the rarest level's -log chance.
    best = minimize_scalar(exponent, bounds=(-20.0, 8.0), method="bounded")
    return math.exp(min(0.0, float(best.fun)))
