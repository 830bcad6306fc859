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

from millrace.validation.expression import ROWS, Expr

_OF_THE_MISSING = {"is_missing", "repeated"}  # true of a row without a value, too
_SPAN = 10_000  # whole numbers between two bounds that are looked up in a set one by one
_Always = Literal["always", "never"]


@dataclass(frozen=True, slots=True)
class Group:
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
    rows : int
        Of all files.
    groups_of : callable (str) -> list of Group or None
        A column in each row group; None where a footer does not tell for certain.
    """

    def __init__(self, rows: int, groups_of: Callable[[str], list[Group] | None]) -> None:
        self._rows, self._read = rows, groups_of
        self._groups: dict[str, list[Group] | None] = {}

    def answer(self, figure: Expr) -> tuple[bool, Any]:
        """Whether the footers settle `figure` over all rows, and its value."""
        if figure == ROWS:
            return True, self._rows
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

    def _of(self, name: str) -> list[Group] | None:
        if name not in self._groups:
            self._groups[name] = self._read(name)
        return self._groups[name]


def _count(truth: Expr, groups: Sequence[Group]) -> tuple[bool, Any]:
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


def _over(truth: Expr, group: Group) -> _Always | None:
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


def _within(group: Group, members: Sequence[Any]) -> _Always | None:
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
