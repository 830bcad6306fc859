"""Every expectation: what passes, what fails, and what is reported, as Great Expectations does."""

import json
import math
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
        "id": pa.array([1, 2, 2, None], pa.int32()),
        "x": [1.0, 2.0, NAN, 4.0],
        "s": ["a1", "b2", "b2", None],
        "b": [True, False, True, True],
        "at": pa.array([datetime(2024, 1, n, tzinfo=UTC) for n in (1, 2, 3, 4)], pa.timestamp("us", tz="UTC")),
        "on": [date(2024, 1, n) for n in (1, 2, 3, 4)],
        "price": [Decimal("1.50"), Decimal("2.50"), None, Decimal("9.00")],
        "none": pa.nulls(4),
        "code": pa.array(["x", "y", "x", "x"]).dictionary_encode(),
        "big": pa.array([2**62, 2**62, 2**62, 1], pa.int64()),
        "items": [[1], [2], [3], [4]],
    }
)


def run(rule, *values, table=TABLE, **arguments):
    suite = getattr(Suite("one"), f"expect_{rule}")(*values, **arguments)
    result = validate(table, suite)
    json.dumps(result.to_json_dict(), allow_nan=False)
    json.dumps(result.evidence(), allow_nan=False)
    return result.results[0]


COLUMNS = TABLE.column_names


@pytest.mark.parametrize(
    ("success", "rule", "values", "arguments"),
    [
        (True, "table_columns_to_match_ordered_list", (COLUMNS,), {}),
        (False, "table_columns_to_match_ordered_list", (COLUMNS[::-1],), {}),
        (False, "table_columns_to_match_ordered_list", (COLUMNS[:-1],), {}),
        (True, "table_columns_to_match_set", (COLUMNS[::-1],), {}),
        (False, "table_columns_to_match_set", (COLUMNS[:-1],), {}),
        (True, "table_columns_to_match_set", (COLUMNS[:-1],), {"exact_match": False}),
        (False, "table_columns_to_match_set", ([*COLUMNS, "z"],), {"exact_match": False}),
        (True, "table_row_count_to_be_between", (4, 4), {}),
        (False, "table_row_count_to_be_between", (), {"min_value": 4, "strict_min": True}),
        (False, "table_row_count_to_be_between", (), {"max_value": 3}),
        (True, "table_row_count_to_equal", (4,), {}),
        (False, "table_row_count_to_equal", (5,), {}),
        (True, "table_column_count_to_equal", (11,), {}),
        (False, "table_column_count_to_equal", (3,), {}),
        (True, "column_to_exist", ("s",), {}),
        (True, "column_to_exist", ("s", 2), {}),
        (False, "column_to_exist", ("s", 1), {}),
        (False, "column_to_exist", ("z",), {}),
        (True, "column_values_to_be_between", ("id", 1, 2), {}),
        (False, "column_values_to_be_between", ("id", 1, 2), {"strict_max": True}),
        (False, "column_values_to_be_between", ("id", 1, 2), {"strict_min": True}),
        (True, "column_values_to_be_between", ("x",), {"max_value": 4.0}),
        (True, "column_values_to_be_between", ("x", 1.5), {"mostly": 0.66}),
        (False, "column_values_to_be_between", ("x", 1.5), {"mostly": 0.67}),
        (True, "column_values_to_be_between", ("at", "2024-01-01", "2024-01-04T00:00:00Z"), {}),
        (False, "column_values_to_be_between", ("at", "2024-01-01T00:00:00+01:00", "2024-01-03"), {}),
        (True, "column_values_to_be_between", ("on", date(2024, 1, 1), "2024-01-04"), {}),
        (False, "column_values_to_be_between", ("on", "2024-01-01T12:00:00"), {}),
        (True, "column_values_to_be_between", ("price", 1.5, 9), {}),
        (True, "column_values_to_be_between", ("s", "a", "c"), {}),
        (False, "column_values_to_be_between", ("s", "b"), {}),
        (True, "column_values_to_be_between", ("big", 1, 2**70), {}),
        (True, "column_values_to_not_be_null", ("b",), {}),
        (False, "column_values_to_not_be_null", ("x",), {}),
        (True, "column_values_to_not_be_null", ("x", 0.75), {}),
        (False, "column_values_to_not_be_null", ("x", 0.76), {}),
        (True, "column_values_to_be_null", ("none",), {}),
        (False, "column_values_to_be_null", ("x",), {"mostly": 0.9}),
        (True, "column_values_to_be_null", ("x",), {"mostly": 0.25}),
        (False, "column_values_to_be_unique", ("id",), {}),
        (True, "column_values_to_be_unique", ("x",), {}),
        (True, "column_values_to_be_unique", ("id",), {"mostly": 0.33}),
        (True, "column_values_to_be_in_set", ("id", [1, 2.0, "2"]), {}),
        (False, "column_values_to_be_in_set", ("id", ["1", "2"]), {}),
        (False, "column_values_to_be_in_set", ("id", []), {}),
        (True, "column_values_to_be_in_set", ("x", [1, 2, 4]), {}),
        (True, "column_values_to_be_in_set", ("s", ["a1", "b2", 3]), {}),
        (True, "column_values_to_be_in_set", ("code", ["x", "y"]), {}),
        (True, "column_values_to_be_in_set", ("b", [True, False]), {}),
        (True, "column_values_to_be_in_set", ("on", [f"2024-01-0{n}" for n in range(1, 5)]), {}),
        (False, "column_values_to_be_in_set", ("at", ["2024-01-01"]), {}),
        (False, "column_values_to_not_be_in_set", ("s", ["b2"]), {}),
        (True, "column_values_to_not_be_in_set", ("s", ["zz"]), {}),
        (True, "column_values_to_match_regex", ("s", r"^[ab]\d$"), {}),
        (False, "column_values_to_match_regex", ("s", "1"), {}),
        (True, "column_values_to_match_regex", ("id", "^[12]$"), {}),
        (True, "column_min_to_be_between", ("x", 1, 1), {}),
        (True, "column_min_to_be_between", ("at", "2024-01-01", "2024-01-01"), {}),
        (False, "column_min_to_be_between", ("s", "b"), {}),
        (True, "column_max_to_be_between", ("price", 9, 9), {}),
        (False, "column_max_to_be_between", ("id", 2, 3), {"strict_min": True}),
        (True, "column_median_to_be_between", ("price", 2.5, 2.5), {}),
        (True, "column_sum_to_be_between", ("big", 3 * 2**62 + 1, 3 * 2**62 + 1), {}),
        (True, "column_mean_to_be_between", ("b", 0.75, 0.75), {}),
        (True, "column_unique_value_count_to_be_between", ("id", 2, 2), {}),
        (True, "column_unique_value_count_to_be_between", ("x", 3, 3), {}),
        (True, "column_proportion_of_non_null_values_to_be_between", ("x", 0.75, 0.75), {}),
        (False, "column_proportion_of_non_null_values_to_be_between", ("none", 0.1), {}),
        (True, "compound_columns_to_be_unique", (["id", "x"],), {}),
        (False, "compound_columns_to_be_unique", (["id", "s"],), {}),
        (True, "compound_columns_to_be_unique", (["items", "b"],), {}),
    ],
)
def test_rule(success, rule, values, arguments):
    result = run(rule, *values, **arguments)

    assert result.problem is None
    assert result.success is success


@pytest.mark.parametrize(
    ("column", "passing", "failing"),
    [
        ("id", ["int", "int32", "Int32", "INTEGER", "int64|int32"], ["float", "str", "int64", "BIGINT", "bool"]),
        ("x", ["float", "float64", "DOUBLE", "DOUBLE_PRECISION"], ["int", "float32", "str"]),
        ("s", ["str", "string", "object", "VARCHAR(20)", "TEXT"], ["int", "bool"]),
        ("b", ["bool", "BOOLEAN"], ["int"]),
        ("at", ["datetime64[ns]", "TIMESTAMP", "datetime"], ["date", "str"]),
        ("on", ["DATE"], ["TIMESTAMP"]),
        ("price", ["DECIMAL(10, 2)", "NUMERIC"], ["float"]),
        ("code", ["str", "category"], ["int"]),
        ("big", ["int64", "BIGINT", "int"], ["SMALLINT"]),
        ("none", [], ["int", "float", "str"]),
    ],
)
def test_types_are_those_of_the_schema(column, passing, failing):
    for name in passing:
        assert run("column_values_to_be_in_type_list", column, name.split("|")).success, name
    for name in failing:
        assert not run("column_values_to_be_of_type", column, name).success, name


@pytest.mark.parametrize(
    ("column", "passing", "failing"),
    [
        ("id", ["int32", "INT32"], ["int", "int64", "float", "INTEGER"]),
        ("big", ["int", "int64", "INTEGER", "BIGINT"], ["int32", "uint64"]),
        ("x", ["float", "float64", "double"], ["float32", "int"]),
        ("s", ["str", "string", "object", "TEXT"], ["int", "category"]),
        ("code", ["category", "str"], ["int"]),
        (
            "at",
            ["datetime64[us, UTC]", "timestamp[us, tz=UTC]", "TIMESTAMP"],
            ["datetime64[us]", "datetime64[ns, UTC]", "datetime64"],
        ),
        ("on", ["date"], ["datetime64"]),
    ],
)
def test_one_type_is_meant_with_its_width_unit_and_zone(column, passing, failing):
    for name in passing:
        assert run("column_type_to_be", column, name).success, name
    for name in failing:
        assert not run("column_type_to_be", column, name).success, name
    assert "is no type name" in run("column_type_to_be", column, "nonsense").problem


def test_an_unknown_type_name_is_named():
    result = run("column_values_to_be_of_type", "id", "intt64")

    assert (result.success, result.problem) == (False, "'intt64' is no type name: did you mean 'int64'?")


def test_a_range_result_has_the_form_of_gx():
    table = pa.table({"x": [5.0, None, 7.0, 7.0, -1.0, NAN]})

    assert run("column_values_to_be_between", "x", 0, 6, table=table).result == {
        "element_count": 6,
        "unexpected_count": 3,
        "unexpected_percent": 75.0,
        "partial_unexpected_list": [7.0, 7.0, -1.0],
        "missing_count": 2,
        "missing_percent": 2 / 6 * 100,
        "unexpected_percent_total": 50.0,
        "unexpected_percent_nonmissing": 75.0,
        "partial_unexpected_counts": [{"value": 7.0, "count": 2}, {"value": -1.0, "count": 1}],
        "partial_unexpected_index_list": [2, 3, 4],
    }


def test_a_null_result_has_no_missing_counts():
    result = run("column_values_to_not_be_null", "x").result

    assert set(result) == {
        "element_count",
        "unexpected_count",
        "unexpected_percent",
        "partial_unexpected_list",
        "partial_unexpected_counts",
        "partial_unexpected_index_list",
    }
    assert (result["unexpected_count"], result["partial_unexpected_index_list"]) == (1, [2])


def test_result_formats_differ_in_detail_and_not_in_success():
    table = pa.table({"x": list(range(50))})
    suite = Suite("one").expect_column_values_to_be_between("x", 0, 9)
    found = {
        name: validate(table, suite, result_format=name).results[0]
        for name in ("BOOLEAN_ONLY", "BASIC", "SUMMARY", "COMPLETE")
    }

    assert {result.success for result in found.values()} == {False}
    assert found["BOOLEAN_ONLY"].result == {}
    assert found["BASIC"].result["partial_unexpected_list"] == list(range(10, 30))
    assert "partial_unexpected_index_list" not in found["BASIC"].result
    assert len(found["SUMMARY"].result["partial_unexpected_counts"]) == 20
    assert found["COMPLETE"].result["unexpected_list"] == list(range(10, 50))
    assert found["COMPLETE"].result["unexpected_index_list"] == list(range(10, 50))


def test_figures_equal_those_of_pandas():
    frame = TABLE.select(["x"]).to_pandas()
    for name, expected in (("mean", frame.x.mean()), ("median", frame.x.median()), ("stdev", frame.x.std(ddof=1))):
        observed = run(f"column_{name}_to_be_between", "x", 0, 100).result["observed_value"]
        assert math.isclose(observed, expected, rel_tol=1e-12), name


@pytest.mark.parametrize("name", ["min", "max", "mean", "median", "stdev", "sum"])
def test_over_no_value_there_is_no_figure(name):
    result = run(f"column_{name}_to_be_between", "none", -1e9, 1e9)

    assert (result.success, result.result) == (False, {"observed_value": None})


def test_one_value_has_no_standard_deviation():
    assert run("column_stdev_to_be_between", "x", 0, table=pa.table({"x": [3.0]})).success is False


def test_infinities_break_a_range_and_stay_json():
    table = pa.table({"x": [1.0, INF, -INF]})

    assert run("column_values_to_be_between", "x", 0, 9, table=table).result["partial_unexpected_list"] == [
        "Infinity",
        "-Infinity",
    ]
    assert run("column_mean_to_be_between", "x", 0, table=table).result == {"observed_value": None}
    assert run("column_values_to_be_between", "x", 0, INF, table=table).success is False


@pytest.mark.parametrize(
    ("policy", "unexpected"), [("all_values_are_missing", 4), ("any_value_is_missing", 2), ("never", 6)]
)
def test_rows_with_missing_keys_count_as_the_rule_says(policy, unexpected):
    table = pa.table({"a": [1, 1, 2, 2, None, None], "b": [1, 1, None, None, None, None]})

    result = run("compound_columns_to_be_unique", ["a", "b"], table=table, ignore_row_if=policy)

    assert result.result["unexpected_count"] == unexpected
    assert result.result["partial_unexpected_list"][0] == {"a": 1, "b": 1}


def test_names_that_mean_something_to_the_engine_are_plain_names():
    table = pa.table({"*": [1, 2], "^.*$": [3, 4], "": [5, 6], "row": [7, 8], "value": [9, 9]})

    for column, low in (("*", 1), ("^.*$", 3), ("", 5), ("row", 7)):
        assert run("column_min_to_be_between", column, low, low, table=table).success
        assert run("column_values_to_be_between", column, low + 1, table=table).result[
            "partial_unexpected_index_list"
        ] == [0]
    assert not run("compound_columns_to_be_unique", ["value"], table=table).success


@pytest.mark.parametrize(
    ("rule", "values", "words"),
    [
        ("table_row_count_to_be_between", ("a",), "a count of rows cannot be compared"),
        ("column_unique_value_count_to_be_between", ("id", "a"), "a number of values cannot be compared with 'a'"),
        ("column_proportion_of_non_null_values_to_be_between", ("none", "a"), "a share of values cannot be compared"),
        ("column_values_to_be_between", ("id", "a"), "the column 'id' holds int32 such as 1"),
        ("column_values_to_be_between", ("items", 1), "the column 'items' holds list"),
        ("column_min_to_be_between", ("at", 1), "the column 'at' holds timestamp[us, tz=UTC] such as 2024-01-01"),
        ("column_values_to_be_in_set", ("items", [1]), "whose values a set cannot hold"),
    ],
)
def test_what_cannot_be_compared_fails_with_the_reason(rule, values, words):
    result = run(rule, *values)

    assert result.success is False
    assert words in result.problem
    assert result.is_unsupported is False


def test_a_bound_that_is_no_number_is_no_bound():
    with pytest.raises(ProjectError, match="max_value=nan is not a bound"):
        Suite("one").expect_column_values_to_be_between("x", max_value=NAN)


def test_text_bounds_over_a_column_without_values_find_nothing_to_object_to():
    assert run("column_values_to_be_between", "none", "2024-01-01").problem is None
