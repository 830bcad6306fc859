"""A value worked out from the columns of one row: what `where=` takes, and what may stand in for a column.

    >>> spend = col("quantity") * col("unit_price")
    >>> is_sale = ~col("invoice").starts_with("C") & (col("quantity") > 0)

An expression is data: it is written, compared and hashed without any library. `features/derive.py` computes it, once,
from the rows of a source; online and offline read the same result.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import datetime
from typing import Any

from millrace.core.clock import as_utc, to_text
from millrace.core.definition import report
from millrace.core.errors import ProjectError

_WORD = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_SIGNS = {
    "add": "+", "sub": "-", "mul": "*", "div": "/",
    "eq": "==", "ne": "!=", "lt": "<", "le": "<=", "gt": ">", "ge": ">=",
    "and": "&", "or": "|",
}  # fmt: skip


class Expression:
    """Made by `col` and the operators; never change one.

    Arithmetic of whole numbers stays whole and exact, ``/`` gives a float and null for a zero divisor. Null in, null
    out, but for `is_null` and `fill_null`; ``&`` and ``|`` know that False and True decide alone. A row for which a
    `where` is null does not count.
    """

    __slots__ = ("operation", "parts")

    def __init__(self, operation: str, *parts: Any) -> None:
        self.operation = operation
        self.parts = parts

    def __add__(self, other: Any) -> Expression:
        return _binary("add", self, other)

    def __radd__(self, other: Any) -> Expression:
        return _binary("add", other, self)

    def __sub__(self, other: Any) -> Expression:
        return _binary("sub", self, other)

    def __rsub__(self, other: Any) -> Expression:
        return _binary("sub", other, self)

    def __mul__(self, other: Any) -> Expression:
        return _binary("mul", self, other)

    def __rmul__(self, other: Any) -> Expression:
        return _binary("mul", other, self)

    def __truediv__(self, other: Any) -> Expression:
        return _binary("div", self, other)

    def __rtruediv__(self, other: Any) -> Expression:
        return _binary("div", other, self)

    def __lt__(self, other: Any) -> Expression:
        return _binary("lt", self, other)

    def __le__(self, other: Any) -> Expression:
        return _binary("le", self, other)

    def __gt__(self, other: Any) -> Expression:
        return _binary("gt", self, other)

    def __ge__(self, other: Any) -> Expression:
        return _binary("ge", self, other)

    def __eq__(self, other: Any) -> Expression:  # type: ignore[override]  # as pandas and polars do
        return _binary("eq", self, other)

    def __ne__(self, other: Any) -> Expression:  # type: ignore[override]
        return _binary("ne", self, other)

    def __and__(self, other: Any) -> Expression:
        return _binary("and", self, other)

    def __rand__(self, other: Any) -> Expression:
        return _binary("and", other, self)

    def __or__(self, other: Any) -> Expression:
        return _binary("or", self, other)

    def __ror__(self, other: Any) -> Expression:
        return _binary("or", other, self)

    def __invert__(self) -> Expression:
        return Expression("not", self)

    def __neg__(self) -> Expression:
        return _binary("sub", 0, self)

    def __hash__(self) -> int:
        return hash(str(self))

    def __bool__(self) -> bool:
        raise TypeError("an expression has no truth of its own: write & | ~ instead of and, or, not, and no chains")

    def is_null(self) -> Expression:
        """Whether there is no value."""
        return Expression("is_null", self)

    def fill_null(self, value: Any) -> Expression:
        """The value, or `value` where there is none."""
        return Expression("fill_null", self, _literal(value))

    def is_in(self, values: Sequence[Any]) -> Expression:
        """Whether the value is one of `values`."""
        return Expression("is_in", self, *(_literal(value) for value in values))

    def starts_with(self, text: str) -> Expression:
        """Whether the text begins with `text`."""
        return Expression("starts_with", self, _literal(text))

    def ends_with(self, text: str) -> Expression:
        """Whether the text ends with `text`."""
        return Expression("ends_with", self, _literal(text))

    def contains(self, text: str) -> Expression:
        """Whether `text` stands anywhere in the text."""
        return Expression("contains", self, _literal(text))

    def abs(self) -> Expression:
        """Without its sign."""
        return Expression("abs", self)

    @property
    def columns(self) -> list[str]:
        """Columns it looks at, each once, in the order they are named."""
        if self.operation == "column":
            return [self.parts[0]]
        found = [name for part in self.parts if isinstance(part, Expression) for name in part.columns]
        return list(dict.fromkeys(found))

    def to_json(self) -> Any:
        """JSON-ready form; `from_json` reads it back."""
        if self.operation == "literal":
            value = self.parts[0]
            return {"time": to_text(value)} if isinstance(value, datetime) else {"value": value}
        if self.operation == "column":
            return {"column": self.parts[0]}
        return {"op": self.operation, "parts": [part.to_json() for part in self.parts]}

    def __str__(self) -> str:
        """The expression as it is written; equal texts are equal expressions."""
        operation, parts = self.operation, self.parts
        if operation == "column":
            name = str(parts[0])
            return name if _WORD.fullmatch(name) else "`" + name.replace("`", "``") + "`"
        if operation == "literal":
            return to_text(parts[0]) if isinstance(parts[0], datetime) else repr(parts[0])
        if operation == "not":
            return f"~{_wrapped(parts[0])}"
        if operation in _SIGNS:
            return f"{_wrapped(parts[0])} {_SIGNS[operation]} {_wrapped(parts[1])}"
        return f"{_wrapped(parts[0])}.{operation}({', '.join(map(str, parts[1:]))})"

    def __repr__(self) -> str:
        return f"<{self}>"


def col(name: str) -> Expression:
    """The column `name` of the source's rows.

    >>> str(col("quantity") * col("unit price"))
    'quantity * `unit price`'
    """
    if not isinstance(name, str) or not name:
        report(ProjectError("PROJ-41", f"col({name!r}): a column is named by a text", fix='col("amount")'))
    return Expression("column", name)


def from_json(facts: Any) -> Expression:
    """The expression that `Expression.to_json` wrote."""
    if "column" in facts:
        return Expression("column", facts["column"])
    if "value" in facts:
        return Expression("literal", facts["value"])
    if "time" in facts:
        return Expression("literal", as_utc(datetime.fromisoformat(facts["time"])))
    return Expression(facts["op"], *(from_json(part) for part in facts["parts"]))


def _binary(operation: str, left: Any, right: Any) -> Expression:
    return Expression(operation, _operand(left), _operand(right))


def _operand(value: Any) -> Expression:
    return value if isinstance(value, Expression) else _literal(value)


def _literal(value: Any) -> Expression:
    if isinstance(value, datetime):
        return Expression("literal", as_utc(value))
    if not isinstance(value, (bool, int, float, str)) or value != value:
        report(
            ProjectError(
                "PROJ-41",
                f"{value!r} cannot stand in an expression",
                fix="compare columns with numbers, texts, True, False or times; for null there is .is_null()",
            )
        )
        return Expression("literal", 0)
    return Expression("literal", value)


def _wrapped(part: Any) -> str:
    return f"({part})" if part.operation in _SIGNS or part.operation == "not" else str(part)
