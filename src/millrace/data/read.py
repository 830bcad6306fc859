"""Reading a source: files or a database, through Arrow."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

import pyarrow as pa

from millrace.core.errors import DataError, MillraceError
from millrace.core.plugins import load_plugin
from millrace.data.csv_file import read_csv
from millrace.data.location import data_files, file_kind, holds_files, resolve_url
from millrace.data.memory import declared_schema, frame_table
from millrace.data.parquet import parquet_names, read_parquet
from millrace.data.shape import decode, file_name, fitting_together, partition_of, shape, shown_path, with_partition
from millrace.data.source import Source
from millrace.data.times import between, normalise_times
from millrace.data.zones import tables_in_one_zone


def read_source(source: Source, *, root: Path, start: datetime | None = None, end: datetime | None = None) -> pa.Table:
    """The rows of `source`, those with ``start <= event_time < end`` when bounds are given.

    Rows keep the order of the files (by name) and of the rows in them. `event_time` and `created` come back as
    timestamp[us, tz=UTC], dictionary columns as their values. The parts ``name=value`` of a partition's path become
    columns.

    Parameters
    ----------
    source : Source
    root : Path
        The folder that a relative path starts at.
    start, end : datetime, optional
        Half-open bounds; naive times are UTC.

    Raises
    ------
    DataError
        DATA-01 to DATA-11; see docs/errors.md. The message names the source, the file and the nearest name.
    """
    check_bounds(source, start, end)
    try:
        table = _read_rows(source, root, start, end)
        table = decode(shape(source, table))
        if source.created is not None:
            table = normalise_times(table, source.created, may_be_null=True)  # which is: never known
        if source.event_time is not None:
            table = between(normalise_times(table, source.event_time), source.event_time, start, end)
    except DataError as error:
        error.where = f"source '{source.name}', {error.where or shown_path(source)}"
        raise
    return table


def _read_rows(source: Source, root: Path, start: datetime | None, end: datetime | None) -> pa.Table:
    if source.frame is not None:
        return frame_table(source.frame)
    if source.is_sql:
        return _read_sql(source, root, start, end)
    if source.schema is not None and not holds_files(root / source.path):
        return declared_schema(source).empty_table()
    return _read_files(source, root, start, end)


def check_bounds(source: Source, start: datetime | None, end: datetime | None) -> None:
    """Raise DataError DATA-02 for bounds on a source without event time."""
    if (start is not None or end is not None) and source.event_time is None:
        raise DataError(
            "DATA-02",
            f"source '{source.name}' has no event_time to select rows by",
            where=source.place,
            fix="name the column: Source(..., event_time='...')",
        )


def _read_sql(source: Source, root: Path, start: datetime | None, end: datetime | None) -> pa.Table:
    table: pa.Table = load_plugin("sources", "sql")(
        resolve_url(source.path),
        source.query,
        table=source.table,
        event_time=file_name(source, source.event_time),
        start=start,
        end=end,
        root=root,
    )
    return table


def _read_files(source: Source, root: Path, start: datetime | None, end: datetime | None) -> pa.Table:
    folder = root / source.path
    tables, findings = [], []
    for file in data_files(folder):
        try:
            table = _read_file(source, file, start, end)
        except MillraceError as error:
            findings.append(error)
            continue
        tables.append(with_partition(table, partition_of(file, folder)))
    raise_findings(findings, folder)
    if len(tables) == 1:
        return tables[0]
    with fitting_together(folder):
        # The pandas index and other notes of single files say nothing about all of them.
        return pa.concat_tables(tables_in_one_zone(tables), promote_options="permissive")


def raise_findings(findings: Sequence[MillraceError], folder: Path) -> None:
    """Raise what is wrong with the files of a folder, all of it at once; nothing when there is nothing."""
    if len(findings) == 1:
        raise findings[0]
    if findings:
        raise DataError(
            findings[0].code,
            f"{len(findings)} files of '{folder.name}' cannot be read",
            where=str(folder),
            findings=findings,
        )


def _read_file(source: Source, file: Path, start: datetime | None, end: datetime | None) -> pa.Table:
    if file_kind(file) == "csv":
        return read_csv(file)
    wanted = source.kept
    if wanted is not None and not set(wanted) <= set(parquet_names(file)):
        # Another part of the path or another file may hold it; if not, the message names the nearest of all columns.
        wanted = None
    time = file_name(source, source.event_time)
    return read_parquet(file, columns=wanted, event_time=time, start=start, end=end)
