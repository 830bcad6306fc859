"""Suites and results go both ways between Millrace and GX as JSON, unchanged."""

import json
import warnings

import pandas as pd
import pytest
from gx_oracle import gx_results, gx_suite, gx_validate, is_close, our_results

import millrace as mr
from millrace.validation.engine import validate

FRAME = pd.DataFrame(
    {
        "id": ["i1", "i2", "i3", "i4"],
        "a": [1.0, 2.0, 3.0, None],
        "b": [1.0, 5.0, 3.0, 2.0],
        "s": ["x", "y", None, "x"],
    }
)


def rule(kind, **kwargs):
    return {"type": kind, "kwargs": kwargs}


RULES = [
    rule("expect_column_values_to_be_between", column="a", min_value=2.5),
    rule("expect_column_values_to_be_between", column="a", min_value=0),
    rule(
        "expect_column_values_to_be_between",
        column="a",
        min_value=2.5,
        row_condition="b > 1",
        condition_parser="pandas",
    ),
    rule("expect_column_values_to_not_be_null", column="a"),
    rule("expect_column_values_to_be_null", column="a", mostly=0.9),
    rule("expect_column_values_to_be_unique", column="s"),
    rule("expect_column_values_to_match_regex", column="s", regex="x"),
    rule("expect_column_value_lengths_to_equal", column="s", value=2),
    rule("expect_column_value_z_scores_to_be_less_than", column="b", threshold=1, double_sided=True),
    rule("expect_column_values_to_be_increasing", column="b"),
    rule("expect_column_pair_values_to_be_equal", column_A="a", column_B="b"),
    rule("expect_compound_columns_to_be_unique", column_list=["s", "a"]),
    rule("expect_select_column_values_to_be_unique_within_record", column_list=["a", "b"]),
    rule("expect_multicolumn_sum_to_equal", column_list=["a", "b"], sum_total=7),
    rule("expect_column_max_to_be_between", column="a", max_value=1),
    rule("expect_column_stdev_to_be_between", column="a", max_value=1),
    rule("expect_column_most_common_value_to_be_in_set", column="s", value_set=["q"]),
    rule("expect_column_distinct_values_to_equal_set", column="s", value_set=["q"]),
    rule(
        "expect_column_quantile_values_to_be_between",
        column="a",
        quantile_ranges={"quantiles": [0.5], "value_ranges": [[0, 1]]},
    ),
    rule(
        "expect_column_kl_divergence_to_be_less_than",
        column="s",
        partition_object={"values": ["x", "y"], "weights": [0.5, 0.5]},
        threshold=0.01,
    ),
    rule("expect_column_to_exist", column="a"),
    rule("expect_column_to_exist", column="zz"),
    rule("expect_column_max_to_be_between", column="zz", max_value=1),
    rule("expect_table_columns_to_match_set", column_set=["a", "z"]),
    rule("expect_table_columns_to_match_ordered_list", column_list=["a", "z"]),
    rule("expect_table_row_count_to_equal", value=3),
]
FORMATS = [
    "BOOLEAN_ONLY",
    "BASIC",
    "SUMMARY",
    "COMPLETE",
    {"partial_unexpected_count": 1, "result_format": "SUMMARY"},
    {"result_format": "SUMMARY", "unexpected_index_column_names": ["id", "b"]},
    {
        "result_format": "COMPLETE",
        "unexpected_index_column_names": ["id"],
        "include_unexpected_rows": True,
        "partial_unexpected_count": 1,
    },
    {"result_format": "BASIC", "exclude_unexpected_values": True, "return_unexpected_index_query": True},
    {
        "result_format": "COMPLETE",
        "exclude_unexpected_values": True,
        "unexpected_index_column_names": ["id"],
        "return_unexpected_index_query": False,
    },
    {
        "result_format": "BOOLEAN_ONLY",
        "return_unexpected_index_query": True,
        "unexpected_index_column_names": ["id"],
    },
]


@pytest.mark.parametrize("form", FORMATS, ids=lambda form: "-".join(map(str, form)) if isinstance(form, dict) else form)
def test_results_have_the_keys_and_the_values_that_gx_writes(form):
    for each, theirs, ours in zip(RULES, gx_results(FRAME, RULES, form), our_results(FRAME, RULES, form), strict=True):
        assert ours.keys() == theirs.keys(), each
        assert ours["expectation_config"].keys() == theirs["expectation_config"].keys(), each
        # GX forgets to name these columns in results of this one type.
        forgotten = {"unexpected_index_column_names"} if each["type"].endswith("_to_be_null") else set()
        assert ours["result"].keys() - forgotten == theirs["result"].keys() - forgotten, each
        # GX counts values among the few that it shows; see test_differences.
        is_cut = isinstance(form, dict) and form.get("partial_unexpected_count") == 1
        for key in theirs["result"].keys() - ({"partial_unexpected_counts"} if is_cut else set()):
            value = theirs["result"][key]
            assert is_close(value, ours["result"][key]), (each, key, value, ours["result"][key])


def test_a_column_that_names_rows_and_is_not_there_has_no_verdict_in_either():
    form = {"result_format": "COMPLETE", "unexpected_index_column_names": ["nobody"]}
    theirs, ours = gx_results(FRAME, RULES[:1], form)[0], our_results(FRAME, RULES[:1], form)[0]

    assert (theirs["success"], ours["success"]) == (False, False)
    assert "nobody" in ours["exception_info"]["exception_message"]


def test_the_result_of_a_suite_has_the_keys_that_gx_writes():
    theirs = gx_validate(FRAME, RULES)
    ours = validate(FRAME, mr.Suite.from_dict({"name": "suite", "expectations": RULES})).to_json_dict()

    assert ours.keys() == theirs.keys()
    assert ours["statistics"] == theirs["statistics"]
    assert (ours["success"], ours["suite_name"]) == (theirs["success"], theirs["suite_name"])


# Of its own results without observed values, GX makes no page.
@pytest.mark.parametrize("form", FORMATS[1:4])
def test_gx_loads_our_results_and_renders_its_page_of_them(form):
    from great_expectations.core.expectation_validation_result import expectationSuiteValidationResultSchema
    from great_expectations.render.renderer.page_renderer import ValidationResultsPageRenderer
    from great_expectations.render.view import DefaultJinjaPageView

    suite = mr.Suite.from_dict({"name": "suite", "expectations": RULES})
    text = json.dumps(validate(FRAME, suite, result_format=form).to_json_dict(), allow_nan=False)

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        loaded = expectationSuiteValidationResultSchema.load(json.loads(text))
        page = DefaultJinjaPageView().render(ValidationResultsPageRenderer().render(loaded))

    assert loaded.success is False
    assert loaded.statistics["evaluated_expectations"] == len(RULES)
    assert [each.expectation_config.type for each in loaded.results] == [each["type"] for each in RULES]
    assert "<html" in page
    assert "compound columns" in page.lower() or "compound_columns" in page


def test_gx_loads_our_suites():
    suite = (
        mr.Suite("orders")
        .expect_column_values_to_be_between("amount", min_value=0, mostly=0.9, severity="warning")
        .expect_column_values_to_be_in_set("state", {"new", "paid"})
        .expect_table_row_count_to_be_between(min_value=1)
    )

    theirs = gx_suite(suite.to_dict()["expectations"])

    assert [each.expectation_type for each in theirs.expectations] == [each.type for each in suite.expectations]
    assert theirs.expectations[0].severity == "warning"
    assert theirs.expectations[0].mostly == 0.9


def test_every_rule_compared_here_is_a_suite_in_both():
    document = gx_suite(RULES).to_json_dict()

    ours = mr.Suite.from_dict(document)

    assert ours.to_dict() == document
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert gx_suite(ours.to_dict()["expectations"]).to_json_dict()["expectations"] == document["expectations"]


def test_suite_parameters_are_filled_in_as_gx_does():
    rules = [
        rule("expect_column_values_to_be_between", column="a", min_value={"$PARAMETER": "low"}),
        rule("expect_column_max_to_be_between", column="a", max_value={"$PARAMETER": "low"}),
    ]
    for low in (0, 2, 2.5, 10):
        theirs = gx_results(FRAME, rules, parameters={"low": low})
        ours = our_results(FRAME, rules, parameters={"low": low})
        assert [each["success"] for each in ours] == [each["success"] for each in theirs]
        assert [each["result"].get("unexpected_count") for each in ours] == [
            each["result"].get("unexpected_count") for each in theirs
        ]


def test_a_parameter_without_a_value_passes_in_neither():
    rules = [rule("expect_column_values_to_be_between", column="a", min_value={"$PARAMETER": "low"})]
    theirs, ours = gx_results(FRAME, rules)[0], our_results(FRAME, rules)[0]

    assert (theirs["success"], ours["success"]) == (False, False)
    assert "low" in ours["exception_info"]["exception_message"]


def test_a_project_folder_of_gx_is_read_and_written_back(tmp_path):
    import great_expectations as gx

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        context = gx.get_context(mode="file", project_root_dir=tmp_path)
        context.suites.add(gx_suite(RULES[:3]))

        suite = mr.Suite.load(tmp_path / "gx").expect_column_to_exist("id", severity="info")
        suite.save(tmp_path / "gx" / "suite")

        again = gx.get_context(mode="file", project_root_dir=tmp_path).suites.get("suite")
    assert [each.expectation_type for each in again.expectations] == [each.type for each in suite.expectations]
    assert again.expectations[3].severity == "info"
    assert [each.id for each in again.expectations[:3]] == [each.id for each in suite.expectations[:3]]
    ours = mr.DataValidator.from_gx(again).validate(FRAME)
    assert ours.statistics == gx_validate(FRAME, again.to_json_dict()["expectations"])["statistics"]
