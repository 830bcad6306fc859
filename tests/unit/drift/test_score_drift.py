"""The model's own answers, then and now."""

import numpy as np
import pytest

from millrace.drift.batch_decisions import judge_scores
from millrace.drift.scores import compare_scores


def answers(seed, rows, shares):
    rng = np.random.default_rng(seed)
    return rng.choice(len(shares), rows, p=shares).tolist()


def binary(seed, rows, shift=0.0):
    score = 1 / (1 + np.exp(-(np.random.default_rng(seed).normal(shift, 1, rows))))
    return (score >= 0.5).astype(int).tolist(), np.column_stack([1 - score, score])


def test_a_class_that_vanished_is_found_and_named():
    nine = [0.0] + [1 / 9] * 9
    found = [
        judge_scores(compare_scores(answers(s, 600, [0.1] * 10), answers(900 + s, 200, nine), classes=list(range(10))))
        for s in range(20)
    ]

    assert sum(verdict.is_fail for verdict in found) >= 18
    assert "share of 0" in found[0].reason


def test_healthy_answers_are_flagged_no_more_often_than_stated():
    runs, flagged = 200, 0
    for seed in range(runs):
        (before, p), (after, q) = binary(seed, 500), binary(5000 + seed, 300)
        evidence = compare_scores(
            before, after, classes=[0, 1], reference_scores=p, current_scores=q, alpha=0.05, effect=0.0
        )
        flagged += judge_scores(evidence).is_fail
    assert flagged / runs <= 0.05 + 3 * (0.05 * 0.95 / runs) ** 0.5


def test_scores_that_moved_are_found_and_a_small_move_is_not_drift():
    (before, p), (after, q), (near, r) = binary(1, 1000), binary(2, 1000, 0.4), binary(3, 1000, 0.0)

    assert judge_scores(compare_scores(before, after, classes=[0, 1], reference_scores=p, current_scores=q)).is_fail
    assert judge_scores(compare_scores(before, near, classes=[0, 1], reference_scores=p, current_scores=r)).is_pass


def test_answers_of_a_regression_are_compared_as_numbers():
    rng = np.random.default_rng(0)
    before, after = rng.normal(size=500), rng.normal(0.5, 1, 500)

    evidence = compare_scores(before, after)

    assert [test["of"] for test in evidence["tests"]] == ["answers"]
    assert judge_scores(evidence).is_fail
    assert judge_scores(compare_scores(before, before)).is_pass


def test_answers_that_are_no_number_or_no_class_are_drift_themselves():
    rng = np.random.default_rng(0)
    numbers = rng.normal(size=500)
    broken = np.where(np.arange(500) % 10 == 0, np.nan, numbers)

    assert judge_scores(compare_scores(numbers, broken)).is_fail
    assert judge_scores(compare_scores(["a", "b"] * 200, ["a", "c"] * 200, classes=["a", "b"])).is_fail


def test_answers_that_are_all_none_are_drift_though_nothing_is_left_to_test():
    (before, p), (after, q) = binary(1, 500), binary(2, 500)
    q[50:] = np.nan

    for evidence in (
        compare_scores(np.arange(500.0), np.full(500, np.nan)),
        compare_scores(before, after, classes=[0, 1], reference_scores=p, current_scores=q),
    ):
        verdict = judge_scores(evidence)
        assert verdict.is_fail
        assert "of 500 answers are no number or of no known class" in verdict.reason


def test_scores_that_could_not_be_compared_are_never_passed_over():
    (before, p), (after, q), (moved, r) = binary(1, 500), binary(2, 500), binary(3, 500, 2.0)
    broken = np.where(np.arange(500)[:, None] < 420, np.nan, p)

    def judged(reference, current, outputs):
        return judge_scores(
            compare_scores(before, outputs, classes=[0, 1], reference_scores=reference, current_scores=current)
        )

    assert judged(p, q, after).is_pass
    verdict = judged(broken, q, after)
    assert verdict.outcome == "inconclusive"
    assert verdict.reason.endswith("score of 1 could not be compared: 80 and 500 numbers, 100 of each are needed")
    assert judged(broken, r, moved).is_fail
    verdict = judged(p, None, after)
    assert verdict.outcome == "inconclusive"
    assert verdict.reason.endswith("scores could not be compared: not every current answer came with its scores")
    assert judged(None, q, after).is_pass
    assert judged(None, None, after).is_pass


def test_texts_among_the_numbers_of_a_regression_are_no_numbers_and_stop_nothing():
    numbers = np.random.default_rng(0).normal(size=500).tolist()

    verdict = judge_scores(compare_scores(numbers, ["?" if n < 100 else one for n, one in enumerate(numbers)]))
    assert (verdict.outcome, verdict.reason) == ("fail", "100 of 500 answers are no number or of no known class")
    for broken in (["?"] * 500, [None] * 500, [float("nan")] * 500):
        verdict = judge_scores(compare_scores(broken, numbers))
        assert (verdict.outcome, verdict.reason) == (
            "inconclusive",
            "0 and 500 answers to compare, 100 of each are needed",
        )


@pytest.mark.parametrize(("n", "m"), [(0, 500), (500, 0), (99, 500), (500, 99)])
def test_too_few_answers_are_inconclusive(n, m):
    verdict = judge_scores(compare_scores([0, 1] * n, [0, 1] * m, classes=[0, 1], min_rows=200))

    assert verdict.outcome == "inconclusive"


def test_one_class_on_both_sides_is_no_drift():
    assert judge_scores(compare_scores([0] * 300, [0] * 300, classes=[0, 1])).is_pass


def test_the_verdict_can_be_replayed_from_its_evidence():
    import json

    verdict = judge_scores(compare_scores([0, 1] * 200, [0] * 400, classes=[0, 1]))

    assert verdict.is_fail
    assert judge_scores(json.loads(json.dumps(verdict.evidence))) == verdict
