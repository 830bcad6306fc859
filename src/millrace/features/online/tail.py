"""Merging events into the packed events of a key: late, repeated and tied ones come out right.

The rules, in the order they matter:

- An event is recognised by its bytes: times and columns. Merging the same events again changes nothing. Events that
  are equal in all of these and come in one batch are as many events as they are rows.
- Events stand by effective time, then created time, then writing. Pushed events are written when they come; a batch
  read from the log knows the true order of writing and restores it.
- Events that no read from now on can need are trimmed. Reads may ask back to `late` before the newest event (or
  before now, when events lie in the future because the source has a delay); the header says since when the events
  are complete, so that a read further back is refused and never answered wrongly.
"""

from __future__ import annotations

import struct
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import groupby

import numpy as np

from millrace.core.errors import DataError
from millrace.features.columns import join_kinds
from millrace.features.events import NEVER
from millrace.features.field import ValueKind
from millrace.features.online.arrays import widen_elements
from millrace.features.online.layout import SINCE_EVER, Layout, Tail, layout_of, open_tail, pack_tail
from millrace.features.view import FeatureView

_WORD = struct.Struct("<Q")
_INT = struct.Struct("<q")
_FLOAT = struct.Struct("<d")


@dataclass(frozen=True, slots=True)
class Retention:
    """What reads of a view may need.

    Parameters
    ----------
    newest : sequence of (int or None, int)
        How many of the newest visible events, and of which: None for all, else the column that is true for them.
    window : int or None
        Longest window in microseconds.
    is_unbounded : bool
        A rule without window looks at all events: nothing is trimmed.
    late : int
        How far before the newest event a read may ask, in microseconds.
    """

    newest: tuple[tuple[int | None, int], ...]
    window: int | None
    is_unbounded: bool
    late: int


def retention_of(view: FeatureView, late: int) -> Retention:
    """What must be kept for the rules of `view`."""
    places = {name: place for place, name in enumerate(view.columns)}
    window = view.longest_window
    return Retention(
        newest=tuple((None if where is None else places[where], depth) for where, depth in view.newest_kept),
        window=None if window is None else round(window.total_seconds() * 1_000_000),
        is_unbounded=view.is_unbounded,
        late=late,
    )


def merge_tails(old: bytes | None, new: bytes, retention: Retention, now: int, *, is_replay: bool = False) -> bytes:
    """The events of `old` and `new` together, trimmed; `old` itself when `new` brings nothing.

    Parameters
    ----------
    old : bytes or None
        What the store holds for the key.
    new : bytes
        Packed events of the same key, in order.
    now : int
        Microseconds.
    is_replay : bool
        Whether `new` was read from the log, whose order is the order of writing.

    Raises
    ------
    DataError
        FEAT-10 when a column changed to a kind that does not go with the old one.
    StoreError
        FEAT-22 when `old` is not whole.
    """
    if new == old:
        return old
    batch = open_tail(new)
    if old is None:
        return _trim(batch, retention, now)
    tail = open_tail(old)
    if tail.layout is not batch.layout:
        layout = _common(tail.layout, batch.layout)
        tail, batch = _convert(tail, layout), _convert(batch, layout)
    merged = _insert(tail, batch, is_replay)
    # What the batch left out was needed by no read since then, which now holds for both together.
    since = max(tail.since, batch.since)
    if merged is None and since == tail.since:
        return old
    return _trim(replace(merged or tail, since=since), retention, now)


def _insert(tail: Tail, batch: Tail, is_replay: bool) -> Tail | None:
    """Both together, or None when `batch` brings nothing."""
    layout = tail.layout
    first = layout.times.unpack_from(batch.events)
    place = _first_not_before(tail, first)
    if place == tail.count:
        return _joined(tail, batch)
    head, rest = _split_at(tail, place)
    known = list(_rows(rest))
    merged = _merge_rows(layout, known, list(_rows(batch)), is_replay=is_replay)
    return None if merged == known else _joined(head, _from_rows(layout, merged))


def _first_not_before(tail: Tail, times: tuple[int, ...]) -> int:
    unpack, width = tail.layout.times.unpack_from, tail.layout.width
    low, high = 0, tail.count
    if high and unpack(tail.events, (high - 1) * width) < times:
        return high
    while low < high:
        middle = (low + high) // 2
        if unpack(tail.events, middle * width) < times:
            low = middle + 1
        else:
            high = middle
    return low


def _merge_rows(layout: Layout, old: list[bytes], new: list[bytes], *, is_replay: bool) -> list[bytes]:
    times = layout.times.unpack_from
    groups: dict[tuple[int, ...], tuple[list[bytes], list[bytes]]] = {}
    for key, rows in groupby(old, times):
        groups[key] = (list(rows), [])
    for key, rows in groupby(new, times):
        groups.setdefault(key, ([], []))[1].extend(rows)
    merged: list[bytes] = []
    for key in sorted(groups):
        known, come = groups[key]
        first, second = (come, known) if is_replay and come else (known, come)
        merged += first
        merged += _surplus(second, first)
    return merged


def _surplus(rows: list[bytes], present: list[bytes]) -> Iterator[bytes]:
    """`rows` without those in `present`, each as often as it is there."""
    left = Counter(present)
    for row in rows:
        if left[row] > 0:
            left[row] -= 1
        else:
            yield row


def _trim(tail: Tail, retention: Retention, now: int) -> bytes:
    layout, since = tail.layout, tail.since
    place = 0
    if not retention.is_unbounded and tail.count > 1:
        newest = layout.times.unpack_from(tail.events, (tail.count - 1) * layout.width)[0]
        safe = max(since, min(now, newest) - retention.late)
        place = _needed_from(tail, retention, safe)
        if place:
            tail, since = _split_at(tail, place)[1], safe
    return pack_tail(layout, tail.events, tail.texts, since=since)


def _needed_from(tail: Tail, retention: Retention, safe: int) -> int:
    """The place of the first event that a read at or after `safe` can need."""
    layout = tail.layout
    unpack, width = layout.times.unpack_from, layout.width
    visible = _first_after(tail, safe)
    place = min(_needed_newest(tail, visible, safe, where, depth) for where, depth in retention.newest)
    if retention.window is not None and place:
        place = min(place, _first_after(tail, safe - retention.window))
    # Ties stay together: of a group that was cut, a repeated event could not be recognised.
    while place and unpack(tail.events, (place - 1) * width) == unpack(tail.events, place * width):
        place -= 1
    return place


def _needed_newest(tail: Tail, place: int, safe: int, where: int | None, wanted: int) -> int:
    """The place from which on there are `wanted` events that are visible at `safe`."""
    layout = tail.layout
    unpack, width = layout.event.unpack_from, layout.width
    while place and wanted:
        place -= 1
        event = unpack(tail.events, place * width)
        # An event older than enough events that are visible at `safe` can never be among the newest again.
        is_visible = not layout.has_created or NEVER < event[1] <= safe
        if is_visible and (where is None or layout.is_true(event, where)):
            wanted -= 1
    return place


def _first_after(tail: Tail, moment: int) -> int:
    return _first_not_before(tail, (moment + 1,))


def _split_at(tail: Tail, place: int) -> tuple[Tail, Tail]:
    layout = tail.layout
    cut = place * layout.width
    text_cut = 0
    if layout.has_texts:
        text_cut = _text_place(tail, place)
    head = Tail(layout, place, tail.since, tail.events[:cut], tail.texts[:text_cut])
    events = _shift_texts(layout, tail.events[cut:], -text_cut)
    return head, Tail(layout, tail.count - place, tail.since, events, tail.texts[text_cut:])


def _joined(one: Tail, other: Tail) -> Tail:
    layout = one.layout
    events = one.events + _shift_texts(layout, other.events, len(one.texts))
    return Tail(layout, one.count + other.count, one.since, events, one.texts + other.texts)


def _shift_texts(layout: Layout, events: bytes, by: int) -> bytes:
    if not layout.has_texts or not by or not events:
        return events
    words = np.frombuffer(events, dtype="<i8").reshape(-1, layout.width // 8).copy()
    words[:, -1] += by
    return words.tobytes()


def _text_place(tail: Tail, place: int) -> int:
    if place >= tail.count:
        return len(tail.texts)
    (start,) = _WORD.unpack_from(tail.events, (place + 1) * tail.layout.width - 8)
    return int(start)


def _rows(tail: Tail) -> Iterator[bytes]:
    """Each event by itself, its texts behind it in place of their place."""
    width = tail.layout.width
    for place in range(tail.count):
        event = tail.events[place * width : (place + 1) * width]
        if tail.layout.has_texts:
            yield event[:-8] + tail.texts[_text_place(tail, place) : _text_place(tail, place + 1)]
        else:
            yield event


def _from_rows(layout: Layout, rows: list[bytes]) -> Tail:
    if not layout.has_texts:
        return Tail(layout, len(rows), SINCE_EVER, b"".join(rows), b"")
    fixed = layout.width - 8
    events, texts, place = [], [], 0
    for row in rows:
        events.append(row[:fixed] + _WORD.pack(place))
        texts.append(row[fixed:])
        place += len(row) - fixed
    return Tail(layout, len(rows), SINCE_EVER, b"".join(events), b"".join(texts))


def _common(one: Layout, other: Layout) -> Layout:
    kinds: list[ValueKind] = []
    for place, (mine, theirs) in enumerate(zip(one.kinds, other.kinds, strict=True)):
        kind = join_kinds(mine, theirs)
        if kind is None:
            raise DataError(
                "FEAT-10",
                f"column {place + 1} of the events of a key holds {mine}, new events bring {theirs}",
                fix="send the type the source has; if the source changed, give the view a new name and materialize it",
            )
        kinds.append(kind)
    return layout_of(tuple(kinds), one.has_created)


def _convert(tail: Tail, layout: Layout) -> Tail:
    """The same events in a wider layout: nulls take any kind, integers become floats."""
    own = tail.layout
    if own is layout:
        return tail
    rows = []
    for row in _rows(tail):
        changed = bytearray(row)
        for column, (mine, theirs) in enumerate(zip(own.kinds, layout.kinds, strict=True)):
            slot = (own.first_slot + column) * 8
            (word,) = _WORD.unpack_from(row, (own.first_word + column // 64) * 8)
            if mine == "int" and theirs == "float" and not word >> (column % 64) & 1:
                _FLOAT.pack_into(changed, slot, _INT.unpack_from(row, slot)[0])
            elif mine == "ints" and theirs == "floats" and not word >> (column % 64) & 1:
                (where,) = _WORD.unpack_from(row, slot)
                widen_elements(changed, own.width - 8 + (where & 0xFFFFFFFF))
        rows.append(bytes(changed))
    converted = _from_rows(layout, rows)
    return Tail(layout, tail.count, tail.since, converted.events, converted.texts)
