"""A table or a query in a database as a batch: figures are computed there, and rows leave it only as examples."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from itertools import islice
from typing import Any, Protocol

from millrace.validation.arrow_types import of_arrow
from millrace.validation.backend import CannotCheck, Scopes, query_on
from millrace.validation.column_type import ColumnType
from millrace.validation.expression import Expr, Predicate, count_if, is_present
from millrace.validation.sql.dialects import PARAMETER, Dialect
from millrace.validation.sql.figures import (
    OWN_QUERY,
    SqlFigure,
    between,
    places,
    read_value,
    shown_value,
    write_figure,
)
from millrace.validation.sql.text import Sql, SqlColumn, SqlText

ROWS_NAME = "millrace_rows"
POSITION = "millrace_position"
MOST_COLUMNS = 1000
"""Figures of one SELECT; databases take between 1,600 and 2,000 columns."""
FEW_VALUES = 10_000
"""Distinct values that are kept between the tests of one suite."""
MOST_DECIDED = 100_000
"""Distinct values a Python test may take or refuse, whichever are fewer, where the database cannot call it."""


class Database(Protocol):
    """A connection, kept to one state of the data while a suite is judged where the database can."""

    def run(self, text: str, values: Sequence[Any], *, is_long: bool = False) -> Iterable[Sequence[Any]]:
        """The rows of a SELECT, piece by piece where there may be many, `is_long`.

        Raises CannotCheck when the database refuses it.
        """
        ...

    def columns_of(self, text: str) -> list[str]:
        """The names of the columns of a SELECT. Raises CannotCheck when the database refuses it."""
        ...

    def define(self, name: str, function: Callable[[Any], Any]) -> None:
        """Let statements call a Python function of one value; only where the dialect has functions."""
        ...

    def close(self) -> None:
        """Let the connection go."""
        ...


class SqlBackend:
    """The port `Backend` over SQL.

    Parameters
    ----------
    database : Database
    dialect : Dialect
    relation : str
        What stands behind FROM: a quoted table, or a query in parentheses with an alias.
    columns : sequence of SqlColumn
    order : str, optional
        SQL that puts the rows in their order. Without it rows have no position, and no rule that depends on the
        rows before is judged.
    """

    def __init__(
        self,
        database: Database,
        dialect: Dialect,
        relation: str,
        columns: Sequence[SqlColumn],
        *,
        order: str | None = None,
    ) -> None:
        self.names: list[str] = [column.name for column in columns]
        self.unsupported: frozenset[str] = frozenset() if order is not None else frozenset({"previous"})
        self._database, self._dialect = database, dialect
        self._order = order
        self._relation = relation
        self._columns = {column.name: column for column in columns}
        self._decided: dict[tuple[str, tuple[Any, ...], Predicate], Sql] = {}
        self._few: dict[tuple[str, tuple[Any, ...]], list[Any]] = {}
        # Examples that were all there are: their counts need no query.
        self._last: tuple[tuple[Any, ...], list[tuple[Any, ...]]] | None = None

    def close(self) -> None:
        """Let the connection go; the batch can be asked nothing more."""
        self._database.close()

    def type_of(self, column: str) -> ColumnType:
        """Type of a column that is there."""
        return of_arrow(self._columns[column].type)

    def compute(self, scopes: Scopes) -> dict[Expr | None, dict[Expr, Any]]:
        """The figures of each scope: one SELECT, and one for every sorted or grouped list."""
        return {where: self._scope(where, list(dict.fromkeys(wanted))) for where, wanted in scopes.items()}

    def examples(
        self, unexpected: Expr, shown: Sequence[Expr], *, where: Expr | None, limit: int | None
    ) -> list[tuple[int | None, tuple[Any, ...]]]:
        """The first rows where `unexpected` is true, their positions where rows have an order."""
        self._last = None
        if limit == 0:
            return []
        rows = _Rows(self._text(), where)
        condition = rows.text.write(unexpected)
        values = [rows.text.write(each) for each in shown]
        leaving = [shown_value(rows.text, value) for value in values]
        position = self._dialect.quoted(POSITION) if self._order is not None else "NULL"
        chosen = ", ".join([position, *(value.text for value in leaving)])
        bound = sum((value.values for value in leaving), ())
        end = f" ORDER BY {position}" if self._order is not None else ""
        end += "" if limit is None else f" LIMIT {limit}"
        source = rows.source(self, [unexpected, *shown], with_position=True)
        found = self._run(
            source,
            f"SELECT {chosen} FROM {ROWS_NAME} WHERE {condition.text}{end}",
            bound + condition.values,
            is_long=limit is None,
        )
        answer = [
            (
                None if row[0] is None else int(row[0]),
                tuple(read_value(cell, value.kind) for cell, value in zip(row[1:], values, strict=True)),
            )
            for row in found
        ]
        if limit is None or len(answer) < limit:
            self._last = (unexpected, tuple(shown), where), [row for _, row in answer]
        return answer

    def frequent(
        self, unexpected: Expr, shown: Sequence[Expr], *, where: Expr | None, limit: int
    ) -> list[tuple[tuple[Any, ...], int]]:
        """The most frequent values among those rows; equal counts by first row, or by value where there is no order."""
        if self._last is not None and self._last[0] == (unexpected, tuple(shown), where):
            return Counter(self._last[1]).most_common(limit)
        rows = _Rows(self._text(), where)
        condition = rows.text.write(unexpected)
        values = [rows.text.write(each) for each in shown]
        quoted = self._dialect.quoted
        names = [quoted(f"s{place}") for place in range(len(values))]
        parts = [f"{value.text} AS {name}" for value, name in zip(values, names, strict=True)]
        order = f"min({quoted(POSITION)})" if self._order is not None else ", ".join(names)
        if self._order is not None:
            parts.append(quoted(POSITION))
        leaving = [
            shown_value(rows.text, replace(value, text=name, values=())).text
            for name, value in zip(names, values, strict=True)
        ]
        source = rows.source(self, [unexpected, *shown], with_position=True)
        found = self._run(
            source,
            f"SELECT {', '.join(leaving)}, count(*) FROM (SELECT {', '.join(parts)} FROM {ROWS_NAME} WHERE "
            f"{condition.text}) AS s GROUP BY {', '.join(names)} ORDER BY count(*) DESC, {order} LIMIT {limit}",
            sum((value.values for value in values), ()) + condition.values,
        )
        return [
            (tuple(read_value(cell, value.kind) for cell, value in zip(row[:-1], values, strict=True)), int(row[-1]))
            for row in found
        ]

    def query(self, text: str, *, limit: int) -> tuple[int, list[dict[str, Any]]]:
        """How many rows a SELECT on the batch, ``{batch}`` in `text`, gives, and the first `limit` of them."""
        # On a line of its own it may end in a comment.
        asked = f"FROM (\n{query_on(text, ROWS_NAME)}\n) AS q"
        source = Sql(f"SELECT * FROM {self._relation}")
        # One SELECT can only read. With a value bound, no driver takes several statements at once.
        bound, is_one = (1,), f"WHERE {PARAMETER} = 1"
        ((count, *_),) = self._run(source, f"SELECT count(*) {asked} {is_one}", bound)
        rows = self._run(source, f"SELECT * {asked} {is_one} LIMIT {limit}", bound)
        found = [tuple(row) for row in rows]
        names = self._database.columns_of(
            self._dialect.written(f"WITH {ROWS_NAME} AS ({source.text}) SELECT * {asked} LIMIT 0")
        )
        return int(count), [dict(zip(names, row, strict=True)) for row in found]

    def _scope(self, where: Expr | None, wanted: list[Expr]) -> dict[Expr, Any]:
        plain = [each for each in wanted if each.op not in OWN_QUERY]
        sorted_values = list(dict.fromkeys(each.args[0] for each in wanted if each.op == "quantile"))
        # A quantile's place follows from how many values there are.
        counts = {value: count_if(is_present(value)) for value in sorted_values}
        found: dict[Expr, Any] = {}
        asked = list(dict.fromkeys([*plain, *counts.values()]))
        while asked:
            asked, left = asked[:MOST_COLUMNS], asked[MOST_COLUMNS:]
            found.update(self._select(where, asked))
            asked = left
        for each in wanted:
            if each.op == "levels":
                found[each] = self._levels(where, each.args[0])
        for value in sorted_values:
            shares = [each for each in wanted if each.op == "quantile" and each.args[0] == value]
            found.update(self._quantiles(where, value, shares, found[counts[value]]))
        return {each: found[each] for each in wanted}

    def _select(self, where: Expr | None, wanted: Sequence[Expr]) -> dict[Expr, Any]:
        rows = _Rows(self._text(), where)
        figures: list[SqlFigure] = [write_figure(rows.text, each, rows.again) for each in wanted]
        columns = [column for figure in figures for column in figure.columns]
        bound = sum((column.values for column in columns), ())
        chosen = ", ".join(column.text for column in columns)
        answer = self._run(rows.source(self, wanted), f"SELECT {chosen} FROM {ROWS_NAME}", bound)
        cells = iter(next(iter(answer)))
        return {
            each: figure.finish(list(islice(cells, len(figure.columns))))
            for each, figure in zip(wanted, figures, strict=True)
        }

    def _levels(self, where: Expr | None, value: Expr) -> list[tuple[Any, int]]:
        rows = _Rows(self._text(), where)
        written = rows.text.write(value)
        leaving = shown_value(rows.text, replace(written, text="v", values=())).text
        found = self._run(
            rows.source(self, [value]),
            f"SELECT {leaving}, count(*) FROM (SELECT {written.text} AS v FROM {ROWS_NAME}) AS s WHERE v IS NOT NULL "
            "GROUP BY v ORDER BY count(*) DESC, v",
            written.values,
        )
        return [(read_value(cell, written.kind), int(count)) for cell, count in found]

    def _quantiles(self, where: Expr | None, value: Expr, wanted: Sequence[Expr], count: int) -> dict[Expr, Any]:
        if count == 0:
            return dict.fromkeys(wanted)
        spots = {each: places(count, each.args[1]) for each in wanted}
        needed = sorted({place for low, high, _ in spots.values() for place in (low, high)})
        rows = _Rows(self._text(), where)
        written = rows.text.write(value)
        leaving = shown_value(rows.text, replace(written, text="v", values=())).text
        found = self._run(
            rows.source(self, [value]),
            f"SELECT place, {leaving} FROM (SELECT v, row_number() OVER (ORDER BY v) - 1 AS place FROM (SELECT "
            f"{written.text} AS v FROM {ROWS_NAME}) AS s WHERE v IS NOT NULL) AS p "
            f"WHERE place IN ({', '.join(map(str, needed))})",
            written.values,
        )
        at = {int(place): read_value(cell, written.kind) for place, cell in found}
        return {each: between(at[low], at[high], part, each.args[2]) for each, (low, high, part) in spots.items()}

    def _text(self) -> SqlText:
        return SqlText(
            self._dialect, self._columns, self._decide, self._dialect.quoted(POSITION) if self._order else None
        )

    def _run(
        self, source: Sql, select: str, values: tuple[Any, ...], *, is_long: bool = False
    ) -> Iterable[Sequence[Any]]:
        """The rows of `select`, which reads `source` by its name."""
        text = f"WITH {ROWS_NAME} AS ({source.text}) {select}"
        return self._database.run(self._dialect.written(text), source.values + values, is_long=is_long)

    def _decide(self, value: Sql, predicate: Predicate) -> Sql:
        key = value.text, value.values, predicate
        if key not in self._decided:
            self._decided[key] = (
                self._function(value, predicate) if self._dialect.functions else self._set(value, predicate)
            )
        return self._decided[key]

    def _function(self, value: Sql, predicate: Predicate) -> Sql:
        name = f"millrace_test{len(self._decided)}"
        known: dict[Any, bool | None] = {}

        def test(cell: Any) -> bool | None:
            if cell not in known:
                if len(known) >= MOST_DECIDED:
                    known.clear()
                plain = read_value(cell, value.kind)
                known[cell] = None if plain is None else bool(predicate.test(plain))
            return known[cell]

        self._database.define(name, test)
        return Sql(f"{name}({value.text})", value.values, "bool")

    def _distinct_values(self, value: Sql) -> Iterator[Any]:
        """Its present values, each once; few of them are asked for once for all tests."""
        key = value.text, value.values
        if key in self._few:
            yield from self._few[key]
            return
        leaving = shown_value(self._text(), replace(value, text="v", values=())).text
        found = self._run(
            Sql(f"SELECT {value.text} AS v FROM {self._relation}", value.values),
            f"SELECT {leaving} FROM (SELECT DISTINCT v FROM {ROWS_NAME} WHERE v IS NOT NULL) AS s",
            (),
            is_long=True,
        )
        kept: list[Any] = []
        for (cell,) in found:
            plain = read_value(cell, value.kind)
            if len(kept) <= FEW_VALUES:
                kept.append(plain)
            yield plain
        if len(kept) <= FEW_VALUES:
            self._few[key] = kept

    def _set(self, value: Sql, predicate: Predicate) -> Sql:
        if f"{self._dialect.quote}millrace_w" in value.text:
            raise CannotCheck(f"unsupported: {self._dialect.name} does not test values of other rows in Python")
        text = self._text()
        taken: list[Any] = []
        refused: list[Any] = []
        for plain in self._distinct_values(value):
            try:
                (taken if predicate.test(plain) else refused).append(plain)
            except (TypeError, ValueError, ArithmeticError) as error:
                raise CannotCheck(f"the value {plain!r} cannot be tested: {error}") from error
            if min(len(taken), len(refused)) > MOST_DECIDED:
                raise CannotCheck(
                    f"unsupported: the rule takes and refuses more than {MOST_DECIDED:,} distinct values each, which "
                    f"{self._dialect.name} cannot be asked about"
                )
        if len(taken) <= len(refused):
            return text.among(value, taken)
        others = text.among(value, refused)
        return Sql(f"(NOT {others.text})", others.values, "bool")


class _Rows:
    """The rows of one query: those of a scope, with what must be seen of other rows beside each."""

    def __init__(self, text: SqlText, where: Expr | None) -> None:
        self.text = text
        self._where = None if where is None else text.write(where)
        self._is_windowed_scope = bool(text.windows)
        self._read = set() if where is None else where.columns()

    def again(self) -> Sql:
        """The same rows, for a query within the query."""
        return Sql(ROWS_NAME)

    def source(self, backend: SqlBackend, expressions: Iterable[Expr], *, with_position: bool = False) -> Sql:
        """The SELECT that gives these rows, with the columns that `expressions` read."""
        quoted = backend._dialect.quoted
        read = set().union(*(each.columns() for each in expressions))
        chosen = [quoted(name) for name in backend.names if name in read]
        relation = backend._relation
        is_ordered = with_position or any(expr.op == "previous" for expr in self.text.windows)
        if backend._order is not None and is_ordered:
            position = quoted(POSITION)
            relation = (
                f"(SELECT *, row_number() OVER (ORDER BY {backend._order}) - 1 AS {position} FROM {relation}) AS n"
            )
            chosen.append(position)
        chosen += [f"{sql.text} AS {quoted(alias)}" for alias, sql in self.text.windows.values()]
        bound = sum((sql.values for _, sql in self.text.windows.values()), ())
        if self._is_windowed_scope:
            raise CannotCheck("unsupported: a condition on rows that looks at other rows")
        condition = "" if self._where is None else f" WHERE {self._where.text}"
        chosen = chosen or ["1 AS millrace_one"]
        return Sql(
            f"SELECT {', '.join(chosen)} FROM {relation}{condition}",
            bound + (() if self._where is None else self._where.values),
        )
