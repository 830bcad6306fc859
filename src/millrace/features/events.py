"""The rows of a source as a view sees them: keys, the two times, and the columns it looks at."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from millrace.core.errors import DataError, did_you_mean
from millrace.features.aggregate import result_kind
from millrace.features.aggregation import Aggregation
from millrace.features.columns import ELEMENTS, Column, Ints, kind_of, to_column, to_times
from millrace.features.derive import derive
from millrace.features.field import ValueKind, dtype_of
from millrace.features.keys import key_arrays
from millrace.features.view import FeatureView

NEVER = np.iinfo(np.int64).min
"""Stands for a created time that is null: such a row is older than any other, and never known."""


@dataclass(frozen=True, slots=True)
class Events:
    """Events in the order they were written; rows without time are gone, rows without key are not yet.

    Parameters
    ----------
    keys : Arrow arrays, one per key column
    effective : int64, shape (n,)
        Event time plus the source's delay, in microseconds.
    created : int64, shape (n,), or None
        None when the source has no such column.
    columns : mapping of name to Column
    """

    keys: Sequence[pa.Array]
    effective: Ints
    created: Ints | None
    columns: Mapping[str, Column]

    @property
    def size(self) -> int:
        return len(self.effective)

    @property
    def key_kinds(self) -> tuple[ValueKind, ...]:
        """The kinds of the key columns; keys that are all null say nothing."""
        return tuple(kind_of(array.type) or "null" for array in self.keys)


def to_micros(view: FeatureView) -> int:
    """The delay of the view's source in microseconds."""
    return round(view.delay.total_seconds() * 1_000_000)


def read_events(
    table: pa.Table,
    view: FeatureView,
    *,
    key_kinds: Sequence[ValueKind] | None = None,
    kinds: Mapping[str, ValueKind] | None = None,
) -> Events:
    """The events of `view` in rows of its source.

    Parameters
    ----------
    key_kinds, kinds : optional
        What keys and columns are in the store already; the rows must fit.

    Raises
    ------
    DataError
        FEAT-05 to FEAT-07 for keys and times, FEAT-08 for a missing column, FEAT-09 when a rule cannot use a
        column's type, FEAT-10 for values that do not fit what the store holds.
    """
    source = view.source.name
    missing = [name for name in view.source_columns if name not in table.column_names and name not in view.keys]
    if missing:
        raise DataError(
            "FEAT-08",
            f"view '{view.name}' needs the column '{missing[0]}', which rows of '{source}' do not have",
            where=view.place,
            fix=did_you_mean(missing[0], table.column_names),
        )
    event_time = view.source.event_time or ""
    times, is_timed = to_times(table[event_time], what=f"column '{event_time}' of source '{source}'")
    created = _created(table, view)
    keys = key_arrays(table, view.keys, expected=key_kinds)
    columns = {
        name: _column(_data(name, table, view), name, view, (kinds or {}).get(name, _declared(view, name)))
        for name in view.columns
    }
    for feature, rule in view.rules.items():
        for leaf in rule.leaves():
            _check_rule(view, feature, leaf, columns)
        _check_declared(view, feature, rule, columns)
    if not is_timed.all():
        keep = pa.array(np.flatnonzero(is_timed))
        keys = [array.take(keep) for array in keys]
        columns = {name: to_column(column.array.take(keep), column.kind) for name, column in columns.items()}
        times, created = times[is_timed], None if created is None else created[is_timed]
    # What comes after the last time there is stays there, rather than coming round to the first.
    delay = to_micros(view)
    return Events(keys, np.minimum(times, np.iinfo(np.int64).max - delay) + delay, created, columns)


def _created(table: pa.Table, view: FeatureView) -> Ints | None:
    name = view.source.created
    if not name:
        return None
    created, is_known = to_times(table[name], what=f"column '{name}' of source '{view.source.name}'")
    return np.where(is_known, created, NEVER)


def _data(name: str, table: pa.Table, view: FeatureView) -> pa.ChunkedArray | pa.Array:
    expression = view.expressions.get(name)
    if expression is None:
        return table[name]
    return derive(expression, table, source=view.source.name)


def _declared(view: FeatureView, column: str) -> ValueKind | None:
    """The kind that a column has because a feature that picks its values is declared so."""
    for feature, kind in view.declared.items():
        rule = view.rules[feature]
        if rule.column == column and rule.kind in ("last", "first", "lag"):
            return kind
    return None


def _column(data: pa.ChunkedArray | pa.Array, name: str, view: FeatureView, kind: ValueKind | None) -> Column:
    if kind_of(data.type) is None:
        raise DataError(
            "FEAT-09",
            f"column '{name}' of source '{view.source.name}' holds {data.type}, which a feature cannot be",
            where=view.place,
            fix="numbers, bools, strings, times and arrays of these are kept; compute one of those in the source",
        )
    try:
        return to_column(data, None if kind == "null" else kind)
    except (pa.ArrowException, TypeError) as error:
        raise DataError(
            "FEAT-10",
            f"column '{name}' of source '{view.source.name}' does not fit: {error}",
            where=view.place,
            why=f"it is kept as {kind or kind_of(data.type)}; the rows bring {data.type}",
            fix="send the type the source had; if it changed on purpose, declare the new type, or give the view a new "
            "name, and materialize it",
        ) from error


_NUMBERS = ("int", "float", "bool", "null")


def _check_rule(view: FeatureView, feature: str, rule: Aggregation, columns: Mapping[str, Column]) -> None:
    if rule.where is not None and columns[rule.where].kind not in ("bool", "null"):
        raise DataError(
            "FEAT-09",
            f"where= of '{view.name}:{feature}' gives {columns[rule.where].kind} values, not true and false",
            where=view.place,
            fix='compare: where=mr.col("amount") > 0',
        )
    if rule.column is None or rule.kind not in ("mean", "sum", "min", "max", "std", "count_distinct", "last_k"):
        return
    kind = columns[rule.column].kind
    if rule.kind in ("count_distinct", "last_k"):
        is_right, wanted = kind not in ELEMENTS, "single values"
    else:
        is_right, wanted = kind in _NUMBERS, "numbers"
    if not is_right:
        raise DataError(
            "FEAT-09",
            f"'{view.name}:{feature}' is the {rule.kind} of '{rule.column}', which holds {kind} values",
            where=view.place,
            fix=f"{rule.kind} needs {wanted}; last, first, lag and count take any column",
        )


def _check_declared(view: FeatureView, feature: str, rule: Aggregation, columns: Mapping[str, Column]) -> None:
    declared = view.declared.get(feature)
    if declared is None:
        return
    column = None if rule.column is None else columns[rule.column].kind
    kind = result_kind(rule.kind, column or "int")
    if kind not in (declared, "null"):
        raise DataError(
            "FEAT-09",
            f"'{view.name}:{feature}' is declared {dtype_of(declared)}, and {rule} gives {dtype_of(kind)}",
            where=view.place,
            fix=f'Field("{feature}", "{dtype_of(kind)}")',
        )
