"""Metrics equal scikit-learn's on random problems, ties and rare classes included."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics as reference

from millrace.core.errors import ModelError
from millrace.training.metrics import score


def _problem(seed: int, rows: int, classes: int, decimals: int):
    rng = np.random.default_rng(seed)
    truth = rng.integers(0, classes, rows)
    raw = rng.random((rows, classes)) + np.eye(classes)[truth] * rng.random()
    probability = np.round(raw / raw.sum(axis=1, keepdims=True), decimals)
    probability[:, -1] = 1.0 - probability[:, :-1].sum(axis=1)
    return truth, probability.argmax(axis=1), probability


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), rows=st.integers(2, 60), decimals=st.sampled_from([1, 2, 12]))
def test_binary_equals_scikit_learn(seed, rows, decimals):
    truth, answers, probability = _problem(seed, rows, 2, decimals)

    found = score("binary", truth, answers, probability, [0, 1])

    expected = {
        "accuracy": reference.accuracy_score(truth, answers),
        "precision": reference.precision_score(truth, answers, zero_division=0),
        "recall": reference.recall_score(truth, answers, zero_division=0),
        "f1": reference.f1_score(truth, answers, zero_division=0),
        "log_loss": reference.log_loss(truth, probability, labels=[0, 1]),
        "brier": reference.brier_score_loss(truth, probability[:, 1], pos_label=1, labels=[0, 1]),
    }
    if len(set(truth.tolist())) == 2:
        expected["roc_auc"] = reference.roc_auc_score(truth, probability[:, 1])
    assert found.keys() == expected.keys()
    assert found == pytest.approx(expected, abs=1e-9)


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), rows=st.integers(12, 80))
def test_multiclass_equals_scikit_learn(seed, rows):
    truth, answers, probability = _problem(seed, rows, 4, 9)
    probability = np.abs(probability) / np.abs(probability).sum(axis=1, keepdims=True)
    labels = [0, 1, 2, 3]

    found = score("multiclass", truth, answers, probability, labels)

    present = sorted({*truth.tolist(), *answers.tolist()})
    expected = {
        "accuracy": reference.accuracy_score(truth, answers),
        "precision": reference.precision_score(truth, answers, labels=present, average="macro", zero_division=0),
        "recall": reference.recall_score(truth, answers, labels=present, average="macro", zero_division=0),
        "f1": reference.f1_score(truth, answers, labels=present, average="macro", zero_division=0),
        "log_loss": reference.log_loss(truth, probability, labels=labels),
        "brier": reference.brier_score_loss(truth, probability, labels=labels),
    }
    if len(set(truth.tolist())) == 4:
        expected["roc_auc"] = reference.roc_auc_score(truth, probability, multi_class="ovr", labels=labels)
    assert found.keys() == expected.keys()
    assert found == pytest.approx(expected, abs=1e-9)


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), rows=st.integers(2, 60), scale=st.sampled_from([1.0, 1e6, 1e-6]))
def test_regression_equals_scikit_learn(seed, rows, scale):
    rng = np.random.default_rng(seed)
    truth = rng.normal(size=rows) * scale
    answers = truth + rng.normal(size=rows) * scale / 3

    found = score("regression", truth, answers)

    expected = {
        "rmse": reference.root_mean_squared_error(truth, answers),
        "mae": reference.mean_absolute_error(truth, answers),
        "r2": reference.r2_score(truth, answers),
    }
    assert found == pytest.approx(expected, rel=1e-9)


def test_text_labels_take_the_second_class_as_positive():
    found = score("binary", ["no", "yes", "yes"], ["no", "yes", "no"], None, ["no", "yes"])

    assert found == pytest.approx({"accuracy": 2 / 3, "precision": 1.0, "recall": 0.5, "f1": 2 / 3})


def test_what_one_class_cannot_define_is_left_out():
    found = score("binary", [1, 1], [1, 0], [[0.2, 0.8], [0.6, 0.4]], [0, 1])

    assert "roc_auc" not in found
    assert found["accuracy"] == 0.5


def test_a_constant_target_has_no_r2():
    assert score("regression", [2.0, 2.0], [2.0, 3.0]) == pytest.approx({"rmse": 0.5**0.5, "mae": 0.5})


@pytest.mark.parametrize(
    ("code", "arguments"),
    [
        ("TRAIN-20", ("binray", [0], [0])),
        ("TRAIN-21", ("binary", [], [])),
        ("TRAIN-21", ("binary", [0, 1], [0])),
        ("TRAIN-21", ("binary", [0, 1], [0, 1], [[0.5, 0.5]], [0, 1])),
        ("TRAIN-22", ("binary", [0, 2], [0, 1], None, [0, 1])),
        ("TRAIN-23", ("regression", [0.0, float("nan")], [0.0, 1.0])),
        ("TRAIN-23", ("regression", [0.0, 1.0], [0.0, float("inf")])),
    ],
)
def test_what_cannot_be_scored_is_refused(code, arguments):
    with pytest.raises(ModelError) as caught:
        score(*arguments)

    assert caught.value.code == code
