"""New rows into the log of a source: a folder of Parquet files, written once each, that readers always see whole."""

from __future__ import annotations

import fcntl
import io
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from millrace.core.errors import DataError
from millrace.data.location import holds_files
from millrace.data.memory import as_declared
from millrace.data.read import read_source
from millrace.data.source import Source
from millrace.data.times import column_index, normalise_times
from millrace.store.disk import disk_error, write_atomic

_PREFIX = "pushed-"


def append_rows(source: Source, table: pa.Table, *, root: Path) -> int:
    """Add rows to the folder of `source`; how many were new.

    A row that stands there already, equal in every column, is not added again, so that a push may be repeated. Rows
    without event time are left out: no read by time would find them.

    Raises
    ------
    DataError
        DATA-15 when the source is no folder; DATA-14 when the rows are not as declared; those of `read_source`.
    StoreError
        STORE-01 and STORE-04 when the disk refuses; nothing was added then.
    """
    folder = root / source.path
    if source.frame is not None or source.is_sql or source.renames or source.event_time is None or folder.is_file():
        raise DataError(
            "DATA-15",
            f"rows cannot be added to source '{source.name}'",
            where=source.place,
            why="rows are added to a folder of Parquet files, with an event time and without renamed columns",
            fix=f'mr.PushSource("{source.name}", schema={{...}}, event_time="..."), or a folder as path=',
        )
    table = as_declared(source, table)
    table = table.filter(pc.is_valid(table[column_index(table, source.event_time)]))
    table = normalise_times(table, source.event_time)
    try:
        with _alone(folder):
            table = _not_there_yet(source, table, root)
            if table.num_rows:
                data = io.BytesIO()
                pq.write_table(table, data, compression="zstd")
                write_atomic(folder / f"{_PREFIX}{_next_number(folder):012d}.parquet", data.getbuffer())
    except OSError as error:
        raise disk_error(error, folder) from error
    return int(table.num_rows)


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """One writer at a time; the system gives the lock back when a process ends, however it ends."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / ".lock").open("a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _next_number(folder: Path) -> int:
    # Files are read in the order of their names: a later push must have a later name than any file that is there.
    numbers = [int(path.stem.removeprefix(_PREFIX)) for path in folder.glob(f"{_PREFIX}*.parquet")]
    return max(numbers, default=0) + 1


def _not_there_yet(source: Source, table: pa.Table, root: Path) -> pa.Table:
    """The rows that the log lacks: of rows equal in every column, as many as it has fewer of."""
    folder = root / source.path
    if not table.num_rows or not holds_files(folder):
        return table
    assert source.event_time is not None
    times = table[source.event_time]
    bounds = pc.min_max(times).as_py()
    known = read_source(source, root=root, start=bounds["min"], end=None)
    known = known.filter(pc.is_in(known[source.event_time], value_set=times.unique()))
    if not known.num_rows:
        return table
    names = [name for name in table.column_names if name in known.column_names]
    left = Counter(_facts(known, names))
    kept = []
    for row in _facts(table, names):
        left[row] -= 1
        kept.append(left[row] < 0)
    return table.filter(pa.array(kept, pa.bool_()))


def _facts(table: pa.Table, names: list[str]) -> list[Any]:
    """Each row as something that is equal for equal rows, NaN and lists too."""
    columns = [map(repr, table[name].to_pylist()) for name in names]
    return list(zip(*columns, strict=True))
