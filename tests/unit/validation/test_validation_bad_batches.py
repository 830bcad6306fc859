"""Batches that went wrong on their way: each is refused with a text that says how, and none is a crash."""

import pyarrow as pa
import pytest

from millrace.core.errors import DataError
from millrace.data.csv_file import read_csv
from millrace.validation import engine
from millrace.validation.check import Check
from millrace.validation.engine import validate
from millrace.validation.suite import Expectation, Suite

ROWS = 200


@pytest.fixture
def suite():
    return (
        Suite("people")
        .expect_table_columns_to_match_ordered_list(["user_id", "age", "income", "target"])
        .expect_column_values_to_be_of_type("user_id", "int")
        .expect_column_values_to_be_of_type("age", "int")
        .expect_column_values_to_be_of_type("income", "float")
        .expect_column_values_to_be_between("age", min_value=18, max_value=100)
        .expect_column_values_to_be_between("income", min_value=0, max_value=500_000)
        .expect_column_values_to_not_be_null("user_id")
        .expect_column_values_to_not_be_null("income", mostly=0.9)
        .expect_column_values_to_be_unique("user_id")
        .expect_column_values_to_be_in_set("target", [0, 1])
        .expect_column_mean_to_be_between("age", min_value=25, max_value=65)
        .expect_column_stdev_to_be_between("age", min_value=5, max_value=30)
    )


@pytest.fixture
def people():
    return pa.table(
        {
            "user_id": list(range(ROWS)),
            "age": [18 + n % 60 for n in range(ROWS)],
            "income": [20_000.5 + 100 * n for n in range(ROWS)],
            "target": [n % 2 for n in range(ROWS)],
        }
    )


def with_column(table, name, values):
    return table.set_column(table.column_names.index(name), name, pa.array(values))


def failed(table, suite):
    result = validate(table, suite)
    assert result.is_blocking is (not result.success)
    return {(r.expectation.type.removeprefix("expect_"), r.expectation.column): r.observed for r in result.failed}


def test_a_good_batch_passes(people, suite):
    assert failed(people, suite) == {}
    assert validate(people, suite).verdict().reason == "all 12 rules hold over 200 rows"


def test_a_renamed_column_fails_its_rules_with_the_nearest_name(people, suite):
    found = failed(people.rename_columns(["userid", "age", "income", "target"]), suite)

    assert found == {
        ("table_columns_to_match_ordered_list", None): (
            "missing: user_id; not expected: userid; column 1 is userid, expected user_id"
        ),
        **dict.fromkeys(
            [
                ("column_values_to_be_of_type", "user_id"),
                ("column_values_to_not_be_null", "user_id"),
                ("column_values_to_be_unique", "user_id"),
            ],
            "there is no column 'user_id': did you mean 'userid'?",
        ),
    }


def test_text_in_a_column_of_whole_numbers_is_named(people, suite):
    ages = ["25 years", *[str(30 + n % 9) for n in range(ROWS - 1)]]

    found = failed(with_column(people, "age", ages), suite)

    assert found == {
        ("column_values_to_be_of_type", "age"): "it is string; 1 values are not numbers: '25 years'",
        ("column_values_to_be_between", "age"): (
            "the column 'age' holds string such as '25 years', which cannot be compared with 18"
        ),
        ("column_mean_to_be_between", "age"): "the column 'age' holds string such as '25 years': a mean needs numbers",
        ("column_stdev_to_be_between", "age"): (
            "the column 'age' holds string such as '25 years': a stdev needs numbers"
        ),
    }


def test_missing_values_beyond_their_share_are_counted(people, suite):
    incomes = [None if n < 160 else 1.0 for n in range(ROWS)]

    found = failed(with_column(people, "income", incomes), suite)

    assert found == {("column_values_to_not_be_null", "income"): "160 of 200 (80 %) are missing"}


def test_impossible_prices_are_shown(people, suite):
    incomes = [999_999_999.0 if n == 7 else 1.5 for n in range(ROWS)]

    found = failed(with_column(people, "income", incomes), suite)

    assert found == {("column_values_to_be_between", "income"): "1 of 200 (0.5 %) are not: 999,999,999"}


def test_a_well_formed_csv_with_shifted_columns_is_refused(people, suite, tmp_path):
    # Every line lost its first value and gained one at the end: the reader has nothing to object to.
    lines = ["user_id,age,income,target"]
    lines += [f"{r['age']},{r['income']},{r['target']},0" for r in people.to_pylist()]
    file = tmp_path / "people.csv"
    file.write_text("\n".join(lines) + "\n")

    found = failed(read_csv(file), suite)

    assert set(found) == {
        ("column_values_to_be_unique", "user_id"),
        ("column_values_to_be_of_type", "age"),
        ("column_values_to_be_of_type", "income"),
        ("column_values_to_be_between", "age"),
        ("column_mean_to_be_between", "age"),
        ("column_stdev_to_be_between", "age"),
    }


@pytest.mark.parametrize(
    "make",
    [lambda people: people.slice(0, 0), lambda people: pa.table({name: pa.nulls(0) for name in people.column_names})],
)
def test_an_empty_batch_is_refused_even_without_a_rule_on_rows(people, suite, make):
    result = validate(make(people), suite)

    assert result.success is False
    assert result.verdict().outcome == "fail"
    assert result.verdict().reason == "the batch has 0 rows: there is nothing to judge, and nothing to use"
    figures = [r for r in result.results if "_mean_" in r.expectation.type or "_stdev_" in r.expectation.type]
    assert [(r.success, dict(r.result)) for r in figures] == [(False, {"observed_value": None})] * 2


def test_an_empty_batch_passes_no_suite_at_all(people):
    for rules in (Suite("none"), Suite("vague").expect_column_values_to_be_unique("age")):
        result = validate(people.slice(0, 0), rules)

        assert (result.success, result.is_blocking) == (False, True)
    assert not validate(people.slice(0, 0), Suite("n").expect_table_row_count_to_be_between(1)).results[0].success


def test_a_column_there_twice_is_a_failure_and_not_a_crash(people, suite):
    doubled = people.append_column("age", people.column("age"))

    found = failed(doubled, suite)

    assert found[("column_mean_to_be_between", "age")] == "the column 'age' is there 2 times"


@pytest.mark.parametrize(
    ("rule", "words"),
    [
        (Expectation("expect_column_values_to_be_odd", {"column": "age"}), "Millrace does not run"),
        (
            Expectation("expect_column_values_to_be_unique", {"column": "age", "row_condition": "age.cumsum() > 1"}),
            "row_condition",
        ),
        (Expectation("expect_column_values_to_match_regex", {"column": "at", "regex": "1"}), "needs text"),
    ],
)
def test_what_the_engine_does_not_run_is_never_passed_in_silence(people, rule, words):
    table = people.append_column("at", pa.array([0] * ROWS, pa.timestamp("us")))

    result = validate(table, Suite("one").add(rule))

    info = result.to_json_dict()["results"][0]["exception_info"]
    assert result.success is False
    assert result.is_blocking is True
    assert result.results[0].is_unsupported is True
    assert info["raised_exception"] is True
    assert info["exception_message"].startswith("unsupported: ")
    assert words in info["exception_message"]


def test_a_rule_written_wrong_fails_and_says_so(people):
    rule = Expectation("expect_column_values_to_be_between", {"column": "age", "min_vale": 1})

    result = validate(people, Suite("one").add(rule))

    assert result.results[0].problem == (
        "the rule is not written right: needs min_value or max_value; takes no min_vale: did you mean 'min_value'?"
    )


def test_a_rule_that_breaks_inside_fails_and_spoils_no_other(people, monkeypatch):
    def raises(*_):
        raise KeyError("nobody thought of it")

    def breaks_later(batch, kwargs):
        return Check(raises, recount=None)

    monkeypatch.setitem(engine.RULES, "expect_column_to_exist", raises)
    monkeypatch.setitem(engine.RULES, "expect_column_values_to_be_unique", breaks_later)
    rules = (
        Suite("three")
        .expect_column_to_exist("age")
        .expect_column_values_to_be_unique("age")
        .expect_column_values_to_not_be_null("age")
    )

    found = validate(people, rules).results

    assert [one.success for one in found] == [False, False, True]
    assert all("nobody thought of it" in one.problem for one in found[:2])


def test_a_regex_that_is_null_is_a_mistake_and_not_one_that_fits_everything(people):
    rule = Expectation("expect_column_values_to_match_regex", {"column": "city", "regex": None})

    (result,) = validate(people, Suite("one").add(rule)).results

    assert result.success is False
    assert result.problem == "the rule is not written right: regex is null"


@pytest.mark.parametrize("suite", ["suite.json", {"name": "s", "expectations": []}, None])
def test_what_is_no_suite_is_refused(people, suite):
    with pytest.raises(DataError, match="is not a suite") as caught:
        validate(people, suite)

    assert caught.value.code == "VALID-03"
