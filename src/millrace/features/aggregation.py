"""What a feature takes from the events of its key: the words of a feature view.

Each function returns a frozen `Aggregation`. At a moment t, the events of a key are those with effective time (event
time plus the source's delay) at or before t; a window w keeps those in (t - w, t]. Nulls are skipped, except by
`last` and `lag`, which answer what the row says, and by `count()`, which counts rows.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Literal

from millrace.core.definition import report
from millrace.core.duration import parse_duration
from millrace.core.errors import ProjectError

Kind = Literal["last", "lag", "mean", "sum", "min", "max", "std", "count", "days_since_last"]
Duration = str | int | float | timedelta

_POINT_KINDS = frozenset({"last", "lag", "days_since_last"})


@dataclass(frozen=True, slots=True)
class Aggregation:
    """One feature's rule. Make it with the functions of this module.

    Parameters
    ----------
    kind : str
        Name of the function that made it.
    column : str or None
        Source column; None for `count()` and `days_since_last()`.
    window : timedelta or None
        None: all events of the key up to now.
    steps : int
        `lag` only: how many events before the newest.
    """

    kind: Kind
    column: str | None = None
    window: timedelta | None = None
    steps: int = 0

    @property
    def is_point(self) -> bool:
        """Whether it looks at single events, rather than at a window of them."""
        return self.kind in _POINT_KINDS

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready form; equal rules have equal forms."""
        window_s = None if self.window is None else self.window.total_seconds()
        return {"kind": self.kind, "column": self.column, "window_s": window_s, "steps": self.steps}


def last(column: str) -> Aggregation:
    """The newest event's value, null if that is null."""
    return Aggregation("last", _column("last", column))


def lag(column: str, steps: int = 1) -> Aggregation:
    """The value `steps` events before the newest; `steps` 0 is `last`. Null when there are not so many."""
    if isinstance(steps, bool) or not isinstance(steps, int) or steps < 0:
        report(
            ProjectError("PROJ-41", f"lag of {steps!r} steps on '{column}'", fix="steps is a whole number, 0 or more")
        )
        steps = 0
    return Aggregation("lag", _column("lag", column), steps=steps)


def mean(column: str, *, window: Duration | None = None) -> Aggregation:
    """The arithmetic mean in the window, as float; null when it holds no value."""
    return _windowed("mean", column, window)


def sum(column: str, *, window: Duration | None = None) -> Aggregation:  # noqa: A001 - read as mr.sum
    """The sum in the window, exact for integers; null when it holds no value or passes 64 bits."""
    return _windowed("sum", column, window)


def min(column: str, *, window: Duration | None = None) -> Aggregation:  # noqa: A001 - read as mr.min
    """The least value in the window; null when it holds none."""
    return _windowed("min", column, window)


def max(column: str, *, window: Duration | None = None) -> Aggregation:  # noqa: A001 - read as mr.max
    """The greatest value in the window; null when it holds none."""
    return _windowed("max", column, window)


def std(column: str, *, window: Duration | None = None) -> Aggregation:
    """The sample standard deviation (n - 1) in the window; null below two values."""
    return _windowed("std", column, window)


def count(column: str | None = None, *, window: Duration | None = None) -> Aggregation:
    """The number of events in the window, or of values of `column`; 0 in an empty window."""
    return _windowed("count", column, window)


def days_since_last() -> Aggregation:
    """Whole days from the newest event's own time (without the source's delay) to the moment asked, rounded down."""
    return Aggregation("days_since_last")


def _windowed(kind: Kind, column: str | None, window: Duration | None) -> Aggregation:
    if kind != "count" or column is not None:
        column = _column(kind, column)
    span = None
    if window is not None:
        try:
            span = parse_duration(window, what=f"window of {kind}({column or ''})")
        except ProjectError as problem:
            report(problem)
    if span is not None and span <= timedelta(0):
        report(
            ProjectError(
                "PROJ-41",
                f"{kind}({column or ''}) has a window of {window!r}",
                fix='a window is longer than nothing: "24h", "90d"; leave it out for all events',
            )
        )
        span = None
    return Aggregation(kind, column, span)


def _column(kind: str, column: object) -> str:
    if not isinstance(column, str) or not column:
        report(ProjectError("PROJ-41", f"{kind}({column!r}): a column is named by a text", fix=f'{kind}("amount")'))
        return ""
    return column
