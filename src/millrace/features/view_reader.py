"""Reading features of one view out of the packed events of one key."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal, TypeAlias

import numpy as np

from millrace.core.clock import from_micros
from millrace.features.aggregate import aggregate
from millrace.features.aggregation import Aggregation
from millrace.features.columns import Ints, ValueKind
from millrace.features.events import NEVER, to_micros
from millrace.features.layout import HAS_CREATED, HEADER, Layout, damaged, layout_for
from millrace.features.view import FeatureView

Status = Literal["present", "null", "expired", "missing", "trimmed"]
"""What stands behind a value.

present   a value
null      the answer is null: the newest event says so, or the window holds nothing
expired   the newest event is older than the view's ttl
missing   the store knows no event of this key up to that time
trimmed   the moment asked lies too far back: the events it would need are no longer in the online store
"""

Reading: TypeAlias = tuple[list[Any], Status, int | None]
"""Values, what holds for all of them, and the newest event's own time in microseconds."""

_Getter = Callable[[bytes, int, list[tuple[Any, ...]], int], Any]
_DAY = 86_400_000_000
_ZERO = np.zeros(1, dtype=np.int64)


class ViewReader:
    """The features of one view that one plan asks for.

    Parameters
    ----------
    view : FeatureView
    rules : sequence of Aggregation
        In the order of the values.
    kinds : mapping of column to kind
        The view's schema in the store: the kinds in which values are answered.
    """

    def __init__(self, view: FeatureView, rules: Sequence[Aggregation], kinds: Mapping[str, ValueKind]) -> None:
        self.rules = list(rules)
        self.nothing: list[Any] = [None] * len(self.rules)
        self._columns = {name: place for place, name in enumerate(view.columns)}
        self._kinds = dict(kinds)
        self._delay = to_micros(view)
        span = view.ttl_span
        self._ttl = None if span is None else round(span.total_seconds() * 1_000_000)
        self._depth = 1 + max((rule.steps for rule in self.rules if rule.is_point), default=0)
        self._has_windows = any(not rule.is_point for rule in self.rules)
        self._getters: dict[Layout, list[_Getter]] = {}

    def read(self, data: bytes | None, at: int) -> Reading:
        """The values at `at` (microseconds).

        Raises
        ------
        StoreError
            FEAT-22 when `data` is not whole.
        """
        if data is None:
            return self.nothing, "missing", None
        _, flags, columns, count, since = HEADER.unpack_from(data)
        try:
            layout = layout_for(data[16 : 16 + columns], flags & HAS_CREATED == HAS_CREATED)
        except KeyError as error:
            raise damaged() from error
        if at < since:
            return self.nothing, "trimmed", None
        if len(data) < layout.start + count * layout.width:
            raise damaged()
        seen = _newest(data, layout, count, at, self._depth)
        if not seen:
            return self.nothing, "missing", None
        newest = seen[0][0]
        if self._ttl is not None and at - newest > self._ttl:
            return self.nothing, "expired", newest - self._delay
        getters = self._getters.get(layout)
        if getters is None:
            getters = self._getters[layout] = [self._getter(rule, layout) for rule in self.rules]
        texts = layout.start + count * layout.width
        values = [getter(data, texts, seen, at) for getter in getters]
        if self._has_windows:
            self._fill_windows(values, data, layout, count, at)
        return values, "present", newest - self._delay

    def _getter(self, rule: Aggregation, layout: Layout) -> _Getter:
        if rule.kind == "days_since_last":
            return lambda data, texts, seen, at: (at - seen[0][0] + self._delay) // _DAY
        if not rule.is_point or rule.column is None:
            return lambda data, texts, seen, at: None
        column, steps = self._columns[rule.column], rule.steps
        word, bit = layout.first_word + column // 64, 1 << (column % 64)
        slot = layout.first_slot + column
        convert = _converter(layout.kinds[column], self._kinds.get(rule.column, layout.kinds[column]))

        def get(data: bytes, texts: int, seen: list[tuple[Any, ...]], at: int) -> Any:
            if steps >= len(seen):
                return None
            event = seen[steps]
            if event[word] & bit:
                return None
            return event[slot] if convert is None else convert(data, texts, event, slot)

        return get

    def _fill_windows(self, values: list[Any], data: bytes, layout: Layout, count: int, at: int) -> None:
        words = np.frombuffer(data, dtype="<i8", count=count * layout.width // 8, offset=layout.start)
        events = words.reshape(count, -1)
        times = np.ascontiguousarray(events[:, 0])
        end = int(np.searchsorted(times, at, side="right"))
        events, times = events[:end], times[:end]
        if layout.has_created:
            is_known = (events[:, 1] <= at) & (events[:, 1] != NEVER)
            events, times = events[is_known], times[is_known]
        for place, rule in enumerate(self.rules):
            if rule.is_point:
                continue
            begin = 0
            if rule.window is not None:
                span = round(rule.window.total_seconds() * 1_000_000)
                begin = int(np.searchsorted(times, at - span, side="right"))
            kept = self._kept(rule, events[begin:], layout)
            results, is_valid = aggregate(rule.kind, kept, _ZERO, np.array([len(kept)]))
            values[place] = results[0].item() if is_valid[0] else None

    def _kept(self, rule: Aggregation, events: Ints, layout: Layout) -> Any:
        """The values of a rule's column that are not null, contiguous; for `count()` one per event."""
        if rule.column is None:
            return events[:, 0]
        column = self._columns[rule.column]
        is_null = (events[:, layout.first_word + column // 64] >> (column % 64)) & 1
        kept = np.ascontiguousarray(events[is_null == 0, layout.first_slot + column])
        own = layout.kinds[column]
        if own == "float":
            return kept.view(np.float64)
        return kept.astype(np.float64) if self._kinds.get(rule.column, own) in ("float", "null") else kept


def _newest(data: bytes, layout: Layout, count: int, at: int, depth: int) -> list[tuple[Any, ...]]:
    """Up to `depth` visible events, the newest first."""
    unpack, width = layout.event.unpack_from, layout.width
    offset = layout.start + count * width
    seen: list[tuple[Any, ...]] = []
    while offset > layout.start:
        offset -= width
        event = unpack(data, offset)
        if event[0] > at or (layout.has_created and (event[1] > at or event[1] == NEVER)):
            continue
        seen.append(event)
        if len(seen) == depth:
            break
    return seen


def _converter(own: ValueKind, wanted: ValueKind) -> Callable[[bytes, int, tuple[Any, ...], int], Any] | None:
    """How the slot of a column becomes a value; None when it is the value already."""
    if own == "string":
        return _text
    if own == "bool":
        return lambda data, texts, event, slot: bool(event[slot])
    if own == "time":
        return lambda data, texts, event, slot: from_micros(event[slot])
    if own == "int" and wanted == "float":
        return lambda data, texts, event, slot: float(event[slot])
    return None


def _text(data: bytes, texts: int, event: tuple[Any, ...], slot: int) -> str:
    begin = texts + event[-1] + (event[slot] & 0xFFFFFFFF)
    return data[begin : begin + (event[slot] >> 32)].decode()
