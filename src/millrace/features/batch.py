"""Rows of a source, packed per key, ready to be merged into an online store.

All of it is done for all keys at once: sorting, dropping what no read can need, and laying out the bytes, so that a key
costs little more than two slices.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from millrace.features.arrays import pack_arrays
from millrace.features.columns import Bools, Ints
from millrace.features.events import NEVER, Events
from millrace.features.keys import encode_keys, pack_rows
from millrace.features.layout import LONG_KINDS, SINCE_EVER, Layout, layout_of
from millrace.features.tail import Retention
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
        return
    starts = np.concatenate(([0], np.flatnonzero(np.diff(codes[order])) + 1)).astype(np.int64)
    ends = np.append(starts[1:], len(order))
    since = np.full(len(starts), SINCE_EVER, dtype=np.int64)
    if retention is not None and not retention.is_unbounded:
        begins, since = _needed(events, view, order, starts, ends, retention, now)
        counts = ends - begins
        kept = np.repeat(begins - np.concatenate(([0], np.cumsum(counts)[:-1])), counts) + np.arange(counts.sum())
        order, ends = order[kept], np.cumsum(counts)
        starts = ends - counts
    layout = layout_of(tuple(events.columns[name].kind for name in view.columns), events.created is not None)
    words, texts, bounds = _pack(events, view, layout, order, starts)
    data, places = _values(layout, words, starts, ends, since)
    ranking = _in_order_of_bytes(events.keys, order[starts])
    keys = pack_rows(events.keys, view.keys, order[starts][ranking])
    begins, stops = places[:-1][ranking].tolist(), places[1:][ranking].tolist()
    if not layout.has_texts:
        for key, begin, end in zip(keys, begins, stops, strict=True):
            yield key, data[begin:end]
        return
    cuts = bounds[np.append(starts, len(order))]
    firsts, lasts = cuts[:-1][ranking].tolist(), cuts[1:][ranking].tolist()
    for key, begin, end, first, last in zip(keys, begins, stops, firsts, lasts, strict=True):
        yield key, data[begin:end] + texts[first:last]


def _in_order_of_bytes(keys: Sequence[pa.Array], rows: Ints) -> Ints:
    """The rows ranked by the bytes of their key, where numbers tell them; as they are elsewhere.

    A store that keeps its keys in order then goes through its pages once.
    """
    if len(keys) != 1 or not pa.types.is_int64(keys[0].type):
        return np.arange(len(rows))
    values = keys[0].take(pa.array(rows)).to_numpy(zero_copy_only=False)
    return np.argsort(values.view(np.uint64), kind="stable")


def _needed(
    events: Events, view: FeatureView, order: Ints, starts: Ints, ends: Ints, retention: Retention, now: int
) -> tuple[Ints, Ints]:
    """For each key the place of its first event that a read can need, and since when its events are complete.

    `tail._trim` for all keys at once.
    """
    effective = events.effective[order]
    counts = ends - starts
    safe = np.minimum(effective[ends - 1], now) - retention.late
    safe_of_each = np.repeat(safe, counts)
    ranks = np.concatenate(([0], np.cumsum(effective <= safe_of_each))).astype(np.int64)
    visible = starts + ranks[ends] - ranks[starts]
    is_known = np.arange(len(order)) < np.repeat(visible, counts)
    if events.created is not None:
        created = events.created[order]
        is_known &= (created <= safe_of_each) & (created != NEVER)
    begins = visible.copy()
    for where, depth in retention.newest:
        counted = is_known if where is None else is_known & _is_true(events, view.columns[where], order)
        begins = np.minimum(begins, _nth_from_the_end(counted, starts, ends, depth))
    if retention.window is not None:
        ranks = np.concatenate(([0], np.cumsum(effective <= safe_of_each - retention.window))).astype(np.int64)
        begins = np.minimum(begins, starts + ranks[ends] - ranks[starts])
    # Ties stay together: of a group that was cut, a repeated event could not be recognised.
    is_tied = np.concatenate(([False], effective[1:] == effective[:-1]))
    if events.created is not None:
        is_tied[1:] &= created[1:] == created[:-1]
    is_tied[starts] = False
    firsts = np.maximum.accumulate(np.where(is_tied, 0, np.arange(len(order))))
    begins = np.where(begins < ends, firsts[np.minimum(begins, ends - 1)], begins)
    return begins, np.where(begins > starts, safe, SINCE_EVER)


def _is_true(events: Events, name: str, order: Ints) -> Bools:
    column = events.columns[name]
    if column.kind != "bool":
        return np.zeros(len(order), dtype=np.bool_)
    is_true: Bools = (column.values[order] != 0) & column.valid[order]
    return is_true


def _nth_from_the_end(counted: Bools, starts: Ints, ends: Ints, depth: int) -> Ints:
    """For each group the place of its `depth`-th counted event from the end; its start when there are not so many."""
    ranks = np.concatenate(([0], np.cumsum(counted))).astype(np.int64)
    places = np.append(np.flatnonzero(counted), 0)
    wanted = ranks[ends] - depth
    return np.where(wanted >= ranks[starts], places[np.clip(wanted, 0, len(places) - 1)], starts)


def _values(layout: Layout, words: Ints, starts: Ints, ends: Ints, since: Ints) -> tuple[bytes, Ints]:
    """Header and events of all keys in one piece, and the places at which each key's begin, and the end."""
    counts = ends - starts
    header = layout.header(0, SINCE_EVER)
    head, width = len(header) // 8, layout.width // 8
    places = np.concatenate(([0], np.cumsum(head + counts * width))).astype(np.int64)
    whole = np.empty(places[-1], dtype="<i8")
    heads = np.tile(np.frombuffer(header, dtype="<i8"), (len(starts), 1))
    heads[:, 0] |= counts << 32
    heads[:, 1] = since
    whole[places[:-1, None] + np.arange(head)] = heads
    is_event = np.ones(len(whole), dtype=np.bool_)
    is_event[(places[:-1, None] + np.arange(head)).ravel()] = False
    whole[is_event] = words.ravel()
    return whole.tobytes(), places * 8


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
