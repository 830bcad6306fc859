"""Two-sample Kolmogorov-Smirnov test for numbers and instants."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
from numpy.typing import NDArray

_EXACT_UP_TO = 10_000  # rows of the larger sample; scipy's own bound, 0.02 s at the worst


def ks_statistic(reference: NDArray[Any], current: NDArray[Any]) -> float:
    """Largest distance between two empirical distribution functions, ties counted right.

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
    # F - G grows only at points of the reference and G - F only at points of the current sample, so each supremum
    # is found at the sample's own points. Inside a group of ties the last one has the largest rank: it decides.
    return max(0.0, _largest_lead(reference, current), _largest_lead(current, reference))


def ks_p_value(reference: NDArray[Any], current: NDArray[Any], statistic: float) -> float:
    """Probability of a distance at least `statistic` between samples of one law.

    Exact up to 10,000 rows a side (with ties: at most this probability), the asymptotic law above.
    """
    if statistic == 0.0:
        return 1.0
    from scipy import stats

    n, m = len(reference), len(current)
    if max(n, m) <= _EXACT_UP_TO:
        with warnings.catch_warnings():
            # scipy warns when it falls back from the exact law to the asymptotic one; both are right here.
            warnings.simplefilter("ignore", RuntimeWarning)
            return float(stats.ks_2samp(reference, current).pvalue)
    return float(np.clip(stats.kstwo.sf(statistic, round(n * m / (n + m))), 0.0, 1.0))


def ks_test(reference: NDArray[Any], current: NDArray[Any]) -> dict[str, Any]:
    """The test's record: statistic, p-value and effect, which is D itself."""
    reference, current = _sorted_alike(reference, current)
    statistic = ks_statistic(reference, current)
    return {
        "test": "ks",
        "statistic": statistic,
        "p_value": ks_p_value(reference, current, statistic),
        "effect": statistic,
    }


def _largest_lead(own: NDArray[Any], other: NDArray[Any]) -> float:
    ranks = np.arange(1, len(own) + 1) / len(own)
    return float(np.max(ranks - np.searchsorted(other, own, side="right") / len(other)))


def _sorted_alike(reference: NDArray[Any], current: NDArray[Any]) -> tuple[NDArray[Any], NDArray[Any]]:
    common = np.result_type(reference, current)
    return np.sort(reference.astype(common, copy=False)), np.sort(current.astype(common, copy=False))
