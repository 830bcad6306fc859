"""Two shares of rows compared: exactly where few rows are expected, by the normal law where many are."""

from __future__ import annotations

import math

import numpy as np

_EXACT_BELOW = 50.0  # rows expected in the smallest of the four cells


def rate_p_value(before: int, n: int, after: int, m: int) -> float:
    """Probability that `before` of n and `after` of m rows are so far apart, or further, though the rate is one.

    Parameters
    ----------
    before, n, after, m : int
        Rows counted, of all rows, on either side; n and m at least 1.

    Notes
    -----
    With fewer than 50 rows expected in one of the four cells it is twice the smaller tail of the hypergeometric law
    (Fisher's exact test), else the two-sided p-value of the pooled z-test.

    >>> round(rate_p_value(500, 100_000, 3, 100), 3)
    0.028
    >>> rate_p_value(0, 100, 0, 100)
    1.0
    """
    counted, rows = before + after, n + m
    if counted in (0, rows):
        return 1.0
    # The cell that expects fewest rows: any of the four tells the others, and its law has the fewest values.
    size, held = (n, before) if n <= m else (m, after)
    part = min(counted, rows - counted)
    seen = held if part == counted else size - held
    if part * size < _EXACT_BELOW * rows:
        return _fisher(seen, part, size, rows)
    pooled = counted / rows
    z = (after / m - before / n) / math.sqrt(pooled * (1 - pooled) * (1 / n + 1 / m))
    return math.erfc(abs(z) / math.sqrt(2))


def _fisher(seen: int, part: int, size: int, rows: int) -> float:
    from scipy.special import gammaln

    # Neither is more than half of the rows, so that the law begins at 0.
    k = np.arange(min(part, size) + 1)
    log = -(gammaln(k + 1) + gammaln(part - k + 1) + gammaln(size - k + 1) + gammaln(rows - part - size + k + 1))
    law = np.exp(log - log.max())
    law /= law.sum()
    return float(min(1.0, 2 * min(law[: seen + 1].sum(), law[seen:].sum())))
