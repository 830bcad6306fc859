"""Plain values in the form in which a database compares them exactly. Standard library only."""

from __future__ import annotations

import math
import struct
from datetime import UTC, date, datetime, time
from decimal import Decimal
from fractions import Fraction
from typing import Any

_WHOLE_BITS = 64
_DIGITS = 38


def as_float(value: Any) -> float:
    """A number as a float, infinite beyond what floats hold."""
    try:
        return float(value)
    except OverflowError:
        return math.inf if value > 0 else -math.inf


def as_single(value: float) -> float:
    """The nearest float of 32 bit.

    >>> as_single(0.1) == 0.1, as_single(1e300)
    (False, inf)
    """
    try:
        return float(struct.unpack("f", struct.pack("f", value))[0])
    except OverflowError:
        return math.copysign(math.inf, value)


def rounded_limit(op: str, limit: Any, scale: int | None) -> Decimal | bool:
    """What to compare a decimal with `scale` digits with instead of `limit`; a truth where every value compares alike.

    A value is a whole number of units in its last place, so the limit is rounded to one, to the side where no value
    can be between. With `scale` None it is taken as it is.

    >>> rounded_limit("lt", 0.15, 1), rounded_limit("eq", 0.15, 1), rounded_limit("gt", float("-inf"), 2)
    (Decimal('0.2'), False, True)
    >>> rounded_limit("eq", 10**37 + 1, 0)
    Decimal('10000000000000000000000000000000000001')
    """
    if isinstance(limit, (float, Decimal)) and not Decimal(limit).is_finite():
        return op in (("lt", "le", "ne") if limit > 0 else ("gt", "ge", "ne"))
    if scale is None:
        return Decimal(limit)
    units = Fraction(limit) * 10**scale
    if units.denominator != 1 and op in ("eq", "ne"):
        return op == "ne"
    whole = math.ceil(units) if op in ("lt", "ge") else math.floor(units)
    if abs(whole) >= 10**_DIGITS:
        return op in (("lt", "le", "ne") if whole > 0 else ("gt", "ge", "ne"))
    return Decimal(f"{whole}E{-scale}")  # scaleb would round to the 28 digits of the context


def fitting_member(member: Any, kind: str, scale: int | None = None) -> Any:
    """`member` of a set as a value of a column of `kind`; None when no value of the column can equal it.

    >>> fitting_member(1.0, "int"), fitting_member(1.5, "int"), fitting_member("1", "int"), fitting_member(1, "bool")
    (1, None, None, True)
    """
    if isinstance(member, (int, float, Decimal)):
        return _fitting_number(member, kind, scale)
    if isinstance(member, date):
        return _fitting_moment(member, kind)
    return member if isinstance(member, str) and kind == "text" and is_unicode(member) else None


def is_unicode(text: str) -> bool:
    """Whether `text` can stand in a database: half a surrogate pair, which JSON may hold, cannot."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _fitting_number(member: Any, kind: str, scale: int | None) -> Any:
    if kind == "float":
        return as_float(member)
    if isinstance(member, (float, Decimal)) and not Decimal(member).is_finite():
        return None
    if kind == "bool":
        return bool(member) if member in (0, 1) else None
    if kind == "int":
        return int(member) if member == int(member) and abs(member) < 2**_WHOLE_BITS else None
    if kind == "decimal":
        found = rounded_limit("eq", member, scale)
        return None if isinstance(found, bool) else found
    return None


def _fitting_moment(member: date, kind: str) -> Any:
    moment = member if isinstance(member, datetime) else datetime.combine(member, time(), UTC)
    if kind in ("time", "zoned"):
        return moment
    utc = moment.astimezone(UTC) if moment.tzinfo is not None else moment
    return utc.date() if kind == "date" and utc.time() == time() else None
