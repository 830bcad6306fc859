"""The rules: pass is healthy, fail is retrain, inconclusive is not enough to tell."""

import json
from datetime import UTC, datetime, timedelta

import pytest

from millrace.monitoring.decisions import DECISIONS
from millrace.monitoring.definitions import OnDegradation
from millrace.monitoring.evidence import (
    degradation_evidence,
    degradation_limit,
    label_incident_evidence,
)
from millrace.monitoring.labels import Joined, Match
from millrace.monitoring.triggers import (
    drift_evidence,
    judge_degradation,
    judge_drift_trigger,
    judge_label_incident,
    judge_manual,
    judge_schedule,
    schedule_evidence,
    schedule_slot,
)

DAY = datetime(2024, 1, 1, tzinfo=UTC)


def window(correct, n):
    """A window of `n` labelled predictions, the first `correct` of them right; 5 more have no label yet."""
    rows = [Match(DAY, "UP", "UP" if i < correct else "DOWN", (), 1) for i in range(n)]
    return Joined(tuple(rows), n + 5, 0)


def judge(correct, n, *, deploy=0.8073, policy=None, **options):
    policy = policy or OnDegradation(**options)
    (evidence,) = degradation_evidence(window(correct, n), policy, deploy_scores={"accuracy": deploy})
    return judge_degradation(evidence)


@pytest.mark.parametrize(
    ("correct", "n", "outcome"),
    [(255, 336, "pass"), (254, 336, "fail"), (0, 99, "inconclusive"), (0, 100, "fail"), (0, 0, "inconclusive")],
)
def test_degradation_fires_below_deploy_less_drop(correct, n, outcome):
    # 0.8073 - 0.05 = 0.7573; 254 / 336 = 0.756 is the first breach of the electricity stream
    assert judge(correct, n).outcome == outcome


@pytest.mark.parametrize(
    ("floor", "deploy", "drop", "limit"),
    [(0.85, 0.8, 0.05, 0.85), (0.7, 0.8, 0.05, 0.75), (0.7, None, 0.05, 0.7), (None, None, 0.05, None)],
)
def test_the_stricter_limit_counts(floor, deploy, drop, limit):
    assert degradation_limit("accuracy", floor, deploy, drop) == (pytest.approx(limit) if limit else None)


def test_an_error_metric_fires_when_it_grows():
    policy = OnDegradation(rmse=None, drop=0.1, min_samples=10)

    def outcome(value):
        (evidence,) = degradation_evidence(
            window(0, 10), policy, deploy_scores={"rmse": 2.0}, score=lambda matches: {"rmse": value}
        )
        return judge_degradation(evidence).outcome

    assert [outcome(value) for value in (2.19, 2.21, float("nan"), None)] == [
        "pass",
        "fail",
        "inconclusive",
        "inconclusive",
    ]


def test_without_a_limit_nothing_can_be_judged():
    assert judge(0, 200, deploy=None).outcome == "inconclusive"


def test_the_evidence_says_whether_chance_could_explain_the_fall():
    small, large = judge(74, 100).evidence, judge(740, 1000).evidence

    assert (small["value"], large["value"]) == (0.74, 0.74)
    assert (small["interval_excludes_limit"], large["interval_excludes_limit"]) == (False, False)
    assert judge(700, 1000).evidence["interval_excludes_limit"] is True
    assert small["coverage"] == pytest.approx(100 / 105)


@pytest.mark.parametrize(
    ("columns", "watched", "least", "outcome"),
    [
        ({"a": "ok", "b": "drift"}, None, 1, "fail"),
        ({"a": "ok", "b": "drift"}, None, 2, "pass"),
        ({"a": "ok", "b": "drift"}, ["a"], 1, "pass"),
        ({"a": "insufficient", "b": "drift"}, None, 2, "inconclusive"),
        ({"a": "error", "b": "ok"}, None, 1, "inconclusive"),
        ({"a": "ok"}, ["gone"], 1, "inconclusive"),
        ({}, None, 1, "inconclusive"),
    ],
)
def test_drift_fires_on_enough_watched_columns_and_never_calls_the_unknown_well(columns, watched, least, outcome):
    verdict = judge_drift_trigger(drift_evidence(columns, watched=watched, min_columns=least))

    assert verdict.outcome == outcome


def test_drift_names_the_columns():
    verdict = judge_drift_trigger(
        drift_evidence({"vicprice": "drift", "transfer": "drift", "day": "ok"}, watched=None, min_columns=1)
    )

    assert verdict.reason == "2 of 3 columns drifted: transfer, vicprice"


@pytest.mark.parametrize(
    ("last", "now", "outcome"),
    [
        ("2024-01-01T00:00:00Z", "2024-01-07T23:59:59Z", "pass"),
        ("2024-01-01T00:00:00Z", "2024-01-08T00:00:00Z", "fail"),
        (None, "2024-01-01T00:00:00Z", "fail"),
    ],
)
def test_the_schedule_is_due_after_its_interval(last, now, outcome):
    evidence = schedule_evidence(interval=timedelta(days=7), last_at=last, now=now)

    assert judge_schedule(evidence).outcome == outcome


def test_a_slot_of_the_schedule_has_one_name_until_the_next_is_due():
    def slot(now, last="2024-01-01T00:00:00Z"):
        return schedule_slot(schedule_evidence(interval=timedelta(days=7), last_at=last, now=now))

    assert slot("2024-01-08T00:00:00Z") == slot("2024-01-14T23:00:00Z") == "2024-01-08T00:00:00.000000Z"
    assert slot("2024-01-15T00:00:00Z") == "2024-01-15T00:00:00.000000Z"
    assert slot("2024-01-08T00:00:00Z", None) == slot("2024-01-08T01:00:00Z", None)


@pytest.mark.parametrize(
    ("labels", "shares", "outcome"),
    [
        (["UP"] * 100, None, "fail"),
        (["UP"] * 99, None, "inconclusive"),
        (["UP"] * 99 + ["DOWN"], None, "pass"),
        (["UP"] * 100, {"UP": 0.58}, "fail"),
        (["no"] * 100, {"no": 0.999}, "pass"),
        (["no"] * 10_000, {"no": 0.999}, "fail"),
        (["new"] * 100, {"no": 0.999}, "fail"),
        ([], None, "inconclusive"),
    ],
)
def test_labels_all_alike_are_an_incident_unless_chance_explains_them(labels, shares, outcome):
    joined = Joined(tuple(Match(DAY, "UP", value, (), 1) for value in labels), len(labels), 0)
    evidence = label_incident_evidence(joined, min_samples=100, reference_shares=shares)

    assert judge_label_incident(evidence).outcome == outcome


def test_every_verdict_is_recomputed_from_its_recorded_evidence():
    asked = {"requested_by": "ada", "reason": "new column", "requested_at": "2024-01-01T00:00:00Z"}
    verdicts = [
        judge(254, 336),
        judge(1, 5),
        judge_drift_trigger(drift_evidence({"a": "drift"}, watched=None, min_columns=1)),
        judge_schedule(schedule_evidence(interval=timedelta(days=7), last_at=None, now="2024-01-01T00:00:00Z")),
        judge_manual(asked),
        judge_label_incident(label_incident_evidence(window(100, 100), min_samples=100)),
    ]
    recorded = [json.loads(json.dumps(verdict.to_dict(), allow_nan=False)) for verdict in verdicts]

    assert {facts["rule"] for facts in recorded} == set(DECISIONS)
    assert [DECISIONS[facts["rule"]](facts["evidence"]).to_dict() for facts in recorded] == recorded
