"""The rows of a source as a view sees them: keys, the two times, and the columns it looks at."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from millrace.core.errors import DataError, did_you_mean
from millrace.features.aggregation import Aggregation
from millrace.features.columns import Column, Ints, ValueKind, kind_of, to_column, to_times
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
    event_time = view.source.event_time or ""
    wanted = [event_time, *([view.source.created] if view.source.created else []), *view.columns]
    missing = [name for name in wanted if name not in table.column_names]
    if missing:
        raise DataError(
            "FEAT-08",
            f"view '{view.name}' needs the column '{missing[0]}', which rows of '{view.source.name}' do not have",
            where=view.place,
            fix=did_you_mean(missing[0], table.column_names),
        )
    source = view.source.name
    times, is_timed = to_times(table[event_time], what=f"column '{event_time}' of source '{source}'")
    created = _created(table, view)
    keys = key_arrays(table, view.keys, expected=key_kinds)
    columns = {name: _column(table[name], name, view, (kinds or {}).get(name)) for name in view.columns}
    for feature, rule in view.rules.items():
        _check_rule(view, feature, rule, columns)
    if not is_timed.all():
        keep = pa.array(np.flatnonzero(is_timed))
        keys = [array.take(keep) for array in keys]
        columns = {name: to_column(column.array.take(keep), column.kind) for name, column in columns.items()}
        times, created = times[is_timed], None if created is None else created[is_timed]
    return Events(keys, times + to_micros(view), created, columns)


def _created(table: pa.Table, view: FeatureView) -> Ints | None:
    name = view.source.created
    if not name:
        return None
    created, is_known = to_times(table[name], what=f"column '{name}' of source '{view.source.name}'")
    return np.where(is_known, created, NEVER)


def _column(data: pa.ChunkedArray, name: str, view: FeatureView, kind: ValueKind | None) -> Column:
    if kind_of(data.type) is None:
        raise DataError(
            "FEAT-09",
            f"column '{name}' of source '{view.source.name}' holds {data.type}, which a feature cannot be",
            where=view.place,
            fix="numbers, bools, strings and times are kept; compute one of those in the source",
        )
    try:
        return to_column(data, None if kind == "null" else kind)
    except (pa.ArrowException, TypeError) as error:
        raise DataError(
            "FEAT-10",
            f"column '{name}' of source '{view.source.name}' does not fit: {error}",
            where=view.place,
            why=f"the store holds it as {kind or kind_of(data.type)}",
            fix="send the type the source has; if the source changed, give the view a new name and materialize it",
        ) from error


def _check_rule(view: FeatureView, feature: str, rule: Aggregation, columns: Mapping[str, Column]) -> None:
    if rule.column is None or rule.kind in ("last", "lag", "count"):
        return
    kind = columns[rule.column].kind
    if kind not in ("int", "float", "bool", "null"):
        raise DataError(
            "FEAT-09",
            f"'{view.name}:{feature}' is the {rule.kind} of '{rule.column}', which holds {kind} values",
            where=view.place,
            fix=f"{rule.kind} needs numbers; last, lag and count take any column",
        )
