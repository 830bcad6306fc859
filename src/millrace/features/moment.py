"""Moments and spans of time as a caller may write them."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from typing import Any

from millrace.core.clock import as_utc, from_text
from millrace.core.duration import parse_duration
from millrace.core.errors import DataError
from millrace.features.aggregation import Duration


def a_span(value: Duration, what: str) -> timedelta:
    """A duration of nothing or more.

    Raises
    ------
    DataError
        FEAT-13 when it is negative.
    ProjectError
        PROJ-10 when it is no duration.
    """
    span = parse_duration(value, what=what)
    if span < timedelta(0):
        raise DataError("FEAT-13", f"{what} is {value!r}, less than nothing", fix=f'{what}="1h", or 0')
    return span


def a_moment(value: Any, what: str) -> datetime:
    """`value` in UTC; what is naive is UTC, a date is its midnight.

    Raises
    ------
    DataError
        FEAT-06 with `what` when it is no time.
    """
    try:
        if isinstance(value, str):
            return from_text(value)
        if isinstance(value, datetime) and value == value:  # pandas' NaT is a datetime that equals nothing
            return as_utc(value)
        if isinstance(value, date) and not isinstance(value, datetime):
            return datetime(value.year, value.month, value.day, tzinfo=UTC)
    except ValueError:
        pass
    raise DataError(
        "FEAT-06", f"{what}={value!r} is not a time", fix="pass a datetime, or ISO 8601 such as 2024-05-01T12:00:00Z"
    )
