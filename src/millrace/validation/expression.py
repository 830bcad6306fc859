"""What rules ask of a batch, in one small language that every backend speaks. Standard library only.

A rule is compiled to expressions once; a backend turns them into Polars, SQL or Python. Two equal expressions are
computed once. Logic is SQL's: an operand that is missing makes the answer missing, and only what is true counts.

Values of a row

========================  ===========================================================================================
``column``                the value; missing where it is null or NaN
``literal``               a bool, int, float, Decimal, str, date or datetime (UTC), or None
``and`` ``or`` ``not``    of truths
``eq ne lt le gt ge``     of two values of one kind
``is_missing``            never missing itself
``is_in``                 among literals
``add sub mul div abs``   of numbers; division by zero is missing
``number`` ``text``       true and false as 1 and 0; any value as text
``matches``               a regular expression found anywhere in text
``like``                  SQL's pattern, ``%`` and ``_``, the whole text
``length``                characters of text
``holds``                 a Python predicate, called once for each distinct value where a backend can
``repeated``              whether the tuple of values occurs in more than one row; missing values equal each other
``previous``              the value in the nearest earlier row that has one; missing in the first
========================  ===========================================================================================

Figures of a batch (an empty one has ``rows`` 0, counts 0, the rest None)

========================  ===========================================================================================
``rows``                  how many
``count_if``              rows where a truth is true
``min max sum mean``      over what is there; a sum of whole numbers is exact
``stdev``                 with n - 1
``distinct``              tuples of values, all of them there
``quantile``              at a share, ``linear``, ``lower`` or ``higher`` between neighbours
``levels``                the distinct values with their counts: a list of pairs, most frequent first
========================  ===========================================================================================
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any, Literal

Between = Literal["linear", "lower", "higher"]


@dataclass(frozen=True, slots=True)
class Expr:
    """One operation on operands: expressions, or plain hashable settings such as a column's name."""

    op: str
    args: tuple[Any, ...] = ()

    def columns(self) -> set[str]:
        """Names of the columns it reads."""
        if self.op == "column":
            return {self.args[0]}
        return {name for arg in self.args if isinstance(arg, Expr) for name in arg.columns()}

    def operations(self) -> set[str]:
        """Every operation in it."""
        return {self.op}.union(*(arg.operations() for arg in self.args if isinstance(arg, Expr)))

    def repeated_keys(self) -> tuple[Expr, ...] | None:
        """The columns whose repetition it asks for, when it asks that of plain columns and nothing of any other."""
        parts = self.args if self.op == "and" else (self,)
        found = [part for part in parts if isinstance(part, Expr) and part.op == "repeated"]
        if len(found) != 1 or any(key.op != "column" for key in found[0].args):
            return None
        others = [part for part in parts if part is not found[0]]
        if any({"repeated", "previous"} & other.operations() for other in others):
            return None
        names = found[0].columns()
        return found[0].args if all(other.columns() <= names for other in others) else None


@dataclass(frozen=True, slots=True)
class Predicate:
    """A Python test of one present value; `key` says what it tests, for equality."""

    key: tuple[Any, ...]
    test: Callable[[Any], bool] = field(compare=False)


def column(name: str) -> Expr:
    return Expr("column", (name,))


def literal(value: Any) -> Expr:
    # 1, 1.0 and True are equal in Python and are not one literal.
    return Expr("literal", (value, type(value).__name__))


TRUE, FALSE, MISSING = literal(True), literal(False), literal(None)


def all_of(*truths: Expr) -> Expr:
    """All are true; constants are worked out, as a backend may not know how many rows a constant is for."""
    open_ones = tuple(truth for truth in truths if truth != TRUE)
    if FALSE in open_ones:
        return FALSE
    if len(open_ones) < 2:
        return open_ones[0] if open_ones else TRUE
    return Expr("and", open_ones)


def any_of(*truths: Expr) -> Expr:
    """One is true at least."""
    open_ones = tuple(truth for truth in truths if truth != FALSE)
    if TRUE in open_ones:
        return TRUE
    if len(open_ones) < 2:
        return open_ones[0] if open_ones else FALSE
    return Expr("or", open_ones)


def negate(truth: Expr) -> Expr:
    if truth in (TRUE, FALSE):
        return TRUE if truth == FALSE else FALSE
    return Expr("not", (truth,))


def compare(op: Literal["eq", "ne", "lt", "le", "gt", "ge"], left: Expr, right: Expr) -> Expr:
    return Expr(op, (left, right))


def is_missing(value: Expr) -> Expr:
    return Expr("is_missing", (value,))


def is_present(value: Expr) -> Expr:
    return negate(is_missing(value))


def is_in(value: Expr, members: Iterable[Any]) -> Expr:
    """`members` are plain values of the kind of `value`."""
    return Expr("is_in", (value, *(literal(member) for member in members)))


def arithmetic(op: Literal["add", "sub", "mul", "div"], left: Expr, right: Expr) -> Expr:
    return Expr(op, (left, right))


def absolute(value: Expr) -> Expr:
    return Expr("abs", (value,))


def as_number(truth: Expr) -> Expr:
    return Expr("number", (truth,))


def as_text(value: Expr) -> Expr:
    return Expr("text", (value,))


def matches(text: Expr, pattern: str) -> Expr:
    return Expr("matches", (text, pattern))


def like(text: Expr, pattern: str, escape: str | None = None) -> Expr:
    return Expr("like", (text, pattern, escape))


def length(text: Expr) -> Expr:
    return Expr("length", (text,))


def holds(value: Expr, predicate: Predicate) -> Expr:
    return Expr("holds", (value, predicate))


def repeated(*values: Expr) -> Expr:
    return Expr("repeated", values)


def previous(value: Expr) -> Expr:
    return Expr("previous", (value,))


ROWS = Expr("rows")


def count_if(truth: Expr) -> Expr:
    return Expr("count_if", (truth,))


def figure(op: Literal["min", "max", "sum", "mean", "stdev"], value: Expr) -> Expr:
    return Expr(op, (value,))


def distinct(*values: Expr) -> Expr:
    return Expr("distinct", values)


def quantile(value: Expr, share: float, between: Between = "linear") -> Expr:
    return Expr("quantile", (value, share, between))


def levels(value: Expr) -> Expr:
    return Expr("levels", (value,))
