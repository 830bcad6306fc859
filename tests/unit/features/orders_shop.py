"""A shop's orders, small enough to check by hand: times, sources and a read callable for the tests of this folder."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from millrace.features.columns import TIME

START = datetime(2024, 1, 1, tzinfo=UTC)


def day(number: float) -> datetime:
    return START + timedelta(days=number)


def make_source(**changes: Any) -> Any:
    return SimpleNamespace(**{"name": "orders", "event_time": "ts", "created": None, "delay": None, **changes})


def reader(tables: Any, *, calls: list[Any] | None = None) -> Callable[..., pa.Table]:
    """A read callable over tables by source name, or one table for every source."""

    def read(source: Any, start: datetime | None, end: datetime | None) -> pa.Table:
        if calls is not None:
            calls.append((source.name, start, end))
        table = tables[source.name] if isinstance(tables, dict) else tables
        times = table[source.event_time].cast(TIME)
        if start is not None:
            table, times = (one.filter(pc.greater_equal(times, pa.scalar(start, TIME))) for one in (table, times))
        if end is not None:
            table = table.filter(pc.less(times, pa.scalar(end, TIME)))
        return table

    return read
