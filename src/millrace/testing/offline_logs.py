"""Logs with known rows, in memory or in files, and how the conformance suite of offline engines asks about them."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from millrace.core.clock import to_micros
from millrace.core.errors import DataError
from millrace.data.source import Source
from millrace.features import aggregation as mr
from millrace.features.columns import TIME, to_times
from millrace.features.entity import Entity
from millrace.features.expression import col
from millrace.features.offline.historical import by_name
from millrace.features.request import resolve
from millrace.features.view import EventSource, FeatureView

CUSTOMER = Entity("customer", key="customer_id")


def day(number: float) -> datetime:
    """A moment of 2024, in days."""
    return datetime(2024, 1, 1, tzinfo=UTC) + timedelta(days=number)


def table(names: str, *rows: tuple[Any, ...]) -> pa.Table:
    """A table from rows, with the names in one text; columns of times are timestamps."""
    columns = zip(*rows, strict=True) if rows else ([] for _ in names.split())
    return pa.table({name: pa.array(list(values)) for name, values in zip(names.split(), columns, strict=True)})


@dataclass(frozen=True)
class Log:
    """A source that is nowhere but in memory."""

    name: str
    event_time: str | None
    created: str | None
    delay: timedelta | None


class Logs:
    """Sources with known rows."""

    def __init__(self, folder: Path, *, in_files: bool) -> None:
        self._folder = folder
        self._in_files = in_files
        self._tables: dict[str, pa.Table] = {}

    def put(
        self, name: str, rows: pa.Table, *, created: str | None = None, delay: timedelta | None = None
    ) -> EventSource:
        """A source with these rows, in this order, whose event time is ``ts``."""
        self._tables[name] = rows
        if not self._in_files:
            return Log(name, "ts", created, delay)
        path = self._folder / f"{name}.parquet"
        pq.write_table(rows, path, row_group_size=2)
        return Source(name, path, event_time="ts", created=created, delay=delay)

    def read(self, source: Any, start: datetime | None, end: datetime | None) -> pa.Table:
        """Rows with start <= event time < end."""
        rows = self._tables[source.name]
        times, is_timed = to_times(rows[source.event_time], what="ts")
        keep = is_timed | (start is None and end is None)
        if start is not None:
            keep &= times >= to_micros(start)
        if end is not None:
            keep &= times < to_micros(end)
        return rows.filter(pa.array(keep))


class Asking:
    """Tests that ask an engine."""

    in_files = False

    def logs(self, folder: Path) -> Logs:
        """Where a test puts its sources."""
        return Logs(folder, in_files=self.in_files)

    def ask(
        self,
        engine: Any,
        logs: Logs,
        views: Sequence[FeatureView],
        rows: Any,
        features: Sequence[str] | None = None,
        *,
        event_time: str = "event_time",
        as_known: bool = True,
        full_feature_names: bool = False,
    ) -> pa.Table:
        """The engine's answer, as Arrow."""
        accepted, names = engine.accept(rows)
        request = resolve(by_name(views), features or list(views), full_feature_names=full_feature_names, taken=names)
        found = engine.retrieve(accepted, request.stored, logs.read, event_time=event_time, as_known=as_known)
        assert found.features == request.names
        assert found.as_known is as_known
        return found.to_arrow()

    def values(
        self, engine: Any, folder: Path, log: pa.Table, rule: Any, asked: Sequence[tuple[Any, Any]], **options: Any
    ) -> list[Any]:
        """Values of one rule over one log, for pairs of customer and moment."""
        logs = self.logs(folder)
        source = logs.put("orders", log, created=options.pop("created", None), delay=options.pop("delay", None))
        as_known = options.pop("as_known", True)
        view = FeatureView("v", entity=CUSTOMER, source=source, features={"x": rule}, **options)
        rows = pa.table(
            {"customer_id": [key for key, _ in asked], "event_time": pa.array([at for _, at in asked], TIME)}
        )
        answer = self.ask(engine, logs, [view], rows, as_known=as_known)
        assert answer.column_names == ["customer_id", "event_time", "x"]
        values: list[Any] = answer["x"].to_pylist()
        return values

    ORDERS = table(
        "customer_id ts amount", (1, day(1), 10), (1, day(2), 20), (2, day(2), 7), (1, day(4), 40), (3, day(9), 5)
    )

    def error(
        self, engine: Any, folder: Path, rows: Any, *, rule: Any = "amount", features: Sequence[str] | None = None
    ) -> DataError:
        """The error that asking ends with."""
        logs = self.logs(folder)
        view = FeatureView("v", entity=CUSTOMER, source=logs.put("orders", self.ORDERS), features={"x": rule})
        return _raised(lambda: self.ask(engine, logs, [view], rows, features))


def _raised(action: Callable[[], Any]) -> DataError:
    try:
        action()
    except DataError as error:
        return error
    raise AssertionError("nothing was refused")


def every_rule() -> dict[str, Any]:
    """Features of every kind, with windows and conditions."""
    spent = col("amount") * col("price")
    kinds: dict[str, Any] = {"plain": "name", "lag": mr.lag("amount", 2), "ratio": None}
    for name in ("last", "first", "mean", "sum", "min", "max", "std", "count", "count_distinct"):
        rule = getattr(mr, name)
        kinds[name] = rule("price")
        kinds[f"{name}_window"] = rule("amount", window="36h")
        kinds[f"{name}_where"] = rule(spent, window="10d", where=col("amount") > 3)
    for name in ("days_since_last", "days_since_first", "lifetime_days", "count"):
        kinds[f"{name}_all"] = getattr(mr, name)()
    kinds["last_k"] = mr.last_k("name", 3)
    kinds["last_k_window"] = mr.last_k("amount", 5, window="5d")
    kinds["ratio"] = mr.ratio(mr.sum("price", window="2d"), mr.sum("price"))
    return kinds


def random_log(seed: int, size: int) -> pa.Table:
    """Events of a dozen keys with ties, nulls and late rows; the same for the same seed."""
    chance = random.Random(seed)  # noqa: S311 - the same on every run
    times = [day(chance.choice([chance.randint(0, 20), chance.random() * 20])) for _ in range(size)]
    return pa.table(
        {
            "customer_id": [chance.choice([None, *range(12)]) for _ in range(size)],
            "ts": times,
            "created": pa.array(
                [chance.choice([None, at, at + timedelta(days=chance.randint(0, 4))]) for at in times], TIME
            ),
            "amount": [chance.choice([None, chance.randint(0, 9)]) for _ in range(size)],
            "price": [chance.choice([None, chance.gauss(0, 1e6), chance.random()]) for _ in range(size)],
            "name": [chance.choice([None, "", "x", "ü"]) for _ in range(size)],
        }
    )


def random_rows(seed: int, size: int) -> pa.Table:
    """Keys and moments to ask for."""
    chance = random.Random(seed)  # noqa: S311 - the same on every run
    return pa.table(
        {
            "customer_id": [chance.choice([None, *range(14)]) for _ in range(size)],
            "event_time": pa.array([chance.choice([None, day(chance.randint(0, 24))]) for _ in range(size)], TIME),
        }
    )
