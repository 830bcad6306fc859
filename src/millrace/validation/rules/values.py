"""Rules on every value of a column (or on every row of several): a share of them, `mostly`, must keep the rule."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from decimal import Decimal
from typing import Any

from millrace.validation.batch import Batch, CannotCheck, as_moment
from millrace.validation.check import Check, Finding, Rows, Values
from millrace.validation.expression import (
    FALSE,
    ROWS,
    Expr,
    all_of,
    any_of,
    as_text,
    compare,
    count_if,
    distinct,
    is_in,
    is_missing,
    is_present,
    length,
    literal,
    negate,
    repeated,
)

Kwargs = Mapping[str, Any]


def values_between(batch: Batch, kwargs: Kwargs) -> Check:
    values, (low, high) = batch.ordered(kwargs["column"], (kwargs.get("min_value"), kwargs.get("max_value")))
    if low is not None and high is not None and low > high:
        raise CannotCheck(f"min_value={kwargs['min_value']!r} is above max_value={kwargs['max_value']!r}")
    outside = []
    if low is not None:
        outside.append(compare("le" if kwargs.get("strict_min") else "lt", values, literal(low)))
    if high is not None:
        outside.append(compare("ge" if kwargs.get("strict_max") else "gt", values, literal(high)))
    return on_present(batch, kwargs, any_of(*outside) if outside else FALSE)


def values_in_set(batch: Batch, kwargs: Kwargs) -> Check:
    return on_present(batch, kwargs, negate(_is_in(batch, kwargs)))


def values_not_in_set(batch: Batch, kwargs: Kwargs) -> Check:
    return on_present(batch, kwargs, _is_in(batch, kwargs))


def values_unique(batch: Batch, kwargs: Kwargs) -> Check:
    values = batch.values(kwargs["column"])
    missing, different = count_if(is_missing(values)), distinct(values)
    is_repeated = all_of(repeated(values), is_present(values))

    # Counting distinct values decides at a quarter of the cost of marking the repeated ones.
    def recount(found: Values) -> list[Expr]:
        return [] if found[different] == found[ROWS] - found[missing] else [count_if(is_repeated)]

    def finish(found: Values) -> Finding:
        count = found[count_if(is_repeated)] if recount(found) else 0
        return share_finding(found[ROWS], found[missing], count, kwargs)

    return Check(finish, (ROWS, missing, different), recount, Rows(is_repeated, values))


def values_present(batch: Batch, kwargs: Kwargs) -> Check:
    return _on_all(batch, kwargs, is_missing)


def values_missing(batch: Batch, kwargs: Kwargs) -> Check:
    return _on_all(batch, kwargs, is_present)


def rows_unique(batch: Batch, kwargs: Kwargs) -> Check:
    columns = {name: batch.values(name) for name in kwargs["column_list"]}
    if not columns:
        raise CannotCheck("column_list names no column")
    policy = kwargs.get("ignore_row_if") or "all_values_are_missing"
    missing = [is_missing(column) for column in columns.values()]
    ignored = {
        "all_values_are_missing": all_of(*missing),
        "any_value_is_missing": any_of(*missing),
        "never": FALSE,
    }[policy]
    unexpected = all_of(repeated(*columns.values()), negate(ignored))
    left_out, wrong = count_if(ignored), count_if(unexpected)
    return Check(
        lambda found: share_finding(found[ROWS], found[left_out], found[wrong], kwargs),
        (ROWS, left_out, wrong),
        rows=Rows(unexpected, columns),
    )


def lengths_between(batch: Batch, kwargs: Kwargs) -> Check:
    """Characters of a value's text, `1.5` and `True` for what is no text."""
    size = length(as_text(batch.values(kwargs["column"])))
    low, high = kwargs.get("min_value"), kwargs.get("max_value")
    wrong = [bound for bound in (low, high) if bound is not None and not isinstance(bound, (int, float))]
    if wrong:
        raise CannotCheck(f"a length cannot be compared with {wrong[0]!r}")
    outside = []
    if low is not None:
        outside.append(compare("le" if kwargs.get("strict_min") else "lt", size, literal(low)))
    if high is not None:
        outside.append(compare("ge" if kwargs.get("strict_max") else "gt", size, literal(high)))
    return on_present(batch, kwargs, any_of(*outside))


def lengths_equal(batch: Batch, kwargs: Kwargs) -> Check:
    size = length(as_text(batch.values(kwargs["column"])))
    return on_present(batch, kwargs, compare("ne", size, literal(kwargs["value"])))


def on_present(batch: Batch, kwargs: Kwargs, unexpected: Expr, shown: Expr | None = None) -> Check:
    """The check of a rule on the present values of ``column``: those where `unexpected` is true break it."""
    values = batch.values(kwargs["column"])
    missing, wrong = count_if(is_missing(values)), count_if(unexpected)
    return Check(
        lambda found: share_finding(found[ROWS], found[missing], found[wrong], kwargs),
        (ROWS, missing, wrong),
        rows=Rows(unexpected, values if shown is None else shown),
    )


def _on_all(batch: Batch, kwargs: Kwargs, test: Callable[[Expr], Expr]) -> Check:
    values = batch.values(kwargs["column"])
    wrong = count_if(test(values))

    def finish(found: Values) -> Finding:
        finding = share_finding(found[ROWS], 0, found[wrong], kwargs)
        for key in ("missing_count", "missing_percent", "unexpected_percent_total", "unexpected_percent_nonmissing"):
            finding.result.pop(key, None)
        return finding

    return Check(finish, (ROWS, wrong), rows=Rows(test(values), values))


def share_finding(rows: int, missing: int, unexpected: int, kwargs: Kwargs) -> Finding:
    """Whether enough of the present values or rows, `mostly` of them, are as expected."""
    present = rows - missing
    mostly = 1.0 if kwargs.get("mostly") is None else float(kwargs["mostly"])
    # Over no value nothing can be unexpected: GX passes the rule, and an empty batch fails as a whole.
    success = present == 0 or (present - unexpected) / present >= mostly
    result: dict[str, Any] = {
        "element_count": rows,
        "unexpected_count": unexpected,
        "unexpected_percent": _percent(unexpected, present),
        "partial_unexpected_list": [],
        "missing_count": missing,
        "missing_percent": _percent(missing, rows),
        "unexpected_percent_total": _percent(unexpected, rows),
        "unexpected_percent_nonmissing": _percent(unexpected, present),
    }
    return Finding(success, result)


def _is_in(batch: Batch, kwargs: Kwargs) -> Expr:
    column = kwargs["column"]
    values = batch.values(column)
    if batch.kind(column) == "other":
        raise CannotCheck(f"{batch.describe(column)}, whose values a set cannot hold")
    return is_in(values, members_for(batch, column, kwargs["value_set"]))


def members_for(batch: Batch, column: str, value_set: Any) -> list[Any]:
    """The values of a set that a value of the column can equal, times in UTC; each once."""
    kind = batch.kind(column)
    if kind == "mixed":
        return list(value_set)
    found: list[Any] = []
    strange = [member for member in value_set if isinstance(member, str) and as_moment(member) is None]
    if kind == "time" and strange:
        raise CannotCheck(f"{batch.describe(column)}, and {strange[0]!r} is no time")
    if kind == "text":
        found = [member for member in value_set if isinstance(member, str)]
    elif kind in ("time", "date"):
        found = [moment for member in value_set if (moment := as_moment(member)) is not None]
    elif kind in ("number", "bool"):
        found = [member for member in value_set if isinstance(member, (bool, int, float, Decimal)) and member == member]
    return list(dict.fromkeys(found))


def _percent(part: int, whole: int) -> float | None:
    return part / whole * 100 if whole else None


VALUE_RULES: dict[str, Callable[[Batch, Kwargs], Check]] = {
    "expect_column_values_to_be_between": values_between,
    "expect_column_values_to_be_in_set": values_in_set,
    "expect_column_values_to_not_be_in_set": values_not_in_set,
    "expect_column_values_to_be_unique": values_unique,
    "expect_column_value_lengths_to_be_between": lengths_between,
    "expect_column_value_lengths_to_equal": lengths_equal,
    "expect_column_values_to_not_be_null": values_present,
    "expect_column_values_to_be_null": values_missing,
    "expect_compound_columns_to_be_unique": rows_unique,
}
