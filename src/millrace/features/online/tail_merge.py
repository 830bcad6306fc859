"""How a store combines what it holds of a view with what comes: key by key, or many keys in a few array operations."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import compress

import numpy as np

from millrace.features.columns import Bools, Ints
from millrace.features.online.layout import Layout, open_tail
from millrace.features.online.tail import Retention, merge_tails
from millrace.features.online.tail_arrays import Groups, cut, keep, lay_out, needed

_FEW = 32  # below this many keys arrays cost more than they save


class TailMerge:
    """`merge_tails` as a store calls it.

    Parameters
    ----------
    retention : Retention
    now : int
        Microseconds.
    is_replay : bool
        Whether what comes was read from the log, whose order is the order of writing.

    Notes
    -----
    What comes was trimmed by the same `retention` and `now`, as `pack_events` does.
    """

    def __init__(self, retention: Retention, now: int, *, is_replay: bool) -> None:
        self._retention = retention
        self._now = now
        self._is_replay = is_replay

    def __call__(self, old: bytes | None, new: bytes) -> bytes:
        if old is None:
            return new
        return merge_tails(old, new, self._retention, self._now, is_replay=self._is_replay)

    def many(self, olds: Sequence[bytes | None], news: Sequence[bytes]) -> list[bytes]:
        """The same for many keys, each once, all of one view. Raises as `merge_tails` does."""
        merged = [new if old is None else old for old, new in zip(olds, news, strict=True)]
        todo = [place for place, (old, new) in enumerate(zip(merged, news, strict=True)) if old != new]
        if len(todo) >= _FEW:
            ours, theirs = [merged[place] for place in todo], [news[place] for place in todo]
            todo = self._append(todo, ours, theirs, merged)
        for place in todo:
            merged[place] = self(olds[place], news[place])
        return merged

    def _append(self, todo: list[int], olds: list[bytes], news: list[bytes], merged: list[bytes]) -> list[int]:
        """Put into `merged` what only adds newer events; return the places of what is left.

        What brings only the newest events again is done too: `merged` holds the old value.

        Texts are left: their places in the value are counted from its beginning.
        """
        layout = open_tail(news[0]).layout
        if layout.has_texts:
            return todo
        old, new = _Packed(layout, olds), _Packed(layout, news)
        is_plain = old.is_plain & new.is_plain
        is_later = is_plain.copy()
        is_later[is_plain] = _is_before(layout, old.last_times(is_plain), new.first_times(is_plain))
        is_known = is_plain & ~is_later
        is_known[is_known] = _is_ending(layout, old, new, is_known)
        left = list(compress(todo, ~(is_later | is_known)))
        if not is_later.any():
            return left
        before, after = old.events(is_later), new.events(is_later)
        counts = before.counts + after.counts
        ends = np.cumsum(counts)
        starts = ends - counts
        # Each key's old events, then its new ones.
        order = np.empty(ends[-1], dtype=np.int64)
        order[_places(starts, before.counts)] = np.arange(len(before.words))
        order[_places(starts + before.counts, after.counts)] = len(before.words) + np.arange(len(after.words))
        words = np.concatenate((before.words, after.words))[order]
        groups = Groups(starts, ends, np.maximum(before.since, after.since))
        if not self._retention.is_unbounded:
            begins, since = needed(
                words[:, 0],
                words[:, 1] if layout.has_created else None,
                lambda where: _is_true(layout, words, where),
                groups,
                self._retention,
                self._now,
            )
            kept, starts, ends = keep(begins, ends)
            words, groups = words[kept], Groups(starts, ends, since)
        data, cuts = lay_out(layout, words, groups)
        for place, value in zip(compress(todo, is_later), cut(data, cuts[:-1], cuts[1:]), strict=True):
            merged[place] = value
        return left


class _Events:
    """Events of many keys: words (n, width / 8), how many each key has, since when they are complete."""

    def __init__(self, words: Ints, counts: Ints, since: Ints) -> None:
        self.words, self.counts, self.since = words, counts, since


class _Packed:
    """Packed values as one array of words; `is_plain` where a value has this layout, is whole and has an event."""

    def __init__(self, layout: Layout, values: list[bytes]) -> None:
        sizes = np.fromiter(map(len, values), dtype=np.int64, count=len(values))
        self._layout = layout
        self._head, self._width = layout.start // 8, layout.width // 8
        is_long = (sizes >= layout.start + layout.width) & (sizes % 8 == 0)
        fitting = values if is_long.all() else list(compress(values, is_long))
        self._words = np.frombuffer(b"".join(fitting), dtype="<i8")
        ends = np.cumsum(np.where(is_long, sizes, 0)) // 8
        self._starts = ends - np.where(is_long, sizes, 0) // 8
        self.is_plain: Bools = is_long
        heads = self._words[self._starts[is_long, None] + np.arange(self._head)]
        counts = heads[:, 0] >> 32 & 0xFFFFFFFF
        expected = np.frombuffer(layout.header(0, 0), dtype="<i8")
        is_same = (heads[:, 0] & 0xFFFFFFFF) == expected[0]
        is_same &= (heads[:, 2:] == expected[2:]).all(axis=1)
        is_same &= (self._head + counts * self._width == sizes[is_long] // 8) & (counts > 0)
        self._counts = np.zeros(len(values), dtype=np.int64)
        self._counts[is_long] = counts
        self._since = np.zeros(len(values), dtype=np.int64)
        self._since[is_long] = heads[:, 1]
        self.is_plain = is_long.copy()
        self.is_plain[is_long] = is_same

    def counts(self, chosen: Bools) -> Ints:
        """How many events each has."""
        return self._counts[chosen]

    def since(self, chosen: Bools) -> Ints:
        """Since when each is complete."""
        return self._since[chosen]

    def first_times(self, chosen: Bools) -> Ints:
        """Effective time and, where events have it, created time of the first event: (k, 1 or 2)."""
        return self._times(self._starts[chosen] + self._head)

    def last_times(self, chosen: Bools) -> Ints:
        """The same of the last event."""
        return self.times_before(chosen, np.zeros(1, dtype=np.int64))

    def times_before(self, chosen: Bools, last: Ints) -> Ints:
        """The same of the event before the `last` ones."""
        return self._times(self._starts[chosen] + self._head + (self._counts[chosen] - last - 1) * self._width)

    def events(self, chosen: Bools, last: Ints | None = None) -> _Events:
        """The events of the chosen values; of each the `last` ones only."""
        counts = self._counts[chosen] if last is None else last
        places = self._starts[chosen] + self._head + (self._counts[chosen] - counts) * self._width
        words = self._words[_places(places, counts * self._width)]
        return _Events(words.reshape(-1, self._width), counts, self._since[chosen])

    def _times(self, places: Ints) -> Ints:
        times: Ints = self._words[places[:, None] + np.arange(self._layout.first_word)]
        return times


def _is_ending(layout: Layout, old: _Packed, new: _Packed, chosen: Bools) -> Bools:
    """Where the new events are, all of them, the last of the old ones, and nothing else is as new as their first."""
    counts = new.counts(chosen)
    is_shorter = (counts < old.counts(chosen)) & (new.since(chosen) <= old.since(chosen))
    found = is_shorter.copy()
    chosen = chosen.copy()
    chosen[chosen] = is_shorter
    if not chosen.any():
        return found
    counts = counts[is_shorter]
    is_equal = (old.events(chosen, counts).words == new.events(chosen).words).all(axis=1)
    is_equal = np.logical_and.reduceat(is_equal, np.cumsum(counts) - counts)
    found[is_shorter] = is_equal & _is_before(layout, old.times_before(chosen, counts), new.first_times(chosen))
    return found


def _is_before(layout: Layout, one: Ints, other: Ints) -> Bools:
    is_before: Bools = one[:, 0] < other[:, 0]
    if layout.has_created:
        is_before |= (one[:, 0] == other[:, 0]) & (one[:, 1] < other[:, 1])
    return is_before


def _is_true(layout: Layout, words: Ints, column: int) -> Bools:
    is_there = (words[:, layout.first_word + column // 64] >> (column % 64) & 1) == 0
    is_true: Bools = is_there & (words[:, layout.first_slot + column] != 0)
    return is_true


def _places(starts: Ints, counts: Ints) -> Ints:
    """The numbers from each start on, as many as its count, in one array."""
    ends = np.cumsum(counts)
    return np.repeat(starts - (ends - counts), counts) + np.arange(ends[-1] if len(ends) else 0)
