"""The columns of an Arrow table for Polars, each converted when a rule first asks for it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Any

import polars as pl
import pyarrow as pa
from pyarrow import types

from millrace.validation.arrow_types import of_arrow
from millrace.validation.backend import CannotCheck
from millrace.validation.column_type import ColumnType
from millrace.validation.expression import ROWS, Expr
from millrace.validation.scan.offset_zones import in_utc
from millrace.validation.scan.polars_backend import label_of
from millrace.validation.scan.python_rows import MixedValues


class ArrowColumns:
    """`table` as `millrace.validation.scan.polars_backend.Columns`."""

    mixed: Mapping[str, MixedValues] = MappingProxyType({})

    def __init__(self, table: pa.Table) -> None:
        self.names: list[str] = table.column_names
        self.rows: int | None = table.num_rows
        self._table = table
        self._series: dict[str, pl.Series] = {}

    def type_of(self, name: str) -> ColumnType:
        return of_arrow(self._table.schema.field(self.names.index(name)).type)

    def frame(self, names: Iterable[str]) -> pl.LazyFrame:
        return pl.DataFrame([self._converted(name) for name in names]).lazy()

    def known(self, figure: Expr) -> tuple[bool, Any]:
        """The number of rows, and the bounds of whole numbers, which are a glance in memory."""
        if figure == ROWS:
            return True, self.rows
        if figure.op not in ("min", "max") or figure.args[0].op != "column":
            return False, None
        name = figure.args[0].args[0]
        if self.type_of(name).family != "integer":
            return False, None
        series = self._converted(name)
        return True, series.min() if figure.op == "min" else series.max()

    def refuse_damage(self, names: Iterable[str]) -> None:
        """Nothing: a table in memory is whole."""

    def _converted(self, name: str) -> pl.Series:
        label = label_of(self.names, name)
        if label not in self._series:
            try:
                self._series[label] = as_series(label, self._table.column(self.names.index(name)))
            except (pl.exceptions.PolarsError, pa.ArrowException, TypeError, ValueError) as error:
                raise CannotCheck(f"the column '{name}' cannot be read: {str(error).splitlines()[0]}") from error
        return self._series[label]


def as_series(label: str, column: pa.ChunkedArray) -> pl.Series:
    """An Arrow column as a Polars series: NaN is null, zoned times are UTC, no dictionary."""
    if types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    if types.is_null(column.type):
        return pl.Series(label, [None] * len(column), dtype=pl.Float64)
    if types.is_decimal256(column.type):
        column = column.cast(pa.decimal128(38, column.type.scale))  # Polars knows no wider ones
    if in_utc(column.type) != column.type:
        column = column.cast(in_utc(column.type))
    series = pl.Series(label, pl.from_arrow(column))
    return series.fill_nan(None) if series.dtype.is_float() else series
