"""Expressions of rules as SQL text with bound values.

Logic is SQL's own, so truths need no care; what needs it is NaN, whole numbers beyond 64 bit, division, text order,
times, and what a database cannot compute at all.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from decimal import Decimal
from typing import Any, Literal, Protocol

import pyarrow as pa
from pyarrow import types

from millrace.validation.backend import CannotCheck
from millrace.validation.expression import Expr, Predicate
from millrace.validation.portable_regex import like_pattern, like_regex, portable_regex
from millrace.validation.sql.dialects import PARAMETER, Dialect
from millrace.validation.sql.numbers import as_float, as_single, fitting_member, is_unicode, rounded_limit

SqlKind = Literal["int", "float", "decimal", "bool", "text", "time", "zoned", "date", "nothing", "other"]

_SIGNS = {"eq": "=", "ne": "<>", "lt": "<", "le": "<=", "gt": ">", "ge": ">="}
_MIRRORED = {"eq": "eq", "ne": "ne", "lt": "gt", "le": "ge", "gt": "lt", "ge": "le"}
_ARITHMETIC = {"add": "+", "sub": "-", "mul": "*"}
_MOMENTS = ("time", "zoned", "date")
_EXACT = 10**38
"""Whole numbers below it are written as they are; every database has a type for them."""
_SHORT = 20
_BOUND_MEMBERS = 200
"""A set with more members is bound as one list where the database takes one."""


@dataclass(frozen=True, slots=True)
class Sql:
    """A piece of SQL: its text, the values bound in it in their order, and what it gives.

    `scale` is of a decimal: digits after its point, None where there may be any number of them; `is_single` of a float
    of 32 bit.
    """

    text: str
    values: tuple[Any, ...] = ()
    kind: SqlKind = "other"
    scale: int | None = None
    is_single: bool = False


@dataclass(frozen=True, slots=True)
class SqlColumn:
    """A column of a table or a query: its name, its Arrow type, and the SQL that gives its values.

    The SQL reads no other column. A decimal without `has_scale` may have any number of digits.
    """

    name: str
    type: pa.DataType
    text: str
    has_scale: bool = True


class Decide(Protocol):
    """Which values of an expression a Python predicate takes, as SQL; see `SqlText`."""

    def __call__(self, value: Sql, predicate: Predicate) -> Sql: ...


def sql_kind(found: pa.DataType) -> SqlKind:
    """What sort of SQL values an Arrow type stands for."""
    found = found.value_type if types.is_dictionary(found) else found
    tests: list[tuple[SqlKind, bool]] = [
        ("int", types.is_integer(found)),
        ("float", types.is_floating(found)),
        ("decimal", types.is_decimal(found)),
        ("bool", types.is_boolean(found)),
        ("text", types.is_string(found) or types.is_large_string(found) or types.is_string_view(found)),
        ("zoned", types.is_timestamp(found) and found.tz is not None),
        ("time", types.is_timestamp(found)),
        ("date", types.is_date(found)),
        ("nothing", types.is_null(found)),
    ]
    return next((kind for kind, holds in tests if holds), "other")


@dataclass
class SqlText:
    """Writes expressions for one table in one dialect.

    `windows` collects what must be computed beside the rows before they are filtered: expression to its alias and
    its text. `order` is the SQL that puts the rows in their order, None where they have none.
    """

    dialect: Dialect
    columns: Mapping[str, SqlColumn]
    decide: Decide
    order: str | None = None
    windows: dict[Expr, tuple[str, Sql]] = field(default_factory=dict)

    def write(self, expr: Expr) -> Sql:
        """`expr`, a value of a row, as SQL. Raises CannotCheck for what this database does not compute."""
        writer = _WRITERS.get(expr.op)
        if writer is None:
            raise CannotCheck(f"unsupported: {self.dialect.name} does not compute '{expr.op}'")
        return writer(self, expr)

    def column(self, expr: Expr) -> Sql:
        column = self.columns.get(expr.args[0])
        if column is None:
            raise CannotCheck(f"there is no column '{expr.args[0]}'")
        kind = sql_kind(column.type)
        text = column.text
        if kind == "float" and self.dialect.null_if_nan:
            text = self.dialect.null_if_nan.format(text)
        if kind == "text":
            text = self.dialect.collate.format(text)
        scale = column.type.scale if kind == "decimal" and column.has_scale else None
        is_single = types.is_float32(column.type) or types.is_float16(column.type)
        return Sql(text, (), kind, scale, is_single)

    def literal(self, value: Any, beside: Sql | None = None) -> Sql:
        """A plain value, in the form that compares with the value `beside`."""
        if value is None:
            return Sql("NULL", (), "nothing")
        if isinstance(value, bool):
            return Sql(self.dialect.true if value else self.dialect.false, (), "bool")
        if isinstance(value, date):
            is_zoned = isinstance(value, datetime) and value.tzinfo is not None
            own: SqlKind = "zoned" if is_zoned else "time" if isinstance(value, datetime) else "date"
            kind = beside.kind if beside is not None and beside.kind in _MOMENTS else own
            return Sql(self.dialect.literal_of_moment(value, kind), (), kind)
        if isinstance(value, str):
            if not is_unicode(value):
                raise CannotCheck(f"unsupported: {value!r} is no Unicode text, and {self.dialect.name} takes no other")
            return Sql(f"CAST({PARAMETER} AS {self.dialect.text})", (value,), "text")
        if isinstance(value, int) and abs(value) < _EXACT:
            return Sql(f"({value})" if value < 0 else str(value), (), "int")
        if isinstance(value, Decimal) and value.is_finite() and self.dialect.has_decimals:
            return Sql(f"({value:f})", (), "decimal")
        if not isinstance(value, (int, float, Decimal)):
            raise CannotCheck(f"unsupported: {self.dialect.name} has no form of {value!r}")
        double = as_float(value)
        if beside is not None and beside.is_single:  # compared in 32 bit, as pandas does
            double = as_single(double)
        return Sql(f"CAST({PARAMETER} AS {self.dialect.double})", (double,), "float")

    def comparison(self, expr: Expr) -> Sql:
        op, (left, right) = expr.op, expr.args
        if left.op == "literal" and right.op != "literal":
            op, left, right = _MIRRORED[op], right, left
        value = self.write(left)
        if right.op != "literal":
            other = self.write(right)
            return Sql(f"({value.text} {_SIGNS[op]} {other.text})", value.values + other.values, "bool")
        limit = right.args[0]
        if value.kind == "decimal" and isinstance(limit, (int, float, Decimal)):
            return self._compared_decimal(op, value, limit)
        if value.kind == "int" and isinstance(limit, float):  # beside a float, whole numbers are floats
            value = Sql(f"CAST({value.text} AS {self.dialect.double})", value.values, "float")
        written = self.literal(limit, value)
        return Sql(f"({value.text} {_SIGNS[op]} {written.text})", value.values + written.values, "bool")

    def _compared_decimal(self, op: str, value: Sql, limit: int | float | Decimal) -> Sql:
        rounded = rounded_limit(op, limit, value.scale)
        if isinstance(rounded, bool):
            answer = self.dialect.true if rounded else self.dialect.false
            return Sql(f"(CASE WHEN {value.text} IS NOT NULL THEN {answer} END)", value.values, "bool")
        return Sql(f"({value.text} {_SIGNS[op]} ({rounded:f}))", value.values, "bool")

    def junction(self, expr: Expr) -> Sql:
        parts = [self.write(arg) for arg in expr.args]
        text = _joined([part.text for part in parts], expr.op.upper())
        return Sql(text, tuple(value for part in parts for value in part.values), "bool")

    def negation(self, expr: Expr) -> Sql:
        truth = self.write(expr.args[0])
        return Sql(f"(NOT {truth.text})", truth.values, "bool")

    def missing(self, expr: Expr) -> Sql:
        value = self.write(expr.args[0])
        return Sql(f"({value.text} IS NULL)", value.values, "bool")

    def membership(self, expr: Expr) -> Sql:
        return self.among(self.write(expr.args[0]), [member.args[0] for member in expr.args[1:]])

    def among(self, value: Sql, members: Sequence[Any]) -> Sql:
        """Whether `value` is one of the plain values `members`; those of another sort equal none."""
        found = (fitting_member(member, value.kind, value.scale) for member in members)
        fitting = [member for member in found if member is not None]
        if not fitting:
            false = self.dialect.false
            return Sql(f"(CASE WHEN {value.text} IS NOT NULL THEN {false} END)", value.values, "bool")
        if len(fitting) > _BOUND_MEMBERS and value.kind == "text" and self.dialect.member is not None:
            return self._among_list(value, fitting)
        written = [self.literal(member, value) for member in fitting]
        text = ", ".join(member.text for member in written)
        return Sql(f"({value.text} IN ({text}))", sum((part.values for part in written), value.values), "bool")

    def _among_list(self, value: Sql, members: list[str]) -> Sql:
        form = self.dialect.member or ""
        bound = (self.dialect.bound_list(members),)
        # The value may stand before or after the list.
        is_first = form.index("{}") < form.index(PARAMETER)
        return Sql(f"({form.format(value.text)})", value.values + bound if is_first else bound + value.values, "bool")

    def arithmetic(self, expr: Expr) -> Sql:
        left, right = self.write(expr.args[0]), self.write(expr.args[1])
        values = left.values + right.values
        if {left.kind, right.kind} <= {"int", "bool"} and self.dialect.exact is not None:
            texts = [f"CAST({part.text} AS {self.dialect.exact})" for part in (left, right)]
            return Sql(f"({texts[0]} {_ARITHMETIC[expr.op]} {texts[1]})", values, "int")
        kind: SqlKind = "float" if "float" in (left.kind, right.kind) else left.kind
        if kind == "float" or (self.dialect.exact is None and expr.op == "mul"):
            texts, kind = [f"CAST({part.text} AS {self.dialect.double})" for part in (left, right)], "float"
        else:
            texts = [left.text, right.text]
        return Sql(f"({texts[0]} {_ARITHMETIC[expr.op]} {texts[1]})", values, kind)

    def division(self, expr: Expr) -> Sql:
        left, right = self.write(expr.args[0]), self.write(expr.args[1])
        double = self.dialect.double
        text = f"(CAST({left.text} AS {double}) / NULLIF(CAST({right.text} AS {double}), 0))"
        return Sql(text, left.values + right.values, "float")

    def absolute(self, expr: Expr) -> Sql:
        value = self.write(expr.args[0])
        if value.kind == "int" and self.dialect.exact is not None:  # the least of 64 bit has no opposite there
            return Sql(f"abs(CAST({value.text} AS {self.dialect.exact}))", value.values, "int")
        return Sql(f"abs({value.text})", value.values, value.kind)

    def number(self, expr: Expr) -> Sql:
        truth = self.write(expr.args[0])
        text = f"(CASE WHEN {truth.text} THEN 1 WHEN NOT {truth.text} THEN 0 END)"
        return Sql(text, truth.values * 2, "int")

    def as_text(self, expr: Expr) -> Sql:
        value = self.write(expr.args[0])
        if value.kind in ("text", "nothing"):
            return Sql(value.text, value.values, "text")
        if value.kind != "int":
            raise CannotCheck(f"unsupported: {self.dialect.name} writes {value.kind} values in its own way")
        text = self.dialect.collate.format(f"CAST({value.text} AS {self.dialect.text})")
        return Sql(text, value.values, "text")

    def matching(self, expr: Expr) -> Sql:
        text, pattern = expr.args
        if self.dialect.matches is not None:
            portable = portable_regex(pattern, end=self.dialect.end)
            if portable is not None and not self._is_told_by_python(text):
                written = self.as_text(Expr("text", (text,)))
                return Sql(self.dialect.matches.format(written.text), (*written.values, portable), "bool")
        test = re.compile(pattern)
        return self._judged(text, Predicate(("matches", pattern), lambda value: test.search(value) is not None))

    def liking(self, expr: Expr) -> Sql:
        text, pattern, escape = expr.args
        is_strange = not is_unicode(pattern)
        if self.dialect.functions or is_strange or self._is_told_by_python(text):  # SQLite's LIKE takes "a" for "A"
            test = re.compile(like_regex(pattern, escape))
            wanted = ("like", pattern, escape)
            return self._judged(text, Predicate(wanted, lambda value: test.match(value) is not None))
        written = self.write(text)
        like = f"({written.text} LIKE CAST({PARAMETER} AS {self.dialect.text}) ESCAPE '!')"
        return Sql(like, (*written.values, like_pattern(pattern, escape)), "bool")

    def characters(self, expr: Expr) -> Sql:
        text = self.write(expr.args[0])
        return Sql(f"length({text.text})", text.values, "int")

    def holding(self, expr: Expr) -> Sql:
        return self._judged(*expr.args)

    def _is_told_by_python(self, text: Expr) -> bool:
        """Whether `text` is a value as text that every database writes in its own way."""
        return text.op == "text" and self.write(text.args[0]).kind not in ("int", "text", "nothing")

    def _judged(self, value: Expr, predicate: Predicate) -> Sql:
        if not self._is_told_by_python(value):
            return self.decide(self.write(value), predicate)
        of_text = Predicate(("text", predicate.key), lambda plain: predicate.test(str(plain)))
        return self.decide(self.write(value.args[0]), of_text)

    def repetition(self, expr: Expr) -> Sql:
        parts = [self.write(arg) for arg in expr.args]
        text = f"count(*) OVER (PARTITION BY {', '.join(part.text for part in parts)}) > 1"
        return self._window(expr, Sql(text, sum((part.values for part in parts), ()), "bool"))

    def earlier(self, expr: Expr) -> Sql:
        if self.order is None:
            raise CannotCheck("unsupported: the rows of a table or a query have no order, which the rule asks for")
        value = self.write(expr.args[0])
        # Rows with a value are a part of their own, so the one before is the nearest that has one.
        text = f"lag({value.text}) OVER (PARTITION BY {value.text} IS NULL ORDER BY {self.order})"
        return self._window(expr, Sql(text, value.values * 2, value.kind))

    def _window(self, expr: Expr, sql: Sql) -> Sql:
        if any(arg.operations() & {"repeated", "previous"} for arg in expr.args):
            raise CannotCheck(f"unsupported: {self.dialect.name} does not look at other rows twice in one value")
        alias, _ = self.windows.setdefault(expr, (f"millrace_w{len(self.windows)}", sql))
        return Sql(self.dialect.quoted(alias), (), sql.kind)


def _joined(texts: Sequence[str], operator: str) -> str:
    """Truths joined in halves of halves: databases bound how deep an expression may be."""
    if len(texts) <= _SHORT:
        return f"({f' {operator} '.join(texts)})"
    half = len(texts) // 2
    return f"({_joined(texts[:half], operator)} {operator} {_joined(texts[half:], operator)})"


_WRITERS: dict[str, Callable[[SqlText, Expr], Sql]] = {
    "column": SqlText.column,
    "literal": lambda text, expr: text.literal(expr.args[0]),
    "and": SqlText.junction,
    "or": SqlText.junction,
    "not": SqlText.negation,
    **dict.fromkeys(_SIGNS, SqlText.comparison),
    "is_missing": SqlText.missing,
    "is_in": SqlText.membership,
    **dict.fromkeys(_ARITHMETIC, SqlText.arithmetic),
    "div": SqlText.division,
    "abs": SqlText.absolute,
    "number": SqlText.number,
    "text": SqlText.as_text,
    "matches": SqlText.matching,
    "like": SqlText.liking,
    "length": SqlText.characters,
    "holds": SqlText.holding,
    "repeated": SqlText.repetition,
    "previous": SqlText.earlier,
}
