"""A source piece by piece: only the columns that are wanted, only the parts of files that can hold the times asked."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from millrace.core.errors import DataError, MillraceError
from millrace.data.location import data_files, file_kind
from millrace.data.parquet import damaged, kept_row_groups
from millrace.data.read import check_bounds, raise_findings, read_source
from millrace.data.shape import decode, file_name, fitting_together, partition_of, shape, shown_path, with_partition
from millrace.data.source import Source
from millrace.data.times import UTC_MICROS, between, normalise_times
from millrace.data.zones import in_one_zone, tables_in_one_zone

PIECE_ROWS = 1 << 20
_LEAST_TEXT_BYTES = 16  # a text's place, and a few letters: dictionaries make texts look smaller than they are


@dataclass(frozen=True)
class Scan:
    """Rows of a source, a piece at a time, in the order of `read_source`.

    Parameters
    ----------
    schema : pyarrow.Schema
        All columns of the source, whether they are read or not.
    rows : int
        How many rows the parts of files hold that are to be read.
    bytes : int
        About what these take in memory.
    """

    schema: pa.Schema
    rows: int
    bytes: int
    _pieces: _Pieces | pa.Table

    def pieces(self) -> Iterator[pa.Table]:
        """The rows whose time is in the bounds, a million or so at a time, all pieces with the same types.

        Raises
        ------
        DataError
            DATA-04 for a damaged file, DATA-08 and DATA-09 for times that are none.
        """
        return iter([self._pieces]) if isinstance(self._pieces, pa.Table) else iter(self._pieces)


def scan_source(
    source: Source,
    columns: Sequence[str] | None = None,
    *,
    root: Path,
    start: datetime | None = None,
    end: datetime | None = None,
) -> Scan:
    """What `read_source` reads, without reading it all at once.

    Only Parquet is read in pieces; of other sources there is one piece. With equal arguments the pieces one after
    another are the table of `read_source`.

    Parameters
    ----------
    columns : sequence of str, optional
        The columns to read, and with bounds also the event time; those that the source does not have are left out.
        None: all.

    Raises
    ------
    DataError
        As `read_source`.
    """
    check_bounds(source, start, end)
    is_files = not source.is_sql and source.frame is None
    found = _parquet_parts(source, root / source.path) if is_files else None
    if found is None:
        table = read_source(source, root=root, start=start, end=end)
        schema = table.schema
        if columns is not None:
            table = table.select(list(dict.fromkeys(name for name in columns if name in table.column_names)))
        return Scan(schema, table.num_rows, table.nbytes, table)
    try:
        raw, parts = found
        every = decode(shape(source, raw.empty_table()))
        wanted = every.column_names if columns is None else [name for name in columns if name in every.column_names]
        if (start is not None or end is not None) and source.event_time not in wanted:
            wanted.append(source.event_time)
        pieces = _Pieces(source, tuple(dict.fromkeys(wanted)), every.schema, parts, start, end)
        rows, size = pieces.measure()
    except DataError as error:
        error.where = f"source '{source.name}', {error.where or shown_path(source)}"
        raise
    return Scan(_with_times(source, every.schema), rows, size, pieces)


@dataclass(frozen=True)
class _Part:
    """One file: the columns it has, and what its path says."""

    file: Path
    names: frozenset[str]
    partition: dict[str, str | None]


@dataclass(frozen=True)
class _Pieces:
    source: Source
    wanted: tuple[str, ...]
    schema: pa.Schema
    parts: Sequence[_Part]
    start: datetime | None
    end: datetime | None

    def measure(self) -> tuple[int, int]:
        """Rows to be read, and about what they take in memory."""
        rows = size = 0
        for part in self.parts:
            file = pq.ParquetFile(part.file)
            for number in self._groups(file, part):
                group = file.metadata.row_group(number)
                rows += group.num_rows
                size += _size(group, part.names & set(self._file_names()), self._widths())
        return rows, size

    def __iter__(self) -> Iterator[pa.Table]:
        like = self.schema.empty_table().select(self.wanted)
        for part in self.parts:
            try:
                for batch in self._batches(part):
                    yield self._piece(batch, part, like)
            except DataError as error:
                error.where = f"source '{self.source.name}', {error.where or part.file}"
                raise

    def _batches(self, part: _Part) -> Iterator[pa.Table]:
        names = [name for name in self._file_names() if name in part.names]
        try:
            with pq.ParquetFile(part.file) as file:
                groups = self._groups(file, part)
                for batch in file.iter_batches(PIECE_ROWS, row_groups=groups, columns=names) if groups else ():
                    table = pa.Table.from_batches([batch])
                    # A file of which no column is wanted still says how many rows there are.
                    yield table if names else pa.table({"": pa.nulls(batch.num_rows)})
        except (pa.ArrowException, OSError) as error:
            raise damaged(part.file, error) from error

    def _piece(self, batch: pa.Table, part: _Part, like: pa.Table) -> pa.Table:
        table = with_partition(batch, part.partition)
        names = {name: file_name(self.source, name) for name in self.wanted}
        known = [name for name, theirs in names.items() if theirs in table.column_names]
        table = decode(table.select([names[name] for name in known]).rename_columns(known))
        with fitting_together(part.file.parent):
            table = pa.concat_tables(tables_in_one_zone([like, table]), promote_options="permissive")
        try:
            for role in (self.source.created, self.source.event_time):
                if role in self.wanted:
                    table = normalise_times(table, role, may_be_null=role != self.source.event_time)
        except DataError:
            self._explain(part)
            raise
        if self.source.event_time in self.wanted:
            table = between(table, self.source.event_time, self.start, self.end)
        return table

    def _explain(self, part: _Part) -> None:
        """Raise what is wrong with the times of a file, with row numbers that count from its beginning."""
        for role in (self.source.created, self.source.event_time):
            name = file_name(self.source, role)
            if name in part.names and role is not None:
                column = pq.ParquetFile(part.file).read(columns=[name])
                normalise_times(column.rename_columns([role]), role, may_be_null=role != self.source.event_time)

    def _groups(self, file: pq.ParquetFile, part: _Part) -> list[int]:
        return kept_row_groups(file, part.file, file_name(self.source, self.source.event_time), self.start, self.end)

    def _file_names(self) -> list[str]:
        return [file_name(self.source, name) or name for name in self.wanted]

    def _widths(self) -> dict[str, int]:
        kinds = {file_name(self.source, name) or name: self.schema.field(name).type for name in self.wanted}
        return {name: max(1, kind.bit_width // 8) for name, kind in kinds.items() if pa.types.is_primitive(kind)}


def _parquet_parts(source: Source, folder: Path) -> tuple[pa.Schema, list[_Part]] | None:
    """The columns of all files together, and the files; None where not all are Parquet with distinct column names."""
    try:
        files = data_files(folder)
    except DataError:
        return None  # `read_source` tells
    if any(file_kind(file) != "parquet" for file in files):
        return None
    schemas, parts, findings = [], [], []
    for file in files:
        try:
            schema = pq.read_schema(file)
        except (pa.ArrowException, OSError) as error:
            findings.append(damaged(file, error))
            continue
        partition = partition_of(file, folder)
        parts.append(_Part(file, frozenset(schema.names), partition))
        schemas.append(with_partition(schema.empty_table(), partition).schema.remove_metadata())
        if len(set(schema.names)) != len(schema.names):
            return None
    try:
        raise_findings(findings, folder)
        with fitting_together(folder):
            return pa.unify_schemas(in_one_zone(schemas), promote_options="permissive"), parts
    except MillraceError as error:
        error.where = f"source '{source.name}', {error.where or shown_path(source)}"
        raise


def _with_times(source: Source, schema: pa.Schema) -> pa.Schema:
    for role in (source.created, source.event_time):
        if role is not None:
            schema = schema.set(schema.get_field_index(role), pa.field(role, UTC_MICROS))
    return schema


def _size(group: pq.RowGroupMetaData, names: set[str] | frozenset[str], widths: dict[str, int]) -> int:
    size = 0
    for number in range(group.num_columns):
        column = group.column(number)
        name = column.path_in_schema.split(".", 1)[0]
        if name in names:
            least = group.num_rows * widths.get(name, _LEAST_TEXT_BYTES)
            size += least if name in widths else max(least, column.total_uncompressed_size)
    return size
