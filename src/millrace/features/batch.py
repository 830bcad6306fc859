"""Rows of a source, packed per key, ready to be merged into an online store."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from millrace.features.arrays import pack_arrays
from millrace.features.columns import Ints
from millrace.features.events import Events
from millrace.features.keys import encode_keys, pack_rows
from millrace.features.layout import LONG_KINDS, Layout, layout_of, pack_tail
from millrace.features.view import FeatureView


def pack_events(events: Events, view: FeatureView, *, is_replay: bool) -> Iterator[tuple[bytes, bytes]]:
    """Pairs of key and packed events, each key once. Events with a null in their key are left out.

    Parameters
    ----------
    is_replay : bool
        Whether the events were read from the log, whose order is the order of writing.
    """
    codes, _ = encode_keys(events.keys, events.size)
    keyed = np.flatnonzero(codes >= 0)
    by_created = [] if events.created is None else [events.created[keyed]]
    order = keyed[np.lexsort([*by_created, events.effective[keyed], codes[keyed]])]
    if not len(order):
        return
    layout = layout_of(tuple(events.columns[name].kind for name in view.columns), events.created is not None)
    starts = np.concatenate(([0], np.flatnonzero(np.diff(codes[order])) + 1)).astype(np.int64)
    words, texts, bounds = _pack(events, view, layout, order, starts)
    data, width = words.tobytes(), layout.width
    edges = [*starts.tolist(), len(order)]
    keys = pack_rows(events.keys, view.keys, order[starts])
    for key, begin, end in zip(keys, edges[:-1], edges[1:], strict=True):
        own_texts = texts[bounds[begin] : bounds[end]] if layout.has_texts else b""
        yield key, pack_tail(layout, data[begin * width : end * width], own_texts, is_replay=is_replay)


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
