"""Rules that Millrace's engine does not run go through Great Expectations: a user's own classes above all."""

import gx_oracle  # noqa: F401 - imports Great Expectations without its warnings
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from great_expectations.execution_engine import PandasExecutionEngine
from great_expectations.expectations.expectation import ColumnMapExpectation
from great_expectations.expectations.metrics import ColumnMapMetricProvider, column_condition_partial

import millrace as mr
from millrace.core.errors import MissingExtra
from millrace.validation import fallback
from millrace.validation.column_type import ColumnType
from millrace.validation.engine import validate
from millrace.validation.suite import Expectation


class ColumnValuesAreEven(ColumnMapMetricProvider):
    condition_metric_name = "column_values.even_for_millrace"

    @column_condition_partial(engine=PandasExecutionEngine)
    def _pandas(cls, column, **kwargs):
        return column % 2 == 0


class ExpectColumnValuesToBeEven(ColumnMapExpectation):
    """A class as users of GX write them."""

    map_metric = "column_values.even_for_millrace"


ROWS = {"n": [2, 4, 5, None], "s": ["a", "b", "c", "d"]}
EVEN = Expectation("expect_column_values_to_be_even", {"column": "n"})


def forms(tmp_path):
    table = pa.table(ROWS)
    pq.write_table(table, tmp_path / "rows.parquet")
    pl.DataFrame(ROWS).write_csv(tmp_path / "rows.csv")
    return {
        "pandas": pd.DataFrame(ROWS),
        "polars": pl.DataFrame(ROWS),
        "lazy": pl.LazyFrame(ROWS),
        "arrow": table,
        "mapping": ROWS,
        "parquet": tmp_path / "rows.parquet",
        "csv": str(tmp_path / "rows.csv"),
    }


@pytest.mark.parametrize("form", ["pandas", "polars", "lazy", "arrow", "mapping", "parquet", "csv"])
def test_a_class_of_the_users_own_judges_rows_in_any_form(form, tmp_path):
    result = validate(forms(tmp_path)[form], mr.Suite("own").add(EVEN)).results[0]

    assert (result.success, result.problem, result.is_unsupported) == (False, None, False)
    assert result.result["unexpected_count"] == 1
    assert result.result["partial_unexpected_list"] == [5.0]
    assert result.expectation is EVEN


def test_the_others_keep_their_places_and_a_passed_rule_passes():
    even = Expectation("expect_column_values_to_be_even", {"column": "n", "mostly": 0.5})
    suite = mr.Suite("own").expect_column_to_exist("n").add(even).expect_column_values_to_be_in_set("s", ["a"])

    result = validate(ROWS, suite)

    assert [each.success for each in result.results] == [True, True, False]


def test_gx_gets_the_result_format_and_the_parameters():
    even = Expectation("expect_column_values_to_be_even", {"column": "n", "mostly": {"$PARAMETER": "share"}})
    form = {"result_format": "COMPLETE", "unexpected_index_column_names": ["s"]}

    result = validate(ROWS, mr.Suite("own").add(even), result_format=form, parameters={"share": 0.5}).results[0]

    assert result.success is True
    assert result.result["unexpected_index_list"] == [{"n": 5.0, "s": "c"}]


def test_a_rule_that_gx_cannot_judge_either_fails_with_both_reasons():
    rule = Expectation("expect_column_values_to_be_even", {"column": "s"})

    result = validate(ROWS, mr.Suite("own").add(rule)).results[0]

    assert result.success is False
    assert "unsupported" in result.problem
    assert "Great Expectations: " in result.problem


def test_one_rule_that_breaks_does_not_spoil_the_others():
    broken = Expectation("expect_column_values_to_be_even", {"column": "n", "mostly": "much"})

    result = validate(ROWS, mr.Suite("own").add(broken).add(EVEN))

    assert "Great Expectations: " in result.results[0].problem
    assert result.results[1].result["unexpected_count"] == 1


def test_a_type_that_nobody_knows_stays_unsupported_and_says_what_to_do():
    rule = Expectation("expect_column_values_to_be_odd", {"column": "n"})

    result = validate(ROWS, mr.Suite("own").add(rule)).results[0]

    assert (result.success, result.is_unsupported) == (False, True)
    assert "millrace[gx]" in result.problem
    assert "its module is imported" in result.problem


def test_a_condition_that_only_pandas_reads_goes_through_gx():
    kwargs = {
        "column": "n",
        "min_value": 3,
        "row_condition": "s.str.upper() == 'B'",
        "condition_parser": "pandas",
    }
    rule = Expectation("expect_column_values_to_be_between", kwargs)

    result = validate(ROWS, mr.Suite("own").add(rule)).results[0]

    assert (result.success, result.problem) == (True, None)
    assert result.result["element_count"] == 1


def test_without_the_extra_the_result_names_it(monkeypatch):
    def refuse(group, name):
        raise MissingExtra("great_expectations", "gx", f"'{name}' for {group}")

    monkeypatch.setattr(fallback, "load_plugin", refuse)

    result = validate(ROWS, mr.Suite("own").add(EVEN))

    assert result.success is False
    assert result.results[0].is_unsupported is True
    assert "pip install 'millrace[gx]'" in result.results[0].problem
    assert result.verdict().is_pass is False


def test_rows_that_stay_in_a_database_are_not_fetched(monkeypatch):
    class Elsewhere:
        names = ("n",)
        unsupported = frozenset()

        def type_of(self, column):
            return ColumnType("integer", "int64")

        def compute(self, scopes):
            return {where: dict.fromkeys(figures, 3) for where, figures in scopes.items()}

    monkeypatch.setattr(fallback, "load_plugin", lambda *_: pytest.fail("asked for Great Expectations"))

    result = validate(Elsewhere(), mr.Suite("own").add(EVEN)).results[0]

    assert (result.success, result.is_unsupported) == (False, True)


def test_no_context_of_the_user_is_touched():
    from great_expectations.data_context.data_context.context_factory import project_manager

    before = project_manager._ProjectManager__project
    validate(ROWS, mr.Suite("own").add(EVEN))
    assert project_manager._ProjectManager__project is before
