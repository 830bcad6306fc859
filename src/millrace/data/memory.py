"""Rows that a source holds itself, and the types of rows that are still to come."""

from __future__ import annotations

from typing import Any

import pyarrow as pa

from millrace.core.errors import DataError
from millrace.data.source import Source
from millrace.data.times import UTC_MICROS

_TYPES = {
    "int": pa.int64(),
    "float": pa.float64(),
    "bool": pa.bool_(),
    "string": pa.string(),
    "timestamp": UTC_MICROS,
}


def frame_table(frame: Any) -> pa.Table:
    """An Arrow, pandas or polars table as an Arrow table, without the index of pandas."""
    if hasattr(frame, "iloc"):
        # Arrow takes zoned times by a way that pandas warns of; a naive time is one in UTC.
        zoned = [name for name, dtype in frame.dtypes.items() if getattr(dtype, "tz", None) is not None]
        frame = frame.reset_index(drop=True).assign(
            **{name: frame[name].dt.tz_convert("UTC").dt.tz_localize(None).array for name in zoned}
        )
    return pa.table(frame).replace_schema_metadata(None)


def declared_schema(source: Source) -> pa.Schema:
    """The declared columns and types of a source."""
    return pa.schema([(name, _type(dtype)) for name, dtype in (source.schema or {}).items()])


def as_declared(source: Source, table: pa.Table) -> pa.Table:
    """`table` with exactly the declared columns, in their types; as it is when nothing is declared.

    Raises
    ------
    DataError
        DATA-14 with every column that is missing, unknown, or of another type.
    """
    if source.schema is None:
        return table
    schema = declared_schema(source)
    problems = [
        DataError("DATA-14", f"source '{source.name}' declares no column '{name}'", fix=f"one of: {schema.names}")
        for name in table.column_names
        if name not in schema.names
    ]
    columns = []
    for field in schema:
        if field.name not in table.column_names:
            problems.append(DataError("DATA-14", f"the rows have no column '{field.name}' ({field.type})"))
            continue
        try:
            columns.append(_cast(table[field.name], field.type))
        except (pa.ArrowException, TypeError) as error:
            problems.append(
                DataError(
                    "DATA-14",
                    f"column '{field.name}' holds {table[field.name].type}; source '{source.name}' declares "
                    f"{(source.schema or {})[field.name]}",
                    why=str(error).splitlines()[0],
                )
            )
    if len(problems) == 1:
        raise problems[0]
    if problems:
        raise DataError("DATA-14", f"the rows are not what source '{source.name}' declares", findings=problems)
    return pa.Table.from_arrays(columns, schema=schema)


def _type(dtype: str) -> pa.DataType:
    inner = dtype.removeprefix("list[").removesuffix("]")
    return _TYPES[inner] if inner == dtype else pa.list_(_TYPES[inner])


def _cast(column: pa.ChunkedArray, wanted: pa.DataType) -> pa.ChunkedArray:
    own = column.type
    if pa.types.is_string(wanted) != (pa.types.is_string(own) or pa.types.is_large_string(own)):
        is_text_time = pa.types.is_string(own) and pa.types.is_timestamp(wanted)
        if not is_text_time and not pa.types.is_null(own):
            # Arrow would read the text "12" as a number; a value of the wrong sort is a mistake, not a number.
            raise TypeError(f"{own} is not {wanted}")
    if pa.types.is_timestamp(own) and own.tz is None and pa.types.is_timestamp(wanted):
        column = column.cast(pa.timestamp("us"), safe=False)  # a naive time is UTC; finer clocks are cut
    return column.cast(wanted)
