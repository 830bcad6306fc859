"""The columns of CSV files for Polars, read in blocks and strictly: a line that does not fit is an error."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

import polars as pl
import pyarrow as pa
from polars.io.plugins import register_io_source
from pyarrow import csv

from millrace.core.errors import DataError
from millrace.store.csv_ending import ends_within_quotes
from millrace.validation.arrow_types import of_arrow
from millrace.validation.column_type import ColumnType
from millrace.validation.expression import ROWS, Expr
from millrace.validation.scan.arrow_columns import ArrowColumns
from millrace.validation.scan.polars_backend import Columns, label_of, plain_values
from millrace.validation.scan.python_rows import MixedValues

_BLOCK_BYTES = 4 << 20
_WIDER = {"null": (pa.int64(), pa.float64(), pa.timestamp("s")), "int64": (pa.float64(),)}
_MISFIT = re.compile(r"In CSV column #(\d+): .*conversion error")


IN_MEMORY_BYTES = 256 << 20
"""Files up to this size together are read whole, by all cores."""


def open_csv(files: Sequence[Path]) -> Columns:
    """The columns of CSV files; small ones are read at once, and what is wrong with them is told by `CsvColumns`."""
    is_small = sum(file.stat().st_size for file in files) <= IN_MEMORY_BYTES
    if is_small and not any(file.suffix == ".gz" for file in files):
        try:
            tables = [
                csv.read_csv(file, parse_options=_parsing(), convert_options=csv.ConvertOptions(**_CONVERTING))
                for file in files
            ]
            names = tables[0].column_names
            whole = pa.concat_tables(tables, promote_options="permissive")
        except (pa.ArrowException, OSError):
            return CsvColumns(files)
        for file, table in zip(files, tables, strict=True):
            _refuse_open_quote(file, table)
        is_plain = len(set(names)) == len(names) and all(table.column_names == names for table in tables)
        if is_plain and not any(pa.types.is_binary(field.type) for field in whole.schema):
            return ArrowColumns(whole)
    return CsvColumns(files)


def _parsing() -> csv.ParseOptions:
    return csv.ParseOptions(newlines_in_values=True)


_CONVERTING: dict[str, Any] = {"strings_can_be_null": True, "quoted_strings_can_be_null": False}


class CsvColumns:
    """CSV files as `millrace.validation.scan.polars_backend.Columns`; several files are one batch, one after another.

    Comma-separated UTF-8 text with a header line; empty cells and the usual words for "missing" (NA, NULL, NaN) are
    missing, quoted ones are text. The type of a column is that of its first 4 MB, or text where a later value does
    not fit.

    Raises
    ------
    DataError
        VALID-12 when a file is empty, not UTF-8, ends within quotes, has lines of another number of fields than its
        header or two columns of one name; VALID-13 when two files have other columns.
    """

    mixed: Mapping[str, MixedValues] = MappingProxyType({})

    def __init__(self, files: Sequence[Path]) -> None:
        self._files = list(files)
        self.rows: int | None = None
        self.names: list[str] = []
        self._types: dict[str, pa.DataType] = {}
        headers = [self._open(file).schema for file in self._files]
        self.names = headers[0].names
        for file, header in zip(self._files, headers, strict=True):
            twice = [name for name, count in Counter(header.names).items() if count > 1]
            if twice:
                raise _malformed(file, f"its header names the column '{twice[0]}' several times")
            if header.names != self.names:
                raise DataError(
                    "VALID-13",
                    f"the files of '{file.parent.name}' do not fit together: '{file.name}' has the columns "
                    f"{', '.join(header.names)}",
                    where=str(file.parent),
                    why=f"'{self._files[0].name}' has {', '.join(self.names)}",
                    fix="write the differing file again with the columns of the others",
                )
        self._types = {name: _one_type([header.field(name).type for header in headers]) for name in self.names}
        self._settle()

    def type_of(self, name: str) -> ColumnType:
        return of_arrow(self._types[name])

    @property
    def schema(self) -> pa.Schema:
        """The Arrow types of all columns."""
        return pa.schema([(name, self._types[name]) for name in self.names])

    def frame(self, names: Iterable[str]) -> pl.LazyFrame:
        empty = pl.from_arrow(self.schema.empty_table())
        assert isinstance(empty, pl.DataFrame)

        def read(
            columns: list[str] | None, predicate: pl.Expr | None, rows: int | None, _batch: int | None
        ) -> Iterator[pl.DataFrame]:
            left = rows
            wanted = empty.columns if columns is None else columns
            for block in self._blocks([self.names[empty.columns.index(name)] for name in wanted]):
                block.columns = wanted
                frame = block if predicate is None else block.filter(predicate)
                frame = frame if left is None else frame.head(left)
                left = None if left is None else left - len(frame)
                yield frame
                if left == 0:
                    return

        scan = register_io_source(read, schema=empty.schema)
        places = {name: self.names.index(name) for name in names}
        return scan.select(
            plain_values(pl.nth(place), empty.dtypes[place]).alias(label_of(self.names, name))
            for name, place in places.items()
        )

    def known(self, figure: Expr) -> tuple[bool, Any]:
        """Nothing but the number of rows."""
        return figure == ROWS and self.rows is not None, self.rows

    def refuse_damage(self, names: Iterable[str]) -> None:
        """Nothing: every file was read once, to its end, before the first rule."""

    def _settle(self) -> None:
        # One look at every value finds the lines that do not fit, the columns whose first block misled, and the rows.
        self.rows = 0
        for file in self._files:
            while True:
                try:
                    count, last = 0, None
                    for batch in self._open(file):
                        count, last = count + batch.num_rows, batch if batch.num_rows else last
                except pa.ArrowInvalid as error:
                    self._loosen(file, error)
                else:
                    self.rows += count
                    if last is not None:
                        _refuse_open_quote(file, last)
                    break

    def _loosen(self, file: Path, error: pa.ArrowInvalid) -> None:
        found = _MISFIT.search(str(error))
        name = self.names[int(found.group(1))] if found else None
        if name is None or self._types[name] == pa.string():
            raise self._malformed(file, error) from error
        wider = _WIDER.get(str(self._types[name]), ())
        self._types[name] = next((kind for kind in wider if self._fits(file, name, kind)), pa.string())

    def _fits(self, file: Path, name: str, kind: pa.DataType) -> bool:
        try:
            for _ in self._open(file, [name], {name: kind}):
                pass
        except pa.ArrowInvalid:
            return False
        return True

    def _blocks(self, names: list[str]) -> Iterator[pl.DataFrame]:
        for file in self._files:
            for batch in self._open(file, names):
                frame = pl.from_arrow(batch)
                assert isinstance(frame, pl.DataFrame)
                yield frame

    def _open(
        self, file: Path, names: list[str] | None = None, types: dict[str, pa.DataType] | None = None
    ) -> csv.CSVStreamingReader:
        try:
            return csv.open_csv(
                file,
                read_options=csv.ReadOptions(block_size=_BLOCK_BYTES),
                parse_options=_parsing(),
                convert_options=csv.ConvertOptions(
                    column_types={**self._types, **(types or {})}, include_columns=names, **_CONVERTING
                ),
            )
        except (pa.ArrowException, OSError) as error:
            if file.stat().st_size == 0:
                raise _malformed(file, "it is empty: not even a header line") from error
            raise self._malformed(file, error) from error

    def _malformed(self, file: Path, error: Exception) -> DataError:
        found = _MISFIT.search(str(error)) if "invalid UTF8" in str(error) else None
        if found is None or not self.names:
            return _malformed(file, _first_line(error))
        return DataError(
            "VALID-12",
            f"'{file.name}' is not usable as CSV: its column '{self.names[int(found.group(1))]}' is not UTF-8 text",
            where=str(file),
            fix="write the file in UTF-8, for instance: iconv -f latin1 -t utf-8",
        )


def _one_type(found: Sequence[pa.DataType]) -> pa.DataType:
    """The type that holds the values of all files: text where nothing else does."""
    try:
        schemas = [pa.schema([("x", kind)]) for kind in found]
        kind = pa.unify_schemas(schemas, promote_options="permissive").field(0).type
    except (pa.ArrowInvalid, pa.ArrowTypeError):
        return pa.string()
    return pa.string() if pa.types.is_binary(kind) else kind


def _refuse_open_quote(file: Path, rows: pa.Table | pa.RecordBatch) -> None:
    if rows.num_rows == 0 or pa.types.is_binary(rows.schema.types[-1]):
        return
    last = rows.column(rows.num_columns - 1)[-1].as_py()
    if ends_within_quotes(file, last, is_only_column=rows.num_columns == 1):
        raise _malformed(file, "its last value opens a quote that is never closed, and holds all that came after it")


def _first_line(error: BaseException) -> str:
    return (str(error).splitlines() or ["it cannot be parsed"])[0]


def _malformed(file: Path, text: str) -> DataError:
    return DataError(
        "VALID-12",
        f"'{file.name}' is not usable as CSV: {text}",
        where=str(file),
        fix="write the file again: a header line, comma-separated UTF-8 text, as many fields in every line",
    )
