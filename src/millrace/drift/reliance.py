"""Which columns does a model look at? Asked of the model itself, without labels."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from millrace.drift.terms import Floats

_MOST_ROWS = 500
_SEED = 20_250_103

Rows = Sequence[Sequence[Any]]


def model_reliance(rows: Rows, names: Sequence[str], answer: Callable[[Rows], Floats]) -> dict[str, float] | None:
    """The share of each column in what the model's answers depend on; the shares sum to 1.

    Each column in turn is shuffled among the rows, and the mean change of the answers is its weight (Fisher, Rudin and
    Dominici's model reliance, JMLR 2019, of answers instead of errors). Columns that say the same share the weight.

    Parameters
    ----------
    rows : sequence of rows, each with one value for each of `names`
        At most 500 of them are asked about, the same ones each time.
    answer : callable
        ``answer(rows)`` gives numbers of shape (n,) or probabilities of shape (n, k).

    Returns
    -------
    dict or None
        None when nothing depends on anything: a constant model, or fewer than two rows.

    >>> answer = lambda rows: np.array([row[0] for row in rows], dtype=float)
    >>> model_reliance([[i, -i] for i in range(10)], ["used", "idle"], answer)
    {'used': 1.0, 'idle': 0.0}
    """
    random = np.random.default_rng(_SEED)
    if len(rows) > _MOST_ROWS:
        rows = [rows[int(i)] for i in np.sort(random.choice(len(rows), _MOST_ROWS, replace=False))]
    if len(rows) < 2 or not names:
        return None
    usual = np.asarray(answer(rows), dtype=np.float64)
    changes = []
    for place in range(len(names)):
        order = random.permutation(len(rows))
        shuffled = [
            [*row[:place], rows[int(other)][place], *row[place + 1 :]] for row, other in zip(rows, order, strict=True)
        ]
        changes.append(float(np.abs(np.asarray(answer(shuffled), dtype=np.float64) - usual).mean()))
    total = sum(changes)
    if not (np.isfinite(total) and total > 0):
        return None
    return {name: change / total for name, change in zip(names, changes, strict=True)}
