"""The footers of Parquet files as Arrow reads them: any file, any type."""

from __future__ import annotations

from collections.abc import Sequence

import pyarrow as pa
import pyarrow.parquet as pq
from pyarrow import types

from millrace.validation.scan.parquet_statistics import Group


class ArrowFooters:
    """The statistics of files that are one batch, a column at a time.

    Parameters
    ----------
    footers : sequence of pyarrow.parquet.FileMetaData
    own : sequence of pyarrow.Schema
        The Arrow schema of each file.
    schema : pyarrow.Schema
        That of the batch.
    """

    def __init__(self, footers: Sequence[pq.FileMetaData], own: Sequence[pa.Schema], schema: pa.Schema) -> None:
        self._footers, self._own, self._schema = footers, own, schema

    def groups_of(self, name: str) -> list[Group] | None:
        """The column `name` in each row group; None where a footer does not tell, or the files differ in its type."""
        if any(schema.names.count(name) != 1 for schema in self._own):
            return None
        kind = self._schema.field(name).type
        if types.is_nested(kind) or any(schema.field(name).type != kind for schema in self._own):
            return None
        found: list[Group] = []
        for footer in self._footers:
            places = [n for n in range(footer.num_columns) if footer.schema.column(n).path == name]
            if len(places) != 1:
                return None
            for number in range(footer.num_row_groups):
                group = _group(footer.row_group(number), places[0], kind)
                if group is None:
                    return None
                found.append(group)
        return found


def _is_certain(kind: pa.DataType) -> bool:
    if types.is_timestamp(kind):
        return kind.unit in ("ms", "us")
    return bool(types.is_integer(kind) or types.is_date(kind) or types.is_decimal(kind))


def _group(group: pq.RowGroupMetaData, place: int, kind: pa.DataType) -> Group | None:
    statistics = group.column(place).statistics
    if statistics is None or not statistics.has_null_count:
        return None
    if statistics.null_count == group.num_rows:
        return Group(group.num_rows, group.num_rows)
    if types.is_floating(kind):
        return None
    if not (_is_certain(kind) and statistics.has_min_max):
        return Group(group.num_rows, statistics.null_count)
    try:
        return Group(group.num_rows, statistics.null_count, statistics.min, statistics.max)
    except (OverflowError, ValueError):  # days and times beyond the years that Python's have
        return Group(group.num_rows, statistics.null_count)
