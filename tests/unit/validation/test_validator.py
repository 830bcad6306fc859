"""DataValidator takes whatever validate takes."""

from datetime import UTC, date, datetime

import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import millrace as mr
from millrace.core.errors import DataError

ROWS = {"age": [20, 40, 60], "late": [0, 1, 0]}


@pytest.fixture
def validator():
    suite = mr.Suite("people").expect_table_columns_to_match_ordered_list(["age", "late"])
    suite.expect_column_values_to_be_between("age", 18, {"$PARAMETER": "oldest"})
    suite.expect_column_values_to_be_in_set("late", [0, 1])
    return mr.DataValidator(suite, label="late")


def forms(tmp_path):
    table = pa.table(ROWS)
    pq.write_table(table, tmp_path / "rows.parquet")
    (tmp_path / "rows.csv").write_text("age,late\n20,0\n40,1\n60,0\n")
    return {
        "mapping": ROWS,
        "arrow": table,
        "batch": table.to_batches()[0],
        "pandas": pd.DataFrame(ROWS),
        "polars": pl.DataFrame(ROWS),
        "lazy": pl.LazyFrame(ROWS),
        "parquet": tmp_path / "rows.parquet",
        "text of a path": str(tmp_path / "rows.csv"),
    }


@pytest.mark.parametrize("form", ["mapping", "arrow", "batch", "pandas", "polars", "lazy", "parquet", "text of a path"])
def test_every_form_of_rows_is_judged_alike(validator, tmp_path, form):
    data = forms(tmp_path)[form]

    assert validator.validate_data(data, parameters={"oldest": 60})["success"] is True
    young = validator.validate_data(data, parameters={"oldest": 50})
    assert (young["total_expectations"], young["failed_count"]) == (3, 1)
    assert validator.validate_training_data(data, parameters={"oldest": 60}) is True
    assert validator.validate_training_data(data) is False
    assert "no value for the suite parameter" in validator.last_result.explain()
    assert validator.validate_serving_data(data, parameters={"oldest": 60}) is True


def test_data_to_serve_need_not_carry_the_label_and_may(validator):
    without = {"age": [20, 40]}

    assert validator.validate_serving_data(without, parameters={"oldest": 60}) is True
    assert validator.validate_training_data(without, parameters={"oldest": 60}) is False
    assert validator.validate_serving_data({**without, "late": [7, 7]}, parameters={"oldest": 60}) is True
    assert validator.validate_serving_data({"late": [0], "age": [20]}, parameters={"oldest": 60}) is False
    assert validator.validate_serving_data({"age": [17]}, parameters={"oldest": 60}) is False


def test_what_is_no_table_is_refused(validator):
    with pytest.raises(DataError) as error:
        validator.validate_serving_data(7)

    assert error.value.code == "VALID-05"


@pytest.mark.parametrize(
    "row", [{"age": "abc"}, {"age": 7}, {"age": b"ab"}, {"age": [7, 8], "late": "01"}, {"age": {}}]
)
def test_one_row_is_no_table(validator, row):
    with pytest.raises(DataError, match="not a list of values") as error:
        validator.validate_data(row)

    assert (error.value.code, "RowChecker" in error.value.fix) == ("VALID-05", True)


@pytest.mark.parametrize(
    "at", [datetime(2024, 5, 1, tzinfo=UTC), "2024-05-01", "2024-05-01T02:00:00+02:00", date(2024, 5, 1)]
)
def test_the_time_may_be_text(at):
    now = {"$PARAMETER": "now() - timedelta(days=1)"}
    suite = mr.Suite("s").expect_column_values_to_be_between("day", now)

    result = mr.DataValidator(suite).validate({"day": [datetime(2024, 4, 30, tzinfo=UTC)]}, at=at)

    assert (result.success, result.validated_at) == (True, "2024-05-01T00:00:00.000000Z")


@pytest.mark.parametrize(
    ("options", "code", "words"),
    [
        ({"at": "soon"}, "VALID-70", "at='soon' is no time"),
        ({"at": 5}, "VALID-70", "at=5 is no time"),
        ({"parameters": [1]}, "VALID-71", "parameters is a list, not a mapping"),
        ({"parameters": "oldest"}, "VALID-71", "parameters is a str, not a mapping"),
        ({"tables": [ROWS]}, "VALID-71", "tables is a list, not a mapping"),
    ],
)
def test_options_of_another_kind_are_refused_by_name(validator, options, code, words):
    with pytest.raises(DataError, match=words) as error:
        validator.validate_data(ROWS, **options)

    assert error.value.code == code


def test_a_suite_without_rules_is_no_success():
    result = mr.DataValidator(mr.Suite("none")).validate_data({"age": [17, 40]})

    assert result == {"success": False, "total_expectations": 0, "failed_count": 0, "failed_expectations": []}


@pytest.mark.parametrize("suite", [3, None, [{"type": "expect_column_to_exist"}]])
def test_what_is_no_suite_is_refused(suite):
    with pytest.raises(DataError, match="is not a suite"):
        mr.DataValidator(suite)
