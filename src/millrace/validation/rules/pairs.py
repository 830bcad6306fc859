"""Rules on two columns, row by row. Nothing equals a missing value, and nothing is greater or less than one."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from millrace.validation.batch import Batch, CannotCheck
from millrace.validation.check import Check, Rows
from millrace.validation.conditions.terms import Term, column_term, compared, is_member, literal_term, misses
from millrace.validation.expression import FALSE, ROWS, Expr, all_of, any_of, count_if, is_missing, negate
from millrace.validation.rules.values import share_finding

Kwargs = Mapping[str, Any]


def pair_equal(batch: Batch, kwargs: Kwargs) -> Check:
    left, right = _terms(batch, kwargs)
    return _on_pairs(batch, kwargs, compared(batch, "eq", left, right))


def pair_greater(batch: Batch, kwargs: Kwargs) -> Check:
    left, right = _terms(batch, kwargs)
    return _on_pairs(batch, kwargs, compared(batch, "ge" if kwargs.get("or_equal") else "gt", left, right))


def pair_in_set(batch: Batch, kwargs: Kwargs) -> Check:
    """Each pair of values is one of `value_pairs_set`, where None stands for a missing value."""
    left, right = _terms(batch, kwargs)
    partners: dict[Any, list[Any]] = {}
    try:
        for first, second in kwargs["value_pairs_set"]:
            partners.setdefault(first, []).append(second)
    except TypeError as error:
        raise CannotCheck(f"a pair of value_pairs_set holds what no column can hold: {error}") from error
    allowed = [
        truth
        for first, seconds in partners.items()
        if (truth := all_of(_is_one_of(batch, left, [first]), _is_one_of(batch, right, seconds))) != FALSE
    ]
    return _on_pairs(batch, kwargs, any_of(*allowed) if allowed else FALSE)


def _is_one_of(batch: Batch, term: Term, values: Iterable[Any]) -> Expr:
    members = list(values)
    present = [value for value in members if value is not None and value == value]
    for value in present:
        literal_term(value)
    truths = [is_member(batch, term, present)] if present else []
    truths += [misses(term)] if len(present) < len(members) else []
    return any_of(*truths)


def _terms(batch: Batch, kwargs: Kwargs) -> tuple[Term, Term]:
    return column_term(batch, kwargs["column_A"]), column_term(batch, kwargs["column_B"])


def _on_pairs(batch: Batch, kwargs: Kwargs, expected: Expr) -> Check:
    columns = {name: batch.values(kwargs[name]) for name in ("column_A", "column_B")}
    missing = [is_missing(column) for column in columns.values()]
    ignored = {
        "both_values_are_missing": all_of(*missing),
        "either_value_is_missing": any_of(*missing),
        "neither": FALSE,
    }[kwargs.get("ignore_row_if") or "both_values_are_missing"]
    unexpected = all_of(negate(ignored), negate(expected))
    left_out, wrong = count_if(ignored), count_if(unexpected)
    return Check(
        lambda found: share_finding(found[ROWS], found[left_out], found[wrong], kwargs),
        (ROWS, left_out, wrong),
        rows=Rows(unexpected, columns),
    )


PAIR_RULES: dict[str, Callable[[Batch, Kwargs], Check]] = {
    "expect_column_pair_values_to_be_equal": pair_equal,
    "expect_column_pair_values_a_to_be_greater_than_b": pair_greater,
    "expect_column_pair_values_to_be_in_set": pair_in_set,
}
