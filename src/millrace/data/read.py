"""Reading a source: files or a database, through Arrow."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from urllib.parse import unquote

import pyarrow as pa

from millrace.core.errors import DataError, MillraceError, did_you_mean
from millrace.core.plugins import load_plugin
from millrace.data.csv_file import read_csv
from millrace.data.location import data_files, file_kind, resolve_url
from millrace.data.parquet import parquet_names, read_parquet
from millrace.data.source import Source
from millrace.data.times import between, normalise_times


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
    if (start is not None or end is not None) and source.event_time is None:
        raise DataError(
            "DATA-02",
            f"source '{source.name}' has no event_time to select rows by",
            where=source.place,
            fix="name the column: Source(..., event_time='...')",
        )
    try:
        table = _read_sql(source, root, start, end) if source.is_sql else _read_files(source, root, start, end)
        table = _decode(_shape(source, table))
        if source.created is not None:
            table = normalise_times(table, source.created)
        if source.event_time is not None:
            table = between(normalise_times(table, source.event_time), source.event_time, start, end)
    except DataError as error:
        error.where = f"source '{source.name}', {error.where or _shown_path(source)}"
        raise
    return table


def _read_sql(source: Source, root: Path, start: datetime | None, end: datetime | None) -> pa.Table:
    table: pa.Table = load_plugin("sources", "sql")(
        resolve_url(source.path),
        source.query,
        table=source.table,
        event_time=_file_name(source, source.event_time),
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
        tables.append(_with_partition(table, file.relative_to(folder) if folder.is_dir() else Path(file.name)))
    if len(findings) == 1:
        raise findings[0]
    if findings:
        raise DataError(
            findings[0].code,
            f"{len(findings)} files of '{folder.name}' cannot be read",
            where=str(folder),
            findings=findings,
        )
    return _concat(tables, folder)


def _read_file(source: Source, file: Path, start: datetime | None, end: datetime | None) -> pa.Table:
    if file_kind(file) == "csv":
        return read_csv(file)
    wanted = source.kept
    if wanted is not None and not set(wanted) <= set(parquet_names(file)):
        # Another part of the path or another file may hold it; if not, the message names the nearest of all columns.
        wanted = None
    time = _file_name(source, source.event_time)
    return read_parquet(file, columns=wanted, event_time=time, start=start, end=end)


def _with_partition(table: pa.Table, relative: Path) -> pa.Table:
    for part in relative.parts[:-1]:
        name, sign, value = part.partition("=")
        if sign and name not in table.column_names:
            table = table.append_column(name, pa.array([unquote(value)] * table.num_rows, pa.string()))
    return table


def _concat(tables: list[pa.Table], folder: Path) -> pa.Table:
    if len(tables) == 1:
        return tables[0]
    # The pandas index and other notes of single files say nothing about all of them.
    tables = [table.replace_schema_metadata(None) for table in tables]
    try:
        return pa.concat_tables(tables, promote_options="permissive")
    except (pa.ArrowInvalid, pa.ArrowTypeError) as error:
        raise DataError(
            "DATA-07",
            f"the files of '{folder.name}' do not fit together: {str(error).splitlines()[0]}",
            where=str(folder),
            why="a column has another type in one file than in the others",
            fix="write the differing file again with the types of the others",
        ) from error


def _shape(source: Source, table: pa.Table) -> pa.Table:
    wanted = source.kept if source.kept is not None else list(source.renames.values())
    for role in (source.event_time, source.created):
        name = _file_name(source, role)
        if name is not None and name not in wanted:
            wanted.append(name)
    missing = [_missing(name, table) for name in wanted if name not in table.column_names]
    if len(missing) == 1:
        raise missing[0]
    if missing:
        raise DataError("DATA-02", f"{len(missing)} columns are missing", findings=missing)
    if source.kept is not None:
        return table.select(source.kept)
    ours = {theirs: our for our, theirs in source.renames.items()}
    names = [ours.get(name, name) for name in table.column_names]
    twice = sorted({name for name in names if names.count(name) > 1})
    if ours and twice:
        raise DataError(
            "DATA-11",
            f"after renaming, the columns {twice} are there twice",
            fix="rename the other one too in columns=, or list only the columns to keep",
        )
    return table.rename_columns(names)


def _missing(name: str, table: pa.Table) -> DataError:
    return DataError(
        "DATA-02",
        f"there is no column '{name}'",
        why=f"the columns are: {', '.join(table.column_names)}",
        fix=did_you_mean(name, table.column_names),
    )


def _decode(table: pa.Table) -> pa.Table:
    for index, field in enumerate(table.schema):
        if pa.types.is_dictionary(field.type):
            table = table.set_column(index, field.name, table.column(index).cast(field.type.value_type))
    return table


def _file_name(source: Source, column: str | None) -> str | None:
    return None if column is None else source.renames.get(column, column)


def _shown_path(source: Source) -> str:
    # A URL may hold a password: only what stands before it is shown.
    return source.path if "://" not in source.path else f"{source.path.split('://', 1)[0]}://..."
