"""The one arithmetic of windows: over many rows for the join, over one key's values for the online lookup.

A segment is a slice [start, end) of an array of values without nulls. Its result is a number that depends on the values
in it and on nothing else: not on their order, its neighbours or the number of segments. Sums are exact and rounded once
(see `exact`), so that `aggregate` and `aggregate_one` give the same bits, and no sum costs more for a longer window.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from millrace.features import distinct
from millrace.features.aggregation import Kind
from millrace.features.columns import ARRAYS, Bools, Column, Ints, to_column
from millrace.features.exact import exact_int_sums, exact_sum, exact_sums
from millrace.features.field import ValueKind

Values = npt.NDArray[Any]

_GATHER_ROWS = 4_000_000
"""Values copied at a time where slices overlap and each needs its own copy: 32 MB."""


def result_kind(kind: Kind, column: ValueKind) -> ValueKind:
    """The kind of a feature's values, given its column's."""
    if kind in ("count", "count_distinct", "days_since_last", "days_since_first", "lifetime_days"):
        return "int"
    if kind in ("last", "first", "lag"):
        return column
    if kind == "last_k":
        return ARRAYS.get(column, "null")
    if kind in ("mean", "std", "ratio"):
        return "float"
    return "int" if column in ("int", "bool") else "float"


def aggregate(kind: Kind, values: Values, starts: Ints, ends: Ints) -> tuple[Values, Bools]:
    """One result per segment.

    Parameters
    ----------
    kind : {"mean", "sum", "min", "max", "std", "count", "count_distinct"}
    values : int64 or float64, shape (n,), contiguous; for "count_distinct" `codes_of` them
    starts, ends : int64, shape (m,)
        Fastest when `starts` ascend.

    Returns
    -------
    results : shape (m,)
    is_valid : bool, shape (m,)
        False where there is no answer: an empty segment (but its count is 0), a standard deviation of one value, an
        integer sum beyond 64 bits, a result that is not a number.
    """
    lengths = ends - starts
    if kind == "count":
        return lengths, np.ones(len(lengths), dtype=np.bool_)
    if kind == "count_distinct":
        return _count_distinct(values, starts, ends), np.ones(len(lengths), dtype=np.bool_)
    results, is_valid = _REDUCERS[kind](values, starts, ends)
    if results.dtype == np.float64:
        is_valid &= ~np.isnan(results)
    return results, is_valid


def aggregate_one(kind: Kind, values: Sequence[Any]) -> Any:
    """What `aggregate` gives for a single segment with these values, None where there is no answer."""
    if kind == "count":
        return len(values)
    if kind == "count_distinct":
        return len(set(values))
    if not values or (kind == "std" and len(values) < 2):
        return None
    if kind in ("min", "max"):
        return (min(values) if kind == "min" else max(values)) + 0
    if kind == "sum" and isinstance(values[0], int):
        total = sum(values)
        return total if -(2**63) <= total < 2**63 else None
    result = exact_sum(list(map(float, values)))
    if kind != "sum":
        result /= len(values)
    if kind == "std":
        distances = [value - result for value in map(float, values)]
        result = math.sqrt(exact_sum([distance * distance for distance in distances]) / (len(values) - 1))
    return None if result != result else result


def _sum(values: Values, starts: Ints, ends: Ints) -> tuple[Values, Bools]:
    if values.dtype == np.float64:
        return exact_sums(values, starts, ends), ends > starts
    totals, fits = exact_int_sums(values, starts, ends)
    return totals, fits & (ends > starts)


def _mean(values: Values, starts: Ints, ends: Ints) -> tuple[Values, Bools]:
    totals = exact_sums(values.astype(np.float64, copy=False), starts, ends)
    lengths = ends - starts
    return totals / np.maximum(lengths, 1), lengths > 0


def _min(values: Values, starts: Ints, ends: Ints) -> tuple[Values, Bools]:
    return _extreme(np.minimum, values, starts, ends), ends > starts


def _max(values: Values, starts: Ints, ends: Ints) -> tuple[Values, Bools]:
    return _extreme(np.maximum, values, starts, ends), ends > starts


def _extreme(function: np.ufunc, values: Values, starts: Ints, ends: Ints) -> Values:
    """`function` over each segment, 0 for an empty one: of two runs of a power of two that together cover it."""
    # + 0 turns -0.0 into 0.0: which zero is the lesser would depend on the order of comparing.
    runs, length = values + values.dtype.type(0), 1
    lengths = ends - starts
    results = np.zeros(len(starts), dtype=values.dtype)
    while True:
        # `runs[place]` is the extreme of the `length` values from `place` on.
        fitting = np.flatnonzero((lengths >= length) & (lengths < 2 * length))
        if len(fitting):
            results[fitting] = function(runs[starts[fitting]], runs[ends[fitting] - length])
        if not (lengths >= 2 * length).any():
            return results
        runs, length = function(runs[:-length], runs[length:]), 2 * length


def _std(values: Values, starts: Ints, ends: Ints) -> tuple[Values, Bools]:
    values = values.astype(np.float64, copy=False)
    means, _ = _mean(values, starts, ends)
    lengths = ends - starts
    squares = np.zeros(len(lengths), dtype=np.float64)
    for part in chunks(lengths, _GATHER_ROWS):
        rows, bounds = expand(starts[part], ends[part])
        with np.errstate(invalid="ignore", over="ignore"):
            distances = values[rows] - np.repeat(means[part], lengths[part])
            squares[part] = exact_sums(distances * distances, bounds[:-1], bounds[1:])
    with np.errstate(invalid="ignore"):
        return np.sqrt(squares / np.maximum(lengths - 1, 1)), lengths > 1


def _count_distinct(codes: Values, starts: Ints, ends: Ints) -> Ints:
    # A value is new in a segment when its occurrence before lies before the segment.
    ascending = np.argsort(codes, kind="stable")
    is_repeated = codes[ascending[1:]] == codes[ascending[:-1]]
    before = np.full(len(codes), -1, dtype=np.int64)
    before[ascending[1:][is_repeated]] = ascending[:-1][is_repeated]
    lengths = ends - starts
    if distinct.is_worth_it(codes, lengths):
        return distinct.distinct_counts(before, starts, ends)
    counts = np.zeros(len(lengths), dtype=np.int64)
    for part in chunks(lengths, _GATHER_ROWS):
        rows, bounds = expand(starts[part], ends[part])
        is_new = before[rows] < np.repeat(starts[part], lengths[part])
        new = np.concatenate(([0], np.cumsum(is_new)))
        counts[part] = new[bounds[1:]] - new[bounds[:-1]]
    return counts


_REDUCERS = {"sum": _sum, "mean": _mean, "min": _min, "max": _max, "std": _std}


def codes_of(column: Column) -> Ints:
    """A number for each value, equal values having equal numbers; any number where null."""
    if column.kind == "string":
        return np.asarray(pc.dictionary_encode(column.array).indices.fill_null(0).to_numpy(False), dtype=np.int64)
    if column.kind == "null":
        return np.zeros(len(column.array), dtype=np.int64)
    # + 0 turns -0.0 into 0.0, which is the same value in other bits.
    values = column.values + column.values.dtype.type(0)
    codes: Ints = values.view(np.int64)
    return codes


def divide(numerator: pa.Array, denominator: pa.Array) -> pa.Array:
    """One by the other as float, null where either is null, the divisor is 0, or the result is not a number."""
    above, below = (to_column(part.cast(pa.float64(), safe=False)) for part in (numerator, denominator))
    is_valid = above.valid & below.valid & (below.values != 0)
    with np.errstate(invalid="ignore", over="ignore"):
        results = above.values / np.where(is_valid, below.values, 1.0)
    return pa.array(results, mask=~is_valid | np.isnan(results))


def expand(starts: Ints, ends: Ints) -> tuple[Ints, Ints]:
    """All indices of the segments one after another, and where each segment begins in them (m + 1 bounds)."""
    lengths = ends - starts
    bounds = np.concatenate(([0], np.cumsum(lengths))).astype(np.int64)
    shifts = np.repeat(starts - bounds[:-1], lengths)
    return np.arange(bounds[-1], dtype=np.int64) + shifts, bounds


def chunks(lengths: Ints, limit: int) -> list[slice]:
    """Slices of the segments, each with about `limit` values or a single segment."""
    if not len(lengths):
        return []
    group = np.cumsum(lengths) // limit
    cuts = np.flatnonzero(np.diff(group)) + 1
    edges = [0, *cuts.tolist(), len(lengths)]
    return [slice(begin, end) for begin, end in pairwise(edges)]
