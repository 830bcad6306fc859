"""The as-of join: for every row, what was true at its time. No row is dropped, doubled or moved."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from millrace.features.aggregate import aggregate, chunks, codes_of, divide, expand, result_kind
from millrace.features.aggregation import Aggregation
from millrace.features.columns import ARROW_TYPES, Bools, Column, Ints
from millrace.features.events import Events, to_micros
from millrace.features.offline.asof import Asking, Moments, newest_visible, search, sort_moments, step_back
from millrace.features.view import FeatureView

DAY = 86_400_000_000
_GATHER_ROWS = 4_000_000


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
    answers = _Answers(moments, events, view, as_known)
    return {name: answers.of(rule) for name, rule in rules.items()}


class _Answers:
    """The rows of one join, and the rules answered for them one after another."""

    def __init__(self, moments: Moments, events: Events, view: FeatureView, as_known: bool) -> None:
        self._rows = len(moments.at)
        self._events = events
        self._delay = to_micros(view)
        self._asking = sort_moments(moments, events, as_known)
        self._newest = newest_visible(self._asking)
        self._has_answer = self._newest >= 0
        if view.ttl_span is not None:
            ttl = round(view.ttl_span.total_seconds() * 1_000_000)
            self._has_answer &= self._asking.at - self._asking.effective[self._newest] <= ttl
        self._narrowed: dict[str, Asking] = {}

    def of(self, rule: Aggregation) -> pa.Array:
        """One value per row, in the order of the rows."""
        if rule.kind == "ratio":
            numerator, denominator = (self.of(part) for part in rule.parts)
            return divide(numerator, denominator)
        column = None if rule.column is None else self._events.columns[rule.column]
        kind = result_kind(rule.kind, "int" if column is None else column.kind)
        if rule.kind == "last_k":
            answer = self._last_k(rule, column)
        elif rule.is_point:
            answer = self._point(rule, column)
        else:
            asking, begin = self._bounds(rule)
            answer = self._scatter(*_windowed(rule, column, asking, begin))
        return answer if kind == "null" else answer.cast(ARROW_TYPES[kind])

    def _bounds(self, rule: Aggregation) -> tuple[Asking, Ints]:
        """The events that count for a rule, and where each row's window begins among them."""
        asking = self._asking
        if rule.where is not None:
            if rule.where not in self._narrowed:
                self._narrowed[rule.where] = _narrow(asking, self._events.columns[rule.where])
            asking = self._narrowed[rule.where]
        if rule.window is None:
            return asking, asking.begin
        span = round(rule.window.total_seconds() * 1_000_000)
        return asking, search(asking.effective, asking.begin, asking.end, asking.at - span)

    def _point(self, rule: Aggregation, column: Column | None) -> pa.Array:
        asking, begin = self._bounds(rule)
        if rule.where is None and rule.window is None:
            newest = self._newest
        else:
            newest = _outside_is_none(newest_visible(asking), begin)
        if rule.kind in ("last", "lag") and column is not None:
            return self._pick(column, asking, _step(asking, newest, rule.steps))
        if rule.kind == "days_since_last":
            return self._scatter((asking.at - asking.effective[newest] + self._delay) // DAY, newest >= 0)
        oldest = _oldest_visible(asking, begin)
        if rule.kind == "first" and column is not None:
            return self._pick(column, asking, oldest)
        first = asking.effective[oldest]
        if rule.kind == "days_since_first":
            return self._scatter((asking.at - first + self._delay) // DAY, oldest >= 0)
        return self._scatter((asking.effective[newest] - first) // DAY + 1, oldest >= 0)

    def _pick(self, column: Column, asking: Asking, places: Ints) -> pa.Array:
        found = self._has_answer & (places >= 0)
        indices = np.full(self._rows, -1, dtype=np.int64)
        indices[asking.rows[found]] = asking.order[places[found]]
        return column.array.take(pa.array(indices, mask=indices < 0))

    def _last_k(self, rule: Aggregation, column: Column | None) -> pa.Array:
        assert column is not None
        asking, begin = self._bounds(rule)
        places, counts = _newest_places(asking, begin, rule.steps)
        ends = np.cumsum(counts)
        # From the order of asking to the order of the rows, where rows that never asked are null.
        starts, stops = np.zeros(self._rows, dtype=np.int64), np.zeros(self._rows, dtype=np.int64)
        starts[asking.rows], stops[asking.rows] = ends - counts, ends
        is_null = np.ones(self._rows, dtype=np.bool_)
        is_null[asking.rows] = ~self._has_answer
        stops[is_null] = starts[is_null]
        chosen, bounds = expand(starts, stops)
        values = column.array.take(pa.array(asking.order[places[chosen]]))
        return pa.ListArray.from_arrays(pa.array(bounds.astype(np.int32)), values, mask=pa.array(is_null))

    def _scatter(self, results: npt.NDArray[Any], is_valid: Bools) -> pa.Array:
        values = np.zeros(self._rows, dtype=results.dtype)
        is_null = np.ones(self._rows, dtype=np.bool_)
        values[self._asking.rows] = results
        is_null[self._asking.rows] = ~(is_valid & self._has_answer)
        return pa.array(values, mask=is_null)


def _narrow(asking: Asking, condition: Column) -> Asking:
    """The same rows over those events alone for which the condition is true."""
    if condition.kind != "bool":
        return asking.narrowed(np.zeros(len(asking.order), dtype=np.bool_))
    return asking.narrowed((condition.values[asking.order] != 0) & condition.valid[asking.order])


def _outside_is_none(places: Ints, begin: Ints) -> Ints:
    places[places < begin] = -1
    return places


def _step(asking: Asking, places: Ints, steps: int) -> Ints:
    for _ in range(steps):
        # A row that has run out of events stays at -1: `begin` of any row is above it.
        places = step_back(asking, np.maximum(places, asking.begin))
    return places


def _oldest_visible(asking: Asking, begin: Ints) -> Ints:
    """Place of the oldest visible event at or after `begin` of each row, -1 for none."""
    places = np.where(begin < asking.end, begin, -1)
    if asking.created is None:
        return places
    unsettled = np.flatnonzero(asking.has_hidden & (places >= 0))
    while len(unsettled):
        is_hidden = asking.created[places[unsettled]] > asking.at[unsettled]
        unsettled = unsettled[is_hidden]
        stepped = places[unsettled] + 1
        places[unsettled] = np.where(stepped < asking.end[unsettled], stepped, -1)
        unsettled = unsettled[places[unsettled] >= 0]
    return places


def _newest_places(asking: Asking, begin: Ints, most: int) -> tuple[Ints, Ints]:
    """Places of each row's newest visible events, the newest first, one row's after another's; and how many."""
    counts = np.minimum(asking.end - begin, most)
    hidden = np.flatnonzero(asking.has_hidden) if asking.created is not None else np.empty(0, dtype=np.int64)
    seen: dict[int, Ints] = {}
    for row in hidden.tolist():
        own = np.arange(begin[row], asking.end[row])
        assert asking.created is not None
        seen[row] = own[asking.created[own] <= asking.at[row]][::-1][:most]
        counts[row] = len(seen[row])
    ascending, bounds = expand(asking.end - counts, asking.end)
    # Within each row, the last place comes first.
    places = np.repeat(2 * asking.end - counts - 1, counts) - ascending
    for row, own in seen.items():
        places[bounds[row] : bounds[row + 1]] = own
    return places, counts


def _windowed(rule: Aggregation, column: Column | None, asking: Asking, begin: Ints) -> tuple[npt.NDArray[Any], Bools]:
    order = asking.order
    values, valid = np.zeros(len(order), dtype=np.int64), np.ones(len(order), dtype=np.bool_)
    if column is not None:
        valid = column.valid[order]
    if column is not None and rule.kind == "count_distinct":
        values = codes_of(column)[order]
    elif column is not None and rule.kind != "count":
        values = np.zeros(len(order), dtype=np.float64) if column.kind == "null" else column.values[order]
    kept = values[valid]
    ranks = np.concatenate(([0], np.cumsum(valid))).astype(np.int64)
    # Up to the first event that a row may not see, it sees all; only what comes after must be looked at one by one.
    merge = _merge_of(rule.kind, kept)
    middle = asking.end if merge is None else np.maximum(asking.settled, begin)
    results, is_valid = aggregate(rule.kind, kept, ranks[begin], ranks[middle])
    first = begin if merge is None else middle
    hidden = np.flatnonzero(asking.has_hidden)
    if len(hidden) and asking.created is not None:
        for part in chunks(asking.end[hidden] - first[hidden], _GATHER_ROWS):
            some = hidden[part]
            places, bounds = expand(first[some], asking.end[some])
            at = np.repeat(asking.at[some], np.diff(bounds))
            visible = valid[places] & (asking.created[places] <= at)
            ranks = np.concatenate(([0], np.cumsum(visible))).astype(np.int64)[bounds]
            own, has_own = aggregate(rule.kind, values[places[visible]], ranks[:-1], ranks[1:])
            if merge is not None:
                before, has_before = results[some], is_valid[some]
                own = np.where(has_own & has_before, merge(before, own), np.where(has_own, own, before))
                has_own = has_own | has_before
            results[some], is_valid[some] = own, has_own
    return results, is_valid


def _merge_of(kind: str, values: npt.NDArray[Any]) -> np.ufunc | None:
    """How the results of two parts of a window are one; None where they do not tell, to the last bit."""
    if kind == "sum" and values.dtype == np.int64 and np.abs(values.astype(np.float64)).sum() < 2.0**62:
        return np.add
    return {"count": np.add, "min": np.minimum, "max": np.maximum}.get(kind)
