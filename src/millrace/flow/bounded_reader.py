"""Sources as they were when only a part of them had been taken over."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

from millrace.features.scan import Scan, open_scan

if TYPE_CHECKING:
    import pyarrow as pa

    from millrace.features.scan import Read


class BoundedReader:
    """Reads a source's rows with an event time before `end`, whatever is asked for."""

    def __init__(self, read: Read, end: datetime) -> None:
        self._read = read
        self._end = end

    def __call__(self, source: Any, start: datetime | None, end: datetime | None) -> pa.Table:
        return self._read(source, start, self._bounded(end))

    def scan(self, source: Any, columns: Sequence[str], start: datetime | None, end: datetime | None) -> Scan:
        """The same rows, a piece at a time."""
        return open_scan(self._read, source, columns, start, self._bounded(end))

    def _bounded(self, end: datetime | None) -> datetime:
        return self._end if end is None else min(end, self._end)
