"""Row conditions: every form of Great Expectations, the rows each chooses, and what is refused."""

from datetime import UTC, date, datetime

import pandas as pd
import pyarrow as pa
import pytest

from millrace.validation.describe import demand
from millrace.validation.engine import validate
from millrace.validation.suite import Expectation, Suite

TABLE = pa.table(
    {
        "x": pa.array([1, 2, 3, 4, 5, None], pa.int64()),
        "y": [1.5, float("nan"), 2.0, float("inf"), -1.0, 0.0],
        "s": ["a", "b", None, "it's", "", 'a "b"'],
        "flag": [True, False, None, True, False, True],
        "at": pa.array([datetime(2024, 1, n, tzinfo=UTC) for n in range(1, 7)], pa.timestamp("us", tz="UTC")),
        "on": [date(2024, 1, n) for n in range(1, 7)],
        "my col": [10, 20, 30, 40, 50, 60],
        "from": [0, 1, 0, 1, 0, 1],
        "row": [0, 1, 2, 3, 4, 5],
    }
)


def result_of(condition, parser="pandas", table=TABLE):
    kwargs = {"column": "row", "value_set": [-1], "row_condition": condition, "condition_parser": parser}
    rule = Expectation("expect_column_values_to_be_in_set", kwargs)
    return validate(table, Suite("one").add(rule), result_format="COMPLETE").results[0]


def chosen(condition, parser="pandas"):
    """Rows that a rule on some rows judges: it finds all of them wrong."""
    result = result_of(condition, parser)
    assert result.problem is None, result.problem
    assert result.result["element_count"] == result.result["unexpected_count"]
    return result.result.get("unexpected_list", [])


@pytest.mark.parametrize(
    ("condition", "rows"),
    [
        ("x > 2", [2, 3, 4]),
        ("x >= 2 and x < 4", [1, 2]),
        ("x > 2 & y > 0", [2, 3]),
        ("(x == 1) | (x == 5)", [0, 4]),
        ("x == 1 or x == 5 and y > 0", [0]),
        ("not x > 2", [0, 1, 5]),
        ("~(x > 2)", [0, 1, 5]),
        ("x != 2", [0, 2, 3, 4, 5]),
        ("y != 2", [0, 1, 3, 4, 5]),
        ("2 < x <= 4", [2, 3]),
        ("3 > x", [0, 1]),
        ("x in [1, 3.0, 'a']", [0, 2]),
        ("x not in (1, 3)", [1, 3, 4, 5]),
        ("x == [1, 2]", [0, 1]),
        ("x in []", []),
        ("'abc'.str.contains('(?=a)b?')", [0, 1, 2, 3, 4, 5]),
        ("'xyz'.str.contains('(?=a)b?')", []),
        ("s == 'a'", [0]),
        ('s == "it\'s"', [3]),
        ("s == 'a \"b\"'", [5]),
        ("s >= 'a' and s < 'b'", [0, 5]),
        ("s != 'a'", [1, 2, 3, 4, 5]),
        ("s == 1", []),
        ("x == 'a'", []),
        ("x != 'a'", [0, 1, 2, 3, 4, 5]),
        ("`my col` > 30", [3, 4, 5]),
        ("`from` == 1 and `my col` < 50", [1, 3]),
        ("x * 10 == `my col`", [0, 1, 2, 3, 4]),
        ("x + 1 > y * 2", [4]),
        ("-x < -3", [3, 4]),
        ("y == inf", [3]),
        ("x < y", [0, 3]),
        ("x == x", [0, 1, 2, 3, 4]),
        ("flag", [0, 3, 5]),
        ("not flag", [1, 2, 4]),
        ("flag == True", [0, 3, 5]),
        ("flag == False", [1, 4]),
        ("x.isnull()", [5]),
        ("y.notnull() and s.notna()", [0, 3, 4, 5]),
        ("x.isin([1, 2])", [0, 1]),
        ("x.between(2, 3)", [1, 2]),
        ("s.str.contains('^a')", [0, 5]),
        ("s.str.startswith('a') or s.str.endswith('s')", [0, 3, 5]),
        ("at >= '2024-01-05'", [4, 5]),
        ("at == '2024-01-05'", [4]),
        ("on in ['2024-01-01', '2024-01-03']", [0, 2]),
        ("on > '2024-01-04'", [4, 5]),
        ("1 > 0", [0, 1, 2, 3, 4, 5]),
        ("x >\n 2", [2, 3, 4]),
    ],
)
def test_queries_of_pandas(condition, rows):
    assert chosen(condition) == rows
    assert chosen(condition, None) == rows
    assert chosen({"type": "pass_through", "pass_through_filter": condition}, None) == rows


@pytest.mark.parametrize(
    ("condition", "rows"),
    [
        ('col("x") > 2', [2, 3, 4]),
        ('col("x")>=2.5', [2, 3, 4]),
        ('col("x") == -1', []),
        ('col("my col") <= 2e1', [0, 1]),
        ('col("x").notNull()', [0, 1, 2, 3, 4]),
        ('col("x").notnull() AND col("s") == "a"', [0]),
        ("col(\"s\") != 'a'", [1, 2, 3, 4, 5]),
        ('col("on") >= date("2024-01-05")', [4, 5]),
        ('col("x") > 1 AND col("y") > 0 and col("flag") == 1', [3]),
    ],
)
@pytest.mark.parametrize("parser", ["great_expectations", "great_expectations__experimental__"])
def test_clauses_of_great_expectations(condition, rows, parser):
    assert chosen(condition, parser) == rows


X, Y = {"name": "x"}, {"name": "y"}


@pytest.mark.parametrize(
    ("condition", "rows"),
    [
        ({"type": "comparison", "column": X, "operator": ">", "parameter": 2}, [2, 3, 4]),
        ({"type": "comparison", "column": X, "operator": "IN", "parameter": [1, 2]}, [0, 1]),
        ({"type": "comparison", "column": X, "operator": "NOT_IN", "parameter": [1, 2]}, [2, 3, 4, 5]),
        ({"type": "nullity", "column": X, "is_null": True}, [5]),
        ({"type": "nullity", "column": Y, "is_null": False}, [0, 2, 3, 4, 5]),
        (
            {
                "type": "and",
                "conditions": [
                    {"type": "comparison", "column": X, "operator": ">", "parameter": 2},
                    {"type": "nullity", "column": {"name": "s"}, "is_null": False},
                ],
            },
            [3, 4],
        ),
        (
            {
                "type": "or",
                "conditions": [
                    {"type": "comparison", "column": {"name": "s"}, "operator": "==", "parameter": "a"},
                    {
                        "type": "and",
                        "conditions": [
                            {"type": "comparison", "column": X, "operator": "!=", "parameter": 1},
                            {"type": "pass_through", "pass_through_filter": "`my col` > 50"},
                        ],
                    },
                ],
            },
            [0, 5],
        ),
    ],
)
def test_condition_objects(condition, rows):
    assert chosen(condition, None) == rows


@pytest.mark.parametrize(
    ("condition", "rows"),
    [
        ("x = 2", [1]),
        ("x <> 2 AND s IS NOT NULL", [0, 3, 4, 5]),
        ("x is null OR flag = TRUE", [0, 3, 5]),
        ("x BETWEEN 2 AND 3", [1, 2]),
        ("s IN ('a', 'b') and NOT x > 1", [0]),
        ("`my col` >= 50", [4, 5]),
        ("on between '2024-01-02' and '2024-01-03'", [1, 2]),
        ("s = 'x is null'", []),
        ("x == 2", [1]),
    ],
)
def test_the_simple_form_of_spark(condition, rows):
    assert chosen(condition, "spark") == rows


@pytest.mark.parametrize(
    ("condition", "parser"),
    [
        ("x.cumsum() > 3", "pandas"),
        ("x > @limit", "pandas"),
        ("at < Timestamp('2024-01-02')", "pandas"),
        ("x ** 2 > 3", "pandas"),
        ("x = 2", "pandas"),
        ("__import__('os').system('true')", "pandas"),
        ("(lambda: 1)()", "pandas"),
        ("x in y", "pandas"),
        ("x >", "pandas"),
        ("s.str.contains('(')", "pandas"),
        ("s.str.len() > 2", "pandas"),
        ("x.fillna(0) > 1", "pandas"),
        ("x == None", "pandas"),
        ("(" * 500 + "x" + ")" * 500 + " > 1", "pandas"),
        ("x" + " + 1" * 3000 + " > 2", "pandas"),
        ("not " * 3000 + "flag", "pandas"),
        ("x > 1; x > 2", "pandas"),
        ("f'{x}' == 'a'", "pandas"),
        ("`` > 1", "pandas"),
        ("x > 1", "great_expectations"),
        ('col("x") > 1 OR col("x") < 0', "great_expectations"),
        ('col("x") > 1 AND', "great_expectations"),
        ("x RLIKE 'a'", "spark"),
        ("s = 'it''s'", "spark"),
        ("x > 1", "sql"),
        ({"type": "maybe"}, None),
        ({"type": "comparison", "column": "x", "operator": ">", "parameter": 1}, None),
        ({"type": "comparison", "column": X, "operator": "LIKE", "parameter": "a"}, None),
        ({"type": "comparison", "column": X, "operator": ">", "parameter": {"a": 1}}, None),
        ({"type": "and", "conditions": []}, None),
        ([1], None),
    ],
)
def test_what_cannot_be_read_is_refused_and_never_taken_as_true(condition, parser):
    result = result_of(condition, parser)

    assert not result.success
    assert result.problem is not None


@pytest.mark.parametrize(
    ("condition", "words"),
    [
        ("z > 1", "there is no column 'z'"),
        ("s > 1", "cannot be compared with 1"),
        ("x > 'a'", "cannot be compared with 'a'"),
        ("x > s", "the column 'x' (number) cannot be compared with the column 's' (text)"),
        ("x and flag", "the column 'x' (number) is neither true nor false"),
        ("s + 1 > 2", "is no number to calculate with"),
        ("x.str.contains('a')", "is no text to search"),
        ("1 / 0 > 1", "give no number"),
    ],
)
def test_why_a_condition_cannot_be_judged(condition, words):
    assert words in result_of(condition).problem


def test_an_object_that_is_nested_without_end_is_refused():
    condition = {"type": "nullity", "column": X, "is_null": False}
    for _ in range(2000):
        condition = {"type": "and", "conditions": [condition]}

    result = result_of(condition, None)

    assert not result.success
    assert "nested too deep" in result.problem


def test_long_conditions_are_read():
    assert chosen(" or ".join(f"x == {number}" for number in range(3, 300))) == [2, 3, 4]
    assert chosen(" and ".join(["x > 2"] * 300)) == [2, 3, 4]


def test_an_empty_condition_is_none():
    assert result_of("").result["element_count"] == 6


def test_rules_of_every_sort_judge_the_chosen_rows_alone():
    condition = {"row_condition": "x > 2", "condition_parser": "pandas"}
    suite = (
        Suite("some rows")
        .expect_column_min_to_be_between("x", 3, 3, **condition)
        .expect_column_values_to_be_unique("from", **condition)
        .expect_column_unique_value_count_to_be_between("from", 2, 2, **condition)
        .expect_compound_columns_to_be_unique(["from", "flag"], **condition)
        .expect_column_pair_values_to_be_equal("x", "row", **condition)
        .expect_multicolumn_sum_to_equal(["x", "row"], 5, **condition)
        .expect_table_row_count_to_equal(3, **condition)
        .expect_column_values_to_not_be_null("s", row_condition="x > 99")
        .expect_column_min_to_be_between("x", 0, row_condition="x > 99")
        .expect_column_max_to_be_between("x", 5, 5)
    )

    results = validate(TABLE, suite).results

    assert [result.success for result in results] == [
        True, False, True, True, False, False, True, True, False, True,
    ]  # fmt: skip
    assert results[1].result["partial_unexpected_list"] == [0, 0]
    assert results[1].result["partial_unexpected_index_list"] == [2, 4]
    assert results[4].result["element_count"] == 3
    assert results[8].result["observed_value"] is None
    assert [result.problem for result in results] == [None] * 10


MIXED = pd.DataFrame(
    {
        "m": pd.Series([1, "a", None, 2.5, True, "1"], dtype=object),
        "n": [1, 2, 3, 2.5, 1, 1],
        "row": [0, 1, 2, 3, 4, 5],
    }
)


@pytest.mark.parametrize(
    ("condition", "rows"),
    [
        ("m == 1", [0, 4]),
        ("m == 'a'", [1]),
        ("m != 'a'", [0, 2, 3, 4, 5]),
        ("m in [1, 'a']", [0, 1, 4]),
        ("m == n", [0, 3, 4]),
        ("m.isnull()", [2]),
    ],
)
def test_columns_of_many_kinds_are_compared_value_by_value(condition, rows):
    assert result_of(condition, table=MIXED).result["unexpected_list"] == rows


def test_an_order_between_values_of_many_kinds_is_no_verdict():
    assert result_of("m > 1", table=MIXED).problem is not None


def test_a_condition_that_is_given_later():
    rule = Expectation(
        "expect_column_values_to_be_in_set",
        {"column": "row", "value_set": [4, 5], "row_condition": {"$PARAMETER": "which"}},
    )
    suite = Suite("one").add(rule)

    assert validate(TABLE, suite, parameters={"which": "`my col` > 40"}).success
    assert not validate(TABLE, suite, parameters={"which": "`my col` > 30"}).success
    missing = validate(TABLE, suite).results[0]
    assert "suite parameter which" in missing.problem
    assert "where [which]" in demand(rule.type, rule.kwargs)


def test_a_condition_object_of_great_expectations_is_written_as_json():
    class Condition:
        def dict(self):
            return {"type": "nullity", "column": {"name": "x"}, "is_null": True}

    suite = Suite("one").expect_column_values_to_be_in_set("row", [5], row_condition=Condition())

    assert suite.expectations[0].kwargs["row_condition"] == Condition().dict()
    assert validate(TABLE, suite).success
    assert validate(TABLE, Suite("two").add(Expectation("expect_column_values_to_be_in_set", {
        "column": "row", "value_set": [5], "row_condition": Condition()
    }))).success  # fmt: skip
