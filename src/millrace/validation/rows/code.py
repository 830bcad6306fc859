"""Expressions as Python code for one row. Standard library only.

Code is generated from operations alone. What a suite or a row says (names, literals, patterns, predicates) reaches the
code as objects bound to its names and is never part of its text, so no suite can make code run.

The types of a row's values are known when its code is made: a value that cannot be missing costs no test.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any, Literal

from millrace.validation.backend import CannotCheck
from millrace.validation.expression import Expr
from millrace.validation.rows.bounded_search import bounded_search

Missing = Literal["never", "maybe", "always"]
_Truth = Literal["true", "false"]

_SYMBOLS = {"eq": "==", "ne": "!=", "lt": "<", "le": "<=", "gt": ">", "ge": ">="}
_OPPOSITE = {"eq": "!=", "ne": "==", "lt": ">=", "le": ">", "gt": "<=", "ge": "<"}
_ARITHMETIC = {"add": "+", "sub": "-", "mul": "*"}
_TRUTHS = {"and", "or", "not", *_SYMBOLS, "is_missing", "is_in", "matches", "like", "holds", "repeated"}
FAULTS = (TypeError, ValueError, ArithmeticError, LookupError, AttributeError, RuntimeError)
"""What a value that nobody thought of raises inside a rule."""

_EXACT = 2**53  # floats hold every whole number up to it
_DEEPEST = 24  # nested parentheses in one line of generated code; Python takes fewer than 200


@dataclass(frozen=True, slots=True)
class RowColumn:
    """What is known of a column's value before a row comes.

    Parameters
    ----------
    kind : type
        Python type of the value where there is one.
    missing : {"never", "maybe", "always"}
        Whether it may be None.
    guard : str
        A Python condition on ``{value}``, beside its type, under which the code holds. Empty for none.
    instead : str
        A condition on ``{value}`` under which a value of another type holds too. Empty for none.
    """

    kind: type
    missing: Missing = "never"
    guard: str = ""
    instead: str = ""


@dataclass(frozen=True, slots=True)
class _Value:
    code: str
    missing: Missing
    is_time: bool = False
    is_float: bool = False
    is_whole: bool = False


class RowCode:
    """Collects the lines of one function of a row; it returns None for a row that its columns do not fit.

    Parameters
    ----------
    columns : mapping of str to RowColumn
    """

    def __init__(self, columns: Mapping[str, RowColumn]) -> None:
        self._columns = columns
        self._lines: list[str] = []
        self._indent = 2
        self._bound: dict[str, Any] = {}
        self._names: dict[Any, str] = {}
        self._values: list[dict[Expr, _Value]] = [{}]

    def build(self, result: str) -> Callable[[Mapping[str, Any]], Any]:
        """The function; `result` is the code of what it returns."""
        names = ", ".join(self._bound)
        lines = [f"def make({names}):", "  def judge(row):", *self._lines, f"    return {result}", "  return judge"]
        space: dict[str, Any] = {}
        exec(compile("\n".join(lines), "<rules of one row>", "exec"), space)  # noqa: S102  # see the module's text
        made: Callable[[Mapping[str, Any]], Any] = space["make"](**self._bound)
        return made

    def line(self, text: str) -> None:
        """Add a line of code."""
        self._lines.append("  " * self._indent + text)

    @contextmanager
    def when(self, condition: str) -> Iterator[None]:
        """Lines inside run only when `condition` holds."""
        self.line(f"if {condition}:")
        self._indent += 1
        self._values.append({})
        before = len(self._lines)
        yield
        if len(self._lines) == before:
            self.line("pass")
        self._values.pop()
        self._indent -= 1

    def bind(self, value: Any) -> str:
        """The name of an object in the code."""
        name = f"k{len(self._bound)}"
        self._bound[name] = value
        return name

    def is_true(self, truth: Expr) -> str:
        """Code of a Python condition: `truth` is true, and not missing."""
        return self._truth(truth, "true", 0)

    def is_false(self, truth: Expr) -> str:
        """Code of a Python condition: `truth` is false, and not missing."""
        return self._truth(truth, "false", 0)

    def value(self, expr: Expr) -> str:
        """Code of a value, None where it is missing."""
        found = self._value(expr)
        return "None" if found.missing == "always" else found.code

    def _truth(self, expr: Expr, wanted: _Truth, depth: int) -> str:
        if expr.op in ("and", "or"):
            # Of "and", all are true or one is false; of "or", the other way round.
            word = "and" if (expr.op == "and") == (wanted == "true") else "or"
            return self._joined(word, [self._truth(arg, wanted, depth + 1) for arg in expr.args], depth)
        if expr.op == "not":
            return self._truth(expr.args[0], "false" if wanted == "true" else "true", depth)
        if expr.op in _SYMBOLS:
            return self._comparison(expr, wanted)
        if expr.op == "is_missing":
            found = self._value(expr.args[0])
            if found.missing == "maybe":
                return f"({found.code} is {'' if wanted == 'true' else 'not '}None)"
            return str((found.missing == "always") == (wanted == "true"))
        if expr.op in ("is_in", "matches", "like", "holds"):
            return self._test(expr, wanted)
        if expr.op == "repeated":
            # In a single row nothing is repeated.
            return str(wanted == "false")
        found = self._value(expr)
        if found.missing == "always":
            return "False"
        return f"({found.code} is True)" if wanted == "true" else f"({found.code} is False)"

    def _joined(self, word: str, parts: Sequence[str], depth: int) -> str:
        deciding, neutral = ("False", "True") if word == "and" else ("True", "False")
        if deciding in parts:
            return deciding
        kept = [part for part in parts if part != neutral]
        if not kept:
            return neutral
        code = kept[0] if len(kept) == 1 else "(" + f" {word} ".join(kept) + ")"
        if len(kept) > 1 and depth and depth % _DEEPEST == 0:
            name = self._fresh()
            self.line(f"{name} = {code}")
            return name
        return code

    def _comparison(self, expr: Expr, wanted: _Truth) -> str:
        left, right = (self._value(arg) for arg in expr.args)
        if "always" in (left.missing, right.missing):
            return "False"
        if left.is_time or right.is_time:
            left, right = (self._moment(arg) for arg in expr.args)
        codes = [self._as_float(arg, other) for arg, other in zip(expr.args, reversed(expr.args), strict=True)]
        symbol = _SYMBOLS[expr.op] if wanted == "true" else _OPPOSITE[expr.op]
        return self._guarded([left, right], f"{codes[0] or left.code} {symbol} {codes[1] or right.code}")

    def _as_float(self, expr: Expr, other: Expr) -> str | None:
        """Code of `expr` as the float it is when compared with a float; None where that makes no difference."""
        if expr.op == "literal":
            number = expr.args[0]
            if isinstance(number, (int, Decimal)) and self._value(other).is_float:
                return self._once(("float", expr.args), as_float(number))
            return None
        if other.op != "literal" or not isinstance(other.args[0], float) or abs(other.args[0]) < _EXACT:
            return None  # a whole number is rounded to the same side of a smaller float
        found = self._value(expr)
        return f"{self._once('as float', as_float)}({found.code})" if found.is_whole else None

    def _test(self, expr: Expr, wanted: _Truth) -> str:
        found = self._value(expr.args[0])
        if found.missing == "always":
            return "False"
        no = "" if wanted == "true" else "not "
        if expr.op == "is_in":
            return self._membership(expr, wanted)
        if expr.op == "holds":
            call = f"{no}{self._once(('holds', expr.args[1]), expr.args[1].test)}({found.code})"
        else:
            search = self._once((expr.op, expr.args[1:]), _searcher(expr))
            call = f"{search}({found.code}) is {'not ' if wanted == 'true' else ''}None"
        return self._guarded([found], call)

    def _membership(self, expr: Expr, wanted: _Truth) -> str:
        found, members = self._value(expr.args[0]), [literal.args[0] for literal in expr.args[1:]]
        if found.is_time:
            found, members = self._moment(expr.args[0]), [as_utc(member) for member in members]
        elif found.is_float:
            members = [as_float(one) if isinstance(one, (int, Decimal)) else one for one in members]
        try:
            held: Any = frozenset(members)
        except TypeError:
            held = tuple(members)
        name = self._once(("members", found.is_float, expr.args[1:]), held)
        return self._guarded([found], f"{found.code} {'in' if wanted == 'true' else 'not in'} {name}")

    def _guarded(self, operands: Sequence[_Value], code: str) -> str:
        guards = [f"{each.code} is not None" for each in operands if each.missing == "maybe"]
        return "(" + " and ".join([*guards, code]) + ")"

    def _value(self, expr: Expr) -> _Value:
        for known in reversed(self._values):
            if expr in known:
                return known[expr]
        made = self._make_value(expr)
        self._values[-1][expr] = made
        return made

    def _make_value(self, expr: Expr) -> _Value:
        if expr.op == "column":
            return self._column(expr.args[0])
        if expr.op == "literal":
            value = expr.args[0]
            if value is None:
                return _Value("None", "always")
            return _Value(self._once(("literal", expr.args), value), "never", isinstance(value, date))
        if expr.op == "previous":
            return _Value("None", "always")
        if expr.op in _TRUTHS or expr.op == "number":
            truth = expr.args[0] if expr.op == "number" else expr
            yes, no = ("1", "0") if expr.op == "number" else ("True", "False")
            return self._kept(f"{yes} if {self.is_true(truth)} else {no} if {self.is_false(truth)} else None", "maybe")
        operands = [self._value(arg) for arg in expr.args]
        if any(each.missing == "always" for each in operands):
            return _Value("None", "always")
        codes = [each.code for each in operands]
        is_partial = expr.op == "div"
        if expr.op in _ARITHMETIC:
            code = f"{codes[0]} {_ARITHMETIC[expr.op]} {codes[1]}"
        elif is_partial:
            code = f"({codes[0]} / {codes[1]} if {codes[1]} else None)"
        elif expr.op in ("abs", "length"):
            code = f"{'abs' if expr.op == 'abs' else 'len'}({codes[0]})"
        elif expr.op == "text":
            given = f"{self._once('float', float)}({codes[0]})" if operands[0].is_float else codes[0]
            code = f"{self._once('text', str)}({given})"
        else:
            raise CannotCheck(f"unsupported: '{expr.op}' cannot be computed on one row")
        guards = [f"{each.code} is not None" for each in operands if each.missing == "maybe"]
        if not guards:
            return self._kept(code, "maybe" if is_partial else "never")
        return self._kept(f"{code} if {' and '.join(guards)} else None", "maybe")

    def _column(self, name: str) -> _Value:
        about = self._columns[name]
        is_float = about.kind is float
        found = self._kept(f"row[{self._once(('column', name), name)}]", "maybe" if is_float else about.missing)
        code = found.code
        if about.missing == "always":
            self.line(f"if {code} is not None: return None")
            return _Value("None", "always")
        fits = f"{code}.__class__ is {self._once(('type', about.kind), about.kind)}"
        fits += f" and ({about.guard.format(value=code)})" if about.guard else ""
        fits += f" or {about.instead.format(value=code)}" if about.instead else ""
        self.line(f"if {f'{code} is not None and ' if about.missing == 'maybe' else ''}not ({fits}): return None")
        if is_float:
            self.line(f"if {code} != {code}: {code} = None")
        return replace(found, is_time=issubclass(about.kind, date), is_float=is_float, is_whole=about.kind is int)

    def _moment(self, expr: Expr) -> _Value:
        """A time or date as a time in UTC, which compares with every other."""
        wrapped = Expr("moment", (expr,))
        for known in reversed(self._values):
            if wrapped in known:
                return known[wrapped]
        found = self._value(expr)
        if expr.op == "literal":
            made = _Value(self._once(("moment", expr.args), as_utc(expr.args[0])), "never", True)
        else:
            call = f"{self._once('as_utc', as_utc)}({found.code})"
            guard = f"{call} if {found.code} is not None else None" if found.missing == "maybe" else call
            made = self._kept(guard, found.missing, True)
        self._values[-1][wrapped] = made
        return made

    def _kept(self, code: str, missing: Missing, is_time: bool = False) -> _Value:
        name = self._fresh()
        self.line(f"{name} = {code}")
        return _Value(name, missing, is_time)

    def _once(self, key: Any, value: Any) -> str:
        if key not in self._names:
            self._names[key] = self.bind(value)
        return self._names[key]

    def _fresh(self) -> str:
        return f"v{len(self._lines)}"


def as_utc(value: Any) -> Any:
    """A time or a date as a time in UTC (naive is UTC); anything else as it is."""
    if isinstance(value, datetime):
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value
    return datetime(value.year, value.month, value.day, tzinfo=UTC) if isinstance(value, date) else value


def as_float(number: Any) -> float:
    """A number as a float, infinite beyond what floats hold."""
    try:
        return float(number)
    except OverflowError:
        return math.inf if number > 0 else -math.inf


def like_pattern(pattern: str, escape: str | None) -> str:
    r"""SQL's pattern as a regular expression for the whole text.

    >>> like_pattern("a%_!%", "!")
    '\\Aa(?s:.*)(?s:.)%\\Z'
    """
    parts: list[str] = []
    is_escaped = False
    for sign in pattern:
        if not is_escaped and sign == escape:
            is_escaped = True
            continue
        wild = {"%": "(?s:.*)", "_": "(?s:.)"}.get(sign)
        parts.append(re.escape(sign) if is_escaped or wild is None else wild)
        is_escaped = False
    return "\\A" + "".join(parts) + "\\Z"


def _searcher(expr: Expr) -> Callable[[str], Any]:
    pattern, linear = expr.args[1], None
    if expr.op == "like":
        pattern = like_pattern(*expr.args[1:])
        linear = pattern.removesuffix("\\Z") + "\\z"
    try:
        return bounded_search(pattern, linear)
    except (re.error, RecursionError, OverflowError) as error:
        raise CannotCheck(f"unsupported: the regular expression {pattern!r}: {error}") from error
