"""Event times in one form: timestamp[us, tz=UTC]."""

from __future__ import annotations

from datetime import datetime

import pyarrow as pa
import pyarrow.compute as pc

from millrace.core.clock import from_text, to_micros
from millrace.core.errors import DataError, did_you_mean

UTC_MICROS = pa.timestamp("us", tz="UTC")


def normalise_times(table: pa.Table, column: str, *, may_be_null: bool = False) -> pa.Table:
    """`table` with `column` as timestamp[us, tz=UTC]; naive times, dates and ISO 8601 text are taken as UTC.

    Raises
    ------
    DataError
        DATA-02 (no such column), DATA-08 (not a time), DATA-09 (rows without a time, unless they may be).
    """
    index = column_index(table, column)
    values = _as_times(table.column(index), column)
    if values.null_count and not may_be_null:
        rows = pc.indices_nonzero(values.is_null()).to_pylist()
        raise DataError(
            "DATA-09",
            f"{values.null_count:,} of {len(values):,} rows have no event time in '{column}'",
            why=f"rows (counted from 0): {', '.join(map(str, rows[:5]))}{', ...' if len(rows) > 5 else ''}",
            fix="fill in the times, or remove those rows at their origin",
        )
    return table.set_column(index, column, values)


def column_index(table: pa.Table, column: str) -> int:
    """Position of `column`. Raises DataError DATA-02 with the nearest name."""
    found = table.schema.get_all_field_indices(column)
    if len(found) == 1:
        return int(found[0])
    if found:
        raise DataError("DATA-02", f"the column '{column}' is there {len(found)} times")
    raise DataError(
        "DATA-02",
        f"there is no column '{column}'",
        why=f"the columns are: {', '.join(table.column_names)}",
        fix=did_you_mean(column, table.column_names),
    )


def between(table: pa.Table, column: str, start: datetime | None, end: datetime | None) -> pa.Table:
    """Rows with ``start <= column < end``, in their order; `column` must be normalised."""
    times = table.column(column)
    if start is not None:
        keep = pc.greater_equal(times, scalar_time(start))
        table, times = table.filter(keep), times.filter(keep)
    if end is not None:
        table = table.filter(pc.less(times, scalar_time(end)))
    return table


def scalar_time(moment: datetime) -> pa.Scalar:
    """`moment` as an Arrow scalar."""
    return pa.scalar(to_micros(moment), pa.int64()).cast(UTC_MICROS)


def _as_times(values: pa.ChunkedArray, column: str) -> pa.ChunkedArray:
    kind = values.type
    if pa.types.is_timestamp(kind):
        # Finer than a microsecond is cut off, the same for every row.
        return values.cast(UTC_MICROS, safe=False)
    if pa.types.is_date(kind) or pa.types.is_null(kind):
        return values.cast(pa.timestamp("us")).cast(UTC_MICROS)
    if pa.types.is_string(kind) or pa.types.is_large_string(kind):
        return pa.chunked_array([pa.array(_parse_texts(values, column), UTC_MICROS)])
    raise DataError(
        "DATA-08",
        f"the column '{column}' holds {kind}, which is not a time",
        why=f"for instance {values.drop_null()[0].as_py()!r}" if values.null_count < len(values) else None,
        fix="store times as timestamps, dates or ISO 8601 text; a bare number does not say its unit",
    )


def _parse_texts(values: pa.ChunkedArray, column: str) -> list[int | None]:
    parsed: list[int | None] = []
    wrong: list[str] = []
    for text in values.to_pylist():
        try:
            parsed.append(None if text is None else to_micros(from_text(text.strip())))
        except ValueError:
            wrong.append(text)
    if wrong:
        shown = ", ".join(repr(text) for text in wrong[:3])
        raise DataError(
            "DATA-08",
            f"{len(wrong):,} values of '{column}' are not times: {shown}",
            fix="write ISO 8601, such as 2024-05-01T12:00:00Z",
        )
    return parsed
