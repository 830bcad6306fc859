"""Which expectations the engine runs, and the arguments each one takes. Standard library only."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from millrace.core.errors import did_you_mean

_RANGE = ("min_value", "max_value", "strict_min", "strict_max")


@dataclass(frozen=True, slots=True)
class Signature:
    """Arguments of one expectation, in the order a call may give them without names.

    `any_of` holds arguments of which at least one must be given.
    """

    required: tuple[str, ...] = ()
    optional: tuple[str, ...] = ()
    any_of: tuple[str, ...] = ()

    @property
    def names(self) -> tuple[str, ...]:
        return self.required + self.optional


def _range(*required: str) -> Signature:
    return Signature(required, _RANGE, ("min_value", "max_value"))


SIGNATURES: dict[str, Signature] = {
    "expect_table_columns_to_match_ordered_list": Signature(("column_list",)),
    "expect_table_columns_to_match_set": Signature(("column_set",), ("exact_match",)),
    "expect_table_row_count_to_be_between": _range(),
    "expect_table_row_count_to_equal": Signature(("value",)),
    "expect_table_column_count_to_equal": Signature(("value",)),
    "expect_column_to_exist": Signature(("column",), ("column_index",)),
    "expect_column_values_to_be_of_type": Signature(("column", "type_"), ("mostly",)),
    "expect_column_values_to_be_in_type_list": Signature(("column", "type_list"), ("mostly",)),
    "expect_column_values_to_be_between": Signature(("column",), (*_RANGE, "mostly"), ("min_value", "max_value")),
    "expect_column_values_to_not_be_null": Signature(("column",), ("mostly",)),
    "expect_column_values_to_be_null": Signature(("column",), ("mostly",)),
    "expect_column_values_to_be_unique": Signature(("column",), ("mostly",)),
    "expect_column_values_to_be_in_set": Signature(("column", "value_set"), ("mostly",)),
    "expect_column_values_to_not_be_in_set": Signature(("column", "value_set"), ("mostly",)),
    "expect_column_values_to_match_regex": Signature(("column", "regex"), ("mostly",)),
    "expect_compound_columns_to_be_unique": Signature(("column_list",), ("mostly", "ignore_row_if")),
    "expect_column_min_to_be_between": _range("column"),
    "expect_column_max_to_be_between": _range("column"),
    "expect_column_mean_to_be_between": _range("column"),
    "expect_column_median_to_be_between": _range("column"),
    "expect_column_stdev_to_be_between": _range("column"),
    "expect_column_sum_to_be_between": _range("column"),
    "expect_column_unique_value_count_to_be_between": _range("column"),
    "expect_column_proportion_of_non_null_values_to_be_between": _range("column"),
}

# Arguments that steer Great Expectations itself and change no verdict.
_HARMLESS = {"batch_id", "result_format", "catch_exceptions", "include_config", "meta", "notes", "description"}


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def _is_share(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and 0 <= value <= 1


def _is_bound(value: Any) -> bool:
    # NaN is no bound: nothing is above it, so a rule with it would pass anything.
    return (isinstance(value, (int, float, str)) and value == value) or hasattr(value, "isoformat")


def _is_names(value: Any) -> bool:
    return isinstance(value, (list, tuple, set, frozenset)) and all(isinstance(name, str) for name in value)


_FORMS: dict[str, tuple[Callable[[Any], bool], str]] = {
    "column": (lambda value: isinstance(value, str), "a column name"),
    "column_list": (_is_names, "a list of column names"),
    "column_set": (_is_names, "a list of column names"),
    "column_index": (_is_count, "a position, counted from 0"),
    "type_": (lambda value: isinstance(value, str), "a type name"),
    "type_list": (lambda value: _is_names(value) and bool(value), "a list of type names"),
    "value_set": (lambda value: isinstance(value, (list, tuple, set, frozenset)), "a list of values"),
    "regex": (lambda value: isinstance(value, str), "a regular expression"),
    "mostly": (_is_share, "a share between 0 and 1"),
    "value": (_is_count, "a whole number"),
    "exact_match": (lambda value: isinstance(value, bool), "true or false"),
    "strict_min": (lambda value: isinstance(value, bool), "true or false"),
    "strict_max": (lambda value: isinstance(value, bool), "true or false"),
    "min_value": (_is_bound, "a bound"),
    "max_value": (_is_bound, "a bound"),
    "ignore_row_if": (
        lambda value: value in ("all_values_are_missing", "any_value_is_missing", "never"),
        "one of all_values_are_missing, any_value_is_missing, never",
    ),
}


def is_supported(kind: str) -> bool:
    """Whether the engine runs expectations of type `kind`."""
    return kind in SIGNATURES


def unsupported_parts(kind: str, kwargs: Mapping[str, Any]) -> list[str]:
    """What of this expectation the engine cannot run, in words; such a rule is never taken as met."""
    if kind not in SIGNATURES:
        return [f"Millrace does not run {kind}; {did_you_mean(kind, SIGNATURES)}"]
    found = [
        f"Millrace does not run the argument {name}"
        for name in ("row_condition", "windows")
        if kwargs.get(name) is not None
    ]
    return found + [
        f"Millrace does not fill in suite parameters, as {name} needs"
        for name, value in kwargs.items()
        if isinstance(value, Mapping) and any(str(key).startswith("$") for key in value)
    ]


def argument_mistakes(kind: str, kwargs: Mapping[str, Any]) -> list[str]:
    """What is wrong with the arguments of a supported expectation, in words; empty when nothing is."""
    signature = SIGNATURES[kind]
    given = {name: value for name, value in kwargs.items() if value is not None}
    found = [f"needs {name}" for name in signature.required if name not in given]
    if signature.any_of and not any(name in given for name in signature.any_of):
        found.append(f"needs {' or '.join(signature.any_of)}")
    for name, value in given.items():
        if name in signature.names:
            fits, form = _FORMS[name]
            if not fits(value):
                found.append(f"{name}={value!r} is not {form}")
        elif name not in _HARMLESS | {"row_condition", "condition_parser", "windows"} and value is not False:
            found.append(f"takes no {name}: {did_you_mean(name, signature.names)}")
    return found
