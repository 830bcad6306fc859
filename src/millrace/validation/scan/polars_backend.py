"""Rows that Polars can read: what is asked of them in one streaming pass."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Protocol

import polars as pl

from millrace.validation.backend import CannotCheck, Scopes, query_on
from millrace.validation.column_type import ColumnType
from millrace.validation.expression import FALSE, ROWS, TRUE, Expr
from millrace.validation.scan.polars_figures import compile_figure, decoded, is_far, python_value, spread_around
from millrace.validation.scan.polars_keys import DenseSet, count_distinct, count_repeated, is_large, repeated_rows
from millrace.validation.scan.polars_rows import RowCompiler
from millrace.validation.scan.python_rows import MixedValues

_ROW = "row"
_FIRST_ROWS = 1 << 14
_FAILURES = (
    pl.exceptions.PolarsError,
    pl.exceptions.PanicException,
    NotImplementedError,  # with those below, what Arrow raises, too
    LookupError,
    TypeError,
    ValueError,
    ArithmeticError,
)


class Columns(Protocol):
    """Where the columns of a batch come from.

    Attributes
    ----------
    names : list of str
        In order; a name may be there twice.
    rows : int or None
        How many, where that is known without reading.
    """

    names: list[str]
    rows: int | None

    @property
    def mixed(self) -> Mapping[str, MixedValues]:
        """Columns seen so far whose values are Python's: the frame holds their places."""
        ...

    def type_of(self, name: str) -> ColumnType:
        """Type of a column that is there."""
        ...

    def frame(self, names: Iterable[str]) -> pl.LazyFrame:
        """A frame of the columns `names`, each under `label_of` it and as `plain_values`.

        Raises CannotCheck for a column that Polars cannot hold.
        """
        ...

    def known(self, figure: Expr) -> tuple[bool, Any]:
        """Whether a figure over all rows is known without reading them, and its value."""
        ...

    def refuse_damage(self, names: Iterable[str]) -> None:
        """Raise DataError VALID-10 when the values of `names` cannot be read at all."""
        ...


def label_of(names: Sequence[str], name: str) -> str:
    """The name of a column in the frame: any text may be a name in a batch, and some mean something to Polars."""
    return f"c{names.index(name)}"


def plain_values(values: pl.Expr, dtype: pl.DataType) -> pl.Expr:
    """`values` with NaN as null, zoned times in UTC, and categories as the text they stand for."""
    if dtype.is_float():
        return values.fill_nan(None)
    if isinstance(dtype, pl.Datetime) and dtype.time_zone is not None:
        return values.dt.convert_time_zone("UTC")
    if dtype in (pl.Categorical, pl.Enum):
        return values.cast(pl.String)
    return values.cast(pl.Float64) if dtype == pl.Null else values


class PolarsBackend:
    """The `Backend` of files and frames; see `millrace.validation.backend.Backend`."""

    unsupported: frozenset[str] = frozenset()

    def __init__(self, columns: Columns) -> None:
        self._columns = columns
        self.names: Sequence[str] = columns.names

    def type_of(self, column: str) -> ColumnType:
        return self._columns.type_of(column)

    def compute(self, scopes: Scopes) -> Mapping[Expr | None, Mapping[Expr, Any]]:
        found: dict[Expr | None, dict[Expr, Any]] = {where: {} for where in scopes}
        wanted: list[tuple[Expr | None, Expr]] = []
        for where, figures in scopes.items():
            for figure in dict.fromkeys(figures):
                is_known, value = self._known(where, figure)
                if is_known:
                    found[where][figure] = value
                else:
                    wanted.append((where, figure))
        large = [item for item in wanted if self._needs_parts(*item) and is_large(self._size())]
        if large:
            for where, figure in large:
                found[where][figure] = self._in_parts(where, figure)
            wanted = [item for item in wanted if item not in large]
        if wanted:
            for (where, figure), value in zip(wanted, self._selected(wanted), strict=True):
                found[where][figure] = value
        return found

    def examples(
        self, unexpected: Expr, shown: Sequence[Expr], *, where: Expr | None, limit: int | None
    ) -> list[tuple[int | None, tuple[Any, ...]]]:
        def read(rows: pl.LazyFrame) -> pl.DataFrame:
            return _collected(rows if limit is None else rows.head(limit)).sort(_ROW)

        found = None
        is_long = self._columns.rows is not None and self._columns.rows > _FIRST_ROWS
        if limit is not None and is_long and not _asks_all(unexpected, where):
            found = self._looked(unexpected, shown, where, read, _FIRST_ROWS)  # which mostly hold examples enough
        if found is None or (limit is not None and len(found) < limit):
            found = self._looked(unexpected, shown, where, read)
        return [(row[0], self._shown(shown, row[1:])) for row in found.iter_rows()]

    def frequent(
        self, unexpected: Expr, shown: Sequence[Expr], *, where: Expr | None, limit: int
    ) -> list[tuple[tuple[Any, ...], int]]:
        names = [f"v{number}" for number in range(len(shown))]

        def read(rows: pl.LazyFrame) -> pl.DataFrame:
            counts = rows.group_by(names).agg(pl.len().alias("count"), pl.col(_ROW).min())
            # Only the first of the most frequent leave the engine.
            first = counts.sort(["count", _ROW], descending=[True, False]).head(limit)
            return _collected(first.select(*names, "count"))

        found = self._looked(unexpected, shown, where, read)
        return [(self._shown(shown, row[:-1]), row[-1]) for row in found.iter_rows()]

    def _shown(self, shown: Sequence[Expr], values: Sequence[Any]) -> tuple[Any, ...]:
        return tuple(decoded(expr, value, self._columns.mixed) for expr, value in zip(shown, values, strict=True))

    def query(self, text: str, *, limit: int) -> tuple[int, list[dict[str, Any]]]:
        asked = query_on(text, "batch")
        names = list(self.names)
        if len(set(names)) < len(names):
            raise CannotCheck("two columns of one name cannot be queried")
        try:
            labels = {label_of(names, name): name for name in names}
            frame = self._columns.frame(names).rename(labels).select(names)
            rows = pl.SQLContext(batch=frame).execute(asked, eager=False)
            count = _collected(rows.select(pl.len())).item()
            return int(count), _collected(rows.head(limit)).to_dicts()
        except _FAILURES as error:
            raise CannotCheck(f"the query is refused: {_reason(error)}") from error

    def _known(self, where: Expr | None, figure: Expr) -> tuple[bool, Any]:
        if where is None and self._columns.rows is not None and figure in (ROWS, Expr("count_if", (TRUE,))):
            return True, self._columns.rows
        if figure == Expr("count_if", (FALSE,)):
            return True, 0
        return (False, None) if where is not None else self._columns.known(figure)

    def _selected(self, wanted: Sequence[tuple[Expr | None, Expr]]) -> list[Any]:
        dense = {number: found for number, (_, figure) in enumerate(wanted) if (found := self._dense(figure))}
        with self._told([figure for _, figure in wanted]):
            frame, compilers = self._prepared([where for where, _ in wanted], [figure for _, figure in wanted])
            # Labels may hold any text of the suite; the frame gets plain names.
            selected = [
                (
                    dense[number].marking(compilers[where].masked(compilers[where].compile(figure.args[0])))
                    if number in dense
                    else compile_figure(compilers[where], figure)
                ).alias(f"f{number}")
                for number, (where, figure) in enumerate(wanted)
            ]
            spreads = [number for number, (_, figure) in enumerate(wanted) if figure.op == "stdev"]
            means = [
                compile_figure(compilers[wanted[number][0]], Expr("mean", wanted[number][1].args)).alias(f"m{number}")
                for number in spreads
            ]
            row = list(_collected(frame.select(*selected, *means)).row(0))
            centers = dict(zip(spreads, row[len(wanted) :], strict=True))
            far = {number: mean for number, mean in centers.items() if is_far(mean, row[number])}
            if far:
                # Parts of a batch are put together with an error that grows with the mean: taken off, there is none.
                again = [
                    spread_around(compilers[wanted[number][0]], wanted[number][1], mean).alias(f"s{number}")
                    for number, mean in far.items()
                ]
                for number, value in zip(far, _collected(frame.select(again)).row(0), strict=True):
                    row[number] = value
        return [
            dense[number].count() if number in dense else python_value(figure, row[number], self._columns.mixed)
            for number, (_, figure) in enumerate(wanted)
        ]

    def _dense(self, figure: Expr) -> DenseSet | None:
        """A set to count the distinct values of one column of whole numbers in, where its bounds allow."""
        if figure.op != "distinct" or len(figure.args) != 1 or figure.args[0].op != "column":
            return None
        if self.type_of(figure.args[0].args[0]).family != "integer":
            return None
        bounds = [self._columns.known(Expr(op, figure.args)) for op in ("min", "max")]
        return DenseSet.of(self._columns.rows, *(value if is_known else None for is_known, value in bounds))

    def _size(self) -> int:
        """The number of rows, counted once where the columns do not know it."""
        if self._columns.rows is None:
            with self._told([]):
                self._columns.rows = int(_collected(self._columns.frame([]).select(pl.len())).item())
        return self._columns.rows

    def _needs_parts(self, where: Expr | None, figure: Expr) -> bool:
        if not self._columns.mixed.keys().isdisjoint(figure.columns()):
            return False
        if figure.op == "distinct":
            return self._dense(figure) is None
        return figure.op == "count_if" and where is None and figure.args[0].repeated_keys() is not None

    def _in_parts(self, where: Expr | None, figure: Expr) -> int:
        rows = self._size()
        with self._told([figure]):
            frame, compilers = self._prepared([where], [figure])
            compiler = compilers[where]
            if figure.op == "distinct":
                return count_distinct(frame, [compiler.masked(compiler.compile(key)) for key in figure.args], rows)
            keys = figure.args[0].repeated_keys()
            assert keys is not None
            return count_repeated(frame, compiler, keys, figure.args[0], rows)

    @contextmanager
    def _told(self, exprs: Sequence[Expr]) -> Iterator[None]:
        """Failures of Polars as CannotCheck, or as DataError when it is the rows that are damaged."""
        try:
            yield
        except _FAILURES as error:
            self._columns.refuse_damage(_columns_of(exprs))
            raise CannotCheck(_reason(error)) from error

    def _looked(
        self,
        unexpected: Expr,
        shown: Sequence[Expr],
        where: Expr | None,
        read: Callable[[pl.LazyFrame], pl.DataFrame],
        first: int | None = None,
    ) -> pl.DataFrame:
        with self._told([unexpected, *shown]):
            return read(self._broken(unexpected, shown, where, first))

    def _broken(
        self, unexpected: Expr, shown: Sequence[Expr], where: Expr | None, first: int | None = None
    ) -> pl.LazyFrame:
        """The rows that break a rule, among the `first` ones or all, with their positions."""
        frame, compilers = self._prepared([where], [unexpected, *shown])
        frame = frame if first is None else frame.head(first)
        compiler, keys = compilers[where], unexpected.repeated_keys()
        if keys is not None and where is None and is_large(self._size()):
            marked = repeated_rows(frame, compiler, keys, unexpected, self._size())
            return marked.select(_ROW, *(compiler.compile(expr).alias(f"v{n}") for n, expr in enumerate(shown)))
        is_broken = compiler.compile(unexpected)
        if compiler.condition is not None:
            is_broken = is_broken & compiler.condition
        values = [compiler.compile(expr).alias(f"v{number}") for number, expr in enumerate(shown)]
        marked = frame.with_row_index(_ROW).select(_ROW, is_broken.alias("is_broken"), *values)
        return marked.filter("is_broken").drop("is_broken")

    def _prepared(
        self, wheres: Sequence[Expr | None], exprs: Sequence[Expr]
    ) -> tuple[pl.LazyFrame, dict[Expr | None, RowCompiler]]:
        names = _columns_of(expr for expr in (*exprs, *wheres) if expr is not None)
        frame = self._columns.frame(names)
        labels = {name: label_of(self._columns.names, name) for name in names}
        plain = RowCompiler(labels, dict(frame.collect_schema()), mixed=self._columns.mixed)
        compilers: dict[Expr | None, RowCompiler] = {None: plain}
        for where in wheres:
            if where is not None and where not in compilers:
                compilers[where] = RowCompiler(plain.labels, plain.types, plain.compile(where), plain.mixed)
        return frame, compilers


def _asks_all(*truths: Expr | None) -> bool:
    """Whether a row's truth hangs on rows that may come much later."""
    return any("repeated" in truth.operations() for truth in truths if truth is not None)


def _columns_of(exprs: Iterable[Expr]) -> list[str]:
    return sorted({name for expr in exprs for name in expr.columns()})


def _collected(frame: pl.LazyFrame) -> pl.DataFrame:
    return frame.collect(engine="streaming")


def _reason(error: BaseException) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]
