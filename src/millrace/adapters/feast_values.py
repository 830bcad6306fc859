"""Feast's types and values, and how each lies in a packed row.

Six types have a fixed width, texts and bytes stand as they are, and everything else (lists, sets, maps, JSON, decimals,
UUIDs) stands as the bytes of Feast's own ``Value``, so that nothing of it is lost.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from feast.protos.feast.types.Value_pb2 import Value
from feast.type_map import NULL_TIMESTAMP_INT_VALUE, feast_value_type_to_python_type, python_values_to_proto_values
from feast.value_type import ValueType

from millrace.adapters.feast_rows import Form

PACKED: Mapping[ValueType, str] = {
    ValueType.INT64: "int64",
    ValueType.INT32: "int32",
    ValueType.DOUBLE: "double",
    ValueType.FLOAT: "float",
    ValueType.BOOL: "bool",
    ValueType.UNIX_TIMESTAMP: "unix_timestamp",
    ValueType.STRING: "string",
    ValueType.BYTES: "bytes",
}
_KINDS = frozenset(PACKED.values())
_SECOND = 1_000_000


def packed_type(kind: ValueType) -> str:
    """How values of a declared type lie in a row."""
    return PACKED.get(kind, "value")


def decode(kind: str, raw: Any) -> Any:
    """A column's value, for the types that do not stand as themselves. Whole values stay Feast's ``Value``."""
    if kind == "string":
        return raw.decode()
    if kind == "bool":
        return bool(raw)
    if kind == "unix_timestamp":
        return datetime.fromtimestamp(raw, UTC)
    return Value.FromString(raw) if kind == "value" else raw


def to_python(value: Any) -> Any:
    """What `to_dict` shows for a decoded value."""
    return feast_value_type_to_python_type(value) if isinstance(value, Value) else value


def to_proto(value: Any, kind: str) -> Value:
    """A decoded value as Feast's ``Value`` of the declared type."""
    if value is None:
        return Value()
    if isinstance(value, Value):
        return value
    if isinstance(value, datetime):
        value = int(value.timestamp())
    if kind in ("double", "float"):
        value = float(value)
    if kind == "value":  # the declared type changed since the row was written
        return python_values_to_proto_values([value])[0]
    return Value(**{f"{kind}_val": value})


def form_of_values(rows: Sequence[Mapping[str, Any]], declared: Mapping[str, str]) -> Form:
    """The form that holds rows of Feast's values: what they are, or where all are null what is declared."""
    names = tuple(dict.fromkeys(name for row in rows for name in row))
    return Form(names, tuple(_type_of(name, rows, declared.get(name, "value")) for name in names))


def _type_of(name: str, rows: Sequence[Mapping[str, Any]], declared: str) -> str:
    found = {row[name].WhichOneof("val") for row in rows if name in row} - {None}
    if not found:
        return declared
    kind = str(found.pop()).removesuffix("_val")
    return kind if not found and kind in _KINDS else "value"


def raw_values(form: Form, row: Mapping[str, Any]) -> list[Any]:
    """The values of one row as a packed row of `form` takes them."""
    raw: list[Any] = []
    for name, kind in zip(form.names, form.types, strict=True):
        value = row.get(name)
        if value is None or value.WhichOneof("val") is None:
            raw.append(None)
        elif kind == "value":
            raw.append(value.SerializeToString())
        else:
            content = getattr(value, f"{kind}_val")
            if kind == "unix_timestamp" and content == NULL_TIMESTAMP_INT_VALUE:
                content = None
            raw.append(content.encode() if kind == "string" else content)
    return raw


def raw_column(array: pa.Array, kind: ValueType) -> tuple[str, Any, Any]:
    """An Arrow column as packed rows take it: its type there, which values are valid, and the values.

    What Feast would refuse for the declared type is refused with Feast's own error.
    """
    if pa.types.is_dictionary(array.type):
        array = array.dictionary_decode()
    packed, types, own = packed_type(kind), pa.types, array.type
    if packed in ("int64", "int32") and types.is_integer(own):
        return packed, *_numbers(array, pa.int64())
    if packed in ("double", "float") and (types.is_floating(own) or types.is_integer(own)):
        valid, values = _numbers(array, pa.float64())
        if packed == "float":
            values = values.astype(np.float32).astype(np.float64)
        return packed, valid & ~np.isnan(values), values
    if packed == "bool" and types.is_boolean(own):
        return packed, *_numbers(array.cast(pa.int8()), pa.int64())
    if packed == "unix_timestamp" and types.is_timestamp(own):
        valid, values = _numbers(array.cast(pa.timestamp("us", own.tz), safe=False).cast(pa.int64()), pa.int64())
        return packed, valid, np.floor_divide(values, _SECOND)
    if packed == "string" and (types.is_string(own) or types.is_large_string(own) or types.is_string_view(own)):
        return packed, _valid(array), pc.fill_null(array, "").cast(pa.large_binary()).to_pylist()
    if packed == "bytes" and (types.is_binary(own) or types.is_large_binary(own)):
        return packed, _valid(array), pc.fill_null(array, b"").to_pylist()
    protos = python_values_to_proto_values(array.to_pylist(), kind)
    valid = np.array([one.WhichOneof("val") is not None for one in protos], dtype=np.bool_)
    return "value", valid, [one.SerializeToString() for one in protos]


def _valid(array: pa.Array) -> Any:
    return np.asarray(array.is_valid().to_numpy(zero_copy_only=False), dtype=np.bool_)


def _numbers(array: pa.Array, target: pa.DataType) -> tuple[Any, Any]:
    cast = array.cast(target)
    return _valid(array), (cast.fill_null(0) if cast.null_count else cast).to_numpy(zero_copy_only=False)


def micros(moment: datetime) -> int:
    """Microseconds since 1970; a naive time is UTC."""
    aware = moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)
    since = aware - _EPOCH
    return (since.days * 86_400 + since.seconds) * _SECOND + since.microseconds


def column_micros(array: pa.Array) -> tuple[Any, Any]:
    """Microseconds of a column of times, 0 where null, and which are valid."""
    if not pa.types.is_timestamp(array.type):
        array = array.cast(pa.timestamp("us"))
    exact = array.cast(pa.timestamp("us", array.type.tz), safe=False).cast(pa.int64())
    valid, values = _numbers(exact, pa.int64())
    return values, valid


_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
