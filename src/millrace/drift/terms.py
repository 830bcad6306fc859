"""Columns as standardised numbers that a linear rule can weigh: levels, spreads, categories and products of pairs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from millrace.drift.columns import family_of, kind_of

Floats = NDArray[np.float64]

_SHOWN_LEVELS = 12  # indicators of one categorical column; the rest share one
_LEAST_ROWS = 10  # rows a level needs for an indicator of its own


@dataclass(frozen=True, slots=True)
class Terms:
    """Standardised terms of a table.

    `matrix` has shape (rows, terms); `names` says what each term is and `owners` which column it comes from;
    `is_smooth` marks those whose square says something of its own (an indicator's does not).
    """

    matrix: Floats
    names: tuple[str, ...]
    owners: tuple[str, ...]
    is_smooth: tuple[bool, ...]
    skipped: tuple[str, ...] = ()


def terms_of(table: pa.Table, declared: dict[str, str]) -> Terms:
    """One term or several for each column that can be weighed; constant ones and identifiers are skipped.

    Numbers and times become normal scores of their ranks (van der Waerden), so that neither scale nor outliers
    matter; text, booleans and dictionaries become indicators of their most frequent levels; nulls get one of their
    own. The table holds reference and current rows together: a transformation that saw only one side would tell
    them apart by itself.
    """
    parts: list[Floats] = []
    names: list[str] = []
    owners: list[str] = []
    smooth: list[bool] = []
    skipped: list[str] = []
    for name in table.column_names:
        found = _of_column(table.column(name), name, declared.get(name))
        for label, values, is_smooth in found:
            parts.append(values)
            names.append(label)
            owners.append(name)
            smooth.append(is_smooth)
        if not found:
            skipped.append(name)
    matrix = np.column_stack(parts) if parts else np.empty((table.num_rows, 0))
    return Terms(matrix, tuple(names), tuple(owners), tuple(smooth), tuple(skipped))


def stacked(first: pa.Table, second: pa.Table) -> pa.Table:
    """The rows of both tables, of the columns whose values can be put under one type."""
    columns = {}
    for name in first.column_names:
        before, after = first.column(name), second.column(name)
        try:
            if before.type != after.type:
                before, after = _common(before), _common(after)
            columns[name] = pa.chunked_array([*before.chunks, *after.chunks], type=before.type)
        except (pa.ArrowException, TypeError):
            continue  # the column's own test tells of it
    return pa.table(columns)


def count_terms(schema: pa.Schema, declared: dict[str, str]) -> int:
    """How many terms a table of this schema can have at most, squares included."""
    kinds = [kind_of(field.type, declared.get(field.name)) for field in schema]
    return max(1, sum(_SHOWN_LEVELS + 2 if kind == "categorical" else 3 for kind in kinds))


def normal_scores(values: NDArray[Any], known: NDArray[np.bool_]) -> Floats:
    """Ranks as quantiles of a normal law, ties given their middle rank, shape (rows,).

    `known` of shape (rows,) marks the rows that the (k,) `values` belong to; the others, which are missing, get 0.

    >>> scores = normal_scores(np.array([1, 5, 9]), np.array([True, True, False, True]))
    >>> [round(float(score), 2) for score in scores]
    [-0.67, 0.0, 0.0, 0.67]
    """
    from scipy.special import ndtri

    scores = np.zeros(len(known))
    if len(values):
        _, codes, counts = np.unique(values, return_inverse=True, return_counts=True)
        middle = np.cumsum(counts) - (counts - 1) / 2
        scores[known] = ndtri(middle / (len(values) + 1))[codes]
    return scores


def _common(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Numbers as doubles, instants and durations as microseconds, texts as large strings."""
    if pa.types.is_dictionary(column.type):
        column = pc.cast(column, column.type.value_type)
    family = family_of(column.type)
    if family == "number":
        return pc.cast(column, pa.float64(), safe=False)
    if family == "text":
        return pc.cast(column, pa.large_string())
    micros = {
        "time": pa.timestamp("us", tz=getattr(column.type, "tz", None)),
        "clock": pa.time64("us"),
        "duration": pa.duration("us"),
    }.get(family)
    return column if micros is None else pc.cast(pc.cast(column, micros, safe=False), pa.int64())


def _of_column(column: pa.ChunkedArray, name: str, declared: str | None) -> list[tuple[str, Floats, bool]]:
    kind = kind_of(column.type, declared)
    if kind in ("numeric", "temporal"):
        values, known = _numbers(column)
        found = [(name, normal_scores(values, known), True), (f"{name} is missing", (~known).astype(np.float64), False)]
    elif kind == "categorical":
        found = _indicators(column, name)
    else:
        found = []
    standard = [(label, _standardised(values), is_smooth) for label, values, is_smooth in found]
    return [(label, values, is_smooth) for label, values, is_smooth in standard if values is not None]


def _numbers(column: pa.ChunkedArray) -> tuple[NDArray[Any], NDArray[np.bool_]]:
    """The values that are there, integers exact, and which rows they stand in."""
    if pa.types.is_dictionary(column.type):
        column = pc.cast(column, column.type.value_type)
    if pa.types.is_decimal(column.type):
        column = pc.cast(column, pa.float64())
    elif pa.types.is_temporal(column.type):
        is_short = pa.types.is_date32(column.type) or pa.types.is_time32(column.type)
        column = pc.cast(column, pa.int32() if is_short else pa.int64())
    known: NDArray[np.bool_] = pc.is_valid(column).to_numpy()
    values: NDArray[Any] = column.drop_null().to_numpy()
    if values.dtype.kind == "f" and np.isnan(values).any():
        is_number = ~np.isnan(values)
        known = known.copy()
        known[known] = is_number
        values = values[is_number]
    return values, known


def _indicators(column: pa.ChunkedArray, name: str) -> list[tuple[str, Floats, bool]]:
    if pa.types.is_dictionary(column.type):
        column = pc.cast(column, column.type.value_type)
    encoded = column.combine_chunks().dictionary_encode(null_encoding="encode")
    codes = encoded.indices.to_numpy(zero_copy_only=False)
    levels = encoded.dictionary.to_pylist()
    counts = np.bincount(codes, minlength=len(levels))
    if not len(counts) or (counts.max() == 1 and len(counts) > 2):
        return []  # every value different: an identifier
    shown = [int(i) for i in np.argsort(-counts, kind="stable")[:_SHOWN_LEVELS] if counts[i] >= _LEAST_ROWS]
    found = [
        (f"{name} is missing" if levels[i] is None else f"{name} = {levels[i]}", (codes == i).astype(np.float64), False)
        for i in shown
    ]
    rest = ~np.isin(codes, shown)
    return [*found, (f"{name} = rarer levels", rest.astype(np.float64), False)]


def _standardised(values: Floats) -> Floats | None:
    spread = values.std()
    return None if spread < 1e-12 else (values - values.mean()) / spread
