"""Suites judged in DuckDB: a table or a query of a database file, or of a connection."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import pyarrow as pa

from millrace.adapters.sql_columns import choose, until
from millrace.core.errors import DataError, did_you_mean
from millrace.validation.backend import CannotCheck
from millrace.validation.sql.backend import SqlBackend
from millrace.validation.sql.dialects import DUCKDB
from millrace.validation.sql.text import SqlColumn

_MANY = 10_000
_TOO_LONG = re.compile(r"[ \"]-?\d{39,}\"? to DECIMAL\(38,0\)|Overflow in .*(DECIMAL|HUGEINT)")


def open_duckdb(
    url: str,
    query: str | None = None,
    *,
    table: str | None = None,
    columns: Mapping[str, str] | Sequence[str] | None = None,
    root: Path | None = None,
    before: tuple[str, datetime] | None = None,
) -> SqlBackend:
    """A table or a query of a DuckDB file, opened to be read only.

    Raises
    ------
    DataError
        DATA-01 (no such file), DATA-10 (file, table or query refused), VALID-31 (DuckDB is not installed).
    """
    try:
        import duckdb
    except ModuleNotFoundError as error:
        raise DataError(
            "VALID-31",
            "judging rows in a DuckDB file needs the package 'duckdb', which is not installed",
            fix="pip install duckdb",
        ) from error
    name = url.partition("://")[2].removeprefix("/")
    path = Path(name) if root is None else root / name
    if not path.is_file():
        names = [entry.name for entry in path.parent.iterdir()] if path.parent.is_dir() else []
        raise DataError(
            "DATA-01",
            f"there is no database file '{path.name}' in {path.parent}",
            where=str(path),
            fix=did_you_mean(path.name, names),
        )
    try:
        connection = duckdb.connect(str(path), read_only=True)
    except duckdb.Error as error:
        raise DataError("DATA-10", f"DuckDB refused: {_first_line(error)}", where=str(path)) from error
    try:
        return in_duckdb(connection, query, table=table, columns=columns, before=before)
    except DataError:
        connection.close()
        raise


def in_duckdb(
    connection: Any,
    query: str | None = None,
    *,
    table: str | None = None,
    columns: Mapping[str, str] | Sequence[str] | None = None,
    before: tuple[str, datetime] | None = None,
) -> SqlBackend:
    """A table or a query of an open DuckDB connection, on a cursor of its own. Raises DataError DATA-10."""
    import duckdb

    cursor = connection.cursor()
    try:
        return _opened(cursor, query, table, columns, before)
    except duckdb.Error as error:
        cursor.close()
        raise DataError(
            "DATA-10", f"DuckDB refused: {_first_line(error)}", fix="check the table or the query"
        ) from error
    except DataError:
        cursor.close()
        raise


def _opened(
    cursor: Any,
    query: str | None,
    table: str | None,
    columns: Mapping[str, str] | Sequence[str] | None,
    before: tuple[str, datetime] | None,
) -> SqlBackend:
    schema, _, bare = (table or "").rpartition(".")
    relation = (
        f"({(query or '').strip().rstrip(';')}\n) AS millrace_query"
        if table is None
        else ".".join(DUCKDB.quoted(part) for part in (schema, bare) if part)
    )
    cursor.execute("BEGIN TRANSACTION READ ONLY")  # one state of the data for all queries
    described = cursor.execute(f"DESCRIBE SELECT * FROM {relation}").fetchall()
    schema_found = cursor.sql(f"SELECT * FROM {relation} LIMIT 0").to_arrow_table().schema
    order = "rowid" if table is not None and _has_rowid(cursor, relation) else None
    found = [_column(entry[0], entry[1], schema_found.field(place).type) for place, entry in enumerate(described)]
    if before is not None:
        relation, order = until(DUCKDB, relation, order, found, *before)
    chosen, relation, order = choose(DUCKDB, relation, order, found, columns)
    return SqlBackend(DuckDatabase(cursor), DUCKDB, relation, chosen, order=order)


class DuckDatabase:
    """One read-only transaction of DuckDB; see `millrace.validation.sql.backend.Database`."""

    def __init__(self, cursor: Any) -> None:
        self._cursor = cursor

    def run(self, text: str, values: Sequence[Any], *, is_long: bool = False) -> Iterable[Sequence[Any]]:
        import duckdb

        try:
            statements = self._cursor.extract_statements(text)
            if len(statements) != 1:
                raise CannotCheck(f"DuckDB is asked one SELECT at a time, not {len(statements)} statements")
            found = self._cursor.execute(statements[0], list(values))
            while rows := found.fetchmany(_MANY):
                yield from rows
        except duckdb.Error as error:
            self._again()
            raise CannotCheck(_reason(error)) from error
        except (ValueError, OverflowError) as error:  # a value that the driver cannot send
            raise CannotCheck(f"DuckDB cannot be sent a value: {error}") from error

    def columns_of(self, text: str) -> list[str]:
        import duckdb

        try:
            return [column[0] for column in self._cursor.execute(text).description]
        except duckdb.Error as error:
            self._again()
            raise CannotCheck(f"DuckDB refused: {_first_line(error)}") from error

    def _again(self) -> None:
        import duckdb

        try:
            self._cursor.execute("ROLLBACK")
        except duckdb.Error:
            return  # the query was refused before it ran, and the transaction goes on
        self._cursor.execute("BEGIN TRANSACTION READ ONLY")

    def define(self, name: str, function: Callable[[Any], Any]) -> None:
        raise CannotCheck(f"unsupported: DuckDB is not given the function {name}")

    def close(self) -> None:
        """End the transaction and the cursor."""
        self._cursor.close()


def _has_rowid(cursor: Any, relation: str) -> bool:
    import duckdb

    try:
        cursor.execute(f"SELECT rowid FROM {relation} LIMIT 0")
    except duckdb.Error:
        return False  # a view
    return True


def _column(name: str, declared: str, found: pa.DataType) -> SqlColumn:
    quoted = DUCKDB.quoted(name)
    if declared == "UUID" or declared.startswith("ENUM"):
        return SqlColumn(name, pa.string(), f"CAST({quoted} AS VARCHAR)")
    if declared in ("HUGEINT", "UHUGEINT", "BIGNUM"):
        whole = f"CAST({quoted} AS VARCHAR)" if declared == "BIGNUM" else quoted  # of which DuckDB casts no other way
        return SqlColumn(name, pa.decimal128(38, 0), f"CAST({whole} AS DECIMAL(38, 0))")
    if re.match(r"TIMESTAMP_(S|MS|NS)", declared):
        return SqlColumn(name, pa.timestamp("us"), f"CAST({quoted} AS TIMESTAMP)")
    return SqlColumn(name, found, quoted)


def _reason(error: Exception) -> str:
    """Why a query was refused: a number too long for every exact type is nothing that its writer can mend."""
    told = _first_line(error)
    if _TOO_LONG.search(told):
        return f"unsupported: DuckDB calculates exactly with at most 38 digits: {told}"
    return f"DuckDB refused: {told}"


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]
