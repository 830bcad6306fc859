"""Results: GX's JSON form, the verdict and its evidence, and the text for a person."""

import json
from datetime import UTC, datetime

import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

from millrace.core.clock import ManualClock
from millrace.core.errors import DataError
from millrace.store.blobs import FileBlobs
from millrace.store.ledger import Ledger
from millrace.validation.decisions import DECISIONS, judge_validation
from millrace.validation.engine import validate
from millrace.validation.quarantine import load_quarantined, quarantine
from millrace.validation.scan.frames import to_table
from millrace.validation.suite import Suite
from millrace.validation.validator import DataValidator

NOW = datetime(2024, 1, 1, tzinfo=UTC)
TABLE = pa.table({"age": [17, 40, 200], "plan": ["a", "b", "c"]})


def suite(severity="critical"):
    return (
        Suite("people")
        .expect_column_values_to_be_between("age", 18, 100, severity=severity)
        .expect_column_values_to_not_be_null("plan")
    )


def test_the_json_form_is_that_of_gx():
    assert validate(TABLE, suite("warning"), at=NOW).to_json_dict() == {
        "success": False,
        "results": [
            {
                "success": False,
                "expectation_config": {
                    "type": "expect_column_values_to_be_between",
                    "kwargs": {"column": "age", "min_value": 18, "max_value": 100},
                    "meta": {},
                    "severity": "warning",
                },
                "result": {
                    "element_count": 3,
                    "unexpected_count": 2,
                    "unexpected_percent": 2 / 3 * 100,
                    "partial_unexpected_list": [17, 200],
                    "missing_count": 0,
                    "missing_percent": 0.0,
                    "unexpected_percent_total": 2 / 3 * 100,
                    "unexpected_percent_nonmissing": 2 / 3 * 100,
                    "partial_unexpected_counts": [{"value": 17, "count": 1}, {"value": 200, "count": 1}],
                    "partial_unexpected_index_list": [0, 2],
                },
                "meta": {},
                "exception_info": {
                    "raised_exception": False,
                    "exception_traceback": None,
                    "exception_message": None,
                },
            },
            {
                "success": True,
                "expectation_config": {
                    "type": "expect_column_values_to_not_be_null",
                    "kwargs": {"column": "plan"},
                    "meta": {},
                    "severity": "critical",
                },
                "result": {
                    "element_count": 3,
                    "unexpected_count": 0,
                    "unexpected_percent": 0.0,
                    "partial_unexpected_list": [],
                    "partial_unexpected_counts": [],
                    "partial_unexpected_index_list": [],
                },
                "meta": {},
                "exception_info": {
                    "raised_exception": False,
                    "exception_traceback": None,
                    "exception_message": None,
                },
            },
        ],
        "suite_name": "people",
        "suite_parameters": {},
        "statistics": {
            "evaluated_expectations": 2,
            "successful_expectations": 1,
            "unsuccessful_expectations": 1,
            "success_percent": 50.0,
        },
        "meta": {"suite_id": None, "row_count": 3, "validation_time": "2024-01-01T00:00:00.000000Z"},
        "id": None,
    }


@pytest.mark.parametrize(("severity", "outcome"), [("critical", "fail"), ("warning", "pass"), ("info", "pass")])
def test_only_a_failed_critical_rule_blocks(severity, outcome):
    result = validate(TABLE, suite(severity))

    assert result.success is False
    assert result.verdict().outcome == outcome
    assert result.is_blocking is (outcome == "fail")
    assert "age: values between 18 and 100 (2 of 3 (66.7 %) are not: 17, 200)" in result.verdict().reason


def test_the_verdict_follows_from_its_evidence_alone():
    for table in (TABLE, TABLE.slice(1, 1), TABLE.slice(0, 0)):
        verdict = validate(table, suite()).verdict()
        evidence = json.loads(json.dumps(dict(verdict.evidence)))

        assert DECISIONS[verdict.rule](evidence).to_dict() == verdict.to_dict()


def test_no_rule_is_no_pass():
    assert validate(TABLE, Suite("none")).verdict().outcome == "inconclusive"
    assert (
        judge_validation(
            {"suite": "s", "rows": 3, "evaluated": 0, "passed": 0, "failed": [], "blocking": ["critical"]}
        ).reason
        == "the suite 's' has no rule"
    )


def test_the_explanation_shows_every_failed_rule_and_the_inverted_one():
    rules = suite().expect_column_values_to_be_null("plan", mostly=0.9, severity="info")

    assert validate(TABLE, rules).explain() == (
        "people: blocked. 1 of 3 rules failed over 3 rows: age: values between 18 and 100 "
        "(2 of 3 (66.7 %) are not: 17, 200)\n"
        "  critical  age: values between 18 and 100\n"
        "            2 of 3 (66.7 %) are not: 17, 200\n"
        "  info      plan: values missing (at least 90 % of them)\n"
        "            3 of 3 (100 %) are there: a, b, c\n"
        "  note      plan: this demands that at least 90% of the values ARE missing; if at most 10% may be missing, "
        "write expect_column_values_to_not_be_null(column='plan', mostly=0.9)"
    )
    meta = validate(TABLE, rules).to_json_dict()["results"][2]["meta"]
    assert "expect_column_values_to_not_be_null" in meta["suggestion"]


def test_the_inverted_rule_is_flagged_even_where_it_holds():
    rules = Suite("one").expect_column_values_to_be_null("income", mostly=0.9)
    result = validate(pa.table({"income": pa.nulls(10, pa.float64())}), rules)

    assert result.success is True
    assert "ARE missing" in result.explain()


@pytest.mark.parametrize("kind", ["pandas", "polars", "lazy", "arrow", "batch", "mapping"])
def test_the_validator_takes_any_frame(kind):
    frames = {
        "pandas": TABLE.to_pandas(),
        "polars": pl.DataFrame(TABLE),
        "lazy": pl.DataFrame(TABLE).lazy(),
        "arrow": TABLE,
        "batch": TABLE.to_batches()[0],
        "mapping": TABLE.to_pydict(),
    }
    found = DataValidator(suite()).validate_data(frames[kind])

    assert (found["success"], found["total_expectations"], found["failed_count"]) == (False, 2, 1)
    assert found["failed_expectations"][0]["expectation_config"]["type"] == "expect_column_values_to_be_between"
    assert found["failed_expectations"][0]["result"]["partial_unexpected_list"] == [17, 200]


def test_a_pandas_column_of_mixed_types_fails_and_does_not_crash():
    frame = pd.DataFrame({"age": [30, "25 years", None, float("nan")], "x": [1.5, None, 2.5, 3.5]})
    rules = Suite("one").expect_column_values_to_be_of_type("age", "int")

    result = DataValidator(rules).validate(frame)

    assert result.results[0].observed == "it is int and str; 1 values are not numbers: '25 years'"
    assert to_table(frame).to_pydict() == {"age": ["30", "25 years", None, None], "x": [1.5, None, 2.5, 3.5]}


def test_what_is_no_table_is_refused():
    with pytest.raises(DataError, match="VALID-05"):
        to_table([1, 2])


def test_serving_data_need_not_carry_the_label():
    rules = (
        Suite("people")
        .expect_table_columns_to_match_ordered_list(["age", "target"])
        .expect_column_values_to_not_be_null("target")
        .expect_column_values_to_be_between("age", 18, 100)
    )
    validator = DataValidator(rules, label="target")

    assert validator.validate_training_data({"age": [40], "target": [1]}) is True
    assert validator.validate_training_data({"age": [40]}) is False
    assert validator.validate_serving_data({"age": [40]}) is True
    assert validator.validate_serving_data({"age": [40], "target": [None]}) is True
    assert validator.validate_serving_data({"age": [17]}) is False
    assert "17" in validator.last_result.explain()


def test_a_validator_is_made_from_a_file_or_a_mapping(tmp_path):
    suite().save(tmp_path / "people.json")

    assert DataValidator(tmp_path / "people.json").suite == suite()
    assert DataValidator(suite().to_dict()).suite == suite()


def test_a_refused_batch_is_kept_once_with_its_report(tmp_path):
    blobs = FileBlobs(tmp_path / "blobs")
    clock = ManualClock(NOW)
    ledger = Ledger.open(f"sqlite:///{tmp_path}/ledger.db", clock)
    result = validate(TABLE, suite())

    event = quarantine(TABLE, result, source="people", blobs=blobs, ledger=ledger, clock=clock)
    clock.sleep(60)
    again = quarantine(TABLE, result, source="people", blobs=blobs, ledger=ledger, clock=clock)
    other = quarantine(TABLE.slice(0, 1), result, source="people", blobs=blobs, ledger=ledger, clock=clock)

    assert (event.is_new, again.is_new, other.is_new) == (True, False, True)
    assert again.body == event.body
    assert event.body["reason"] == result.verdict().reason
    assert event.body["rows"] == 3
    assert load_quarantined(event, blobs).equals(TABLE)
    report = json.loads(blobs.get(event.body["report"]))
    assert report["quarantined_at"] == "2024-01-01T00:00:00.000000Z"
    assert report["statistics"] == result.statistics
    ledger.close()


def test_a_batch_with_a_column_twice_can_be_kept(tmp_path):
    table = TABLE.append_column("age", TABLE.column("age"))
    blobs = FileBlobs(tmp_path / "blobs")
    ledger = Ledger.open(f"sqlite:///{tmp_path}/ledger.db", ManualClock(NOW))

    event = quarantine(table, validate(table, suite()), source="p", blobs=blobs, ledger=ledger, clock=ManualClock(NOW))

    assert load_quarantined(event, blobs).column_names == ["age", "plan", "age"]
    ledger.close()


def test_a_whole_number_is_told_to_its_last_digit_and_a_very_long_one_in_part():
    long = 2**63 + 1
    found = validate(
        {"key": pl.Series([long, long, long + 1], dtype=pl.UInt64)},
        Suite("keys")
        .expect_column_values_to_be_unique("key")
        .expect_column_values_to_be_between("key", 2**63 + 5, None)
        .expect_column_values_to_be_between("key", 10**400, None),
    )

    told = found.verdict().reason + found.explain()
    assert "9,223,372,036,854,775,809" in found.results[0].observed
    assert "at least 9,223,372,036,854,775,813" in told
    assert f"at least {10**400:,}"[:60] in told
    assert f"{10**400:,}" not in told


@pytest.mark.parametrize("broken", [[3, 5], [3, 19_999], [16_383, 16_384], [*range(25)], [19_990]], ids=str)
@pytest.mark.parametrize("form", ["SUMMARY", "COMPLETE"])
@pytest.mark.parametrize("kind", ["values", "nulls", "keys"])
def test_examples_are_the_first_rows_that_break_a_rule_wherever_they_are(broken, form, kind):
    values = [0 if kind == "values" else n for n in range(20_000)]
    for place in broken:
        values[place] = {"values": 7, "nulls": None, "keys": 0 if 0 not in broken else 1}[kind]
    rule = {
        "values": Suite("s").expect_column_values_to_be_in_set("x", [0]),
        "nulls": Suite("s").expect_column_values_to_not_be_null("x"),
        "keys": Suite("s").expect_column_values_to_be_unique("x"),
    }[kind]
    expected = broken if kind != "keys" else sorted({*broken, 0 if 0 not in broken else 1})

    result = validate({"x": values}, rule, result_format=form).results[0].result

    assert result["unexpected_count"] == len(expected)
    assert result["partial_unexpected_index_list"] == expected[:20]
    assert result["partial_unexpected_list"] == [values[place] for place in expected[:20]]
    assert result["partial_unexpected_counts"] == [{"value": values[expected[0]], "count": len(expected)}]
