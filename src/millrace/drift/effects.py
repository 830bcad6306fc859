"""How far a distribution moved: effect sizes, each beside what two samples of one law would show by chance.

Sources: Yurdakul 2018 for the population stability index' expectation; Menendez et al. 1997 for that of the
Jensen-Shannon divergence; Vallender 1974 for Wasserstein's distance by quantiles.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from millrace.drift.numeric import Steps

_BINS = 10
_BARS = 30
_CLEAR = 4.0  # standard errors
_TAIL = 0.005  # of the rows lie beyond the first and the last bar's inner edge

Counts = NDArray[np.int64]


def stability_index(reference: Counts, current: Counts) -> dict[str, float]:
    """`psi` over the same k cells, and `psi_by_chance`, its expectation without drift, (k - 1)(1/n + 1/m).

    Half a row is added to every cell, so that an empty one has a logarithm.
    """
    k, n, m = len(reference), int(reference.sum()), int(current.sum())
    before, after = (reference + 0.5) / (n + k / 2), (current + 0.5) / (m + k / 2)
    psi = float(np.sum((after - before) * np.log(after / before)))
    return {"psi": psi, "psi_by_chance": (k - 1) * (1 / n + 1 / m)}


def jensen_shannon(reference: Counts, current: Counts) -> dict[str, float]:
    """`js`, the distance (natural logarithm, 0 to 0.833), and `js_beyond_chance`.

    The expected divergence without drift, (k - 1)(1/n + 1/m)/8, is taken off before the root: uncorrected, a column of
    100 levels reads 0.11 at 2,000 rows with nothing moved.
    """
    n, m = int(reference.sum()), int(current.sum())
    before, after = reference / n, current / m
    middle = (before + after) / 2
    divergence = 0.0
    for share in (before, after):
        there = share > 0
        divergence += float(np.sum(share[there] * np.log(share[there] / middle[there]))) / 2
    by_chance = (len(reference) - 1) * (1 / n + 1 / m) / 8
    divergence = max(0.0, divergence)
    return {"js": math.sqrt(divergence), "js_beyond_chance": math.sqrt(max(0.0, divergence - by_chance))}


def total_variation(reference: Counts, current: Counts) -> tuple[float, float]:
    """The total variation distance of two rows of counts, and what it is expected to be for samples of one law."""
    n, m = int(reference.sum()), int(current.sum())
    share = (reference + current) / (n + m)
    distance = 0.5 * float(np.abs(reference / n - current / m).sum())
    # E|X| of a normal variable is sqrt(2/pi) of its standard deviation; summed over the cells.
    by_chance = 0.5 * float(np.sqrt(2 / math.pi * share * (1 - share) * (1 / n + 1 / m)).sum())
    return distance, by_chance


def moved_levels(reference: Counts, current: Counts) -> float:
    """The share of rows that came to, or went from, cells that each moved by more than four standard errors.

    No more than the true total variation, noise apart, and the better estimate of it where there are many cells: one
    level that takes a tenth of the rows from a hundred others moves each of them by less than chance does, so that
    the distance beyond chance sees half of it.
    """
    n, m = int(reference.sum()), int(current.sum())
    share = (reference + current) / (n + m)
    move = current / m - reference / n
    clear = np.abs(move) > _CLEAR * np.sqrt(share * (1 - share) * (1 / n + 1 / m))
    return float(max(move[clear & (move > 0)].sum(), -move[clear & (move < 0)].sum()))


def variation_chance(reference: Counts, current: Counts, limit: float) -> float:
    """A bound on the probability that either estimate of the total variation reaches `limit` without drift.

    One row more or less on a side moves the distance by 1/n or 1/m at most, so it exceeds its expectation by `limit`
    with McDiarmid's probability. The rows of moved levels are no more than that distance, and on either side their
    expectation is the sum of sigma phi(4) (Markov's bound).
    """
    n, m = int(reference.sum()), int(current.sum())
    if limit <= 0:
        return 1.0
    weight = 2 * n * m / (n + m)
    _, by_chance = total_variation(reference, current)
    share = (reference + current) / (n + m)
    tails = float(np.sqrt(share * (1 - share) * (1 / n + 1 / m)).sum())
    markov = 2 * tails * math.exp(-(_CLEAR**2) / 2) / math.sqrt(2 * math.pi) / limit
    beyond = math.exp(-weight * limit**2)
    moved = min(math.exp(-weight * max(0.0, limit - by_chance) ** 2), markov)
    return min(1.0, beyond + moved)


def wasserstein(reference: NDArray[Any] | Steps, current: NDArray[Any]) -> tuple[float, float] | None:
    """The mean distance that values must travel, and the largest error of it; in the column's own units.

    Parameters
    ----------
    reference : ndarray of shape (n,), sorted, or Steps
    current : ndarray of shape (m,), sorted

    Returns
    -------
    tuple of float, or None
        Equal to ``scipy.stats.wasserstein_distance`` with an error of 0 where all values are known. Against a grid it
        is the middle between the least and the greatest possible distance. None when a value is infinite.
    """
    with np.errstate(over="ignore", invalid="ignore"):
        if not isinstance(reference, Steps):
            found = _by_values(reference, current), 0.0
        elif reference.is_exact:
            found = _by_quantiles(reference.values, reference.at_most, current), 0.0
        else:
            found = _by_grid(reference, current)
    return found if math.isfinite(found[0]) and math.isfinite(found[1]) else None


def tenths(reference: Steps, current: NDArray[Any]) -> tuple[list[tuple[Any, bool]], Counts, Counts]:
    """The reference's tenths: where they end, and how many rows of each side they hold.

    An end is a value and whether the cell below holds it. A value that a tenth of the reference has is a cell of its
    own, lest what a constant became look like the constant. Cells without a row on either side are left out. They
    are the same whether the reference is a table or its profile.
    """
    n = reference.rows
    targets = -(-np.arange(1, _BINS) * n // _BINS)
    places = np.unique(np.searchsorted(reference.at_most, targets))
    heavy = np.flatnonzero((reference.at_most - reference.below) * _BINS >= n)
    held = np.union1d(places[reference.at_most[places] < n], heavy)
    ends = np.concatenate((heavy, held))
    is_held = np.repeat([False, True], [len(heavy), len(held)])
    order = np.lexsort((is_held, ends))
    ends, is_held = ends[order], is_held[order]
    cuts = reference.values[ends]
    known = np.where(is_held, reference.at_most[ends], reference.below[ends])
    found = np.where(is_held, np.searchsorted(current, cuts, "right"), np.searchsorted(current, cuts))
    before = np.diff(np.concatenate(([0], known, [n])))
    after = np.diff(np.concatenate(([0], found, [len(current)])))
    filled = np.flatnonzero(before + after)
    inner = filled[:-1]
    return list(zip(cuts[inner].tolist(), is_held[inner].tolist(), strict=True)), before[filled], after[filled]


def bars(reference: Steps, current: NDArray[Any]) -> dict[str, list[float]] | None:
    """A histogram for the eye: `edges` (k + 1) of equal width, `reference` and `current` shares (k).

    The first and the last bar hold also what lies beyond them. Against a grid the reference's shares are interpolated.
    None where there is no width: infinite or constant values.
    """
    ends = [_at_share(reference, _TAIL), _at_share(reference, 1 - _TAIL)]
    ends += [float(current[int(_TAIL * len(current))]), float(current[-1 - int(_TAIL * len(current))])]
    low, high = min(ends), max(ends)
    if not (math.isfinite(high - low) and high > low):
        return None
    edges = np.linspace(low, high, _BARS + 1)
    inner = edges[1:-1]
    known = np.searchsorted(reference.values, inner, "right")
    if reference.is_exact:
        up_to = np.where(known > 0, reference.at_most[np.maximum(known - 1, 0)], 0) / reference.rows
    else:
        up_to = np.interp(inner, reference.values.astype(np.float64), reference.at_most / reference.rows, left=0.0)
    before = np.diff(np.concatenate(([0.0], up_to, [1.0])))
    after = np.diff(np.concatenate(([0], np.searchsorted(current, inner, "right"), [len(current)]))) / len(current)
    return {"edges": edges.tolist(), "reference": before.tolist(), "current": after.tolist()}


def _at_share(steps: Steps, share: float) -> float:
    place = min(int(np.searchsorted(steps.at_most, share * steps.rows)), len(steps.values) - 1)
    return float(steps.values[place])


def _by_values(reference: NDArray[Any], current: NDArray[Any]) -> float:
    n, m = len(reference), len(current)
    if n == m:
        return float(np.mean(_travel(reference, current)))
    # In units of 1/(nm) every row of a side spans the same whole number of steps: no rounding in the weights.
    ends = np.concatenate((np.arange(1, n + 1) * m, np.arange(1, m + 1) * n))
    ends.sort(kind="stable")  # two runs: one merge
    travel = _travel(reference[(ends - 1) // m], current[(ends - 1) // n])
    return float(np.dot(travel, np.diff(ends, prepend=0)) / (n * m))


def _by_quantiles(values: NDArray[Any], at_most: Counts, current: NDArray[Any]) -> float:
    n, m = int(at_most[-1]), len(current)
    ends = np.concatenate((at_most * m, np.arange(1, m + 1) * n))
    ends.sort(kind="stable")
    travel = _travel(values[np.searchsorted(at_most * m, ends)], current[(ends - 1) // n])
    return float(np.dot(travel, np.diff(ends, prepend=0)) / (n * m))


def _by_grid(reference: Steps, current: NDArray[Any]) -> tuple[float, float]:
    """The distance is bounded in every cell of equal probability by the ends of both quantile functions there."""
    n, m = reference.rows, len(current)
    # Cells in turn: the rows at a point, all of one value, and the rows between it and the next one.
    bounds = np.stack((reference.below, reference.at_most), axis=1).ravel()
    low = np.repeat(reference.values, 2)[:-1]
    high = np.repeat(reference.values, 2)[1:]
    weights = np.diff(bounds)
    first = np.minimum(bounds[:-1] * m // n, m - 1)
    last = np.clip(-(-bounds[1:] * m // n) - 1, 0, m - 1)
    there, onward = current[first], current[last]
    least = np.maximum(0.0, np.maximum(_minus(there, high), _minus(low, onward)))
    most = np.maximum(_minus(onward, low), _minus(high, there))
    held = weights > 0
    least_sum, most_sum = (float(np.dot(side[held], weights[held]) / n) for side in (least, most))
    return (least_sum + most_sum) / 2, (most_sum - least_sum) / 2


def _travel(first: NDArray[Any], second: NDArray[Any]) -> NDArray[np.float64]:
    return np.abs(_minus(first, second))


def _minus(first: NDArray[Any], second: NDArray[Any]) -> NDArray[np.float64]:
    """The difference of two rising rows in double precision; of int64 that cannot overflow it is taken exactly."""
    if first.dtype == np.int64 and max(abs(int(row[end])) for row in (first, second) for end in (0, -1)) < 2**62:
        return np.asarray(first - second, dtype=np.float64)
    difference: NDArray[np.float64] = np.subtract(first, second, dtype=np.float64)
    return difference
