"""Any database SQLAlchemy speaks to, as a source of rows."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import sqlalchemy as sa

from millrace.core.clock import as_utc
from millrace.core.errors import DataError, did_you_mean

_CHUNK_ROWS = 50_000


def read_sql(
    url: str,
    query: str | None = None,
    *,
    table: str | None = None,
    event_time: str | None = None,
    start: datetime | None = None,
    end: datetime | None = None,
    root: Path | None = None,
) -> pa.Table:
    """The rows of a query or of a whole table.

    NUMERIC and DECIMAL come back as float64: they are on their way into a model. With `table`, the bounds on
    `event_time` are part of the statement; with `query`, all its rows come back and the caller selects.

    Parameters
    ----------
    url : str
        SQLAlchemy URL. A relative SQLite file starts at `root`.
    query, table : str
        Exactly one of them; a table may be written ``schema.table``.
    event_time : str, optional
        Column that `start` and `end` bound, ``start <= event_time < end``.

    Raises
    ------
    DataError
        DATA-01 (no such SQLite file), DATA-02 (no such column), DATA-10 (URL, connection or query refused). The
        password of the URL is in no message.
    """
    address = read_address(url, root)
    engine = make_engine(address)
    try:
        with engine.connect() as connection:
            if table is not None:
                statement = _select(connection, table, event_time, start, end)
            else:
                statement = sa.text(query or "")
            return _fetch(connection, statement)
    except sa.exc.SQLAlchemyError as error:
        raise refused(address, error) from error
    finally:
        engine.dispose()


def read_address(url: str, root: Path | None) -> sa.URL:
    """The URL as SQLAlchemy takes it, a SQLite file from `root` on. Raises DataError DATA-01 and DATA-10."""
    try:
        address = sa.make_url(url)
    except sa.exc.ArgumentError as error:
        raise DataError(
            "DATA-10",
            "the database URL is not one",
            why="SQLAlchemy cannot read it; it is not shown here, as it may hold a password",
            fix="write dialect://user:password@host/database",
        ) from error
    file = address.database
    if address.get_backend_name() != "sqlite" or not file or file == ":memory:" or file.startswith("file:"):
        return address
    path = Path(file) if root is None else root / file
    if not path.is_file():
        # SQLite would make an empty database of a mistyped name.
        folder = path.parent
        names = [entry.name for entry in folder.iterdir()] if folder.is_dir() else []
        raise DataError(
            "DATA-01",
            f"there is no database file '{path.name}' in {folder}",
            where=str(path),
            fix=did_you_mean(path.name, names),
        )
    return address.set(database=str(path))


def make_engine(address: sa.URL) -> sa.Engine:
    """An engine that keeps no connection open. Raises DataError DATA-10."""
    try:
        return sa.create_engine(address, poolclass=sa.pool.NullPool)
    except sa.exc.NoSuchModuleError as error:
        raise DataError(
            "DATA-10",
            f"SQLAlchemy knows no database '{address.drivername}'",
            where=address.render_as_string(hide_password=True),
            fix="sqlite, postgresql, mysql, or install the package that brings the dialect",
        ) from error
    except ModuleNotFoundError as error:
        raise DataError(
            "DATA-10",
            f"the driver of '{address.drivername}' needs the package '{error.name}', which is not installed",
            where=address.render_as_string(hide_password=True),
            fix=f"pip install {error.name}",
        ) from error


def _select(
    connection: sa.Connection,
    name: str,
    event_time: str | None,
    start: datetime | None,
    end: datetime | None,
) -> sa.Select[Any]:
    schema, _, bare = name.rpartition(".")
    try:
        table = sa.Table(bare, sa.MetaData(), schema=schema or None, autoload_with=connection)
    except sa.exc.NoSuchTableError as error:
        names = sa.inspect(connection).get_table_names(schema=schema or None)
        raise DataError("DATA-10", f"there is no table '{name}'", fix=did_you_mean(bare, names)) from error
    statement = sa.select(table)
    if event_time is None:
        return statement
    if event_time not in table.c:
        raise DataError(
            "DATA-02",
            f"the table '{name}' has no column '{event_time}'",
            fix=did_you_mean(event_time, list(table.c.keys())),
        )
    column = table.c[event_time]
    if isinstance(column.type, sa.DateTime):  # text and dates are bounded by the caller, who parses them
        is_aware = bool(column.type.timezone)
        if start is not None:
            statement = statement.where(sa.or_(column >= _moment(start, is_aware), column.is_(None)))
        if end is not None:
            statement = statement.where(sa.or_(column < _moment(end, is_aware), column.is_(None)))
    return statement


def _moment(moment: datetime, is_aware: bool) -> datetime:
    utc = as_utc(moment)
    return utc if is_aware else utc.replace(tzinfo=None)


def _fetch(connection: sa.Connection, statement: sa.Executable) -> pa.Table:
    result = connection.execution_options(stream_results=True).execute(statement)
    if not result.returns_rows:
        raise DataError("DATA-10", "the query returns no rows by its kind", fix="write a SELECT")
    names = list(result.keys())
    chunks = [_chunk(names, rows) for rows in result.partitions(_CHUNK_ROWS)]
    if not chunks:
        return _chunk(names, [])
    try:
        # A chunk whose values are all missing, or all whole, takes the type of the others.
        return pa.concat_tables(chunks, promote_options="permissive")
    except (pa.ArrowInvalid, pa.ArrowTypeError) as error:
        raise DataError(
            "DATA-07", f"a column changes its type on the way: {error}", fix="CAST it in the query"
        ) from error


def _chunk(names: list[str], rows: Any) -> pa.Table:
    columns = list(zip(*rows, strict=True)) if rows else [() for _ in names]
    return pa.Table.from_arrays([_array(name, values) for name, values in zip(names, columns, strict=True)], names)


def _array(name: str, values: Any) -> pa.Array:
    if any(isinstance(value, Decimal) for value in values):
        values = [None if value is None else float(value) for value in values]
    try:
        return pa.array(values)
    except (pa.ArrowInvalid, pa.ArrowTypeError) as error:
        kinds = sorted({type(value).__name__ for value in values if value is not None})
        if set(kinds) <= {"int", "float"}:
            return pa.array([None if value is None else float(value) for value in values])
        if "str" in kinds:
            # SQLite keeps any value in any column: as text, the suite can name the values that do not belong.
            return pa.array([None if value is None else str(value) for value in values])
        raise DataError(
            "DATA-07", f"the column '{name}' mixes {' and '.join(kinds)}: {error}", fix="CAST it in the query"
        ) from error


def refused(address: sa.URL, error: sa.exc.SQLAlchemyError) -> DataError:
    """The error for what a database said, without the password."""
    cause = getattr(error, "orig", None) or error
    text = str(cause).splitlines()[0] if str(cause) else type(cause).__name__
    if address.password:
        text = text.replace(str(address.password), "***")
    return DataError(
        "DATA-10",
        f"the database refused: {text}",
        where=address.render_as_string(hide_password=True),
        fix="check the URL, that the server is up, and the query",
    )
