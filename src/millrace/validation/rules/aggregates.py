"""Rules on one number over a column: least, greatest, mean, median, deviation, sum, distinct and missing values.

Over no value at all there is no number: the rule fails with `observed_value` None.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from millrace.validation.batch import Batch, CannotCheck, as_moment
from millrace.validation.check import Check, Finding, Values, is_within
from millrace.validation.expression import (
    ROWS,
    Expr,
    count_if,
    distinct,
    figure,
    is_present,
    quantile,
)

Kwargs = Mapping[str, Any]
Figure = Callable[[Expr], Expr]


def extreme(aggregate: Figure) -> Callable[[Batch, Kwargs], Check]:
    """A rule on a least or greatest value: numbers, text (by code point) or times."""

    def build(batch: Batch, kwargs: Kwargs) -> Check:
        values, bounds = batch.ordered(kwargs["column"], (kwargs.get("min_value"), kwargs.get("max_value")))
        return _bounded(batch, kwargs, aggregate(values), bounds)

    return build


def number(name: str, aggregate: Figure) -> Callable[[Batch, Kwargs], Check]:
    """A rule on a figure that only numbers have."""

    def build(batch: Batch, kwargs: Kwargs) -> Check:
        values = batch.numbers(kwargs["column"], f"a {name}")
        _, bounds = batch.ordered(kwargs["column"], (kwargs.get("min_value"), kwargs.get("max_value")))
        return _bounded(batch, kwargs, aggregate(values), bounds)

    return build


def median(batch: Batch, kwargs: Kwargs) -> Check:
    """A rule on the middle value, or on half the way between the two in the middle, one of which may be infinite."""
    values = batch.numbers(kwargs["column"], "a median")
    middle, below, above = quantile(values, 0.5), quantile(values, 0.5, "lower"), quantile(values, 0.5, "higher")
    check = number("median", lambda operand: quantile(operand, 0.5))(batch, kwargs)

    def is_lost(found: Values) -> bool:
        # The way from one value to an infinite one has no length to go half of.
        return found[middle] is not None and found[middle] != found[middle]

    def finish(found: Values) -> Finding:
        return check.finish({**found, middle: (found[below] + found[above]) / 2} if is_lost(found) else found)

    return replace(check, finish=finish, recount=lambda found: [below, above] if is_lost(found) else [])


def distinct_count(batch: Batch, kwargs: Kwargs) -> Check:
    """Distinct values; 0 where every value is missing."""
    low, high = _number_bounds(kwargs, "a number of values")
    wanted = distinct(batch.values(kwargs["column"]))

    def finish(found: Values) -> Finding:
        observed = found[wanted] or 0
        return Finding(is_within(observed, kwargs, low, high), {"observed_value": observed})

    return Check(finish, (wanted,))


def distinct_share(batch: Batch, kwargs: Kwargs) -> Check:
    """Distinct values among the present ones; 0 where there is none."""
    low, high = _number_bounds(kwargs, "a share of values")
    values = batch.values(kwargs["column"])
    present = count_if(is_present(values))

    def finish(found: Values) -> Finding:
        share = found[distinct(values)] / found[present] if found[present] else 0
        return Finding(is_within(share, kwargs, low, high), {"observed_value": share})

    return Check(finish, (distinct(values), present))


def present_share(batch: Batch, kwargs: Kwargs) -> Check:
    low, high = _number_bounds(kwargs, "a share of values")
    present = count_if(is_present(batch.values(kwargs["column"])))

    def finish(found: Values) -> Finding:
        share = found[present] / found[ROWS] if found[ROWS] else 0
        return Finding(is_within(share, kwargs, low, high), {"observed_value": share})

    return Check(finish, (ROWS, present))


def _number_bounds(kwargs: Kwargs, what: str) -> list[Any]:
    bounds = [kwargs.get("min_value"), kwargs.get("max_value")]
    wrong = [bound for bound in bounds if bound is not None and not isinstance(bound, (int, float))]
    if wrong:
        raise CannotCheck(f"{what} cannot be compared with {wrong[0]!r}")
    return bounds


def _bounded(batch: Batch, kwargs: Kwargs, wanted: Expr, bounds: list[Any]) -> Check:
    low, high = bounds
    present = count_if(is_present(batch.values(kwargs["column"])))

    def finish(found: Values) -> Finding:
        observed = found[wanted] if found[present] else None
        observed = None if observed is not None and observed != observed else observed
        return Finding(is_within(_comparable(observed, low, high), kwargs, low, high), {"observed_value": observed})

    return Check(finish, (wanted, present))


def _comparable(observed: Any, low: Any, high: Any) -> Any:
    """A time or date as the bounds are: with its zone, UTC where it has none."""
    has_times = any(hasattr(bound, "tzinfo") for bound in (low, high))
    return as_moment(observed) if has_times and observed is not None else observed


AGGREGATE_RULES: dict[str, Callable[[Batch, Kwargs], Check]] = {
    "expect_column_min_to_be_between": extreme(lambda values: figure("min", values)),
    "expect_column_max_to_be_between": extreme(lambda values: figure("max", values)),
    "expect_column_mean_to_be_between": number("mean", lambda values: figure("mean", values)),
    "expect_column_median_to_be_between": median,
    "expect_column_stdev_to_be_between": number("stdev", lambda values: figure("stdev", values)),
    "expect_column_sum_to_be_between": number("sum", lambda values: figure("sum", values)),
    "expect_column_unique_value_count_to_be_between": distinct_count,
    "expect_column_proportion_of_unique_values_to_be_between": distinct_share,
    "expect_column_proportion_of_non_null_values_to_be_between": present_share,
}
