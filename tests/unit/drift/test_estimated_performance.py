"""Performance without labels: it follows a batch that became harder, and is blind to a changed concept."""

import numpy as np
import pytest

from millrace.core.errors import DataError
from millrace.drift.batch_decisions import judge_estimated_performance
from millrace.drift.calibration import learn_map, reliability
from millrace.drift.estimated_performance import estimate_performance


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def stream(rng, rows, centre=0.0, slope=2.0, offset=0.0):
    """One input, and labels that follow it."""
    x = rng.normal(centre, 1, rows)
    return x, (rng.random(rows) < sigmoid(slope * x + offset)).astype(int)


def model(x, sharpness=1.0):
    """A model of the stream's first concept: calibrated at sharpness 1, overconfident above."""
    p = sigmoid(2 * x * sharpness)
    return np.column_stack([1 - p, p]), (p >= 0.5).astype(int)


def truth(outputs, labels):
    return float((outputs == labels).mean()) if len(labels) else None


def estimate(rng, *, centre=0.0, sharpness=1.0, rows=1000, holdout=1500, **concept):
    x, y = stream(rng, holdout)
    now, labels = stream(rng, rows, centre, **concept)
    outputs = model(now, sharpness)[1]
    evidence = estimate_performance(
        model(x, sharpness)[0], y, model(now, sharpness)[0], outputs.tolist(), classes=[0, 1]
    )
    return evidence, truth(outputs, labels)


@pytest.mark.parametrize("sharpness", [1.0, 3.0])
@pytest.mark.parametrize("centre", [0.0, -0.7, 1.5])
def test_the_interval_holds_what_labels_would_show_under_covariate_shift(sharpness, centre):
    covered, errors, runs = 0, [], 40
    for seed in range(runs):
        evidence, accuracy = estimate(np.random.default_rng(seed), centre=centre, sharpness=sharpness)
        facts = evidence["metrics"]["accuracy"]
        covered += facts["low"] <= accuracy <= facts["high"]
        errors.append(facts["value"] - accuracy)

    assert covered / runs >= 0.95 - 3 * (0.95 * 0.05 / runs) ** 0.5
    assert abs(np.mean(errors)) < 0.008


def test_a_harder_batch_is_found_without_labels():
    rng = np.random.default_rng(1)
    x, y = stream(rng, 3000, 2.0)  # the holdout: easy
    x = np.concatenate([x, rng.normal(0, 0.3, 600)])  # with some of the hard region, so that it is calibrated there
    y = np.concatenate([y, (rng.random(600) < sigmoid(2 * x[3000:])).astype(int)])
    hard = rng.normal(0, 0.3, 1000)
    labels = (rng.random(1000) < sigmoid(2 * hard)).astype(int)
    evidence = estimate_performance(model(x)[0], y, model(hard)[0], model(hard)[1], classes=[0, 1])
    accuracy = truth(model(hard)[1], labels)
    facts = evidence["metrics"]["accuracy"]

    verdict = judge_estimated_performance(evidence)

    assert verdict.is_fail
    assert "limit" in verdict.reason
    assert facts["low"] <= accuracy <= facts["high"]


def test_a_changed_concept_is_its_blind_spot():
    evidence, accuracy = estimate(np.random.default_rng(1), slope=1.0, offset=-1.5)
    facts = evidence["metrics"]["accuracy"]

    assert accuracy < facts["low"] - 0.05  # labels would show a fall that the estimate does not
    assert judge_estimated_performance(evidence).is_pass
    assert "concept drift is invisible" in evidence["blind_spot"]


def test_overconfident_scores_are_told_and_mended():
    evidence, _ = estimate(np.random.default_rng(2), sharpness=3.0)
    calibration = evidence["calibration"]

    assert calibration["raw"]["error"] > 0.05
    assert calibration["raw"]["p_value"] < 1e-6
    assert calibration["mended"]["error"] < 0.03


def test_of_scores_that_are_upside_down_nothing_is_left():
    rng = np.random.default_rng(3)
    x, y = stream(rng, 2000)
    scores, outputs = model(-x)

    evidence = estimate_performance(scores, y, scores, outputs, classes=[0, 1])

    # The map may only rise: what is left of such scores is the base rate, which orders nothing.
    assert evidence["calibration"]["raw"]["error"] > 0.3
    assert evidence["metrics"]["roc_auc"]["value"] == pytest.approx(0.5, abs=0.05)


def test_scores_that_stay_wrong_after_mending_make_no_estimate():
    evidence, _ = estimate(np.random.default_rng(2))
    broken = evidence | {"calibration": {"raw": {"error": 0.2}, "mended": {"error": 0.06}}}

    verdict = judge_estimated_performance(broken)

    assert verdict.outcome == "inconclusive"
    assert "cannot be calibrated" in verdict.reason


def test_three_classes():
    rng = np.random.default_rng(4)

    def draw(rows, tilt):
        logits = rng.normal(size=(rows, 3)) + np.array([tilt, 0, 0])
        p = np.exp(1.5 * logits) / np.exp(1.5 * logits).sum(axis=1, keepdims=True)
        labels = (p.cumsum(axis=1)[:, :-1] < rng.random((rows, 1))).sum(axis=1)
        return p, p.argmax(axis=1), labels

    p, said, labels = draw(3000, 0.0)
    now, outputs, hidden = draw(2000, 1.0)
    names = np.array(["a", "b", "c"])
    evidence = estimate_performance(p, names[labels], now, names[outputs], classes=names.tolist())
    facts = evidence["metrics"]["accuracy"]

    assert facts["at_deploy"] == pytest.approx(truth(said, labels))
    assert facts["low"] <= truth(outputs, hidden) <= facts["high"]
    assert set(evidence["metrics"]) == {"accuracy", "f1", "roc_auc"}


def test_the_estimates_of_perfectly_known_probabilities_are_the_expectations():
    from millrace.drift.estimated_performance import _Batch

    rng = np.random.default_rng(5)
    p = rng.random(400).round(1)
    batch = _Batch(np.column_stack([1 - p, p]), (p >= 0.5).astype(int))
    labels = (rng.random((4000, 400)) < p).astype(int)
    simulated = batch.metrics(labels)

    expected = batch.expected(np.column_stack([1 - p, p]))

    for name, value in expected.items():
        assert value == pytest.approx(np.nanmean(simulated[name]), abs=0.003)


def test_the_area_equals_the_evaluation_of_real_labels():
    from millrace.drift.estimated_performance import _Batch
    from millrace.training.metrics import score

    rng = np.random.default_rng(6)
    p = rng.random(200).round(2)
    labels, outputs = (rng.random(200) < p).astype(int), (p >= 0.5).astype(int)
    scores = np.column_stack([1 - p, p])
    expected = score("binary", labels, outputs, scores, [0, 1])

    found = _Batch(scores, outputs).metrics(labels[None, :])

    for name in ("accuracy", "f1", "roc_auc"):
        assert found[name][0] == pytest.approx(expected[name])


@pytest.mark.parametrize(("holdout", "rows"), [(199, 1000), (1500, 99), (0, 500), (1500, 0)])
def test_too_few_rows_are_inconclusive(holdout, rows):
    evidence, _ = estimate(np.random.default_rng(0), holdout=holdout, rows=rows)

    assert judge_estimated_performance(evidence).outcome == "inconclusive"


@pytest.mark.parametrize(
    ("scores", "labels", "code"),
    [
        (np.ones((3, 3)), [0, 1, 0], "DRIFT-20"),
        (np.ones((4, 2)), [0, 1, 0], "DRIFT-20"),
        (np.array([[0.5, np.nan]] * 3), [0, 1, 0], "DRIFT-21"),
        (np.ones((3, 2)), [0, 1, 7], "DRIFT-22"),
    ],
)
def test_what_does_not_fit_is_refused(scores, labels, code):
    with pytest.raises(DataError) as refused:
        estimate_performance(scores, labels, np.ones((3, 2)), [0, 1, 0], classes=[0, 1])
    assert refused.value.code == code


def test_limits_are_held_against_the_metric_they_name():
    rng = np.random.default_rng(8)
    x, y = stream(rng, 2000)
    now, _ = stream(rng, 2000)
    scores, outputs = model(now)

    def judged(**limits):
        return judge_estimated_performance(
            estimate_performance(model(x)[0], y, scores, outputs, classes=[0, 1], limits=limits)
        )

    assert judged(roc_auc=0.99).is_fail
    assert judged(roc_auc=0.6).is_pass
    assert judged(recall=0.6).outcome == "inconclusive"
    for limits, outcome in (({"accuracy": 0.5}, "inconclusive"), ({"accuracy": 0.99}, "fail")):
        verdict = judged(recall=0.6, **limits)
        assert verdict.outcome == outcome
        assert "recall has a limit and no estimate: it cannot be estimated without labels" in verdict.reason
        assert "estimated accuracy" in verdict.reason


def test_a_limit_on_what_the_rows_do_not_define_is_said_to_be_unjudged():
    scores = np.tile([0.0, 1.0], (300, 1))  # sure of one class on every row: no pair to put in order

    evidence = estimate_performance(
        scores, [1] * 300, scores, [1] * 300, classes=[0, 1], limits={"accuracy": 0.5, "roc_auc": 0.6}
    )
    verdict = judge_estimated_performance(evidence)

    assert verdict.outcome == "inconclusive"
    assert verdict.reason.endswith("roc_auc has a limit and no estimate: it is not defined on these rows")


def test_a_map_rises_and_is_as_uncertain_as_its_rows():
    rng = np.random.default_rng(9)
    scores = rng.random(1000)
    learned = learn_map(scores, rng.random(1000) < scores**2)
    grid = np.linspace(0, 1, 50)

    assert (np.diff(learned.apply(grid)) >= 0).all()
    assert np.abs(learned.apply(grid) - grid**2).max() < 0.12
    draws = np.stack([learned.apply(grid, rng) for _ in range(50)])
    assert 0.02 < draws.std(axis=0)[25] < 0.15


def test_a_map_of_one_score_is_the_share():
    learned = learn_map(np.full(400, 0.3), np.arange(400) % 4 == 0)

    assert learned.apply(np.array([0.0, 0.3, 1.0])).tolist() == [0.25] * 3


def test_calibrated_scores_are_called_calibrated():
    rng = np.random.default_rng(10)
    p_values = []
    for _ in range(100):
        p = rng.random(500)
        p_values.append(reliability(p, rng.random(500) < p).p_value)

    assert np.mean(np.array(p_values) < 0.05) < 0.05 + 3 * (0.05 * 0.95 / 100) ** 0.5


def test_a_limit_that_is_no_number_is_never_kept():
    evidence, _ = estimate(np.random.default_rng(3))
    evidence["metrics"]["accuracy"]["limit"] = float("nan")

    verdict = judge_estimated_performance(evidence)

    assert verdict.outcome == "inconclusive"
    assert verdict.reason == "no number: accuracy or its limit"
