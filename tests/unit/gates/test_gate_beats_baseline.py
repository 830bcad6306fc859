import dataclasses

import numpy as np
import pytest
from gate_scenes import from_counts, regression

from millrace.core.errors import ModelError
from millrace.gates.beats_baseline import BeatsBaseline


def labelled(right, n, positives, train_positives=30, **more):
    """n rows of which the first `positives` are 1; the model is right on `right` of them, positives first."""
    y = np.repeat([1, 0], [positives, n - positives])
    is_right = np.arange(n) < right
    base = from_counts(n, 0, 0, 0)
    train = np.repeat([1, 0], [train_positives, 100 - train_positives])
    return dataclasses.replace(base, y_true=y, outputs=np.where(is_right, y, 1 - y), y_train=train, **more)


def verdict_of(gate, context):
    return gate.judge(gate.measure(context))


def test_model_that_knows_something_passes():
    verdict = verdict_of(BeatsBaseline(), labelled(900, 1000, 300))
    assert verdict.outcome == "pass"
    assert verdict.reason == (
        "accuracy 0.9 against 0.7 of the majority 0 (1,000 rows): better than the trivial baseline"
    )


def test_majority_is_that_of_the_training_labels():
    # The held-out rows are mostly 1, the training labels mostly 0: the baseline may not peek.
    evidence = BeatsBaseline().measure(labelled(90, 100, 80))
    assert (evidence["answer"], evidence["baseline_score"]) == (0, 0.2)


@pytest.mark.parametrize(
    ("right", "n", "outcome"),
    [
        (700, 1000, "fail"),  # exactly as good as always saying 0
        (710, 1000, "inconclusive"),
        (690, 1000, "fail"),
        (35, 50, "inconclusive"),  # not better, but on few rows
        (10, 50, "fail"),
    ],
)
def test_three_answers(right, n, outcome):
    context = labelled(right, n, 3 * n // 10)
    wrong_on = np.arange(n) >= right
    # Errors fall on both classes alike, so that candidate and baseline are wrong on different rows.
    order = np.random.default_rng(0).permutation(n)
    outputs = np.where(wrong_on[np.argsort(order)], 1 - context.y_true, context.y_true)
    assert verdict_of(BeatsBaseline(), dataclasses.replace(context, outputs=outputs)).outcome == outcome


def test_persistence_is_reported_but_decides_nothing():
    context = labelled(900, 1000, 300)
    context = dataclasses.replace(context, persistence_outputs=context.y_true)
    verdict = verdict_of(BeatsBaseline(), context)
    assert verdict.outcome == "pass"
    assert verdict.evidence["persistence_score"] == 1.0
    assert "the last known label would have 1" in verdict.reason


def test_regression_is_held_against_the_mean():
    better = verdict_of(BeatsBaseline(), regression(noise=1.0, y_train=np.zeros(10)))
    assert (better.outcome, better.evidence["baseline"], better.evidence["answer"]) == ("pass", "mean", 0.0)
    assert verdict_of(BeatsBaseline(), regression(noise=3.0, y_train=np.zeros(10))).outcome == "fail"


def test_baseline_has_the_training_shares_as_scores():
    context = labelled(900, 1000, 300)
    positive = np.where(context.outputs == 1, 0.9, 0.1)
    context = dataclasses.replace(context, scores=np.column_stack([1 - positive, positive]))
    evidence = BeatsBaseline(metric="roc_auc").measure(context)
    assert evidence["baseline_score"] == 0.5
    assert BeatsBaseline().judge(evidence).outcome == "pass"


def test_text_labels():
    context = labelled(900, 1000, 300)
    names = np.array(["no", "certainly"])
    context = dataclasses.replace(
        context,
        y_true=names[context.y_true],
        outputs=names[context.outputs],
        y_train=np.array(["certainly"] * 3 + ["no"], dtype=object),
        classes=["certainly", "no"],
    )
    evidence = BeatsBaseline().measure(context)
    assert (evidence["answer"], evidence["only_candidate"], evidence["only_baseline"]) == ("certainly", 600, 0)


def test_training_labels_are_needed():
    with pytest.raises(ModelError, match="GATE-04"):
        BeatsBaseline().measure(from_counts(9, 0, 0, 1))
