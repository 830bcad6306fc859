"""Tables with everything in them that places of rows treat differently, and the rules to ask of them."""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal
from typing import Any

import pyarrow as pa

from millrace.validation.suite import Expectation, Suite

Rule = tuple[str, dict[str, Any]]

LEAST, MOST = -(2**63), 2**63 - 1
_EAST = timezone(timedelta(hours=5, minutes=30))
_NAN, _INF = math.nan, math.inf


def tricky() -> pa.Table:
    """Nulls, NaN, infinities, the ends of 64 bit, 32-bit floats, decimals, zones, and texts in several scripts."""
    texts = ["a", "A", "é", "e\u0301", "", " ", "a\n", "100%", "a_b", "👍👍", None, "ß"]
    first = datetime(2024, 3, 10, 1, 59, 59, 999_999)  # noqa: DTZ001 - a column without zone
    moments = [first + timedelta(minutes=30 * step) for step in range(11)]
    return pa.table(
        {
            "row": pa.array(range(12), pa.int64()),
            "whole": pa.array([LEAST, MOST, 0, 1, 1, -1, None, 2**53, 2**53 + 1, 7, 7, 7], pa.int64()),
            "small": pa.array([1, 2, 3, 4, 5, 6, 7, 8, 9, 10, None, None], pa.int16()),
            "real": pa.array([0.1, -0.0, 0.0, _NAN, None, 1e300, -1e300, 0.1, 2.5, 3.0, 1e-300, 7.0], pa.float64()),
            "endless": pa.array([1.0, _INF, 2.0, None, _NAN, 2.0, 3.5, 4.0, 0.5, 0.25, 8.0, 9.0], pa.float64()),
            "single": pa.array([0.1, 0.5, 1.5, 0.1, None, _NAN, 2.25, 3.0, 4.0, 5.0, 6.0, 7.0], pa.float32()),
            "price": pa.array(
                [None if step == 5 else Decimal(step * 10 + 5).scaleb(-2) for step in range(12)], pa.decimal128(10, 2)
            ),
            "flag": pa.array([True, False, None, True, True, True, False, True, True, True, True, True]),
            "text": pa.array(texts, pa.string()),
            "code": pa.array([f"AB-{number:03d}" for number in range(10)] + ["ab-001", None], pa.string()),
            "at": pa.array([*moments, None], pa.timestamp("us")),
            "zoned": pa.array(
                [moment.replace(tzinfo=_EAST).astimezone(UTC) for moment in moments] + [None],
                pa.timestamp("us", "UTC"),
            ),
            "day": pa.array(
                [date(1960, 1, 1) + timedelta(days=400 * step) for step in range(11)] + [None], pa.date32()
            ),
            "doc": pa.array(["1", '"a"', '{"a": 1}', "[]", "2", None] * 2, pa.string()),
            "nothing": pa.array([None] * 12, pa.float64()),
            'odd "name`%s? :x': pa.array([1, 2, 2, None, 3, 3, 3, 4, 5, 6, 7, 8], pa.int64()),
            "group": pa.array(["x", "y"] * 5 + [None, "x"], pa.string()),
        }
    )


def tricky_rules() -> list[Rule]:
    """Rules on `tricky`, some that hold and some that do not."""
    found: list[Rule] = []
    ranges: list[tuple[str, Any, Any]] = [
        ("whole", -1, 2**53),
        ("whole", 0, 9007199254740992.0),
        ("whole", None, 2**64),
        ("whole", -1.5, 7.5),
        ("small", 2, 9),
        ("real", 0.1, 3),
        ("real", None, _INF),
        ("endless", 0, 100),
        ("single", 0.1, 6),
        ("price", 0.05, 1.0),
        ("price", 0.15, 0.851),
        ("flag", 1, 1),
        ("text", "a", "b"),
        ("at", "2024-03-10T02:29:59.999999", "2024-03-10 05:00:00"),
        ("zoned", "2024-03-10T02:30:00+05:30", "2024-03-09T23:00:00Z"),
        ("day", "1961-02-04", "1965-01-01"),
        ("nothing", 0, 1),
        ('odd "name`%s? :x', 2, 7),
    ]
    for column, low, high in ranges:
        found.append(("expect_column_values_to_be_between", {"column": column, "min_value": low, "max_value": high}))
        strict = {"column": column, "min_value": low, "max_value": high, "strict_min": True, "mostly": 0.5}
        if column != "price":  # a place without decimals holds the nearest float
            found.append(("expect_column_values_to_be_between", {**strict, "strict_max": True}))
    sets: list[tuple[str, list[Any]]] = [
        ("whole", [1, 7.0, 7.5, "7", 2**64, LEAST]),
        ("real", [0, 0.1, 1e300]),
        ("single", [0.1, 0.5]),
        ("price", [0.05, 1.05, 0.333]),
        ("flag", [True]),
        ("text", ["a", "é", "👍👍", "", "a\n", "it's", "\\"]),
        ("text", []),
        ("text", ["a", *(f"t{number}" for number in range(500))]),
        ("at", ["2024-03-10T01:59:59.999999"]),
        ("day", ["1960-01-01", "1960-01-01T12:00:00"]),
        ("nothing", [1]),
    ]
    for column, members in sets:
        found.append(("expect_column_values_to_be_in_set", {"column": column, "value_set": members}))
        found.append(("expect_column_values_to_not_be_in_set", {"column": column, "value_set": members}))
    for column in tricky().column_names:
        found += [
            ("expect_column_values_to_not_be_null", {"column": column}),
            ("expect_column_values_to_be_null", {"column": column, "mostly": 0.5}),
            ("expect_column_values_to_be_unique", {"column": column}),
            ("expect_column_unique_value_count_to_be_between", {"column": column, "min_value": 9}),
            ("expect_column_proportion_of_unique_values_to_be_between", {"column": column, "min_value": 0.9}),
            ("expect_column_proportion_of_non_null_values_to_be_between", {"column": column, "min_value": 0.9}),
        ]
    return [*found, *_figure_rules(), *_text_rules(), *_several_column_rules()]


def _figure_rules() -> list[Rule]:
    found: list[Rule] = []
    numbers = ["whole", "small", "real", "endless", "single", "price", "nothing"]
    for column in numbers:
        for figure in ("min", "max", "mean", "median", "stdev", "sum"):
            if (column, figure) in _UNSTABLE:
                continue
            found.append(
                (f"expect_column_{figure}_to_be_between", {"column": column, "min_value": 0, "max_value": 1000})
            )
    for column in ("small", "single", "price"):
        shares = {"quantiles": [0, 0.1, 0.25, 0.5, 0.9, 1], "value_ranges": [[None, 1]] * 6}
        found.append(("expect_column_quantile_values_to_be_between", {"column": column, "quantile_ranges": shares}))
    for column, bound in (("at", "2024-03-10"), ("zoned", "2024-03-10"), ("day", "1970-01-01"), ("text", "b")):
        found.append(("expect_column_max_to_be_between", {"column": column, "max_value": bound}))
        found.append(("expect_column_min_to_be_between", {"column": column, "min_value": bound}))
    found += [
        ("expect_column_most_common_value_to_be_in_set", {"column": "whole", "value_set": [7]}),
        ("expect_column_most_common_value_to_be_in_set", {"column": "group", "value_set": ["y"]}),
        ("expect_column_distinct_values_to_be_in_set", {"column": "group", "value_set": ["x", "y"]}),
        ("expect_column_distinct_values_to_contain_set", {"column": "group", "value_set": ["x", "z"]}),
        ("expect_column_distinct_values_to_equal_set", {"column": "whole", "value_set": [7]}),
        ("expect_column_value_z_scores_to_be_less_than", {"column": "small", "threshold": 1, "double_sided": True}),
        ("expect_column_values_to_not_be_outliers", {"column": "single", "multiplier": 0.5}),
    ]
    return found


# Every place rounds in an order of its own, and 32-bit floats are added as such in some: beyond 1e-12 there is no one
# answer to these.
_UNSTABLE = {
    ("whole", "stdev"),
    *((column, figure) for column in ("real", "single") for figure in ("sum", "mean", "stdev")),
}


def _text_rules() -> list[Rule]:
    patterns = [
        "^a",
        "a$",
        ".",
        "^.$",
        r"\d+",
        r"^[A-Z]{2}-\d{3}$",
        "^[A-Z]{2}-[0-9]{3}$",
        "(?i)^AB",
        r"[^a-z]",
        "é|👍",
        "_",
        "%",
        "b?",
        r"^\w$",
        r"\s",
    ]
    found: list[Rule] = []
    for pattern in patterns:
        for column in ("text", "code"):
            found.append(("expect_column_values_to_match_regex", {"column": column, "regex": pattern}))
            found.append(("expect_column_values_to_not_match_regex", {"column": column, "regex": pattern}))
    found += [
        ("expect_column_values_to_match_regex", {"column": "small", "regex": "^1"}),
        (
            "expect_column_values_to_match_regex_list",
            {"column": "code", "regex_list": ["^AB", "1$"], "match_on": "all"},
        ),
        ("expect_column_values_to_not_match_regex_list", {"column": "code", "regex_list": ["^ab", "7$"]}),
        ("expect_column_values_to_match_like_pattern", {"column": "text", "like_pattern": "a%"}),
        ("expect_column_values_to_match_like_pattern", {"column": "text", "like_pattern": "_"}),
        ("expect_column_values_to_not_match_like_pattern", {"column": "text", "like_pattern": "%_%"}),
        ("expect_column_values_to_match_like_pattern_list", {"column": "code", "like_pattern_list": ["AB%", "%1"]}),
        ("expect_column_value_lengths_to_be_between", {"column": "text", "min_value": 1, "max_value": 2}),
        ("expect_column_value_lengths_to_equal", {"column": "code", "value": 6}),
        ("expect_column_values_to_match_strftime_format", {"column": "code", "strftime_format": "AB-%j"}),
        ("expect_column_values_to_be_json_parseable", {"column": "text"}),
        ("expect_column_values_to_match_json_schema", {"column": "doc", "json_schema": {"type": "integer"}}),
        ("expect_column_values_to_not_match_like_pattern_list", {"column": "code", "like_pattern_list": ["%9", "a%"]}),
        ("expect_column_values_to_be_dateutil_parseable", {"column": "code"}),
    ]
    return found


def _several_column_rules() -> list[Rule]:
    pairs = {"column_A": "small", "column_B": 'odd "name`%s? :x'}
    return [
        ("expect_column_pair_values_a_to_be_greater_than_b", pairs),
        ("expect_column_pair_values_a_to_be_greater_than_b", {**pairs, "or_equal": True, "ignore_row_if": "neither"}),
        ("expect_column_pair_values_to_be_equal", {**pairs, "ignore_row_if": "either_value_is_missing"}),
        (
            "expect_column_pair_values_to_be_in_set",
            {"column_A": "small", "column_B": "group", "value_pairs_set": [[1, "x"], [2, "y"], [4, "y"]]},
        ),
        ("expect_compound_columns_to_be_unique", {"column_list": ["whole", "group"]}),
        ("expect_compound_columns_to_be_unique", {"column_list": ["group", "flag"], "ignore_row_if": "never"}),
        (
            "expect_multicolumn_sum_to_equal",
            {"column_list": ["small", 'odd "name`%s? :x'], "sum_total": 2, "ignore_row_if": "any_value_is_missing"},
        ),
        (
            "expect_select_column_values_to_be_unique_within_record",
            {"column_list": ["small", 'odd "name`%s? :x', "whole"]},
        ),
        ("expect_multicolumn_values_to_be_equal", {"column_list": ["small", 'odd "name`%s? :x']}),
        ("expect_table_row_count_to_equal", {"value": 12}),
        ("expect_table_row_count_to_be_between", {"min_value": 13}),
        ("expect_table_column_count_to_be_between", {"min_value": 18}),
        ("expect_table_columns_to_match_ordered_list", {"column_list": ["row", "small"]}),
        (
            "unexpected_rows_expectation",
            {"unexpected_rows_query": "SELECT small, code FROM {batch} WHERE small > 7 ORDER BY small"},
        ),
        ("expect_table_column_count_to_equal", {"value": 17}),
        ("expect_table_columns_to_match_set", {"column_set": ["row", "whole"], "exact_match": False}),
        ("expect_column_to_exist", {"column": "nowhere"}),
        ("expect_column_values_to_be_unique", {"column": "nowhere"}),
        ("expect_column_values_to_be_of_type", {"column": "row", "type_": "int"}),
        ("expect_column_values_to_be_of_type", {"column": "real", "type_": "float"}),
        ("expect_column_values_to_be_of_type", {"column": "text", "type_": "int"}),
        ("expect_column_type_to_be", {"column": "row", "type_": "int"}),
        ("expect_column_type_to_be", {"column": "text", "type_": "float"}),
        ("expect_column_values_to_be_in_type_list", {"column": "flag", "type_list": ["bool", "BOOLEAN"]}),
        ("expect_column_mean_to_be_between", {"column": "text", "min_value": 0}),
    ]


def conditioned_rules() -> list[Rule]:
    """Rules on some rows of `tricky`."""
    conditions = ['col("group") == "x"', 'col("small") > 3', 'col("text").notNull()', 'col("small") > 99']
    found: list[Rule] = []
    for condition in conditions:
        given = {"row_condition": condition, "condition_parser": "great_expectations"}
        found += [
            ("expect_column_values_to_be_between", {"column": "whole", "min_value": 0, **given}),
            ("expect_column_values_to_not_be_null", {"column": "real", **given}),
            ("expect_column_values_to_be_unique", {"column": "whole", **given}),
            ("expect_column_mean_to_be_between", {"column": "small", "min_value": 6, **given}),
            ("expect_column_stdev_to_be_between", {"column": "small", "min_value": 6, **given}),
            ("expect_column_median_to_be_between", {"column": "small", "min_value": 6, **given}),
            ("expect_column_unique_value_count_to_be_between", {"column": "text", "min_value": 6, **given}),
            ("expect_column_values_to_match_regex", {"column": "text", "regex": r"^\w$", **given}),
            ("expect_compound_columns_to_be_unique", {"column_list": ["group", "flag"], **given}),
        ]
    return found


def ordered_rules() -> list[Rule]:
    """Rules that ask for the rows before: places without order refuse them."""
    return [
        ("expect_column_values_to_be_increasing", {"column": "row", "strictly": True}),
        ("expect_column_values_to_be_increasing", {"column": "whole"}),
        ("expect_column_values_to_be_decreasing", {"column": "small"}),
        ("expect_column_values_to_be_increasing", {"column": "at"}),
    ]


def compared_rules() -> list[Rule]:
    """Rules on `tricky` that compare it with a table "other"."""
    query = "SELECT small, code FROM {batch} WHERE small < 4"
    other = {"comparison_data_source_name": "other", "comparison_query": query.replace("4", "6")}
    return [
        ("expect_table_row_count_to_equal_other_table", {"other_table_name": "other"}),
        ("expect_query_results_to_match_comparison", {"base_query": query, **other, "mostly": 0.5}),
        ("expect_query_results_to_match_comparison", {"base_query": query, **other}),
    ]


def measured() -> pa.Table:
    """A thousand ordinary measurements in three groups."""
    chance = random.Random(7)  # noqa: S311 - no secret
    values = [chance.gauss(20, 5) for _ in range(1000)]
    return pa.table(
        {
            "value": pa.array([None if place % 50 == 0 else value for place, value in enumerate(values)]),
            "count": pa.array([chance.randrange(10**15, 10**18) for _ in values], pa.int64()),
            "group": pa.array([chance.choice("abc") for _ in values]),
        }
    )


def measured_rules() -> list[Rule]:
    """Figures of `measured`."""
    shares = {"quantiles": [0.01, 0.25, 0.333, 0.5, 0.75, 0.999], "value_ranges": [[0, 2e9]] * 6}
    found: list[Rule] = []
    for column in ("value", "count"):
        figures = ("min", "max", "mean", "median", "stdev", "sum")
        found += [(f"expect_column_{figure}_to_be_between", {"column": column, "min_value": 0.5}) for figure in figures]
        found.append(("expect_column_quantile_values_to_be_between", {"column": column, "quantile_ranges": shares}))
        found.append(("expect_column_value_z_scores_to_be_less_than", {"column": column, "threshold": 2}))
    weights = {"values": ["a", "b", "c"], "weights": [0.3, 0.3, 0.4]}
    found.append(
        (
            "expect_column_kl_divergence_to_be_less_than",
            {"column": "group", "partition_object": weights, "threshold": 1},
        )
    )
    return found


def suite_of(rules: Sequence[Rule]) -> Suite:
    """A suite of these rules."""
    return Suite("conformance", [Expectation(kind, kwargs) for kind, kwargs in rules])
