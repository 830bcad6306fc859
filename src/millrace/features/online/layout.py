"""How the recent events of one key lie in bytes: what an online store holds.

    header   form, flags, number of columns, number of events, since when they are complete    16 bytes
    kinds    one letter per column, padded to a multiple of 8 bytes
    events   effective time, [created time], null bits, 8 bytes per column, [place of its texts]
             oldest first, all of one width
    texts    UTF-8 and arrays, one event's after another's; such a column holds offset (low half) and length (high half)

Everything is little-endian. The newest event is the last and is found without reading the others.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from millrace.core.errors import StoreError
from millrace.features.field import ValueKind

HEADER = struct.Struct("<BBHIq")
FORM = 1
HAS_CREATED = 1
SINCE_EVER = -(2**63)
"""Nothing was trimmed yet."""

_LETTERS: dict[ValueKind, int] = {
    "int": ord("i"),
    "float": ord("f"),
    "bool": ord("b"),
    "string": ord("s"),
    "time": ord("t"),
    "null": ord("n"),
    "ints": ord("I"),
    "floats": ord("F"),
    "bools": ord("B"),
    "strings": ord("S"),
    "times": ord("T"),
}
LONG_KINDS = frozenset(kind for kind in _LETTERS if kind == "string" or kind.endswith("s"))
"""Kinds of values that lie among the texts, not in the 8 bytes of their column."""
_KINDS = {letter: kind for kind, letter in _LETTERS.items()}


class Layout:
    """The places of the parts of an event. Get it from `layout_of` or `layout_for`: equal ones are one object."""

    __slots__ = (
        "event",
        "first_slot",
        "first_word",
        "has_created",
        "has_texts",
        "kinds",
        "letters",
        "start",
        "times",
        "width",
        "words",
    )

    def __init__(self, kinds: tuple[ValueKind, ...], has_created: bool) -> None:
        self.kinds = kinds
        self.has_created = has_created
        self.has_texts = not LONG_KINDS.isdisjoint(kinds)
        self.letters = bytes(_LETTERS[kind] for kind in kinds)
        self.start = HEADER.size + (len(kinds) + 7) // 8 * 8
        self.times = struct.Struct("<qq" if has_created else "<q")
        self.words = (len(kinds) + 63) // 64
        self.first_word = 2 if has_created else 1
        self.first_slot = self.first_word + self.words
        slots = "".join("d" if kind == "float" else "Q" if kind in LONG_KINDS else "q" for kind in kinds)
        self.event = struct.Struct(self.times.format + "Q" * self.words + slots + ("Q" if self.has_texts else ""))
        self.width = self.event.size

    def header(self, count: int, since: int) -> bytes:
        """What stands before the events."""
        head = HEADER.pack(FORM, HAS_CREATED if self.has_created else 0, len(self.kinds), count, since)
        return head + self.letters.ljust(self.start - HEADER.size, b"\0")

    def is_true(self, event: tuple[Any, ...], column: int) -> bool:
        """Whether an event's value in a column is true, and not null."""
        return not self.is_null(event, column) and bool(event[self.first_slot + column])

    def is_null(self, event: tuple[Any, ...], column: int) -> bool:
        """Whether an event has no value in a column."""
        return bool(event[self.first_word + column // 64] >> (column % 64) & 1)


@lru_cache(maxsize=4096)
def layout_for(letters: bytes, has_created: bool) -> Layout:
    """The layout whose kinds are written as `letters`. Raises KeyError for an unknown letter."""
    return Layout(tuple(_KINDS[letter] for letter in letters), has_created)


def layout_of(kinds: tuple[ValueKind, ...], has_created: bool) -> Layout:
    """The layout of events with columns of these kinds."""
    return layout_for(bytes(_LETTERS[kind] for kind in kinds), has_created)


@dataclass(frozen=True, slots=True)
class Tail:
    """Packed events, taken apart. Reads at or after `since` (microseconds) see all they need."""

    layout: Layout
    count: int
    since: int
    events: bytes
    texts: bytes


def open_tail(data: bytes) -> Tail:
    """The parts of packed events.

    Raises
    ------
    StoreError
        FEAT-22 when the bytes are not whole, or were written by a newer Millrace.
    """
    try:
        form, flags, columns, count, since = HEADER.unpack_from(data)
        if form != FORM:
            raise KeyError(form)
        layout = layout_for(data[HEADER.size : HEADER.size + columns], bool(flags & HAS_CREATED))
    except (struct.error, KeyError) as error:
        raise damaged() from error
    end = layout.start + count * layout.width
    if len(data) < end or (len(data) > end and not layout.has_texts):
        raise damaged()
    return Tail(layout, count, since, data[layout.start : end], data[end:])


def pack_tail(layout: Layout, events: bytes, texts: bytes, *, since: int = SINCE_EVER) -> bytes:
    """Packed events in one piece; inverse of `open_tail`."""
    header = layout.header(len(events) // layout.width, since)
    return b"".join((header, events, texts))


def damaged() -> StoreError:
    """The error for bytes that are not packed events."""
    return StoreError(
        "FEAT-22",
        "a value in the online store is not whole, or a newer Millrace wrote it",
        fix="pip install --upgrade millrace; if that is not it, clear the view in the online store and materialize it",
    )
