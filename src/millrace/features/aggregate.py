"""The one arithmetic of windows, used by the join over many rows and by the online lookup over one.

A segment is a slice [start, end) of an array of values without nulls. Its result depends on the values in it and on
nothing else (not on its neighbours, its place in memory or the number of segments), so both callers get the same
bits. Float sums go through `np.add.reduceat`, pairwise summation over the contiguous slice.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from millrace.features import overlap
from millrace.features.aggregation import Kind
from millrace.features.columns import ARRAYS, Bools, Column, Ints, to_column
from millrace.features.field import ValueKind

Values = npt.NDArray[Any]

_LONG = 20_000
"""Values from which on a segment is worked on by itself."""
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


def _sum(values: Values, starts: Ints, ends: Ints) -> tuple[Values, Bools]:
    is_filled = ends > starts
    if values.dtype == np.int64 and overlap.is_worth_it(values, ends - starts):
        totals, is_within = overlap.int_sums(values, starts, ends)
        return totals, is_filled & is_within
    if values.dtype == np.float64:
        return _float_sums(values, starts, ends), is_filled
    totals = _reduce(np.add, values, starts, ends)
    if len(values):
        # Sums wrap at 2^64; one that did is 2^64 off, which a float sum of the same values sees.
        estimate = _reduce(np.add, values.astype(np.float64, copy=False), starts, ends)
        is_filled &= np.abs(totals.astype(np.float64) - estimate) < 2.0**62
    return totals, is_filled


def _mean(values: Values, starts: Ints, ends: Ints) -> tuple[Values, Bools]:
    lengths = ends - starts
    return _float_sums(values, starts, ends) / np.maximum(lengths, 1), lengths > 0


def _float_sums(values: Values, starts: Ints, ends: Ints) -> Values:
    if overlap.is_worth_it(values, ends - starts):
        whole = overlap.whole_numbers(values)
        if whole is not None:
            return overlap.int_sums(whole, starts, ends)[0].astype(np.float64)
    return _reduce(np.add, values.astype(np.float64, copy=False), starts, ends)


def _extremes(function: np.ufunc, values: Values, starts: Ints, ends: Ints) -> tuple[Values, Bools]:
    # + 0 turns -0.0 into 0.0: which zero is the lesser would depend on the order of comparing.
    values = values + values.dtype.type(0)
    is_long = overlap.is_worth_it(values, ends - starts)
    return (overlap.extremes if is_long else _reduce)(function, values, starts, ends), ends > starts


def _min(values: Values, starts: Ints, ends: Ints) -> tuple[Values, Bools]:
    return _extremes(np.minimum, values, starts, ends)


def _max(values: Values, starts: Ints, ends: Ints) -> tuple[Values, Bools]:
    return _extremes(np.maximum, values, starts, ends)


def _std(values: Values, starts: Ints, ends: Ints) -> tuple[Values, Bools]:
    values = values.astype(np.float64, copy=False)
    means, _ = _mean(values, starts, ends)
    lengths = ends - starts
    squares = np.zeros(len(lengths), dtype=np.float64)
    is_long = lengths > _LONG
    with np.errstate(invalid="ignore", over="ignore"):
        for place in np.flatnonzero(is_long).tolist():
            distances = values[starts[place] : ends[place]] - means[place]
            squares[place] = np.add.reduceat(distances * distances, [0])[0]
        short = np.flatnonzero(~is_long)
        for part in chunks(lengths[short], _GATHER_ROWS):
            some = short[part]
            rows, bounds = expand(starts[some], ends[some])
            distances = values[rows] - np.repeat(means[some], lengths[some])
            squares[some] = _reduce(np.add, distances * distances, bounds[:-1], bounds[1:])
    with np.errstate(invalid="ignore"):
        return np.sqrt(squares / np.maximum(lengths - 1, 1)), lengths > 1


def _count_distinct(codes: Values, starts: Ints, ends: Ints) -> Ints:
    # A value is new in a segment when its occurrence before lies before the segment.
    ascending = np.argsort(codes, kind="stable")
    is_repeated = codes[ascending[1:]] == codes[ascending[:-1]]
    before = np.full(len(codes), -1, dtype=np.int64)
    before[ascending[1:][is_repeated]] = ascending[:-1][is_repeated]
    lengths = ends - starts
    if overlap.is_worth_it(codes, lengths):
        return overlap.distinct_counts(before, starts, ends)
    counts = np.zeros(len(lengths), dtype=np.int64)
    for part in chunks(lengths, _GATHER_ROWS):
        rows, bounds = expand(starts[part], ends[part])
        is_new = (before[rows] < np.repeat(starts[part], lengths[part])).astype(np.int64)
        counts[part] = _reduce(np.add, is_new, bounds[:-1], bounds[1:])
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


def _reduce(function: np.ufunc, values: Values, starts: Ints, ends: Ints) -> Values:
    """`function` over each segment, 0 for an empty one."""
    results = np.zeros(len(starts), dtype=values.dtype)
    is_filled = ends > starts
    if not is_filled.any():
        return results
    # reduceat takes the slice between each two neighbours of a list of indices: every second one is a segment. It
    # wants indices below the length, hence the extra value, which belongs to no segment.
    indices = np.empty(2 * int(is_filled.sum()), dtype=np.intp)
    indices[0::2], indices[1::2] = starts[is_filled], ends[is_filled]
    padded = np.append(values, values.dtype.type(0))
    with np.errstate(invalid="ignore", over="ignore"):
        results[is_filled] = function.reduceat(padded, indices)[::2]
    return results


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
