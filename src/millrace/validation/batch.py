"""A batch as the rules see it: what its columns hold, whatever backend holds the rows.

NaN is missing, as in pandas and GX; zoned times are UTC, and a naive time is one in UTC.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

from millrace.core.errors import did_you_mean
from millrace.validation.backend import Backend, CannotCheck
from millrace.validation.column_type import ColumnType, Kind, kind_of, type_name
from millrace.validation.expression import Expr, as_number, is_present
from millrace.validation.expression import column as column_of

__all__ = ["Batch", "CannotCheck", "as_moment"]


class Batch:
    """The rows under test.

    Parameters
    ----------
    backend : Backend
        Who holds them.
    rows_of : mapping of str to callable, optional
        Tables that a rule may name, each with a callable that counts its rows.
    backend_of : mapping of str to callable, optional
        The same tables, each with a callable that opens it.
    """

    def __init__(
        self,
        backend: Backend,
        rows_of: Mapping[str, Callable[[], int]] | None = None,
        backend_of: Mapping[str, Callable[[], Backend]] | None = None,
    ) -> None:
        self.backend = backend
        self.names: list[str] = list(backend.names)
        self.rows_of = dict(rows_of or {})
        self.backend_of = dict(backend_of or {})

    def type_of(self, column: str) -> ColumnType:
        """Type of `column`. Raises CannotCheck when it is not there exactly once."""
        count = self.names.count(column)
        if count == 0:
            raise CannotCheck(f"there is no column '{column}': {did_you_mean(column, self.names)}")
        if count > 1:
            raise CannotCheck(f"the column '{column}' is there {count} times")
        return self.backend.type_of(column)

    def kind(self, column: str) -> Kind:
        """What sort of values `column` holds."""
        return kind_of(self.type_of(column))

    def values(self, column: str) -> Expr:
        """The column. Raises CannotCheck when it is not there exactly once."""
        self.type_of(column)
        return column_of(column)

    def numbers(self, column: str, purpose: str) -> Expr:
        """The column as numbers, true and false as 1 and 0. Raises CannotCheck for any other type."""
        kind = self.kind(column)
        if kind not in ("number", "bool", "nothing"):
            raise CannotCheck(f"{self.describe(column)}: {purpose} needs numbers")
        return as_number(self.values(column)) if kind == "bool" else self.values(column)

    def ordered(self, column: str, bounds: Iterable[Any]) -> tuple[Expr, list[Any]]:
        """The column and `bounds` in forms that compare, times in UTC. Raises CannotCheck when they do not."""
        kind = self.kind(column)
        values = as_number(self.values(column)) if kind == "bool" else self.values(column)
        return values, [self._bound(column, kind, bound) for bound in bounds]

    def describe(self, column: str) -> str:
        """The column's type and one of its values, for a message."""
        values = column_of(column)
        try:
            found = self.backend.examples(is_present(values), [values], where=None, limit=1)
        except CannotCheck:
            found = []
        example = f" such as {_short(found[0][1][0])}" if found else ""
        return f"the column '{column}' holds {type_name(self.type_of(column))}{example}"

    def _bound(self, column: str, kind: Kind, bound: Any) -> Any:
        if bound is None:
            return None
        if kind == "mixed":
            return bound
        is_number = isinstance(bound, (int, float, Decimal))
        if kind == "nothing":
            return bound if is_number else None
        if (kind in ("number", "bool") and is_number) or (kind == "text" and isinstance(bound, str)):
            return bound
        if kind in ("time", "date") and not is_number:
            moment = as_moment(bound)
            if moment is not None:
                return moment
        raise CannotCheck(f"{self.describe(column)}, which cannot be compared with {bound!r}")


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
