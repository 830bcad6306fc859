"""Two-sample Kolmogorov-Smirnov test for numbers and instants, against all values or against a stored grid."""

from __future__ import annotations

import math
import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

CELLS = 2000  # of a stored grid: D is then known to within 1/2000, a hundredth of the least effect that counts
_EXACT_UP_TO = 10_000  # rows of the larger sample; scipy's own bound, 0.02 s at the worst
_SUMMED_UP_TO = 5_000  # rows in effect; beyond, the limit law with its correction
# Wei and Dudley 2012: P(D >= d) <= 2.17 exp(-2 d^2 nm/(n+m)) at all n = m (2 from 458 rows on).
_DVORETZKY = 2.17


@dataclass(frozen=True, slots=True, eq=False)
class Steps:
    """An empirical distribution function, known at some of its points.

    Parameters
    ----------
    values : ndarray of shape (k,), strictly increasing, the least and the greatest value among them.
    below, at_most : ndarray of int64, shape (k,)
        Rows less than each value, and rows not greater.
    is_exact : bool
        Whether every distinct value is there. If not, fewer than ``rows / CELLS`` rows lie between two neighbours.
    """

    values: NDArray[Any]
    below: NDArray[np.int64]
    at_most: NDArray[np.int64]
    is_exact: bool

    @property
    def rows(self) -> int:
        return int(self.at_most[-1])

    def alike(self, current: NDArray[Any]) -> tuple[Steps, NDArray[Any]]:
        """These steps and a sorted sample in one number type, as the function `alike` does for two samples."""
        values, current = alike(self.values, current)
        if values.dtype == self.values.dtype:
            return self, current
        last = np.append(values[1:] != values[:-1], True)  # rounding may have made neighbours equal
        first = np.append(True, values[1:] != values[:-1])
        is_exact = self.is_exact or int(last.sum()) == 1  # the least value is the greatest
        return Steps(values[last], self.below[first], self.at_most[last], is_exact), current


@dataclass(frozen=True, slots=True)
class Gap:
    """Where two distribution functions are farthest apart.

    `before` of n and `after` of m rows lie on the left of that place, so that the distance is
    ``abs(before / n - after / m)``. `at_most` bounds the true distance from above: it differs from `distance` only
    when the reference is a grid.
    """

    distance: float
    before: int
    after: int
    at_most: float


def steps_of(values: NDArray[Any], cells: int = CELLS) -> Steps:
    """The distribution function of sorted `values` (n,): every distinct value, or `cells` quantiles if there are more.

    >>> steps_of(np.array([1, 1, 3])).at_most.tolist()
    [2, 3]
    """
    n = len(values)
    firsts = np.concatenate(([0], np.flatnonzero(values[1:] != values[:-1]) + 1))
    if len(firsts) <= cells:
        return Steps(values[firsts], firsts, np.append(firsts[1:], n), is_exact=True)
    ranks = -(-np.arange(cells + 1) * n // cells)
    points = np.unique(values[np.maximum(ranks - 1, 0)])
    return Steps(points, np.searchsorted(values, points), np.searchsorted(values, points, "right"), is_exact=False)


def ks_gap(reference: NDArray[Any], current: NDArray[Any]) -> Gap:
    """The largest distance between the distribution functions of two sorted samples, ties counted right."""
    own, other = (reference, current) if len(reference) <= len(current) else (current, reference)
    # The smaller sample's function stands still between its points and the other's only rises. So the one leads most
    # at a point, and lags most just before one. In a group of ties the last row leads most, and the first lags most.
    n, m = len(own), len(other)
    up_to = np.searchsorted(other, own, side="right")
    below = up_to.copy()
    tied = (up_to > 0) & (other[np.maximum(up_to - 1, 0)] == own)
    if tied.any():
        below[tied] = np.searchsorted(other, own[tied])
    ranks = np.arange(n + 1) / n
    leads, lags = ranks[1:] - up_to / m, below / m - ranks[:-1]
    lead, lag = int(np.argmax(leads)), int(np.argmax(lags))
    if leads[lead] >= lags[lag]:
        distance, rows, others = float(leads[lead]), lead + 1, int(up_to[lead])
    else:
        distance, rows, others = float(lags[lag]), lag, int(below[lag])
    if distance <= 0.0:
        return Gap(0.0, 0, 0, 0.0)
    before, after = (rows, others) if own is reference else (others, rows)
    return Gap(distance, before, after, distance)


def ks_gap_to_steps(reference: Steps, current: NDArray[Any]) -> Gap:
    """The largest distance seen at the points of a stored distribution function, and a bound for the true one.

    Both functions are known exactly at every point and just before it. Between two neighbours each can only rise from
    its value at the one to its value before the other, which bounds what is not seen. The distance seen is never more
    than the true one, so a test that uses it raises no more false alarms than the test on all values.
    """
    n, m = reference.rows, len(current)
    at_most, below = np.searchsorted(current, reference.values, "right"), np.searchsorted(current, reference.values)
    before = np.concatenate((reference.at_most, reference.below))
    after = np.concatenate((at_most, below))
    distances = np.abs(before / n - after / m)
    place = int(np.argmax(distances))
    seen = bound = float(distances[place])
    if not reference.is_exact:
        rise = reference.below[1:] / n - at_most[:-1] / m
        other_rise = below[1:] / m - reference.at_most[:-1] / n
        bound = max(seen, float(rise.max()), float(other_rise.max()))
    return Gap(seen, int(before[place]), int(after[place]), bound)


def ks_statistic(reference: NDArray[Any], current: NDArray[Any]) -> float:
    """Largest distance between two empirical distribution functions.

    Parameters
    ----------
    reference, current : ndarray of shape (n,) and (m,), sorted, without NaN; ±inf are allowed.

    Returns
    -------
    float
        D in [0, 1], equal to ``scipy.stats.ks_2samp(...).statistic``.

    >>> ks_statistic(np.array([1.0, 2.0]), np.array([2.0, 3.0]))
    0.5
    """
    return ks_gap(reference, current).distance


def ks_p_value(n: int, m: int, before: int, after: int) -> float:
    """Probability that samples of n and m rows of one law are at least ``abs(before / n - after / m)`` apart.

    Exact up to 10,000 rows a side (with ties: at most this probability); above, Kolmogorov's law for nm/(n + m) rows,
    beyond 5,000 of them by Vrbik's correction of its limit (2018), which is within 0.1 % down to p = 1e-6 and spares
    the seconds that the sum takes at a million. Not to be called from several threads at once: it silences a warning
    of scipy's.
    """
    if before * m == after * n:
        return 1.0
    rows, distance = n * m / (n + m), abs(before / n - after / m)
    if max(n, m) > _EXACT_UP_TO and rows > _SUMMED_UP_TO:
        from scipy.special import kolmogorov

        x = math.sqrt(rows) * distance
        return float(kolmogorov(x + 1 / (6 * math.sqrt(rows)) + (x - 1) / (4 * rows)))
    from scipy import stats

    if max(n, m) <= _EXACT_UP_TO:
        # The law depends on nothing but n, m and the distance, so two-valued samples of that distance stand in.
        first, second = np.repeat([0, 1], [before, n - before]), np.repeat([0, 1], [after, m - after])
        with warnings.catch_warnings():
            # scipy warns when it falls back from the exact law to the asymptotic one; both are right here.
            warnings.simplefilter("ignore", RuntimeWarning)
            return float(stats.ks_2samp(first, second).pvalue)
    return float(np.clip(stats.kstwo.sf(distance, round(rows)), 0.0, 1.0))


def ks_chance(n: int, m: int, distance: float) -> float:
    """A bound on the probability of at least this distance without drift, for planning."""
    return min(1.0, _DVORETZKY * math.exp(-2 * distance**2 * n * m / (n + m)))


def alike(reference: NDArray[Any], current: NDArray[Any]) -> tuple[NDArray[Any], NDArray[Any]]:
    """Both sorted arrays in one number type, in which equal values are equal.

    Where one side has single and the other double precision the double one is rounded: 0.1 is stored as two different
    numbers, and a column that was only stored shorter did not move.
    """
    types = {reference.dtype, current.dtype}
    narrow = types == {np.dtype(np.float32), np.dtype(np.float64)}
    common = np.dtype(np.float32) if narrow else np.result_type(reference, current)
    with np.errstate(over="ignore"):  # beyond single precision there is only infinity
        return reference.astype(common, copy=False), current.astype(common, copy=False)
