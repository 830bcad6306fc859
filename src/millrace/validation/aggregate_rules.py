"""Rules on one number over a column: least, greatest, mean, median, deviation, sum, distinct and missing values.

Over no value at all there is no number: the rule fails with `observed_value` None.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import polars as pl
from pyarrow import types

from millrace.validation.batch import Batch, CannotCheck
from millrace.validation.check import Check, Finding, is_within

Kwargs = Mapping[str, Any]


def extreme(name: str, aggregate: Callable[[pl.Expr], pl.Expr]) -> Callable[[Batch, Kwargs], Check]:
    """A rule on a least or greatest value: numbers, text (by code point) or times."""

    def build(batch: Batch, kwargs: Kwargs) -> Check:
        values, bounds = batch.ordered(kwargs["column"], (kwargs.get("min_value"), kwargs.get("max_value")))
        return _bounded(batch, kwargs, f"{name} {kwargs['column']}", aggregate(values), bounds)

    return build


def number(name: str, aggregate: Callable[[pl.Expr], pl.Expr]) -> Callable[[Batch, Kwargs], Check]:
    """A rule on a figure that only numbers have."""

    def build(batch: Batch, kwargs: Kwargs) -> Check:
        values = batch.numbers(kwargs["column"], f"a {name}")
        _, bounds = batch.ordered(kwargs["column"], (kwargs.get("min_value"), kwargs.get("max_value")))
        return _bounded(batch, kwargs, f"{name} {kwargs['column']}", aggregate(values), bounds)

    return build


def total(batch: Batch, kwargs: Kwargs) -> Check:
    """A rule on the sum; whole numbers are added in 128 bits, which no batch overflows."""
    is_whole = types.is_integer(batch.type_of(kwargs["column"]))
    return number("sum", lambda values: (values.cast(pl.Int128) if is_whole else values).sum())(batch, kwargs)


def distinct_count(batch: Batch, kwargs: Kwargs) -> Check:
    values = batch.values(kwargs["column"]).drop_nulls().n_unique()
    bounds = _number_bounds(kwargs, "a number of values")
    return _bounded(batch, kwargs, f"distinct {kwargs['column']}", values, bounds)


def present_share(batch: Batch, kwargs: Kwargs) -> Check:
    share = batch.values(kwargs["column"]).count() / pl.len()
    bounds = _number_bounds(kwargs, "a share of values")
    return _bounded(batch, kwargs, f"share {kwargs['column']}", share, bounds)


def _number_bounds(kwargs: Kwargs, what: str) -> list[Any]:
    bounds = [kwargs.get("min_value"), kwargs.get("max_value")]
    wrong = [bound for bound in bounds if bound is not None and not isinstance(bound, (int, float))]
    if wrong:
        raise CannotCheck(f"{what} cannot be compared with {wrong[0]!r}")
    return bounds


def _bounded(batch: Batch, kwargs: Kwargs, label: str, aggregate: pl.Expr, bounds: list[Any]) -> Check:
    low, high = bounds
    # A share of missing values is a figure even where every value is missing; the others need a value.
    needs_value = not label.startswith("share ")
    present = f"present {kwargs['column']}"

    def finish(found: Mapping[str, Any]) -> Finding:
        has_value = batch.rows > 0 and (found[present] > 0 or not needs_value)
        observed = found[label] if has_value else None
        observed = None if observed is not None and observed != observed else observed
        return Finding(is_within(observed, kwargs, low, high), {"observed_value": observed})

    return Check(finish, {label: aggregate, present: batch.values(kwargs["column"]).count()})


AGGREGATE_RULES: dict[str, Callable[[Batch, Kwargs], Check]] = {
    "expect_column_min_to_be_between": extreme("min", lambda values: values.min()),
    "expect_column_max_to_be_between": extreme("max", lambda values: values.max()),
    "expect_column_mean_to_be_between": number("mean", lambda values: values.mean()),
    "expect_column_median_to_be_between": number("median", lambda values: values.median()),
    "expect_column_stdev_to_be_between": number("stdev", lambda values: values.std(ddof=1)),
    "expect_column_sum_to_be_between": total,
    "expect_column_unique_value_count_to_be_between": distinct_count,
    "expect_column_proportion_of_non_null_values_to_be_between": present_share,
}
