"""A batch as the rules see it: Arrow's types, and one lazy frame of the columns that are asked for.

NaN is missing, as in pandas and GX; decimals are floats; zoned times are UTC.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, date, datetime
from typing import Any, Literal

import polars as pl
import pyarrow as pa
from pyarrow import types

from millrace.core.errors import did_you_mean

Kind = Literal["number", "bool", "text", "time", "date", "nothing", "other"]


class CannotCheck(Exception):
    """A rule that this batch gives no answer to; the text says why. It becomes a failed result."""


class Batch:
    """The rows under test.

    Parameters
    ----------
    table : pyarrow.Table
    columns : iterable of str
        Names the rules will ask for; others are not touched. Names that are not there may be among them.
    """

    def __init__(self, table: pa.Table, columns: Iterable[str]) -> None:
        self.table = table
        self.names: list[str] = table.column_names
        self.rows: int = table.num_rows
        self._unreadable: dict[str, str] = {}
        wanted = [name for name in dict.fromkeys(columns) if self.names.count(name) == 1]
        self._labels = {name: f"c{self.names.index(name)}" for name in wanted}
        self.frame = pl.DataFrame([series for name in wanted if (series := self._series(name)) is not None]).lazy()

    def type_of(self, column: str) -> pa.DataType:
        """Arrow type of `column`. Raises CannotCheck when it is not there exactly once."""
        count = self.names.count(column)
        if count == 0:
            raise CannotCheck(f"there is no column '{column}': {did_you_mean(column, self.names)}")
        if count > 1:
            raise CannotCheck(f"the column '{column}' is there {count} times")
        return self.table.schema.field(column).type

    def kind(self, column: str) -> Kind:
        """What sort of values `column` holds."""
        return kind_of(self.type_of(column))

    def values(self, column: str) -> pl.Expr:
        """The column, null where a value is missing."""
        self.type_of(column)
        if column in self._unreadable:
            raise CannotCheck(f"the column '{column}' cannot be read: {self._unreadable[column]}")
        return pl.col(self._labels[column])

    def numbers(self, column: str, purpose: str) -> pl.Expr:
        """The column as numbers, true and false as 1 and 0. Raises CannotCheck for any other type."""
        kind = self.kind(column)
        if kind not in ("number", "bool", "nothing"):
            raise CannotCheck(f"{self.describe(column)}: {purpose} needs numbers")
        values = self.values(column)
        return values.cast(pl.Int8) if kind == "bool" else values

    def ordered(self, column: str, bounds: Iterable[Any]) -> tuple[pl.Expr, list[Any]]:
        """The column and `bounds` in forms that compare. Raises CannotCheck when they do not."""
        kind = self.kind(column)
        values = self.values(column)
        if kind == "bool":
            values = values.cast(pl.Int8)
        elif kind == "date":
            values = values.cast(pl.Datetime("us"))
        return values, [self._bound(column, kind, bound) for bound in bounds]

    def describe(self, column: str) -> str:
        """The column's type and one of its values, for a message."""
        present = self.table.column(column).drop_null()
        example = f" such as {_short(present[0].as_py())}" if len(present) else ""
        return f"the column '{column}' holds {type_name(self.type_of(column))}{example}"

    def _bound(self, column: str, kind: Kind, bound: Any) -> Any:
        if bound is None:
            return None
        is_number = isinstance(bound, (int, float))
        if kind == "nothing":
            return bound if is_number else None
        if (kind in ("number", "bool") and is_number) or (kind == "text" and isinstance(bound, str)):
            return bound
        if kind in ("time", "date") and not is_number:
            moment = as_moment(bound)
            if moment is not None:
                is_zoned = kind == "time" and self.type_of(column).tz is not None
                return moment if is_zoned else moment.replace(tzinfo=None)
        raise CannotCheck(f"{self.describe(column)}, which cannot be compared with {bound!r}")

    def _series(self, name: str) -> pl.Series | None:
        column, label = self.table.column(name), self._labels[name]
        try:
            if types.is_dictionary(column.type):
                column = column.cast(column.type.value_type)
            if types.is_null(column.type):
                return pl.Series(label, [None] * self.rows, dtype=pl.Float64)
            series = pl.Series(label, pl.from_arrow(column))
            if series.dtype.is_float():
                return series.fill_nan(None)
            if series.dtype.is_decimal():
                return series.cast(pl.Float64)
            if isinstance(series.dtype, pl.Datetime) and series.dtype.time_zone is not None:
                return series.dt.convert_time_zone("UTC")
            return series
        except (pl.exceptions.PolarsError, pa.ArrowException, TypeError, ValueError) as error:
            self._unreadable[name] = str(error).splitlines()[0]
            return None


def kind_of(found: pa.DataType) -> Kind:
    """What sort of values an Arrow type holds."""
    found = plain_type(found)
    tests: list[tuple[Kind, bool]] = [
        ("number", types.is_integer(found) or types.is_floating(found) or types.is_decimal(found)),
        ("bool", types.is_boolean(found)),
        ("text", types.is_string(found) or types.is_large_string(found) or types.is_string_view(found)),
        ("time", types.is_timestamp(found)),
        ("date", types.is_date(found)),
        ("nothing", types.is_null(found)),
    ]
    return next((kind for kind, holds in tests if holds), "other")


def plain_type(found: pa.DataType) -> pa.DataType:
    """The type of the values, where they are kept in a dictionary."""
    return found.value_type if types.is_dictionary(found) else found


def type_name(found: pa.DataType) -> str:
    """An Arrow type as messages name it."""
    return "no value at all" if types.is_null(found) else str(plain_type(found))


def as_moment(value: Any) -> datetime | None:
    """A time, a date or ISO 8601 text as a time in UTC (naive is UTC); None for anything else."""
    try:
        moment = datetime.fromisoformat(value) if isinstance(value, str) else value
    except ValueError:
        return None
    if isinstance(moment, date) and not isinstance(moment, datetime):
        moment = datetime(moment.year, moment.month, moment.day, tzinfo=UTC)
    if not isinstance(moment, datetime):
        return None
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)


def _short(value: Any) -> str:
    text = value.isoformat() if hasattr(value, "isoformat") else repr(value)
    return text if len(text) <= 40 else f"{text[:37]}..."
