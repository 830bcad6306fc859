"""The join of one bucket of keys, as it runs on a Spark worker. Knows nothing of Spark."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from copy import copy
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from millrace.adapters.spark_types import in_utc, pack, unpack
from millrace.core.errors import MillraceError
from millrace.features.offline.historical import retrieve
from millrace.features.request import Feature

MARK = "millrace-error:"
"""Begins the JSON of an error in the text that Spark gives of it."""


@dataclass(frozen=True)
class Bucket:
    """What a worker needs to know to join any bucket.

    Parameters
    ----------
    answers : mapping of str to str
        In which column to put which feature.
    features : tuple of Feature
    time : str
        The rows' column that says as of when.
    rows : mapping of str to (str, DataType)
        What the join sees of the rows: in which column each is, and its type.
    log : pyarrow.Schema
        The log's columns, which come as ``l0``, ``l1`` ...
    order : tuple of str
        Columns that order the log as it was written.
    """

    answers: Mapping[str, str]
    features: tuple[Feature, ...]
    time: str
    as_known: bool
    rows: Mapping[str, tuple[str, pa.DataType]]
    log: pa.Schema
    order: tuple[str, ...]

    def function(self) -> Callable[[pa.Table, pa.Table], pa.Table]:
        """The join as Spark wants it; a function pickles where it is called."""

        def join(asked: pa.Table, written: pa.Table) -> pa.Table:
            with _telling():
                return self.join(asked, written)

        return join

    def join(self, asked: pa.Table, written: pa.Table) -> pa.Table:
        """The rows of the bucket with their answers."""
        rows = pa.table({name: unpack(asked[place], kind) for name, (place, kind) in self.rows.items()})
        written = written.take(pc.sort_indices(written, [(name, "ascending") for name in self.order]))
        log = pa.table({one.name: unpack(written[f"l{place}"], one.type) for place, one in enumerate(self.log)})
        found = self._retrieve(rows, log if rows.num_rows else log.slice(0, 0))
        kept = pa.table({name: in_utc(asked[name]) for name in asked.column_names if name != "bucket"})
        for name, place in self.answers.items():
            kept = kept.append_column(place, pack(found[name]))
        return kept

    def dry_run(self, others: Sequence[str], asked: pa.Schema) -> pa.Table:
        """The answer to no rows: its types, and every error that columns and types alone show."""
        log = self.log.empty_table()
        for name in others:
            log = log.append_column(name, pa.nulls(0))
        return self._retrieve(asked.empty_table(), log)

    def _retrieve(self, rows: pa.Table, log: pa.Table) -> pa.Table:
        def read(source: Any, start: datetime | None, end: datetime | None) -> pa.Table:
            return log

        return retrieve(rows, self.features, read, event_time=self.time, as_known=self.as_known).table


@dataclass(frozen=True)
class _LogSource:
    """What the join needs to know of a source; the source itself may hold a whole frame."""

    name: str
    event_time: str | None
    created: str | None
    delay: timedelta | None


def portable(feature: Feature) -> Feature:
    """`feature` without what a worker has no use for."""
    view, source = copy(feature.view), feature.view.source
    slim = _LogSource(source.name, source.event_time, source.created, source.delay)
    object.__setattr__(view, "source", slim)
    return replace(feature, view=view)


@dataclass(frozen=True)
class Batches:
    """A change of rows with features, as it runs on a worker.

    Parameters
    ----------
    change : callable (pyarrow.Table) -> pyarrow.Table
    schema : pyarrow.Schema
        What the rows are called here, and of which types they are.
    answers : mapping of str to str
        In which column to put which of the new features.
    kept : sequence of str
        Columns that go on as they are.
    """

    change: Callable[[pa.Table], pa.Table]
    schema: pa.Schema
    answers: Mapping[str, str]
    kept: Sequence[str]

    def function(self) -> Callable[[Iterator[pa.RecordBatch]], Iterator[pa.RecordBatch]]:
        """The change as Spark wants it."""

        def change(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
            for batch in batches:
                with _telling():
                    changed = self.changed(pa.Table.from_batches([batch]))
                yield from changed.to_batches()

        return change

    def changed(self, rows: pa.Table) -> pa.Table:
        """Some rows with their new features."""
        columns = [unpack(rows.column(place), one.type) for place, one in enumerate(self.schema)]
        found = self.change(pa.table(columns, names=self.schema.names))
        kept = pa.table({name: in_utc(rows[name]) for name in [*self.kept, "row"]})
        for name, place in self.answers.items():
            kept = kept.append_column(place, pack(found[name]))
        return kept.combine_chunks()


@contextmanager
def _telling() -> Iterator[None]:
    """Our errors as a text that says all of them: a text is what Spark tells the driver."""
    try:
        yield
    except MillraceError as error:
        raise RuntimeError(MARK + json.dumps(error.to_dict())) from error
