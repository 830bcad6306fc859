"""Suite parameters: arguments of expectations that are given only when a batch is judged.

``{"$PARAMETER": "name"}`` stands for a value of any kind; ``{"$PARAMETER": "2 * name + 1"}`` is calculated, in the
grammar of Great Expectations: ``+ - * / ^``, parentheses, ``PI``, ``E``, and the functions below. Standard library
only, but for texts that are times, which python-dateutil reads as GX does.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from typing import Any

from millrace.core.errors import did_you_mean

KEY = "$PARAMETER"
_SMALL = 1e-12
_LONGEST = 1_000
_MOST_BITS = 10_000  # of a whole number; Python writes no longer ones as text

_FUNCTIONS: dict[str, Callable[..., Any]] = {
    "sin": math.sin,
    "cos": math.cos,
    "tan": math.tan,
    "exp": math.exp,
    "abs": abs,
    "trunc": int,
    "round": round,
    "sgn": lambda number: -1 if number < -_SMALL else 1 if number > _SMALL else 0,
    "datetime": datetime,
    "timedelta": timedelta,
}
FUNCTIONS = sorted([*_FUNCTIONS, "now"])


class NoValue(Exception):
    """A parameter that has no value, or an expression that gives none; the text says which and why."""


def is_parameter(value: Any) -> bool:
    """Whether an argument stands for a value that is given later."""
    return isinstance(value, Mapping) and KEY in value


def fill(
    kwargs: Mapping[str, Any], parameters: Mapping[str, Any], now: datetime
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Arguments with values in place of parameters, and those that were filled.

    Parameters
    ----------
    kwargs : mapping
    parameters : mapping of str to value
        What is known when the batch is judged.
    now : datetime
        What ``now()`` is; a zone is left out, as in GX.

    Raises
    ------
    NoValue
        Names the first parameter without a value.
    """
    filled = {name: parameter_value(value, parameters, now) for name, value in kwargs.items() if is_parameter(value)}
    return {name: filled.get(name, value) for name, value in kwargs.items()}, filled


def parameter_value(parameter: Mapping[str, Any], parameters: Mapping[str, Any], now: datetime) -> Any:
    """The value of one ``{"$PARAMETER": ...}``; raises NoValue."""
    text = parameter[KEY]
    if not isinstance(text, str):
        raise NoValue(f"the suite parameter {text!r} is no name and no expression")
    inline = f"{KEY}.{text}"  # the older way to give a value for the time being
    if inline in parameter:
        return parameter[inline]
    if text in parameters:
        return parameters[text]
    if text.startswith("urn:"):
        raise NoValue(f"the suite parameter {text!r} is a figure of another validation: give its value under that name")
    reader = _Reader(text, parameters, now)
    value = reader.read()
    return value.isoformat() if isinstance(value, datetime) else value


_TOKEN = re.compile(
    r"\s*(?:(?P<number>(?:\d+|\.\d+)(?:\.\d+)?(?:[eE][+-]?\d+)?)|(?P<word>[A-Za-z][A-Za-z0-9_$]*)|(?P<sign>[-+*/^(),=]))"
)


class _Reader:
    """Reads an expression from left to right, and calculates as it goes."""

    def __init__(self, text: str, parameters: Mapping[str, Any], now: datetime) -> None:
        self.text = text
        self.parameters = parameters
        self.now = now
        self.tokens = _tokens(text)
        self.position = 0

    def read(self) -> Any:
        if len(self.tokens) == 1:
            raise self._without_value(self.tokens[0][1])
        try:
            value = self._sum()
            if self.position < len(self.tokens):
                raise self._unread()
        except (ArithmeticError, TypeError, ValueError, RecursionError) as error:
            raise NoValue(f"the suite parameter {self.text!r} gives no value: {error}") from error
        if isinstance(value, complex):
            raise NoValue(f"the suite parameter {self.text!r} gives no real number")
        if _bits(value) > _MOST_BITS:
            raise NoValue(f"the suite parameter {self.text!r} gives a number beyond reason")
        return value

    def _sum(self) -> Any:
        value = self._product()
        while (sign := self._taken("+", "-")) is not None:
            other = self._product()
            value = value + other if sign == "+" else value - other
        return value

    def _product(self) -> Any:
        value = self._power()
        while (sign := self._taken("*", "/")) is not None:
            other = self._power()
            value = value * other if sign == "*" else value / other
        return value

    def _power(self) -> Any:
        is_negative = False
        while (sign := self._taken("+", "-")) is not None:
            is_negative ^= sign == "-"
        value = self._atom()
        value = -value if is_negative else value
        # From right to left, and a sign binds closer than a power: -2^2 is 4 in GX.
        if self._taken("^") is None:
            return value
        exponent = self._power()
        if isinstance(exponent, (int, float)) and abs(exponent) * _bits(value) > _MOST_BITS:
            raise NoValue(f"the suite parameter {self.text!r} raises to a power beyond reason")
        return value**exponent

    def _atom(self) -> Any:
        if self._taken("(") is not None:
            value = self._sum()
            self._expected(")")
            return value
        kind, text = self.tokens[self.position] if self.position < len(self.tokens) else ("end", "")
        self.position += 1
        if kind == "number":
            return _number(text)
        if kind != "word":
            self.position -= 1
            raise self._unread()
        if self._taken("(") is not None:
            return self._call(text)
        if text in self.parameters:
            return self._calculable(text, self.parameters[text])
        constants = {"pi": math.pi, "e": math.e}
        if text.lower() in constants:
            return constants[text.lower()]
        raise self._without_value(text)

    def _call(self, name: str) -> Any:
        values, named = self._arguments()
        if name == "now" and not values and not named:
            return self.now.replace(tzinfo=None)
        if name not in _FUNCTIONS:
            raise NoValue(
                f"the suite parameter {self.text!r} calls {name}, which is no function; {did_you_mean(name, FUNCTIONS)}"
            )
        if name in ("datetime", "timedelta"):
            named = {
                key: int(value) if isinstance(value, float) and value.is_integer() else value
                for key, value in named.items()
            }
        return _FUNCTIONS[name](*values, **named)

    def _arguments(self) -> tuple[list[Any], dict[str, Any]]:
        values: list[Any] = []
        named: dict[str, Any] = {}
        while self._taken(")") is None:
            if values or named:
                self._expected(",")
            ahead = self.tokens[self.position : self.position + 2]
            if len(ahead) == 2 and ahead[0][0] == "word" and ahead[1][1] == "=":
                self.position += 2
                named[ahead[0][1]] = self._sum()
            else:
                values.append(self._sum())
        return values, named

    def _calculable(self, name: str, value: Any) -> Any:
        if isinstance(value, (int, float, datetime, timedelta)):
            return value
        if isinstance(value, str):
            return _number(value) if _is_number(value) else _moment(name, value)
        raise NoValue(f"the suite parameter {name} is {value!r}, with which nothing can be calculated")

    def _taken(self, *signs: str) -> str | None:
        if self.position < len(self.tokens) and self.tokens[self.position] in [("sign", sign) for sign in signs]:
            self.position += 1
            return self.tokens[self.position - 1][1]
        return None

    def _expected(self, sign: str) -> None:
        if self._taken(sign) is None:
            raise self._unread()

    def _unread(self) -> NoValue:
        rest = " ".join(text for _, text in self.tokens[self.position :]) or "its end"
        return NoValue(f"the suite parameter {self.text!r} is no expression: it cannot be read at {rest!r}")

    def _without_value(self, name: str) -> NoValue:
        known = f"; {did_you_mean(name, self.parameters)}" if self.parameters else ""
        return NoValue(f"there is no value for the suite parameter {name}{known}")


def _tokens(text: str) -> list[tuple[str, str]]:
    if len(text) > _LONGEST:
        raise NoValue(f"the suite parameter {text[:60]!r}... is longer than {_LONGEST} characters")
    found: list[tuple[str, str]] = []
    position, end = 0, len(text.rstrip())
    while position < end:
        token = _TOKEN.match(text, position)
        if token is None:
            raise NoValue(f"the suite parameter {text!r} is no name and no expression: {text[position:].strip()!r}")
        found.append((str(token.lastgroup), token[str(token.lastgroup)]))
        position = token.end()
    if not found:
        raise NoValue("a suite parameter has an empty name")
    return found


def _bits(value: Any) -> int:
    return value.bit_length() if isinstance(value, int) else 1


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _number(text: str) -> int | float:
    try:
        return int(text)
    except ValueError:
        return float(text)


def _moment(name: str, text: str) -> datetime:
    from dateutil import parser

    try:
        moment: datetime = parser.parse(text)
    except (ValueError, OverflowError) as error:
        raise NoValue(f"the suite parameter {name} is {text!r}, which is no number and no time") from error
    return moment


def parameter_names(kwargs: Mapping[str, Any]) -> list[str]:
    """The texts of the parameters among arguments."""
    return [str(value[KEY]) for value in kwargs.values() if is_parameter(value)]
