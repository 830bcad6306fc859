"""Durations as people write them: "30m", "24h", "7d", "13w"."""

from __future__ import annotations

import re
from datetime import timedelta

from millrace.core.errors import ProjectError

_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}
_FORM = re.compile(r"\s*(\d+(?:\.\d+)?)\s*([smhdw])\s*")


def parse_duration(value: str | int | float | timedelta, *, what: str = "duration") -> timedelta:
    """A timedelta from "30m", "24h", "7d", "13w", a number of seconds, or a timedelta.

    Raises
    ------
    ProjectError
        PROJ-10 when the text is not of that form.

    >>> parse_duration("90m")
    datetime.timedelta(seconds=5400)
    """
    if isinstance(value, timedelta):
        return value
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return timedelta(seconds=value)
    match = _FORM.fullmatch(value) if isinstance(value, str) else None
    if match is None:
        raise ProjectError(
            "PROJ-10",
            f"{what} {value!r} is not a duration",
            fix="write a number and a unit: 30s, 15m, 24h, 7d or 13w",
        )
    return timedelta(seconds=float(match[1]) * _UNITS[match[2]])


def format_duration(span: timedelta) -> str:
    """The shortest exact text `parse_duration` reads back.

    >>> format_duration(timedelta(days=7))
    '1w'
    """
    seconds = span.total_seconds()
    for unit in ("w", "d", "h", "m"):
        count = seconds / _UNITS[unit]
        if count >= 1 and count == int(count):
            return f"{int(count)}{unit}"
    return f"{seconds:g}s"
