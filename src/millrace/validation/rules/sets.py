"""Rules on the set of a column's distinct values. Missing values are no members of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from millrace.validation.batch import Batch, CannotCheck, as_moment
from millrace.validation.check import Check, Finding, Values
from millrace.validation.expression import Expr, count_if, is_in, levels, negate
from millrace.validation.rules.values import members_for

Kwargs = Mapping[str, Any]
_SHOWN = 20


def distinct_in_set(batch: Batch, kwargs: Kwargs) -> Check:
    """No value outside the set. The distinct values are listed only when there is one."""
    values, _ = _expected(batch, kwargs)
    outside = count_if(negate(is_in(values, members_for(batch, kwargs["column"], kwargs["value_set"]))))

    def finish(found: Values) -> Finding:
        unexpected = _outside(batch, kwargs, found[levels(values)]) if found[outside] else []
        return Finding(not unexpected, {"observed_value": None, **_counted("unexpected", unexpected)})

    return Check(finish, (outside,), lambda found: [levels(values)] if found[outside] else [])


def distinct_contain_set(batch: Batch, kwargs: Kwargs) -> Check:
    """Every member of the set is a value; one that no value of the column's type can equal is missing."""
    values, expected = _expected(batch, kwargs)

    def finish(found: Values) -> Finding:
        missing = _not_there(expected, found[levels(values)])
        return Finding(not missing, {"observed_value": None, **_counted("missing", missing)})

    return Check(finish, (levels(values),))


def distinct_equal_set(batch: Batch, kwargs: Kwargs) -> Check:
    values, expected = _expected(batch, kwargs)

    def finish(found: Values) -> Finding:
        unexpected = _outside(batch, kwargs, found[levels(values)])
        missing = _not_there(expected, found[levels(values)])
        result = {"observed_value": None, **_counted("unexpected", unexpected), **_counted("missing", missing)}
        return Finding(not unexpected and not missing, result)

    return Check(finish, (levels(values),))


def most_common_in_set(batch: Batch, kwargs: Kwargs) -> Check:
    """The most frequent value is in the set; of several, one is, when ``ties_okay``."""
    values, expected = _expected(batch, kwargs)

    def finish(found: Values) -> Finding:
        counts = found[levels(values)]
        most = max((count for _, count in counts), default=0)
        common = _in_order([value for value, count in counts if count == most])
        inside = [value for value in common if _key(value) in expected]
        success = bool(inside) if kwargs.get("ties_okay") else len(common) == 1 and bool(inside)
        return Finding(success, {"observed_value": common})

    return Check(finish, (levels(values),))


def _expected(batch: Batch, kwargs: Kwargs) -> tuple[Expr, dict[Any, Any]]:
    """The column, and the members of the set by what they equal."""
    column = kwargs["column"]
    values = batch.values(column)
    if batch.kind(column) == "other":
        raise CannotCheck(f"{batch.describe(column)}, whose values a set cannot hold")
    has_times = batch.kind(column) in ("time", "date")
    return values, {_key((has_times and as_moment(member)) or member): member for member in kwargs["value_set"]}


def _key(value: Any) -> Any:
    """What equal values have in common: times in UTC."""
    if isinstance(value, (list, dict)):
        return repr(value)
    return as_moment(value) if hasattr(value, "isoformat") and not isinstance(value, str) else value


def _outside(batch: Batch, kwargs: Kwargs, counts: list[tuple[Any, int]]) -> list[Any]:
    _, expected = _expected(batch, kwargs)
    return _in_order([value for value, _ in counts if _key(value) not in expected])


def _not_there(expected: Mapping[Any, Any], counts: list[tuple[Any, int]]) -> list[Any]:
    there = {_key(value) for value, _ in counts}
    return [member for key, member in expected.items() if key not in there and member is not None]


def _in_order(values: list[Any]) -> list[Any]:
    """In order, as pandas has it: numbers before texts; as they came where nothing else orders them."""
    texts = [value for value in values if isinstance(value, str)]
    try:
        return [*sorted(value for value in values if not isinstance(value, str)), *sorted(texts)]
    except TypeError:
        return values


def _counted(what: str, values: list[Any]) -> dict[str, Any]:
    return {f"{what}_count": len(values), f"partial_{what}_list": values[:_SHOWN]}


SET_RULES: dict[str, Callable[[Batch, Kwargs], Check]] = {
    "expect_column_distinct_values_to_be_in_set": distinct_in_set,
    "expect_column_distinct_values_to_contain_set": distinct_contain_set,
    "expect_column_distinct_values_to_equal_set": distinct_equal_set,
    "expect_column_most_common_value_to_be_in_set": most_common_in_set,
}
