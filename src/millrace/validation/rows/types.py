"""What Arrow type a Python value has in a row, and what code for it may rely on."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import date, datetime, time
from decimal import Decimal
from typing import Any

import pyarrow as pa
from pyarrow import types

from millrace.validation.arrow_types import of_arrow
from millrace.validation.rows.code import Missing, RowColumn
from millrace.validation.suite import Expectation
from millrace.validation.type_names import find_type

PLAIN = frozenset({type(None), bool, int, float, str, bytes, datetime, date, time, Decimal, list, dict})
"""Types whose values rules take as they are; of these exactly, not of their subclasses."""

TYPE_RULES = frozenset(
    {"expect_column_values_to_be_of_type", "expect_column_values_to_be_in_type_list", "expect_column_type_to_be"}
)

_EXACT = 2**53
_OTHER = pa.binary()  # of the kind "other": no rule on values takes it
_TYPES = (
    *(pa.int64(), pa.float64(), pa.string(), pa.bool_(), pa.timestamp("us"), pa.date32()),
    *(pa.int32(), pa.int16(), pa.int8(), pa.uint64(), pa.uint32(), pa.uint16(), pa.uint8()),
    *(pa.float32(), pa.float16(), pa.binary()),
)


@dataclass(frozen=True, slots=True)
class Form:
    """Type of a column's value in Arrow and in Python; `is_declared` when the column is known to have it."""

    arrow: pa.DataType
    python: type
    is_declared: bool

    def column(self) -> RowColumn:
        """What code for this form relies on."""
        if types.is_null(self.arrow):
            return RowColumn(type(None), "always")
        missing: Missing = "maybe" if self.is_declared else "never"
        if types.is_integer(self.arrow):
            low, high = _range(self.arrow)
            low = low if self.is_declared or types.is_signed_integer(self.arrow) else 2**63  # smaller ones have another
            return RowColumn(int, missing, f"{low} <= {{value}} <= {high}")
        if types.is_floating(self.arrow):
            # Where a float is declared a whole number stands for it; the last test is dear, and seldom needed.
            whole = (
                f"{{value}}.__class__ is int and (-{_EXACT} <= {{value}} <= {_EXACT} or float({{value}}) == {{value}})"
            )
            return RowColumn(float, missing, instead=whole if self.is_declared else "")
        if types.is_timestamp(self.arrow):
            return RowColumn(datetime, missing, f"{{value}}.tzinfo is {'' if self.arrow.tz is None else 'not '}None")
        return RowColumn(self.python, missing)


def form_of(value: Any, declared: pa.DataType | None) -> Form:
    """The form of one value. What fits the declared type without loss has it; anything else has its own."""
    if value is None:
        return Form(pa.null(), type(None), False) if declared is None else Form(declared, _python(declared), True)
    if declared is not None and _fits(value, declared):
        return Form(declared, float if types.is_floating(declared) else type(value), True)
    return Form(_own_type(value), type(value), False)


def declared_types(rules: Iterable[Expectation]) -> dict[str, pa.DataType]:
    """The type that the type rules of a suite ask of each column; the first one that a rule accepts."""
    found: dict[str, pa.DataType] = {}
    for rule in rules:
        names = rule.kwargs.get("type_list") or [rule.kwargs.get("type_")]
        if rule.type not in TYPE_RULES or rule.column is None or not isinstance(names, (list, tuple)):
            continue
        tests = [test for name in names if isinstance(name, str) and (test := find_type(name)) is not None]
        accepted = next((kind for test in tests for kind in _TYPES if test(of_arrow(kind))), None)
        if accepted is not None:
            found.setdefault(rule.column, accepted)
    return found


def plain_row(row: Mapping[Any, Any]) -> dict[str, Any]:
    """A row with names as text and values of plain Python types, where there is one."""
    return {str(name): plain_value(value) for name, value in row.items()}


def plain_value(value: Any) -> Any:
    """A value of numpy or pandas as the plain Python value that equals it; anything else as it is."""
    if type(value) in PLAIN:
        return value
    try:
        if value is None or bool(value != value):
            return None  # NaT, and NaN of any kind
    except Exception:  # noqa: BLE001  # an object of any class; pandas' NA raises when it is asked for a truth
        return None if type(value).__name__ == "NAType" else value
    to_python = getattr(value, "to_pydatetime", None) or getattr(value, "item", None)
    if to_python is not None:
        return to_python() if type(to_python()) in PLAIN else value
    bases = [kind for kind in (bool, int, float, str, bytes, Decimal) if isinstance(value, kind)]
    return bases[0](value) if bases else value


def _fits(value: Any, declared: pa.DataType) -> bool:
    kind = type(value)
    if types.is_integer(declared) and kind is int:
        low, high = _range(declared)
        return bool(low <= value <= high)
    if types.is_floating(declared):
        return kind is float or (kind is int and _is_float(value))
    if types.is_timestamp(declared) and kind is datetime:
        return (value.tzinfo is None) == (declared.tz is None)
    return _own_type(value) == declared if kind in (str, bool, date, bytes) else False


def _is_float(number: int) -> bool:
    try:
        return float(number) == number
    except OverflowError:
        return False


def _own_type(value: Any) -> pa.DataType:
    kind = type(value)
    if kind is int:
        small = -(2**63) <= value < 2**63
        return pa.int64() if small else pa.uint64() if 0 < value < 2**64 else pa.decimal256(76, 0)
    if kind is datetime:
        return pa.timestamp("us", None if value.tzinfo is None else "UTC")
    if kind in _OWN:
        return _OWN[kind]
    try:
        return pa.scalar(value).type
    except (pa.ArrowException, TypeError, ValueError, OverflowError):
        return _OTHER


_OWN: Mapping[type, pa.DataType] = {
    bool: pa.bool_(),
    float: pa.float64(),
    str: pa.string(),
    date: pa.date32(),
    bytes: pa.binary(),
}


def _python(declared: pa.DataType) -> type:
    tests = (
        (types.is_boolean, bool),
        (types.is_integer, int),
        (types.is_floating, float),
        (types.is_timestamp, datetime),
        (types.is_date, date),
        (types.is_decimal, Decimal),
        (types.is_binary, bytes),
    )
    return next((python for test, python in tests if test(declared)), str)


def _range(kind: pa.DataType) -> tuple[int, int]:
    bits = kind.bit_width
    return (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1) if types.is_signed_integer(kind) else (0, 2**bits - 1)
