"""The interval of a share, in closed form. Standard library only."""

from __future__ import annotations

import math
from statistics import NormalDist


def wilson_interval(successes: float, n: int, *, confidence: float = 0.95) -> tuple[float, float]:
    """The score interval of a proportion (Wilson 1927), good down to small `n` and to shares of 0 and 1.

    Parameters
    ----------
    successes : float
        How many of the `n`; a mean of several counts may be no whole number.
    n : int
        At least 1.
    confidence : float
        Of the two-sided interval.

    >>> [round(bound, 4) for bound in wilson_interval(80, 100)]
    [0.7112, 0.8666]
    """
    z = NormalDist().inv_cdf((1 + confidence) / 2)
    share = successes / n
    spread = z * math.sqrt(share * (1 - share) / n + z * z / (4 * n * n))
    middle = share + z * z / (2 * n)
    scale = 1 + z * z / n
    return max(0.0, (middle - spread) / scale), min(1.0, (middle + spread) / scale)
