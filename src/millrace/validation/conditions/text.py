"""Conditions on rows that are written as text: pandas' queries, and Spark SQL where it says the same.

Only the language of `DataFrame.query` that has a meaning without pandas is read: comparisons, also chained and between
columns, `in`, `and`, `or`, `not` (`&`, `|`, `~`), arithmetic, names in backticks, and a few methods. The text is
parsed, never run.
"""

from __future__ import annotations

import ast
import io
import math
import re
import tokenize
from collections.abc import Callable
from typing import Any, Literal, cast

from millrace.validation.backend import CannotCheck
from millrace.validation.batch import Batch
from millrace.validation.conditions.terms import (
    Comparison,
    Term,
    calculated,
    column_term,
    compared,
    finds,
    is_member,
    literal_term,
    misses,
    truth_of,
)
from millrace.validation.expression import Expr, all_of, any_of, negate

_COMPARISONS: dict[type[ast.cmpop], Comparison] = {
    ast.Eq: "eq",
    ast.NotEq: "ne",
    ast.Lt: "lt",
    ast.LtE: "le",
    ast.Gt: "gt",
    ast.GtE: "ge",
}
_ARITHMETIC: dict[type[ast.operator], Literal["add", "sub", "mul", "div"]] = {
    ast.Add: "add",
    ast.Sub: "sub",
    ast.Mult: "mul",
    ast.Div: "div",
}
_DEEPEST = 200
_TOKEN = re.compile(
    r"""(?P<text>'(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*")|`(?P<name>[^`]*)`|(?P<word>[^\W\d]\w*)|(?P<sign><>|[!<>=]=|=)""",
    re.DOTALL,
)


def read_query(batch: Batch, text: str) -> Expr:
    """The truth that a pandas query states about a row.

    Raises
    ------
    CannotCheck
        "unsupported" for what only pandas can say; otherwise for a column that is not there and for comparisons of
        values that have no order.
    """
    plain, names = _without_backticks(text)
    try:
        tree = ast.parse(_with_words(plain.strip()), mode="eval")
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        raise CannotCheck(
            f"unsupported: the row_condition {text!r} is no query that Millrace reads: {error}"
        ) from error
    if _depth(tree) > _DEEPEST:
        raise CannotCheck(f"unsupported: the row_condition {text[:60]!r}... is nested too deep")
    return _Reader(batch, text, names).truth(tree.body)


def read_sql(batch: Batch, text: str) -> Expr:
    """The same for a condition of SQL: =, <>, AND, OR, NOT, IN, BETWEEN, IS NULL, on plain columns and literals.

    Rows without a value are judged as in a pandas query.
    """
    return read_query(batch, _as_query(text))


def _depth(tree: ast.AST) -> int:
    deepest, left = 0, [(tree, 1)]
    while left:
        node, depth = left.pop()
        deepest = max(deepest, depth)
        left.extend((child, depth + 1) for child in ast.iter_child_nodes(node))
    return deepest


class _Reader:
    def __init__(self, batch: Batch, text: str, names: dict[str, str]) -> None:
        self.batch = batch
        self.text = text
        self.names = names

    def truth(self, node: ast.expr) -> Expr:
        if isinstance(node, ast.BoolOp):
            parts = [self.truth(value) for value in node.values]
            return all_of(*parts) if isinstance(node.op, ast.And) else any_of(*parts)
        if isinstance(node, ast.UnaryOp) and isinstance(node.op, (ast.Not, ast.Invert)):
            return negate(self.truth(node.operand))
        if isinstance(node, ast.Compare):
            return self._compared(node)
        if isinstance(node, ast.Call):
            return self._called(node)
        return truth_of(self.term(node))

    def term(self, node: ast.expr) -> Term:
        if isinstance(node, ast.Name):
            name = self.names.get(node.id, node.id)
            is_infinity = name in ("inf", "Inf") and name not in self.batch.names
            return literal_term(math.inf) if is_infinity else column_term(self.batch, name)
        if isinstance(node, ast.Constant):
            return literal_term(node.value)
        if isinstance(node, ast.UnaryOp) and isinstance(node.op, (ast.USub, ast.UAdd)):
            sign = -1 if isinstance(node.op, ast.USub) else 1
            return calculated("mul", self.term(node.operand), literal_term(sign))
        if isinstance(node, ast.BinOp) and type(node.op) in _ARITHMETIC:
            return calculated(_ARITHMETIC[type(node.op)], self.term(node.left), self.term(node.right))
        raise self._unread(node)

    def _compared(self, node: ast.Compare) -> Expr:
        truths = []
        left = node.left
        for op, right in zip(node.ops, node.comparators, strict=True):
            truths.append(self._compared_pair(op, left, right))
            left = right
        return all_of(*truths)

    def _compared_pair(self, op: ast.cmpop, left: ast.expr, right: ast.expr) -> Expr:
        if isinstance(right, (ast.List, ast.Tuple, ast.Set)):
            if not isinstance(op, (ast.In, ast.NotIn, ast.Eq, ast.NotEq)):
                raise self._unread(right)
            found = is_member(self.batch, self.term(left), [self._plain(member) for member in right.elts])
            return found if isinstance(op, (ast.In, ast.Eq)) else negate(found)
        if type(op) not in _COMPARISONS:
            raise self._unread(right)
        return compared(self.batch, _COMPARISONS[type(op)], self.term(left), self.term(right))

    def _called(self, node: ast.Call) -> Expr:
        if node.keywords or not isinstance(node.func, ast.Attribute):
            raise self._unread(node)
        name, owner = node.func.attr, node.func.value
        if isinstance(owner, ast.Attribute) and owner.attr == "str":
            name, owner = f"str.{name}", owner.value
        term = self.term(owner)
        if name in ("isnull", "isna", "notnull", "notna") and not node.args:
            return misses(term) if name.startswith("is") else negate(misses(term))
        if name == "isin" and len(node.args) == 1 and isinstance(node.args[0], (ast.List, ast.Tuple, ast.Set)):
            return is_member(self.batch, term, [self._plain(member) for member in node.args[0].elts])
        if name == "between" and len(node.args) == 2:
            low, high = (self.term(arg) for arg in node.args)
            return all_of(compared(self.batch, "ge", term, low), compared(self.batch, "le", term, high))
        if name in _SEARCHES and len(node.args) == 1 and isinstance(sought := self._plain(node.args[0]), str):
            return finds(term, _SEARCHES[name](sought))
        raise self._unread(node)

    def _plain(self, node: ast.expr) -> Any:
        term = self.term(node)
        if not term.is_literal:
            raise self._unread(node)
        return term.value

    def _unread(self, node: ast.AST) -> CannotCheck:
        part = ast.unparse(node)
        for plain, name in self.names.items():
            part = part.replace(plain, f"`{name}`")
        return CannotCheck(f"unsupported: Millrace does not read {part!r} in the row_condition {self.text!r}")


_SEARCHES: dict[str, Callable[[str], str]] = {
    "str.contains": str,
    "str.startswith": lambda sought: rf"\A{re.escape(sought)}",
    "str.endswith": lambda sought: rf"{re.escape(sought)}\Z",
}


def _without_backticks(text: str) -> tuple[str, dict[str, str]]:
    """The text with a plain name for each in backticks, and which is which."""
    names: dict[str, str] = {}

    def plain(found: re.Match[str]) -> str:
        if found["name"] is None:
            return found[0]
        label = next((label for label, name in names.items() if name == found["name"]), None)
        if label is None:
            label = f"__column_{len(names)}"
            names[label] = found["name"]
        return label

    return _TOKEN.sub(plain, text), names


def _with_words(text: str) -> str:
    # pandas gives & and | the low precedence of and and or, which is what people mean by them.
    words = {"&": "and", "|": "or"}
    try:
        tokens = list(tokenize.generate_tokens(io.StringIO(text).readline))
    except (tokenize.TokenError, IndentationError, SyntaxError):
        return text
    changed = [
        (tokenize.NAME, words[token.string]) if token.string in words else (token.type, token.string)
        for token in tokens
    ]
    kept = [(kind, string) for kind, string in changed if kind not in (tokenize.NEWLINE, tokenize.NL)]
    return cast("str", tokenize.untokenize(kept)).strip()


_SQL_WORDS = {"and": "and", "or": "or", "not": "not", "in": "in", "true": "True", "false": "False"}


def _as_query(text: str) -> str:
    def translated(found: re.Match[str]) -> str:
        if found["text"] is not None:
            # SQL doubles a quote inside of a text, and Python joins texts that stand side by side: refuse, not guess.
            if text[found.end() : found.end() + 1] in ("'", '"'):
                raise CannotCheck(f"unsupported: a quote inside of a text in the row_condition {text!r}")
            return found[0]
        if found["word"] is not None:
            return _SQL_WORDS.get(found["word"].lower(), found["word"])
        return {"=": "==", "<>": "!="}.get(found[0], found[0])

    changed = text
    for pattern, replacement in _SQL_PHRASES:
        changed = _outside_texts(pattern, replacement, changed)
    return _TOKEN.sub(translated, changed)


_NAME = r"(`[^`]*`|\b[^\W\d]\w*)"
_VALUE = r"('(?:[^'\\]|\\.)*'|[-+\w.]+)"
_SQL_PHRASES = [
    (re.compile(rf"{_NAME}\s+is\s+not\s+null\b", re.IGNORECASE), r"\1.notnull()"),
    (re.compile(rf"{_NAME}\s+is\s+null\b", re.IGNORECASE), r"\1.isnull()"),
    (re.compile(rf"{_NAME}\s+between\s+{_VALUE}\s+and\s+{_VALUE}", re.IGNORECASE), r"\1.between(\2, \3)"),
]
_TEXT = re.compile(r"('(?:[^'\\]|\\.)*')")


def _outside_texts(pattern: re.Pattern[str], replacement: str, text: str) -> str:
    if pattern.groups == 3:  # BETWEEN may have texts as its bounds
        return pattern.sub(replacement, text)
    parts = _TEXT.split(text)
    return "".join(part if number % 2 else pattern.sub(replacement, part) for number, part in enumerate(parts))
