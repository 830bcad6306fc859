"""Rules on the values of several columns within each row."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import reduce
from itertools import combinations
from typing import Any

from millrace.validation.batch import Batch, CannotCheck
from millrace.validation.check import Check, Rows
from millrace.validation.conditions.terms import Term, column_term, compared, misses
from millrace.validation.expression import (
    FALSE,
    ROWS,
    Expr,
    all_of,
    any_of,
    arithmetic,
    compare,
    count_if,
    is_missing,
    is_present,
    literal,
    negate,
)
from millrace.validation.rules.values import share_finding

Kwargs = Mapping[str, Any]


def record_sum(batch: Batch, kwargs: Kwargs) -> Check:
    """The values of a row add up to `sum_total`; with one of them missing they do not."""
    numbers = [batch.numbers(name, "a sum") for name in _names(kwargs)]
    total = reduce(lambda left, right: arithmetic("add", left, right), numbers)
    expected = all_of(*map(is_present, numbers), compare("eq", total, literal(kwargs["sum_total"])))
    return on_records(batch, kwargs, negate(expected))


def record_equal(batch: Batch, kwargs: Kwargs) -> Check:
    """The values of a row are one and the same; missing values equal each other."""
    first, *others = (column_term(batch, name) for name in _names(kwargs))
    return on_records(batch, kwargs, negate(all_of(*(_same(batch, first, other) for other in others))))


def record_distinct(batch: Batch, kwargs: Kwargs) -> Check:
    """No two values of a row are the same; missing values equal each other."""
    pairs = combinations([column_term(batch, name) for name in _names(kwargs)], 2)
    return on_records(batch, kwargs, any_of(*(_same(batch, left, right) for left, right in pairs)))


def on_records(batch: Batch, kwargs: Kwargs, unexpected: Expr) -> Check:
    """The check of a rule on rows that ``ignore_row_if`` does not leave out."""
    columns = {name: batch.values(name) for name in kwargs["column_list"]}
    missing = [is_missing(column) for column in columns.values()]
    ignored = {
        "all_values_are_missing": all_of(*missing),
        "any_value_is_missing": any_of(*missing),
        "never": FALSE,
    }[kwargs.get("ignore_row_if") or "all_values_are_missing"]
    broken = all_of(negate(ignored), unexpected)
    left_out, wrong = count_if(ignored), count_if(broken)
    return Check(
        lambda found: share_finding(found[ROWS], found[left_out], found[wrong], kwargs),
        (ROWS, left_out, wrong),
        rows=Rows(broken, columns),
    )


def _names(kwargs: Kwargs) -> list[str]:
    names = list(kwargs["column_list"])
    if len(names) < 2:
        raise CannotCheck("column_list must name two columns or more")
    return names


def _same(batch: Batch, left: Term, right: Term) -> Expr:
    return any_of(compared(batch, "eq", left, right), all_of(misses(left), misses(right)))


RECORD_RULES: dict[str, Callable[[Batch, Kwargs], Check]] = {
    "expect_multicolumn_sum_to_equal": record_sum,
    "expect_multicolumn_values_to_be_equal": record_equal,
    "expect_select_column_values_to_be_unique_within_record": record_distinct,
}
