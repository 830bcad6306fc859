"""The bytes under which an online store keeps a key of a Feast view: the same from a request, a push and a table."""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
from feast.type_map import python_values_to_proto_values
from feast.value_type import ValueType

from millrace.core.errors import DataError

NO_KEY = "__dummy_id"
"""Feast's own name for the key of a view that has none."""

_INT = struct.Struct(">cq")
_SIZE = struct.Struct(">cI")
_WHOLE = ("int64_val", "int32_val", "unix_timestamp_val")
_PLAIN: dict[ValueType, type] = {ValueType.INT64: int, ValueType.INT32: int, ValueType.STRING: str}


def pack_proto_key(key: Any) -> bytes | None:
    """The bytes of an ``EntityKey``, None when a part of it is null."""
    pairs = sorted(zip(key.join_keys, key.entity_values, strict=False), key=lambda pair: pair[0])
    parts = [pack_proto(value, name) for name, value in pairs if name != NO_KEY]
    return None if None in parts else b"".join(part for part in parts if part is not None)


def pack_proto(value: Any, name: str) -> bytes | None:
    """The bytes of one part of a key, given as Feast's ``Value``; None for null.

    Raises
    ------
    DataError
        FEAST-02 for a type that no key has.
    """
    kind = value.WhichOneof("val")
    if kind is None:
        return None
    content = getattr(value, kind)
    if kind in _WHOLE:
        return _INT.pack(b"i", content)
    if kind == "bool_val":
        return b"b\x01" if content else b"b\x00"
    if isinstance(content, str):
        return _text(content)
    if isinstance(content, bytes):
        return _SIZE.pack(b"y", len(content)) + content
    raise DataError(
        "FEAST-02",
        f"the key '{name}' is a {kind.removesuffix('_val')}",
        why="a key of that type cannot be told apart from its neighbours exactly",
        fix="keys are whole numbers, texts, bools, times or bytes",
    )


def _text(content: str) -> bytes:
    data = content.encode()
    return _SIZE.pack(b"s", len(data)) + data


def part_packer(name: str, kind: ValueType) -> Callable[[Any], bytes | None]:
    """A function from a value of a request to the bytes of that part of a key.

    Whatever Feast takes for a key of this type is taken, and refused as Feast refuses it.
    """
    plain = _PLAIN.get(kind)
    pack_int = _INT.pack

    def pack(value: Any) -> bytes | None:
        if type(value) is plain:
            try:
                return pack_int(b"i", value) if plain is int else _text(str(value))
            except struct.error:  # beyond 64 bits: no such key, and Feast's own error says so
                pass
        if value is None or value != value:
            return None
        if hasattr(value, "WhichOneof"):
            return pack_proto(value, name)
        return pack_proto(python_values_to_proto_values([value], kind)[0], name)

    return pack


def pack_columns(arrays: Sequence[pa.Array], names: Sequence[str]) -> list[bytes | None]:
    """The bytes of many keys; the arrays stand in the order of the names, which are sorted.

    Raises
    ------
    DataError
        FEAST-02 for a type that no key has.
    """
    packed = [_pack_array(array, name) for array, name in zip(arrays, names, strict=True)]
    if len(packed) == 1:
        return list(packed[0])
    return [None if None in parts else b"".join(part for part in parts if part) for parts in zip(*packed, strict=True)]


def _pack_array(array: pa.Array, name: str) -> Iterable[bytes | None]:
    kinds = pa.types
    if kinds.is_dictionary(array.type):
        array = array.dictionary_decode()
    if kinds.is_timestamp(array.type):
        seconds = array.cast(pa.timestamp("us", array.type.tz), safe=False).cast(pa.int64()).to_pylist()
        return [None if one is None else _INT.pack(b"i", one // 1_000_000) for one in seconds]
    if kinds.is_floating(array.type):
        # A column of whole numbers with a hole comes from pandas as floats.
        array = array.cast(pa.int64())
    if kinds.is_integer(array.type):
        return _pack_ints(array)
    if kinds.is_boolean(array.type):
        return [None if one is None else b"b\x01" if one else b"b\x00" for one in array.to_pylist()]
    if kinds.is_string(array.type) or kinds.is_large_string(array.type) or kinds.is_string_view(array.type):
        return [None if one is None else _text(one) for one in array.to_pylist()]
    if kinds.is_binary(array.type) or kinds.is_large_binary(array.type):
        return [None if one is None else _SIZE.pack(b"y", len(one)) + one for one in array.to_pylist()]
    raise DataError(
        "FEAST-02",
        f"the key '{name}' is a column of {array.type}",
        why="a key of that type cannot be told apart from its neighbours exactly",
        fix="keys are whole numbers, texts, bools, times or bytes",
    )


def _pack_ints(array: pa.Array) -> list[bytes | None]:
    valid = array.is_valid().to_numpy(zero_copy_only=False)
    whole = array.cast(pa.int64())
    numbers = (whole.fill_null(0) if array.null_count else whole).to_numpy(zero_copy_only=False)
    lines = np.empty((len(numbers), 9), dtype=np.uint8)
    lines[:, 0] = ord("i")
    lines[:, 1:] = numbers.astype(">i8").view(np.uint8).reshape(-1, 8)
    data = lines.tobytes()
    packed: list[bytes | None] = [data[start : start + 9] for start in range(0, len(data), 9)]
    if array.null_count:
        return [key if is_there else None for key, is_there in zip(packed, valid.tolist(), strict=True)]
    return packed
