"""Reading features of one view out of the packed events of one key."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal, TypeAlias

import numpy as np

from millrace.core.clock import from_micros
from millrace.features.aggregate import aggregate
from millrace.features.aggregation import Aggregation
from millrace.features.arrays import unpack_array
from millrace.features.columns import ELEMENTS, Bools, Ints
from millrace.features.events import NEVER, to_micros
from millrace.features.field import ValueKind
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
        # What the newest events say needs no look at the others.
        self._depth = 1 + max((rule.steps for rule in self.rules if _is_quick(rule)), default=0)
        self._others = [place for place, rule in enumerate(self.rules) if not _is_quick(rule)]
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
        if self._others:
            window = _Window(data, layout, count, at, self._columns, self._kinds, self._delay)
            for place in self._others:
                values[place] = window.answer(self.rules[place])
        return values, "present", newest - self._delay

    def _getter(self, rule: Aggregation, layout: Layout) -> _Getter:
        if not _is_quick(rule):
            return lambda data, texts, seen, at: None
        if rule.column is None:
            return lambda data, texts, seen, at: (at - seen[0][0] + self._delay) // _DAY
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


def _is_quick(rule: Aggregation) -> bool:
    """Whether a rule looks at a fixed number of the newest events."""
    return rule.kind in ("last", "lag", "days_since_last") and rule.window is None and rule.where is None


class _Window:
    """The visible events of one key, and rules answered over them."""

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
        words = np.frombuffer(data, dtype="<i8", count=count * layout.width // 8, offset=layout.start)
        events = words.reshape(count, -1)
        times = np.ascontiguousarray(events[:, 0])
        end = int(np.searchsorted(times, at, side="right"))
        events, times = events[:end], times[:end]
        if layout.has_created:
            is_known = (events[:, 1] <= at) & (events[:, 1] != NEVER)
            events, times = events[is_known], times[is_known]
        self._data, self._layout, self._at, self._delay = data, layout, at, delay
        self._texts = layout.start + count * layout.width
        self._columns, self._kinds = columns, kinds
        self._all = (events, times)
        self._narrowed: dict[str, tuple[Ints, Ints]] = {}

    def answer(self, rule: Aggregation) -> Any:
        """The rule's value, None for null."""
        if rule.kind == "ratio":
            return _divide(*(self.answer(part) for part in rule.parts))
        events, times = self._counting(rule)
        if rule.kind == "last_k":
            return [self._value(rule, event) for event in events[::-1][: rule.steps]]
        if not rule.is_point:
            kept = self._kept(rule, events)
            results, is_valid = aggregate(rule.kind, kept, _ZERO, np.array([len(kept)]))
            return results[0].item() if is_valid[0] else None
        if rule.steps >= len(events):
            return None
        if rule.kind in ("last", "lag"):
            return self._value(rule, events[-1 - rule.steps])
        if rule.kind == "first":
            return self._value(rule, events[0])
        oldest, newest = int(times[0]), int(times[-1])
        if rule.kind == "lifetime_days":
            return (newest - oldest) // _DAY + 1
        return (self._at - (newest if rule.kind == "days_since_last" else oldest) + self._delay) // _DAY

    def _counting(self, rule: Aggregation) -> tuple[Ints, Ints]:
        """The events that count for a rule, and their times."""
        events, times = self._all
        if rule.where is not None:
            if rule.where not in self._narrowed:
                column = self._columns[rule.where]
                passes = self._is_there(events, column) & (events[:, self._layout.first_slot + column] != 0)
                self._narrowed[rule.where] = events[passes], times[passes]
            events, times = self._narrowed[rule.where]
        if rule.window is None:
            return events, times
        span = round(rule.window.total_seconds() * 1_000_000)
        begin = int(np.searchsorted(times, self._at - span, side="right"))
        return events[begin:], times[begin:]

    def _is_there(self, events: Ints, column: int) -> Bools:
        is_null = (events[:, self._layout.first_word + column // 64] >> (column % 64)) & 1
        is_there: Bools = is_null == 0
        return is_there

    def _kept(self, rule: Aggregation, events: Ints) -> Any:
        """The values of a rule's column that are not null, contiguous; for `count()` one per event."""
        if rule.column is None:
            return events[:, 0]
        column = self._columns[rule.column]
        own = self._layout.kinds[column]
        kept = events[self._is_there(events, column)]
        if rule.kind == "count_distinct" and own == "string":
            return self._codes(kept, column)
        slots = np.ascontiguousarray(kept[:, self._layout.first_slot + column])
        if own == "float":
            slots = slots.view(np.float64)
        elif self._kinds.get(rule.column, own) in ("float", "null"):
            slots = slots.astype(np.float64)
        # + 0 turns -0.0 into 0.0, which is the same value in other bits.
        return (slots + slots.dtype.type(0)).view(np.int64) if rule.kind == "count_distinct" else slots

    def _codes(self, events: Ints, column: int) -> Ints:
        """A number for each text, equal texts having equal numbers; a text need not be decoded for that."""
        slots = events[:, self._layout.first_slot + column]
        begins = self._texts + events[:, -1] + (slots & 0xFFFFFFFF)
        spans = zip(begins.tolist(), (begins + (slots >> 32)).tolist(), strict=True)
        codes: dict[bytes, int] = {}
        found = (codes.setdefault(self._data[begin:end], len(codes)) for begin, end in spans)
        return np.fromiter(found, dtype=np.int64, count=len(events))

    def _value(self, rule: Aggregation, words: Ints) -> Any:
        assert rule.column is not None
        column, layout = self._columns[rule.column], self._layout
        event = layout.event.unpack(words.tobytes())
        if event[layout.first_word + column // 64] >> (column % 64) & 1:
            return None
        own, slot = layout.kinds[column], layout.first_slot + column
        convert = _converter(own, self._kinds.get(rule.column, own))
        return event[slot] if convert is None else convert(self._data, self._texts, event, slot)


def _divide(above: Any, below: Any) -> float | None:
    if above is None or not below:
        return None
    with np.errstate(invalid="ignore", over="ignore"):
        quotient = float(np.float64(above) / np.float64(below))
    return None if quotient != quotient else quotient


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
    begin = texts + event[-1] + (event[slot] & 0xFFFFFFFF)
    return data[begin : begin + (event[slot] >> 32)]
