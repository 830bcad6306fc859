"""Rules on two columns and on the values of a row: missing values, kinds that do not go together, what is ignored."""

from datetime import UTC, date, datetime
from decimal import Decimal

import pyarrow as pa
import pytest

from millrace.core.errors import ProjectError
from millrace.validation.engine import validate
from millrace.validation.suite import Suite

NAN, INF = float("nan"), float("inf")
TABLE = pa.table(
    {
        "a": pa.array([1, 2, 3, None, None, 6], pa.int64()),
        "b": [1.0, 1.5, NAN, 4.0, NAN, INF],
        "c": pa.array([1, 2, None, 4, None, 6], pa.int8()),
        "s": ["x", "é", None, "x", None, ""],
        "u": ["x", "e", None, "y", "z", ""],
        "flag": [True, False, True, None, None, True],
        "d": [Decimal("1.00"), Decimal("2.50"), None, None, None, Decimal("6.00")],
        "naive": pa.array([n * 86_400_000_000 for n in range(6)], pa.timestamp("us")),
        "zoned": pa.array([datetime(2024, 1, n, tzinfo=UTC) for n in range(1, 7)], pa.timestamp("us", tz="UTC")),
        "later": pa.array([datetime(2024, 1, 3, tzinfo=UTC)] * 6, pa.timestamp("ms", tz="Europe/Berlin")),
        "on": [date(2024, 1, n) for n in range(1, 7)],
        "none": pa.nulls(6),
        "raw": [b"x", b"\xff", None, b"", b"y", None],
        "raw2": pa.array([b"x", b"", None, b"", None, b"z"], pa.large_binary()),
    }
)


def run(rule, *values, table=TABLE, **arguments):
    return validate(table, getattr(Suite("one"), f"expect_{rule}")(*values, **arguments)).results[0]


def rows(rule, *values, **arguments):
    """Positions of the rows that break the rule, and how many rows are ignored."""
    result = run(rule, *values, **arguments)
    assert result.problem is None, result.problem
    assert result.success is (result.result["unexpected_count"] == 0)
    return result.result["partial_unexpected_index_list"], result.result["missing_count"]


@pytest.mark.parametrize(
    ("left", "right", "arguments", "expected"),
    [
        ("a", "b", {}, ([1, 2, 3, 5], 1)),
        ("a", "b", {"ignore_row_if": "either_value_is_missing"}, ([1, 5], 3)),
        ("a", "b", {"ignore_row_if": "neither"}, ([1, 2, 3, 4, 5], 0)),
        ("a", "c", {"ignore_row_if": "either_value_is_missing"}, ([], 3)),
        ("a", "d", {"ignore_row_if": "either_value_is_missing"}, ([1], 3)),
        ("a", "flag", {"ignore_row_if": "either_value_is_missing"}, ([1, 2, 5], 2)),
        ("s", "u", {}, ([1, 3, 4], 1)),
        ("a", "s", {}, ([0, 1, 2, 3, 5], 1)),
        ("zoned", "later", {}, ([0, 1, 3, 4, 5], 0)),
        ("zoned", "naive", {}, ([0, 1, 2, 3, 4, 5], 0)),
        ("on", "naive", {}, ([0, 1, 2, 3, 4, 5], 0)),
        ("a", "none", {}, ([0, 1, 2, 5], 2)),
        ("raw", "raw2", {}, ([1, 4, 5], 1)),
        ("raw", "s", {}, ([0, 1, 3, 4, 5], 1)),
    ],
)
def test_pairs_are_equal(left, right, arguments, expected):
    assert rows("column_pair_values_to_be_equal", left, right, **arguments) == expected


@pytest.mark.parametrize(
    ("left", "right", "arguments", "expected"),
    [
        ("a", "b", {"ignore_row_if": "either_value_is_missing"}, ([0, 5], 3)),
        ("a", "b", {"ignore_row_if": "either_value_is_missing", "or_equal": True}, ([5], 3)),
        ("a", "b", {}, ([0, 2, 3, 5], 1)),
        ("s", "u", {"ignore_row_if": "either_value_is_missing"}, ([0, 3, 5], 2)),
        ("zoned", "later", {"or_equal": True}, ([0, 1], 0)),
        ("naive", "naive", {}, ([0, 1, 2, 3, 4, 5], 0)),
        ("naive", "naive", {"or_equal": True}, ([], 0)),
    ],
)
def test_the_first_is_greater(left, right, arguments, expected):
    assert rows("column_pair_values_a_to_be_greater_than_b", left, right, **arguments) == expected


@pytest.mark.parametrize(("left", "right"), [("a", "s"), ("zoned", "naive"), ("on", "a"), ("s", "flag")])
def test_kinds_without_an_order_between_them_are_no_verdict(left, right):
    result = run("column_pair_values_a_to_be_greater_than_b", left, right, mostly=0)

    assert not result.success
    assert "cannot be compared" in result.problem


@pytest.mark.parametrize(
    ("pairs", "arguments", "expected"),
    [
        ([[1, 1], [2, 1.5]], {}, ([2, 3, 5], 1)),
        ([[1, 1], [2, 1.5], [3, None], [None, 4], [6, INF]], {}, ([], 1)),
        ([[None, None]], {"ignore_row_if": "neither"}, ([0, 1, 2, 3, 5], 0)),
        ([["1", "1"], [True, 1.0]], {}, ([1, 2, 3, 5], 1)),
        ([], {}, ([0, 1, 2, 3, 5], 1)),
    ],
)
def test_pairs_of_a_set(pairs, arguments, expected):
    assert rows("column_pair_values_to_be_in_set", "a", "b", pairs, **arguments) == expected


def test_pairs_of_texts_and_times():
    assert rows("column_pair_values_to_be_in_set", "s", "u", [("x", "x"), ("", "")]) == ([1, 3, 4], 1)
    assert rows("column_pair_values_to_be_in_set", "on", "a", [("2024-01-01", 1)])[0] == [1, 2, 3, 4, 5]
    bad = run("column_pair_values_to_be_in_set", "a", "b", [[[1], 2]])
    assert not bad.success
    assert "what no column can hold" in bad.problem


def test_what_is_shown_of_a_pair_and_how_many_may_break_the_rule():
    result = run("column_pair_values_to_be_equal", "a", "b", mostly=0.2)

    assert result.success
    assert result.result["element_count"] == 6
    assert result.result["unexpected_percent"] == 80
    assert not run("column_pair_values_to_be_equal", "a", "b", mostly=0.21).success
    assert not run("column_pair_values_to_be_equal", "a", "nope").success


def test_words_of_pairs_and_of_records_are_not_mixed():
    with pytest.raises(ProjectError, match="one of both_values_are_missing"):
        Suite("one").expect_column_pair_values_to_be_equal("a", "b", ignore_row_if="never")
    with pytest.raises(ProjectError, match="one of all_values_are_missing"):
        Suite("one").expect_multicolumn_sum_to_equal(["a", "b"], 1, ignore_row_if="neither")


@pytest.mark.parametrize(
    ("names", "total", "arguments", "expected"),
    [
        (["a", "c"], 4, {}, ([0, 2, 3, 5], 1)),
        (["a", "c"], 4, {"ignore_row_if": "any_value_is_missing"}, ([0, 5], 3)),
        (["a", "c"], 4, {"ignore_row_if": "never"}, ([0, 2, 3, 4, 5], 0)),
        (["a", "b", "c"], 3.0, {"ignore_row_if": "any_value_is_missing"}, ([1, 5], 3)),
        (["a", "b"], INF, {"ignore_row_if": "any_value_is_missing"}, ([0, 1], 3)),
        (["a", "flag"], 2, {"ignore_row_if": "any_value_is_missing"}, ([2, 5], 2)),
    ],
)
def test_values_of_a_row_add_up(names, total, arguments, expected):
    assert rows("multicolumn_sum_to_equal", names, total, **arguments) == expected


def test_sums_do_not_overflow_and_need_numbers():
    big = pa.table({"a": pa.array([2**63 - 1], pa.int64()), "b": pa.array([1], pa.int64())})
    assert rows("multicolumn_sum_to_equal", ["a", "b"], 2**63, table=big) == ([], 0)
    assert "a sum needs numbers" in run("multicolumn_sum_to_equal", ["a", "s"], 1).problem
    assert "two columns or more" in run("multicolumn_sum_to_equal", ["a"], 1).problem


@pytest.mark.parametrize(
    ("names", "arguments", "expected"),
    [
        (["a", "c"], {}, ([2, 3], 1)),
        (["a", "c"], {"ignore_row_if": "never"}, ([2, 3], 0)),
        (["a", "b", "c"], {"ignore_row_if": "any_value_is_missing"}, ([1, 5], 3)),
        (["s", "u"], {}, ([1, 3, 4], 1)),
        (["a", "s"], {}, ([0, 1, 2, 3, 5], 1)),
    ],
)
def test_values_of_a_row_are_one_and_the_same(names, arguments, expected):
    assert rows("multicolumn_values_to_be_equal", names, **arguments) == expected


@pytest.mark.parametrize(
    ("names", "arguments", "expected"),
    [
        (["a", "b", "c"], {}, ([0, 1, 2, 3, 5], 1)),
        (["a", "b"], {}, ([0], 1)),
        (["a", "b"], {"ignore_row_if": "never"}, ([0, 4], 0)),
        (["a", "s"], {}, ([], 1)),
        (["s", "u", "a"], {"ignore_row_if": "any_value_is_missing"}, ([0, 5], 3)),
    ],
)
def test_values_of_a_row_are_all_different(names, arguments, expected):
    assert rows("select_column_values_to_be_unique_within_record", names, **arguments) == expected


def test_an_empty_batch_breaks_no_rule_on_rows():
    table = TABLE.slice(0, 0)
    for rule, arguments in (
        ("column_pair_values_to_be_equal", {"column_A": "a", "column_B": "b"}),
        ("multicolumn_values_to_be_equal", {"column_list": ["a", "b"]}),
        ("multicolumn_sum_to_equal", {"column_list": ["a", "b"], "sum_total": 1}),
    ):
        assert run(rule, table=table, **arguments).success
