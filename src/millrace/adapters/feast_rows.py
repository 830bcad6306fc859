"""The row that an online store keeps for one key of a Feast view, and which of two rows stands.

    times    event time, created time in microseconds     16 bytes
    form     which columns of which types follow           8 bytes
    nulls    one bit per column                            8 bytes for each 64 columns
    slots    8 bytes per column: the value itself, or offset (low half) and length (high half) of its bytes
    bytes    texts and everything that has no fixed width

A form is kept in the store once, under its digest. Everything is big-endian, and 2^63 is added to times: so the first
16 bytes of two rows compare as their times do. Knows nothing of Feast.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from operator import itemgetter
from typing import Any

import numpy as np
import numpy.typing as npt

from millrace.core.errors import StoreError
from millrace.core.ids import digest_json

TIMES_BYTES = 16
FORM_BYTES = 8
ZERO_TIME = 2**63
UNKNOWN = -(2**63)
"""Stands for a created time that is not known: older than any other."""

_FIXED = {"int64": "q", "int32": "q", "double": "d", "float": "d", "bool": "q", "unix_timestamp": "q"}
Values = npt.NDArray[Any]


@dataclass(frozen=True)
class Form:
    """Names and types of a row's columns. A type is that of Feast's value without ``_val``, or ``value`` for the
    bytes of a whole one."""

    names: tuple[str, ...]
    types: tuple[str, ...]

    @cached_property
    def digest(self) -> bytes:
        """What stands for this form in a row."""
        return bytes.fromhex(digest_json([list(self.names), list(self.types)])[: 2 * FORM_BYTES])

    @cached_property
    def words(self) -> int:
        """How many words hold the null bits."""
        return (len(self.names) + 63) // 64

    @cached_property
    def first_slot(self) -> int:
        """Place of the first slot among the words of a row; also among the parts that `layout` takes apart."""
        return 3 + self.words

    @cached_property
    def layout(self) -> struct.Struct:
        """The fixed part of a row: times, digest, null words, slots."""
        return struct.Struct(f">QQ8s{'Q' * self.words}{''.join(_FIXED.get(one, 'Q') for one in self.types)}")

    def is_fixed(self, place: int) -> bool:
        """Whether a column's value stands in its slot."""
        return self.types[place] in _FIXED

    def to_bytes(self) -> bytes:
        return json.dumps([list(self.names), list(self.types)]).encode()

    @classmethod
    def from_bytes(cls, data: bytes) -> Form:
        names, types = json.loads(data)
        return cls(tuple(names), tuple(types))


def pack_row(form: Form, event: int, created: int, values: Sequence[Any]) -> bytes:
    """One row; `values` holds numbers for fixed columns, bytes for the others, None for null."""
    nulls = [0] * form.words
    slots: list[Any] = []
    tail: list[bytes] = []
    offset = 0
    for place, value in enumerate(values):
        if value is None:
            nulls[place // 64] |= 1 << (place % 64)
            slots.append(0)
        elif form.is_fixed(place):
            slots.append(value)
        else:
            slots.append(offset | len(value) << 32)
            tail.append(value)
            offset += len(value)
    times = event + ZERO_TIME, created + ZERO_TIME
    return form.layout.pack(*times, form.digest, *nulls, *slots) + b"".join(tail)


def pack_rows(form: Form, event: Values, created: Values, columns: Sequence[tuple[Values, Any]]) -> list[bytes]:
    """Many rows.

    Parameters
    ----------
    event, created : int64, shape (n,)
    columns : one pair per column of the form
        Which rows are valid, shape (n,); and the values: an array of numbers for a fixed column (anything where not
        valid), a list of bytes for the others.
    """
    rows = len(event)
    words = np.zeros((rows, form.first_slot + len(form.names)), dtype=">i8")
    first = np.int64(-ZERO_TIME)
    words[:, 0], words[:, 1] = event ^ first, created ^ first
    words[:, 2] = np.frombuffer(form.digest, dtype=">i8")[0]
    offsets = np.zeros(rows, dtype=np.int64)
    tails: list[Sequence[bytes]] = []
    for place, (valid, values) in enumerate(columns):
        words[:, 3 + place // 64] |= (~valid).astype(np.int64) << np.int64(place % 64)
        slot = form.first_slot + place
        if form.is_fixed(place):
            kind = np.float64 if _FIXED[form.types[place]] == "d" else np.int64
            words[:, slot] = np.where(valid, values, 0).astype(kind).view(np.int64)
        else:
            lengths = np.fromiter(map(len, values), dtype=np.int64, count=rows)
            words[:, slot] = offsets | lengths << 32
            offsets += lengths
            tails.append(values)
    data, width = words.tobytes(), words.shape[1] * 8
    fixed = [data[start : start + width] for start in range(0, rows * width, width)]
    return [b"".join(parts) for parts in zip(fixed, *tails, strict=True)] if tails else fixed


class Reader:
    """Takes rows apart: the wanted columns in the wanted order, whatever form a row has.

    Parameters
    ----------
    wanted : sequence of str
    find_form : callable (digest) -> Form
    decode : callable (type, bytes) -> value
        For columns without fixed width.
    """

    def __init__(
        self, wanted: Sequence[str], find_form: Callable[[bytes], Form], decode: Callable[[str, bytes], Any]
    ) -> None:
        self.wanted = tuple(wanted)
        self._find_form = find_form
        self._decode = decode
        self._known: dict[bytes, Callable[[bytes], tuple[int, Sequence[Any]]]] = {}

    def read(self, row: bytes) -> tuple[int, Sequence[Any]]:
        """Event time and values of a row, None for null and for a column that the row does not have."""
        digest = row[16:24]
        read = self._known.get(digest)
        if read is None:
            read = self._known[digest] = self._compile(self._find_form(digest))
        return read(row)

    def _compile(self, form: Form) -> Callable[[bytes], tuple[int, Sequence[Any]]]:
        unpack, width, first = form.layout.unpack_from, form.layout.size, form.first_slot
        places = [form.names.index(name) if name in form.names else None for name in self.wanted]
        getters = [None if place is None else self._getter(form, place, width) for place in places]

        def slowly(row: bytes) -> tuple[int, Sequence[Any]]:
            parts = unpack(row)
            return parts[0] - ZERO_TIME, [None if get is None else get(row, parts) for get in getters]

        is_plain = all(place is not None and _FIXED.get(form.types[place]) for place in places)
        has_bools = any(place is not None and form.types[place] == "bool" for place in places)
        has_times = any(place is not None and form.types[place] == "unix_timestamp" for place in places)
        if not is_plain or has_bools or has_times or len(places) < 2 or form.words != 1:
            return slowly
        pick = itemgetter(*(first + place for place in places if place is not None))

        def quickly(row: bytes) -> tuple[int, Sequence[Any]]:
            parts = unpack(row)
            return (parts[0] - ZERO_TIME, pick(parts)) if not parts[3] else slowly(row)

        return quickly

    def _getter(self, form: Form, place: int, width: int) -> Callable[[bytes, tuple[Any, ...]], Any]:
        word, bit, slot, kind = 3 + place // 64, 1 << (place % 64), form.first_slot + place, form.types[place]
        decode = self._decode
        if kind in ("bool", "unix_timestamp"):
            return lambda row, parts: None if parts[word] & bit else decode(kind, parts[slot])
        if kind in _FIXED:
            return lambda row, parts: None if parts[word] & bit else parts[slot]

        def get(row: bytes, parts: tuple[Any, ...]) -> Any:
            if parts[word] & bit:
                return None
            begin = width + (parts[slot] & 0xFFFFFFFF)
            return decode(kind, row[begin : begin + (parts[slot] >> 32)])

        return get


def newest(old: bytes | None, new: bytes) -> bytes:
    """The row that stands: the later event time, then the later created time, then the later written."""
    return new if old is None or new[:TIMES_BYTES] >= old[:TIMES_BYTES] else old


def unknown_form(digest: bytes) -> StoreError:
    """The error for a row whose form the store does not hold."""
    return StoreError(
        "FEAST-01",
        f"a row of the online store has the form {digest.hex()}, which the store does not describe",
        why="another program changed the store, or it was restored in part",
        fix="clear the view in the online store, then run feast materialize",
    )
