"""What a rule asks of a batch, and what it makes of the answers. Standard library only."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from millrace.validation.expression import Expr

Values = Mapping[Expr, Any]
"""Figures and what they are over the batch."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One rule's answer: whether it is met, and GX's `result` object."""

    success: bool
    result: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Rows:
    """Which rows break a rule, `unexpected`, and what to show of each, `shown`.

    `shown` is one expression, or several by name.
    """

    unexpected: Expr
    shown: Expr | Mapping[str, Expr]


@dataclass(frozen=True, slots=True)
class Check:
    """A rule, compiled.

    Parameters
    ----------
    finish : callable
        From the figures to the finding.
    figures : sequence of expressions
        Each gives one value over the batch. Equal ones are computed once, whichever rules ask.
    recount : callable, optional
        From the figures to more figures, for those that are dear and seldom needed or that depend on others;
        `finish` gets them too.
    rows : Rows or callable, optional
        How to find the rows that break the rule; a callable gets the figures, and answers None when no row can.
    where : expression, optional
        Only rows where it is true are judged, and ``ROWS`` counts those.
    """

    finish: Callable[[Values], Finding]
    figures: Sequence[Expr] = ()
    recount: Callable[[Values], Sequence[Expr]] | None = None
    rows: Rows | Callable[[Values], Rows | None] | None = None
    where: Expr | None = None


def is_within(value: Any, kwargs: Mapping[str, Any], low: Any, high: Any) -> bool:
    """Whether one observed value keeps the bounds; a missing one or NaN never does."""
    if value is None or value != value:
        return False
    if low is not None and (value <= low if kwargs.get("strict_min") else value < low):
        return False
    return not (high is not None and (value >= high if kwargs.get("strict_max") else value > high))
