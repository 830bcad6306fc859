"""Suites are GX's own files: read, written back unchanged, and checked before any data is there."""

import copy
import json
from decimal import Decimal

import numpy as np
import pytest

from millrace.core.definition import collecting
from millrace.core.errors import DataError, ProjectError
from millrace.validation.engine import RULES
from millrace.validation.signatures import SIGNATURES
from millrace.validation.suite import Expectation, Suite

GX_SUITE = {
    "name": "orders",
    "id": "6f1e6a39-9b62-4a4f-a6ab-3b5cf7c4b8ff",
    "expectations": [
        {
            "type": "expect_column_values_to_be_between",
            "kwargs": {"column": "age", "min_value": 18.0, "max_value": 100.0, "mostly": 0.99},
            "meta": {"owner": {"team": "growth"}},
            "id": "b1",
            "severity": "warning",
            "rendered_content": None,
        },
        {"type": "expect_column_values_to_not_be_null", "kwargs": {"column": "id"}, "meta": {}, "severity": None},
        {"kwargs": {"column": "x", "threshold": 0.1}, "type": "expect_column_values_to_be_odd"},
    ],
    "meta": {"great_expectations_version": "1.24.1"},
    "notes": None,
    "suite_parameters": {"a": [1]},
}


def test_a_gx_suite_comes_out_as_it_went_in(tmp_path):
    suite = Suite.from_dict(copy.deepcopy(GX_SUITE))

    assert json.dumps(suite.to_dict()) == json.dumps(GX_SUITE)
    suite.save(tmp_path / "orders.json")
    assert json.dumps(Suite.load(tmp_path / "orders.json").to_dict()) == json.dumps(GX_SUITE)
    assert [rule.severity for rule in suite.expectations] == ["warning", "critical", "critical"]


def test_a_suite_of_gx_0_is_read_and_written_in_the_1_form():
    old = {
        "data_asset_type": None,
        "expectation_suite_name": "old",
        "expectations": [{"expectation_type": "expect_column_to_exist", "kwargs": {"column": "a"}, "meta": {}}],
        "meta": {"great_expectations_version": "0.18.1"},
    }

    assert Suite.from_dict(old).to_dict() == {
        "name": "old",
        "expectations": [{"type": "expect_column_to_exist", "kwargs": {"column": "a"}, "meta": {}}],
        "meta": {"great_expectations_version": "0.18.1"},
    }


def test_a_built_suite_has_the_gx_form():
    suite = (
        Suite("people")
        .expect_column_values_to_be_between("age", 18, max_value=100)
        .expect_table_columns_to_match_set({"b", "a"}, severity="info")
    )

    assert suite.to_dict() == {
        "name": "people",
        "expectations": [
            {
                "type": "expect_column_values_to_be_between",
                "kwargs": {"column": "age", "min_value": 18, "max_value": 100},
                "meta": {},
                "severity": "critical",
            },
            {
                "type": "expect_table_columns_to_match_set",
                "kwargs": {"column_set": ["a", "b"]},
                "meta": {},
                "severity": "info",
            },
        ],
        "meta": {},
    }
    assert Suite.from_dict(suite.to_dict()) == suite


@pytest.mark.parametrize(
    ("code", "words", "build"),
    [
        ("PROJ-30", "expect_column_values_to_be_between", lambda s: s.expect_column_value_to_be_between("a", 1)),
        ("PROJ-31", "row_condition", lambda s: s.expect_column_to_exist("a", row_condition="b > 1")),
        ("PROJ-31", "did you mean 'min_value'", lambda s: s.expect_column_values_to_be_between("a", 1, min_vale=2)),
        ("PROJ-31", "needs column", lambda s: s.expect_column_values_to_be_unique()),
        ("PROJ-31", "needs min_value or max_value", lambda s: s.expect_column_mean_to_be_between("a")),
        ("PROJ-31", "mostly=90", lambda s: s.expect_column_values_to_not_be_null("a", mostly=90)),
        ("PROJ-31", "takes 2 arguments, not 3", lambda s: s.expect_column_values_to_not_be_null("a", 0.9, 1)),
        ("PROJ-31", "did you mean 'critical'", lambda s: s.expect_column_to_exist("a", severity="critcal")),
    ],
)
def test_a_rule_written_wrong_is_refused_where_it_stands(code, words, build):
    suite = Suite("people")

    with pytest.raises(ProjectError) as caught:
        build(suite)
    assert code == caught.value.code
    assert words in str(caught.value)
    assert __file__ in caught.value.where
    assert suite.expectations == []


def test_mistakes_are_collected_while_a_project_loads():
    with collecting() as problems:
        Suite("people").expect_nothing("a").expect_column_mean_to_be_between("a").expect_column_to_exist("a")

    assert [problem.code for problem in problems] == ["PROJ-30", "PROJ-31"]


def test_findings_name_every_mistake_of_a_file():
    suite = Suite.from_dict(GX_SUITE)
    suite.add(Expectation("expect_column_values_to_be_null", {"column": "income", "mostly": 0.9}))
    suite.add(Expectation("expect_column_values_to_be_of_type", {"column": "age"}))

    found = suite.findings()

    assert [(finding.code, finding.where) for finding in found] == [
        ("PROJ-30", "suite 'orders', expectation 3"),
        ("PROJ-32", "suite 'orders', expectation 4"),
        ("PROJ-31", "suite 'orders', expectation 5"),
    ]
    assert "expect_column_values_to_not_be_null(column='income', mostly=0.9)" in found[1].what
    assert [finding.code for finding in Suite("none").findings()] == ["PROJ-33"]


@pytest.mark.parametrize(
    ("text", "code", "words"),
    [
        ('{"name": "a", "expectations": [}', "VALID-02", "line 1 column 32"),
        ("[1]", "VALID-03", "'expectations'"),
        ('{"name": "a", "expectations": [{"kwargs": {}}]}', "VALID-03", "expectation 1 has no 'type'"),
        ('{"name": "a", "expectations": [{"type": "e", "kwargs": []}]}', "VALID-03", "no object"),
        ('{"name": "a", "expectations": [{"type": "e", "severity": "warn"}]}', "VALID-03", "did you mean 'warning'"),
    ],
)
def test_a_file_that_is_no_suite_is_refused(tmp_path, text, code, words):
    (tmp_path / "orders.json").write_text(text)

    with pytest.raises(DataError) as caught:
        Suite.load(tmp_path / "orders.json")
    assert code == caught.value.code
    assert words in str(caught.value)


def test_a_missing_suite_names_the_nearest(tmp_path):
    Suite("orders").save(tmp_path / "orders.json")

    with pytest.raises(DataError) as caught:
        Suite.load(tmp_path / "order.json")
    assert (caught.value.code, caught.value.fix) == ("VALID-01", "did you mean 'orders.json'?")


def test_rules_on_the_label_are_left_out_for_rows_without_it():
    suite = (
        Suite("people")
        .expect_table_columns_to_match_ordered_list(["age", "target"])
        .expect_column_values_to_not_be_null("target")
        .expect_column_values_to_not_be_null("age")
        .expect_compound_columns_to_be_unique(["age", "target"])
    )

    assert [(rule.type, rule.kwargs) for rule in suite.without("target").expectations] == [
        ("expect_table_columns_to_match_ordered_list", {"column_list": ["age"]}),
        ("expect_column_values_to_not_be_null", {"column": "age"}),
    ]
    assert len(suite.expectations) == 4


def test_every_rule_the_builder_offers_is_one_the_engine_runs():
    assert set(SIGNATURES) == set(RULES)
    assert set(SIGNATURES) <= set(dir(Suite("a")))


def test_numpys_values_and_decimals_are_arguments_and_are_saved(tmp_path):
    suite = (
        Suite("orders")
        .expect_column_values_to_be_between("amount", np.int64(3), np.float32(7.5))
        .expect_column_values_to_be_in_set("code", np.array(["a", "b"]))
        .expect_column_max_to_be_between("at", max_value=np.datetime64("2024-01-31", "ns"))
        .expect_column_min_to_be_between("price", Decimal("0.15"))
        .add(Expectation("expect_column_values_to_be_in_set", {"column": "n", "value_set": {2, 1}}))
    )

    suite.save(tmp_path / "orders.json")

    assert suite.expectations[3].kwargs["min_value"] == Decimal("0.15")
    assert [rule.kwargs for rule in Suite.load(tmp_path / "orders.json").expectations] == [
        {"column": "amount", "min_value": 3, "max_value": 7.5},
        {"column": "code", "value_set": ["a", "b"]},
        {"column": "at", "max_value": "2024-01-31T00:00:00.000000000"},
        {"column": "price", "min_value": 0.15},
        {"column": "n", "value_set": [1, 2]},
    ]


def test_a_file_with_the_mark_of_windows_editors_is_read(tmp_path):
    (tmp_path / "marked.json").write_text(json.dumps(GX_SUITE), encoding="utf-8-sig")

    assert Suite.load(tmp_path / "marked.json").to_dict() == GX_SUITE


@pytest.mark.parametrize(
    ("content", "fix"), [(b'{"name": "caf\xe9"}', "save it as UTF-8 text"), (b"[" * 100_000, "mend that line")]
)
def test_a_file_that_is_no_text_of_json_is_told(tmp_path, content, fix):
    (tmp_path / "odd.json").write_bytes(content)

    with pytest.raises(DataError) as caught:
        Suite.load(tmp_path / "odd.json")

    assert (caught.value.code, caught.value.fix) == ("VALID-02", fix)
