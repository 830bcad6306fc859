"""Time comes from an injected clock, so that the whole loop can be replayed over history."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from typing import Protocol


class Clock(Protocol):
    """What the loop knows of time."""

    def now(self) -> datetime:
        """The present, UTC-aware."""
        ...

    def sleep(self, seconds: float) -> None:
        """Wait for `seconds`."""
        ...


class SystemClock:
    """The machine's own clock."""

    def now(self) -> datetime:
        return datetime.now(UTC)

    def sleep(self, seconds: float) -> None:
        time.sleep(seconds)


class ManualClock:
    """A clock that moves only when told: replays and tests.

    >>> clock = ManualClock(datetime(2024, 1, 1, tzinfo=UTC))
    >>> clock.sleep(60)
    >>> clock.now().minute
    1
    """

    def __init__(self, start: datetime) -> None:
        self._now = as_utc(start)

    def now(self) -> datetime:
        return self._now

    def sleep(self, seconds: float) -> None:
        self._now += timedelta(seconds=seconds)

    def set(self, moment: datetime) -> None:
        """Move to `moment`."""
        self._now = as_utc(moment)


def as_utc(moment: datetime) -> datetime:
    """`moment` in UTC; a naive time is taken as UTC."""
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)


def to_text(moment: datetime) -> str:
    """ISO 8601 in UTC with microseconds, sortable as text."""
    return as_utc(moment).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def from_text(text: str) -> datetime:
    """Inverse of `to_text`; takes any ISO 8601 text. Raises ValueError on anything else."""
    return as_utc(datetime.fromisoformat(text))


def to_micros(moment: datetime) -> int:
    """Microseconds since 1970-01-01 UTC, exact."""
    span = (moment if moment.tzinfo is UTC else as_utc(moment)) - _EPOCH
    return (span.days * 86_400 + span.seconds) * 1_000_000 + span.microseconds


def from_micros(micros: int) -> datetime:
    """Inverse of `to_micros`."""
    return _EPOCH + timedelta(microseconds=micros)


_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
