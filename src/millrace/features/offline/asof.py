"""Which events each row can see: rows and events sorted side by side, and where each row's events begin and end."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pyarrow as pa

from millrace.features.columns import Bools, Ints
from millrace.features.events import NEVER, Events
from millrace.features.offline.asked_keys import AskedKeys
from millrace.features.offline.sorting import order_by_key_and_time

_LAST = np.iinfo(np.int64).max
_MANY = 8


@dataclass(frozen=True, slots=True)
class Moments:
    """Rows that ask: their keys and times, in their own order.

    Parameters
    ----------
    keys : Arrow arrays, one per key column of the view, of the kinds the events' keys have
    at : int64, shape (n,), microseconds
    is_timed : bool, shape (n,)
        False where the time is null; such a row gets nulls.
    """

    keys: Sequence[pa.Array]
    at: Ints
    is_timed: Bools


@dataclass(frozen=True)
class Asking:
    """Rows sorted by key and time, against events sorted by key, effective time, created time and writing.

    Each array of rows has one place per asking row; `begin` and `end` bound the events of its key up to its time.
    `order` leads from the sorted events back to the written ones. One event that is never visible is put at the end
    of the sorted arrays, so that -1 ("none") can be used as an index.

    `firsts` bounds the events of each key; `created` is None where no row hides an event by it.
    """

    rows: Ints
    at: Ints
    begin: Ints
    end: Ints
    order: Ints
    effective: Ints
    created: Ints | None
    firsts: Ints

    @cached_property
    def settled(self) -> Ints:
        """Place of the first event of each row's key that was created after it asks; `end` where there is none."""
        if self.created is None:
            return self.end
        low, high = int(self.at.min()), int(self.at.max())
        # Only whether a time is after `at` counts, so that all may be drawn into the span of `at`.
        latest = _running_max(np.clip(self.created[:-1], low, high + 1) - low, self.firsts, high - low + 1)
        return search(latest, self.begin, self.end, self.at - low)

    @cached_property
    def has_hidden(self) -> Bools:
        """Which rows have an event of their key, up to their time, that was created later."""
        return self.settled < self.end

    def narrowed(self, passes: Bools) -> Asking:
        """The same rows over some of the events: those of the sorted ones that pass."""
        ranks = np.concatenate(([0], np.cumsum(passes))).astype(np.int64)
        kept = np.append(np.flatnonzero(passes), len(passes))  # the event that is never visible stays at the end
        created = None if self.created is None else self.created[kept]
        begin, end, firsts = ranks[self.begin], ranks[self.end], ranks[self.firsts]
        return Asking(self.rows, self.at, begin, end, self.order[kept[:-1]], self.effective[kept], created, firsts)


def sort_moments(moments: Moments, events: Events, as_known: bool) -> Asking:
    """`moments` and `events` side by side; events of keys that no row asks for are left out."""
    keys = AskedKeys.of(moments.keys, len(moments.at))
    own = keys.find(events.keys, events.size)
    is_kept = own >= 0
    if as_known and events.created is not None:
        is_kept &= events.created != NEVER  # nobody ever knows of these
    kept = np.flatnonzero(is_kept)
    times, known = events.effective, events.created
    if len(kept) < events.size:
        own, times = own[kept], times[kept]
        known = None if known is None else known[kept]
    order = order_by_key_and_time(own, keys.count, times, known)
    firsts = np.zeros(keys.count + 1, dtype=np.int64)
    np.cumsum(np.bincount(own, minlength=keys.count), out=firsts[1:])

    able = np.flatnonzero(moments.is_timed & (keys.codes >= 0))
    able = able[order_by_key_and_time(keys.codes[able], keys.count, moments.at[able])]
    at, code = moments.at[able], keys.codes[able]
    effective = _sorted(times, order)
    begin = firsts[code]
    end = search(effective, begin, firsts[code + 1], at)
    # A row asks at the time of its events or later: what was known by then hides from nobody.
    hides = as_known and known is not None and len(at) > 0 and bool((known > times).any())
    created = _sorted(known, order) if hides and known is not None else None
    if len(kept) < events.size:
        order = kept[order]
    return Asking(able, at, begin, end, order, effective, created, firsts)


def _sorted(values: Ints, order: Ints) -> Ints:
    """`values` in `order`, and the greatest possible value at the end."""
    result = np.empty(len(order) + 1, dtype=np.int64)
    np.take(values, order, out=result[:-1], mode="clip")
    result[-1] = _LAST
    return result


def search(effective: Ints, begin: Ints, end: Ints, at: Ints) -> Ints:
    """For each row, the first place in [begin, end) whose time is after `at`: a binary search of all rows at once.

    `effective` has one more place than there are events.
    """
    found = begin.copy()
    rows: Ints | None = None  # None: all
    low, lengths, moments = begin, end - begin, at
    while len(lengths) and (longest := int(lengths.max())) > 0:
        half = lengths >> 1
        middle = low + half
        is_visible = (effective[middle] <= moments) & (lengths > 0)
        low = np.where(is_visible, middle + 1, low)
        lengths = np.where(is_visible, lengths - half - 1, half)
        if longest > _MANY and np.count_nonzero(lengths) < len(lengths) // 2:
            # Few keys have many events: the others need not be looked at again.
            found[slice(None) if rows is None else rows] = low
            is_open = np.flatnonzero(lengths)
            rows = is_open if rows is None else rows[is_open]
            low, lengths, moments = low[is_open], lengths[is_open], moments[is_open]
    found[slice(None) if rows is None else rows] = low
    return found


def _running_max(values: Ints, firsts: Ints, greatest: int) -> Ints:
    """The greatest value so far within each group; `firsts` bounds the groups, values are in [0, greatest].

    One 0 is put at the end.
    """
    groups = np.repeat(np.arange(len(firsts) - 1), np.diff(firsts))
    if (greatest + 1) * len(firsts) >= 2**63:
        # Ranks are small, so they can be lifted where the values cannot.
        ascending = np.argsort(values, kind="stable")
        ranks = np.empty(len(values), dtype=np.int64)
        ranks[ascending] = np.arange(len(values))
        return np.append(values[ascending[_running_max(ranks, firsts, len(values))[:-1]]], 0)
    # A group's values are lifted above those of all groups before it: one pass serves all.
    lift = groups * (greatest + 1)
    return np.append(np.maximum.accumulate(lift + values) - lift, 0)


def newest_visible(asking: Asking) -> Ints:
    """Place of the newest visible event of each row, -1 for none."""
    return step_back(asking, asking.end)


def step_back(asking: Asking, before: Ints) -> Ints:
    """Place of the newest visible event before the given place of each row, -1 for none."""
    places = before - 1
    places[places < asking.begin] = -1
    if asking.created is None:
        return places
    unsettled = np.flatnonzero(places >= 0)
    while len(unsettled):
        here = places[unsettled]
        is_hidden = asking.created[here] > asking.at[unsettled]
        unsettled = unsettled[is_hidden]
        stepped = places[unsettled] - 1
        places[unsettled] = np.where(stepped < asking.begin[unsettled], -1, stepped)
        unsettled = unsettled[places[unsettled] >= 0]
    return places
