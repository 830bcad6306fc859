"""The as-of join: for every row, what was true at its time. No row is dropped, doubled or moved."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from millrace.features.aggregate import aggregate, chunks, expand, result_kind
from millrace.features.aggregation import Aggregation
from millrace.features.asof import Asking, Moments, newest_visible, search, sort_moments, step_back
from millrace.features.columns import ARROW_TYPES, Bools, Column, Ints
from millrace.features.events import Events, to_micros
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
    rows = len(moments.at)
    asking = sort_moments(moments, events, as_known)
    newest = newest_visible(asking)
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


def _pick(column: Column, asking: Asking, newest: Ints, steps: int, has_answer: Bools, rows: int) -> pa.Array:
    places = newest
    for _ in range(steps):
        # A row that has run out of events stays at -1: `begin` of any row is above it.
        places = step_back(asking, np.maximum(places, asking.begin))
    found = has_answer & (places >= 0)
    indices = np.full(rows, -1, dtype=np.int64)
    indices[asking.rows[found]] = asking.order[places[found]]
    return column.array.take(pa.array(indices, mask=indices < 0))


def _windowed(rule: Aggregation, column: Column | None, asking: Asking) -> tuple[npt.NDArray[Any], Bools]:
    begin = asking.begin
    if rule.window is not None:
        span = round(rule.window.total_seconds() * 1_000_000)
        begin = search(asking.effective, asking.begin, asking.end, asking.at - span)
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
