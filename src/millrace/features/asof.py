"""Which events each row can see: rows and events sorted side by side, and where each row's events begin and end."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from millrace.features.columns import Bools, Ints
from millrace.features.events import NEVER, Events
from millrace.features.keys import encode_keys


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


@dataclass(frozen=True, slots=True)
class Asking:
    """Rows sorted by key and time, against events sorted by key, effective time, created time and writing.

    Each array of rows has one place per asking row; `begin` and `end` bound the events of its key up to its time.
    `order` leads from the sorted events back to the written ones. One event that is never visible is put at the end
    of the sorted arrays, so that -1 ("none") can be used as an index.
    """

    rows: Ints
    at: Ints
    begin: Ints
    end: Ints
    order: Ints
    effective: Ints
    created: Ints | None
    has_hidden: Bools


def sort_moments(moments: Moments, events: Events, as_known: bool) -> Asking:
    rows = len(moments.at)
    joined = [
        pa.concat_arrays([mine.cast(theirs.type) if pa.types.is_null(mine.type) else mine, theirs])
        if not pa.types.is_null(theirs.type)
        else pa.nulls(rows + events.size)
        for mine, theirs in zip(moments.keys, events.keys, strict=True)
    ]
    codes, count = encode_keys(joined, rows + events.size)
    asked, own = codes[:rows], codes[rows:]
    is_wanted = np.zeros(count + 1, dtype=np.bool_)  # the last place is that of -1
    is_wanted[asked] = True
    is_wanted[-1] = False
    kept = np.flatnonzero(is_wanted[own])
    by_created = [] if events.created is None else [events.created[kept]]
    order = kept[np.lexsort([*by_created, events.effective[kept], own[kept]])]
    counts = np.bincount(own[order], minlength=count)
    firsts = np.concatenate(([0], np.cumsum(counts))).astype(np.int64)

    able = np.flatnonzero(moments.is_timed & (asked >= 0))
    able = able[np.lexsort((moments.at[able], asked[able]))]
    at, code = moments.at[able], asked[able]
    effective = np.append(events.effective[order], np.iinfo(np.int64).max)
    begin = firsts[code]
    end = search(effective, begin, firsts[code + 1], at)
    created = None
    has_hidden = np.zeros(len(able), dtype=np.bool_)
    if as_known and events.created is not None:
        known = events.created[order]
        created = np.append(np.where(known == NEVER, np.iinfo(np.int64).max, known), np.iinfo(np.int64).max)
        latest = _running_max(created[:-1], own[order])
        has_hidden = (end > begin) & (latest[end - 1] > at)
    return Asking(able, at, begin, end, order, effective, created, has_hidden)


def search(effective: Ints, begin: Ints, end: Ints, at: Ints) -> Ints:
    """For each row, the first place in [begin, end) whose time is after `at`: a binary search of all rows at once."""
    low, high = begin.copy(), end.copy()
    open_rows = np.flatnonzero(low < high)
    while len(open_rows):
        middle = (low[open_rows] + high[open_rows]) // 2
        is_visible = effective[middle] <= at[open_rows]
        low[open_rows[is_visible]] = middle[is_visible] + 1
        high[open_rows[~is_visible]] = middle[~is_visible]
        open_rows = open_rows[low[open_rows] < high[open_rows]]
    return low


def _running_max(values: Ints, groups: Ints) -> Ints:
    """The greatest value so far within each group; groups are contiguous and ascend. One 0 is put at the end."""
    if not len(values):
        return np.zeros(1, dtype=np.int64)
    # Ranks are small, so a group's ranks can be lifted above those of all groups before it: one pass serves all.
    ascending = np.argsort(values, kind="stable")
    ranks = np.empty(len(values), dtype=np.int64)
    ranks[ascending] = np.arange(len(values))
    lift = groups * len(values)
    greatest = np.maximum.accumulate(lift + ranks) - lift
    return np.append(values[ascending[greatest]], 0)


def newest_visible(asking: Asking) -> Ints:
    """Place of the newest visible event of each row, -1 for none."""
    return step_back(asking, asking.end)


def step_back(asking: Asking, before: Ints) -> Ints:
    """Place of the newest visible event before the given place of each row, -1 for none."""
    places = before - 1
    places[places < asking.begin] = -1
    if asking.created is None:
        return places
    unsettled = np.flatnonzero(asking.has_hidden & (places >= 0))
    while len(unsettled):
        here = places[unsettled]
        is_hidden = asking.created[here] > asking.at[unsettled]
        unsettled = unsettled[is_hidden]
        stepped = places[unsettled] - 1
        places[unsettled] = np.where(stepped < asking.begin[unsettled], -1, stepped)
        unsettled = unsettled[places[unsettled] >= 0]
    return places
