import dataclasses

import numpy as np
import pytest
from gate_scenes import from_counts, regression

from millrace.core.definition import collecting
from millrace.core.errors import ProjectError
from millrace.gates.threshold import Threshold


def verdict_of(gate, context):
    return gate.judge(gate.measure(context))


def test_score_above_the_limit_passes_with_wilsons_interval():
    verdict = verdict_of(Threshold(accuracy=0.9), from_counts(900, 20, 10, 70))
    assert (verdict.rule, verdict.outcome) == ("gate.threshold", "pass")
    assert verdict.reason == "accuracy 0.92 (95 % interval 0.9015 to 0.9353) reaches 0.9"


@pytest.mark.parametrize(("limit", "outcome"), [(0.92, "pass"), (0.9200001, "fail")])
def test_rule_is_on_the_point_score(limit, outcome):
    assert verdict_of(Threshold(accuracy=limit), from_counts(900, 20, 10, 70)).outcome == outcome


def test_every_missed_limit_is_named():
    verdict = verdict_of(Threshold(accuracy=0.95, f1=0.96), from_counts(900, 20, 10, 70))
    assert verdict.outcome == "fail"
    assert [part.split()[0] for part in verdict.reason.split("; ")] == ["accuracy", "f1"]


def test_error_metric_has_a_maximum_and_a_bootstrap_interval():
    context = regression(noise=1.0)
    facts = Threshold(rmse=1.2).measure(context)["metrics"]["rmse"]
    assert facts["lower"] < facts["value"] < facts["upper"]
    assert verdict_of(Threshold(rmse=1.2), context).outcome == "pass"
    assert verdict_of(Threshold(rmse=0.5), context).outcome == "fail"


def test_bootstrap_interval_is_the_same_every_time():
    context = regression()
    assert Threshold(rmse=1.2).measure(context) == Threshold(rmse=1.2).measure(context)


def test_interval_of_auc_holds_its_value():
    rng = np.random.default_rng(0)
    base = from_counts(120, 10, 10, 10)
    positive = np.clip(base.outputs * 0.5 + rng.uniform(size=150) * 0.5, 0, 1)
    context = dataclasses.replace(base, scores=np.column_stack([1 - positive, positive]))
    facts = Threshold(roc_auc=0.5).measure(context)["metrics"]["roc_auc"]
    assert 0.5 < facts["lower"] < facts["value"] < facts["upper"] <= 1.0


def test_metric_without_a_value_is_inconclusive_and_holds():
    verdict = verdict_of(Threshold(roc_auc=0.8), from_counts(90, 2, 1, 7))
    assert (verdict.outcome, verdict.evidence["when_inconclusive"]) == ("inconclusive", "hold")
    assert verdict.reason == "roc_auc cannot be computed on these 100 rows"


@pytest.mark.parametrize(
    ("limits", "code", "fix"),
    [
        ({"acuracy": 0.9}, "PROJ-55", "did you mean 'accuracy'?"),
        ({"accuracy": 85}, "PROJ-56", "write accuracy=0.85"),
        ({"accuracy": "0.85"}, "PROJ-56", "give a number from 0 to 1"),
        ({"rmse": -1.0}, "PROJ-56", "give a number from 0 to inf"),
        ({"f1": float("nan")}, "PROJ-56", "give a number from 0 to 1"),
        ({}, "PROJ-59", "name one: Threshold(accuracy=0.85)"),
    ],
)
def test_mistakes_are_named_with_a_fix(limits, code, fix):
    with pytest.raises(ProjectError) as caught:
        Threshold(**limits)
    assert (caught.value.code, caught.value.fix) == (code, fix)
    assert "test_gate_threshold.py:" in caught.value.where


def test_all_mistakes_are_collected():
    with collecting() as problems:
        Threshold(acuracy=0.9, f1=80, recall=0.7)
    assert [problem.code for problem in problems] == ["PROJ-55", "PROJ-56"]


def test_equal_definitions_are_equal_wherever_they_stand():
    assert Threshold(accuracy=0.9) == Threshold(accuracy=0.9)
    assert Threshold(accuracy=0.9) != Threshold(accuracy=0.8)
