"""Rules answered over the packed events of one key: what the join does for many rows, for a single moment."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterable, Mapping, Sequence
from operator import itemgetter
from typing import Any, Protocol

import numpy as np

from millrace.core.clock import from_micros
from millrace.features.aggregate import aggregate_one
from millrace.features.aggregation import Aggregation
from millrace.features.columns import ELEMENTS, Bools, Ints
from millrace.features.events import NEVER
from millrace.features.field import ValueKind
from millrace.features.online.arrays import unpack_array
from millrace.features.online.layout import Layout, damaged

DAY = 86_400_000_000
FEW = 200
"""Up to so many events, tuples are faster than arrays."""

Convert = Callable[[bytes, int, tuple[Any, ...], int], Any]


class Window:
    """The events of one key that are visible at a moment.

    Parameters
    ----------
    data : bytes
        Packed events, whole.
    layout, count : their layout and number
    at : int
        Microseconds.
    columns : mapping of column to its place
    kinds : mapping of column to the kind in which it is answered
    delay : int
        Of the source, in microseconds.
    """

    def __init__(
        self,
        data: bytes,
        layout: Layout,
        count: int,
        at: int,
        columns: Mapping[str, int],
        kinds: Mapping[str, ValueKind],
        delay: int,
    ) -> None:
        self._data, self._layout, self._at, self._delay = data, layout, at, delay
        self._texts = layout.start + count * layout.width
        self._columns, self._kinds = columns, kinds
        self._of: _Events = _Few(layout) if count <= FEW else _Many(layout)
        self._all = self._of.visible(data, count, at)
        self._narrowed: dict[str, Any] = {}

    def answer(self, rule: Aggregation) -> Any:
        """The rule's value, None for null."""
        if rule.kind == "ratio":
            return _divide(*(self.answer(part) for part in rule.parts))
        events = self._counting(rule)
        if rule.kind == "count" and rule.column is None:
            return len(events)
        if rule.kind == "last_k":
            return [self._value(rule, event) for event in events[::-1][: rule.steps]]
        if not rule.is_point:
            return aggregate_one(rule.kind, self._values(rule, events))
        if rule.steps >= len(events):
            return None
        if rule.kind in ("last", "lag"):
            return self._value(rule, events[-1 - rule.steps])
        if rule.kind == "first":
            return self._value(rule, events[0])
        oldest, newest = int(events[0][0]), int(events[-1][0])
        if rule.kind == "lifetime_days":
            return (newest - oldest) // DAY + 1
        return (self._at - (newest if rule.kind == "days_since_last" else oldest) + self._delay) // DAY

    def _counting(self, rule: Aggregation) -> Any:
        """The events that count for a rule, the oldest first."""
        events = self._all
        if rule.where is not None:
            if rule.where not in self._narrowed:
                self._narrowed[rule.where] = self._of.true(events, self._columns[rule.where])
            events = self._narrowed[rule.where]
        if rule.window is None:
            return events
        span = round(rule.window.total_seconds() * 1_000_000)
        return self._of.after(events, self._at - span)

    def _values(self, rule: Aggregation, events: Any) -> Sequence[Any]:
        """The values of a rule's column that are not null."""
        assert rule.column is not None
        column = self._columns[rule.column]
        own = self._layout.kinds[column]
        if own == "string":
            # Equal texts have equal bytes: to be counted they need not be decoded.
            spans = self._of.spans(events, column)
            return [self._data[self._texts + begin : self._texts + end] for begin, end in spans]
        slots = self._of.slots(events, column)
        if own != "float" and rule.kind == "sum" and self._kinds.get(rule.column, own) in ("float", "null"):
            return list(map(float, slots))
        if own in ("int", "time") and rule.kind in ("min", "max") and self._kinds.get(rule.column, own) == "float":
            return list(map(float, slots))
        return slots

    def _value(self, rule: Aggregation, found: Any) -> Any:
        assert rule.column is not None
        column, layout = self._columns[rule.column], self._layout
        event = self._of.event(found)
        if layout.is_null(event, column):
            return None
        own, slot = layout.kinds[column], layout.first_slot + column
        convert = converter(own, self._kinds.get(rule.column, own))
        return event[slot] if convert is None else convert(self._data, self._texts, event, slot)


class _Events(Protocol):
    """One way to hold the events of a key; `events[n][0]` is the effective time of the n-th."""

    def visible(self, data: bytes, count: int, at: int) -> Any:
        """The events that are known at `at`."""

    def true(self, events: Any, column: int) -> Any:
        """Those of which a column is true."""

    def after(self, events: Any, moment: int) -> Any:
        """Those that are effective after `moment`."""

    def slots(self, events: Any, column: int) -> list[Any]:
        """The numbers of a column that are not null."""

    def spans(self, events: Any, column: int) -> Iterable[tuple[int, int]]:
        """Where the texts of a column that are not null begin and end among all texts."""

    def event(self, found: Any) -> tuple[Any, ...]:
        """One event as its fields."""


class _Few:
    """As tuples."""

    def __init__(self, layout: Layout) -> None:
        self._layout = layout

    def visible(self, data: bytes, count: int, at: int) -> list[tuple[Any, ...]]:
        layout = self._layout
        events = layout.event.iter_unpack(data[layout.start : layout.start + count * layout.width])
        if layout.has_created:
            return [event for event in events if event[0] <= at and NEVER < event[1] <= at]
        return [event for event in events if event[0] <= at]

    def true(self, events: list[tuple[Any, ...]], column: int) -> list[tuple[Any, ...]]:
        is_true = self._layout.is_true
        return [event for event in events if is_true(event, column)]

    def after(self, events: list[tuple[Any, ...]], moment: int) -> list[tuple[Any, ...]]:
        begin = bisect_right(events, moment, key=_TIME)
        return events[begin:] if begin else events

    def slots(self, events: list[tuple[Any, ...]], column: int) -> list[Any]:
        layout = self._layout
        word, bit, slot = layout.first_word + column // 64, 1 << column % 64, layout.first_slot + column
        return [event[slot] for event in events if not event[word] & bit]

    def spans(self, events: list[tuple[Any, ...]], column: int) -> Iterable[tuple[int, int]]:
        layout = self._layout
        word, bit, slot = layout.first_word + column // 64, 1 << column % 64, layout.first_slot + column
        return [_span(event[slot], event[-1]) for event in events if not event[word] & bit]

    def event(self, found: Any) -> tuple[Any, ...]:
        fields: tuple[Any, ...] = found
        return fields


class _Many:
    """As an array of words of 8 bytes, one row per event."""

    def __init__(self, layout: Layout) -> None:
        self._layout = layout

    def visible(self, data: bytes, count: int, at: int) -> Ints:
        layout = self._layout
        words = np.frombuffer(data, dtype="<i8", count=count * layout.width // 8, offset=layout.start)
        every: Ints = words.reshape(count, -1)
        events: Ints = every[: int(np.searchsorted(every[:, 0], at, side="right"))]
        if layout.has_created:
            is_known = (events[:, 1] <= at) & (events[:, 1] != NEVER)
            events = events[is_known]
        return events

    def true(self, events: Ints, column: int) -> Ints:
        is_true = self._is_there(events, column) & (events[:, self._layout.first_slot + column] != 0)
        counting: Ints = events[is_true]
        return counting

    def after(self, events: Ints, moment: int) -> Ints:
        later: Ints = events[int(np.searchsorted(events[:, 0], moment, side="right")) :]
        return later

    def slots(self, events: Ints, column: int) -> list[Any]:
        slots = np.ascontiguousarray(events[self._is_there(events, column), self._layout.first_slot + column])
        found: list[Any] = (slots.view(np.float64) if self._layout.kinds[column] == "float" else slots).tolist()
        return found

    def spans(self, events: Ints, column: int) -> Iterable[tuple[int, int]]:
        there = events[self._is_there(events, column)]
        begins, ends = _span(there[:, self._layout.first_slot + column], there[:, -1])
        return zip(begins.tolist(), ends.tolist(), strict=True)

    def event(self, found: Ints) -> tuple[Any, ...]:
        return self._layout.event.unpack(found.tobytes())

    def _is_there(self, events: Ints, column: int) -> Bools:
        is_null = (events[:, self._layout.first_word + column // 64] >> (column % 64)) & 1
        is_there: Bools = is_null == 0
        return is_there


_TIME = itemgetter(0)


def converter(own: ValueKind, wanted: ValueKind) -> Convert | None:
    """How the slot of a column becomes a value; None when it is the value already."""
    if own == "string":
        return lambda data, texts, event, slot: _long(data, texts, event, slot).decode()
    if own in ELEMENTS:
        widen = float if own == "ints" and wanted == "floats" else None
        return lambda data, texts, event, slot: _array(_long(data, texts, event, slot), own, widen)
    if own == "bool":
        return lambda data, texts, event, slot: bool(event[slot])
    if own == "time":
        return lambda data, texts, event, slot: from_micros(event[slot])
    if own == "int" and wanted == "float":
        return lambda data, texts, event, slot: float(event[slot])
    return None


def _array(data: bytes, kind: ValueKind, widen: type[float] | None) -> list[Any]:
    values = unpack_array(data, kind)
    return values if widen is None else [None if value is None else widen(value) for value in values]


def _long(data: bytes, texts: int, event: tuple[Any, ...], slot: int) -> bytes:
    begin, end = _span(event[slot], texts + event[-1])
    if end > len(data):
        raise damaged()
    return data[begin:end]


def _span(slot: Any, texts: Any) -> tuple[Any, Any]:
    """Where a text begins and ends, given where the texts of its event begin."""
    begin = texts + (slot & 0xFFFFFFFF)
    return begin, begin + (slot >> 32)


def _divide(above: Any, below: Any) -> float | None:
    if above is None or not below:
        return None
    with np.errstate(invalid="ignore", over="ignore"):
        quotient = float(np.float64(above) / np.float64(below))
    return None if quotient != quotient else quotient
