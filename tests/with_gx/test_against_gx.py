"""Every expectation of GX 1.24 that it runs on pandas: Millrace's verdicts and figures are GX's, on any frame."""

import pytest
from gx_differences import Meeting, difference
from gx_oracle import disagreements, shown
from gx_rules import CASES, cleaned
from hypothesis import HealthCheck, Phase, given, settings

from millrace.validation.signatures import SIGNATURES

# GX runs these on databases alone; their own tests compare them there or state what they mean.
NOT_ON_PANDAS = {
    "expect_column_values_to_match_like_pattern",
    "expect_column_values_to_match_like_pattern_list",
    "expect_column_values_to_not_match_like_pattern",
    "expect_column_values_to_not_match_like_pattern_list",
    "expect_query_results_to_match_comparison",
    "expect_table_row_count_to_equal_other_table",
    "unexpected_rows_expectation",
}


def compare(kind, made):
    (frame, kinds), arguments = made
    rules = [{"type": kind, "kwargs": cleaned(each)} for each in arguments]
    for rule, theirs, ours, found in disagreements(frame, rules):
        met = Meeting(rule, dict(zip(frame.columns, kinds, strict=True)), theirs, ours)
        assert difference(met) is not None, "\n".join([str(rule), str(shown(frame)), *found])


def trying(kind, examples):
    """`compare` on that many frames; always the same ones."""

    @settings(
        max_examples=examples,
        deadline=None,
        database=None,
        derandomize=True,
        suppress_health_check=list(HealthCheck),
        phases=[Phase.generate, Phase.shrink],
    )
    @given(CASES[kind].batches)
    def run(made):
        compare(kind, made)

    return run


def test_every_expectation_of_gx_is_compared():
    assert set(CASES) | NOT_ON_PANDAS == set(SIGNATURES)
    assert not set(CASES) & NOT_ON_PANDAS


@pytest.mark.parametrize("kind", sorted(CASES))
def test_verdicts_and_figures_are_those_of_gx(kind):
    trying(kind, 12)()


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("kind", sorted(CASES))
def test_verdicts_and_figures_are_those_of_gx_on_many_more_frames(kind):
    trying(kind, 300)()
