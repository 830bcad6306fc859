"""What a batch looks like: nulls, different values, range, quantiles and frequent values, all in one pass."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa

from millrace.core.errors import DataError
from millrace.validation.arrow_types import of_arrow
from millrace.validation.column_type import type_name
from millrace.validation.json_form import json_ready
from millrace.validation.profiling.column_figures import ColumnFigures, RowSample, figures_of

QUANTILES = (0.01, 0.05, 0.25, 0.5, 0.75, 0.95, 0.99)
BINS = 24
TOP = 10
_BLOCKS = "▁▂▃▄▅▆▇█"
_TALLEST = len(_BLOCKS) - 1


@dataclass(frozen=True)
class ColumnProfile:
    """One column. Of text, `least`, `greatest` and the quantiles are lengths in characters.

    Attributes
    ----------
    type, kind : str
        Arrow's type; number, bool, text, time, date, nothing or other.
    missing : int
        Nulls and NaN.
    distinct : int
        Different values; an estimate with a standard error of 0.4 % unless `is_distinct_exact`.
    quantiles : mapping of share to value
    histogram : sequence of int
        Counts of the sampled rows in bins of equal width, the tails beyond the 1st and 99th per cent in the outer ones.
    top : sequence of (value, share of the rows that are there)
    levels : mapping of value to count, or None when there are more than 1,000
    """

    name: str
    type: str
    kind: str
    rows: int
    missing: int
    infinite: int
    distinct: int
    is_distinct_exact: bool
    least: Any
    greatest: Any
    mean: float | None
    stdev: float | None
    quantiles: Mapping[float, Any]
    histogram: Sequence[int]
    top: Sequence[tuple[Any, float]]
    levels: Mapping[Any, int] | None = field(repr=False)

    @property
    def present(self) -> int:
        return self.rows - self.missing

    @property
    def sparkline(self) -> str:
        """The histogram as one line of text."""
        top = max(self.histogram, default=0)
        return "".join(" " if n == 0 else _BLOCKS[min(_TALLEST, n * _TALLEST // top)] for n in self.histogram)

    def range_text(self) -> str:
        """Least, middle and greatest, in a few words."""
        what = "length " if self.kind == "text" else ""
        text = f"{what}{shorten(self.least)} to {shorten(self.greatest)}"
        if 0.5 in self.quantiles:
            text += f", median {shorten(self.quantiles[0.5])}"
        text += "" if self.mean is None else f", mean {self.mean:.6g}"
        return text if self.stdev is None else f"{text}, sd {shorten(self.stdev)}"

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready; without `levels`, of which `top` holds the first."""
        return {
            "name": self.name,
            "type": self.type,
            "kind": self.kind,
            "missing": self.missing,
            "missing_share": self.missing / self.rows if self.rows else None,
            "infinite": self.infinite,
            "distinct": self.distinct,
            "is_distinct_exact": self.is_distinct_exact,
            "min": json_ready(self.least),
            "max": json_ready(self.greatest),
            "mean": json_ready(self.mean),
            "stdev": json_ready(self.stdev),
            "quantiles": {f"{share:g}": json_ready(value) for share, value in self.quantiles.items()},
            "histogram": list(self.histogram),
            "top": [{"value": json_ready(value), "share": share} for value, share in self.top],
        }


@dataclass(frozen=True)
class TableProfile:
    """All columns of a batch. Quantiles, histograms and, of many levels, frequent values are those of `sampled` rows.

    `sample` holds these rows, chosen with equal chance: all of them when `sampled` equals `rows`.
    """

    rows: int
    columns: Sequence[ColumnProfile]
    sample: pl.DataFrame = field(repr=False, compare=False)

    @property
    def sampled(self) -> int:
        return self.sample.height

    def __getitem__(self, name: str) -> ColumnProfile:
        for column in self.columns:
            if column.name == name:
                return column
        raise KeyError(name)

    def explain(self) -> str:
        """The profile as text: two lines or three a column."""
        note = "" if self.sampled == self.rows else f"; quantiles and histograms from {self.sampled:,} sampled rows"
        lines = [f"{self.rows:,} rows, {len(self.columns)} columns{note}"]
        for column in self.columns:
            about = "" if column.is_distinct_exact else "about "
            share = f" ({column.missing / column.rows:.1%})" if column.missing else ""
            counts = f"{column.missing:,} missing{share}, {about}{column.distinct:,} distinct"
            if column.infinite:
                counts += f", {column.infinite:,} infinite"
            lines += ["", f"{column.name}  {column.type}", f"  {counts}"]
            if column.least is not None:
                lines.append(f"  {column.range_text()}  {column.sparkline}".rstrip())
            if column.top:
                lines.append(f"  most often  {', '.join(f'{shorten(v)} {share:.1%}' for v, share in column.top[:5])}")
        return "\n".join(lines)

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready."""
        return {
            "rows": self.rows,
            "sampled": self.sampled,
            "columns": [column.to_dict() for column in self.columns],
        }


def profile(pieces: pa.Table | Iterable[pa.Table], *, tell: Callable[[int], None] | None = None) -> TableProfile:
    """The profile of a batch that comes as a table, or as an iterable of tables with equal columns.

    One pass; memory holds one piece, 50,000 sampled rows and 65,536 numbers for each column.

    Parameters
    ----------
    tell : callable, optional
        Told the number of rows that have gone by, after each piece.

    Raises
    ------
    DataError
        VALID-61 when there is no piece at all, or two columns have one name.
    """
    figures: list[ColumnFigures] = []
    schema: pa.Schema | None = None
    sample, rows = RowSample(), 0
    for piece in [pieces] if isinstance(pieces, pa.Table) else pieces:
        if schema is None:
            schema = piece.schema
            _check_names(schema)
            figures = [figures_of(one) for one in schema]
        columns = [one.add(piece.column(place)) for place, one in enumerate(figures)]
        sample.add(pl.DataFrame(dict(zip(schema.names, columns, strict=True))))
        rows += piece.num_rows
        if tell is not None:
            tell(rows)
    if schema is None:
        raise DataError("VALID-61", "there is nothing to profile: the batch has no part", fix="give a file with rows")
    chosen = sample.rows
    return TableProfile(
        rows,
        [
            _finish(one.name, type_name(of_arrow(one.type)), figure, chosen[one.name])
            for one, figure in zip(schema, figures, strict=True)
        ],
        chosen,
    )


def shorten(value: Any) -> str:
    """One value in a few characters."""
    if isinstance(value, int) and not isinstance(value, bool):
        return f"{value:,}"
    if isinstance(value, float):
        return f"{value:.6g}"
    text = value.isoformat(sep=" ") if isinstance(value, datetime) else str(value)
    text = "".join(c if c >= " " else repr(c)[1:-1] for c in text)
    return text if len(text) <= 40 else f"{text[:37]}..."


def _check_names(schema: pa.Schema) -> None:
    twice = sorted({name for name in schema.names if schema.names.count(name) > 1})
    if twice:
        raise DataError(
            "VALID-61", f"the columns {', '.join(twice)} are there more than once", fix="give every column its own name"
        )


def _finish(name: str, type_: str, figures: ColumnFigures, sample: pl.Series) -> ColumnProfile:
    present = sample.drop_nulls()
    numbers = _as_numbers(figures.kind, present)
    there = figures.rows - figures.missing
    return ColumnProfile(
        name=name,
        type=type_,
        kind=figures.kind,
        rows=figures.rows,
        missing=figures.missing,
        infinite=figures.infinite,
        distinct=figures.distinct.count(there),
        is_distinct_exact=figures.distinct.is_exact,
        least=figures.least,
        greatest=figures.greatest,
        mean=figures.moments.mean if figures.moments.count else None,
        stdev=figures.moments.stdev,
        quantiles=_quantiles(figures.kind, present, numbers),
        histogram=_histogram(numbers),
        top=_top(figures, present, there),
        levels=figures.levels,
    )


def _as_numbers(kind: str, present: pl.Series) -> np.ndarray:
    if kind == "text":
        return present.str.len_chars().cast(pl.Float64).to_numpy()
    if kind in ("time", "date"):
        return present.cast(pl.Datetime("us")).cast(pl.Int64).cast(pl.Float64).to_numpy()
    if kind in ("number", "bool"):
        values = present.cast(pl.Float64).to_numpy()
        return np.asarray(values[np.isfinite(values)])
    return np.empty(0)


def _quantiles(kind: str, present: pl.Series, numbers: np.ndarray) -> dict[float, Any]:
    """Values of the sample, never between two of them."""
    if len(numbers) == 0 or kind == "bool":
        return {}
    if kind in ("time", "date"):
        ordered = present.sort()
        return {share: ordered[round(share * (len(ordered) - 1))] for share in QUANTILES}
    found = np.quantile(numbers, QUANTILES, method="nearest")
    is_whole = kind == "text" or present.dtype.is_integer()
    return {
        share: int(value) if is_whole else float(value) for share, value in zip(QUANTILES, found.tolist(), strict=True)
    }


def _histogram(numbers: np.ndarray) -> list[int]:
    if len(numbers) == 0:
        return []
    low, high = np.quantile(numbers, (0.01, 0.99))
    if low == high:
        low, high = numbers.min(), numbers.max()
    if low == high:
        return [len(numbers)]
    counts, _ = np.histogram(np.clip(numbers, low, high), bins=BINS, range=(low, high))
    return [int(count) for count in counts]


def _top(figures: ColumnFigures, present: pl.Series, there: int) -> list[tuple[Any, float]]:
    """The most frequent values: exact where every level was counted, else those of the sample that occur again."""
    if figures.levels is not None:
        ordered = sorted(figures.levels.items(), key=lambda item: (-item[1], repr(item[0])))
        return [(value, count / there) for value, count in ordered[:TOP]]
    if figures.kind in ("nothing", "other") or len(present) == 0:
        return []
    counts = present.value_counts(name="n", sort=True).head(TOP)
    found = zip(counts.to_series(0).to_list(), counts["n"].to_list(), strict=True)
    return [(value, count / len(present)) for value, count in found if count > 1]
