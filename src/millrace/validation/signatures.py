"""Which expectations the engine runs, and the arguments each one takes. Standard library only."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from millrace.core.errors import did_you_mean
from millrace.validation.gx_names import REMOVED, type_of_class
from millrace.validation.parameters import is_parameter

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
    "expect_table_row_count_to_equal_other_table": Signature(("other_table_name",)),
    "expect_table_column_count_to_equal": Signature(("value",)),
    "expect_table_column_count_to_be_between": Signature((), _RANGE[:2], _RANGE[:2]),
    "expect_column_to_exist": Signature(("column",), ("column_index",)),
    "expect_column_type_to_be": Signature(("column", "type_")),
    "expect_column_values_to_be_of_type": Signature(("column", "type_"), ("mostly",)),
    "expect_column_values_to_be_in_type_list": Signature(("column", "type_list"), ("mostly",)),
    "expect_column_values_to_be_between": Signature(("column",), (*_RANGE, "mostly"), ("min_value", "max_value")),
    "expect_column_values_to_not_be_null": Signature(("column",), ("mostly",)),
    "expect_column_values_to_be_null": Signature(("column",), ("mostly",)),
    "expect_column_values_to_be_unique": Signature(("column",), ("mostly",)),
    "expect_column_values_to_be_in_set": Signature(("column", "value_set"), ("mostly",)),
    "expect_column_values_to_not_be_in_set": Signature(("column", "value_set"), ("mostly",)),
    "expect_column_values_to_match_regex": Signature(("column",), ("regex", "mostly")),
    "expect_column_values_to_not_match_regex": Signature(("column", "regex"), ("mostly",)),
    "expect_column_values_to_match_regex_list": Signature(("column", "regex_list"), ("match_on", "mostly")),
    "expect_column_values_to_not_match_regex_list": Signature(("column", "regex_list"), ("mostly",)),
    "expect_column_values_to_match_like_pattern": Signature(("column", "like_pattern"), ("escape", "mostly")),
    "expect_column_values_to_not_match_like_pattern": Signature(("column", "like_pattern"), ("escape", "mostly")),
    "expect_column_values_to_match_like_pattern_list": Signature(
        ("column", "like_pattern_list"), ("match_on", "escape", "mostly")
    ),
    "expect_column_values_to_not_match_like_pattern_list": Signature(
        ("column", "like_pattern_list"), ("escape", "mostly")
    ),
    "expect_column_values_to_match_strftime_format": Signature(("column", "strftime_format"), ("mostly",)),
    "expect_column_values_to_be_dateutil_parseable": Signature(("column",), ("mostly",)),
    "expect_column_values_to_be_json_parseable": Signature(("column",), ("mostly",)),
    "expect_column_values_to_match_json_schema": Signature(("column", "json_schema"), ("mostly",)),
    "expect_column_pair_values_to_be_equal": Signature(("column_A", "column_B"), ("ignore_row_if", "mostly")),
    "expect_column_pair_values_a_to_be_greater_than_b": Signature(
        ("column_A", "column_B"), ("or_equal", "ignore_row_if", "mostly")
    ),
    "expect_column_pair_values_to_be_in_set": Signature(
        ("column_A", "column_B", "value_pairs_set"), ("ignore_row_if", "mostly")
    ),
    "expect_compound_columns_to_be_unique": Signature(("column_list",), ("mostly", "ignore_row_if")),
    "expect_multicolumn_sum_to_equal": Signature(("column_list", "sum_total"), ("ignore_row_if", "mostly")),
    "expect_multicolumn_values_to_be_equal": Signature(("column_list",), ("ignore_row_if", "mostly")),
    "expect_select_column_values_to_be_unique_within_record": Signature(("column_list",), ("ignore_row_if", "mostly")),
    "expect_column_value_lengths_to_be_between": Signature(
        ("column",), (*_RANGE, "mostly"), ("min_value", "max_value")
    ),
    "expect_column_value_lengths_to_equal": Signature(("column", "value"), ("mostly",)),
    "expect_column_values_to_be_increasing": Signature(("column",), ("strictly", "mostly")),
    "expect_column_values_to_be_decreasing": Signature(("column",), ("strictly", "mostly")),
    "expect_column_value_z_scores_to_be_less_than": Signature(("column", "threshold"), ("double_sided", "mostly")),
    "expect_column_values_to_not_be_outliers": Signature(("column",), ("method", "multiplier", "mostly")),
    "expect_column_quantile_values_to_be_between": Signature(("column", "quantile_ranges"), ("allow_relative_error",)),
    "expect_column_distinct_values_to_be_in_set": Signature(("column", "value_set")),
    "expect_column_distinct_values_to_contain_set": Signature(("column", "value_set")),
    "expect_column_distinct_values_to_equal_set": Signature(("column", "value_set")),
    "expect_column_most_common_value_to_be_in_set": Signature(("column", "value_set"), ("ties_okay",)),
    "expect_column_proportion_of_unique_values_to_be_between": _range("column"),
    "expect_column_kl_divergence_to_be_less_than": Signature(
        ("column",),
        (
            "partition_object",
            "threshold",
            "internal_weight_holdout",
            "tail_weight_holdout",
            "bucketize_data",
            "min_value",
            "max_value",
        ),
    ),
    "unexpected_rows_expectation": Signature(("unexpected_rows_query",)),
    "expect_query_results_to_match_comparison": Signature(
        ("base_query", "comparison_data_source_name", "comparison_query"), ("mostly",)
    ),
    "expect_column_min_to_be_between": _range("column"),
    "expect_column_max_to_be_between": _range("column"),
    "expect_column_mean_to_be_between": _range("column"),
    "expect_column_median_to_be_between": _range("column"),
    "expect_column_stdev_to_be_between": _range("column"),
    "expect_column_sum_to_be_between": _range("column"),
    "expect_column_unique_value_count_to_be_between": _range("column"),
    "expect_column_proportion_of_non_null_values_to_be_between": _range("column"),
}

# Arguments that steer Great Expectations itself and change no verdict. `windows` describes where GX Cloud takes the
# value of a parameter from: a rule that needs it without being given it fails.
_HARMLESS = {
    "batch_id",
    "result_format",
    "catch_exceptions",
    "include_config",
    "meta",
    "notes",
    "description",
    "windows",
}
_CONDITION = {"row_condition", "condition_parser"}
_WITHOUT_CONDITION = {
    "expect_table_columns_to_match_ordered_list",
    "expect_table_columns_to_match_set",
    "expect_table_column_count_to_equal",
    "expect_table_column_count_to_be_between",
    "expect_column_to_exist",
    "expect_column_type_to_be",
    "expect_query_results_to_match_comparison",
    "unexpected_rows_expectation",
}


def takes_condition(kind: str) -> bool:
    """Whether a rule of type `kind` can be about some rows only."""
    return kind not in _WITHOUT_CONDITION


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def _is_share(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and 0 <= value <= 1


def _is_bound(value: Any) -> bool:
    # NaN is no bound: nothing is above it, so a rule with it would pass anything.
    return (isinstance(value, (int, float, str, Decimal)) and value == value) or hasattr(value, "isoformat")


def _is_names(value: Any) -> bool:
    return isinstance(value, (list, tuple, set, frozenset)) and all(isinstance(name, str) for name in value)


def _is_texts(value: Any) -> bool:
    return _is_names(value) and len(value) > 0


def _is_pairs(value: Any) -> bool:
    return isinstance(value, (list, tuple, set, frozenset)) and all(
        isinstance(pair, (list, tuple)) and len(pair) == 2 for pair in value
    )


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float, Decimal)) and not isinstance(value, bool) and value == value


def _is_quantile_ranges(value: Any) -> bool:
    if not isinstance(value, Mapping) or set(value) != {"quantiles", "value_ranges"}:
        return False
    shares, ranges = value["quantiles"], value["value_ranges"]
    if not isinstance(shares, (list, tuple)) or not isinstance(ranges, (list, tuple)) or len(shares) != len(ranges):
        return False
    return all(map(_is_share, shares)) and all(map(_is_range, ranges))


def _is_range(value: Any) -> bool:
    if not isinstance(value, (list, tuple)) or len(value) != 2:
        return False
    given = [bound for bound in value if bound is not None]
    return all(map(_is_number, given)) and given == sorted(given)


_FORMS: dict[str, tuple[Callable[[Any], bool], str]] = {
    "column": (lambda value: isinstance(value, str), "a column name"),
    "column_list": (_is_names, "a list of column names"),
    "column_set": (_is_names, "a list of column names"),
    "column_index": (_is_count, "a position, counted from 0"),
    "type_": (lambda value: isinstance(value, str), "a type name"),
    "type_list": (lambda value: _is_names(value) and bool(value), "a list of type names"),
    "value_set": (lambda value: isinstance(value, (list, tuple, set, frozenset)), "a list of values"),
    "regex": (lambda value: isinstance(value, str), "a regular expression"),
    "regex_list": (_is_texts, "a list of regular expressions"),
    "match_on": (lambda value: value in ("any", "all"), "one of any, all"),
    "like_pattern": (lambda value: isinstance(value, str), "a pattern of LIKE"),
    "like_pattern_list": (_is_texts, "a list of patterns of LIKE"),
    "escape": (lambda value: isinstance(value, str) and len(value) == 1, "one character"),
    "strftime_format": (lambda value: isinstance(value, str), "a format such as %Y-%m-%d"),
    "json_schema": (lambda value: isinstance(value, Mapping), "a JSON schema"),
    "column_A": (lambda value: isinstance(value, str), "a column name"),
    "column_B": (lambda value: isinstance(value, str), "a column name"),
    "or_equal": (lambda value: isinstance(value, bool), "true or false"),
    "value_pairs_set": (_is_pairs, "a list of pairs of values"),
    "sum_total": (_is_number, "a number"),
    "partition_object": (lambda value: isinstance(value, Mapping), "an object with weights and values or bins"),
    "internal_weight_holdout": (_is_share, "a share between 0 and 1"),
    "tail_weight_holdout": (_is_share, "a share between 0 and 1"),
    "bucketize_data": (lambda value: isinstance(value, bool), "true or false"),
    "unexpected_rows_query": (lambda value: isinstance(value, str), "a query in SQL"),
    "base_query": (lambda value: isinstance(value, str), "a query in SQL"),
    "comparison_query": (lambda value: isinstance(value, str), "a query in SQL"),
    "comparison_data_source_name": (lambda value: isinstance(value, str), "the name of a table given to the engine"),
    "mostly": (_is_share, "a share between 0 and 1"),
    "value": (_is_count, "a whole number"),
    "exact_match": (lambda value: isinstance(value, bool), "true or false"),
    "strict_min": (lambda value: isinstance(value, bool), "true or false"),
    "strict_max": (lambda value: isinstance(value, bool), "true or false"),
    "min_value": (_is_bound, "a bound"),
    "max_value": (_is_bound, "a bound"),
    "strictly": (lambda value: isinstance(value, bool), "true or false"),
    "double_sided": (lambda value: isinstance(value, bool), "true or false"),
    "ties_okay": (lambda value: isinstance(value, bool), "true or false"),
    "threshold": (_is_number, "a number"),
    "multiplier": (lambda value: _is_number(value) and value >= 0, "a number, 0 or more"),
    "method": (lambda value: value in ("iqr", "std"), "one of iqr, std"),
    "quantile_ranges": (_is_quantile_ranges, "an object of 'quantiles' and as many ordered 'value_ranges'"),
    "allow_relative_error": (lambda value: isinstance(value, (bool, str)), "false or a way to interpolate"),
    "other_table_name": (lambda value: isinstance(value, str), "the name of a table"),
    "ignore_row_if": (
        lambda value: value in ("all_values_are_missing", "any_value_is_missing", "never"),
        "one of all_values_are_missing, any_value_is_missing, never",
    ),
}
# Great Expectations has other words where two columns are compared.
_PAIR_FORMS = {
    "ignore_row_if": (
        lambda value: value in ("both_values_are_missing", "either_value_is_missing", "neither"),
        "one of both_values_are_missing, either_value_is_missing, neither",
    )
}


def is_supported(kind: str) -> bool:
    """Whether the engine runs expectations of type `kind`."""
    return kind in SIGNATURES


def unsupported_parts(kind: str, kwargs: Mapping[str, Any]) -> list[str]:
    """What of this expectation the engine cannot run, in words; such a rule is never taken as met."""
    if kind in REMOVED:
        return [f"Millrace does not run {kind}: {REMOVED[kind]}"]
    if kind not in SIGNATURES:
        return [f"Millrace does not run {kind}; {did_you_mean(type_of_class(kind) or kind, SIGNATURES)}"]
    return []


def argument_mistakes(kind: str, kwargs: Mapping[str, Any]) -> list[str]:
    """What is wrong with the arguments of a supported expectation, in words; empty when nothing is."""
    signature = SIGNATURES[kind]
    given = {name: value for name, value in kwargs.items() if value is not None}
    found = [f"needs {name}" for name in signature.required if name not in given]
    if signature.any_of and not any(name in given for name in signature.any_of):
        found.append(f"needs {' or '.join(signature.any_of)}")
    if "regex" in signature.optional and "regex" in kwargs and kwargs["regex"] is None:
        # Left out, GX takes it for "anything"; a null would pass anything, too, and GX refuses it.
        found.append("regex is null")
    forms = {**_FORMS, **(_PAIR_FORMS if "column_A" in signature.names else {})}
    known = _HARMLESS | (_CONDITION if takes_condition(kind) else set())
    for name, value in given.items():
        if name in signature.names:
            fits, form = forms[name]
            if not is_parameter(value) and not fits(value):
                found.append(f"{name}={value!r} is not {form}")
        elif name not in known and value is not False:
            found.append(f"takes no {name}: {did_you_mean(name, signature.names)}")
    return found or _contradictions(kind, given)


def _contradictions(kind: str, given: Mapping[str, Any]) -> list[str]:
    found = []
    bounds: list[Any] = [given.get("min_value"), given.get("max_value")]
    are_numbers = all(isinstance(bound, (int, float)) for bound in bounds)
    # GX refuses this one when nothing can be between its bounds; rules on figures just fail.
    if kind == "expect_table_row_count_to_be_between" and are_numbers and bounds[0] > bounds[1]:
        found.append(f"has min_value={bounds[0]!r} above max_value={bounds[1]!r}")
    if kind == "expect_column_distinct_values_to_be_in_set" and not given["value_set"]:
        found.append("has a value_set that holds nothing")
    return found
