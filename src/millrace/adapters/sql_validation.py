"""Suites judged in the database where the rows are: SQLite and PostgreSQL through SQLAlchemy, DuckDB by itself."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from millrace.adapters.sql import make_engine, read_address, refused
from millrace.adapters.sql_columns import choose, postgres_columns, sqlite_columns, sqlite_micros, until
from millrace.core.errors import DataError, did_you_mean
from millrace.data.location import resolve_url
from millrace.validation.backend import CannotCheck
from millrace.validation.sql.backend import SqlBackend
from millrace.validation.sql.dialects import POSTGRES, SQLITE, Dialect
from millrace.validation.sql.text import SqlColumn

DIALECTS = {"sqlite": SQLITE, "postgresql": POSTGRES}


def open_source(source: Any, *, root: Path | None = None, end: datetime | None = None) -> SqlBackend:
    """The rows of a `Source` in a database as a batch for `validate`, which closes it.

    Parameters
    ----------
    source : Source
        With a SQLAlchemy URL of SQLite or PostgreSQL, or ``duckdb:///FILE``, and its ``table`` or ``query``.
    root : Path, optional
        The folder that a relative file starts at.
    end : datetime, optional
        Only events before it, and those without a time.

    Raises
    ------
    DataError
        DATA-01 (no such file), DATA-02 (no such column), DATA-10 (URL, connection, table or query refused), DATA-11 (a
        rename onto a name in use), VALID-30 (a database that suites are not judged in), VALID-31 (no DuckDB),
        VALID-32 (an `end`, and times kept as text).
    """
    url = resolve_url(source.path)
    time = source.event_time
    if isinstance(source.columns, Mapping):
        time = source.columns.get(time, time)
    bound = None if end is None or time is None else (time, end)
    opener = open_sql
    if url.partition(":")[0] == "duckdb":
        from millrace.adapters.duckdb_validation import open_duckdb

        opener = open_duckdb
    try:
        return opener(url, source.query, table=source.table, columns=source.columns, root=root, before=bound)
    except DataError as error:
        error.where = f"source '{source.name}'" + (f", {error.where}" if error.where else "")
        raise


def open_sql(
    url: str,
    query: str | None = None,
    *,
    table: str | None = None,
    columns: Mapping[str, str] | Sequence[str] | None = None,
    root: Path | None = None,
    before: tuple[str, datetime] | None = None,
) -> SqlBackend:
    """A table or a query of SQLite or PostgreSQL as a batch. Raises as `open_source`.

    `columns` keeps those of a list, or renames by a mapping from our name to the database's; `before` is the
    database's name of a time column, and its end.
    """
    address = read_address(url, root)
    dialect = DIALECTS.get(address.get_backend_name())
    if dialect is None:
        raise DataError(
            "VALID-30",
            f"suites are not judged in '{address.get_backend_name()}'",
            where=address.render_as_string(hide_password=True),
            why="the database would have to give the same verdicts as every other place",
            fix=f"use {', '.join(DIALECTS)} or duckdb, or read the rows and validate those",
        )
    try:
        connection = _connect(make_engine(address), dialect)
    except sa.exc.SQLAlchemyError as error:
        raise refused(address, error) from error
    try:
        database = SqlDatabase(address, connection)
        relation, order = _relation(connection, dialect, query, table)
        found = _columns(database, dialect, relation, table)
        if before is not None:
            relation, order = until(dialect, relation, order, found, *before)
        chosen, relation, order = choose(dialect, relation, order, found, columns)
    except DataError:
        connection.close()
        raise
    except sa.exc.SQLAlchemyError as error:
        connection.close()
        raise refused(address, error) from error
    except CannotCheck as error:
        connection.close()
        raise DataError("DATA-10", str(error), fix="check the URL, that the server is up, and the query") from error
    return SqlBackend(database, dialect, relation, chosen, order=order)


class SqlDatabase:
    """One read-only transaction; see `millrace.validation.sql.backend.Database`."""

    def __init__(self, address: sa.URL, connection: sa.Connection) -> None:
        self._address, self._connection = address, connection

    def run(self, text: str, values: Sequence[Any], *, is_long: bool = False) -> Iterable[Sequence[Any]]:
        connection = self._connection
        try:
            options = {"stream_results": True, "max_row_buffer": 10_000} if is_long else {"stream_results": False}
            result = connection.exec_driver_sql(text, tuple(values), execution_options=options)
            yield from result
        except sa.exc.SQLAlchemyError as error:
            if getattr(error, "connection_invalidated", False):
                raise refused(self._address, error) from error
            self._again()
            raise CannotCheck(f"the database refused: {str(getattr(error, 'orig', error)).splitlines()[0]}") from error
        except (ValueError, OverflowError) as error:  # a value that the driver cannot send
            raise CannotCheck(f"the database cannot be sent a value: {error}") from error

    def columns_of(self, text: str) -> list[str]:
        try:
            return list(self._connection.exec_driver_sql(text, ()).keys())
        except sa.exc.SQLAlchemyError as error:
            self._again()
            raise CannotCheck(f"the database refused: {str(getattr(error, 'orig', error)).splitlines()[0]}") from error

    def _again(self) -> None:
        """A new transaction: one that failed takes no other query."""
        self._connection.rollback()
        if self._address.get_backend_name() == "sqlite":
            self._connection.exec_driver_sql("BEGIN")  # its driver begins none to read

    def define(self, name: str, function: Callable[[Any], Any]) -> None:
        driver: Any = self._connection.connection.driver_connection
        driver.create_function(name, 1, function, deterministic=True)

    def close(self) -> None:
        """End the transaction and the connection."""
        self._connection.close()
        self._connection.engine.dispose()


def _connect(engine: sa.Engine, dialect: Dialect) -> sa.Connection:
    connection = engine.connect()
    if dialect is SQLITE:
        driver: Any = connection.connection.driver_connection
        driver.execute("PRAGMA query_only = ON")
        driver.create_function("millrace_micros", 1, sqlite_micros, deterministic=True)
        connection.exec_driver_sql("BEGIN")
        return connection
    return connection.execution_options(isolation_level="REPEATABLE READ", postgresql_readonly=True)


def _relation(
    connection: sa.Connection, dialect: Dialect, query: str | None, table: str | None
) -> tuple[str, str | None]:
    """What stands behind FROM, and what puts its rows in order."""
    if table is None:
        return f"({(query or '').strip().rstrip(';')}\n) AS millrace_query", None
    schema, _, bare = table.rpartition(".")
    inspector = sa.inspect(connection)
    if not inspector.has_table(bare, schema=schema or None):
        names = [*inspector.get_table_names(schema=schema or None), *inspector.get_view_names(schema=schema or None)]
        raise DataError("DATA-10", f"there is no table '{table}'", fix=did_you_mean(bare, names))
    quoted = ".".join(dialect.quoted(part) for part in (schema, bare) if part)
    # A view answers to rowid too, with nothing.
    is_view = bare in inspector.get_view_names(schema=schema or None)
    is_ordered = dialect is SQLITE and not is_view and _has_rowid(connection, quoted)
    return quoted, "rowid" if is_ordered else None


def _has_rowid(connection: sa.Connection, quoted: str) -> bool:
    try:
        connection.exec_driver_sql(f"SELECT rowid FROM {quoted} LIMIT 0")
    except sa.exc.OperationalError:
        return False  # a table without
    return True


def _columns(database: SqlDatabase, dialect: Dialect, relation: str, table: str | None) -> list[SqlColumn]:
    text = dialect.written(f"SELECT * FROM {relation} LIMIT 0")
    cursor = database._connection.exec_driver_sql(text, ()).cursor
    description = list(getattr(cursor, "description", None) or ())
    if not description:
        raise CannotCheck("the query returns no rows by its kind: write a SELECT")
    if dialect is POSTGRES:
        return postgres_columns(description)
    return sqlite_columns(database.run, relation, [entry[0] for entry in description], table)
