"""One row against a suite: verdicts, what becomes of the row, and what it says."""

import logging
import math
import subprocess
import sys
from datetime import UTC, date, datetime
from decimal import Decimal

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from millrace.core.errors import DataError
from millrace.validation.rows import checker as row_checker
from millrace.validation.rows.checker import RowChecker
from millrace.validation.suite import Expectation, Suite

GOOD = {"user_id": 1, "age": 40, "income": 5e4, "plan": "pro"}


@pytest.fixture
def people():
    return (
        Suite("people")
        .expect_column_values_to_be_of_type("age", "int")
        .expect_column_values_to_be_between("age", 18, 100)
        .expect_column_values_to_not_be_null("income", mostly=0.9)
        .expect_column_values_to_be_in_set("plan", ["free", "pro"], severity="warning")
        .expect_column_values_to_match_regex("plan", "^[a-z]+$", severity="info")
        .expect_column_values_to_be_unique("user_id")
        .expect_column_mean_to_be_between("age", 30, 50)
        .expect_table_row_count_to_be_between(min_value=10)
    )


def numbers(rules):
    return [rule.number for rule in rules]


def test_a_good_row_breaks_nothing(people):
    checker = RowChecker(people)
    for _ in range(2):
        found = checker.check(GOOD)
        assert (found.is_clean, found.is_rejected, found.is_flagged, found.findings()) == (True, False, False, [])
        assert found.row is GOOD
        assert checker.is_clean(GOOD)


def test_rules_about_a_batch_are_listed_and_not_passed_in_silence(people):
    checker = RowChecker(people)
    assert numbers(checker.rules) == [1, 2, 3, 4, 5]
    assert [(rule.number, rule.text) for rule in checker.not_judged] == [
        (6, "user_id: values that occur once"),
        (7, "age: mean between 30 and 50"),
        (8, "number of rows at least 10"),
    ]
    assert all("batch" in rule.why for rule in checker.not_judged)


def test_severity_and_mostly_say_what_becomes_of_a_row(people):
    checker = RowChecker(people)
    young = checker.check(GOOD | {"age": 17})
    assert (young.is_rejected, young.is_flagged) == (True, False)
    without_income = checker.check(GOOD | {"income": None})  # a share of them may be missing
    assert (without_income.is_rejected, without_income.is_flagged) == (False, True)
    unknown_plan = checker.check(GOOD | {"plan": "gold"})
    assert (unknown_plan.is_rejected, unknown_plan.is_flagged) == (False, True)


def test_info_is_logged_and_leaves_the_row_alone(caplog):
    checker = RowChecker(Suite("s").expect_column_values_to_match_regex("plan", "^[a-z]+$", severity="info"))
    with caplog.at_level(logging.INFO, "millrace.validation"):
        found = checker.check({"plan": "PRO"})
    assert (found.is_rejected, found.is_flagged, numbers(found.broken)) == (False, False, [1])
    assert "plan: values match ^[a-z]+$ (it is 'PRO')" in caplog.text


def test_the_flag_policy_rejects_nothing(people):
    found = RowChecker(people, policy="flag").check(GOOD | {"age": 17})
    assert (found.is_rejected, found.is_flagged) == (False, True)


def test_every_finding_at_once_with_what_where_why_and_fix(people):
    found = RowChecker(people).check({"user_id": 1, "age": 17.5, "income": None, "plan": "gold"})
    errors = found.errors("inputs[3]")
    assert [(error.code, error.where) for error in errors] == [("VALID-40", "inputs[3].age")] * 2
    assert errors[1].what == "age: values between 18 and 100; it is 17.5"
    assert errors[1].why == "rule 2 of the suite (expect_column_values_to_be_between) is critical"
    assert errors[1].fix
    facts = found.to_dict()
    assert facts["outcome"] == "rejected"
    assert [finding["number"] for finding in facts["findings"]] == [1, 2, 3, 4]
    assert facts["findings"][2]["action"] == "flag"


def test_a_missing_column_breaks_its_rules_and_the_nearest_is_named():
    found = RowChecker(Suite("s").expect_column_values_to_not_be_null("customer_id")).check({"customerId": 7})
    assert found.is_rejected
    assert "did you mean 'customerId'?" in found.findings()[0].observed


def test_nan_is_missing_and_infinity_is_a_number():
    checker = RowChecker(
        Suite("s").expect_column_values_to_be_between("x", 0, 1).expect_column_values_to_not_be_null("x")
    )
    assert numbers(checker.check({"x": math.nan}).broken) == [2]
    assert numbers(checker.check({"x": math.inf}).broken) == [1]
    assert numbers(checker.check({"x": None}).broken) == [2]


def test_a_missing_value_has_the_type_that_the_suite_asks_for():
    suite = Suite("s").expect_column_values_to_be_of_type("age", "int").expect_column_values_to_be_between("age", 0, 9)
    checker = RowChecker(suite)
    assert checker.check({"age": None}).is_clean
    assert checker.check({"age": 3}).is_clean
    assert numbers(checker.check({"age": None, "x": 1}).broken) == []


@pytest.mark.parametrize(
    ("type_name", "value", "is_kept"),
    [
        ("int32", 2**31 - 1, True),
        ("int32", 2**31, False),
        ("int64", 2**63, False),
        ("int", 2**63, True),
        ("int", 2**64, False),
        ("int", 10**400, False),
        ("float", 3, True),
        ("float", 2**53 + 1, False),
        ("float", 2**54, True),
        ("float", 10**400, False),
        ("bool", 1, False),
        ("str", "a", True),
        ("timestamp", datetime(2024, 5, 1, tzinfo=UTC), True),
        ("timestamp", date(2024, 5, 1), False),
        ("date", date(2024, 5, 1), True),
    ],
)
def test_types_are_those_that_hold_the_value_without_loss(type_name, value, is_kept):
    checker = RowChecker(Suite("s").expect_column_values_to_be_of_type("x", type_name))
    assert checker.check({"x": value}).is_clean is is_kept
    assert checker.check({"x": value}).is_clean is is_kept


@pytest.mark.parametrize("order", [(1, 2**31, -(2**31), 5), (2**31, 1, 2**31, 5), (2**63, 2**31, 2**63, 1)])
def test_a_row_does_not_decide_for_the_next(order):
    checker = RowChecker(Suite("s").expect_column_values_to_be_of_type("x", "int32"))
    for value in order:
        is_kept = -(2**31) <= value < 2**31
        assert (checker.check({"x": value}).is_clean, checker.is_clean({"x": value})) == (is_kept, is_kept)


def test_times_with_and_without_a_zone_compare():
    suite = Suite("s").expect_column_values_to_be_between("at", "2024-05-01", "2024-05-02T00:00:00+02:00")
    checker = RowChecker(suite)
    moments = [
        (datetime(2024, 5, 1, 21, 59, tzinfo=UTC), True),
        (datetime(2024, 5, 1, 22, 1, tzinfo=UTC), False),
        (datetime(2024, 5, 1, 21, 59), True),  # noqa: DTZ001  # naive is UTC
        (date(2024, 5, 1), True),
        (date(2024, 4, 30), False),
    ]
    for moment, is_kept in moments:
        assert checker.check({"at": moment}).is_clean is is_kept, moment


def test_values_of_numpy_and_pandas_are_taken_for_what_they_are():
    suite = Suite("s").expect_column_values_to_be_between("x", 0, 10).expect_column_values_to_not_be_null("x")
    checker = RowChecker(suite)
    for value in (np.int64(3), np.float32(3.5), np.float64(1), Decimal("2.5")):
        assert checker.check({"x": value}).is_clean, value
    for value in (np.float32("nan"), pd.NaT, pd.NA):
        assert numbers(checker.check({"x": value}).broken) == [2], value
    frame = pd.DataFrame({"x": [1, 11], "at": pd.to_datetime(["2024-05-01", None])})
    assert [checker.check(row).is_clean for row in frame.to_dict("records")] == [True, False]


class Odd:
    """Cannot be compared."""

    def __eq__(self, other):
        raise RuntimeError("no")

    __ne__ = __eq__
    __hash__ = None


def test_a_value_of_no_kind_breaks_the_rules_on_values():
    suite = Suite("s").expect_column_values_to_be_between("x", 0, 10).expect_column_value_lengths_to_equal("x", 0)
    checker = RowChecker(suite)
    for value in ([1], {"a": 1}, {1}, object(), b"1", "5", 1j, "\ud800", np.array([1, 2]), 2**70, Odd()):
        found = checker.check({"x": value})
        assert found.is_rejected
        assert found.findings()[0].observed


def test_rows_of_ever_new_columns_are_judged_too(monkeypatch):
    monkeypatch.setattr(row_checker, "_MOST_ROUTES", 10)
    checker = RowChecker(Suite("s").expect_column_values_to_be_between("x", 0, 1))
    for number in range(40):
        assert checker.is_clean({"x": 1, f"c{number}": None})
    assert len(checker._routes) <= 10


@pytest.mark.parametrize("other", [None, 1])
def test_nulls_and_whole_numbers_among_floats_cost_no_new_code(other):
    names = [f"c{number}" for number in range(8)]
    suite = Suite("s")
    for name in names:
        suite.expect_column_values_to_be_between(name, 0, 1)
    checker = RowChecker(suite, types=dict.fromkeys(names, pa.float64()))
    for pattern in range(2**8):
        row = {name: other if pattern >> place & 1 else 0.5 for place, name in enumerate(names)}
        assert checker.is_clean(row)
    assert len(checker._plans) == 1


def test_what_a_suite_says_is_never_code():
    name = "x'] or __import__('os') or row['x"
    suite = (
        Suite("s")
        .expect_column_values_to_be_in_set(name, ["'); raise SystemExit('"])
        .expect_column_values_to_match_regex(name, "^'\\); raise")
    )
    checker = RowChecker(suite)
    assert checker.check({name: "'); raise SystemExit('"}).is_clean
    assert checker.check({name: "other"}).is_rejected


def test_a_rule_that_cannot_run_is_never_passed():
    suite = Suite("s", [Expectation("expect_column_values_to_be_between", {"column": "x"})])
    found = RowChecker(suite).check({"x": 1})
    assert found.is_rejected
    assert "needs min_value or max_value" in found.findings()[0].observed


def test_given_types_hold_for_missing_values_and_whole_numbers():
    suite = Suite("s").expect_column_values_to_be_of_type("x", "float64")
    assert RowChecker(suite, types={"x": pa.float64()}).check({"x": None}).is_clean
    assert RowChecker(suite, types={"x": pa.int64()}).check({"x": None}).is_rejected


def test_an_unknown_policy_names_the_nearest():
    with pytest.raises(DataError) as caught:
        RowChecker(Suite("s"), policy="coerced")
    assert (caught.value.code, caught.value.fix) == ("VALID-43", "did you mean 'coerce'?")


def test_parameters_are_filled_in_anew_for_every_row(people):
    suite = Suite(
        "s", [Expectation("expect_column_values_to_be_between", {"column": "x", "max_value": {"$PARAMETER": "top"}})]
    )
    checker = RowChecker(suite, parameters={"top": 5})
    assert [checker.check({"x": value}).is_clean for value in (5, 6, 5)] == [True, False, True]
    missing = RowChecker(suite).check({"x": 5})
    assert missing.is_rejected
    assert "top" in missing.findings()[0].observed


def test_a_condition_says_which_rows_a_rule_is_about():
    suite = Suite("s").expect_column_values_to_be_between(
        "age", 18, row_condition="plan == 'pro'", condition_parser="pandas"
    )
    checker = RowChecker(suite)
    rows = [
        {"age": 17, "plan": "pro"},
        {"age": 17, "plan": "free"},
        {"age": 17, "plan": None},
        {"age": 18, "plan": "pro"},
    ]
    assert [checker.check(row).is_clean for row in rows] == [False, True, True, True]


def test_check_rows_answers_in_order(people):
    found = RowChecker(people).check_rows([GOOD, GOOD | {"age": 1}, GOOD])
    assert [result.is_rejected for result in found] == [False, True, False]


class TestCoercion:
    def test_what_is_sent_in_another_form_is_read_and_told(self, people):
        found = RowChecker(people, policy="coerce").check({"user_id": 1, "age": "25", "income": None, "plan": "pro"})
        assert found.row["age"] == 25
        assert found.coerced == {"age": "25"}
        assert numbers(found.broken) == [3]

    def test_the_row_that_was_given_is_left_as_it_is(self, people):
        row = GOOD | {"age": "25"}
        RowChecker(people, policy="coerce").check(row)
        assert row["age"] == "25"

    def test_a_coerced_value_is_judged(self, people):
        found = RowChecker(people, policy="coerce").check(GOOD | {"age": "17"})
        assert numbers(found.broken) == [2]
        assert found.is_rejected

    def test_what_has_no_equal_is_rejected_with_everything_else(self, people):
        suite = people.expect_column_values_to_be_between("income", 0, 1e6)
        found = RowChecker(suite, policy="coerce").check(GOOD | {"age": "25 years", "income": -1.0})
        errors = found.errors()
        assert [(error.code, error.where) for error in errors] == [("VALID-42", "age"), ("VALID-40", "income")]
        assert errors[0].what == "'25 years' is not a whole number such as 25, and cannot be read as one without loss"
        assert errors[0].fix == "send a whole number such as 25, or null"
        assert found.row["age"] == "25 years"
        assert found.is_rejected

    def test_bounds_that_are_numbers_ask_for_a_number(self):
        checker = RowChecker(Suite("s").expect_column_values_to_be_between("x", 0, 10), policy="coerce")
        assert [checker.check({"x": text}).row["x"] for text in ("5", "5.5", 5, 5.5)] == [5, 5.5, 5, 5.5]
        assert checker.check({"x": "five"}).is_rejected

    def test_other_policies_coerce_nothing(self, people):
        for policy in ("reject", "flag"):
            found = RowChecker(people, policy=policy).check(GOOD | {"age": "25"})
            assert (found.row["age"], found.coerced) == ("25", {})
            assert not found.is_clean


def test_a_row_is_judged_without_polars_and_pandas():
    code = (
        "import sys\n"
        "from millrace.validation.rows.checker import RowChecker\n"
        "from millrace.validation.suite import Suite\n"
        "suite = Suite('s').expect_column_values_to_be_of_type('x', 'int')\n"
        "checker = RowChecker(suite.expect_column_values_to_be_between('x', 0, 1))\n"
        "assert [len(checker.check({'x': x}).findings()) for x in (1, 2, 'a')] == [0, 1, 2]\n"
        "print(sorted({'polars', 'pandas', 'scipy', 'great_expectations'} & set(sys.modules)))"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout == "[]\n"
