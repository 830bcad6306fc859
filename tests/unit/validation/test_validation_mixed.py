"""Columns of Python values that no column type holds: judged value by value, as pandas does."""

import uuid
from datetime import UTC, datetime
from decimal import Decimal

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

from millrace.core.errors import DataError
from millrace.validation.engine import validate
from millrace.validation.scan.frames import to_table
from millrace.validation.suite import Suite

FRAME = pd.DataFrame(
    {
        "m": pd.Series([1, "1", 2.5, None, True, "ab", float("nan"), 1], dtype=object),
        "n": pd.Series([1, 2, 3, 4, 5, 6, 7, 8]),
        "t": pd.Series([True, 2, 3.5, Decimal("4"), None, 6, 7, 8], dtype=object),
    }
)


def run(rule, *values, data=FRAME, **arguments):
    suite = getattr(Suite("one"), f"expect_{rule}")(*values, **arguments)
    return validate(data, suite).results[0]


def wrong(*arguments, **named):
    result = run(*arguments, **named)
    assert result.problem is None, result.problem
    return result.result["partial_unexpected_list"]


def test_missing_values_are_those_of_pandas():
    result = run("column_values_to_not_be_null", "m")

    assert result.result["partial_unexpected_index_list"] == [3, 6]
    assert run("column_proportion_of_non_null_values_to_be_between", "m", 0.75, 0.75).success


@pytest.mark.parametrize(
    "gone", [pd.NA, pd.NaT, np.datetime64("NaT"), np.float32("nan"), Decimal("NaN"), Decimal("sNaN")]
)
def test_a_missing_value_of_any_library_is_missing_without_pandas_too(gone):
    values = [gone, 1, "a"]
    for data in ({"x": values}, pl.DataFrame({"x": pl.Series(values, dtype=pl.Object)})):
        result = run("column_values_to_not_be_null", "x", data=data).result
        assert result["partial_unexpected_index_list"] == [0]
    assert to_table({"x": values})["x"].to_pylist() == [None, "1", "a"]


def test_equal_values_are_one_value_whatever_their_type():
    repeated = run("column_values_to_be_unique", "m").result

    assert repeated["partial_unexpected_list"] == [1, True, 1]
    assert run("column_unique_value_count_to_be_between", "m", 4, 4).success  # 1, "1", 2.5, "ab"
    assert run("column_most_common_value_to_be_in_set", "m", [1]).success
    assert run("column_distinct_values_to_equal_set", "m", [1, "1", 2.5, "ab"]).success
    assert not run("column_distinct_values_to_contain_set", "m", [7]).success


def test_sets_hold_values_of_any_type():
    assert wrong("column_values_to_be_in_set", "m", [1, "ab", 2.5]) == ["1"]
    assert wrong("column_values_to_not_be_in_set", "m", ["1", 2.5]) == ["1", 2.5]


def test_texts_are_those_of_the_values():
    assert wrong("column_values_to_match_regex", "m", "^(1|True|2[.]5)$") == ["ab"]
    assert wrong("column_value_lengths_to_equal", "m", 1) == [2.5, True, "ab"]


def test_values_that_compare_are_compared_and_a_text_with_a_number_is_not():
    assert wrong("column_values_to_be_between", "t", 2, 7) == [True, 8]
    result = run("column_values_to_be_between", "m", 0, 10)
    assert (result.success, "cannot be compared with" in result.problem) == (False, True)


@pytest.mark.parametrize("rule", ["mean", "median", "stdev", "sum"])
def test_values_of_several_types_have_no_figure(rule):
    result = run(f"column_{rule}_to_be_between", "m", 0, 10)

    assert (result.success, "needs numbers" in result.problem) == (False, True)
    assert "holds bool and float and int and str such as 1" in result.problem
    assert "the column 'm' has no max" in run("column_max_to_be_between", "m", 0, 10).problem


def test_values_that_compare_have_a_least_and_a_greatest():
    assert run("column_max_to_be_between", "t", 8, 8).success
    assert run("column_min_to_be_between", "t", 1, 1).success
    assert not run("column_min_to_be_between", "t", 2).success


def test_values_of_other_types_are_what_they_are():
    ids = [uuid.UUID(int=n) for n in (1, 2, 2)]
    frame = pd.DataFrame({"id": ids})

    assert wrong("column_values_to_be_unique", "id", data=frame) == [str(ids[1])] * 2
    assert wrong("column_value_lengths_to_equal", "id", 36, data=frame) == []
    assert wrong("column_values_to_be_in_set", "id", ids[:1], data=frame) == [str(ids[1])] * 2


def test_mixed_values_stand_beside_plain_ones_and_under_a_condition():
    suite = Suite("one").expect_compound_columns_to_be_unique(["m", "n"])
    twice = pd.concat([FRAME, FRAME.iloc[:2]])
    conditioned = run("column_values_to_be_unique", "m", row_condition="n < 8", condition_parser="pandas")

    assert validate(FRAME, suite).success
    assert validate(twice, suite).results[0].result["unexpected_count"] == 4
    assert conditioned.result["partial_unexpected_list"] == [1, True]


def test_a_mapping_holds_values_of_any_type_and_equal_lengths():
    assert wrong("column_values_to_be_in_set", "m", [1], data={"m": [1, "x", None, float("nan")]}) == ["x"]
    with pytest.raises(DataError, match="VALID-05"):
        run("column_to_exist", "a", data={"a": [1], "b": [1, 2]})


@pytest.mark.parametrize(
    ("dtype", "values"),
    [
        ("Int64", [1, None, 3]),
        ("boolean", [True, None, False]),
        ("string", ["a", None, "b"]),
        ("str", ["a", None, "b"]),
        ("category", ["a", None, "b"]),
        ("datetime64[ns, Europe/Zurich]", [datetime(2024, 1, 1, tzinfo=UTC), None, datetime(2024, 1, 2, tzinfo=UTC)]),
        ("Float32", [1.5, None, 2.5]),
        ("object", [b"a", None, b"b"]),
        ("object", [datetime(2024, 1, 1, tzinfo=UTC).date(), None, datetime(2024, 1, 2, tzinfo=UTC).date()]),
    ],
)
def test_columns_of_every_pandas_type_are_read(dtype, values):
    frame = pd.DataFrame({"x": pd.Series(values, dtype=dtype)})

    assert run("column_values_to_not_be_null", "x", data=frame).result["unexpected_count"] == 1
    assert run("column_values_to_be_unique", "x", data=frame).success
    assert run("column_unique_value_count_to_be_between", "x", 2, 2, data=frame).success


def test_a_zone_of_pandas_is_kept():
    moments = pd.Series([datetime(2024, 1, 31, tzinfo=UTC)]).astype("datetime64[us, Europe/Berlin]")

    assert run("column_type_to_be", "at", "datetime64[us, Europe/Berlin]", data=pd.DataFrame({"at": moments})).success
    assert run("column_max_to_be_between", "at", "2024-01-31", "2024-01-31", data=pd.DataFrame({"at": moments})).success


def test_names_that_are_no_text_and_names_there_twice():
    frame = pd.DataFrame(np.array([[1, 2, 3], [4, 5, 6]]), columns=[7, "a", "a"])

    assert run("column_max_to_be_between", "7", 4, 4, data=frame).success
    assert run("column_max_to_be_between", "a", 0, 9, data=frame).problem == "the column 'a' is there 2 times"
    assert run("table_column_count_to_equal", 3, data=frame).success


def test_one_broken_column_spoils_no_other_rule():
    suite = (
        Suite("two")
        .expect_column_values_to_be_between("m", 0, 10)
        .expect_column_values_to_be_between("n", 0, 10)
        .expect_column_max_to_be_between("m", 0, 1)
        .expect_column_mean_to_be_between("n", 4.5, 4.5)
    )

    assert [one.success for one in validate(FRAME, suite).results] == [False, True, False, True]


def test_lists_and_objects_have_texts_and_missing_values():
    table = pa.table({"list": [[1], None, [1, 2]], "struct": [{"a": 1}, {"a": 2}, None]})
    objects = pl.DataFrame(
        {"o": pl.Series([uuid.UUID(int=1), None, uuid.UUID(int=1)], dtype=pl.Object), "n": [1, 2, 3]}
    )

    assert wrong("column_value_lengths_to_equal", "list", 3, data=table) == [[1, 2]]
    assert run("column_values_to_not_be_null", "struct", data=table).result["partial_unexpected_index_list"] == [2]
    assert len(wrong("column_values_to_be_unique", "o", data=objects)) == 2
    assert run("column_max_to_be_between", "n", 3, 3, data=objects).success


def test_bytes_that_are_no_text_have_no_length():
    result = run("column_value_lengths_to_equal", "b", 1, data={"b": [b"a", b"\xff"]})

    assert (result.success, "is no UTF-8 text" in result.problem) == (False, True)


def test_decimals_wider_than_the_engine_knows_are_read_where_they_fit():
    for value, fits in ((Decimal("1.5"), True), (Decimal(10) ** 60, False)):
        table = pa.table({"d": pa.array([value], pa.decimal256(70, 2))})
        result = run("column_max_to_be_between", "d", 0, 10**61, data=table)
        assert result.success is fits, result.problem
        assert fits or "cannot be read" in result.problem


def test_sets_that_differ_are_told_in_words():
    result = run("column_distinct_values_to_equal_set", "n", [1, 2, 3, 4, 5, 6, 9])

    assert result.observed == "2 not of the set: 7, 8; 1 not there: 9"


def test_the_most_frequent_of_several_types_are_shown_as_pandas_orders_them():
    result = validate(
        {"x": [2, "b", "a", 1]}, Suite("s").expect_column_most_common_value_to_be_in_set("x", [1, "a"], ties_okay=True)
    ).results[0]

    assert result.result["observed_value"] == [1, 2, "a", "b"]
