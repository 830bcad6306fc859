"""Rows of a source, packed per key, ready to be merged into an online store.

All of it is done for all keys at once: sorting, dropping what no read can need, and laying out the bytes, so that a key
costs little more than two slices.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from millrace.features.columns import Bools, Ints
from millrace.features.events import Events
from millrace.features.keys import encode_keys, pack_rows
from millrace.features.online.arrays import pack_arrays
from millrace.features.online.layout import LONG_KINDS, SINCE_EVER, Layout, layout_of
from millrace.features.online.tail import Retention
from millrace.features.online.tail_arrays import Groups, cut, keep, lay_out, needed
from millrace.features.view import FeatureView


def pack_events(
    events: Events, view: FeatureView, *, retention: Retention | None = None, now: int = 0
) -> Iterator[tuple[bytes, bytes]]:
    """Pairs of key and packed events, each key once. Events with a null in their key are left out.

    Parameters
    ----------
    retention, now : Retention and microseconds
        Leave out what no read can need, as `merge_tails` would of what it merges. None: keep all.
    """
    codes, _ = encode_keys(events.keys, events.size)
    keyed = np.flatnonzero(codes >= 0)
    by_created = [] if events.created is None else [events.created[keyed]]
    order = keyed[np.lexsort([*by_created, events.effective[keyed], codes[keyed]])]
    if not len(order):
        return iter(())
    starts = np.concatenate(([0], np.flatnonzero(np.diff(codes[order])) + 1)).astype(np.int64)
    ends = np.append(starts[1:], len(order))
    since = np.full(len(starts), SINCE_EVER, dtype=np.int64)
    if retention is not None and not retention.is_unbounded:
        created = None if events.created is None else events.created[order]
        begins, since = needed(
            events.effective[order],
            created,
            lambda where: _is_true(events, view.columns[where], order),
            Groups(starts, ends, since),
            retention,
            now,
        )
        kept, starts, ends = keep(begins, ends)
        order = order[kept]
    layout = layout_of(tuple(events.columns[name].kind for name in view.columns), events.created is not None)
    words, texts, bounds = _pack(events, view, layout, order, starts)
    data, places = lay_out(layout, words, Groups(starts, ends, since))
    ranking = _in_order_of_bytes(events.keys, order[starts])
    keys = pack_rows(events.keys, view.keys, order[starts][ranking])
    values = cut(data, places[:-1][ranking], places[1:][ranking])
    if layout.has_texts:
        cuts = bounds[np.append(starts, len(order))]
        own = cut(texts, cuts[:-1][ranking], cuts[1:][ranking])
        values = [value + text for value, text in zip(values, own, strict=True)]
    return zip(keys, values, strict=True)


def _in_order_of_bytes(keys: Sequence[pa.Array], rows: Ints) -> Ints:
    """The rows ranked by the bytes of their key, where numbers tell them; as they are elsewhere.

    A store that keeps its keys in order then goes through its pages once.
    """
    if len(keys) != 1 or not pa.types.is_int64(keys[0].type):
        return np.arange(len(rows))
    values = keys[0].take(pa.array(rows)).to_numpy(zero_copy_only=False)
    return np.argsort(values.view(np.uint64), kind="stable")


def _is_true(events: Events, name: str, order: Ints) -> Bools:
    column = events.columns[name]
    if column.kind != "bool":
        return np.zeros(len(order), dtype=np.bool_)
    is_true: Bools = (column.values[order] != 0) & column.valid[order]
    return is_true


def _pack(events: Events, view: FeatureView, layout: Layout, order: Ints, starts: Ints) -> tuple[Ints, bytes, Ints]:
    """The events as words of 8 bytes, shape (n, width / 8); their texts; and where each event's texts begin."""
    words = np.zeros((len(order), layout.width // 8), dtype="<i8")
    words[:, 0] = events.effective[order]
    if events.created is not None:
        words[:, 1] = events.created[order]
    strings: list[pa.Array] = []
    offsets = np.zeros(len(order), dtype=np.int64)
    for place, name in enumerate(view.columns):
        column = events.columns[name]
        null_bits = (~column.valid[order]).astype(np.uint64) << np.uint64(place % 64)
        words[:, layout.first_word + place // 64] |= null_bits.view(np.int64)
        slot = layout.first_slot + place
        if column.kind in LONG_KINDS:
            picked = column.array.take(pa.array(order))
            if column.kind == "string":
                picked = picked.fill_null("").cast(pa.large_binary())
            else:
                picked = pack_arrays(picked, column.kind)
            lengths = pc.binary_length(picked).to_numpy(zero_copy_only=False).astype(np.int64)
            words[:, slot] = offsets | (lengths << 32)
            offsets += lengths
            strings.append(picked)
        elif column.kind != "null":
            words[:, slot] = np.ascontiguousarray(column.values[order]).view(np.int64)
    bounds = np.concatenate(([0], np.cumsum(offsets))).astype(np.int64)
    if not strings:
        return words, b"", bounds
    counts = np.diff(np.append(starts, len(order)))
    words[:, -1] = bounds[:-1] - np.repeat(bounds[starts], counts)
    joined = (
        strings[0] if len(strings) == 1 else pc.binary_join_element_wise(*strings, pa.scalar(b"", pa.large_binary()))
    )
    texts = joined.buffers()[2]
    return words, b"" if texts is None else texts.to_pybytes(), bounds
