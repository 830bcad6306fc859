"""What a feature takes from the events of its key: the words of a feature view.

Each function returns a frozen `Aggregation`. At a moment t, the events of a key are those with effective time (event
time plus the source's delay) at or before t; a window w keeps those in (t - w, t], and `where` those for which it is
true. Nulls are skipped, except by `last`, `first`, `lag` and `last_k`, which answer what the row says, and by
`count()`, which counts rows. A column may be an expression: ``mr.sum(mr.col("quantity") * mr.col("price"))``.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import Any, Literal

from millrace.core.definition import report
from millrace.core.duration import format_duration, parse_duration
from millrace.core.errors import ProjectError
from millrace.features.expression import Expression

Kind = Literal[
    "last", "first", "lag", "last_k", "mean", "sum", "min", "max", "std", "count", "count_distinct",
    "days_since_last", "days_since_first", "lifetime_days", "ratio",
]  # fmt: skip
Duration = str | int | float | timedelta

_NEWEST_KINDS = frozenset({"last", "lag", "last_k", "days_since_last"})
_EVENT_KINDS = _NEWEST_KINDS | {"first", "days_since_first", "lifetime_days"}
_MOST_KEPT = 10_000


@dataclass(frozen=True, slots=True)
class Aggregation:
    """One feature's rule. Make it with the functions of this module.

    Parameters
    ----------
    kind : str
        Name of the function that made it.
    column : str or None
        What is kept of each event: a source column, or ``=`` and the text of an expression. None for rules that look
        at no value.
    window : timedelta or None
        None: all events of the key up to now.
    steps : int
        `lag`: how many events before the newest. `last_k`: how many events.
    where : str or None
        ``=`` and the text of the expression that says which events count.
    parts : tuple of Aggregation
        `ratio` only: numerator and denominator.
    expressions : mapping of str to Expression
        Those that `column` and `where` name.
    """

    kind: Kind
    column: str | None = None
    window: timedelta | None = None
    steps: int = 0
    where: str | None = None
    parts: tuple[Aggregation, ...] = ()
    expressions: Mapping[str, Expression] = field(default_factory=dict, compare=False, repr=False)

    @property
    def is_newest(self) -> bool:
        """Whether it needs the newest event alone, or a known number of them, when it has no window."""
        return self.kind in _NEWEST_KINDS

    @property
    def is_point(self) -> bool:
        """Whether it picks single events, rather than computing with all that are in the window."""
        return self.kind in _EVENT_KINDS

    @property
    def depth(self) -> int:
        """How many of the newest events it looks at, when `is_newest`."""
        return self.steps if self.kind == "last_k" else self.steps + 1

    def leaves(self) -> Iterator[Aggregation]:
        """The rules it is made of: itself, or the parts of a ratio."""
        if not self.parts:
            yield self
        for part in self.parts:
            yield from part.leaves()

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready form; equal rules have equal forms."""
        facts: dict[str, Any] = {
            "kind": self.kind,
            "column": self.column,
            "window_s": None if self.window is None else self.window.total_seconds(),
            "steps": self.steps,
        }
        if self.where is not None:
            facts["where"] = self.where
        if self.expressions:
            facts["expressions"] = {name: one.to_json() for name, one in sorted(self.expressions.items())}
        if self.parts:
            facts["parts"] = [part.to_dict() for part in self.parts]
        return facts

    def __str__(self) -> str:
        """The rule as it is written."""
        if self.parts:
            return f"ratio({', '.join(map(str, self.parts))})"
        words = [self.column.removeprefix("=")] if self.column is not None else []
        words += [str(self.steps)] if self.kind in ("lag", "last_k") else []
        words += [f"window={format_duration(self.window)}"] if self.window is not None else []
        words += [f"where={self.where.removeprefix('=')}"] if self.where is not None else []
        return f"{self.kind}({', '.join(words)})"


Value = str | Expression


def last(column: Value, *, window: Duration | None = None, where: Expression | None = None) -> Aggregation:
    """The newest event's value, null if that is null."""
    return _rule("last", column, window, where)


def first(column: Value, *, window: Duration | None = None, where: Expression | None = None) -> Aggregation:
    """The oldest event's value, null if that is null."""
    return _rule("first", column, window, where)


def lag(column: Value, steps: int = 1, *, where: Expression | None = None) -> Aggregation:
    """The value `steps` events before the newest; `steps` 0 is `last`. Null when there are not so many."""
    return replace(_rule("lag", column, None, where), steps=_count("lag", column, steps, least=0))


def last_k(column: Value, k: int, *, window: Duration | None = None, where: Expression | None = None) -> Aggregation:
    """The values of the newest `k` events as a list, the newest first; shorter when there are not so many."""
    return replace(_rule("last_k", column, window, where), steps=_count("last_k", column, k, least=1))


def mean(column: Value, *, window: Duration | None = None, where: Expression | None = None) -> Aggregation:
    """The arithmetic mean in the window, as float; null when it holds no value."""
    return _rule("mean", column, window, where)


def sum(  # noqa: A001 - read as mr.sum
    column: Value, *, window: Duration | None = None, where: Expression | None = None
) -> Aggregation:
    """The sum in the window, exact for integers; null when it holds no value or passes 64 bits."""
    return _rule("sum", column, window, where)


def min(  # noqa: A001 - read as mr.min
    column: Value, *, window: Duration | None = None, where: Expression | None = None
) -> Aggregation:
    """The least value in the window; null when it holds none."""
    return _rule("min", column, window, where)


def max(  # noqa: A001 - read as mr.max
    column: Value, *, window: Duration | None = None, where: Expression | None = None
) -> Aggregation:
    """The greatest value in the window; null when it holds none."""
    return _rule("max", column, window, where)


def std(column: Value, *, window: Duration | None = None, where: Expression | None = None) -> Aggregation:
    """The sample standard deviation (n - 1) in the window; null below two values."""
    return _rule("std", column, window, where)


def count(
    column: Value | None = None, *, window: Duration | None = None, where: Expression | None = None
) -> Aggregation:
    """The number of events in the window, or of values of `column`; 0 in an empty window."""
    return _rule("count", column, window, where)


def count_distinct(column: Value, *, window: Duration | None = None, where: Expression | None = None) -> Aggregation:
    """The number of different values in the window; 0 in an empty window."""
    return _rule("count_distinct", column, window, where)


def days_since_last(*, where: Expression | None = None) -> Aggregation:
    """Whole days from the newest event's own time (without the source's delay) to the moment asked, rounded down."""
    return _rule("days_since_last", None, None, where)


def days_since_first(*, window: Duration | None = None, where: Expression | None = None) -> Aggregation:
    """Whole days from the oldest event's own time to the moment asked, rounded down."""
    return _rule("days_since_first", None, window, where)


def lifetime_days(*, window: Duration | None = None, where: Expression | None = None) -> Aggregation:
    """Days that the key has been active: whole days from the oldest event to the newest, plus 1."""
    return _rule("lifetime_days", None, window, where)


def ratio(numerator: Aggregation, denominator: Aggregation) -> Aggregation:
    """One rule divided by another, as float; null when either is null or the divisor is 0.

    >>> str(ratio(sum("amount", window="30d"), sum("amount", window="90d")))
    'ratio(sum(amount, window=30d), sum(amount, window=90d))'
    """
    parts = (numerator, denominator)
    for part in parts:
        if not isinstance(part, Aggregation):
            report(
                ProjectError(
                    "PROJ-41",
                    f"ratio of {part!r}: both parts are rules",
                    fix='mr.ratio(mr.sum("amount", window="30d"), mr.count(window="30d"))',
                )
            )
            return Aggregation("count")
    return Aggregation("ratio", parts=parts)


def _rule(kind: Kind, column: object, window: Duration | None, where: object) -> Aggregation:
    expressions: dict[str, Expression] = {}
    name = None
    if isinstance(column, Expression):
        # A bare col("x") is the column itself, so that both spellings are one rule.
        name = column.parts[0] if column.operation == "column" else f"={column}"
        if column.operation != "column":
            expressions[name] = column
    elif column is not None or kind not in ("count", "days_since_last", "days_since_first", "lifetime_days"):
        name = _column(kind, column)
    condition = None
    if where is not None:
        if not isinstance(where, Expression):
            report(
                ProjectError(
                    "PROJ-41",
                    f"{kind}(where={where!r}): a condition is an expression of columns",
                    fix='where=mr.col("amount") > 0',
                )
            )
        else:
            condition = f"={where}"
            expressions[condition] = where
    return Aggregation(kind, name, _window(kind, name, window), 0, condition, (), expressions)


def _window(kind: str, column: str | None, window: Duration | None) -> timedelta | None:
    if window is None:
        return None
    try:
        span = parse_duration(window, what=f"window of {kind}({column or ''})")
    except ProjectError as problem:
        report(problem)
        return None
    if span <= timedelta(0):
        report(
            ProjectError(
                "PROJ-41",
                f"{kind}({column or ''}) has a window of {window!r}",
                fix='a window is longer than nothing: "24h", "90d"; leave it out for all events',
            )
        )
        return None
    return span


def _column(kind: str, column: object) -> str:
    if not isinstance(column, str) or not column or column.startswith("="):
        report(ProjectError("PROJ-41", f"{kind}({column!r}): a column is named by a text", fix=f'{kind}("amount")'))
        return ""
    return column


def _count(kind: str, column: object, steps: object, *, least: int) -> int:
    if isinstance(steps, bool) or not isinstance(steps, int) or not least <= steps <= _MOST_KEPT:
        report(
            ProjectError(
                "PROJ-41",
                f"{kind} of {steps!r} events on '{column}'",
                fix=f"a whole number from {least} to {_MOST_KEPT:,}",
            )
        )
        return least
    return steps
