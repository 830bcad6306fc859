"""Which Arrow types the columns of a database hold, as `millrace.validation` wants them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime
from typing import Any

import pyarrow as pa

from millrace.core.errors import DataError, did_you_mean
from millrace.validation.sql.dialects import POSTGRES, SQLITE, Dialect
from millrace.validation.sql.text import SqlColumn, sql_kind

ROWID = "millrace_rowid"
Run = Callable[[str, Sequence[Any]], Iterable[Sequence[Any]]]

_UTC = pa.timestamp("us", tz="UTC")
# pg_type.oid of the types of Postgres
_POSTGRES: dict[int, pa.DataType] = {
    16: pa.bool_(),
    20: pa.int64(),
    21: pa.int16(),
    23: pa.int32(),
    26: pa.int64(),
    25: pa.string(),
    19: pa.string(),
    1042: pa.string(),
    1043: pa.string(),
    700: pa.float32(),
    701: pa.float64(),
    1082: pa.date32(),
    1114: pa.timestamp("us"),
    1184: _UTC,
    17: pa.binary(),
    2950: pa.string(),
}
_NUMERIC, _UUID, _CHAR = 1700, 2950, 1042
_MOST_DIGITS = 38
_OTHER = pa.struct([])  # arrays, JSON, ranges: no rule on values applies to them


def choose(
    dialect: Dialect, relation: str, order: str | None, found: Sequence[SqlColumn], columns: Any
) -> tuple[list[SqlColumn], str, str | None]:
    """The columns that a source keeps, under its names, and what stands behind FROM then.

    Raises
    ------
    DataError
        DATA-02 for a column that is not there, DATA-11 for a rename onto a name in use.
    """
    if columns is None:
        return list(found), relation, order
    by_name = {column.name: column for column in found}
    renames = {theirs: ours for ours, theirs in columns.items()} if hasattr(columns, "items") else {}
    kept = list(columns) if not renames else [renames.get(name, name) for name in by_name]
    theirs = {renames.get(name, name): name for name in by_name}
    for name in [*renames, *(kept if not renames else [])]:
        if name not in by_name:
            raise DataError("DATA-02", f"there is no column '{name}'", fix=did_you_mean(name, by_name))
    # A database that knows no case takes "City" for "city", and would judge one in place of the other.
    known = Counter(name if dialect.names_have_case else name.lower() for name in kept)
    twice = sorted(name for name in kept if known[name if dialect.names_have_case else name.lower()] > 1)
    if renames and twice:
        raise DataError(
            "DATA-11",
            f"after renaming, the columns {list(dict.fromkeys(twice))} are there twice",
            why="" if dialect.names_have_case else f"{dialect.name} takes no notice of case in names",
            fix="rename the other one too in columns=, or list only the columns to keep",
        )
    quoted = dialect.quoted
    parts = [f"{quoted(theirs[name])} AS {quoted(name)}" for name in kept]
    if order is not None:
        parts.append(f"{order} AS {quoted(ROWID)}")  # of a table, or of the same name already
        order = quoted(ROWID)
    chosen = []
    for name in kept:
        column = by_name[theirs[name]]
        text = column.text.replace(quoted(theirs[name]), quoted(name))
        chosen.append(SqlColumn(name, column.type, text, column.has_scale))
    return chosen, f"(SELECT {', '.join(parts)} FROM {relation}) AS millrace_kept", order


def until(
    dialect: Dialect, relation: str, order: str | None, found: Sequence[SqlColumn], event_time: str, end: datetime
) -> tuple[str, str | None]:
    """What stands behind FROM for events before `end` and those without a time.

    Raises
    ------
    DataError
        DATA-02 (no such column), VALID-32 (times that are texts there: only reading them tells which are earlier).
    """
    column = next((column for column in found if column.name == event_time), None)
    if column is None:
        raise DataError(
            "DATA-02",
            f"there is no column '{event_time}', the event time",
            fix=did_you_mean(event_time, [column.name for column in found]),
        )
    kind = sql_kind(column.type)
    if kind not in ("time", "zoned", "date"):
        raise DataError(
            "VALID-32",
            f"the event time '{event_time}' is kept as {column.type}, which the database cannot bound",
            fix="store it as a time, or read the rows and validate those",
        )
    rowid = "" if order is None else f", {order} AS {dialect.quoted(ROWID)}"
    limit = dialect.literal_of_moment(end, kind)
    condition = f"{column.text} < {limit} OR {column.text} IS NULL"
    bounded = f"(SELECT *{rowid} FROM {relation} WHERE {condition}) AS millrace_until"
    return bounded, None if order is None else dialect.quoted(ROWID)


def postgres_columns(description: Sequence[Any]) -> list[SqlColumn]:
    """Columns of a statement by the driver's description of it."""
    columns = []
    for entry in description:
        name, code, precision, scale = entry[0], entry[1], entry[4], entry[5]
        quoted = POSTGRES.quoted(name)
        if code == _NUMERIC:
            has_scale = precision is not None and 0 < precision <= _MOST_DIGITS and scale is not None
            kind = pa.decimal128(precision, scale) if has_scale else pa.decimal128(_MOST_DIGITS, 18)
            # Its NaN is no number: missing, as in every other column.
            columns.append(SqlColumn(name, kind, f"NULLIF({quoted}, 'NaN')", has_scale))
        elif code == _UUID:
            columns.append(SqlColumn(name, pa.string(), f"{quoted}::text"))
        elif code == _CHAR:
            # As the driver gives them: filled up with blanks, which a cast to text would cut.
            columns.append(SqlColumn(name, pa.string(), f"rpad({quoted}::text, octet_length({quoted}))"))
        else:
            columns.append(SqlColumn(name, _POSTGRES.get(code, _OTHER), quoted))
    return columns


def sqlite_micros(value: Any) -> int | None:
    """Text of a time as microseconds since 1970, None for what is none. A time without zone is UTC.

    >>> sqlite_micros("1970-01-01 00:00:01.5"), sqlite_micros("1970-01-02"), sqlite_micros("soon")
    (1500000, 86400000000, None)
    """
    if not isinstance(value, str):
        return None
    try:
        moment = datetime.fromisoformat(value)
    except ValueError:
        return None
    moment = moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
    since = moment - datetime(1970, 1, 1, tzinfo=UTC)
    return (since.days * 86_400 + since.seconds) * 1_000_000 + since.microseconds


def sqlite_columns(run: Run, relation: str, names: Sequence[str], table: str | None) -> list[SqlColumn]:
    """Columns by what is stored in them: SQLite keeps any value in any column, whatever was declared.

    Numbers, text or blobs alone make a column of those; numbers beside text make text, as nothing else holds both.
    What was declared decides where the storage leaves it open: truths, dates and times, decimals, and a column without
    any value.
    """
    declared = _declared(run, table)
    parts = []
    for name in names:
        quoted = SQLITE.quoted(name)
        kind = f"CASE WHEN {quoted} IS NOT NULL THEN typeof({quoted}) END"
        is_moment = _is_moment(declared.get(name, ""))
        lost = f"count(CASE WHEN {quoted} IS NOT NULL AND millrace_micros({quoted}) IS NULL THEN 1 END)"
        parts += [f"min({kind})", f"max({kind})", f"min({quoted})", f"max({quoted})", lost if is_moment else "0"]
    columns = []
    found: list[Any] = []
    for start in range(0, len(parts), 1000):  # SQLite gives no more than 2,000 columns
        text = f"SELECT {', '.join(parts[start : start + 1000])} FROM {relation}"
        found += next(iter(run(text, ())))
    for place, name in enumerate(names):
        stored = found[5 * place : 5 * place + 5]
        columns.append(_sqlite_column(name, declared.get(name, ""), *stored))
    return columns


def _declared(run: Run, table: str | None) -> dict[str, str]:
    if table is None:
        return {}
    schema, _, bare = table.rpartition(".")
    rows = run("SELECT name, type FROM pragma_table_xinfo(?, ?)", (bare, schema or "main"))
    return {str(name): str(kind or "").upper() for name, kind in rows}


def _is_moment(declared: str) -> bool:
    return declared.startswith(("DATE", "TIMESTAMP"))


def _moment_type(declared: str) -> pa.DataType:
    if declared.startswith("DATE") and not declared.startswith("DATETIME"):
        return pa.date32()
    return _UTC if "TZ" in declared or "WITH TIME ZONE" in declared else pa.timestamp("us")


def _sqlite_column(name: str, declared: str, first: Any, last: Any, low: Any, high: Any, lost: int) -> SqlColumn:
    quoted = SQLITE.quoted(name)
    kinds = {first, last}
    if first is None:
        kind = _declared_type(declared)
        is_moment = pa.types.is_temporal(kind)
        return SqlColumn(name, kind, f"millrace_micros({quoted})" if is_moment else quoted)
    if kinds == {"text"} and _is_moment(declared) and lost == 0:
        return SqlColumn(name, _moment_type(declared), f"millrace_micros({quoted})")
    if kinds == {"integer"}:
        if declared.startswith("BOOL") and low in (0, 1) and high in (0, 1):
            return SqlColumn(name, pa.bool_(), quoted)
        if not declared.startswith(("NUMERIC", "DECIMAL", "REAL", "FLOAT", "DOUBLE")):
            return SqlColumn(name, pa.int64(), quoted)
    if kinds <= {"integer", "real"}:
        return SqlColumn(name, pa.float64(), f"CAST({quoted} AS REAL)")
    if kinds == {"text"}:
        return SqlColumn(name, pa.string(), quoted)
    if "blob" in kinds:  # the least of the four names, so a blob is always seen
        return SqlColumn(name, pa.binary(), quoted)
    return SqlColumn(name, pa.string(), f"CAST({quoted} AS TEXT)")


def _declared_type(declared: str) -> pa.DataType:
    """The type of a column without a value, by SQLite's rules of affinity."""
    if declared.startswith("BOOL"):
        return pa.bool_()
    if _is_moment(declared):
        return _moment_type(declared)
    if "INT" in declared:
        return pa.int64()
    if any(word in declared for word in ("CHAR", "CLOB", "TEXT")):
        return pa.string()
    if "BLOB" in declared:
        return pa.binary()
    if any(word in declared for word in ("REAL", "FLOA", "DOUB", "NUMERIC", "DECIMAL")):
        return pa.float64()
    return pa.null()
