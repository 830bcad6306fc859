"""Values that were sent in another form than they have, such as the text "25" for a number. Nothing is lost."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from datetime import date, datetime
from decimal import Decimal
from typing import Any, Literal

import pyarrow as pa
from pyarrow import types

from millrace.validation.suite import Expectation

Target = Literal["int", "float", "number", "bool", "text", "time", "date"]

NOT_COERCED = object()
"""What `coerce` answers when a value has no equal of the wanted kind."""

ACCEPTED: Mapping[Target, frozenset[type]] = {
    "int": frozenset({int, type(None)}),
    "float": frozenset({float, int, type(None)}),
    "number": frozenset({float, int, Decimal, type(None)}),
    "bool": frozenset({bool, type(None)}),
    "text": frozenset({str, type(None)}),
    "time": frozenset({datetime, type(None)}),
    "date": frozenset({date, type(None)}),
}
"""Types that need no coercion."""

EXAMPLES: Mapping[Target, str] = {
    "int": "a whole number such as 25",
    "float": "a number such as 2.5",
    "number": "a number such as 2.5",
    "bool": "true or false",
    "text": "text",
    "time": "a time such as 2024-05-01T12:00:00Z",
    "date": "a date such as 2024-05-01",
}

_WHOLE = re.compile(r"\s*[+-]?[0-9]{1,40}\s*", re.ASCII)
_NUMBER = re.compile(r"\s*[+-]?([0-9]{1,400}(\.[0-9]{0,400})?|\.[0-9]{1,400})([eE][+-]?[0-9]{1,4})?\s*", re.ASCII)
_EXACT = 2**53


def coerce(value: Any, target: Target) -> Any:
    """`value` as the kind `target`, equal in meaning, or `NOT_COERCED`.

    Numbers come from text and from whole floats, truths from "true", "false", 1 and 0, times and dates from ISO 8601
    text. Nothing becomes text: what made 01234 the number 1234 cannot be told.

    >>> coerce("25", "int"), coerce(25.0, "int"), coerce("true", "bool"), coerce("25.5", "int") is NOT_COERCED
    (25, 25, True, True)
    """
    if type(value) in ACCEPTED[target]:
        return value
    if isinstance(value, float) and value != value:
        return None  # NaN is missing
    return _COERCIONS[target](value)


def targets(rules: Iterable[Expectation], types_of: Mapping[str, pa.DataType]) -> dict[str, Target]:
    """The kind each column should have: of its declared type, else numbers where a rule's bounds or set are numbers."""
    found: dict[str, Target] = {}
    for name, declared in types_of.items():
        target = target_of(declared)
        if target is not None:
            found[name] = target
    for rule in rules:
        bounds = [rule.kwargs.get("min_value"), rule.kwargs.get("max_value")]
        members = rule.kwargs.get("value_set")
        given = [bound for bound in bounds if bound is not None] if rule.type in _ON_VALUES else []
        if rule.type == "expect_column_values_to_be_in_set" and isinstance(members, (list, tuple)):
            given = [member for member in members if member is not None]
        if rule.column is not None and given and all(type(one) in (int, float) for one in given):
            found.setdefault(rule.column, "number")
    return found


_ON_VALUES = {
    "expect_column_values_to_be_between",
    *(f"expect_column_{figure}_to_be_between" for figure in ("min", "max", "mean", "median", "sum", "stdev")),
}


def target_of(declared: pa.DataType) -> Target | None:
    """The kind of values that an Arrow type holds; None for one that nothing is coerced to."""
    tests: list[tuple[Any, Target]] = [
        (types.is_boolean, "bool"),
        (types.is_integer, "int"),
        (types.is_floating, "float"),
        (types.is_decimal, "number"),
        (types.is_timestamp, "time"),
        (types.is_date, "date"),
        (types.is_string, "text"),
        (types.is_large_string, "text"),
    ]
    return next((target for test, target in tests if test(declared)), None)


def _to_int(value: Any) -> Any:
    if isinstance(value, str):
        return int(value) if _WHOLE.fullmatch(value) else NOT_COERCED
    if type(value) is float:
        # Beyond 2**53 a float stands for several whole numbers.
        return int(value) if value.is_integer() and abs(value) <= _EXACT else NOT_COERCED
    if isinstance(value, Decimal) and value.is_finite() and value == value.to_integral_value():
        return int(value)
    return NOT_COERCED


def _to_float(value: Any) -> Any:
    if isinstance(value, str) and _NUMBER.fullmatch(value):
        number = float(value)
        return number if abs(number) != float("inf") else NOT_COERCED
    if isinstance(value, Decimal) and value.is_finite():
        number = float(value)
        return number if Decimal(repr(number)) == value else NOT_COERCED
    return NOT_COERCED


def _to_number(value: Any) -> Any:
    whole = _to_int(value) if isinstance(value, str) else NOT_COERCED
    return _to_float(value) if whole is NOT_COERCED else whole


def _to_bool(value: Any) -> Any:
    if isinstance(value, str):
        return {"true": True, "false": False}.get(value.strip().lower(), NOT_COERCED)
    return bool(value) if type(value) in (int, float) and value in (0, 1) else NOT_COERCED


def _to_time(value: Any) -> Any:
    if type(value) is date:
        return datetime(value.year, value.month, value.day)  # noqa: DTZ001  # naive is UTC everywhere here
    try:
        return datetime.fromisoformat(value.strip()) if isinstance(value, str) else NOT_COERCED
    except ValueError:
        return NOT_COERCED


def _to_date(value: Any) -> Any:
    moment = value if isinstance(value, datetime) else _to_time(value)
    if moment is NOT_COERCED or moment.time() != datetime.min.time() or moment.tzinfo is not None:
        return NOT_COERCED
    return moment.date()


_COERCIONS = {
    "int": _to_int,
    "float": _to_float,
    "number": _to_number,
    "bool": _to_bool,
    "text": lambda value: NOT_COERCED,
    "time": _to_time,
    "date": _to_date,
}
