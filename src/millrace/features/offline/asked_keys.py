"""The keys that rows ask for, numbered, and which events are theirs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from millrace.features.columns import Ints


@dataclass(frozen=True, slots=True)
class AskedKeys:
    """Numbers of the different keys of some rows.

    Parameters
    ----------
    codes : int64, shape (rows,)
        Each row's number; -1 when a part of its key is null.
    count : int
        Numbers are below this.
    parts : per key column, its different values; None for a column of nulls
    joined : per key column but the first, the different pairs of the number so far and the column's own, ascending
    """

    codes: Ints
    count: int
    parts: Sequence[pa.Array | None]
    joined: Sequence[Ints]

    @classmethod
    def of(cls, arrays: Sequence[pa.Array], rows: int) -> AskedKeys:
        """The keys of `rows` rows; no arrays for a view without keys, where all rows have one key."""
        codes, count = np.zeros(rows, dtype=np.int64), 1
        parts: list[pa.Array | None] = []
        joined: list[Ints] = []
        for place, array in enumerate(arrays):
            parts.append(None if pa.types.is_null(array.type) else array.drop_null().unique())
            own = _places(array, parts[-1])
            if place == 0:
                codes, count = own, _length(parts[0])
                continue
            pairs = _pairs(codes, own, _length(parts[-1]))
            joined.append(np.unique(pairs[pairs >= 0]))
            codes, count = _find(pairs, joined[-1]), len(joined[-1])
        return cls(codes, max(count, 1), parts, joined)

    def find(self, arrays: Sequence[pa.Array], rows: int) -> Ints:
        """The numbers of other rows' keys; -1 for a key that is not asked for, or has a null."""
        codes = np.zeros(rows, dtype=np.int64)
        for place, (array, part) in enumerate(zip(arrays, self.parts, strict=True)):
            own = _places(array, part)
            codes = own if place == 0 else _find(_pairs(codes, own, _length(part)), self.joined[place - 1])
        return codes


def _length(part: pa.Array | None) -> int:
    return 0 if part is None else len(part)


def _places(array: pa.Array, part: pa.Array | None) -> Ints:
    if not _length(part) or part is None or pa.types.is_null(array.type):
        return np.full(len(array), -1, dtype=np.int64)
    found = pc.index_in(array, value_set=part)
    return np.asarray((found.fill_null(-1) if found.null_count else found).to_numpy(), dtype=np.int64)


def _pairs(codes: Ints, own: Ints, count: int) -> Ints:
    return np.where((codes >= 0) & (own >= 0), codes * count + own, -1)


def _find(pairs: Ints, known: Ints) -> Ints:
    if not len(known):
        return np.full(len(pairs), -1, dtype=np.int64)
    places = np.minimum(np.searchsorted(known, pairs), len(known) - 1)
    return np.where(known[places] == pairs, places, -1)
