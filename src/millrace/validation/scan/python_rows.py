"""Expressions evaluated in Python, for values that no column type holds: integers beside texts, UUIDs, any object."""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from millrace.validation.backend import CannotCheck
from millrace.validation.expression import Expr
from millrace.validation.portable_regex import like_regex

Row = Sequence[Any]
Evaluate = Callable[[Row], Any]

_COMPARE = {
    "eq": operator.eq,
    "ne": operator.ne,
    "lt": operator.lt,
    "le": operator.le,
    "gt": operator.gt,
    "ge": operator.ge,
}
_ARITHMETIC = {"add": operator.add, "sub": operator.sub, "mul": operator.mul}


@dataclass(frozen=True)
class MixedValues:
    """The distinct values of a column of several Python types; its rows hold their places in `values`.

    Parameters
    ----------
    values : list
        Distinct by type and value: 1, 1.0 and True are three.
    equal : list of int
        For each, the place of the first one that equals it: of those three, the first.
    """

    values: list[Any]
    equal: list[int]

    def extreme(self, op: str) -> Any:
        """The least or the greatest value, None of none. Raises TypeError for values that do not compare."""
        return (min if op == "min" else max)(self.values, default=None)

    @property
    def type_name(self) -> str:
        """The types, such as ``int and str``."""
        return " and ".join(sorted({type(value).__name__ for value in self.values})) or "nothing"


def encode(values: Sequence[Any]) -> tuple[list[int | None], MixedValues]:
    """The places of `values` among the distinct ones; None, where a value is None, stays None."""
    places: dict[Any, int] = {}
    first: dict[Any, int] = {}
    distinct: list[Any] = []
    equal: list[int] = []
    codes: list[int | None] = []
    for value in values:
        if value is None:
            codes.append(None)
            continue
        try:
            key, plain = (type(value), value), value
            hash(value)
        except TypeError:
            key, plain = (type(value), repr(value)), repr(value)
        if key not in places:
            places[key] = len(distinct)
            equal.append(first.setdefault(plain, len(distinct)))
            distinct.append(value)
        codes.append(places[key])
    return codes, MixedValues(distinct, equal)


def evaluator(expr: Expr, places: Mapping[str, int]) -> Evaluate:
    """A function of a row, in which the column `name` is at ``places[name]``; missing is None.

    It raises TypeError for operands that do not compare, such as a text and a number.
    """
    if expr.op == "column":
        place = places[expr.args[0]]
        return lambda row: row[place]
    if expr.op == "literal":
        value = expr.args[0]
        return lambda _: value
    if expr.op in ("and", "or"):
        return _joined(expr.op, [evaluator(part, places) for part in expr.args])
    inner = [evaluator(arg, places) for arg in expr.args if isinstance(arg, Expr)]
    if expr.op == "is_missing":
        return lambda row: inner[0](row) is None
    if expr.op in _COMPARE:
        return _of_present(inner, lambda left, right: _compared(expr.op, left, right))
    if expr.op == "is_in":
        members = [member.args[0] for member in expr.args[1:]]
        return _of_present(inner[:1], lambda value: value in members)
    function = _FUNCTIONS.get(expr.op)
    if function is None:
        raise CannotCheck(f"unsupported: '{expr.op}' over values of several types")
    settings = [arg for arg in expr.args if not isinstance(arg, Expr)]
    return _of_present(inner, function(*settings))


def _joined(op: str, parts: list[Evaluate]) -> Evaluate:
    decisive = op == "or"

    def run(row: Row) -> bool | None:
        answers = [part(row) for part in parts]
        if decisive in answers:
            return decisive
        return None if None in answers else not decisive

    return run


def _of_present(parts: list[Evaluate], function: Callable[..., Any]) -> Evaluate:
    def run(row: Row) -> Any:
        values = [part(row) for part in parts]
        return None if any(value is None for value in values) else function(*values)

    return run


def _compared(op: str, left: Any, right: Any) -> bool:
    if isinstance(left, str) != isinstance(right, str) and op not in ("eq", "ne"):
        raise TypeError(f"{left!r} cannot be compared with {right!r}")
    return bool(_COMPARE[op](_in_utc(left), _in_utc(right)))


def _in_utc(value: Any) -> Any:
    return value.replace(tzinfo=UTC) if isinstance(value, datetime) and value.tzinfo is None else value


def _matching(pattern: str) -> Callable[[Any], bool]:
    compiled = re.compile(pattern)
    return lambda text: compiled.search(text) is not None


def _alike(pattern: str, escape: str | None) -> Callable[[Any], bool]:
    compiled = re.compile(like_regex(pattern, escape))
    return lambda text: compiled.match(text) is not None


def text_of(value: Any) -> str:
    """A value as text; bytes are UTF-8. Raises ValueError for bytes that are not."""
    if not isinstance(value, bytes):
        return str(value)
    try:
        return value.decode()
    except UnicodeDecodeError as error:
        raise ValueError(f"{value!r} is no UTF-8 text") from error


_FUNCTIONS: dict[str, Callable[..., Callable[..., Any]]] = {
    **{op: lambda function=function: function for op, function in _ARITHMETIC.items()},
    "div": lambda: lambda left, right: left / right if right else None,
    "not": lambda: operator.not_,
    "abs": lambda: abs,
    "number": lambda: int,
    "text": lambda: text_of,
    "length": lambda: len,
    "matches": _matching,
    "like": _alike,
    "holds": lambda predicate: predicate.test,
}
