"""Rules on where a column's values lie among themselves: z-scores, outliers, quantiles."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any, Literal

from millrace.validation.batch import Batch, CannotCheck
from millrace.validation.check import Check, Finding, Rows, Values
from millrace.validation.expression import (
    FALSE,
    ROWS,
    Expr,
    absolute,
    any_of,
    arithmetic,
    compare,
    count_if,
    figure,
    is_missing,
    is_present,
    literal,
    quantile,
)
from millrace.validation.rules.values import share_finding

Kwargs = Mapping[str, Any]
_INTERPOLATIONS = ("linear", "lower", "higher", "midpoint", "nearest")


def z_scores(batch: Batch, kwargs: Kwargs) -> Check:
    """Values whose distance from the mean, in standard deviations, is below the threshold.

    Where there is no deviation to measure by (one value, equal values, infinities) every value is as expected.
    """
    values = batch.numbers(kwargs["column"], "a z-score")
    mean, deviation = figure("mean", values), figure("stdev", values)

    def unexpected(found: Values) -> Expr:
        center, spread = _finite(found[mean]), _finite(found[deviation])
        if center is None or not spread:
            return FALSE
        score = arithmetic("div", arithmetic("sub", values, literal(center)), literal(spread))
        if kwargs.get("double_sided", True):
            return compare("ge", absolute(score), literal(abs(kwargs["threshold"])))
        return compare("ge", score, literal(kwargs["threshold"]))

    return _measured(batch, kwargs, (mean, deviation), unexpected)


def not_outliers(batch: Batch, kwargs: Kwargs) -> Check:
    """Values inside Tukey's fences (``iqr``), or nearer to the mean than some standard deviations (``std``)."""
    values = batch.numbers(kwargs["column"], "an outlier")
    multiplier = kwargs.get("multiplier", 1.5)
    if kwargs.get("method", "iqr") == "iqr":
        first, third = quantile(values, 0.25), quantile(values, 0.75)

        def beyond_fences(found: Values) -> Expr:
            low, high = _finite(found[first]), _finite(found[third])
            if low is None or high is None:
                return FALSE
            reach = multiplier * (high - low)
            return any_of(compare("lt", values, literal(low - reach)), compare("gt", values, literal(high + reach)))

        return _measured(batch, kwargs, (first, third), beyond_fences)
    mean, deviation = figure("mean", values), figure("stdev", values)

    def far_from_mean(found: Values) -> Expr:
        center, spread = _finite(found[mean]), _finite(found[deviation])
        if center is None or spread is None:
            return FALSE
        if multiplier * spread <= 0:
            return compare("ne", values, literal(center))
        distance = absolute(arithmetic("sub", values, literal(center)))
        return compare("ge", distance, literal(multiplier * spread))

    return _measured(batch, kwargs, (mean, deviation), far_from_mean)


def quantiles(batch: Batch, kwargs: Kwargs) -> Check:
    """Quantiles in their ranges, whose bounds are widened by 1e-4 of their size as GX does; nearest value by default.

    Raises CannotCheck for an ``allow_relative_error`` that is no way to choose between neighbours.
    """
    column = kwargs["column"]
    values = batch.numbers(column, "a quantile")
    way = kwargs.get("allow_relative_error") or "nearest"
    if way not in _INTERPOLATIONS:
        raise CannotCheck(f"allow_relative_error={way!r} is not one of {', '.join(_INTERPOLATIONS)} or false")
    shares = list(kwargs["quantile_ranges"]["quantiles"])
    ranges = list(kwargs["quantile_ranges"]["value_ranges"])
    sides: tuple[Literal["linear", "lower", "higher"], ...] = ("linear",) if way == "linear" else ("lower", "higher")
    present = count_if(is_present(values))
    is_whole = way != "linear" and way != "midpoint" and batch.kind(column) == "number"

    def finish(found: Values) -> Finding:
        neighbours = [[found[quantile(values, share, side)] for side in sides] for share in shares]
        observed = [_chosen(pair, share, found[present], way) for pair, share in zip(neighbours, shares, strict=True)]
        if is_whole and batch.type_of(column).family == "integer":
            observed = [None if value is None else int(value) for value in observed]
        details = [_is_in_range(value, *bounds) for value, bounds in zip(observed, ranges, strict=True)]
        result = {
            "observed_value": {"quantiles": shares, "values": observed},
            "details": {"success_details": details},
        }
        return Finding(all(details), result)

    return Check(finish, (present, *(quantile(values, share, side) for share in shares for side in sides)))


def _measured(batch: Batch, kwargs: Kwargs, measures: tuple[Expr, ...], unexpected: Callable[[Values], Expr]) -> Check:
    """The check of a rule whose unexpected values are known once the column is measured."""
    values = batch.values(kwargs["column"])
    missing = count_if(is_missing(values))

    def finish(found: Values) -> Finding:
        return share_finding(found[ROWS], found[missing], found[count_if(unexpected(found))], kwargs)

    return Check(
        finish,
        (ROWS, missing, *measures),
        recount=lambda found: [count_if(unexpected(found))],
        rows=lambda found: Rows(unexpected(found), values),
    )


def _finite(value: Any) -> float | None:
    return None if value is None or not math.isfinite(value) else float(value)


def _chosen(neighbours: list[Any], share: float, present: int, way: str) -> Any:
    if not present:
        return None
    if way == "nearest":
        place = (present - 1) * share
        return neighbours[0] if round(place) == math.floor(place) else neighbours[1]
    if way == "midpoint":
        return (neighbours[0] + neighbours[1]) / 2
    return neighbours[1] if way == "higher" else neighbours[0]


def _is_in_range(value: Any, low: Any, high: Any) -> bool:
    if value is None:
        return False
    low, high = -math.inf if low is None else low, math.inf if high is None else high
    return _is_close(value, low) or _is_close(value, high) or low <= value <= high


def _is_close(value: float, bound: float) -> bool:
    if not (math.isfinite(value) and math.isfinite(bound)):
        return value == bound
    return abs(value - bound) <= 1e-8 + 1e-4 * abs(bound)


SPREAD_RULES: dict[str, Callable[[Batch, Kwargs], Check]] = {
    "expect_column_value_z_scores_to_be_less_than": z_scores,
    "expect_column_values_to_not_be_outliers": not_outliers,
    "expect_column_quantile_values_to_be_between": quantiles,
}
