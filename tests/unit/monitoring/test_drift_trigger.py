"""What makes drift fire: columns by number, by what the model relies on, and signals that were asked for."""

import pytest

from millrace.core.errors import ProjectError
from millrace.core.verdict import Verdict
from millrace.monitoring.definitions import OnDrift
from millrace.monitoring.triggers import drift_evidence, judge_drift_trigger

COLUMNS = {"a": "drift", "b": "ok", "c": "insufficient", "d": "ok"}


def judged(columns=COLUMNS, *, watched=None, min_columns=9, **options):
    return judge_drift_trigger(drift_evidence(columns, watched=watched, min_columns=min_columns, **options))


@pytest.mark.parametrize(
    ("importances", "limit", "outcome"),
    [
        ({"a": 0.6, "b": 0.2, "c": 0.1, "d": 0.1}, 0.5, "fail"),
        ({"a": 0.45, "b": 0.35, "c": 0.1, "d": 0.1}, 0.5, "inconclusive"),  # what is not known may tip it
        ({"a": 0.1, "b": 0.8, "c": 0.1, "d": 0.0}, 0.5, "pass"),
        (None, 0.25, "fail"),
        (None, 0.5, "inconclusive"),
        (None, 0.6, "pass"),
        ({"a": 0.0, "b": 0.0}, 0.5, "inconclusive"),
    ],
)
def test_a_share_takes_the_place_of_a_number(importances, limit, outcome):
    assert judged(min_share=limit, importances=importances).outcome == outcome


def test_shares_are_of_the_watched_columns_and_the_missing_are_not_well():
    weights = {"a": 0.1, "b": 0.5, "gone": 0.4}

    assert judged(watched=["a", "b"], min_share=0.3, importances=weights).outcome == "pass"
    assert judged(watched=["a", "b", "gone"], min_share=0.3, importances=weights).outcome == "inconclusive"
    assert judged({}, min_share=0.3).outcome == "inconclusive"


@pytest.mark.parametrize(
    ("columns", "signal", "outcome"),
    [
        ({"a": "ok"}, "fail", "fail"),
        ({"a": "ok"}, "inconclusive", "inconclusive"),
        ({"a": "ok"}, "pass", "pass"),
        ({"a": "drift"}, "pass", "fail"),
        ({"a": "drift"}, "inconclusive", "fail"),
    ],
)
def test_a_signal_fires_too(columns, signal, outcome):
    verdict = judged(columns, min_columns=1, signals={"scores": Verdict("drift.scores", signal, "they moved", {})})

    assert verdict.outcome == outcome
    assert ("scores: they moved" in verdict.reason) == (signal != "pass")


def test_a_single_signal_may_be_named_alone():
    assert OnDrift(signals="scores").signals == ("scores",)


@pytest.mark.parametrize(
    ("make", "code"),
    [
        (lambda: OnDrift(min_share=0), "MON-20"),
        (lambda: OnDrift(min_share=1.5), "MON-20"),
        (lambda: OnDrift(signals=["score"]), "MON-21"),
    ],
)
def test_what_cannot_be_meant_is_refused(make, code):
    with pytest.raises(ProjectError) as refused:
        make()
    assert refused.value.code == code
