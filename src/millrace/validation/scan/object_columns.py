"""The columns of pandas frames and of mappings for Polars, each converted when a rule first asks for it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import polars as pl
import pyarrow as pa

from millrace.validation.arrow_types import of_arrow
from millrace.validation.backend import CannotCheck
from millrace.validation.column_type import ColumnType
from millrace.validation.expression import ROWS, Expr
from millrace.validation.scan.arrow_columns import as_series
from millrace.validation.scan.polars_backend import label_of
from millrace.validation.scan.python_rows import MixedValues, encode

MISFITS = (pa.ArrowInvalid, pa.ArrowTypeError, pa.ArrowNotImplementedError, OverflowError)
"""What `as_array` raises for values that have no one Arrow type."""


class ObjectColumns:
    """Columns of Python values as `millrace.validation.scan.polars_backend.Columns`.

    Values that Arrow has no one type for, such as integers beside texts, stay Python's.

    Parameters
    ----------
    names : sequence of str
    columns : sequence of array-like
        One for each name.
    rows : int
    """

    def __init__(self, names: Sequence[str], columns: Sequence[Any], rows: int) -> None:
        self.names: list[str] = list(names)
        self.rows: int | None = rows
        self.mixed: dict[str, MixedValues] = {}
        self._columns = columns
        self._series: dict[str, pl.Series] = {}
        self._types: dict[str, ColumnType] = {}

    def type_of(self, name: str) -> ColumnType:
        self._converted(name)
        return self._types[name]

    def frame(self, names: Iterable[str]) -> pl.LazyFrame:
        return pl.DataFrame([self._converted(name) for name in names]).lazy()

    def known(self, figure: Expr) -> tuple[bool, Any]:
        """The number of rows, and the bounds of values that stay Python's.

        Raises CannotCheck for values that do not compare.
        """
        if figure.op in ("min", "max") and figure.args[0].op == "column":
            name = figure.args[0].args[0]
            self._converted(name)
            if name in self.mixed:
                try:
                    return True, self.mixed[name].extreme(figure.op)
                except TypeError as error:
                    raise CannotCheck(f"the column '{name}' has no {figure.op}: {error}") from error
        return figure == ROWS, self.rows

    def refuse_damage(self, names: Iterable[str]) -> None:
        """Nothing: values in memory are whole."""

    def _converted(self, name: str) -> pl.Series:
        if name not in self._series:
            place = self.names.index(name)
            label, values = label_of(self.names, name), self._columns[place]
            try:
                array = as_array(values)
            except MISFITS:
                codes, found = encode(_present(values))
                self.mixed[name] = found
                self._types[name] = ColumnType("mixed", found.type_name)
                self._series[name] = pl.Series(label, codes, dtype=pl.UInt32)
            else:
                self._types[name] = of_arrow(array.type)
                try:
                    self._series[name] = as_series(label, array)
                except (pl.exceptions.PolarsError, pa.ArrowException, TypeError, ValueError) as error:
                    raise CannotCheck(f"the column '{name}' cannot be read: {str(error).splitlines()[0]}") from error
        return self._series[name]


def of_pandas(frame: Any) -> ObjectColumns:
    """The columns of a pandas frame; names that are no text are named by their text."""
    columns = [frame.iloc[:, place] for place in range(len(frame.columns))]
    return ObjectColumns([str(name) for name in frame.columns], columns, len(frame))


def of_mapping(columns: Mapping[Any, Any]) -> ObjectColumns:
    """The columns of a mapping of names to values. Raises ValueError when they differ in length."""
    sizes = {len(values) for values in columns.values()}
    if len(sizes) > 1:
        raise ValueError(f"its columns have {' and '.join(map(str, sorted(sizes)))} values")
    return ObjectColumns([str(name) for name in columns], list(columns.values()), max(sizes, default=0))


def as_array(values: Any) -> pa.Array | pa.ChunkedArray:
    """Values as an Arrow array, NaN as null. Raises pyarrow's errors for what has no one type there."""
    if getattr(getattr(values, "dtype", None), "tz", None) is not None:
        # Arrow takes zoned times by a way that pandas warns of.
        moments = pa.array(values.dt.tz_convert("UTC").dt.tz_localize(None), from_pandas=True)
        in_utc = moments.cast(pa.timestamp(moments.type.unit, "UTC"))
        zone = getattr(values.dtype.tz, "key", None)
        return in_utc if zone is None else in_utc.cast(pa.timestamp(moments.type.unit, zone))
    array = values if isinstance(values, (pa.Array, pa.ChunkedArray)) else pa.array(values, from_pandas=True)
    if isinstance(array.type, pa.BaseExtensionType):
        # A UUID, a period: its storage is not what its user sees.
        raise pa.ArrowNotImplementedError(f"{array.type} has no plain form")
    return array


def _present(values: Any) -> list[Any]:
    """The values as a list, None where pandas says that one is missing or a value does not equal itself."""
    if hasattr(values, "isna"):
        return [None if is_gone else value for value, is_gone in zip(values, values.isna(), strict=True)]
    return [None if value is None or is_gone(value) else value for value in values]


def is_gone(value: Any) -> bool:
    """Whether a value is not equal to itself, as NaN is, or says neither yes nor no to that, as pandas' NA."""
    try:
        return bool(value != value)
    except (TypeError, ArithmeticError):  # the latter of a signaling NaN of decimals
        return True
    except ValueError:  # an array
        return False
