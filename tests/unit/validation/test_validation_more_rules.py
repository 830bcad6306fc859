"""Rules on lengths, order, spread and sets of values, and on other tables: verdicts, counts and observed values."""

import math
from datetime import UTC, date, datetime
from decimal import Decimal

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

from millrace.core.errors import ProjectError
from millrace.validation.engine import validate
from millrace.validation.suite import Suite

NAN, INF = float("nan"), float("inf")
TABLE = pa.table(
    {
        "n": pa.array([3, 1, 2, None, 2], pa.int64()),
        "up": pa.array([1.0, None, 1.0, NAN, 2.5]),
        "s": ["a", "bb", None, "été", "bb"],
        "b": [False, True, None, True, True],
        "at": pa.array([datetime(2024, 1, d, tzinfo=UTC) for d in (1, 2, 3, 4, 4)], pa.timestamp("us", "UTC")),
        "on": [date(2024, 1, d) for d in (5, 4, 3, 2, 1)],
        "price": [Decimal("1.10"), Decimal("1.10"), Decimal("2.00"), None, Decimal("100.00")],
        "none": pa.nulls(5),
        "u": pa.array([2**64 - 1, 0, 1, 2, None], pa.uint64()),
    }
)


def run(rule, *values, table=TABLE, tables=None, **arguments):
    suite = getattr(Suite("one"), f"expect_{rule}")(*values, **arguments)
    return validate(table, suite, tables=tables).results[0]


def wrong(*arguments, **named):
    result = run(*arguments, **named)
    assert result.problem is None, result.problem
    return result.result["partial_unexpected_list"]


def test_lengths_are_those_of_the_text_of_a_value():
    assert wrong("column_value_lengths_to_be_between", "s", 2, 3) == ["a"]
    assert wrong("column_value_lengths_to_be_between", "s", 1, 3, strict_min=True, strict_max=True) == ["a", "été"]
    assert wrong("column_value_lengths_to_equal", "s", 2) == ["a", "été"]
    assert wrong("column_value_lengths_to_equal", "b", 4) == [False]
    assert wrong("column_value_lengths_to_equal", "up", 3) == []
    assert wrong("column_value_lengths_to_equal", "u", 1) == [2**64 - 1]
    assert wrong("column_value_lengths_to_equal", "none", 9) == []
    assert wrong("column_value_lengths_to_be_between", "s", 3, 2) == ["a", "bb", "été", "bb"]


def test_order_is_judged_over_the_values_that_are_there():
    assert wrong("column_values_to_be_increasing", "up") == []
    assert wrong("column_values_to_be_increasing", "up", strictly=True) == [1.0]
    assert wrong("column_values_to_be_increasing", "n") == [1]
    assert wrong("column_values_to_be_decreasing", "n") == [2]
    assert wrong("column_values_to_be_decreasing", "n", strictly=True) == [2, 2]
    assert wrong("column_values_to_be_increasing", "at") == []
    assert len(wrong("column_values_to_be_increasing", "at", strictly=True)) == 1
    assert wrong("column_values_to_be_decreasing", "on", strictly=True) == []
    assert wrong("column_values_to_be_increasing", "u") == [0]
    assert wrong("column_values_to_be_increasing", "none") == []
    assert run("column_values_to_be_increasing", "n", mostly=0.75).success
    assert "needs numbers or times" not in run("column_values_to_be_increasing", "s").observed
    assert "rising and falling need numbers or times" in run("column_values_to_be_increasing", "s").problem


def test_order_goes_on_from_one_chunk_to_the_next():
    table = pa.concat_tables([pa.table({"x": [1, 2, 3]}), pa.table({"x": [2, None, 4]}), pa.table({"x": [4, 5]})])
    result = run("column_values_to_be_increasing", "x", table=table, strictly=True)

    assert result.result["partial_unexpected_index_list"] == [3, 6]


def test_z_scores_are_those_of_pandas():
    rng = np.random.default_rng(1)
    values = np.where(rng.random(500) < 0.1, np.nan, rng.normal(5, 2, 500))
    series = pd.Series(values).dropna()
    score = (series - series.mean()) / series.std()
    table = pa.table({"x": pa.array(values, from_pandas=True)})

    both = run("column_value_z_scores_to_be_less_than", "x", 1.5, table=table)
    one = run("column_value_z_scores_to_be_less_than", "x", 1.5, double_sided=False, table=table)

    assert both.result["unexpected_count"] == (score.abs() >= 1.5).sum()
    assert one.result["unexpected_count"] == (score >= 1.5).sum()
    assert both.result["partial_unexpected_list"] == series[score.abs() >= 1.5].tolist()[:20]


@pytest.mark.parametrize("values", [[1.0], [2.0, 2.0, 2.0], [1.0, INF, 3.0], [None, NAN]])
@pytest.mark.parametrize("rule", ["value_z_scores_to_be_less_than", "values_to_not_be_outliers"])
def test_where_there_is_no_spread_nothing_stands_out(rule, values):
    arguments = {"threshold": 0.1} if "z_scores" in rule else {"method": "std", "multiplier": 1.0}
    result = run(f"column_{rule}", "x", table=pa.table({"x": pa.array(values, pa.float64())}), **arguments)

    assert (result.problem, result.success) == (None, True)


def test_outliers_are_beyond_the_fences_or_far_from_the_mean():
    table = pa.table({"x": [1, 2, 3, 4, 5, 6, 7, 8, 100, None]})

    assert wrong("column_values_to_not_be_outliers", "x", table=table) == [100]
    assert wrong("column_values_to_not_be_outliers", "x", multiplier=30, table=table) == []
    assert wrong("column_values_to_not_be_outliers", "x", method="std", multiplier=2, table=table) == [100]
    assert wrong("column_values_to_not_be_outliers", "price") == [100.0]
    same = pa.table({"x": [2.0, 2.0, 2.0, 5.0, 2.0]})
    assert wrong("column_values_to_not_be_outliers", "x", table=same) == [5.0]
    assert wrong("column_values_to_not_be_outliers", "x", method="std", multiplier=0, table=same) == [
        2.0,
        2.0,
        2.0,
        5.0,
        2.0,
    ]
    assert "an outlier needs numbers" in run("column_values_to_not_be_outliers", "s").problem


@pytest.mark.parametrize("way", [False, "linear", "lower", "higher", "midpoint", "nearest"])
def test_quantiles_are_those_of_pandas(way):
    shares = [0.0, 0.1, 0.25, 0.5, 0.9, 1.0]
    for values in ([5, 1, 4, 2], [1.5, None, 9.0, -2.0, 0.25, 7.0], [3]):
        expected = pd.Series(values).quantile(shares, interpolation=way or "nearest").tolist()
        result = run(
            "column_quantile_values_to_be_between",
            "x",
            {"quantiles": shares, "value_ranges": [[value, value] for value in expected]},
            allow_relative_error=way,
            table=pa.table({"x": values}),
        )
        assert result.success, (values, way)
        assert result.result["observed_value"]["values"] == pytest.approx(expected, rel=1e-12)
        assert result.result["details"]["success_details"] == [True] * 6


def test_quantiles_keep_ranges_that_are_open_and_a_little_wide():
    def judged(bounds, share=0.5):
        ranges = {"quantiles": [share], "value_ranges": [bounds]}
        return run("column_quantile_values_to_be_between", "x", ranges, table=pa.table({"x": [1.0, 2.0, 3.0]})).success

    held = [[None, 2], [2, None], [None, None], [2.0001, 3]]
    assert [judged(bounds) for bounds in [*held, [2.001, 3], [None, 1.9]]] == [True] * 4 + [False] * 2
    empty = run("column_quantile_values_to_be_between", "none", {"quantiles": [0.5], "value_ranges": [[None, None]]})
    assert (empty.success, empty.result["observed_value"]["values"]) == (False, [None])
    for ranges in ({"quantiles": [0.5]}, {"quantiles": [2], "value_ranges": [[1, 2]]}):
        with pytest.raises(ProjectError, match="quantile_ranges"):
            run("column_quantile_values_to_be_between", "n", ranges)
    with pytest.raises(ProjectError, match="ordered"):
        run("column_quantile_values_to_be_between", "n", {"quantiles": [0.5], "value_ranges": [[2, 1]]})


def test_sets_of_distinct_values():
    inside = run("column_distinct_values_to_be_in_set", "n", [1, 2, 3, 4])
    assert (inside.success, dict(inside.result)) == (
        True,
        {"observed_value": None, "unexpected_count": 0, "partial_unexpected_list": []},
    )
    outside = run("column_distinct_values_to_be_in_set", "s", ["a"])
    assert (outside.success, outside.result["unexpected_count"]) == (False, 2)
    assert outside.result["partial_unexpected_list"] == ["bb", "été"]
    lacking = run("column_distinct_values_to_contain_set", "n", [1, 9, "x"])
    assert (lacking.success, lacking.result["missing_count"]) == (False, 2)
    assert lacking.result["partial_missing_list"] == [9, "x"]
    assert run("column_distinct_values_to_contain_set", "b", [True]).success
    equal = run("column_distinct_values_to_equal_set", "n", [1, 2.0, 3])
    assert (equal.success, equal.result["unexpected_count"], equal.result["missing_count"]) == (True, 0, 0)
    other = run("column_distinct_values_to_equal_set", "on", ["2024-01-01", "2025-01-01"])
    assert (other.success, other.result["unexpected_count"], other.result["missing_count"]) == (False, 4, 1)
    assert run("column_distinct_values_to_contain_set", "at", ["2024-01-02T01:00:00+01:00"]).success
    assert run("column_distinct_values_to_contain_set", "price", [1.5, 2]).result["partial_missing_list"] == [1.5]
    assert run("column_distinct_values_to_equal_set", "none", []).success


def test_the_most_common_value():
    assert run("column_most_common_value_to_be_in_set", "n", [2]).success
    assert not run("column_most_common_value_to_be_in_set", "n", [1]).success
    ties = pa.table({"x": [1, 1, 2, 2, 3]})
    assert not run("column_most_common_value_to_be_in_set", "x", [1], table=ties).success
    tied = run("column_most_common_value_to_be_in_set", "x", [1], ties_okay=True, table=ties)
    assert (tied.success, tied.result) == (True, {"observed_value": [1, 2]})
    assert run("column_most_common_value_to_be_in_set", "none", [1]).result == {"observed_value": []}
    assert not run("column_most_common_value_to_be_in_set", "none", [1], ties_okay=True).success


def test_shares_of_distinct_values():
    result = run("column_proportion_of_unique_values_to_be_between", "n", 0.7, 0.8)
    assert (result.success, result.result) == (True, {"observed_value": 0.75})
    assert run("column_proportion_of_unique_values_to_be_between", "none", 0, 0).result == {"observed_value": 0}


def test_the_number_of_columns_lies_between():
    assert run("table_column_count_to_be_between", 9, 9).success
    assert not run("table_column_count_to_be_between", 10).success
    assert "a count of columns cannot be compared" in run("table_column_count_to_be_between", "a").problem


def test_rows_are_counted_in_another_table(tmp_path):
    rule = "table_row_count_to_equal_other_table"

    same = run(rule, "orders", tables={"orders": pl.DataFrame({"x": range(5)})})
    assert (same.success, same.result) == (True, {"observed_value": {"self": 5, "other": 5}})
    assert not run(rule, "orders", tables={"orders": {"x": [1]}}).success
    assert run(rule, "order", tables={"orders": {"x": [1]}}).problem.endswith("did you mean 'orders'?")
    assert "no table was named" in run(rule, "orders").problem
    unread = run(rule, "orders", tables={"orders": tmp_path / "none.parquet"})
    assert (unread.success, unread.problem.startswith("the rows of the table 'orders' cannot be counted")) == (
        False,
        True,
    )


def test_decimals_are_compared_exactly():
    table = pa.table({"d": pa.array([Decimal("0.1"), Decimal("0.2"), Decimal("0.3")], pa.decimal128(20, 1))})

    # The float 0.1 is a little more than a tenth, 0.3 a little less than three.
    assert wrong("column_values_to_be_between", "d", 0.1, 0.3, table=table) == [0.1, 0.3]
    assert wrong("column_values_to_be_between", "d", Decimal("0.1"), Decimal("0.3"), table=table) == []
    assert wrong("column_values_to_be_between", "d", -INF, INF, table=table) == []
    assert wrong("column_values_to_be_between", "d", -(10**60), 10**60, table=table) == []
    assert wrong("column_values_to_be_between", "d", 10**60, table=table) == [0.1, 0.2, 0.3]


@pytest.mark.parametrize("scale", [0, 18])
def test_decimals_are_compared_to_their_last_digit(scale):
    below, value, above = (Decimal(f"{10**37 + step}E-{scale}") for step in range(3))
    suite = Suite("s").expect_column_values_to_be_between("a", value, value)
    suite.expect_column_values_to_be_between("a", below, above).expect_column_values_to_be_in_set("a", [value])
    suite.expect_column_values_to_be_between("a", above).expect_column_values_to_be_between("a", max_value=below)
    suite.expect_column_values_to_be_in_set("a", [above])

    results = validate(pa.table({"a": pa.array([value], pa.decimal128(38, scale))}), suite).results

    assert [(one.success, one.problem) for one in results] == [(True, None)] * 3 + [(False, None)] * 3


def test_whole_numbers_are_compared_and_added_exactly_at_their_extremes():
    low, high = -(2**63), 2**63 - 1
    table = pa.table({"i": pa.array([low, high, high - 1]), "u": pa.array([0, 2**64 - 1, 1], pa.uint64())})

    assert wrong("column_values_to_be_between", "i", low + 1, high - 1, table=table) == [low, high]
    assert wrong("column_values_to_be_between", "u", -1, 2**64 - 2, table=table) == [2**64 - 1]
    assert wrong("column_values_to_be_between", "i", -(10**50), 10**50, table=table) == []
    assert wrong("column_values_to_be_in_set", "i", [high, 2**63], table=table) == [low, high - 1]
    assert wrong("column_values_to_be_in_set", "u", [2**64 - 1, -1], table=table) == [0, 1]
    assert run("column_sum_to_be_between", "i", high - 2, high - 2, table=table).success
    assert run("column_sum_to_be_between", "u", 2**64, 2**64, table=table).success


def test_moments_are_compared_to_the_nanosecond():
    table = pa.table({"t": pa.array([0, 1, None], pa.timestamp("ns"))})

    result = run("column_values_to_be_between", "t", max_value="1970-01-01", table=table).result
    assert (result["unexpected_count"], result["partial_unexpected_index_list"]) == (1, [1])
    assert math.isclose(result["unexpected_percent"], 50)


@pytest.mark.parametrize(
    ("values", "observed"),
    [([1.0, -INF], "-Infinity"), ([INF, 5.0, INF, 1.0], "Infinity"), ([INF, -INF], None), ([1.0, 2.0, INF], 2.0)],
)
def test_a_median_beside_infinity_is_that_of_pandas(values, observed):
    result = run("column_median_to_be_between", "x", -INF, table=pa.table({"x": values}))

    assert (result.success, result.result) == (observed is not None, {"observed_value": observed})
