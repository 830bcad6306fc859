"""Names of Great Expectations over its versions: suites of 0.x in the form of 1.x, and what became of old rules.

Standard library only.
"""

from __future__ import annotations

import copy
import re
from collections.abc import Mapping
from typing import Any

_RENAMED = {
    "expect_column_pair_values_A_to_be_greater_than_B": "expect_column_pair_values_a_to_be_greater_than_b",
    "expect_multicolumn_values_to_be_unique": "expect_select_column_values_to_be_unique_within_record",
    "expect_column_proportion_of_unique_values_to_be_in_range": (
        "expect_column_proportion_of_unique_values_to_be_between"
    ),
}
_DRIFT = "Great Expectations 1.0 removed it; whether two samples differ is what `millrace data drift` tells"
_FILES = "Great Expectations 1.0 removed its rules on files as such"
REMOVED = {
    "expect_column_chisquare_test_p_value_to_be_greater_than": _DRIFT,
    "expect_column_bootstrapped_ks_test_p_value_to_be_greater_than": _DRIFT,
    "expect_column_parameterized_distribution_ks_test_p_value_to_be_greater_than": _DRIFT,
    "expect_column_pair_cramers_phi_value_to_be_less_than": "Great Expectations 1.0 removed it",
    "expect_file_hash_to_equal": _FILES,
    "expect_file_line_regex_match_count_to_be_between": _FILES,
    "expect_file_line_regex_match_count_to_equal": _FILES,
    "expect_file_size_to_be_between": _FILES,
    "expect_file_to_be_valid_json": _FILES,
    "expect_file_to_exist": _FILES,
    "expect_file_to_have_valid_table_header": _FILES,
}
"""Rules of 0.x that no version 1 has, and what is said of them."""

# They told how results of 0.x are shown, or were false unless someone asked for them.
_DROPPED_IF_FALSE = ("parse_strings_as_datetimes", "allow_cross_type_comparisons", "output_strftime_format")
_OLD_KEYS = ("expectation_suite_name", "data_asset_type", "ge_cloud_id", "evaluation_parameters")


def is_old(document: Mapping[str, Any]) -> bool:
    """Whether a suite is written as GX 0.x does."""
    rules = document.get("expectations")
    has_old_rule = isinstance(rules, list) and any(
        isinstance(rule, Mapping) and "expectation_type" in rule for rule in rules
    )
    return has_old_rule or any(key in document for key in _OLD_KEYS)


def upgraded(document: Mapping[str, Any]) -> dict[str, Any]:
    """A suite of GX 0.x as 1.x writes it: its own keys under their new names, rules too.

    >>> old = {"expectation_suite_name": "a", "expectations": [], "ge_cloud_id": None}
    >>> upgraded(old)
    {'name': 'a', 'expectations': []}
    """
    new = _renamed_keys(document, {"expectation_suite_name": "name", "evaluation_parameters": "suite_parameters"})
    rules = new.get("expectations")
    if isinstance(rules, list):
        new["expectations"] = [_upgraded_rule(rule) if isinstance(rule, Mapping) else rule for rule in rules]
    return new


def _upgraded_rule(rule: Mapping[str, Any]) -> dict[str, Any]:
    new = _renamed_keys(rule, {"expectation_type": "type"})
    context = new.pop("expectation_context", None)
    if isinstance(context, Mapping) and context.get("description"):
        new.setdefault("description", context["description"])
    kind, kwargs = new.get("type"), new.get("kwargs")
    if isinstance(kind, str):
        new["type"] = _RENAMED.get(kind, kind)
    if isinstance(kwargs, Mapping):
        kept = {name: value for name, value in kwargs.items() if value or name not in _DROPPED_IF_FALSE}
        is_pair = "column_A" in kept
        if is_pair and kept.get("ignore_row_if") == "never":
            kept["ignore_row_if"] = "neither"
        new["kwargs"] = kept
    return new


def _renamed_keys(document: Mapping[str, Any], names: Mapping[str, str]) -> dict[str, Any]:
    new: dict[str, Any] = {}
    for key, value in document.items():
        if key == "ge_cloud_id":
            if value is not None:
                new.setdefault("id", value)
        elif key != "data_asset_type":
            new[names.get(key, key)] = copy.deepcopy(value)
    return new


def type_of_class(name: str) -> str | None:
    """The type of an expectation by the name of GX's class; None for what is no such name.

    >>> type_of_class("ExpectColumnKLDivergenceToBeLessThan")
    'expect_column_kl_divergence_to_be_less_than'
    """
    if not re.fullmatch(r"(?:Expect|Unexpected)[A-Za-z0-9]+", name):
        return None
    apart = re.sub(r"(.)([A-Z][a-z]+)", r"\1_\2", name)
    return re.sub(r"([a-z0-9])([A-Z])", r"\1_\2", apart).lower()
