"""The smoke test accepts exactly what was validated."""

import errno
import json
import socket

import pytest

from millrace.core.errors import ModelError, ServiceError
from millrace.deployment.decisions import DECISIONS
from millrace.deployment.smoke import Golden, judge_smoke, replay_golden, silent_endpoint

GOLDEN = Golden(
    requests=[{"inputs": {"x": 1.0}}, {"inputs": {"x": 2.0}}],
    answers=[{"output": "UP", "scores": [0.25, 0.75]}, {"output": "DOWN", "scores": [0.9, 0.1]}],
)


def evidence_of(change=None, golden=GOLDEN):
    """Evidence from an endpoint that answers as validated, but for what `change` does to each answer."""
    answers = {row["inputs"]["x"]: answer for row, answer in zip(golden.requests, golden.answers, strict=True)}

    def post(request):
        answer = {**answers[request["inputs"]["x"]], "version": 3, "digest": "d3", "request_id": "q"}
        return change(answer) if change else answer

    return replay_golden(post, golden, version=3, digest="d3")


def test_equal_answers_pass_and_latency_is_on_the_record():
    evidence = evidence_of()
    verdict = judge_smoke(evidence)

    assert verdict.outcome == "pass"
    assert all(row["latency_ms"] >= 0 for row in evidence["rows"])


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda a: {**a, "output": "UP"}, "output 'UP' instead of 'DOWN'"),
        (lambda a: {**a, "scores": [s * (1 + 1e-5) for s in a["scores"]]}, "score"),
        (lambda a: {**a, "scores": a["scores"][:1]}, "1 scores instead of 2"),
        (lambda a: {**a, "scores": [float("nan"), 0.5]}, "score None"),
        (lambda a: {**a, "version": 2}, "answered by version 2, not 3"),
        (lambda a: {**a, "digest": "other"}, "answered by digest other"),
        (lambda a: {}, "answered by version None"),
    ],
)
def test_any_difference_fails_and_is_named(change, words):
    verdict = judge_smoke(evidence_of(change))

    assert verdict.outcome == "fail"
    assert words in verdict.reason


def test_scores_may_differ_by_a_millionth():
    change = lambda a: {**a, "scores": [s * (1 + 5e-7) for s in a["scores"]]}  # noqa: E731

    assert judge_smoke(evidence_of(change)).outcome == "pass"


def test_a_number_is_compared_with_tolerance_and_a_bool_is_no_number():
    golden = Golden([{"inputs": {"x": 1.0}}], [{"output": 2.5, "scores": []}])
    near = judge_smoke(evidence_of(lambda a: {**a, "output": 2.5000001}, golden))
    far = judge_smoke(evidence_of(lambda a: {**a, "output": 2.51}, golden))
    truth = Golden([{"inputs": {"x": 1.0}}], [{"output": True, "scores": []}])
    one = judge_smoke(evidence_of(lambda a: {**a, "output": 1}, truth))

    assert [near.outcome, far.outcome, one.outcome] == ["pass", "fail", "fail"]


def test_an_endpoint_that_raises_fails_with_its_error():
    def post(request):
        raise ServiceError("SERVE-09", "answered 500")

    verdict = judge_smoke(replay_golden(post, GOLDEN, version=3, digest="d3"))

    assert verdict.outcome == "fail"
    assert "SERVE-09 answered 500" in verdict.reason


def replay_with(*answers):
    """Evidence from an endpoint that gives these answers in turn; None for the right one, an exception is raised."""
    turns = iter(zip(answers, GOLDEN.answers, strict=True))

    def post(request):
        answer, right = next(turns)
        if isinstance(answer, Exception):
            raise answer
        return {**(answer or right), "version": 3, "digest": "d3"}

    return replay_golden(post, GOLDEN, version=3, digest="d3")


GONE = ServiceError("SERVE-32", "the server does not answer: ConnectionRefusedError")


@pytest.mark.parametrize(
    "error",
    [
        GONE,
        ConnectionResetError("reset by peer"),
        TimeoutError("timed out"),
        socket.gaierror("no such host"),
        OSError(errno.EHOSTUNREACH, "No route to host"),
    ],
)
def test_a_server_that_goes_away_says_nothing_about_the_model(error):
    verdict = judge_smoke(replay_with(None, error))

    assert verdict.outcome == "inconclusive"
    assert "1 of 2 golden rows got no answer; row 2" in verdict.reason
    assert [row["answered"] for row in verdict.evidence["rows"]] == [True, False]


@pytest.mark.parametrize(
    "error",
    [ServiceError("SERVE-06", "answered 500"), ServiceError("SERVE-33", "not JSON"), KeyError("predictions")],
)
def test_an_error_that_the_server_answered_with_fails(error):
    verdict = judge_smoke(replay_with(None, error))

    assert verdict.outcome == "fail"
    assert [row["answered"] for row in verdict.evidence["rows"]] == [True, True]


def test_one_wrong_answer_fails_however_many_did_not_come():
    verdict = judge_smoke(replay_with(GONE, {"output": "UP", "scores": [0.9, 0.1]}))

    assert verdict.outcome == "fail"
    assert "1 of 2 golden rows differ; row 2: output 'UP'" in verdict.reason


def test_evidence_from_before_answers_were_counted_is_judged_as_then():
    evidence = replay_with(None, GONE)
    for row in evidence["rows"]:
        del row["answered"]
    verdict = judge_smoke(evidence)

    assert verdict.outcome == "fail"
    assert verdict.reason == (
        "1 of 2 golden rows differ; row 2: SERVE-32 the server does not answer: ConnectionRefusedError"
    )


def test_a_silent_endpoint_says_nothing_about_the_model():
    verdict = judge_smoke(silent_endpoint(version=3, digest="d3", waited_s=30))

    assert verdict.outcome == "inconclusive"
    assert "within 30 s" in verdict.reason


@pytest.mark.parametrize("change", [None, lambda a: {**a, "output": "UP"}, lambda a: {**a, "scores": [float("inf")]}])
def test_the_verdict_is_recomputed_from_its_recorded_evidence(change):
    verdict = judge_smoke(evidence_of(change))
    recorded = json.loads(json.dumps(verdict.to_dict(), allow_nan=False))

    assert verdict.to_dict() == DECISIONS[verdict.rule](recorded["evidence"]).to_dict()


def test_golden_rows_survive_their_file():
    assert Golden.from_json(GOLDEN.to_json()) == GOLDEN


@pytest.mark.parametrize("facts", [{"requests": [], "answers": []}, {"requests": [{"inputs": {}}], "answers": []}])
def test_golden_rows_that_prove_nothing_are_refused(facts):
    with pytest.raises(ModelError) as caught:
        Golden.from_json(json.dumps(facts).encode())

    assert caught.value.code == "DEPLOY-06"
