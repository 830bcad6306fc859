"""Rules on the table as a whole: its columns and how many rows it has. They read no value."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from decimal import Decimal
from typing import Any

from millrace.core.errors import MillraceError, did_you_mean, nearest
from millrace.validation.batch import Batch, CannotCheck
from millrace.validation.check import Check, Finding, Values, is_within
from millrace.validation.column_type import plain_type, type_name
from millrace.validation.expression import ROWS, Predicate, all_of, count_if, holds, is_present, negate
from millrace.validation.type_names import TYPE_NAMES, find_exact_type, find_type, is_numeric_name

Kwargs = Mapping[str, Any]


def ordered_columns(batch: Batch, kwargs: Kwargs) -> Check:
    wanted = list(kwargs["column_list"])
    size = max(len(wanted), len(batch.names))
    pairs = zip(_padded(wanted, size), _padded(batch.names, size), strict=True)
    mismatched = [
        {"Expected Column Position": position, "Expected": expected, "Found": found}
        for position, (expected, found) in enumerate(pairs)
        if expected != found
    ]
    result: dict[str, Any] = {"observed_value": batch.names}
    if mismatched:
        result["details"] = {"mismatched": mismatched}
    return _known(not mismatched, result)


def column_set(batch: Batch, kwargs: Kwargs) -> Check:
    wanted, found = set(kwargs["column_set"]), set(batch.names)
    is_exact = kwargs.get("exact_match") is not False
    parts = {"unexpected": sorted(found - wanted) if is_exact else [], "missing": sorted(wanted - found)}
    mismatched = {name: names for name, names in parts.items() if names}
    result: dict[str, Any] = {"observed_value": sorted(found)}
    if mismatched:
        result["details"] = {"mismatched": mismatched}
    return _known(not mismatched, result)


def column_exists(batch: Batch, kwargs: Kwargs) -> Check:
    column, position = kwargs["column"], kwargs.get("column_index")
    if column not in batch.names:
        close = nearest(column, batch.names)
        return _known(False, {"details": {"nearest": close}} if close else {})
    index = batch.names.index(column)
    return _known(position is None or index == position, {"observed_value": index} if position is not None else {})


def column_count(batch: Batch, kwargs: Kwargs) -> Check:
    return _known(len(batch.names) == kwargs["value"], {"observed_value": len(batch.names)})


def column_count_between(batch: Batch, kwargs: Kwargs) -> Check:
    low, high = _count_bounds(kwargs, "columns")
    return _known(is_within(len(batch.names), kwargs, low, high), {"observed_value": len(batch.names)})


def row_count(batch: Batch, kwargs: Kwargs) -> Check:
    return _of_rows(lambda rows: rows == kwargs["value"])


def row_count_between(batch: Batch, kwargs: Kwargs) -> Check:
    low, high = _count_bounds(kwargs, "rows")
    return _of_rows(lambda rows: is_within(rows, kwargs, low, high))


def row_count_of_other(batch: Batch, kwargs: Kwargs) -> Check:
    """As many rows as another table has, one of those that the caller names. Raises CannotCheck for any other."""
    name = kwargs["other_table_name"]
    if name not in batch.rows_of:
        known = did_you_mean(name, batch.rows_of) if batch.rows_of else "no table was named"
        raise CannotCheck(f"there is no table '{name}' to compare with; give it as tables={{'{name}': ...}}: {known}")
    try:
        other = batch.rows_of[name]()
    except MillraceError as error:
        raise CannotCheck(f"the rows of the table '{name}' cannot be counted: {error.what}") from error

    def finish(found: Values) -> Finding:
        return Finding(found[ROWS] == other, {"observed_value": {"self": found[ROWS], "other": other}})

    return Check(finish, (ROWS,))


def _count_bounds(kwargs: Kwargs, what: str) -> tuple[Any, Any]:
    low, high = kwargs.get("min_value"), kwargs.get("max_value")
    if any(bound is not None and not isinstance(bound, (int, float)) for bound in (low, high)):
        raise CannotCheck(f"a count of {what} cannot be compared with {low!r} and {high!r}")
    return low, high


def column_type(batch: Batch, kwargs: Kwargs) -> Check:
    names = list(kwargs["type_list"]) if "type_list" in kwargs else [kwargs["type_"]]
    found = plain_type(batch.type_of(kwargs["column"]))
    tests = {name: find_type(name) for name in names}
    unknown = [name for name, test in tests.items() if test is None]
    if any(test is not None and (test(found) or test(batch.type_of(kwargs["column"]))) for test in tests.values()):
        return _known(True, {"observed_value": type_name(found)})
    if unknown:
        raise CannotCheck(f"{unknown[0]!r} is no type name: {did_you_mean(unknown[0], TYPE_NAMES)}")
    if batch.kind(kwargs["column"]) not in ("text", "mixed") or not any(map(is_numeric_name, names)):
        return _known(False, {"observed_value": type_name(found)})
    return _text_for_numbers(batch, kwargs["column"])


def exact_column_type(batch: Batch, kwargs: Kwargs) -> Check:
    """One type, its width, unit and time zone too."""
    found, name = batch.type_of(kwargs["column"]), kwargs["type_"]
    test = find_exact_type(name)
    if test is None:
        raise CannotCheck(f"{name!r} is no type name: {did_you_mean(name, TYPE_NAMES)}")
    # The dictionary that values are kept in is a type of its own, and one of its values' too.
    return _known(test(found) or test(plain_type(found)), {"observed_value": type_name(found)})


def _text_for_numbers(batch: Batch, column: str) -> Check:
    # Text where numbers are due: usually a few values made the whole column text, so name them.
    values = batch.values(column)
    wrong = all_of(is_present(values), negate(holds(values, Predicate(("is a number",), _is_number))))
    count = count_if(wrong)

    def finish(found: Values) -> Finding:
        result: dict[str, Any] = {"observed_value": type_name(batch.type_of(column))}
        if found[count]:
            examples = batch.backend.frequent(wrong, [values], where=None, limit=3)
            result["details"] = {"not_numbers": found[count], "examples": [value for (value,), _ in examples]}
        return Finding(False, result)

    return Check(finish, (count,))


def _is_number(text: Any) -> bool:
    if not isinstance(text, str):
        return isinstance(text, (int, float, Decimal))
    try:
        float(text)
    except ValueError:
        return False
    return "_" not in text


def _padded(names: list[str], size: int) -> list[str | None]:
    return [*names, *[None] * (size - len(names))]


def _of_rows(test: Callable[[int], bool]) -> Check:
    return Check(lambda found: Finding(test(found[ROWS]), {"observed_value": found[ROWS]}), (ROWS,))


def _known(success: bool, result: dict[str, Any]) -> Check:
    return Check(lambda _: Finding(success, result))


TABLE_RULES: dict[str, Callable[[Batch, Kwargs], Check]] = {
    "expect_table_columns_to_match_ordered_list": ordered_columns,
    "expect_table_columns_to_match_set": column_set,
    "expect_table_column_count_to_equal": column_count,
    "expect_table_column_count_to_be_between": column_count_between,
    "expect_table_row_count_to_equal": row_count,
    "expect_table_row_count_to_equal_other_table": row_count_of_other,
    "expect_table_row_count_to_be_between": row_count_between,
    "expect_column_to_exist": column_exists,
    "expect_column_type_to_be": exact_column_type,
    "expect_column_values_to_be_of_type": column_type,
    "expect_column_values_to_be_in_type_list": column_type,
}
