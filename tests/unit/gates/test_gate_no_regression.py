import dataclasses
from collections import Counter

import numpy as np
import pytest
from gate_scenes import from_counts, regression

from millrace.core.errors import ModelError, ProjectError
from millrace.gates.no_regression import NoRegression, judge


def verdict_of(gate, context):
    return gate.judge(gate.measure(context))


def counts(won, lost, n, tolerance=0.01):
    return {
        "method": "counts",
        "only_candidate": won,
        "only_champion": lost,
        "rows": n,
        "tolerance": tolerance,
        "significance": 0.05,
    }


def test_first_version_passes():
    context = dataclasses.replace(from_counts(9, 0, 0, 1), champion_outputs=None)
    verdict = verdict_of(NoRegression(), context)
    assert (verdict.outcome, verdict.reason) == ("pass", "first version: there is no champion to regress from")


def test_evidence_is_four_counts():
    evidence = NoRegression().measure(from_counts(870, 40, 30, 60))
    assert evidence == {
        "metric": "accuracy",
        "tolerance": 0.01,
        "rows": 1000,
        "when_inconclusive": "promote",
        "method": "counts",
        "significance": 0.05,
        "both_right": 870,
        "only_candidate": 40,
        "only_champion": 30,
        "both_wrong": 60,
    }


@pytest.mark.parametrize(
    ("won", "lost", "n", "outcome"),
    [
        (40, 20, 1000, "pass"),
        (30, 30, 1000, "inconclusive"),
        (10, 60, 1000, "fail"),
        (300, 300, 10_000, "pass"),
        (0, 0, 5, "inconclusive"),  # five equal answers show nothing
        (0, 0, 200, "inconclusive"),  # 0 of 200 does not rule out 1 in 100
        (0, 0, 300, "pass"),
        (0, 5, 5, "fail"),
        (20, 30, 900, "inconclusive"),
        (18, 33, 1000, "fail"),  # McNemar's exact test says worse, and by more than the tolerance
        (1000, 1300, 100_000, "pass"),  # surely worse, but by less than the tolerance
    ],
)
def test_three_answers(won, lost, n, outcome):
    assert judge(counts(won, lost, n)).outcome == outcome


def test_inconclusive_says_how_many_rows_would_decide():
    reason = judge(counts(30, 30, 1000)).reason
    assert reason.endswith("too few rows to tell 0.01, about 3,710 would decide")


# Champion 0.90, 6 % of the rows tell the models apart: the rates the rule promises.
@pytest.mark.parametrize(
    ("difference", "n", "least", "most"),
    [
        (0.0, 1000, {"pass": 0.30}, {"fail": 0.06}),
        (0.0, 5000, {"pass": 0.85}, {"fail": 0.02}),
        (-0.02, 1000, {"fail": 0.70}, {"pass": 0.02}),
        (-0.02, 5000, {"fail": 0.95}, {"pass": 0.0}),
        (-0.01, 5000, {}, {"pass": 0.07}),
        (0.01, 200, {"pass": 0.20}, {"fail": 0.02}),
    ],
)
def test_rates_of_false_blocks_and_false_passes(difference, n, least, most):
    rng = np.random.default_rng(17)
    draws = rng.multinomial(n, [(0.06 + difference) / 2, (0.06 - difference) / 2, 0.94], size=800)
    found = Counter(judge(counts(int(won), int(lost), n)).outcome for won, lost, _ in draws)
    for outcome, share in least.items():
        assert found[outcome] / 800 >= share
    for outcome, share in most.items():
        assert found[outcome] / 800 <= share


def test_f1_is_compared_by_a_paired_bootstrap():
    worse = from_counts(800, 0, 150, 50)
    evidence = NoRegression(metric="f1").measure(worse)
    assert evidence["lower"] < evidence["difference"] < evidence["upper"] < -0.1
    assert judge(evidence).outcome == "fail"
    assert verdict_of(NoRegression(metric="f1"), from_counts(800, 150, 0, 50)).outcome == "pass"


def test_regression_defaults_to_rmse_relative_to_the_champion():
    same = NoRegression().measure(regression(noise=1.0, champion_noise=1.0))
    assert (same["metric"], same["margin"]) == ("rmse", pytest.approx(0.01 * same["champion"]))
    assert judge(same).outcome == "pass"
    assert verdict_of(NoRegression(), regression(noise=1.3)).outcome == "fail"
    assert verdict_of(NoRegression(), regression(noise=0.8)).outcome == "pass"


def test_deviation_is_that_of_one_row():
    # Per row the candidate's mean absolute error exceeds the champion's by half of |miss|.
    context = regression(n=2000, noise=1.5, champion_noise=1.0)
    evidence = NoRegression(metric="mae").measure(context)
    misses = np.abs(context.champion_outputs - context.y_true)
    assert evidence["deviation"] == pytest.approx(0.5 * misses.std(), rel=0.1)


def test_unit_of_the_label_does_not_change_the_verdict():
    metres = regression(noise=1.05, seed=4)
    kilometres = dataclasses.replace(
        metres,
        y_true=metres.y_true / 1000,
        outputs=metres.outputs / 1000,
        champion_outputs=metres.champion_outputs / 1000,
    )
    assert [verdict_of(NoRegression(), c).outcome for c in (metres, kilometres)] == ["fail", "fail"]


def test_few_rows_of_a_bootstrap_decide_nothing():
    verdict = verdict_of(NoRegression(), regression(n=20))
    assert verdict.outcome == "inconclusive"


@pytest.mark.parametrize(
    ("metric", "context"),
    [
        ("accuracy", regression(n=40)),
        ("rmse", from_counts(9, 0, 0, 1)),
        ("roc_auc", from_counts(9, 0, 0, 1)),  # no scores
    ],
)
def test_metric_the_model_cannot_have_is_refused(metric, context):
    with pytest.raises(ModelError, match="GATE-05"):
        NoRegression(metric=metric).measure(context)


def test_metric_the_rows_leave_undefined_is_inconclusive_and_holds():
    context = from_counts(90, 4, 4, 2)
    scores = np.full((100, 2), 0.5)
    one_class = dataclasses.replace(context, y_true=np.zeros(100, int), scores=scores, champion_scores=scores)
    verdict = verdict_of(NoRegression(metric="roc_auc", when_inconclusive="promote"), one_class)
    assert (verdict.outcome, verdict.evidence["when_inconclusive"]) == ("inconclusive", "hold")


@pytest.mark.parametrize(
    ("settings", "code"),
    [
        ({"tolerance": -0.1}, "PROJ-57"),
        ({"tolerance": "1%"}, "PROJ-57"),
        ({"metric": "acc"}, "PROJ-55"),
        ({"when_inconclusive": "ship"}, "PROJ-58"),
    ],
)
def test_mistakes(settings, code):
    with pytest.raises(ProjectError, match=code):
        NoRegression(**settings)
