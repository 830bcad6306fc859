"""What a rule asks of a batch, and what it makes of the answers."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import polars as pl


@dataclass(frozen=True, slots=True)
class Finding:
    """One rule's answer: whether it is met, and GX's `result` object."""

    success: bool
    result: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Rows:
    """Which rows break a rule, `unexpected`, and what to show of each, `shown`."""

    unexpected: pl.Expr
    shown: pl.Expr


@dataclass(frozen=True, slots=True)
class Check:
    """A rule, compiled.

    Parameters
    ----------
    finish : callable
        From the values of `aggregates` to the finding.
    aggregates : mapping of str to expression
        Each gives one value over the batch. Equal labels mean equal expressions: they are computed once.
    recount : callable, optional
        From the values of `aggregates` to more aggregates, for a count that is dear and seldom needed; `finish` gets
        their values too.
    rows : Rows, optional
        How to find the rows that break the rule.
    """

    finish: Callable[[Mapping[str, Any]], Finding]
    aggregates: Mapping[str, pl.Expr] = field(default_factory=dict)
    recount: Callable[[Mapping[str, Any]], Mapping[str, pl.Expr]] | None = None
    rows: Rows | None = None


def is_within(value: Any, kwargs: Mapping[str, Any], low: Any, high: Any) -> bool:
    """Whether one observed value keeps the bounds; a missing one or NaN never does."""
    if value is None or value != value:
        return False
    if low is not None and (value <= low if kwargs.get("strict_min") else value < low):
        return False
    return not (high is not None and (value >= high if kwargs.get("strict_max") else value > high))
