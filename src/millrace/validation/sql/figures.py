"""Figures of a batch as SQL: what one SELECT answers for all of them, and what takes a query of its own."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

from millrace.validation.backend import CannotCheck
from millrace.validation.expression import Expr
from millrace.validation.sql.text import Sql, SqlKind, SqlText

OWN_QUERY = ("quantile", "levels")
"""Figures that are sorted or grouped lists: each takes a query of its own."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_LOW_BITS = 2**32


@dataclass(frozen=True, slots=True)
class SqlFigure:
    """A figure in the making: the columns of a SELECT it needs, and what their values make."""

    columns: tuple[Sql, ...]
    finish: Callable[[Sequence[Any]], Any]


def write_figure(text: SqlText, expr: Expr, relation: Callable[[], Sql]) -> SqlFigure:
    """`expr`, a figure, over the rows of a SELECT.

    Parameters
    ----------
    text : SqlText
    expr : Expr
        Any figure but those of `OWN_QUERY`.
    relation : callable
        The rows again, for what needs to look at them a second time.

    Raises
    ------
    CannotCheck
        For what the database does not compute.
    """
    if expr.op == "rows":
        return SqlFigure((Sql("count(*)"),), _whole)
    if expr.op == "count_if":
        truth = text.write(expr.args[0])
        return SqlFigure((Sql(f"count(CASE WHEN {truth.text} THEN 1 END)", truth.values),), _whole)
    if expr.op == "distinct":
        return _distinct(text, expr, relation)
    value = text.write(expr.args[0])
    if expr.op in ("min", "max"):
        shown = shown_value(text, replace(value, text=f"{expr.op}({value.text})"))
        return SqlFigure((shown,), lambda found: read_value(found[0], value.kind))
    if value.kind not in ("int", "float", "decimal", "bool", "nothing"):
        raise CannotCheck(f"{expr.op} needs numbers")
    writer = {"sum": _sum, "mean": _mean, "stdev": _stdev}.get(expr.op)
    if writer is None:
        raise CannotCheck(f"unsupported: {text.dialect.name} does not compute '{expr.op}'")
    return writer(text, value, relation)


def shown_value(text: SqlText, value: Sql) -> Sql:
    """A value in the form in which it leaves the database: times as microseconds, no float of 32 bit."""
    form = f"CAST({{}} AS {text.dialect.double})" if value.is_single else text.dialect.micros.get(value.kind)
    return value if form is None else replace(value, text=form.format(value.text))


def read_value(value: Any, kind: SqlKind) -> Any:
    """What a driver gave for a value of `kind`, as Python's own; NaN is missing."""
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return None
    if kind in ("time", "zoned") or (kind == "date" and not isinstance(value, date)):
        try:
            moment = _EPOCH + timedelta(microseconds=int(value))
        except OverflowError as error:
            raise CannotCheck("a time lies beyond the years 1 to 9999") from error
        if kind == "date":
            return moment.date()
        return moment if kind == "zoned" else moment.replace(tzinfo=None)
    if kind == "int":
        return int(value)
    if kind == "bool":
        return bool(value)
    return float(value) if kind == "float" else value


def _whole(found: Sequence[Any]) -> int:
    return int(found[0] or 0)


def _distinct(text: SqlText, expr: Expr, relation: Callable[[], Sql]) -> SqlFigure:
    values = [text.write(arg) for arg in expr.args]
    if len(values) == 1:
        return SqlFigure((Sql(f"count(DISTINCT {values[0].text})", values[0].values),), _whole)
    rows = relation()
    names = [f"{value.text} AS {text.dialect.quoted(f'd{place}')}" for place, value in enumerate(values)]
    present = " AND ".join(f"{value.text} IS NOT NULL" for value in values)
    bound = sum((value.values for value in values), ())
    query = f"(SELECT count(*) FROM (SELECT DISTINCT {', '.join(names)} FROM {rows.text} WHERE {present}) AS d)"
    return SqlFigure((Sql(query, bound + rows.values + bound),), _whole)


def _sum(text: SqlText, value: Sql, _: Callable[[], Sql]) -> SqlFigure:
    if value.kind not in ("int", "bool"):
        double = f"CAST({value.text} AS {text.dialect.double})" if value.kind == "float" else value.text
        return SqlFigure((Sql(f"sum({double})", value.values),), lambda found: read_value(found[0], value.kind))
    if text.dialect.exact is not None:
        exact = Sql(f"sum(CAST({value.text} AS {text.dialect.exact}))", value.values)
        return SqlFigure((exact,), lambda found: read_value(found[0], "int"))
    # Halves of 32 bit add up within 64 bit for two thousand million rows.
    high = Sql(f"sum({value.text} >> 32)", value.values)
    low = Sql(f"sum({value.text} & {_LOW_BITS - 1})", value.values)
    return SqlFigure((high, low), _joined)


def _joined(found: Sequence[Any]) -> int | None:
    return None if found[0] is None else int(found[0]) * _LOW_BITS + int(found[1])


def _mean(text: SqlText, value: Sql, relation: Callable[[], Sql]) -> SqlFigure:
    if value.kind in ("int", "bool"):
        total, count = _sum(text, value, relation), Sql(f"count({value.text})", value.values)
        return SqlFigure(
            (*total.columns, count),
            lambda found: int(total.finish(found[:-1])) / int(found[-1]) if found[-1] else None,
        )
    mean = Sql(f"avg(CAST({value.text} AS {text.dialect.double}))", value.values)
    return SqlFigure((mean,), lambda found: read_value(found[0], "float"))


def _stdev(text: SqlText, value: Sql, relation: Callable[[], Sql]) -> SqlFigure:
    number = f"CAST({value.text} AS {text.dialect.double})"
    if text.dialect.stdev is not None:
        deviation = Sql(text.dialect.stdev.format(number), value.values)
        return SqlFigure((deviation,), lambda found: read_value(found[0], "float"))
    # The mean first, then the squares around it: one pass with sums of squares loses all digits far from zero.
    rows = relation()
    mean = f"(SELECT avg({number}) FROM {rows.text})"
    squares = Sql(f"sum(({number} - {mean}) * ({number} - {mean}))", (value.values + value.values + rows.values) * 2)
    count = Sql(f"count({value.text})", value.values)
    largest = Sql(f"max(abs({number}))", value.values)

    def finish(found: Sequence[Any]) -> float | None:
        total, present, farthest = found
        # Beside an infinite value there is no deviation.
        is_known = total is not None and present > 1 and math.isfinite(farthest)
        return math.sqrt(total / (present - 1)) if is_known else None

    return SqlFigure((squares, count, largest), finish)


def places(count: int, share: float) -> tuple[int, int, float]:
    """Where the quantile at `share` of `count` sorted values lies: the places before and after it, and how far on."""
    place = share * (count - 1)
    low = math.floor(place)
    return low, min(math.ceil(place), count - 1), place - low


def between(low: Any, high: Any, part: float, how: str) -> Any:
    """A quantile from its two neighbours."""
    first, second = (float(value) if isinstance(value, (int, Decimal)) else value for value in (low, high))
    if how != "linear":
        return first if how == "lower" else second
    return first if part == 0 or first == second else first + (second - first) * part
