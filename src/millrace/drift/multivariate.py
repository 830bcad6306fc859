"""Can a classifier tell current rows from reference rows? Finds what no single column shows.

A ridge-regularised linear discriminant on the columns' normal scores, their squares, indicators of levels and the
products of those pairs that differ most is fitted on one half of the rows and asked on the other, and the other way
round. Under one law the held-out labels are exchangeable whatever the rule learned, so each half's area under the ROC
curve follows the Mann-Whitney law exactly. The method is the classifier two-sample test (Lopez-Paz and Oquab, ICLR
2017). It sees changes of level, spread, category shares and the association of any two columns; a change that shows
in three columns together only, it does not.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from millrace.drift.columns import check_declared
from millrace.drift.terms import Floats, Terms, count_terms, stacked, terms_of

Rows = NDArray[np.intp]

AUC_LIMIT = 0.55
ALPHA = 0.01
MOST_ROWS = 10_000
MIN_ROWS = 100

_MOST_CELLS = 3_000_000  # of the matrix of terms: 24 MB, and a second of work
_MOST_PAIRS = 40
_PAIR_Z = 2.5  # a pair enters when its mean product differs by so many standard errors in the learning half
_SHOWN_TERMS = 8
_SEED = 20_250_101


def tell_apart(
    reference: pa.Table,
    current: pa.Table,
    *,
    columns: Iterable[str] | None = None,
    types: Mapping[str, str] | None = None,
    alpha: float = ALPHA,
    auc_limit: float = AUC_LIMIT,
    min_rows: int = MIN_ROWS,
    most_rows: int = MOST_ROWS,
) -> dict[str, Any]:
    """Evidence for `judge_classifier`: how well held-out rows of the two tables are told apart, and by what.

    Parameters
    ----------
    reference, current : pyarrow.Table
        Only columns that both have, of one type, are weighed; a changed type is for `compare` to tell.
    columns : iterable of str, optional
        The columns to weigh; all of the reference if not given. Leave out times and keys: they always move.
    types : mapping of str to str, optional
        Declared column types, as in `compare`.
    alpha : float
        Chance of a false alarm allowed to this test.
    auc_limit : float
        Least area that counts as drift: 0.5 is no difference.
    most_rows : int
        Larger tables are sampled with a fixed seed, each side to so many rows; to fewer, at least 1,000, when there are
        hundreds of columns.

    Returns
    -------
    dict
        JSON-ready: `auc`, the mean of both halves'; `p_value`; `null_limit`, what chance alone exceeds with
        probability `alpha`; `contributors`, terms with their share of the difference; `columns`; `skipped`.

    Notes
    -----
    The two halves' areas are not independent (with a linear rule they nearly agree), so their z-values are averaged
    and the average is held against one half's spread: correct for any dependence of two normal values, and more
    than strict enough for independent ones. Rows are taken as independent.
    """
    declared = dict(types or {})
    check_declared(declared)
    wanted = list(reference.column_names if columns is None else columns)
    alike = [name for name in wanted if _has_one_type(reference, current, name)]
    evidence: dict[str, Any] = {
        "alpha": alpha,
        "auc_limit": auc_limit,
        "min_rows": min_rows,
        "rows_reference": min(reference.num_rows, most_rows),
        "rows_current": min(current.num_rows, most_rows),
        "columns": [],
        "skipped": [name for name in wanted if name not in alike],
        "auc": None,
        "p_value": None,
        "null_limit": None,
        "contributors": [],
    }
    if min(reference.num_rows, current.num_rows) < min_rows or not alike:
        return evidence
    random = np.random.default_rng(_SEED)
    most_rows = min(most_rows, max(1000, _MOST_CELLS // (2 * count_terms(reference.select(alike).schema, declared))))
    for side, table in (("reference", reference), ("current", current)):
        evidence[f"rows_{side}"] = min(table.num_rows, most_rows)
    first, second = (_sample(table.select(alike), most_rows, random) for table in (reference, current))
    together = stacked(first, second)
    terms = terms_of(together, declared)
    unweighed = [name for name in alike if name not in together.column_names or name in terms.skipped]
    evidence["skipped"] += unweighed
    evidence["columns"] = [name for name in alike if name not in unweighed]
    if not terms.names:
        return evidence
    return evidence | _cross_fit(terms, np.arange(len(terms.matrix)) >= first.num_rows, alpha, random)


def mann_whitney(scores: Floats, is_current: NDArray[np.bool_]) -> tuple[float, float]:
    """(area under the ROC curve, its standard deviation when both sides have one law), ties counted half.

    >>> mann_whitney(np.array([1.0, 2.0, 3.0, 4.0]), np.array([False, False, True, True]))[0]
    1.0
    """
    n, m = int((~is_current).sum()), int(is_current.sum())
    _, codes, counts = np.unique(scores, return_inverse=True, return_counts=True)
    middle = np.cumsum(counts) - (counts - 1) / 2
    area = (float(middle[codes][is_current].sum()) - m * (m + 1) / 2) / (n * m)
    total = n + m
    ties = float(np.sum(counts.astype(np.float64) ** 3 - counts)) / (total * (total - 1))
    return area, math.sqrt(max(0.0, (total + 1 - ties) / (12 * n * m)))


def _cross_fit(
    terms: Terms, is_current: NDArray[np.bool_], alpha: float, random: np.random.Generator
) -> dict[str, Any]:
    from scipy.special import ndtr, ndtri

    halves = _halves(is_current, random)
    areas, spreads = [], []
    moved: dict[tuple[int, ...], float] = {}
    for learn, judge in (halves, halves[::-1]):
        chosen = _choose(terms, is_current, learn)
        features = _expand(terms.matrix, chosen)
        weights = _discriminant(features[learn], is_current[learn])
        held_out, sides = features[judge], is_current[judge]
        area, spread = mann_whitney(held_out @ weights, sides)
        areas.append(area)
        spreads.append(spread)
        # The gap between the sides' mean scores is the sum of these: what each term adds to telling them apart.
        gap = weights * (held_out[sides].mean(axis=0) - held_out[~sides].mean(axis=0))
        for pair, part in zip(chosen, gap, strict=True):
            moved[pair] = moved.get(pair, 0.0) + float(part)
    z = float(np.mean([(area - 0.5) / spread if spread else 0.0 for area, spread in zip(areas, spreads, strict=True)]))
    return {
        "auc": float(np.mean(areas)),
        "p_value": float(ndtr(-z)),
        "null_limit": 0.5 + float(-ndtri(alpha)) * float(np.mean(spreads)),
        "contributors": _contributors(terms, moved),
    }


def _choose(terms: Terms, is_current: NDArray[np.bool_], learn: Rows) -> list[tuple[int, ...]]:
    """Which terms, squares and products to weigh, by the learning half alone."""
    matrix, sides = terms.matrix[learn], is_current[learn]
    size = matrix.shape[1]
    chosen: list[tuple[int, ...]] = [(i,) for i in range(size)]
    chosen += [(i, i) for i in range(size) if terms.is_smooth[i]]
    n, m = int((~sides).sum()), int(sides.sum())
    difference = matrix[sides].T @ matrix[sides] / m - matrix[~sides].T @ matrix[~sides] / n
    squared = matrix**2
    variance = np.maximum(squared.T @ squared / len(matrix) - (matrix.T @ matrix / len(matrix)) ** 2, 1e-12)
    z = np.abs(difference) / np.sqrt(variance * (1 / n + 1 / m))
    rows, columns = np.triu_indices(size, k=1)
    owners = np.unique(np.array(terms.owners), return_inverse=True)[1]
    eligible = (owners[rows] != owners[columns]) & (z[rows, columns] >= _PAIR_Z)
    rows, columns = rows[eligible], columns[eligible]
    best = np.argsort(-z[rows, columns], kind="stable")[:_MOST_PAIRS]
    return chosen + [(int(rows[i]), int(columns[i])) for i in best]


def _expand(matrix: Floats, chosen: Sequence[tuple[int, ...]]) -> Floats:
    features = np.column_stack(
        [matrix[:, pair[0]] if len(pair) == 1 else matrix[:, pair[0]] * matrix[:, pair[1]] for pair in chosen]
    )
    features -= features.mean(axis=0)
    spread = features.std(axis=0)
    return features / np.where(spread > 0, spread, 1.0)


def _discriminant(features: Floats, is_current: NDArray[np.bool_]) -> Floats:
    """Weights of the ridge-regularised linear discriminant; the fewer rows a term has, the more it is shrunk."""
    from scipy.linalg import cho_factor, cho_solve

    rows, size = features.shape
    direction = features[is_current].mean(axis=0) - features[~is_current].mean(axis=0)
    covariance = features.T @ features / rows
    covariance[np.diag_indices(size)] += max(0.01, size / rows)
    weights: Floats = cho_solve(cho_factor(covariance), direction)
    return weights


def _contributors(terms: Terms, moved: Mapping[tuple[int, ...], float]) -> list[dict[str, Any]]:
    total = sum(part for part in moved.values() if part > 0)
    largest = sorted(moved.items(), key=lambda item: -item[1])[:_SHOWN_TERMS]
    return [
        {
            "term": _name(terms, pair),
            "columns": sorted({terms.owners[i] for i in pair}),
            "share": part / total,
        }
        for pair, part in largest
        if part > 0.01 * total
    ]


def _name(terms: Terms, pair: tuple[int, ...]) -> str:
    if len(pair) == 1:
        return terms.names[pair[0]]
    if pair[0] == pair[1]:
        return f"spread of {terms.names[pair[0]]}"
    return f"{terms.names[pair[0]]} with {terms.names[pair[1]]}"


def _halves(is_current: NDArray[np.bool_], random: np.random.Generator) -> tuple[Rows, Rows]:
    """Two halves of the rows with both sides in each."""
    first, second = [], []
    for side in (False, True):
        rows = random.permutation(np.flatnonzero(is_current == side))
        first.append(rows[: len(rows) // 2])
        second.append(rows[len(rows) // 2 :])
    return np.concatenate(first), np.concatenate(second)


def _sample(table: pa.Table, most_rows: int, random: np.random.Generator) -> pa.Table:
    if table.num_rows <= most_rows:
        return table
    return table.take(np.sort(random.choice(table.num_rows, most_rows, replace=False)))


def _has_one_type(reference: pa.Table, current: pa.Table, name: str) -> bool:
    from millrace.drift.columns import family_of

    both = [table.schema.get_all_field_indices(name) for table in (reference, current)]
    if not all(len(places) == 1 for places in both):
        return False
    before, after = (table.schema.field(name).type for table in (reference, current))
    return family_of(before) == family_of(after) and family_of(before) not in ("null", "other")
