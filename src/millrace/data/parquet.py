"""One Parquet file as a table."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq
from pyarrow.fs import LocalFileSystem

from millrace.core.clock import to_micros
from millrace.core.errors import DataError


def parquet_names(path: Path) -> list[str]:
    """Column names, read from the footer alone. Raises DataError DATA-04 like `read_parquet`."""
    try:
        return list(pq.read_schema(path).names)
    except (pa.ArrowException, OSError) as error:
        raise damaged(path, error) from error


def read_parquet(
    path: Path,
    *,
    columns: Sequence[str] | None = None,
    event_time: str | None = None,
    start: datetime | None = None,
    end: datetime | None = None,
) -> pa.Table:
    """The rows of a file; row groups that cannot hold ``start <= event_time < end`` are not read.

    The bounds only prune: where the column's type does not allow it, all rows come back.

    Raises
    ------
    DataError
        DATA-04 when the file is truncated, damaged or not Parquet.
    """
    try:
        file = pq.ParquetFile(path)
        groups = kept_row_groups(file, path, event_time, start, end)
        return file.read_row_groups(groups, columns=None if columns is None else list(columns))
    except (pa.ArrowException, OSError) as error:
        raise damaged(path, error) from error


def kept_row_groups(
    file: pq.ParquetFile, path: Path, event_time: str | None, start: datetime | None, end: datetime | None
) -> list[int]:
    """The row groups that can hold ``start <= event_time < end``, by their statistics, or a row without time."""
    bounds = _bounds(file.schema_arrow, event_time, start, end)
    if bounds is None:
        return list(range(file.num_row_groups))
    fragment = ds.ParquetFileFormat().make_fragment(str(path), LocalFileSystem())
    return [group.id for group in fragment.subset(filter=bounds).row_groups]


def _bounds(
    schema: pa.Schema, event_time: str | None, start: datetime | None, end: datetime | None
) -> ds.Expression | None:
    if event_time is None or (start is None and end is None) or len(set(schema.names)) != len(schema.names):
        return None
    if event_time not in schema.names:
        return None
    kind = schema.field(event_time).type
    if not pa.types.is_timestamp(kind) or kind.unit not in ("us", "ns"):
        return None
    field, found = ds.field(event_time), None
    if start is not None:
        found = field >= _scalar(start, kind)
    if end is not None:
        before = field < _scalar(end, kind)
        found = before if found is None else found & before
    # Rows without a time stay: the reader counts and reports them.
    return found | field.is_null()


def _scalar(moment: datetime, kind: pa.DataType) -> pa.Scalar:
    micros = pa.scalar(to_micros(moment), pa.timestamp("us", tz=kind.tz))
    return micros.cast(kind)


def damaged(path: Path, error: Exception) -> DataError:
    """DATA-04: what was wrong with a file."""
    size = path.stat().st_size if path.exists() else 0
    return DataError(
        "DATA-04",
        f"'{path.name}' ({size:,} bytes) cannot be read as Parquet: {str(error).splitlines()[0]}",
        where=str(path),
        why="the file is truncated, damaged or of another kind; nothing of it was used",
        fix="copy or write the file again",
    )
