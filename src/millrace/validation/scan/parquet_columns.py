"""The columns of Parquet files for Polars: the footers are read at once, the pages only when a rule needs them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any
from urllib.parse import unquote

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from millrace.core.errors import DataError, MillraceError
from millrace.validation.arrow_types import of_arrow
from millrace.validation.backend import CannotCheck
from millrace.validation.column_type import ColumnType
from millrace.validation.expression import Expr
from millrace.validation.scan.arrow_footers import ArrowFooters
from millrace.validation.scan.damage import damaged, raise_all
from millrace.validation.scan.offset_zones import has_offsets, in_one_zone, in_utc, scan_with_offsets
from millrace.validation.scan.parquet_statistics import FooterStatistics
from millrace.validation.scan.plain_parquet import scan_parquet
from millrace.validation.scan.polars_backend import label_of, plain_values
from millrace.validation.scan.python_rows import MixedValues

_NO_VALUE = "__HIVE_DEFAULT_PARTITION__"


class ParquetColumns:
    """Parquet files as `polars_backend.Columns`; several files are one batch, one after another.

    Parameters
    ----------
    files : sequence of Path
    root : Path
        The folder they are below; parts ``name=value`` of a path below it are columns of text, missing where a
        writer stands ``__HIVE_DEFAULT_PARTITION__`` for it.

    Raises
    ------
    DataError
        VALID-10 for every file that is not Parquet or cut short; VALID-13 when the types of two files differ.
    """

    mixed: Mapping[str, MixedValues] = MappingProxyType({})

    def __init__(self, files: Sequence[Path], root: Path) -> None:
        self.files = list(files)
        self.footers = _footers(self.files)
        self.own = [footer.schema.to_arrow_schema().remove_metadata() for footer in self.footers]
        self._partitions = [_partition(file, root) for file in self.files]
        self.schema = _one_schema(self.files, self.own, self._partitions)
        rows = sum(footer.num_rows for footer in self.footers)
        groups_of = ArrowFooters(self.footers, self.own, self.schema).groups_of
        self._statistics = FooterStatistics(rows, groups_of)
        self.names: list[str] = self.schema.names
        self.rows: int | None = rows

    def type_of(self, name: str) -> ColumnType:
        return of_arrow(self.schema.field(name).type)

    def frame(self, names: Iterable[str]) -> pl.LazyFrame:
        wanted = list(names)
        doubled = [name for name in wanted if any(schema.names.count(name) > 1 for schema in self.own)]
        if doubled:
            raise CannotCheck(f"the column '{doubled[0]}' is there several times")
        if all(schema.equals(self.schema) for schema in self.own) and not has_offsets(self.schema):
            return self._selected(scan_parquet(self.files), wanted, {}, self.schema)
        return pl.concat(
            self._selected(_scan(file, own), wanted, partition, own)
            for file, partition, own in zip(self.files, self._partitions, self.own, strict=True)
        )

    def known(self, figure: Expr) -> tuple[bool, Any]:
        """What the footers settle."""
        return self._statistics.answer(figure)

    def refuse_damage(self, names: Iterable[str]) -> None:
        """Raise DataError VALID-10 when the pages of the columns `names` cannot be read."""
        findings: list[MillraceError] = []
        for file, own in zip(self.files, self.own, strict=True):
            wanted = [pl.nth(own.names.index(name)).null_count() for name in names if name in own.names]
            try:
                _scan(file, own).select(wanted).collect(engine="streaming")
            except (pl.exceptions.PolarsError, pl.exceptions.PanicException, OSError) as error:
                findings.append(damaged(file, error))
        raise_all(findings)

    def _selected(
        self, scan: pl.LazyFrame, names: Sequence[str], partition: Mapping[str, str | None], own: pa.Schema
    ) -> pl.LazyFrame:
        types = scan.collect_schema()
        columns = []
        for name in names:
            if name in types:
                values = plain_values(pl.nth(own.names.index(name)), types[name])
            else:
                values = pl.lit(partition.get(name), dtype=pl.String if name in partition else None)
            if name not in own.names or own.field(name).type != self.schema.field(name).type:
                values = values.cast(_polars_type(self.schema.field(name).type))
            columns.append(values.alias(label_of(self.names, name)))
        # Not select alone: a part of the path is a literal, and literals alone would be one row.
        return scan.with_columns(columns).select(label_of(self.names, name) for name in names)


def _scan(file: Path, own: pa.Schema) -> pl.LazyFrame:
    return scan_with_offsets(file, own) if has_offsets(own) else scan_parquet(file)


def _polars_type(kind: pa.DataType) -> pl.DataType:
    series = pl.from_arrow(pa.array([], in_utc(kind)))
    assert isinstance(series, pl.Series)
    found = series.dtype
    return pl.String() if found in (pl.Categorical, pl.Enum) else pl.Float64() if found == pl.Null else found


def _footers(files: Sequence[Path]) -> list[pq.FileMetaData]:
    found: list[pq.FileMetaData] = []
    findings: list[MillraceError] = []
    for file in files:
        try:
            found.append(pq.read_metadata(file))
            found[-1].schema.to_arrow_schema()
        except (pa.ArrowException, OSError) as error:
            findings.append(damaged(file, error))
    raise_all(findings)
    return found


def _one_schema(
    files: Sequence[Path], own: Sequence[pa.Schema], partitions: Sequence[Mapping[str, str | None]]
) -> pa.Schema:
    schemas = []
    for schema, partition in zip(own, partitions, strict=True):
        extra = [pa.field(name, pa.string()) for name in partition if name not in schema.names]
        schemas.append(pa.schema([*schema, *extra]))
    if len(schemas) == 1:
        return schemas[0]
    try:
        return pa.unify_schemas(in_one_zone(schemas), promote_options="permissive")
    except (pa.ArrowInvalid, pa.ArrowTypeError) as error:
        raise DataError(
            "VALID-13",
            f"the files of '{files[0].parent.name}' do not fit together: {str(error).splitlines()[0]}",
            where=str(files[0].parent),
            why="a column has another type in one file than in the others",
            fix="write the differing file again with the types of the others",
        ) from error


def _partition(file: Path, root: Path) -> dict[str, str | None]:
    if file == root or root not in file.parents:
        return {}
    pairs = (part.partition("=") for part in file.relative_to(root).parts[:-1])
    return {name: None if value == _NO_VALUE else unquote(value) for name, sign, value in pairs if sign}
