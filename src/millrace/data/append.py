"""New rows into the log of a source: a folder of Parquet files, written once each, that readers always see whole."""

from __future__ import annotations

import fcntl
import io
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import MAXYEAR, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from millrace.core.errors import DataError
from millrace.data.csv_file import read_csv
from millrace.data.location import data_files, file_kind, holds_files
from millrace.data.memory import as_declared
from millrace.data.read import read_source
from millrace.data.shape import decode, fitting_together, partition_of, with_partition
from millrace.data.source import Source
from millrace.data.times import column_index, normalise_times
from millrace.data.zones import in_one_zone, tables_in_one_zone
from millrace.store.disk import disk_error, write_atomic

_PUSHED = re.compile(r"~?pushed-(\d+)\.parquet")


def append_rows(source: Source, table: pa.Table, *, root: Path) -> int:
    """Add rows to the folder of `source`; how many were new.

    A row that stands there already, equal in every column, is not added again, so that a push may be repeated; a
    column that it does not have is null. Rows without event time are left out: no read by time would find them. Times
    are written as the files there have them, with a zone or without.

    Raises
    ------
    DataError
        DATA-15 when the source is no folder; DATA-02 when a time is missing; DATA-14 when the rows are not as declared,
        or a column of another type than in the files that are there; those of `read_source`.
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
    if source.created is not None:
        column_index(table, source.created)
    try:
        with _alone(folder):
            files = data_files(folder) if holds_files(folder) else []
            if table.num_rows and files:
                table = _fitting(source, table, files, folder)
                table = _not_there_yet(source, table, root)
            if table.num_rows:
                data = io.BytesIO()
                pq.write_table(table, data, compression="zstd")
                write_atomic(folder / _next_name(files, folder), data.getbuffer())
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


def _next_name(files: Sequence[Path], folder: Path) -> str:
    """A name after those of all files: they are read in the order of their names, and what is pushed now is the newest.

    Files of others may have names that no number can come after.
    """
    numbers = [int(found[1]) for file in files if (found := _PUSHED.fullmatch(file.name))]
    name = f"pushed-{max(numbers, default=0) + 1:012d}.parquet"
    return f"~{name}" if files and files[-1] > folder / name else name


def _fitting(source: Source, table: pa.Table, files: Sequence[Path], folder: Path) -> pa.Table:
    """The rows with times as the files have them; refused when no read could put both together again."""
    schemas = []
    for file in files:
        schema = read_csv(file).schema if file_kind(file) == "csv" else pq.read_schema(file)
        schemas.append(with_partition(schema.empty_table(), partition_of(file, folder)).schema.remove_metadata())
    with fitting_together(folder):
        stored = pa.unify_schemas(in_one_zone(schemas), promote_options="permissive")
    problems = []
    for place, field in enumerate(table.schema):
        if field.name not in stored.names:
            continue
        column = _as_stored(table[field.name], stored.field(field.name).type)
        table = table.set_column(place, field.name, column)
        try:
            pa.unify_schemas(
                [pa.schema([stored.field(field.name)]), pa.schema([table.schema.field(field.name)])],
                promote_options="permissive",
            )
        except (pa.ArrowInvalid, pa.ArrowTypeError):
            problems.append(
                DataError(
                    "DATA-14",
                    f"column '{field.name}' holds {field.type}; the files of source '{source.name}' hold "
                    f"{stored.field(field.name).type}",
                    where=str(folder),
                    why="with both in it the folder could not be read any more",
                    fix="send the type that the files have",
                )
            )
    if len(problems) == 1:
        raise problems[0]
    if problems:
        raise DataError("DATA-14", f"the rows do not fit the files of source '{source.name}'", findings=problems)
    return table


def _as_stored(column: pa.ChunkedArray, stored: pa.DataType) -> pa.ChunkedArray:
    """A time with a zone or without, or as text, as the files have it: a naive time is one in UTC."""
    if not pa.types.is_timestamp(column.type):
        return column
    if pa.types.is_timestamp(stored):
        return column.cast(pa.timestamp(column.type.unit, stored.tz))
    return column.cast(stored) if pa.types.is_string(stored) or pa.types.is_large_string(stored) else column


def _not_there_yet(source: Source, table: pa.Table, root: Path) -> pa.Table:
    """The rows that the log lacks: of rows equal in every column, as many as it has fewer of."""
    come = _in_one_form(source, table)
    times = come[source.event_time]
    bounds = pc.min_max(times).as_py()
    # The end of a read is not included, and nothing comes after the last year.
    end = bounds["max"] + timedelta(microseconds=1) if bounds["max"].year < MAXYEAR else None
    known = read_source(source, root=root, start=bounds["min"], end=end)
    known = known.filter(pc.is_in(known[source.event_time], value_set=times.unique()))
    if not known.num_rows:
        return table
    with fitting_together(root / source.path):
        # A column that only one of both has is null in the other, and of numbers one sort is compared.
        facts = _facts(pa.concat_tables(tables_in_one_zone([known, come]), promote_options="permissive"))
    left = Counter(facts[: known.num_rows])
    kept = []
    for row in facts[known.num_rows :]:
        left[row] -= 1
        kept.append(left[row] < 0)
    return table.filter(pa.array(kept, pa.bool_()))


def _in_one_form(source: Source, table: pa.Table) -> pa.Table:
    """What `read_source` will say of these rows."""
    if source.kept is not None:
        table = table.select([name for name in source.kept if name in table.column_names])
    for role in (source.created, source.event_time):
        if role is not None and role in table.column_names:
            table = normalise_times(table, role, may_be_null=True)
    return decode(table)


def _facts(table: pa.Table) -> list[Any]:
    """Each row as something that is equal for equal rows, NaN and lists too."""
    columns = [map(repr, table[name].to_pylist()) for name in table.column_names]
    return list(zip(*columns, strict=True))
