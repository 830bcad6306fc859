"""Entity keys as bytes: equal keys have equal bytes, whatever table or request they came from."""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from millrace.core.errors import DataError, nearest
from millrace.features.columns import Bools, Ints, kind_of, to_column
from millrace.features.field import ValueKind

KEY_KINDS = ("int", "string", "bool")

_pack_int = struct.Struct(">cq").pack
_pack_text_head = struct.Struct(">cI").pack


def pack_value(value: Any, column: str, expected: ValueKind | None = None) -> bytes | None:
    """The bytes of one part of a key; None for null.

    Parameters
    ----------
    expected : kind, optional
        What this part is in the store. A key of another kind would never be found, so it is refused.

    Raises
    ------
    DataError
        FEAT-07 when the value is of another kind than `expected`, or of none that a key can have.
    """
    if type(value) is int and expected in ("int", None):
        try:
            return _pack_int(b"i", value)
        except struct.error as error:
            raise _wrong_kind(value, column, expected) from error
    if isinstance(value, str) and expected in ("string", None):
        data = value.encode()
        return _pack_text_head(b"s", len(data)) + data
    return _pack_other(value, column, expected)


def _pack_other(value: Any, column: str, expected: ValueKind | None) -> bytes | None:
    if value is None or (isinstance(value, (float, np.floating)) and value != value):
        return None
    if type(value).__name__ in ("NAType", "NaTType"):  # what pandas has for null; without importing it
        return None
    if isinstance(value, (bool, np.bool_)) and expected in ("bool", None):
        return b"b\x01" if value else b"b\x00"
    is_number = isinstance(value, (int, np.integer, float, np.floating)) and not isinstance(value, bool)
    # A column of whole numbers with a hole comes from pandas as floats; its whole values are still the same keys.
    if is_number and expected in ("int", None) and type(value) is not int and float(value).is_integer():
        return pack_value(int(value), column, expected)
    raise _wrong_kind(value, column, expected)


def _wrong_kind(value: Any, column: str, expected: ValueKind | None) -> DataError:
    wanted = expected or "an integer of 64 bits, a string or a bool"
    return DataError(
        "FEAT-07",
        f"key '{column}' is {value!r} ({type(value).__name__}), not {wanted}",
        why="a key of another type is never found: every feature would come back missing",
        fix=f"pass the values of '{column}' with the type they have in the source",
    )


def key_packer(columns: Sequence[str], kinds: Sequence[ValueKind] | None) -> Callable[[Any], bytes | None]:
    """A function from a mapping that holds `columns` to the bytes of that key, None when a part is null.

    It raises DataError FEAT-05 for a missing column and FEAT-07 for a part of the wrong kind.
    """
    expected: Sequence[ValueKind | None] = kinds or [None] * len(columns)
    if not columns:
        return lambda row: b""
    if len(columns) == 1:
        column, kind = columns[0], expected[0]

        def pack_single(row: Any) -> bytes | None:
            try:
                value = row[column]
            except KeyError as error:
                raise missing_key(column, row) from error
            return pack_value(value, column, kind)

        return pack_single

    pairs = list(zip(columns, expected, strict=True))

    def pack_several(row: Any) -> bytes | None:
        parts = []
        for column, kind in pairs:
            try:
                parts.append(pack_value(row[column], column, kind))
            except KeyError as error:
                raise missing_key(column, row) from error
        return None if None in parts else b"".join(part for part in parts if part is not None)

    return pack_several


def missing_key(column: str, names: Any) -> DataError:
    """The error for a key column that is not there."""
    given = [str(name) for name in names]
    close = nearest(column, given)
    return DataError(
        "FEAT-05",
        f"the key column '{column}' is missing",
        why=f"there is {', '.join(given)}" if given else "no column is given at all",
        fix=f"'{close}' should be called '{column}'" if close else f"give '{column}'",
    )


def key_arrays(table: pa.Table, columns: Sequence[str], *, expected: Sequence[ValueKind] | None) -> list[pa.Array]:
    """The key columns of `table`, each of one of the kinds a key can have.

    Raises
    ------
    DataError
        FEAT-05 a column is missing, FEAT-07 one is of the wrong kind.
    """
    arrays = []
    for position, name in enumerate(columns):
        if name not in table.column_names:
            raise missing_key(name, table.column_names)
        wanted = expected[position] if expected else None
        arrays.append(_key_array(table[name], name, wanted))
    return arrays


def _key_array(data: pa.ChunkedArray, name: str, wanted: ValueKind | None) -> pa.Array:
    own = kind_of(data.type)
    target: ValueKind | None = "int" if own == "float" else own
    if wanted not in (None, "null") and (own == "null" or target == wanted):
        target = wanted
    is_wrong = target not in (*KEY_KINDS, "null") or (wanted not in (None, "null", target) and target != "null")
    if not is_wrong:
        try:
            return to_column(data, target).array
        except (pa.ArrowException, TypeError):
            is_wrong = True
    raise DataError(
        "FEAT-07",
        f"key column '{name}' holds {own or data.type}, not {wanted or 'integers, strings or bools'}",
        why="a key of another type is never found: every feature would come back missing",
        fix=f"cast '{name}' to the type it has in the source",
    )


def encode_keys(arrays: Sequence[pa.Array], rows: int) -> tuple[Ints, int]:
    """A number for every row's key, equal keys having equal numbers; -1 when a part is null.

    Parameters
    ----------
    arrays : key columns of equal length; none for a view without keys
    rows : int

    Returns
    -------
    codes : int64 array, shape (rows,)
    count : int
        Numbers are below this.
    """
    codes, count = np.zeros(rows, dtype=np.int64), 1
    is_null: Bools = np.zeros(rows, dtype=np.bool_)
    for array in arrays:
        if pa.types.is_null(array.type):
            is_null[:] = True
            continue
        coded = pc.dictionary_encode(array)
        part = np.asarray(coded.indices.fill_null(0).to_numpy(zero_copy_only=False), dtype=np.int64)
        is_null |= np.asarray(array.is_null().to_numpy(zero_copy_only=False), dtype=np.bool_)
        codes = codes * (len(coded.dictionary) + 1) + part
        count *= len(coded.dictionary) + 1
        if len(arrays) > 1:
            # Numbering anew after each part keeps the product of many parts within 64 bits.
            distinct, codes = np.unique(codes, return_inverse=True)
            codes, count = codes.astype(np.int64, copy=False), len(distinct)
    codes[is_null] = -1
    return codes, count


def pack_rows(arrays: Sequence[pa.Array], names: Sequence[str], rows: Ints) -> list[bytes]:
    """The key bytes of some rows, none of which has a null part."""
    if not arrays:
        return [b""] * len(rows)
    parts = [_pack_column(array.take(pa.array(rows)), name) for array, name in zip(arrays, names, strict=True)]
    return parts[0] if len(parts) == 1 else [b"".join(pieces) for pieces in zip(*parts, strict=True)]


def _pack_column(array: pa.Array, name: str) -> list[bytes]:
    """What `pack_value` gives for each value, none of which is null."""
    if pa.types.is_int64(array.type):
        whole = np.empty(len(array), dtype=[("sort", "S1"), ("value", ">i8")])
        whole["sort"], whole["value"] = b"i", array.to_numpy(zero_copy_only=False)
        packed_keys: list[bytes] = whole.view(f"V{whole.dtype.itemsize}").tolist()
        return packed_keys
    return [packed for value in array.to_pylist() if (packed := pack_value(value, name)) is not None]
