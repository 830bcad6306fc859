"""Five kinds of value and arrays of each, and how the many types of Arrow become them.

    int     64-bit signed, exact          float   64-bit; NaN is null
    bool    string                        time    microseconds UTC; a naive time is UTC
    ints    floats    bools    strings    times   arrays; an element may be null
    null    a column in which nothing has been seen yet

Everything the store keeps or answers is one of these, offline and online alike.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from millrace.core.clock import as_utc
from millrace.core.errors import DataError
from millrace.features.field import ValueKind

Ints: TypeAlias = npt.NDArray[np.int64]
Bools: TypeAlias = npt.NDArray[np.bool_]

TIME = pa.timestamp("us", tz="UTC")
_SCALARS: Mapping[ValueKind, pa.DataType] = {
    "int": pa.int64(),
    "float": pa.float64(),
    "bool": pa.bool_(),
    "string": pa.string(),
    "time": TIME,
}
ELEMENTS: Mapping[ValueKind, ValueKind] = {
    "ints": "int",
    "floats": "float",
    "bools": "bool",
    "strings": "string",
    "times": "time",
}
"""Of what each kind of array is made."""
ARRAYS: Mapping[ValueKind, ValueKind] = {element: kind for kind, element in ELEMENTS.items()}
"""The kind of an array of each kind."""
ARROW_TYPES: Mapping[ValueKind, pa.DataType] = {
    **_SCALARS,
    **{kind: pa.list_(_SCALARS[element]) for kind, element in ELEMENTS.items()},
    "null": pa.null(),
}


@dataclass(frozen=True, slots=True)
class Column:
    """One column in one of the kinds: an Arrow array, and the same as NumPy for arithmetic.

    `values` is int64 (bool as 0 and 1, time as microseconds) or float64, 0 where null; empty for strings, arrays and
    nulls.
    """

    kind: ValueKind
    array: pa.Array
    values: npt.NDArray[Any]
    valid: Bools


def kind_of(data_type: pa.DataType) -> ValueKind | None:
    """The kind a column of this Arrow type is kept as, or None when it cannot be."""
    types = pa.types
    if types.is_dictionary(data_type):
        return kind_of(data_type.value_type)
    if types.is_list(data_type) or types.is_large_list(data_type) or types.is_fixed_size_list(data_type):
        # Of an array in which nothing was ever seen, numbers are the likeliest; a declared type says better.
        element = kind_of(data_type.value_type)
        return "floats" if element == "null" else None if element is None else ARRAYS.get(element)
    tests: Sequence[tuple[ValueKind, bool]] = (
        ("null", types.is_null(data_type)),
        ("bool", types.is_boolean(data_type)),
        ("int", types.is_integer(data_type)),
        ("float", types.is_floating(data_type) or types.is_decimal(data_type)),
        ("time", types.is_timestamp(data_type) or types.is_date(data_type)),
        ("string", types.is_string(data_type) or types.is_large_string(data_type) or types.is_string_view(data_type)),
    )
    return next((kind for kind, holds in tests if holds), None)


def join_kinds(one: ValueKind, other: ValueKind) -> ValueKind | None:
    """The kind that holds both, or None: null gives way to anything, int to float."""
    if one == other or other == "null":
        return one
    if one == "null":
        return other
    pair = {one, other}
    return "float" if pair == {"int", "float"} else "floats" if pair == {"ints", "floats"} else None


def to_column(data: pa.ChunkedArray | pa.Array, kind: ValueKind | None = None) -> Column:
    """`data` as a `Column`, of `kind` when that is given.

    Raises
    ------
    pyarrow.ArrowInvalid, pyarrow.ArrowNotImplementedError
        When the values cannot be of that kind without loss.
    TypeError
        When a type of this sort is not kept at all.
    """
    array = _single(data)
    own = kind_of(array.type)
    if own is None:
        raise TypeError(f"type {array.type} cannot be kept in a feature store")
    kind = own if kind is None else kind
    if pa.types.is_dictionary(array.type):
        array = array.dictionary_decode()
    array = _cast(array, own, kind)
    valid = np.asarray(array.is_valid().to_numpy(zero_copy_only=False), dtype=np.bool_)
    return Column(kind, array, _numbers(array, kind), valid)


def to_table(frame: Any) -> pa.Table:
    """Rows as an Arrow table: from Arrow, pandas, polars, a list of mappings or a mapping of lists.

    Raises
    ------
    DataError
        FEAT-10 when they are none of these, the values of a column do not go together, or two columns have one name.
    """
    table = _to_table(frame)
    for name, times in Counter(table.column_names).items():
        if times > 1:
            raise DataError("FEAT-10", f"the rows have {times} columns '{name}'", fix="drop or rename all but one")
    return table


def _to_table(frame: Any) -> pa.Table:
    try:
        if isinstance(frame, pa.Table):
            return frame
        if isinstance(frame, pa.RecordBatch):
            return pa.Table.from_batches([frame])
        if hasattr(frame, "to_arrow"):  # polars
            return frame.to_arrow()
        if hasattr(frame, "iloc"):  # pandas
            return _from_pandas(frame)
        if isinstance(frame, Mapping):
            return pa.table({name: _from_python(values) for name, values in frame.items()})
        rows = list(frame)
        names = dict.fromkeys(name for row in rows for name in row)
        return pa.table({name: _from_python([row.get(name) for row in rows]) for name in names})
    except (pa.ArrowException, TypeError, AttributeError, ValueError, OverflowError) as error:
        raise DataError(
            "FEAT-10",
            f"the rows are not a table: {error}",
            fix="pass a pandas, polars or Arrow table, or a list of dictionaries with one type per column",
        ) from error


def to_times(data: pa.ChunkedArray | pa.Array, *, what: str) -> tuple[Ints, Bools]:
    """Microseconds since 1970 UTC, 0 where null, and which are not null.

    Parameters
    ----------
    data : Arrow array of timestamps, dates or ISO 8601 texts

    Raises
    ------
    DataError
        FEAT-06 when a value is not a time.
    """
    array = _single(data)
    if kind_of(array.type) == "string":
        array = pa.array([_parsed(text, row, what) for row, text in enumerate(array.to_pylist())], TIME)
    if kind_of(array.type) not in ("time", "null"):
        raise DataError(
            "FEAT-06",
            f"{what} holds {array.type}, not times",
            fix="a column of timestamps, dates or ISO 8601 texts such as 2024-05-01T12:00:00Z",
        )
    array = _cast(array, "time", "time")
    return _numbers(array, "time"), np.asarray(array.is_valid().to_numpy(zero_copy_only=False), dtype=np.bool_)


def _from_pandas(frame: Any) -> pa.Table:
    # Arrow takes zoned times by a way that pandas warns of; as times in UTC without zone they go the plain way.
    zoned = [name for name, dtype in frame.dtypes.items() if getattr(dtype, "tz", None) is not None]
    if zoned:
        frame = frame.assign(**{name: frame[name].dt.tz_convert("UTC").dt.tz_localize(None) for name in zoned})
    table = pa.Table.from_pandas(frame, preserve_index=False).replace_schema_metadata(None)
    for name in zoned:
        place = table.column_names.index(name)
        unit = table.schema.field(place).type.unit
        table = table.set_column(place, name, table[name].cast(pa.timestamp(unit, "UTC")))
    return table


def _from_python(values: Any) -> pa.Array:
    # None and NaN both mean null, as they do when rows come from pandas.
    return pa.array(values, from_pandas=True)


def _single(data: pa.ChunkedArray | pa.Array) -> pa.Array:
    if not isinstance(data, pa.ChunkedArray):
        return data
    combined = data.combine_chunks()
    if isinstance(combined, pa.ChunkedArray):
        return pa.concat_arrays(combined.chunks) if combined.num_chunks else pa.array([], data.type)
    return combined


def _cast(array: pa.Array, own: ValueKind, kind: ValueKind) -> pa.Array:
    if kind in ELEMENTS and own in ELEMENTS and pa.types.is_null(array.type.value_type):
        # Arrays without a single element are arrays of anything.
        return array.cast(pa.list_(pa.null())).cast(ARROW_TYPES[kind])
    if join_kinds(own, kind) != kind and (own, kind) != ("float", "int"):
        # Arrow would read the text "12" as a number; a value of the wrong sort is a mistake, not a number.
        raise TypeError(f"values of kind {own} are not {kind}")
    if kind in ELEMENTS and own in ELEMENTS:
        return _cast_array(array, ELEMENTS[kind])
    if own == "time":
        # Finer clocks are cut to microseconds: every store keeps those.
        zone = array.type.tz if pa.types.is_timestamp(array.type) else None
        return array.cast(pa.timestamp("us", zone), safe=False).cast(TIME)
    if own == "float":
        array = array.cast(pa.float64())
        array = pc.if_else(pc.is_nan(array), pa.scalar(None, pa.float64()), array)
    return array.cast(ARROW_TYPES[kind])


def _cast_array(array: pa.Array, element: ValueKind) -> pa.Array:
    """An array of arrays, its elements cast as any other values are."""
    array = array.cast(pa.list_(array.type.value_type))
    lengths = pc.fill_null(pc.list_value_length(array), 0).to_numpy(zero_copy_only=False)
    offsets = np.concatenate(([0], np.cumsum(lengths))).astype(np.int32)
    elements = pc.list_flatten(array)
    own = kind_of(elements.type)
    assert own is not None
    elements = _cast(elements, own, element)
    nulls = array.is_null() if array.null_count else None
    return pa.ListArray.from_arrays(pa.array(offsets), elements, mask=nulls)


def _numbers(array: pa.Array, kind: ValueKind) -> npt.NDArray[Any]:
    if kind in ("string", "null") or kind in ELEMENTS:
        return np.empty(0, dtype=np.int64)
    if kind == "bool":
        array = array.cast(pa.int8())
    dtype = np.float64 if kind == "float" else np.int64
    array = array.cast(pa.float64() if kind == "float" else pa.int64())
    if array.null_count:
        array = array.fill_null(0)
    return np.asarray(array.to_numpy(zero_copy_only=False), dtype=dtype)


def _parsed(text: str | None, row: int, what: str) -> datetime | None:
    if text is None:
        return None
    try:
        return as_utc(datetime.fromisoformat(text)).astimezone(UTC)
    except ValueError as error:
        raise DataError(
            "FEAT-06",
            f"{what} holds {text!r} in row {row}, which is not a time",
            fix="write ISO 8601, such as 2024-05-01T12:00:00Z",
        ) from error
