"""One Parquet file of ordinary columns for Polars, without Arrow: loading that costs as much as a million rows.

Whatever is out of the ordinary (nested, decimal or unusual types, zones by offset, a large footer, damage) is left to
`parquet_columns`, which answers the same.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from types import MappingProxyType
from typing import Any

import polars as pl

from millrace.validation.column_type import ColumnType
from millrace.validation.expression import Expr
from millrace.validation.scan.compact_thrift import read_struct
from millrace.validation.scan.damage import damaged
from millrace.validation.scan.parquet_statistics import FooterStatistics, Group
from millrace.validation.scan.polars_backend import label_of, plain_values
from millrace.validation.scan.python_rows import MixedValues

_MAGIC = b"PAR1"
_MOST_BYTES = 1 << 16  # Python reads a larger footer slower than Arrow is loaded
_REPEATED = 2
_BY_TYPE = 1  # of the union ColumnOrder
_UNITS: Mapping[int, str] = {1: "ms", 2: "us", 3: "ns"}
_LOGICAL = {"text": 1, "date": 6, "timestamp": 8, "integer": 10}  # numbers in the union LogicalType
_OLD_TEXT, _OLD_DATE = 0, 6  # of a ConvertedType
_BOOLEAN, _INT32, _INT64, _FLOAT, _DOUBLE, _BYTES = 0, 1, 2, 4, 5, 6
_TYPES: Mapping[pl.DataType, ColumnType] = {
    **{getattr(pl, f"Int{bits}")(): ColumnType("integer", f"int{bits}") for bits in (8, 16, 32, 64)},
    **{getattr(pl, f"UInt{bits}")(): ColumnType("integer", f"uint{bits}") for bits in (8, 16, 32, 64)},
    pl.Float32(): ColumnType("float", "float"),
    pl.Float64(): ColumnType("float", "double"),
    pl.Boolean(): ColumnType("bool", "bool"),
    pl.String(): ColumnType("text", "string"),
    pl.Date(): ColumnType("date", "date32[day]"),
}


class PlainParquet:
    """A file as `millrace.validation.scan.polars_backend.Columns`; see `open_plain`.

    Parameters
    ----------
    file : Path
    footer : mapping
        Its FileMetaData by the field numbers of parquet.thrift.
    types : mapping of str to (polars.DataType, ColumnType)
        Its columns in their order.
    scan : polars.LazyFrame
        Of the file.
    """

    mixed: Mapping[str, MixedValues] = MappingProxyType({})

    def __init__(
        self,
        file: Path,
        footer: Mapping[int, Any],
        types: Mapping[str, tuple[pl.DataType, ColumnType]],
        scan: pl.LazyFrame,
    ) -> None:
        self.names: list[str] = list(types)
        self.rows: int | None = footer[3]
        self._file, self._footer, self._types, self._scan = file, footer, types, scan
        self._statistics = FooterStatistics(footer[3], self._groups_of)

    def type_of(self, name: str) -> ColumnType:
        return self._types[name][1]

    def frame(self, names: Iterable[str]) -> pl.LazyFrame:
        wanted = list(names)
        if not wanted:
            return self._scan  # no column is still as many rows
        return self._scan.select(
            plain_values(pl.nth(self.names.index(name)), self._types[name][0]).alias(label_of(self.names, name))
            for name in wanted
        )

    def known(self, figure: Expr) -> tuple[bool, Any]:
        """What the footer settles."""
        return self._statistics.answer(figure)

    def refuse_damage(self, names: Iterable[str]) -> None:
        """Raise DataError VALID-10 when the pages of the columns `names` cannot be read."""
        try:
            self.frame(names).select(pl.all().null_count()).collect(engine="streaming")
        except (pl.exceptions.PolarsError, pl.exceptions.PanicException, OSError) as error:
            raise damaged(self._file, error) from error

    def _groups_of(self, name: str) -> list[Group] | None:
        place = self.names.index(name)
        dtype = self._types[name][0]
        orders = self._footer.get(7, ())
        is_ordered = len(orders) == len(self.names) and _BY_TYPE in orders[place]
        decoded = _decoder(dtype) if is_ordered else None
        width = 8 if self._footer[2][1 + place][1] == _INT64 else 4
        found: list[Group] = []
        for row_group in self._footer.get(4, ()):
            rows, statistics = row_group[3], row_group[1][place].get(3, {}).get(12, {})
            nulls = statistics.get(3)
            if nulls is None or (dtype.is_float() and nulls < rows):
                return None
            low, high = statistics.get(6), statistics.get(5)
            is_exact = statistics.get(7, True) and statistics.get(8, True)
            is_whole = all(bound is not None and len(bound) == width for bound in (low, high))
            if nulls == rows or decoded is None or not (is_exact and is_whole):
                found.append(Group(rows, nulls))
                continue
            try:
                found.append(Group(rows, nulls, decoded(low), decoded(high)))
            except OverflowError:  # days and times beyond the years that Python's have
                found.append(Group(rows, nulls))
        return found


def scan_parquet(files: Path | list[Path]) -> pl.LazyFrame:
    """These very files, in order: a name such as ``a[1].parquet`` is no pattern, and no part of a path is a column."""
    return pl.scan_parquet(files, hive_partitioning=False, glob=False)


def open_plain(file: Path) -> PlainParquet | None:
    """The columns of `file`; None where it is out of the ordinary, or cannot be read."""
    try:
        footer = _footer(file)
        if footer is None:
            return None
        scan = scan_parquet(file)
        dtypes = scan.collect_schema()
        elements = footer[2][1:]
        is_flat = all(5 not in element and element.get(3) != _REPEATED for element in elements)
        names = [element[4].decode() for element in elements]
        if not is_flat or names != dtypes.names():
            return None
        types = {
            name: (dtype, of)
            for element, (name, dtype) in zip(elements, dtypes.items(), strict=True)
            if (of := _type_of(dtype)) is not None and _is_stored_so(element, dtype)
        }
        return PlainParquet(file, footer, types, scan) if len(types) == len(names) else None
    except (pl.exceptions.PolarsError, pl.exceptions.PanicException, *_BROKEN):
        return None


_BROKEN = (OSError, ValueError, LookupError, TypeError, AttributeError, RecursionError)
"""What a footer that is none raises on the way; `parquet_columns` then says what is wrong with the file."""


def _footer(file: Path) -> dict[int, Any] | None:
    with file.open("rb") as opened:
        opened.seek(-8, 2)
        tail = opened.read(8)
        size = int.from_bytes(tail[:4], "little")
        if tail[4:] != _MAGIC or size > _MOST_BYTES:
            return None
        opened.seek(-8 - size, 2)
        return read_struct(opened.read(size))


def _type_of(dtype: pl.DataType) -> ColumnType | None:
    if not isinstance(dtype, pl.Datetime):
        return _TYPES.get(dtype)
    zone = dtype.time_zone
    if zone is None:
        return ColumnType("timestamp", f"timestamp[{dtype.time_unit}]")
    return None if zone[0] in "+-" else ColumnType("timestamp", f"timestamp[{dtype.time_unit}, tz={zone}]", zone)


def _is_stored_so(element: Mapping[int, Any], dtype: pl.DataType) -> bool:
    """Whether a column of that element is what Polars makes of it: a writer's own schema may make another type.

    Times without a LogicalType are of older writers: those of Arrow are in UTC, of Polars in no zone.
    """
    told: Mapping[int, Any] = element.get(10, {})
    if isinstance(dtype, pl.Datetime):
        unit = next(iter(told.get(_LOGICAL["timestamp"], {}).get(2, {})), 0)
        return element.get(1) == _INT64 and _UNITS.get(unit) == dtype.time_unit
    if dtype.is_integer():
        # Of LogicalTypes that Polars passes over, UNKNOWN is Arrow's null.
        is_number = told.keys() <= {_LOGICAL["integer"]}
        return is_number and element.get(1) == (_INT64 if dtype in (pl.Int64, pl.UInt64) else _INT32)
    if dtype == pl.Date:
        return element.get(1) == _INT32 and (_LOGICAL["date"] in told or element.get(6) == _OLD_DATE)
    if dtype == pl.String:
        return element.get(1) == _BYTES and (_LOGICAL["text"] in told or element.get(6) == _OLD_TEXT)
    return not told and element.get(1) == {pl.Float32: _FLOAT, pl.Float64: _DOUBLE, pl.Boolean: _BOOLEAN}[type(dtype)]


def _decoder(dtype: pl.DataType) -> Callable[[bytes], Any] | None:
    """From a bound in a footer to its Python value; None where it is not certain."""
    if dtype.is_integer():
        is_signed = dtype.is_signed_integer()
        return lambda data: int.from_bytes(data, "little", signed=is_signed)
    if dtype == pl.Date:
        return lambda data: date(1970, 1, 1) + timedelta(days=int.from_bytes(data, "little", signed=True))
    if not isinstance(dtype, pl.Datetime) or dtype.time_unit == "ns":
        return None
    epoch = datetime(1970, 1, 1, tzinfo=UTC)
    epoch = epoch if dtype.time_zone is not None else epoch.replace(tzinfo=None)
    step = 1 if dtype.time_unit == "us" else 1000
    return lambda data: epoch + timedelta(microseconds=step * int.from_bytes(data, "little", signed=True))
