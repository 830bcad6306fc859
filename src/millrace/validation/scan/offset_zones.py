"""Times in several zones, and in zones such as ``+05:30``: pandas writes these, Polars cannot read them."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
from polars.io.plugins import register_io_source
from pyarrow import types

_OFFSET = re.compile(r"[+-]\d\d:?\d\d")


def in_utc(kind: pa.DataType) -> pa.DataType:
    """The type of the same moments in UTC; any other type as it is.

    >>> in_utc(pa.timestamp("ms", "+05:30"))
    TimestampType(timestamp[ms, tz=UTC])
    """
    return pa.timestamp(kind.unit, "UTC") if types.is_timestamp(kind) and kind.tz is not None else kind


def schema_in_utc(schema: pa.Schema) -> pa.Schema:
    """`schema` with all zoned times in UTC."""
    return pa.schema([field.with_type(in_utc(field.type)) for field in schema])


def in_one_zone(schemas: Sequence[pa.Schema]) -> list[pa.Schema]:
    """`schemas` of the files of a batch, with UTC for every zoned column whose zones differ among them."""
    found: dict[str, set[str]] = {}
    for field in (field for schema in schemas for field in schema):
        if types.is_timestamp(field.type) and field.type.tz is not None:
            found.setdefault(field.name, set()).add(field.type.tz)
    differing = {name for name, zones in found.items() if len(zones) > 1}
    return [
        pa.schema([field.with_type(in_utc(field.type)) if field.name in differing else field for field in schema])
        for schema in schemas
    ]


def has_offsets(schema: pa.Schema) -> bool:
    """Whether a column's zone is an offset."""
    return any(types.is_timestamp(kind) and kind.tz is not None and _OFFSET.fullmatch(kind.tz) for kind in schema.types)


def scan_with_offsets(file: Path, schema: pa.Schema) -> pl.LazyFrame:
    """A Parquet file with all its zoned times in UTC, read by Arrow a group of rows after another.

    Parameters
    ----------
    file : Path
    schema : pyarrow.Schema
        That of the file.
    """
    utc = schema_in_utc(schema)
    empty = pl.from_arrow(utc.empty_table())
    assert isinstance(empty, pl.DataFrame)

    def read(
        columns: list[str] | None, predicate: pl.Expr | None, rows: int | None, _batch: int | None
    ) -> Iterator[pl.DataFrame]:
        left = rows
        # Without any column a frame has no rows to count.
        wanted = schema.names if columns is None else columns or schema.names[:1]
        types_wanted = pa.schema([utc.field(name) for name in wanted])
        with pq.ParquetFile(file) as opened:
            for number in range(opened.num_row_groups):
                group = opened.read_row_group(number, columns=wanted).select(wanted).cast(types_wanted)
                frame = pl.from_arrow(group)
                assert isinstance(frame, pl.DataFrame)
                frame = frame if predicate is None else frame.filter(predicate)
                frame = frame if left is None else frame.head(left)
                left = None if left is None else left - len(frame)
                yield frame
                if left == 0:
                    return

    return register_io_source(read, schema=empty.schema)
