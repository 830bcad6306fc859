"""What a column is, by its declared or Arrow type, and what a test needs to know of its values."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal, TypeVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from millrace.core.errors import ProjectError, did_you_mean
from millrace.drift.categorical import Levels, count_levels

Family = Literal["number", "boolean", "text", "time", "clock", "duration", "null", "other"]
T = TypeVar("T")
Kind = Literal["numeric", "categorical", "temporal", "identifier", "untestable"]

_WORTH_THREADS = 100_000  # values; below, starting threads takes longer than they save

_DEFAULT_KIND: dict[str, Kind] = {
    "number": "numeric",
    "boolean": "categorical",
    "text": "categorical",
    "time": "temporal",
    "clock": "temporal",
    "duration": "temporal",
    "null": "untestable",
    "other": "untestable",
}
# The kinds a user may declare, with the model's own column types as synonyms, and the families each one accepts.
_DECLARED: dict[str, tuple[Kind, frozenset[str]]] = {
    "numeric": ("numeric", frozenset({"number"})),
    "int": ("numeric", frozenset({"number"})),
    "float": ("numeric", frozenset({"number"})),
    "categorical": ("categorical", frozenset({"number", "boolean", "text"})),
    "bool": ("categorical", frozenset({"boolean"})),
    "string": ("categorical", frozenset({"text"})),
    "temporal": ("temporal", frozenset({"time", "clock", "duration"})),
    "identifier": ("identifier", frozenset({"number", "text"})),
}


def family_of(arrow_type: pa.DataType) -> Family:
    """The family of an Arrow type; a dictionary belongs to its values' family."""
    types = pa.types
    if types.is_dictionary(arrow_type):
        return family_of(arrow_type.value_type)
    if types.is_boolean(arrow_type):
        return "boolean"
    if types.is_integer(arrow_type) or types.is_floating(arrow_type) or types.is_decimal(arrow_type):
        return "number"
    if types.is_string(arrow_type) or types.is_large_string(arrow_type) or types.is_string_view(arrow_type):
        return "text"
    if types.is_time(arrow_type):
        return "clock"
    if types.is_duration(arrow_type):
        return "duration"
    if types.is_temporal(arrow_type):
        return "time"
    return "null" if types.is_null(arrow_type) else "other"


def kind_of(arrow_type: pa.DataType, declared: str | None) -> Kind:
    """How a column is to be tested: as declared, else by its Arrow type."""
    if declared is not None:
        return _DECLARED[declared][0]
    if pa.types.is_dictionary(arrow_type) and family_of(arrow_type) == "number":
        return "categorical"  # numbers somebody made categories of are codes
    return _DEFAULT_KIND[family_of(arrow_type)]


def suits(declared: str, family: Family) -> bool:
    """True if a column of this family can be what was declared; an all-null type can be anything."""
    return family == "null" or family in _DECLARED[declared][1]


def check_declared(types: Mapping[str, str]) -> None:
    """Refuse unknown declared types, all at once.

    Raises
    ------
    ProjectError
        PROJ-36, with a finding per column.
    """
    findings = [
        ProjectError("PROJ-36", f"column '{name}' is declared {declared!r}", fix=did_you_mean(str(declared), _DECLARED))
        for name, declared in types.items()
        if declared not in _DECLARED
    ]
    if findings:
        raise ProjectError("PROJ-36", "a declared column type is unknown to drift", findings=findings)


@dataclass(frozen=True, slots=True, eq=False)
class Column:
    """One column of a sample, counted and in order.

    Parameters
    ----------
    type, family, kind, declared
        Its Arrow type as text, and how it is tested.
    present, missing, nan, infinite : int
        Rows with a value and without; `missing` counts nulls and NaN, of which `nan` are NaN, and `present` the ±inf.
    values : ndarray of shape (present,), sorted, or None
        Of a numeric column its numbers, of a temporal one microseconds.
    levels : Levels or None
        Of a categorical column.
    is_increasing : bool
        Whether whole numbers grew strictly from row to row, as counters do.
    """

    name: str
    type: str
    family: Family
    kind: Kind
    declared: str | None
    present: int
    missing: int
    nan: int = 0
    infinite: int = 0
    values: NDArray[Any] | None = None
    levels: Levels | None = None
    is_increasing: bool = False

    @property
    def rows(self) -> int:
        return self.present + self.missing

    @property
    def is_constant(self) -> bool:
        if self.levels is not None:
            return len(self.levels.counts) == 1
        return self.values is not None and bool(self.present) and bool(self.values[0] == self.values[-1])

    @property
    def is_identifier_like(self) -> bool:
        """Whether every value is another one, and the values are names rather than amounts.

        Of texts any such column is. Whole numbers are if they count rows: they grow from row to row, or they lie so
        close that at least every second number occurs.
        """
        if self.levels is not None:
            return bool(self.present) and self.family == "text" and int(self.levels.counts.max()) == 1
        values = self.values
        if values is None or self.family != "number" or values.dtype.kind not in "iu" or len(values) < 2:
            return False
        if not (self.is_increasing or int(values[-1]) - int(values[0]) < 2 * len(values)):
            return False
        return bool((values[1:] != values[:-1]).all())


def read_column(name: str, column: pa.ChunkedArray, kind: Kind, declared: str | None = None) -> Column:
    """Count and sort the values of a column that is to be tested as `kind`.

    Raises
    ------
    pyarrow.ArrowException, ValueError
        When the values cannot be read as that kind.
    """
    made = partial(Column, name, str(column.type), family_of(column.type), kind, declared)
    if pa.types.is_null(column.type) or kind in ("identifier", "untestable"):
        return made(len(column) - column.null_count, column.null_count)
    if kind == "categorical":
        levels, nan = count_levels(column)
        present = int(levels.counts.sum())
        return made(present, len(column) - present, nan=nan, levels=levels)
    values = _instants(column) if kind == "temporal" else _numbers(column)
    whole = values.dtype.kind in "iu" and kind == "numeric"
    is_increasing = whole and len(values) > 1 and _grows(values)
    if values.flags.writeable:
        values.sort()
    else:
        values = np.sort(values)
    nan, infinite = 0, 0
    if values.dtype.kind == "f" and len(values):
        first_nan = int(np.searchsorted(values, np.nan))  # NaN is sorted behind everything
        nan, values = len(values) - first_nan, values[:first_nan]
        low, high = np.searchsorted(values, -np.inf, "right"), np.searchsorted(values, np.inf)
        infinite = int(low) + len(values) - int(high)
    missing = len(column) - len(values)
    return made(len(values), missing, nan=nan, infinite=infinite, values=values, is_increasing=is_increasing)


def each_column(work: Callable[[str], T], names: Iterable[str], *, rows: int) -> list[T]:
    """`work` done for every name, in their order: by as many threads as there are cores when there is enough to do.

    Sorting and counting run outside of Python's lock.
    """
    names = list(names)
    workers = min(os.cpu_count() or 1, len(names))
    if workers < 2 or rows * len(names) < _WORTH_THREADS:
        return [work(name) for name in names]
    with ThreadPoolExecutor(workers) as threads:
        return list(threads.map(work, names))


def moments(column: Column) -> tuple[float | None, float | None]:
    """Mean and standard deviation (ddof 1) of the finite values; None where there is none."""
    values = column.values
    if values is None:
        return None, None
    if column.infinite:
        values = values[np.isfinite(values)]
    if not len(values):
        return None, None
    if values[0] == values[-1]:  # sorted, so all are one; the rounded mean of many would leave a deviation of 1e-18
        return float(values[0]), 0.0 if len(values) > 1 else None
    start = 0
    if values.dtype.kind in "iu" and values.dtype.itemsize == 8:
        # Instants and large keys differ in digits that a double has no room for: count from the least of them.
        start, values = int(values[0]), values.astype(np.uint64) - values[:1].astype(np.uint64)
    with np.errstate(over="ignore", invalid="ignore"):
        mean = start + float(values.mean(dtype=np.float64))
        std = float(values.std(ddof=1, dtype=np.float64)) if len(values) > 1 else None
    return (mean if math.isfinite(mean) else None), (std if std is not None and math.isfinite(std) else None)


def _numbers(column: pa.ChunkedArray) -> NDArray[Any]:
    """The values of a numeric column, NaN among them, integers kept exact; writeable only if it is a copy."""
    if pa.types.is_dictionary(column.type):
        column = pc.cast(column, column.type.value_type)
    if pa.types.is_decimal(column.type):
        column = pc.cast(column, pa.float64())
    return _as_numpy(column)


def _instants(column: pa.ChunkedArray) -> NDArray[np.int64]:
    """The values of a temporal column as int64 microseconds."""
    arrow_type = column.type
    if pa.types.is_timestamp(arrow_type):
        common = pa.timestamp("us", tz=arrow_type.tz)
    elif pa.types.is_date(arrow_type):
        common = pa.timestamp("us")
    elif pa.types.is_time(arrow_type):
        common = pa.time64("us")
    else:
        common = pa.duration("us")
    return _as_numpy(pc.cast(pc.cast(column, common, safe=False), pa.int64()))


def _as_numpy(column: pa.ChunkedArray) -> NDArray[Any]:
    values: NDArray[Any] = (column.drop_null() if column.null_count else column).to_numpy()
    return values


def _grows(values: NDArray[Any]) -> bool:
    # A look at the first rows spares most columns the whole pass.
    head = values[:100]
    return bool((head[1:] > head[:-1]).all()) and bool((values[1:] > values[:-1]).all())
