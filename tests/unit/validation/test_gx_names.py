"""Suites of older versions of Great Expectations, the names of its classes, and every expectation as a method."""

import json
import re
from pathlib import Path

import pytest

import millrace as mr
from millrace.core.errors import DataError, ProjectError
from millrace.validation.describe import condition_text, demand
from millrace.validation.gx_names import REMOVED, type_of_class
from millrace.validation.signatures import SIGNATURES
from millrace.validation.suite import Expectation, Suite

OLD = {
    "expectation_suite_name": "people",
    "data_asset_type": "Dataset",
    "ge_cloud_id": "5d3a",
    "evaluation_parameters": {"top": 9},
    "expectations": [
        {
            "expectation_type": "expect_column_values_to_be_null",
            "kwargs": {"column": "income", "mostly": 0.9, "result_format": "COMPLETE"},
            "meta": {"by": "hand"},
            "ge_cloud_id": "b1",
        },
        {
            "expectation_type": "expect_column_pair_values_A_to_be_greater_than_B",
            "kwargs": {"column_A": "a", "column_B": "b", "ignore_row_if": "never", "parse_strings_as_datetimes": None},
            "expectation_context": {"description": "a after b"},
            "ge_cloud_id": None,
        },
        {
            "expectation_type": "expect_multicolumn_values_to_be_unique",
            "kwargs": {"column_list": ["a", "b"], "ignore_row_if": "never"},
            "meta": {},
        },
        {
            "expectation_type": "expect_column_max_to_be_between",
            "kwargs": {"column": "a", "max_value": {"$PARAMETER": "top"}, "allow_cross_type_comparisons": False},
            "meta": {},
        },
        {
            "expectation_type": "expect_column_values_to_be_between",
            "kwargs": {"column": "at", "min_value": "2024-01-01", "parse_strings_as_datetimes": True},
            "meta": {},
        },
        {
            "expectation_type": "expect_column_chisquare_test_p_value_to_be_greater_than",
            "kwargs": {"column": "a", "p": 0.05},
            "meta": {},
        },
    ],
    "meta": {"great_expectations_version": "0.15.50"},
}


def test_a_suite_of_gx_0_is_one_of_gx_1(tmp_path):
    path = tmp_path / "old.json"
    path.write_text(json.dumps(OLD), encoding="utf-8")
    suite = Suite.load(path)
    written = suite.to_dict()

    assert set(written) == {"name", "id", "suite_parameters", "expectations", "meta"}
    assert (written["name"], written["id"], written["suite_parameters"]) == ("people", "5d3a", {"top": 9})
    assert [rule["type"] for rule in written["expectations"]] == [
        "expect_column_values_to_be_null",
        "expect_column_pair_values_a_to_be_greater_than_b",
        "expect_select_column_values_to_be_unique_within_record",
        "expect_column_max_to_be_between",
        "expect_column_values_to_be_between",
        "expect_column_chisquare_test_p_value_to_be_greater_than",
    ]
    first, second, third = written["expectations"][:3]
    assert first["id"] == "b1"
    assert first["meta"] == {"by": "hand"}
    assert second["kwargs"] == {"column_A": "a", "column_B": "b", "ignore_row_if": "neither"}
    assert second["description"] == "a after b"
    assert "id" not in second
    assert third["kwargs"]["ignore_row_if"] == "never"
    assert "expectation_type" not in json.dumps(written)
    assert Suite.from_dict(written).to_dict() == written


def test_what_an_old_suite_means_otherwise_or_lacks_is_told():
    found = Suite.from_dict(OLD).findings()

    assert [(finding.code, finding.where) for finding in found] == [
        ("PROJ-32", "suite 'people', expectation 1"),
        ("PROJ-31", "suite 'people', expectation 5"),
        ("PROJ-30", "suite 'people', expectation 6"),
    ]
    assert "expect_column_values_to_not_be_null(column='income', mostly=0.9)" in found[0].what
    assert "takes no parse_strings_as_datetimes" in found[1].what
    assert "millrace data drift" in found[2].what


def test_no_removed_rule_is_run():
    assert not set(REMOVED) & set(SIGNATURES)


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("ExpectColumnValuesToBeBetween", "expect_column_values_to_be_between"),
        ("ExpectColumnKLDivergenceToBeLessThan", "expect_column_kl_divergence_to_be_less_than"),
        ("ExpectColumnValueZScoresToBeLessThan", "expect_column_value_z_scores_to_be_less_than"),
        ("ExpectColumnPairValuesAToBeGreaterThanB", "expect_column_pair_values_a_to_be_greater_than_b"),
        ("UnexpectedRowsExpectation", "unexpected_rows_expectation"),
        ("expect_column_to_exist", None),
        ("Other", None),
    ],
)
def test_types_by_the_names_of_classes(name, kind):
    assert type_of_class(name) == kind
    assert kind is None or kind in SIGNATURES


def test_the_name_of_a_class_is_no_type_and_the_type_is_told():
    document = {"name": "a", "expectations": [{"type": "ExpectColumnToExist", "kwargs": {"column": "a"}}]}
    with pytest.raises(DataError, match="write 'expect_column_to_exist'") as caught:
        Suite.from_dict(document)
    assert caught.value.code == "VALID-03"
    with pytest.raises(AttributeError, match="did you mean 'expect_column_to_exist'"):
        _ = Suite("a").ExpectColumnToExist
    with pytest.raises(ProjectError, match="did you mean 'expect_column_to_exist'"):
        Suite("a").expect_column_to_exit("a")


ARGUMENTS = {
    "column": "a",
    "column_A": "a",
    "column_B": "b",
    "column_list": ["a", "b"],
    "column_set": ["a", "b"],
    "type_": "int",
    "type_list": ["int"],
    "value": 1,
    "value_set": [1],
    "value_pairs_set": [[1, 2]],
    "regex": "a",
    "regex_list": ["a"],
    "like_pattern": "a%",
    "like_pattern_list": ["a%"],
    "strftime_format": "%Y",
    "json_schema": {"type": "object"},
    "sum_total": 1,
    "threshold": 1,
    "quantile_ranges": {"quantiles": [0.5], "value_ranges": [[0, 1]]},
    "other_table_name": "b",
    "unexpected_rows_query": "SELECT 1 FROM {batch}",
    "base_query": "SELECT 1 FROM {batch}",
    "comparison_query": "SELECT 1 FROM {batch}",
    "comparison_data_source_name": "b",
}


@pytest.mark.parametrize("kind", sorted(SIGNATURES))
def test_every_expectation_is_a_method_and_has_words(kind):
    signature = SIGNATURES[kind]
    needed = [*signature.required, *signature.any_of[:1]]
    arguments = {name: ARGUMENTS.get(name, 1) for name in needed}

    named = getattr(Suite("a"), kind)(**arguments)
    placed = getattr(Suite("a"), kind)(
        *(arguments[name] for name in signature.required), **{name: arguments[name] for name in signature.any_of[:1]}
    )

    assert named.expectations == placed.expectations
    assert Suite.from_dict(named.to_dict()).findings() == []
    words = demand(kind, arguments)
    assert kind not in words
    assert "{" not in words.replace("{batch}", "")
    assert "None" not in words


def test_the_page_on_expectations_names_each_and_no_other():
    page = (Path(__file__).parents[3] / "docs" / "expectations.md").read_text(encoding="utf-8")

    named = set(re.findall(r"`((?:expect|unexpected)_[a-z_]+)`", page)) - {"unexpected_rows_query"}
    assert named == {*SIGNATURES}


def test_what_is_about_a_rule_stands_beside_its_arguments():
    suite = Suite("a").expect_column_to_exist("x", meta={"by": "me"}, id="7", notes="why", description="there")

    assert suite.to_dict()["expectations"] == [
        {
            "type": "expect_column_to_exist",
            "kwargs": {"column": "x"},
            "meta": {"by": "me"},
            "severity": "critical",
            "notes": "why",
            "description": "there",
            "id": "7",
        }
    ]
    rule = mr.Expectation("expect_column_to_exist", {"column": "x"}, severity="warning")
    assert mr.Suite("b").add(rule).expectations == [rule]


def test_rows_without_a_column_are_judged_by_the_rules_that_do_not_need_it():
    suite = (
        Suite("a")
        .expect_column_values_to_not_be_null("x")
        .expect_column_values_to_not_be_null("label")
        .expect_column_pair_values_to_be_equal("x", "label")
        .expect_multicolumn_sum_to_equal(["x", "label"], 1)
        .expect_column_values_to_be_unique("x", row_condition="label == 1")
        .expect_column_values_to_be_unique("x", row_condition="x == 'label'")
        .expect_column_values_to_be_unique("x", row_condition='col("label").notNull()')
        .expect_column_values_to_be_unique("x", row_condition="`label` > 1 and x > 1")
        .expect_column_values_to_be_unique(
            "x",
            row_condition={
                "type": "and",
                "conditions": [{"type": "nullity", "column": {"name": "label"}, "is_null": False}],
            },
        )
        .expect_table_columns_to_match_set(["x", "label"])
    )

    kept = suite.without("label").expectations

    assert [(rule.type, rule.kwargs.get("row_condition")) for rule in kept] == [
        ("expect_column_values_to_not_be_null", None),
        ("expect_column_values_to_be_unique", "x == 'label'"),
        ("expect_table_columns_to_match_set", None),
    ]
    assert kept[-1].kwargs["column_set"] == ["x"]


def test_conditions_and_parameters_in_words():
    condition = {
        "type": "or",
        "conditions": [
            {"type": "comparison", "column": {"name": "x"}, "operator": "NOT_IN", "parameter": [1, 2]},
            {
                "type": "and",
                "conditions": [
                    {"type": "nullity", "column": {"name": "y"}, "is_null": True},
                    {"type": "pass_through", "pass_through_filter": "z > 1"},
                ],
            },
        ],
    }
    assert condition_text(condition) == "x not in [1, 2] or (y is missing and z > 1)"
    rule = Expectation(
        "expect_column_values_to_be_in_set",
        {"column": "a", "value_set": {"$PARAMETER": "names"}, "mostly": 0.9, "row_condition": "b > 1"},
    )
    assert demand(rule.type, rule.kwargs) == "a: values one of [names] (at least 90 % of them), where b > 1"
    assert demand("expect_column_max_to_be_between", {"column": "a", "max_value": {"$PARAMETER": "top"}}) == (
        "a: greatest value at most [top]"
    )
