"""Arrays as bytes: how a list lies in an online store.

    count of elements (4 bytes), 1 if some are null (4 bytes), [a byte per element: 1 for null]
    then the elements: 8 bytes each; strings as their lengths (4 bytes each) and their UTF-8

Equal arrays have equal bytes, by which an event is recognised.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from millrace.core.clock import from_micros
from millrace.features.columns import ELEMENTS, to_column
from millrace.features.field import ValueKind

_HEAD = struct.Struct("<II")


def pack_arrays(array: pa.ListArray, kind: ValueKind) -> pa.Array:
    """One binary value per array of `kind`; empty where null."""
    element = ELEMENTS[kind]
    lengths = array.value_lengths().fill_null(0).to_numpy(zero_copy_only=False)
    column = to_column(array.flatten(), element)
    ends = np.cumsum(lengths)
    packed: list[bytes] = []
    texts = column.array.to_pylist() if element == "string" else []
    for begin, end, is_valid in zip(
        (ends - lengths).tolist(), ends.tolist(), array.is_valid().to_pylist(), strict=True
    ):
        if not is_valid:
            packed.append(b"")
            continue
        nulls = ~column.valid[begin:end]
        has_nulls = bool(nulls.any())
        parts = [_HEAD.pack(end - begin, has_nulls), nulls.astype(np.uint8).tobytes() if has_nulls else b""]
        if element == "string":
            data = [(text or "").encode() for text in texts[begin:end]]
            parts += [np.array([len(text) for text in data], dtype="<u4").tobytes(), *data]
        else:
            parts.append(np.ascontiguousarray(column.values[begin:end]).tobytes())
        packed.append(b"".join(parts))
    return pa.array(packed, pa.large_binary())


def unpack_array(data: bytes, kind: ValueKind) -> list[Any]:
    """The elements of an array of `kind`, None for null."""
    count, has_nulls = _HEAD.unpack_from(data)
    place = _HEAD.size
    nulls: Sequence[int] = b""
    if has_nulls:
        nulls, place = data[place : place + count], place + count
    values = _strings(data, place, count) if kind == "strings" else _numbers(data, place, count, kind)
    return [None if is_null else value for value, is_null in zip(values, nulls, strict=True)] if has_nulls else values


def widen_elements(data: bytearray, place: int) -> None:
    """Turn the packed array of integers that begins at `place` into one of floats, where it lies."""
    count, has_nulls = _HEAD.unpack_from(data, place)
    begin = place + _HEAD.size + (count if has_nulls else 0)
    values = np.frombuffer(data, dtype="<i8", count=count, offset=begin)
    data[begin : begin + 8 * count] = values.astype("<f8").tobytes()


def _numbers(data: bytes, place: int, count: int, kind: ValueKind) -> list[Any]:
    values = np.frombuffer(data, dtype="<f8" if kind == "floats" else "<i8", count=count, offset=place).tolist()
    if kind == "bools":
        return [bool(value) for value in values]
    return [from_micros(value) for value in values] if kind == "times" else values


def _strings(data: bytes, place: int, count: int) -> list[Any]:
    lengths = np.frombuffer(data, dtype="<u4", count=count, offset=place).tolist()
    place += 4 * count
    values = []
    for length in lengths:
        values.append(data[place : place + length].decode())
        place += length
    return values
