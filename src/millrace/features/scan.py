"""Reading a source for features: only the columns that are needed and, where the reader can, a piece at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol

import pyarrow as pa

from millrace.core.clock import from_text

NOWHERE = from_text("1970-01-01T00:00:00Z")
"""As both bounds: no rows."""

Read = Callable[[Any, datetime | None, datetime | None], pa.Table]
"""Rows of a source with start <= event time < end; None for no bound.

A reader that also has a method ``scan(source, columns, start, end)`` is asked by that: it gives a `Scan` of the same
rows, in the same order.
"""


class Scan(Protocol):
    """Rows of a source that can be read a piece at a time, in the order they were written."""

    @property
    def schema(self) -> pa.Schema:
        """All columns of the source, whether they are read or not."""
        ...

    @property
    def rows(self) -> int:
        """At most how many rows there are."""
        ...

    @property
    def bytes(self) -> int:
        """About what the rows take in memory."""
        ...

    def pieces(self) -> Iterator[pa.Table]:
        """The rows, all pieces with the same columns and types."""
        ...


@dataclass(frozen=True)
class _Whole:
    """A table that was read in one piece."""

    table: pa.Table
    columns: Sequence[str]

    @property
    def schema(self) -> pa.Schema:
        return self.table.schema

    @property
    def rows(self) -> int:
        return int(self.table.num_rows)

    @property
    def bytes(self) -> int:
        return int(self.table.nbytes)

    def pieces(self) -> Iterator[pa.Table]:
        names = self.table.column_names
        yield self.table.select([name for name in self.columns if name in names])


def open_scan(read: Read, source: Any, columns: Sequence[str], start: datetime | None, end: datetime | None) -> Scan:
    """The rows of `source` with start <= event time < end; of `columns`, those it has."""
    scan = getattr(read, "scan", None)
    if scan is not None:
        found: Scan = scan(source, columns, start, end)
        return found
    return _Whole(read(source, start, end), columns)
