"""What the footers of Parquet files settle for certain: rows, missing values, extremes, ranges that no value leaves.

A footer gives, for each row group and column, how many values are null, and bounds. Bounds of text may be cut off,
and NaN, which is missing here, is no null there and in no bound: those of text and floats are left to the scan. So is
every column without statistics, of nested values, or of another type than in the other files.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import Any, Literal

import pyarrow as pa
import pyarrow.parquet as pq
from pyarrow import types

from millrace.validation.expression import ROWS, Expr

_OF_THE_MISSING = {"is_missing", "repeated"}  # true of a row without a value, too
_SPAN = 10_000  # whole numbers between two bounds that are looked up in a set one by one
_Always = Literal["always", "never"]


@dataclass(frozen=True, slots=True)
class _Group:
    """One column of one row group; `low` and `high` are None where it holds no value or its bounds are not certain."""

    rows: int
    nulls: int
    low: Any = None
    high: Any = None

    @property
    def is_open(self) -> bool:
        """Whether it holds values whose bounds are not certain."""
        return self.low is None and self.nulls < self.rows


class FooterStatistics:
    """Answers from the footers of files that are one batch.

    Parameters
    ----------
    footers : sequence of pyarrow.parquet.FileMetaData
    own : sequence of pyarrow.Schema
        The Arrow schema of each file.
    schema : pyarrow.Schema
        That of the batch.
    """

    def __init__(self, footers: Sequence[pq.FileMetaData], own: Sequence[pa.Schema], schema: pa.Schema) -> None:
        self._footers, self._own, self._schema = footers, own, schema
        self._groups: dict[str, list[_Group] | None] = {}

    def answer(self, figure: Expr) -> tuple[bool, Any]:
        """Whether the footers settle `figure` over all rows, and its value."""
        if figure == ROWS:
            return True, sum(footer.num_rows for footer in self._footers)
        names = figure.columns()
        if figure.op not in ("count_if", "min", "max") or len(names) != 1:
            return False, None
        groups = self._of(next(iter(names)))
        if groups is None:
            return False, None
        if figure.op == "count_if":
            return _count(figure.args[0], groups)
        if figure.args[0].op != "column" or any(group.is_open for group in groups):
            return False, None
        bounds = [group.low if figure.op == "min" else group.high for group in groups if group.low is not None]
        return True, (min(bounds) if figure.op == "min" else max(bounds)) if bounds else None

    def _of(self, name: str) -> list[_Group] | None:
        if name not in self._groups:
            self._groups[name] = self._read(name)
        return self._groups[name]

    def _read(self, name: str) -> list[_Group] | None:
        if any(schema.names.count(name) != 1 for schema in self._own):
            return None
        kind = self._schema.field(name).type
        if types.is_nested(kind) or any(schema.field(name).type != kind for schema in self._own):
            return None
        found: list[_Group] = []
        for footer in self._footers:
            places = [n for n in range(footer.num_columns) if footer.schema.column(n).path == name]
            if len(places) != 1:
                return None
            for number in range(footer.num_row_groups):
                group = _group(footer.row_group(number), places[0], kind)
                if group is None:
                    return None
                found.append(group)
        return found


def _is_certain(kind: pa.DataType) -> bool:
    if types.is_timestamp(kind):
        return kind.unit in ("ms", "us")
    return bool(types.is_integer(kind) or types.is_date(kind) or types.is_decimal(kind))


def _group(group: pq.RowGroupMetaData, place: int, kind: pa.DataType) -> _Group | None:
    statistics = group.column(place).statistics
    if statistics is None or not statistics.has_null_count:
        return None
    if statistics.null_count == group.num_rows:
        return _Group(group.num_rows, group.num_rows)
    if types.is_floating(kind):
        return None
    if not (_is_certain(kind) and statistics.has_min_max):
        return _Group(group.num_rows, statistics.null_count)
    try:
        return _Group(group.num_rows, statistics.null_count, statistics.min, statistics.max)
    except (OverflowError, ValueError):  # days and times beyond the years that Python's have
        return _Group(group.num_rows, statistics.null_count)


def _count(truth: Expr, groups: Sequence[_Group]) -> tuple[bool, Any]:
    """How many rows `truth` is true for, where every row group is settled."""
    total = 0
    for group in groups:
        if group.rows == 0:
            continue
        if truth.op == "is_missing" and truth.args[0].op == "column":
            total += group.nulls
            continue
        if truth.op == "not" and truth.args[0].op == "is_missing" and truth.args[0].args[0].op == "column":
            total += group.rows - group.nulls
            continue
        if group.is_open or _OF_THE_MISSING & truth.operations():
            return False, None
        verdict = "never" if group.low is None else _over(truth, group)
        if verdict is None:
            return False, None
        total += group.rows - group.nulls if verdict == "always" else 0
    return True, total


def _over(truth: Expr, group: _Group) -> _Always | None:
    """Whether `truth` holds for every present value between the bounds, or for none; None when they do not tell.

    What is not about one column's values alone has no answer, so a missing value makes all of it missing.
    """
    if truth.op == "not":
        inner = _over(truth.args[0], group)
        return None if inner is None else "never" if inner == "always" else "always"
    if truth.op in ("and", "or"):
        parts = [_over(part, group) for part in truth.args]
        decisive: _Always = "never" if truth.op == "and" else "always"
        if decisive in parts:
            return decisive
        return None if None in parts else parts[0]
    if truth.op == "is_in" and truth.args[0].op == "column":
        return _within(group, [member.args[0] for member in truth.args[1:]])
    if truth.op not in _ORDERS or truth.args[0].op != "column" or truth.args[1].op != "literal":
        return None
    low, high, bound = _comparable(group.low), _comparable(group.high), _comparable(truth.args[1].args[0])
    if isinstance(bound, float) and isinstance(low, int):
        low, high = float(low), float(high)  # against a float, whole numbers are floats
    try:
        return _ORDERS[truth.op](low, high, bound)
    except TypeError:
        return None


def _comparable(value: Any) -> Any:
    """Times as times in UTC, days as their first moment."""
    if isinstance(value, datetime):
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value
    return datetime(value.year, value.month, value.day, tzinfo=UTC) if isinstance(value, date) else value


def _within(group: _Group, members: Sequence[Any]) -> _Always | None:
    try:
        if not any(_comparable(group.low) <= _comparable(member) <= _comparable(group.high) for member in members):
            return "never"
    except TypeError:
        return None
    if isinstance(group.low, int) and group.high - group.low < _SPAN:
        return "always" if set(range(group.low, group.high + 1)) <= set(members) else None
    return "always" if group.low == group.high else None


_ORDERS: dict[str, Callable[[Any, Any, Any], _Always | None]] = {
    "lt": lambda low, high, bound: "always" if high < bound else "never" if low >= bound else None,
    "le": lambda low, high, bound: "always" if high <= bound else "never" if low > bound else None,
    "gt": lambda low, high, bound: "always" if low > bound else "never" if high <= bound else None,
    "ge": lambda low, high, bound: "always" if low >= bound else "never" if high < bound else None,
    "eq": lambda low, high, bound: "always" if low == high == bound else "never" if not low <= bound <= high else None,
    "ne": lambda low, high, bound: "never" if low == high == bound else "always" if not low <= bound <= high else None,
}
