"""Some of the keys of a view: the same ones for the same seed, wherever and in whatever order they lie."""

from __future__ import annotations

import heapq
import struct
from collections.abc import Iterator, Sequence
from datetime import datetime
from hashlib import blake2b
from typing import Any

import polars as pl
import pyarrow as pa

from millrace.features.columns import ARROW_TYPES
from millrace.features.field import ValueKind
from millrace.features.keys import key_arrays
from millrace.features.online.layout import damaged
from millrace.features.online.port import OnlineStore, ScannableStore
from millrace.features.scan import Read, open_scan
from millrace.features.view import FeatureView

_HASH = "(hash)"
_INT = struct.Struct(">q")
_LENGTH = struct.Struct(">I")


def keys_of_log(read: Read, view: FeatureView, count: int, *, seed: int, end: datetime | None = None) -> pa.Table:
    """At most `count` of the different keys in the log of a view, drawn evenly; memory is bounded by `count`.

    Parameters
    ----------
    end : datetime, optional
        Only keys with an event before it.

    Returns
    -------
    pyarrow.Table
        The key columns, no nulls; without columns and with one row for a view without keys.

    Raises
    ------
    DataError
        FEAT-05 a key column is missing, FEAT-07 one is of the wrong kind.
    """
    if not view.keys:
        return keyless()
    chosen: pl.DataFrame | None = None
    scan = open_scan(read, view.source, view.keys, None, end)
    for piece in scan.pieces():
        found: Any = pl.from_arrow(pa.table(key_arrays(piece, view.keys, expected=None), names=list(view.keys)))
        found = found.drop_nulls().unique()
        found = found.with_columns(found.hash_rows(seed=seed).alias(_HASH))
        # The least hashes of the least hashes are the least hashes of all.
        both = found if chosen is None else pl.concat([chosen, found], how="vertical_relaxed").unique()
        chosen = both.bottom_k(min(count, both.height), by=_HASH)
    if chosen is None:
        empty = key_arrays(scan.schema.empty_table(), view.keys, expected=None)
        return pa.table(empty, names=list(view.keys))
    return _plain(chosen.sort(_HASH).drop(_HASH).to_arrow())


def keys_of_store(online: OnlineStore, view: FeatureView, count: int, *, seed: int) -> list[dict[str, Any]]:
    """At most `count` of the keys an online store holds of a view; none when the store cannot list them.

    Raises
    ------
    StoreError
        FEAT-22 when a key is not whole.
    """
    if not view.keys or not isinstance(online, ScannableStore):
        return []
    salt = seed.to_bytes(8, "big", signed=True)
    packed = heapq.nsmallest(
        count,
        ((blake2b(key, digest_size=8, key=salt).digest(), key) for key, _ in online.items(view.storage_id())),
    )
    return [dict(zip(view.keys, unpack_key(key, len(view.keys)), strict=True)) for _, key in dict.fromkeys(packed)]


def mix(log: pa.Table, held: Sequence[dict[str, Any]], count: int, kinds: Sequence[ValueKind] | None) -> pa.Table:
    """Keys of both, each once, at most `count`, taken in turn."""
    names = log.column_names
    if not held:
        return log  # which has no more than `count`
    rows = list(dict.fromkeys(_in_turn(_tuples(log), [tuple(one[name] for name in names) for one in held])))[:count]
    types = [log.schema.field(name).type for name in names]
    if kinds is not None:
        types = [ARROW_TYPES[kind] if kind != "null" else own for kind, own in zip(kinds, types, strict=True)]
    columns = zip(*rows, strict=True)
    return pa.table([pa.array(values, kind) for values, kind in zip(columns, types, strict=True)], names=names)


def keyless() -> pa.Table:
    """The one key of a view without keys: a row without columns."""
    return pa.table({"": pa.nulls(1)}).select([])


def unpack_key(data: bytes, parts: int) -> list[Any]:
    """The values of a packed key; inverse of `keys.key_packer`. Raises StoreError FEAT-22 for other bytes."""
    values: list[Any] = []
    place = 0
    try:
        for _ in range(parts):
            kind, place = data[place : place + 1], place + 1
            if kind == b"i":
                values.append(_INT.unpack_from(data, place)[0])
                place += 8
            elif kind == b"b":
                values.append(data[place] == 1)
                place += 1
            elif kind == b"s":
                (length,) = _LENGTH.unpack_from(data, place)
                values.append(data[place + 4 : place + 4 + length].decode())
                place += 4 + length
            else:
                raise damaged()
    except (struct.error, IndexError, UnicodeDecodeError) as error:
        raise damaged() from error
    if place != len(data):
        raise damaged()
    return values


def _tuples(table: pa.Table) -> list[tuple[Any, ...]]:
    return list(zip(*(table[name].to_pylist() for name in table.column_names), strict=True))


def _in_turn(one: Sequence[Any], other: Sequence[Any]) -> Iterator[Any]:
    for place in range(max(len(one), len(other))):
        yield from one[place : place + 1]
        yield from other[place : place + 1]


def _plain(table: pa.Table) -> pa.Table:
    """Columns of the types that a feature store keeps, not of those that an engine prefers."""
    return pa.table([_as_kept(table[name]) for name in table.column_names], names=table.column_names)


def _as_kept(column: pa.ChunkedArray) -> pa.ChunkedArray:
    is_text = pa.types.is_large_string(column.type) or pa.types.is_string_view(column.type)
    return column.cast(pa.string()) if is_text else column


def rows_of(table: pa.Table, keys: Sequence[str]) -> list[dict[str, Any]]:
    """The keys of each row as a mapping."""
    found: list[dict[str, Any]] = table.select(keys).to_pylist() if keys else [{} for _ in range(table.num_rows)]
    return found
