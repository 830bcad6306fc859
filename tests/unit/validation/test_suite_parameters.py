"""Suite parameters: values that are given when a batch is judged, and expressions on them."""

import json
import math
from datetime import UTC, datetime, timedelta

import pyarrow as pa
import pytest

from millrace.validation.engine import validate
from millrace.validation.parameters import NoValue, parameter_value
from millrace.validation.suite import Expectation, Suite

NOW = datetime(2024, 3, 1, 12, tzinfo=UTC)


def value(text, **parameters):
    return parameter_value({"$PARAMETER": text}, parameters, NOW)


@pytest.mark.parametrize(
    ("text", "parameters", "expected"),
    [
        ("a", {"a": [1, "x"]}, [1, "x"]),
        ("a", {"a": None}, None),
        ("a + 1", {"a": 3}, 4),
        ("a+1", {"a": "3"}, 4),
        ("2*a^2", {"a": 3}, 18),
        ("2^3^2", {}, 512),
        ("-2^2", {}, 4),
        ("2*-a", {"a": 3}, -6),
        ("1--1", {}, 2),
        ("10-3-2", {}, 5),
        ("(1+2)*3", {}, 9),
        ("1e3+1", {}, 1001),
        (".5 * 2", {}, 1),
        ("trunc(a/2)", {"a": 3}, 1),
        ("round(2.567, 1)", {}, 2.6),
        ("abs(-3)", {}, 3),
        ("sgn(a)", {"a": -2.5}, -1),
        ("sin(0) + cos(0) + tan(0) + exp(0)", {}, 2),
        ("PI * 1", {}, math.pi),
        ("e + 1", {}, math.e + 1),
        ("now()", {}, "2024-03-01T12:00:00"),
        ("now() - timedelta(days=1, hours=2)", {}, "2024-02-29T10:00:00"),
        ("datetime(2024, 1, 2)", {}, "2024-01-02T00:00:00"),
        ("datetime(year=2024, month=1, day=2) + timedelta(hours=2)", {}, "2024-01-02T02:00:00"),
        ("d - timedelta(days=n)", {"d": "2024-01-03", "n": 2}, "2024-01-01T00:00:00"),
        ("d + timedelta(1)", {"d": datetime(2024, 1, 3, tzinfo=UTC)}, "2024-01-04T00:00:00+00:00"),
        ("top-level", {"top-level": 7}, 7),
        ("urn:great_expectations:validations:a:b", {"urn:great_expectations:validations:a:b": 3}, 3),
    ],
)
def test_expressions(text, parameters, expected):
    found = value(text, **parameters)

    assert found == expected
    assert type(found) is type(expected) or isinstance(expected, (int, float))


@pytest.mark.parametrize(
    ("text", "parameters", "words"),
    [
        ("limit", {}, "there is no value for the suite parameter limit"),
        ("limt", {"limit": 1}, "did you mean 'limit'?"),
        ("a + limit", {"a": 1}, "there is no value for the suite parameter limit"),
        ("urn:great_expectations:validations:a:b", {}, "is a figure of another validation"),
        ("a / 0", {"a": 1}, "gives no value: division by zero"),
        ("a - b", {"a": 1, "b": "x"}, "which is no number and no time"),
        ("a + 1", {"a": [1]}, "with which nothing can be calculated"),
        ("a > 2", {"a": 3}, "is no name and no expression"),
        ("a.b", {}, "is no name and no expression"),
        ("7 // 2", {}, "is no expression"),
        ("(1 + 2", {}, "is no expression"),
        ("1 + 2)", {}, "is no expression"),
        ("open(1)", {}, "calls open, which is no function"),
        ("abs()", {}, "gives no value"),
        ("timedelta(weeks=1, nope=2)", {}, "gives no value"),
        ("9^9^9^9", {}, "beyond reason"),
        ("(9^999)^999", {}, "beyond reason"),
        ("a*a*a", {"a": 9**3000}, "beyond reason"),
        ("exp(1000)", {}, "gives no value"),
        ("(0-8)^0.5", {}, "no real number"),
        ("", {}, "empty name"),
        ("   ", {}, "empty name"),
        ("1+" * 600 + "1", {}, "is longer than"),
        (5, {}, "is no name"),
    ],
)
def test_what_has_no_value_says_which_and_why(text, parameters, words):
    with pytest.raises(NoValue) as caught:
        value(text, **parameters)
    assert words in str(caught.value)


def test_the_older_form_carries_its_value():
    assert parameter_value({"$PARAMETER": "a", "$PARAMETER.a": 5}, {}, NOW) == 5


TABLE = pa.table(
    {
        "age": [20, 30, 40],
        "at": pa.array([NOW - timedelta(days=n) for n in (1, 2, 3)], pa.timestamp("us", tz="UTC")),
    }
)


def test_a_suite_is_filled_when_a_batch_is_judged():
    suite = (
        Suite("people")
        .expect_column_max_to_be_between("age", max_value={"$PARAMETER": "oldest + 1"})
        .expect_column_min_to_be_between("at", min_value={"$PARAMETER": "now() - timedelta(days=3)"})
        .expect_column_values_to_be_in_set("age", {"$PARAMETER": "ages"}, mostly={"$PARAMETER": "share"})
    )
    stored = suite.to_dict()

    result = validate(TABLE, suite, parameters={"oldest": 39, "ages": [20, 30], "share": 0.6}, at=NOW)

    assert result.success
    document = result.to_json_dict()
    json.dumps(document)
    assert document["suite_parameters"] == {"oldest": 39, "ages": [20, 30], "share": 0.6}
    assert document["results"][0]["expectation_config"]["kwargs"] == {"column": "age", "max_value": 40}
    assert suite.to_dict() == stored
    assert not validate(TABLE, suite, parameters={"oldest": 38, "ages": [20, 30], "share": 0.6}, at=NOW).success


def test_a_rule_without_its_value_fails_and_names_it():
    suite = (
        Suite("people")
        .expect_column_max_to_be_between("age", max_value={"$PARAMETER": "oldest"})
        .expect_column_min_to_be_between("age", min_value=20)
    )

    result = validate(TABLE, suite, parameters={"eldest": 40})

    assert [each.success for each in result.results] == [False, True]
    assert result.results[0].problem == ("there is no value for the suite parameter oldest; did you mean 'eldest'?")
    assert result.is_blocking
    assert "oldest" in result.explain()


def test_a_suite_may_carry_values_of_its_own():
    rule = {"type": "expect_column_max_to_be_between", "kwargs": {"column": "age", "max_value": {"$PARAMETER": "top"}}}
    suite = Suite.from_dict({"name": "people", "expectations": [rule], "suite_parameters": {"top": 40}})

    assert validate(TABLE, suite).success
    assert validate(TABLE, suite).suite_parameters == {"top": 40}
    assert not validate(TABLE, suite, parameters={"top": 39}).success


def test_a_value_of_the_wrong_sort_is_a_rule_written_wrong():
    suite = Suite("people").expect_column_values_to_be_in_set("age", {"$PARAMETER": "ages"})

    result = validate(TABLE, suite, parameters={"ages": "twenty"})

    assert not result.success
    assert "value_set='twenty' is not a list of values" in result.results[0].problem


def test_windows_change_nothing_and_do_not_give_a_value():
    windows = [{"constraint_fn": "mean", "parameter_name": "low", "range": 5, "offset": {"positive": 0, "negative": 0}}]
    plain = Expectation("expect_column_min_to_be_between", {"column": "age", "min_value": 20, "windows": windows})
    asking = Expectation("expect_column_min_to_be_between", {"column": "age", "min_value": {"$PARAMETER": "low"}})

    result = validate(TABLE, Suite("people").add(plain).add(asking))

    assert [each.success for each in result.results] == [True, False]
    assert "suite parameter low" in result.results[1].problem
