"""The columns of a lazy Polars frame, and of a stream that can be read only once."""

from __future__ import annotations

import shutil
import tempfile
import weakref
from collections.abc import Iterable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

import polars as pl
import pyarrow as pa

from millrace.core.errors import DataError
from millrace.validation.arrow_types import of_arrow
from millrace.validation.column_type import ColumnType
from millrace.validation.expression import ROWS, Expr
from millrace.validation.scan.offset_zones import schema_in_utc
from millrace.validation.scan.polars_backend import label_of, plain_values
from millrace.validation.scan.python_rows import MixedValues


class LazyColumns:
    """A lazy frame as `millrace.validation.scan.polars_backend.Columns`; it is run in streams and never held whole.

    Raises
    ------
    DataError
        VALID-10 when the frame has no schema, such as one on a file that is not there.
    """

    mixed: Mapping[str, MixedValues] = MappingProxyType({})

    def __init__(self, frame: pl.LazyFrame, rows: int | None = None) -> None:
        self._frame = frame
        try:
            self._types = frame.collect_schema()
        except (pl.exceptions.PolarsError, pl.exceptions.PanicException, OSError) as error:
            raise _unreadable(error) from error
        self.names: list[str] = self._types.names()
        self.rows = rows

    def type_of(self, name: str) -> ColumnType:
        return of_arrow(pl.Series(name, [], dtype=self._types[name]).to_arrow().type)

    def frame(self, names: Iterable[str]) -> pl.LazyFrame:
        wanted = list(names)
        if not wanted:
            return self._frame  # no column is still as many rows; an empty selection would have none
        return self._frame.select(
            plain_values(pl.nth(self.names.index(name)), self._types[name]).alias(label_of(self.names, name))
            for name in wanted
        )

    def known(self, figure: Expr) -> tuple[bool, Any]:
        """Nothing but the number of rows."""
        return figure == ROWS and self.rows is not None, self.rows

    def refuse_damage(self, names: Iterable[str]) -> None:
        """Raise DataError VALID-10 when the frame cannot be run."""
        try:
            self.frame(names).select(pl.all().null_count()).collect(engine="streaming")
        except (pl.exceptions.PolarsError, pl.exceptions.PanicException, OSError) as error:
            raise _unreadable(error) from error


class SpooledColumns(LazyColumns):
    """A reader of record batches, written to a temporary file, since rules may look twice."""

    def __init__(self, reader: pa.RecordBatchReader) -> None:
        folder = tempfile.mkdtemp(prefix="millrace-batch-")
        weakref.finalize(self, shutil.rmtree, folder, ignore_errors=True)
        file, rows, kept = Path(folder) / "rows.arrow", 0, schema_in_utc(reader.schema)
        try:
            with pa.OSFile(str(file), "wb") as sink, pa.ipc.new_file(sink, kept) as writer:
                for batch in reader:
                    writer.write_table(pa.Table.from_batches([batch]).cast(kept))
                    rows += batch.num_rows
        except (pa.ArrowException, OSError) as error:
            raise DataError(
                "VALID-10",
                f"the stream of batches cannot be read: {(str(error).splitlines() or ['damaged'])[0]}",
                why=f"it broke off after {rows:,} rows, or there is no room for them in {folder}",
                fix="open the stream again; no row of it was judged",
            ) from error
        self._schema = reader.schema
        super().__init__(pl.scan_ipc(file), rows)

    def type_of(self, name: str) -> ColumnType:
        return of_arrow(self._schema.field(self.names.index(name)).type)


def _unreadable(error: BaseException) -> DataError:
    return DataError(
        "VALID-10",
        f"the lazy frame cannot be run: {(str(error).splitlines() or ['damaged'])[0]}",
        why="a file behind it is not there or damaged, or one of its expressions fails",
        fix="run frame.collect() to see the whole of it",
    )
