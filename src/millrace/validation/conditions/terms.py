"""What a condition on rows compares: columns, literals and arithmetic on them, with the meaning pandas gives to each.

A comparison with a missing value is false and not missing, so its negation is true: `x != 1` keeps rows without `x`.
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from typing import Any, Literal

from millrace.validation.backend import CannotCheck
from millrace.validation.batch import Batch
from millrace.validation.expression import (
    FALSE,
    TRUE,
    Expr,
    all_of,
    any_of,
    arithmetic,
    as_number,
    compare,
    is_in,
    is_missing,
    is_present,
    literal,
    matches,
    negate,
)

Comparison = Literal["eq", "ne", "lt", "le", "gt", "ge"]

SIGNS: dict[str, Comparison] = {"==": "eq", "!=": "ne", "<": "lt", "<=": "le", ">": "gt", ">=": "ge"}
_MIRRORED: dict[Comparison, Comparison] = {"eq": "eq", "ne": "ne", "lt": "gt", "le": "ge", "gt": "lt", "ge": "le"}
_PYTHON: dict[str, Callable[[Any, Any], Any]] = {
    "add": operator.add,
    "sub": operator.sub,
    "mul": operator.mul,
    "div": operator.truediv,
}


@dataclass(frozen=True, slots=True)
class Term:
    """One operand: a literal `value`, a column by its `name`, or a calculated number."""

    kind: str
    expr: Expr
    name: str | None = None
    value: Any = None

    @property
    def is_literal(self) -> bool:
        return self.expr.op == "literal"

    def describe(self) -> str:
        if self.is_literal:
            return repr(self.value)
        return f"the column '{self.name}' ({self.kind})" if self.name is not None else "a calculated number"


def column_term(batch: Batch, name: str) -> Term:
    """The column `name`. Raises CannotCheck when it is not there."""
    kind: str = batch.kind(name)
    if kind == "time" and batch.type_of(name).zone is not None:
        kind = "zoned time"  # which no time without a zone equals
    return Term(kind, batch.values(name), name)


def literal_term(value: Any) -> Term:
    """A plain value. Raises CannotCheck for one that nothing can be compared with."""
    kinds = [("bool", bool), ("number", (int, float, Decimal)), ("text", str), ("time", date)]
    for kind, classes in kinds:
        if isinstance(value, classes):  # type: ignore[arg-type]
            return Term(kind, literal(value), value=value)
    raise CannotCheck(f"unsupported: nothing can be compared with {value!r} in a condition on rows")


def calculated(op: Literal["add", "sub", "mul", "div"], left: Term, right: Term) -> Term:
    """Arithmetic on numbers."""
    for term in (left, right):
        if term.kind not in ("number", "bool", "nothing"):
            raise CannotCheck(f"{term.describe()} is no number to calculate with")
    if left.is_literal and right.is_literal:
        try:
            return literal_term(_PYTHON[op](left.value, right.value))
        except ArithmeticError as error:
            raise CannotCheck(f"{left.value!r} and {right.value!r} give no number: {error}") from error
    return Term("number", arithmetic(op, _number(left), _number(right)))


def compared(batch: Batch, op: Comparison, left: Term, right: Term) -> Expr:
    """A truth that is never missing. Raises CannotCheck for an order between values of different kinds."""
    if left.is_literal and not right.is_literal:
        return compared(batch, _MIRRORED[op], right, left)
    if op == "ne":
        return negate(compared(batch, "eq", left, right))
    if left.is_literal:
        return _known(op, left, right)
    try:
        values, other = (
            (left.expr, right.expr) if op == "eq" and _are_alike(batch, left, right) else _fitted(batch, left, right)
        )
    except CannotCheck:
        if op == "eq" or "nothing" in (left.kind, right.kind):
            return FALSE  # nothing of one kind equals anything of another, and what is missing has no place in an order
        raise
    return all_of(*(is_present(each) for each in (values, other) if each.op != "literal"), compare(op, values, other))


def _are_alike(batch: Batch, left: Term, right: Term) -> bool:
    """Two columns of one type that has no order here, such as spans of time: they can still be equal."""
    if left.name is None or right.name is None or not left.kind == right.kind == "other":
        return False
    return bool(batch.type_of(left.name) == batch.type_of(right.name))


def is_member(batch: Batch, term: Term, members: Sequence[Any]) -> Expr:
    """Whether a term is one of plain values; those of another kind are none of it."""
    if term.is_literal:
        return TRUE if term.value in members else FALSE
    if term.kind in ("number", "bool", "nothing"):
        plain = [member for member in members if isinstance(member, (bool, int, float, Decimal))]
        plain = [int(member) if isinstance(member, bool) else member for member in plain]
        found = is_in(_number(term), plain) if plain else FALSE
    elif term.kind == "mixed":
        plain = [member for member in members if member is not None]
        found = is_in(term.expr, plain) if plain else FALSE
    elif term.kind == "text":
        texts = [member for member in members if isinstance(member, str)]
        found = is_in(term.expr, texts) if texts else FALSE
    else:
        equal = [truth for member in members if (truth := compared(batch, "eq", term, literal_term(member))) != FALSE]
        found = any_of(*equal) if equal else FALSE
    return found if found == FALSE else all_of(is_present(term.expr), found)


def misses(term: Term) -> Expr:
    """Whether there is no value."""
    return FALSE if term.is_literal else is_missing(term.expr)


def finds(term: Term, pattern: str) -> Expr:
    """Whether a text holds a regular expression."""
    if term.kind not in ("text", "nothing"):
        raise CannotCheck(f"{term.describe()} is no text to search")
    try:
        compiled = re.compile(pattern)
    except (re.error, OverflowError, RecursionError) as error:
        raise CannotCheck(f"{pattern!r} is no regular expression: {error}") from error
    if term.is_literal:  # a backend may not know how many rows a constant is for
        return TRUE if compiled.search(term.value) else FALSE
    return FALSE if term.kind == "nothing" else all_of(is_present(term.expr), matches(term.expr, pattern))


def truth_of(term: Term) -> Expr:
    """A term that stands where a truth is due."""
    if term.kind == "nothing":
        return FALSE
    if term.kind != "bool":
        raise CannotCheck(f"{term.describe()} is neither true nor false")
    return term.expr if term.is_literal else all_of(is_present(term.expr), term.expr)


def _known(op: Comparison, left: Term, right: Term) -> Expr:
    try:
        return TRUE if getattr(operator, op)(left.value, right.value) else FALSE
    except TypeError as error:
        raise CannotCheck(f"{left.value!r} cannot be compared with {right.value!r}") from error


def _fitted(batch: Batch, left: Term, right: Term) -> tuple[Expr, Expr]:
    if right.is_literal and left.name is not None:
        value = int(right.value) if isinstance(right.value, bool) else right.value
        values, (bound,) = batch.ordered(left.name, (value,))
        if bound is None:
            raise CannotCheck(f"{left.describe()} cannot be compared with {right.value!r}")
        return values, literal(bound)
    kinds = [("number" if kind in ("bool", "nothing") else kind) for kind in (left.kind, right.kind)]
    if "mixed" in kinds:
        # Python's own values: some of them may well go together.
        return left.expr, right.expr
    is_known = kinds[0] != "other" or _are_bytes(batch, left, right)
    if kinds[0] != kinds[1] or not is_known:
        raise CannotCheck(f"{left.describe()} cannot be compared with {right.describe()}")
    return (_number(left), _number(right)) if kinds[0] == "number" else (left.expr, right.expr)


def _are_bytes(batch: Batch, *terms: Term) -> bool:
    found = [batch.type_of(term.name) for term in terms if term.name is not None]
    return len(found) == len(terms) and all(each.family == "binary" for each in found)


def _number(term: Term) -> Expr:
    if term.kind != "bool":
        return term.expr
    return literal(int(term.value)) if term.is_literal else as_number(term.expr)
