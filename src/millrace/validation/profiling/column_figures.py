"""What is counted of one column while its rows go by, a piece at a time, in memory that does not grow with them."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa

from millrace.validation.arrow_types import of_arrow
from millrace.validation.column_type import Kind, kind_of
from millrace.validation.scan.arrow_columns import as_series

SMALLEST_HASHES = 1 << 16
MOST_LEVELS = 1000
SAMPLE_ROWS = 50_000
_SEED = 7


class DistinctCount:
    """How many different values went by: exact below 65,536, then estimated from the smallest hashes.

    Beyond that the standard error is 0.4 % of the answer. Source: Bar-Yossef et al., "Counting distinct elements in
    a data stream" (2002): of n hashes spread evenly, the k-th smallest is expected at k / (n + 1).
    """

    def __init__(self, size: int = SMALLEST_HASHES) -> None:
        self._size = size
        self._smallest: np.ndarray = np.empty(0, np.uint64)

    def add(self, values: pl.Series) -> None:
        """Count `values`, none of them missing."""
        hashes = values.hash(seed=_SEED).to_numpy()
        # Once enough are held, most further hashes are too large to matter.
        first, rest = hashes[: 2 * self._size], hashes[2 * self._size :]
        for part in (first, rest):
            self._merge(part if self.is_exact else part[part < self._smallest[-1]])

    def _merge(self, hashes: np.ndarray) -> None:
        found = np.sort(np.concatenate([self._smallest, hashes]))
        is_first = np.ones(len(found), bool)
        is_first[1:] = found[1:] != found[:-1]
        self._smallest = found[is_first][: self._size]

    @property
    def is_exact(self) -> bool:
        return len(self._smallest) < self._size

    def count(self, most: int) -> int:
        """The number, which cannot be above `most`."""
        if self.is_exact:
            return len(self._smallest)
        share = (float(self._smallest[-1]) + 1) / 2.0**64
        return min(most, round((self._size - 1) / share))


@dataclass
class Moments:
    """Mean and spread of numbers that come in pieces.

    Source: Chan, Golub and LeVeque, "Updating formulae and a pairwise algorithm for computing sample variances"
    (1979).
    """

    count: int = 0
    mean: float = 0.0
    squares: float = 0.0

    def add(self, values: np.ndarray) -> None:
        """Count finite `values`, shape (n,)."""
        n = len(values)
        if n == 0:
            return
        mean = float(values.mean())
        squares = float(np.square(values - mean).sum())
        total, apart = self.count + n, mean - self.mean
        self.mean += apart * n / total
        self.squares += squares + apart * apart * self.count * n / total
        self.count = total

    @property
    def stdev(self) -> float | None:
        """With n - 1; None for fewer than two values."""
        return math.sqrt(self.squares / (self.count - 1)) if self.count > 1 else None


@dataclass
class ColumnFigures:
    """Running figures of one column; `add` takes the next piece of it.

    Attributes
    ----------
    levels : dict, or None once there were too many different values to keep each
    least, greatest : finite numbers, times, or lengths of text
    """

    kind: Kind
    rows: int = 0
    missing: int = 0
    infinite: int = 0
    least: Any = None
    greatest: Any = None
    moments: Moments = field(default_factory=Moments)
    distinct: DistinctCount = field(default_factory=DistinctCount)
    levels: dict[Any, int] | None = field(default_factory=dict)

    def add(self, column: pa.ChunkedArray) -> pl.Series:
        """Count the next piece; the piece as values, null where one is missing."""
        self.rows += len(column)
        if self.kind in ("nothing", "other"):
            self.missing += column.null_count
            self.levels = None
            return pl.Series("", [None] * len(column), dtype=pl.Float64)
        series = as_series("", column)
        present = series.drop_nulls()
        self.missing += len(series) - len(present)
        if len(present):
            self._add_present(present)
        return series

    def _add_present(self, present: pl.Series) -> None:
        self.distinct.add(present)
        self._add_levels(present)
        if self.kind == "number":
            values = present.cast(pl.Float64).to_numpy()
            finite = present.filter(pl.Series(np.isfinite(values))) if present.dtype.is_float() else present
            self.infinite += len(present) - len(finite)
            self._extend(finite.min(), finite.max())
            self.moments.add(values[np.isfinite(values)])
        elif self.kind == "bool":
            self.moments.add(present.cast(pl.Float64).to_numpy())
        elif self.kind == "text":
            lengths = present.str.len_chars()
            self._extend(lengths.min(), lengths.max())
        else:
            self._extend(present.min(), present.max())

    def _extend(self, low: Any, high: Any) -> None:
        if low is not None:
            self.least = low if self.least is None else min(self.least, low)
            self.greatest = high if self.greatest is None else max(self.greatest, high)

    def _add_levels(self, present: pl.Series) -> None:
        if self.levels is None:
            return
        if self.distinct.count(self.rows) > MOST_LEVELS:
            self.levels = None
            return
        counts = present.value_counts(name="n")
        for value, count in zip(counts.to_series(0).to_list(), counts["n"].to_list(), strict=True):
            self.levels[value] = self.levels.get(value, 0) + count


class RowSample:
    """Rows chosen with equal chance from all that go by: those with the smallest of random numbers."""

    def __init__(self, size: int = SAMPLE_ROWS) -> None:
        self._size = size
        self._chance = np.random.default_rng(_SEED)
        self._order: np.ndarray = np.empty(0)
        self._rows: pl.DataFrame | None = None

    def add(self, piece: pl.DataFrame) -> None:
        """Offer the next rows; all pieces have the same columns."""
        drawn = self._chance.random(piece.height)
        is_kept = drawn < self._order.max() if len(self._order) == self._size else np.ones(piece.height, bool)
        chosen, order = piece.filter(pl.Series(is_kept)), drawn[is_kept]
        if self._rows is not None:
            chosen = pl.concat([self._rows, chosen], how="vertical_relaxed")
            order = np.concatenate([self._order, order])
        if len(order) > self._size:
            best = np.sort(np.argpartition(order, self._size)[: self._size])
            chosen, order = chosen[best], order[best]
        self._rows, self._order = chosen, order

    @property
    def rows(self) -> pl.DataFrame:
        """The chosen rows in their order."""
        return pl.DataFrame() if self._rows is None else self._rows


def figures_of(field_: pa.Field) -> ColumnFigures:
    """Running figures for a column of that type, nothing counted yet."""
    return ColumnFigures(kind_of(of_arrow(field_.type)))
