"""CSV files that do not fit in memory, a piece at a time."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import polars as pl
import pyarrow as pa

from millrace.validation.scan.csv_columns import IN_MEMORY_BYTES, CsvColumns

_PIECE_ROWS = 1 << 18


@dataclass(frozen=True)
class CsvPieces:
    """Rows of CSV files one piece after another, all with the types that every value fits.

    Attributes
    ----------
    schema : pyarrow.Schema
    rows : int
    """

    schema: pa.Schema
    rows: int
    _columns: CsvColumns

    def pieces(self) -> Iterator[pa.Table]:
        """A quarter of a million rows at a time."""
        frame: pl.LazyFrame = self._columns.frame(self.schema.names)
        for piece in frame.collect_batches(chunk_size=_PIECE_ROWS, maintain_order=True):
            yield piece.to_arrow().rename_columns(self.schema.names).cast(self.schema)


def large_csv(files: Sequence[Path], *, least_bytes: int = IN_MEMORY_BYTES) -> CsvPieces | None:
    """The pieces of CSV files of more than `least_bytes` together; None for less, which is better read whole.

    Raises
    ------
    DataError
        VALID-12 and VALID-13 for files that cannot be read.
    """
    if sum(file.stat().st_size for file in files) <= least_bytes:
        return None
    columns = CsvColumns(files)
    return CsvPieces(columns.schema, columns.rows or 0, columns)
