"""Two-sample tests of levels: contingency chi-square, its permutation law, and levels never seen before."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from millrace.drift.effects import moved_levels, total_variation, variation_chance

_LEAST_EXPECTED = 5.0  # Cochran: below five expected rows the chi-square law is not yet true
_RARE_CELLS = 50
_PERMUTED_BELOW = 1000  # rows of the smaller sample
_PERMUTED_UP_TO = 2_000_000  # rows of both together: the permutation holds them all
_DRAWS, _ENOUGH, _AT_ONCE = 9_999, 20, 250
_SHOWN_LEVELS = 10
_BARS = 20

Counts = NDArray[np.int64]


@dataclass(frozen=True, slots=True, eq=False)
class Levels:
    """The distinct values of a column, as an Arrow array of text or float64 (k,), and the rows of each (k,)."""

    names: Any
    counts: Counts


def count_levels(column: pa.ChunkedArray) -> tuple[Levels, int]:
    """The levels of a column without nulls and NaN, and how many NaN there were.

    Numbers become float64, so that integers that met a null on their way through pandas are still the same levels.
    """
    if pa.types.is_string_view(column.type):
        column = pc.cast(column, pa.large_string())
    counted = pc.value_counts(column.drop_null() if column.null_count else column)
    if isinstance(counted, pa.ChunkedArray):
        counted = counted.combine_chunks()
    names, counts = counted.field(0), counted.field(1).to_numpy()
    if pa.types.is_dictionary(names.type):
        of_codes = names.dictionary
        names = (pc.cast(of_codes, pa.large_string()) if pa.types.is_string_view(of_codes.type) else of_codes).take(
            names.indices
        )
        known = names.is_valid().to_numpy(zero_copy_only=False)  # a dictionary may list null itself
        names, counts = names.drop_null(), counts[known]
    kind = pa.types
    if not (kind.is_integer(names.type) or kind.is_floating(names.type) or kind.is_decimal(names.type)):
        return Levels(pc.cast(names, pa.large_string()), counts), 0
    names = pc.add(pc.cast(names, pa.float64(), safe=False), 0.0)  # -0.0 is 0.0
    nan = pc.is_nan(names).to_numpy(zero_copy_only=False)
    found = names.filter(pa.array(~nan)).dictionary_encode()
    together = np.bincount(found.indices.to_numpy(), weights=counts[~nan], minlength=len(found.dictionary))
    return Levels(found.dictionary, together.astype(np.int64)), int(counts[nan].sum())


def align(reference: Levels, current: Levels) -> tuple[pa.Array, Counts, Counts]:
    """Every level of both samples with its count in each: (k,) names, (k,) and (k,) counts."""
    if not len(reference.names) or not len(current.names):
        names = reference.names if len(reference.names) else current.names
        none = np.zeros(len(names), dtype=np.int64)
        return names, *((reference.counts, none) if len(reference.names) else (none, current.counts))
    both = pa.chunked_array([reference.names, current.names]).combine_chunks().dictionary_encode()
    codes, k, split = both.indices.to_numpy(), len(both.dictionary), len(reference.names)
    before = np.bincount(codes[:split], weights=reference.counts, minlength=k).astype(np.int64)
    after = np.bincount(codes[split:], weights=current.counts, minlength=k).astype(np.int64)
    return both.dictionary, before, after


def pool_rare(reference: Counts, current: Counts, names: pa.Array | None = None) -> tuple[Counts, Counts]:
    """Counts with the levels that expect fewer than five rows in the smaller sample put together into cells that do.

    The rare levels are filled into at most 50 cells in the order of their names, which does not depend on which sample
    a row is from: so the cells' law is that of any other level. Without names they go into one cell, as they do when
    there are too few of them.
    """
    smaller, rows = int(min(reference.sum(), current.sum())), int(reference.sum() + current.sum())
    total = reference + current
    rare = total * smaller < _LEAST_EXPECTED * rows
    if not rare.any():
        return reference, current
    places = np.flatnonzero(rare)
    expected = float(total[places].sum()) * smaller / rows
    cells = max(1, min(_RARE_CELLS, int(expected / (2 * _LEAST_EXPECTED)))) if names is not None else 1
    if names is not None and cells > 1:
        places = places[pc.array_sort_indices(names.take(pa.array(places))).to_numpy()]
    filled = np.cumsum(total[places])
    cell = np.minimum(((filled - 1) * cells) // filled[-1], cells - 1)
    return (
        np.append(reference[~rare], np.bincount(cell, weights=reference[places]).astype(np.int64)),
        np.append(current[~rare], np.bincount(cell, weights=current[places]).astype(np.int64)),
    )


def levels_test(names: pa.Array, reference: Counts, current: Counts, limit: float) -> dict[str, Any]:
    """The record of the test that suits the counts: chi-square, or its permutation law for few rows of rare levels.

    Its effect is the larger one of two estimates of the total variation, neither of which is more than that by chance:
    the distance beyond its expectation, and the rows of levels that clearly moved.
    """
    smaller, rows = int(min(reference.sum(), current.sum())), int(reference.sum() + current.sum())
    is_sparse = bool(((reference + current) * smaller < _LEAST_EXPECTED * rows).any())
    if is_sparse and smaller < _PERMUTED_BELOW and rows <= _PERMUTED_UP_TO:
        found = permutation_test(reference, current)
    else:
        found = chi2_test(*pool_rare(reference, current, names))
    found["beyond_chance"] = found["effect"]
    found["moved_levels"] = moved_levels(reference, current)
    found["effect"] = max(found["beyond_chance"], found["moved_levels"])
    return {**found, "chance": variation_chance(reference, current, limit)}


def chi2_test(reference: Counts, current: Counts) -> dict[str, Any]:
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

    distance, by_chance = total_variation(reference, current)
    freedom = len(reference) - 1
    statistic = _chi_square(reference, current)
    return {
        "test": "chi2",
        "statistic": statistic,
        "freedom": freedom,
        "p_value": float(special.chdtrc(freedom, statistic)) if freedom else 1.0,
        "effect": max(0.0, distance - by_chance),
        "total_variation": distance,
    }


def permutation_test(reference: Counts, current: Counts) -> dict[str, Any]:
    """The same statistic over all levels, held against what it is when the rows are dealt out anew.

    Exact at any sparsity. Dealing stops at the twentieth value as large as the observed one (Besag and Clifford 1991),
    else after 9,999, which is the resolution of the p-value. The draws are seeded by the counts: asked again, the
    answer is the same. The expectation of the total variation is the mean of the draws.
    """
    m = int(current.sum())
    total = reference + current
    rng = np.random.default_rng([m, *total[:100].tolist(), *current[:100].tolist()])
    # The first way deals rows, the second counts: each is the quicker one where the other has more to do.
    way: Literal["count", "marginals"] = "count" if min(m, int(reference.sum())) < 12 * len(total) else "marginals"
    observed = _weighted_squares(current, total)
    reached, drawn, variation = 0, 0, 0.0
    p_value = None
    while p_value is None and drawn < _DRAWS:
        size = min(_AT_ONCE, _DRAWS - drawn)
        dealt = rng.multivariate_hypergeometric(total, m, size=size, method=way)
        as_large = np.cumsum(_weighted_squares(dealt, total) >= observed * (1 - 1e-12))
        variation += float(np.abs((total - dealt) / reference.sum() - dealt / m).sum()) / 2
        if reached + as_large[-1] >= _ENOUGH:
            p_value = _ENOUGH / (drawn + 1 + int(np.searchsorted(as_large, _ENOUGH - reached)))
        reached, drawn = reached + int(as_large[-1]), drawn + size
    distance, _ = total_variation(reference, current)
    return {
        "test": "permutation",
        "statistic": _chi_square(reference, current),
        "freedom": len(total) - 1,
        "p_value": (reached + 1) / (drawn + 1) if p_value is None else p_value,
        "effect": max(0.0, distance - variation / drawn),
        "total_variation": distance,
    }


def unseen_test(reference: Counts, current: Counts, limit: float) -> dict[str, Any]:
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
        "chance": _chernoff(expected + limit * m, expected, sizes, how_many, wholly_current) if limit else 1.0,
    }


def largest_moves(names: pa.Array, reference: Counts, current: Counts) -> list[dict[str, Any]]:
    """The levels whose share moved most, largest first, at most ten, those that moved at all."""
    before, after = reference / reference.sum(), current / current.sum()
    order = np.argsort(-np.abs(after - before), kind="stable")[:_SHOWN_LEVELS]
    return [
        {"level": str(names[int(i)].as_py()), "reference": float(before[i]), "current": float(after[i])}
        for i in order
        if before[i] != after[i]
    ]


def largest_levels(names: pa.Array, reference: Counts, current: Counts) -> dict[str, list[Any]]:
    """Bars for the eye: the twenty `levels` with most rows, then all others as one, with the shares of each side."""
    before, after = reference / reference.sum(), current / current.sum()
    order = np.argsort(-(before + after), kind="stable")
    first, others = order[:_BARS], order[_BARS:]
    shown = [str(names[int(i)].as_py()) for i in first]
    bars = {"levels": shown, "reference": before[first].tolist(), "current": after[first].tolist()}
    if len(others):
        bars["levels"].append(f"({len(others)} others)")
        bars["reference"].append(float(before[others].sum()))
        bars["current"].append(float(after[others].sum()))
    return bars


def _chi_square(reference: Counts, current: Counts) -> float:
    n, m = int(reference.sum()), int(current.sum())
    share = (reference + current) / (n + m)
    return float(np.sum((reference - n * share) ** 2 / (n * share) + (current - m * share) ** 2 / (m * share)))


def _weighted_squares(current: NDArray[np.int64], total: Counts) -> Any:
    """The part of chi-square that changes from deal to deal: the sum of c^2 / (r + c) over the last axis."""
    return np.sum(current * current / total, axis=-1)


def _chance_wholly_current(sizes: Counts, n: int, m: int) -> NDArray[np.float64]:
    """C(m, s) / C(n + m, s) for each size s; 0 where the level is larger than the current sample."""
    from scipy.special import gammaln

    fits = sizes <= m
    s = np.where(fits, sizes, 0)
    log = gammaln(m + 1) - gammaln(m - s + 1) - gammaln(n + m + 1) + gammaln(n + m - s + 1)
    return np.where(fits, np.exp(np.minimum(log, 0.0)), 0.0)


def _chernoff(
    unseen: float,
    expected: float,
    sizes: Counts,
    how_many: Counts,
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
