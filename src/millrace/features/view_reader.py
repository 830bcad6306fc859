"""Reading features of one view out of the packed events of one key."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal, TypeAlias

from millrace.features.aggregation import Aggregation
from millrace.features.events import NEVER, to_micros
from millrace.features.field import ValueKind
from millrace.features.layout import HAS_CREATED, HEADER, Layout, damaged, layout_for
from millrace.features.view import FeatureView
from millrace.features.window import DAY, Window, converter

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
            window = Window(data, layout, count, at, self._columns, self._kinds, self._delay)
            for place in self._others:
                values[place] = window.answer(self.rules[place])
        return values, "present", newest - self._delay

    def _getter(self, rule: Aggregation, layout: Layout) -> _Getter:
        if not _is_quick(rule):
            return lambda data, texts, seen, at: None
        if rule.column is None:
            return lambda data, texts, seen, at: (at - seen[0][0] + self._delay) // DAY
        column, steps = self._columns[rule.column], rule.steps
        word, bit = layout.first_word + column // 64, 1 << (column % 64)
        slot = layout.first_slot + column
        convert = converter(layout.kinds[column], self._kinds.get(rule.column, layout.kinds[column]))

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
