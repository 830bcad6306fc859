"""Rows in memory in any form: as columns that rules can ask, and as Arrow tables."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import polars as pl
import pyarrow as pa

from millrace.core.errors import DataError
from millrace.validation.scan.arrow_columns import ArrowColumns
from millrace.validation.scan.lazy_columns import LazyColumns, SpooledColumns
from millrace.validation.scan.object_columns import MISFITS, as_array, is_gone, of_mapping, of_pandas
from millrace.validation.scan.polars_backend import Columns


def columns_of(data: Any) -> Columns:
    """The columns of a frame, a table, a mapping of columns, or a stream of batches.

    Raises
    ------
    DataError
        VALID-05 for anything that is not a table.
    """
    if isinstance(data, pl.LazyFrame):
        return LazyColumns(data)
    if isinstance(data, pa.RecordBatchReader):
        return SpooledColumns(data)
    if hasattr(data, "iloc") and hasattr(data, "columns"):  # pandas, without importing it
        return of_pandas(data)
    if isinstance(data, pl.DataFrame) and pl.Object in data.dtypes:
        return of_mapping({c.name: c.to_list() if c.dtype == pl.Object else c.to_arrow() for c in data})
    if isinstance(data, Mapping):
        _refuse_one_row(data)
        try:
            return of_mapping(data)
        except (TypeError, ValueError) as error:
            raise DataError(
                "VALID-05", f"this mapping is not a table: {error}", fix="give every column as many values"
            ) from error
    return ArrowColumns(to_table(data))


def _refuse_one_row(columns: Mapping[Any, Any]) -> None:
    """Raises VALID-05 for a value in place of a column: a text would be taken for a column of its letters."""
    for name, values in columns.items():
        if isinstance(values, (str, bytes, Mapping)) or not hasattr(values, "__len__"):
            raise DataError(
                "VALID-05",
                f"this mapping is not a table: its column '{name}' is a {type(values).__name__}, not a list of values",
                fix="give every column a list of as many values; RowChecker judges a row by itself",
            )


def to_table(data: Any) -> pa.Table:
    """`data` (pyarrow, polars, pandas, or a mapping of columns) as a table with the same columns and rows.

    A pandas column that mixes types becomes text, so that a type rule can say what is wrong with it. NaN in a pandas
    column is missing.

    Raises
    ------
    DataError
        VALID-05 for anything that is not a table.
    """
    if isinstance(data, pa.Table):
        return data
    if isinstance(data, pa.RecordBatch):
        return pa.Table.from_batches([data])
    if isinstance(data, pl.LazyFrame):
        return data.collect().to_arrow()
    if isinstance(data, pl.DataFrame):
        return data.to_arrow()
    if hasattr(data, "iloc") and hasattr(data, "columns"):  # pandas, without importing it
        columns = [_array(data.iloc[:, position]) for position in range(len(data.columns))]
        return pa.Table.from_arrays(columns, names=[str(name) for name in data.columns])
    if isinstance(data, Mapping):
        return pa.Table.from_arrays([_array(values) for values in data.values()], names=list(map(str, data)))
    raise DataError(
        "VALID-05",
        f"a {type(data).__name__} is not a table",
        fix="give a pandas or polars DataFrame, or a pyarrow Table",
    )


def _array(values: Any) -> pa.Array | pa.ChunkedArray:
    try:
        return as_array(values)
    except MISFITS:
        return pa.array([None if value is None or is_gone(value) else str(value) for value in values], pa.string())
