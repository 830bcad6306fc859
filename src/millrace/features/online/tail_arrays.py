"""What `tail` does to the events of one key, done to those of many keys at once.

The events of all keys lie in one array, a key's together, oldest first.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from millrace.features.columns import Bools, Ints
from millrace.features.events import NEVER
from millrace.features.online.layout import SINCE_EVER, Layout
from millrace.features.online.tail import Retention


class Groups(NamedTuple):
    """Where each key's events start and end, and since when (microseconds) they are complete: (k,) each."""

    starts: Ints
    ends: Ints
    since: Ints


def needed(
    effective: Ints,
    created: Ints | None,
    is_true: Callable[[int], Bools],
    groups: Groups,
    retention: Retention,
    now: int,
) -> tuple[Ints, Ints]:
    """For each key the place of its first event that a read can need, and since when its events are complete.

    `tail._trim` for all keys at once.

    Parameters
    ----------
    effective, created : (n,) microseconds; `created` is None for events without that time.
    is_true : callable
        From a column's place to whether it is true and not null, (n,).
    """
    starts, ends, since = groups
    counts = ends - starts
    safe = np.maximum(np.minimum(effective[ends - 1], now) - retention.late, since)
    safe_of_each = np.repeat(safe, counts)
    ranks = np.concatenate(([0], np.cumsum(effective <= safe_of_each))).astype(np.int64)
    visible = starts + ranks[ends] - ranks[starts]
    is_known = np.arange(len(effective)) < np.repeat(visible, counts)
    if created is not None:
        is_known &= (created <= safe_of_each) & (created != NEVER)
    begins = visible.copy()
    for where, depth in retention.newest:
        counted = is_known if where is None else is_known & is_true(where)
        begins = np.minimum(begins, _nth_from_the_end(counted, starts, ends, depth))
    if retention.window is not None:
        ranks = np.concatenate(([0], np.cumsum(effective <= safe_of_each - retention.window))).astype(np.int64)
        begins = np.minimum(begins, starts + ranks[ends] - ranks[starts])
    # Ties stay together: of a group that was cut, a repeated event could not be recognised.
    is_tied = np.concatenate(([False], effective[1:] == effective[:-1]))
    if created is not None:
        is_tied[1:] &= created[1:] == created[:-1]
    is_tied[starts] = False
    firsts = np.maximum.accumulate(np.where(is_tied, 0, np.arange(len(effective))))
    begins = np.where(begins < ends, firsts[np.minimum(begins, ends - 1)], begins)
    return begins, np.where(begins > starts, safe, since)


def _nth_from_the_end(counted: Bools, starts: Ints, ends: Ints, depth: int) -> Ints:
    """For each group the place of its `depth`-th counted event from the end; its start when there are not so many."""
    ranks = np.concatenate(([0], np.cumsum(counted))).astype(np.int64)
    places = np.append(np.flatnonzero(counted), 0)
    wanted = ranks[ends] - depth
    return np.where(wanted >= ranks[starts], places[np.clip(wanted, 0, len(places) - 1)], starts)


def keep(begins: Ints, ends: Ints) -> tuple[Ints, Ints, Ints]:
    """The places of the events from `begins` to `ends` of each key, and where each key's then start and end."""
    counts = ends - begins
    stops = np.cumsum(counts)
    starts = stops - counts
    return np.repeat(begins - starts, counts) + np.arange(counts.sum()), starts, stops


def lay_out(layout: Layout, words: Ints, groups: Groups) -> tuple[bytes, Ints]:
    """Header and events of all keys in one piece, and the places at which each key's begin, and the end.

    `words` holds the events, shape (n, layout.width / 8).
    """
    starts, ends, since = groups
    counts = ends - starts
    header = layout.header(0, SINCE_EVER)
    head, width = len(header) // 8, layout.width // 8
    places = np.concatenate(([0], np.cumsum(head + counts * width))).astype(np.int64)
    heads = np.tile(np.frombuffer(header, dtype="<i8"), (len(starts), 1))
    heads[:, 0] |= counts << 32
    heads[:, 1] = since
    if len(counts) and (counts == counts[0]).all():
        return np.concatenate((heads, words.reshape(len(starts), -1)), axis=1).tobytes(), places * 8
    whole = np.empty(places[-1], dtype="<i8")
    whole[places[:-1, None] + np.arange(head)] = heads
    is_event = np.ones(len(whole), dtype=np.bool_)
    is_event[(places[:-1, None] + np.arange(head)).ravel()] = False
    whole[is_event] = words.ravel()
    return whole.tobytes(), places * 8


def cut(data: bytes, begins: Ints, ends: Ints) -> list[bytes]:
    """The pieces of `data` from each begin to its end."""
    sizes = ends - begins
    width = int(sizes[0]) if len(sizes) else 0
    if width and (sizes == width).all() and (begins % width == 0).all() and len(data) % width == 0:
        pieces: list[bytes] = np.frombuffer(data, dtype=f"V{width}")[begins // width].tolist()
        return pieces
    return [data[begin:end] for begin, end in zip(begins.tolist(), ends.tolist(), strict=True)]
