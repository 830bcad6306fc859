"""Distinct and repeated keys of batches whose set of keys is too large to hold, and of those where none is needed."""

from __future__ import annotations

from collections.abc import Sequence
from threading import Lock

import polars as pl

from millrace.validation.expression import Expr
from millrace.validation.scan.polars_rows import RowCompiler

PART_ROWS = 16_000_000
"""Keys whose set is held at a time: about 1 GB."""
_DENSE_ROWS = 1_000
_DENSE_SPAN = 1 << 29
_FAR = 1 << 62  # the difference to a bound beyond it may wrap around in 64 bits, and seem to be a place
_SPARE = 4
_KEPT_KEYS = 4_000_000
_ROW = "row"


def is_large(rows: int | None) -> bool:
    """Whether the keys of so many rows are looked at in parts."""
    return rows is not None and rows > PART_ROWS


class DenseSet:
    """The distinct ones among whole numbers between two bounds, one bit for each number between them.

    Marking what was seen costs a tenth of a set of hashes, and of a key that numbers its rows hardly any memory.
    """

    def __init__(self, low: int, high: int) -> None:
        self._low = low
        self._seen = pl.Series([False]).new_from_index(0, high - low + 1)
        self._turn = Lock()  # a bit is set by writing its neighbours, too

    @classmethod
    def of(cls, rows: int | None, low: int | None, high: int | None) -> DenseSet | None:
        """A set for `rows` values between the bounds; None when those are not known, or too far apart or from 0."""
        if rows is None or low is None or high is None or rows < _DENSE_ROWS:
            return None
        is_near = high - low < min(_SPARE * rows, _DENSE_SPAN) and low >= -_FAR and high <= _FAR
        return cls(low, high) if is_near else None

    def marking(self, values: pl.Expr) -> pl.Expr:
        """An expression that marks every value of `values` as seen while it is computed.

        Values outside the bounds, of a footer that lies, have no place, and computing fails.
        """
        places = (values.cast(pl.Int64) - self._low).cast(pl.UInt32)
        return places.map_batches(self._mark, return_dtype=pl.Boolean, is_elementwise=True).sum()

    def count(self) -> int:
        """How many were seen."""
        return int(self._seen.sum())

    def _mark(self, places: pl.Series) -> pl.Series:
        present = places.drop_nulls() if places.null_count() else places
        with self._turn:
            self._seen.scatter(present, True)
        return pl.Series(places.name, [False]).new_from_index(0, len(places))


def count_distinct(frame: pl.LazyFrame, keys: Sequence[pl.Expr], rows: int) -> int:
    """The number of distinct keys that are there in every part, counted part by part."""
    named = [key.alias(f"k{number}") for number, key in enumerate(keys)]
    there = frame.select(named).drop_nulls()
    count = pl.first().n_unique() if len(keys) == 1 else pl.struct(pl.all()).n_unique()
    return sum(int(_collected(part.select(count)).item()) for part in _parts(there, rows, len(keys)))


def count_repeated(frame: pl.LazyFrame, compiler: RowCompiler, keys: Sequence[Expr], truth: Expr, rows: int) -> int:
    """How many rows have a key that other rows have too, and meet the rest of `truth`."""
    return sum(
        int(_collected(part.select(pl.col("times").sum())).item() or 0)
        for part in _repeated(frame, compiler, keys, truth, rows)
    )


def repeated_rows(
    frame: pl.LazyFrame, compiler: RowCompiler, keys: Sequence[Expr], truth: Expr, rows: int
) -> pl.LazyFrame:
    """Those rows, with their positions in the column ``row``.

    Where millions of keys are repeated, only rows with the first of those keys are given: enough for examples.
    """
    labels = [compiler.labels[key.args[0]] for key in keys]
    found: list[pl.DataFrame] = []
    for part in _repeated(frame, compiler, keys, truth, rows):
        found.append(_collected(part.select(labels).head(_KEPT_KEYS)))
        if sum(map(len, found)) >= _KEPT_KEYS:
            break
    wanted = pl.concat(found).lazy()
    return frame.with_row_index(_ROW).join(wanted, on=labels, how="semi", nulls_equal=True, maintain_order="left")


def _repeated(
    frame: pl.LazyFrame, compiler: RowCompiler, keys: Sequence[Expr], truth: Expr, rows: int
) -> list[pl.LazyFrame]:
    """The repeated keys of each part, with how often they are there in the column ``times``."""
    labels = [compiler.labels[key.args[0]] for key in keys]
    rest = [compiler.compile(part) for part in (truth.args if truth.op == "and" else ()) if part.op != "repeated"]
    parts = _parts(frame.select(labels), rows, len(labels))
    counted = [part.group_by(labels).agg(pl.len().alias("times")).filter(pl.col("times") > 1) for part in parts]
    return [one.filter(rest) if rest else one for one in counted]


def _parts(keys: pl.LazyFrame, rows: int, width: int) -> list[pl.LazyFrame]:
    """`keys` in parts of about `PART_ROWS` rows; equal keys are in the same part."""
    count = -(-rows // PART_ROWS)
    if count <= 1:
        return [keys]
    mark = (pl.first() if width == 1 else pl.struct(pl.all())).hash() % count
    return [keys.filter(mark == number) for number in range(count)]


def _collected(frame: pl.LazyFrame) -> pl.DataFrame:
    return frame.collect(engine="streaming")
