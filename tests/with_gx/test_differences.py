"""Each deliberate difference from GX, shown on one small frame: what GX does, and what Millrace does."""

from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import pandas as pd
import pytest
from gx_differences import DIFFERENCES
from gx_oracle import gx_results, gx_validate, our_results, problem_of

import millrace as mr
from millrace.validation.engine import validate

PAGE = Path(__file__).resolve().parents[2] / "docs" / "great-expectations.md"
NAN, INF = float("nan"), float("inf")
NOON = datetime(2024, 1, 31, 12, tzinfo=UTC)


def column(values, dtype=None, **more):
    return pd.DataFrame({"a": pd.Series(values, dtype=dtype), **more})


def between(kind="expect_column_values_to_be_between", **bounds):
    return {"type": kind, "kwargs": {"column": "a", **bounds}}


def on_a(kind, **kwargs):
    return {"type": kind, "kwargs": {"column": "a", **kwargs}}


def pair(kind, **kwargs):
    return {"type": kind, "kwargs": {"column_A": "a", "column_B": "b", **kwargs}}


RAISES, PASSES, FAILS = "raises", "passes", "fails"

# name, frame, rule, what GX does, what Millrace does
SHOWN = [
    ("bounds of text", column(["a", "b"]), between(max_value="b"), RAISES, PASSES),
    ("bounds of dates and times", column([NOON]), between(min_value="2024-01-31"), RAISES, PASSES),
    (
        "bounds of dates and times",
        column([NOON]),
        between("expect_column_max_to_be_between", max_value="2024-01-31"),
        RAISES,
        FAILS,
    ),
    (
        "exact whole numbers",
        column([2**63, 2**63, 1], "uint64"),
        between("expect_column_sum_to_be_between", min_value=2**63),
        FAILS,
        PASSES,
    ),
    ("exact whole numbers", column([2**53 + 1]), between(max_value=2**53), PASSES, FAILS),
    ("exact whole numbers", column([2**53]), between(min_value=2**53 + 1), PASSES, FAILS),
    (
        "exact whole numbers",
        column([0.0], b=[2**63 - 1]),
        pair("expect_column_pair_values_to_be_in_set", value_pairs_set=[[0.0, 2**63 - 1]]),
        FAILS,
        PASSES,
    ),
    (
        "exact whole numbers",
        column([-128, 127], "int8"),
        on_a(
            "expect_column_quantile_values_to_be_between",
            quantile_ranges={"quantiles": [0.05], "value_ranges": [[-120, -110]]},
            allow_relative_error="linear",
        ),
        FAILS,
        PASSES,
    ),
    (
        "pandas' NA",
        column([1, None], "Int64", b=[1, 2]),
        pair("expect_column_pair_values_to_be_equal", mostly=0.5),
        RAISES,
        PASSES,
    ),
    (
        "decimals",
        column([Decimal("1.5"), None], "object"),
        between("expect_column_mean_to_be_between", min_value=1),
        RAISES,
        PASSES,
    ),
    (
        "pairs of times",
        column([NOON, NOON], b=[NOON, NOON]),
        pair("expect_column_pair_values_to_be_in_set", value_pairs_set=[[NOON.isoformat(), NOON.isoformat()]]),
        FAILS,
        PASSES,
    ),
    ("a sum of nothing", column([NAN]), between("expect_column_sum_to_be_between", min_value=0), PASSES, FAILS),
    (
        "categories",
        column(["x"], "category"),
        on_a("expect_column_values_to_match_strftime_format", strftime_format="%H", mostly=0),
        RAISES,
        PASSES,
    ),
    (
        "sets of bytes and spans",
        column([b"x"]),
        on_a("expect_column_values_to_not_be_in_set", value_set=["x"]),
        PASSES,
        RAISES,
    ),
    (
        "sets of dates",
        column([date(2024, 1, 31)]),
        on_a("expect_column_most_common_value_to_be_in_set", value_set=["2024-01-31"]),
        FAILS,
        PASSES,
    ),
    (
        "single precision",
        column([-2.5, 2**24, -2.5, 1.5, 1.5, -2.5, 0.1], "float32"),
        between("expect_column_sum_to_be_between", max_value=2**24 - 3),
        FAILS,
        PASSES,
    ),
    (
        "spans",
        column([timedelta(1)], b=[timedelta(1)]),
        {"type": "expect_multicolumn_values_to_be_equal", "kwargs": {"column_list": ["a", "b"]}},
        PASSES,
        PASSES,
    ),
    (
        "spans",
        column([timedelta(1)], b=[timedelta(2)]),
        {"type": "expect_multicolumn_values_to_be_equal", "kwargs": {"column_list": ["a", "b"]}},
        RAISES,
        FAILS,
    ),
    (
        "sets for times",
        column([NOON]),
        on_a("expect_column_values_to_be_in_set", value_set=[NOON.isoformat(), 1]),
        FAILS,
        PASSES,
    ),
    (
        "sets for times",
        column([NOON]),
        on_a("expect_column_values_to_be_in_set", value_set=[NOON.isoformat(), "b"]),
        FAILS,
        RAISES,
    ),
    (
        "sets for times",
        column(["2024-01-31T12:30:15"], "datetime64[us]"),
        on_a("expect_column_values_to_be_in_set", value_set=["2024-01-31T12:30:15"]),
        FAILS,
        PASSES,
    ),
    (
        "sets for times",
        column(["2024-01-31T12:30:15"], "datetime64[us]"),
        on_a("expect_column_values_to_not_be_in_set", value_set=["2024-01-31T12:30:15"]),
        FAILS,
        FAILS,
    ),
    (
        "columns of two types",
        column([2.5, 1], "object"),
        on_a("expect_column_values_to_not_match_regex", regex=r"^\d+$"),
        FAILS,
        PASSES,
    ),
    ("truths in order", column([True, False]), on_a("expect_column_values_to_be_increasing"), PASSES, FAILS),
    (
        "infinite quartiles",
        column([1.0, 1.0, 1e300, INF, -INF]),
        on_a("expect_column_values_to_not_be_outliers", method="iqr", multiplier=3),
        PASSES,
        FAILS,
    ),
    (
        "infinite neighbours",
        column([INF, INF]),
        on_a("expect_column_values_to_be_increasing", strictly=True),
        PASSES,
        FAILS,
    ),
    (
        "quantiles of truths",
        column([True, False]),
        on_a(
            "expect_column_quantile_values_to_be_between",
            quantile_ranges={"quantiles": [0.9], "value_ranges": [[0, 1]]},
            allow_relative_error="midpoint",
        ),
        RAISES,
        PASSES,
    ),
    (
        "a sum needs numbers",
        column([7], b=pd.Series([None], dtype="object"), c=[NOON]),
        {"type": "expect_multicolumn_sum_to_equal", "kwargs": {"column_list": ["a", "b", "c"], "sum_total": 3}},
        FAILS,
        RAISES,
    ),
    ("columns without a value", column([pd.NaT]), between(min_value=1), PASSES, RAISES),
    (
        "column_index 0",
        column([1], b=[2]),
        {"type": "expect_column_to_exist", "kwargs": {"column": "b", "column_index": 0}},
        PASSES,
        FAILS,
    ),
    ("types of the file", column([1], "int32"), on_a("expect_column_values_to_be_of_type", type_="int"), FAILS, PASSES),
    ("types of the file", column([1]), on_a("expect_column_values_to_be_of_type", type_="INTEGER"), FAILS, PASSES),
    ("types of the file", column([1]), on_a("expect_column_values_to_be_of_type", type_="nonsense"), FAILS, RAISES),
    (
        "types of the file",
        column([True, None], "object"),
        on_a("expect_column_values_to_be_of_type", type_="int"),
        PASSES,
        FAILS,
    ),
    (
        "missing of two kinds",
        column([None, None], "object", b=[NAN, NAN]),
        {
            "type": "expect_select_column_values_to_be_unique_within_record",
            "kwargs": {"column_list": ["a", "b"], "ignore_row_if": "never"},
        },
        PASSES,
        FAILS,
    ),
    (
        "texts in conditions",
        column([1], b=[""]),
        between(min_value=0, row_condition='col("b") == ""', condition_parser="great_expectations"),
        RAISES,
        PASSES,
    ),
    (
        "texts in conditions",
        column([1], b=["日本"]),
        between(min_value=0, row_condition='col("b") == "日本"', condition_parser="great_expectations"),
        RAISES,
        PASSES,
    ),
    (
        "texts in conditions",
        column([1], b=[" x"]),
        {
            "type": "expect_table_row_count_to_equal",
            "kwargs": {"value": 1, "row_condition": 'col("b") == " x"', "condition_parser": "great_expectations"},
        },
        FAILS,
        PASSES,
    ),
    ("NaN as a bound", column([1.0]), between(min_value=0, max_value=NAN), FAILS, RAISES),
    (
        "counts are whole",
        column(["ab"]),
        between("expect_column_value_lengths_to_be_between", min_value=2.5),
        PASSES,
        FAILS,
    ),
    (
        "an empty list of types",
        column([1]),
        on_a("expect_column_values_to_be_in_type_list", type_list=[]),
        FAILS,
        RAISES,
    ),
    ("rules that demand nothing", column([1]), on_a("expect_column_min_to_be_between"), PASSES, RAISES),
    (
        "rules that demand nothing",
        column([1]),
        {"type": "expect_table_columns_to_match_ordered_list", "kwargs": {}},
        PASSES,
        RAISES,
    ),
    (
        "counts not written as whole numbers",
        column([1]),
        {"type": "expect_table_row_count_to_equal", "kwargs": {"value": "1"}},
        PASSES,
        RAISES,
    ),
    (
        "whole numbers beyond 64 bits",
        column([2**70, 1], object),
        on_a("expect_column_sum_to_be_between", min_value=0),
        PASSES,
        RAISES,
    ),
    (
        "deviations of times",
        column(["2024-01-01", "2024-01-02", "2024-03-01"], "datetime64[us]"),
        on_a("expect_column_value_z_scores_to_be_less_than", threshold=3, double_sided=True),
        PASSES,
        RAISES,
    ),
]


def outcome(result):
    if problem_of(result) is not None:
        assert result["success"] is False
        return RAISES
    return PASSES if result["success"] else FAILS


@pytest.mark.parametrize(
    ("frame", "rule", "theirs", "ours"), [case[1:] for case in SHOWN], ids=[case[0] for case in SHOWN]
)
def test_both_do_what_the_table_says(frame, rule, theirs, ours):
    assert outcome(gx_results(frame, [rule])[0]) == theirs
    assert outcome(our_results(frame, [rule])[0]) == ours


def test_an_empty_batch_passes_in_gx_and_never_here():
    frame = column([], "float64")
    rules = [on_a("expect_column_values_to_not_be_null"), between(min_value=0)]

    assert gx_validate(frame, rules)["success"] is True
    ours = validate(frame, mr.Suite.from_dict({"name": "suite", "expectations": rules}))
    assert (ours.success, ours.verdict().is_pass) == (False, False)
    assert [result.success for result in ours.results] == [True, True]


def test_gx_takes_the_quantiles_of_one_rule_for_those_of_the_next():
    frame = column([1.0, 2.0, 3.0, 4.0, 127.0])
    rules = [
        on_a(
            "expect_column_quantile_values_to_be_between",
            quantile_ranges={"quantiles": [share], "value_ranges": [[low, low]]},
        )
        for share, low in ((0.25, 2), (0.5, 3))
    ]
    suite = mr.Suite.from_dict({"name": "suite", "expectations": rules})

    assert [each["success"] for each in gx_validate(frame, rules)["results"]] != [True, True]
    assert [gx_results(frame, [rule])[0]["success"] for rule in rules] == [True, True]
    assert [each.success for each in validate(frame, suite).results] == [True, True]


def test_the_most_frequent_values_are_counted_over_all_rows_not_over_those_shown():
    frame = column([*range(100, 120), *[7] * 30])
    rules = [between(max_value=5)]

    theirs, ours = gx_results(frame, rules)[0]["result"], our_results(frame, rules)[0]["result"]

    assert theirs["unexpected_count"] == ours["unexpected_count"] == 50
    assert 7 not in {each["value"] for each in theirs["partial_unexpected_counts"]}
    assert ours["partial_unexpected_counts"][0] == {"value": 7, "count": 30}


def test_complete_lists_every_value_where_gx_stops_at_200():
    frame = column(list(range(300)))
    rules = [between(max_value=-1)]

    theirs = gx_results(frame, rules, "COMPLETE")[0]["result"]
    ours = our_results(frame, rules, "COMPLETE")[0]["result"]

    assert (len(theirs["unexpected_list"]), len(theirs["unexpected_index_list"])) == (200, 300)
    assert (len(ours["unexpected_list"]), len(ours["unexpected_index_list"])) == (300, 300)


def test_results_keep_the_order_of_the_suite_which_gx_does_not():
    frame = column([1])
    rules = [between(min_value=0), on_a("expect_column_max_to_be_between", max_value=1), between(min_value=0)]
    rules[1]["kwargs"]["column"] = "nobody"

    theirs = [each["expectation_config"]["type"] for each in gx_validate(frame, rules)["results"]]
    suite = mr.Suite.from_dict({"name": "suite", "expectations": rules})

    assert theirs != [rule["type"] for rule in rules]
    assert [each.expectation.type for each in validate(frame, suite).results] == [rule["type"] for rule in rules]


def test_every_difference_that_the_comparison_allows_is_shown_here_and_told_in_the_docs():
    shown = {case[0] for case in SHOWN}
    page = PAGE.read_text(encoding="utf-8")

    assert set(DIFFERENCES) <= shown
    assert [name for name in sorted(shown) if f"| {name} |" not in page] == []
