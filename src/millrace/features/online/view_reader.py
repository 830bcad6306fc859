"""Reading features of one view out of the packed events of one key."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from operator import itemgetter
from struct import error as struct_error
from typing import Any, Literal, NamedTuple, TypeAlias

from millrace.features.aggregate import result_kind
from millrace.features.aggregation import Aggregation
from millrace.features.columns import join_kinds
from millrace.features.events import NEVER, to_micros
from millrace.features.field import ValueKind
from millrace.features.online.layout import FORM, HAS_CREATED, HEADER, Layout, damaged, layout_for
from millrace.features.online.window import DAY, Window, converter
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


class _Slots(NamedTuple):
    """All values of a newest event at once, where none of its nulls in `mask` says otherwise."""

    word: int
    mask: int
    take: Callable[[tuple[Any, ...]], tuple[Any, ...]]


@dataclass(frozen=True, slots=True)
class _Known:
    """What columns are answered as, and how each layout is read to that end."""

    kinds: Mapping[str, ValueKind]
    answered: list[ValueKind | None]
    getters: dict[Layout, list[_Getter]]
    slots: dict[Layout, _Slots]


class ViewReader:
    """The features of one view that one plan asks for.

    Parameters
    ----------
    view : FeatureView
    rules : sequence of Aggregation
        In the order of the values.
    kinds : mapping of column to kind
        The view's schema in the store: the kinds in which values are answered. When events of a wider kind are met,
        written since, all values are answered in that.
    """

    def __init__(self, view: FeatureView, rules: Sequence[Aggregation], kinds: Mapping[str, ValueKind]) -> None:
        self.rules = list(rules)
        self.nothing: list[Any] = [None] * len(self.rules)
        self._columns = {name: place for place, name in enumerate(view.columns)}
        self._delay = to_micros(view)
        span = view.ttl_span
        self._ttl = None if span is None else round(span.total_seconds() * 1_000_000)
        # What the newest events say needs no look at the others.
        self._depth = 1 + max((rule.steps for rule in self.rules if _is_quick(rule)), default=0)
        self._others = [place for place, rule in enumerate(self.rules) if not _is_quick(rule)]
        self._known = self._knowing(kinds)

    @property
    def kinds(self) -> list[ValueKind | None]:
        """What each rule answers, None while its column is not known; the same object until that changes."""
        return self._known.answered

    def read(self, data: bytes | None, at: int) -> Reading:
        """The values at `at` (microseconds).

        Raises
        ------
        StoreError
            FEAT-22 when `data` is not whole.
        """
        if data is None:
            return self.nothing, "missing", None
        try:
            form, flags, columns, count, since = HEADER.unpack_from(data)
            layout = layout_for(data[16 : 16 + columns], flags & HAS_CREATED == HAS_CREATED)
        except (struct_error, KeyError) as error:
            raise damaged() from error
        if form != FORM:
            raise damaged()
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
        known = self._known
        at_once = known.slots.get(layout)
        if at_once is not None and not seen[0][at_once.word] & at_once.mask:
            return list(at_once.take(seen[0])), "present", newest - self._delay
        getters = known.getters.get(layout)
        if getters is None:
            known, getters = self._learn(layout)
        texts = layout.start + count * layout.width
        values = [getter(data, texts, seen, at) for getter in getters]
        if self._others:
            window = Window(data, layout, count, at, self._columns, known.kinds, self._delay)
            for place in self._others:
                values[place] = window.answer(self.rules[place])
        return values, "present", newest - self._delay

    def _knowing(self, kinds: Mapping[str, ValueKind]) -> _Known:
        def answered(rule: Aggregation) -> ValueKind | None:
            kind = result_kind(rule.kind, "int" if rule.column is None else kinds.get(rule.column, "null"))
            return None if kind == "null" else kind

        return _Known(dict(kinds), [answered(rule) for rule in self.rules], {}, {})

    def _learn(self, layout: Layout) -> tuple[_Known, list[_Getter]]:
        known, kinds = self._known, dict(self._known.kinds)
        for name, place in self._columns.items():
            own = layout.kinds[place]
            # Kinds that do not go together are refused when they are written.
            kinds[name] = join_kinds(kinds.get(name, own), own) or own
        if kinds != known.kinds:
            known = self._known = self._knowing(kinds)
        getters = known.getters[layout] = [self._getter(rule, layout, known.kinds) for rule in self.rules]
        at_once = self._at_once(layout, known.kinds)
        if at_once is not None:
            known.slots[layout] = at_once
        return known, getters

    def _at_once(self, layout: Layout, kinds: Mapping[str, ValueKind]) -> _Slots | None:
        """How to take all values in one step: where each is the newest event's own, as it lies there."""
        columns = [rule.column for rule in self.rules if _is_quick(rule) and not rule.steps and rule.column]
        places = [self._columns[name] for name in columns]
        is_whole = len(places) == len(self.rules) > 1 and len({place // 64 for place in places}) == 1
        if not is_whole or any(
            converter(layout.kinds[self._columns[name]], kinds[name]) is not None for name in columns
        ):
            return None
        mask = 0
        for place in places:
            mask |= 1 << (place % 64)
        take = itemgetter(*(layout.first_slot + place for place in places))
        return _Slots(layout.first_word + places[0] // 64, mask, take)

    def _getter(self, rule: Aggregation, layout: Layout, kinds: Mapping[str, ValueKind]) -> _Getter:
        if not _is_quick(rule):
            return lambda data, texts, seen, at: None
        if rule.column is None:
            return lambda data, texts, seen, at: (at - seen[0][0] + self._delay) // DAY
        column, steps = self._columns[rule.column], rule.steps
        word, bit = layout.first_word + column // 64, 1 << (column % 64)
        slot = layout.first_slot + column
        convert = converter(layout.kinds[column], kinds[rule.column])

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
