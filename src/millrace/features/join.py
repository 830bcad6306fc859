"""The as-of join: for every row, what was true at its time. No row is dropped, doubled or moved."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from millrace.features.aggregate import aggregate, chunks, expand, result_kind
from millrace.features.aggregation import Aggregation
from millrace.features.columns import ARROW_TYPES, Bools, Column, Ints
from millrace.features.events import NEVER, Events, to_micros
from millrace.features.keys import encode_keys
from millrace.features.view import FeatureView

DAY = 86_400_000_000
_GATHER_ROWS = 4_000_000


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


def point_in_time_join(
    moments: Moments,
    events: Events,
    view: FeatureView,
    rules: Mapping[str, Aggregation],
    *,
    as_known: bool = True,
) -> dict[str, pa.Array]:
    """One array per rule, each with one value per row of `moments`, in their order.

    An event is visible at t when its effective time is at or before t and, with `as_known`, its created time too.
    Among events of one effective time the later created, then the later written is the newer.

    Parameters
    ----------
    rules : mapping of name to Aggregation
        What to answer, under which name.
    """
    rows = len(moments.at)
    asking = _sort(moments, events, as_known)
    newest = _newest(asking)
    ttl = None if view.ttl_span is None else round(view.ttl_span.total_seconds() * 1_000_000)
    has_answer = newest >= 0
    if ttl is not None:
        has_answer &= asking.at - asking.effective[newest] <= ttl
    answers: dict[str, pa.Array] = {}
    for name, rule in rules.items():
        if rule.kind == "days_since_last":
            fact = asking.effective[newest] - to_micros(view)
            answer = _scatter((asking.at - fact) // DAY, has_answer, asking.rows, rows)
        elif rule.is_point:
            answer = _pick(events.columns[rule.column or ""], asking, newest, rule.steps, has_answer, rows)
        else:
            column = None if rule.column is None else events.columns[rule.column]
            results, is_valid = _windowed(rule, column, asking)
            answer = _scatter(results, is_valid & has_answer, asking.rows, rows)
        kind = result_kind(rule.kind, "int" if rule.column is None else events.columns[rule.column].kind)
        answers[name] = answer if kind == "null" else answer.cast(ARROW_TYPES[kind])
    return answers


@dataclass(frozen=True, slots=True)
class _Asking:
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


def _sort(moments: Moments, events: Events, as_known: bool) -> _Asking:
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
    end = _search(effective, begin, firsts[code + 1], at)
    created = None
    has_hidden = np.zeros(len(able), dtype=np.bool_)
    if as_known and events.created is not None:
        known = events.created[order]
        created = np.append(np.where(known == NEVER, np.iinfo(np.int64).max, known), np.iinfo(np.int64).max)
        latest = _running_max(created[:-1], own[order])
        has_hidden = (end > begin) & (latest[end - 1] > at)
    return _Asking(able, at, begin, end, order, effective, created, has_hidden)


def _search(effective: Ints, begin: Ints, end: Ints, at: Ints) -> Ints:
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


def _newest(asking: _Asking) -> Ints:
    """Place of the newest visible event of each row, -1 for none."""
    return _step_back(asking, asking.end)


def _step_back(asking: _Asking, before: Ints) -> Ints:
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


def _pick(column: Column, asking: _Asking, newest: Ints, steps: int, has_answer: Bools, rows: int) -> pa.Array:
    places = newest
    for _ in range(steps):
        # A row that has run out of events stays at -1: `begin` of any row is above it.
        places = _step_back(asking, np.maximum(places, asking.begin))
    found = has_answer & (places >= 0)
    indices = np.full(rows, -1, dtype=np.int64)
    indices[asking.rows[found]] = asking.order[places[found]]
    return column.array.take(pa.array(indices, mask=indices < 0))


def _windowed(rule: Aggregation, column: Column | None, asking: _Asking) -> tuple[npt.NDArray[Any], Bools]:
    begin = asking.begin
    if rule.window is not None:
        span = round(rule.window.total_seconds() * 1_000_000)
        begin = _search(asking.effective, asking.begin, asking.end, asking.at - span)
    order = asking.order
    counts_all = column is None or rule.kind == "count"
    values = np.zeros(len(order), dtype=np.int64) if counts_all or column is None else column.values[order]
    if column is not None and column.kind == "null":
        values = np.zeros(len(order), dtype=np.float64)
    valid = np.ones(len(order), dtype=np.bool_) if column is None else column.valid[order]
    kept = values[valid]
    ranks = np.concatenate(([0], np.cumsum(valid))).astype(np.int64)
    results, is_valid = aggregate(rule.kind, kept, ranks[begin], ranks[asking.end])
    hidden = np.flatnonzero(asking.has_hidden)
    if len(hidden) and asking.created is not None:
        for part in chunks(asking.end[hidden] - begin[hidden], _GATHER_ROWS):
            some = hidden[part]
            places, bounds = expand(begin[some], asking.end[some])
            at = np.repeat(asking.at[some], np.diff(bounds))
            visible = valid[places] & (asking.created[places] <= at)
            ranks = np.concatenate(([0], np.cumsum(visible))).astype(np.int64)[bounds]
            results[some], is_valid[some] = aggregate(rule.kind, values[places[visible]], ranks[:-1], ranks[1:])
    return results, is_valid


def _scatter(results: npt.NDArray[Any], is_valid: Bools, places: Ints, rows: int) -> pa.Array:
    values = np.zeros(rows, dtype=results.dtype)
    is_null = np.ones(rows, dtype=np.bool_)
    values[places] = results
    is_null[places] = ~is_valid
    return pa.array(values, mask=is_null)
