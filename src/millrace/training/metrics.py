"""Scores of a model on labelled rows, in numpy, equal to scikit-learn's to the last digits.

A metric that the rows cannot define is left out, never guessed: the area under the ROC curve needs both classes,
r2 needs two different targets.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from millrace.core.bundle import Task
from millrace.core.errors import ModelError, did_you_mean

Floats = npt.NDArray[np.float64]
Codes = npt.NDArray[np.int64]

LOWER_IS_BETTER = frozenset({"log_loss", "brier", "rmse", "mae"})

_TASKS = ("binary", "multiclass", "regression")


def score(task: Task, y_true: Any, outputs: Any, scores: Any = None, classes: Sequence[Any] = ()) -> dict[str, float]:
    """All metrics of `task` that the rows define.

    Parameters
    ----------
    task : {"binary", "multiclass", "regression"}
    y_true, outputs : array-like of shape (n,)
        Labels and the model's answers: classes, or numbers for regression.
    scores : array-like of shape (n, k), optional
        Probability of each class in the order of `classes`; without it roc_auc, log_loss and brier are left out.
    classes : sequence of length k, optional
        Class labels; by default the sorted labels seen. For a binary task the second is the positive one.

    Returns
    -------
    dict of str to float
        Binary: accuracy, precision, recall, f1 (of the second class; 0 where nothing was predicted or true),
        roc_auc, log_loss, brier. Multiclass: the same, averaged over classes with equal weight (roc_auc: one class
        against the rest). Regression: rmse, mae, r2.

    Raises
    ------
    ModelError
        TRAIN-20 for an unknown task, TRAIN-21 for no rows or different lengths, TRAIN-22 for a label outside
        `classes`, TRAIN-23 for a label or answer that is missing or not finite.
    """
    if task not in _TASKS:
        raise ModelError("TRAIN-20", f"the task {task!r} is not known", fix=did_you_mean(str(task), _TASKS))
    truth, answers = np.asarray(y_true), np.asarray(outputs)
    if truth.shape != answers.shape or truth.ndim != 1 or truth.size == 0:
        raise ModelError(
            "TRAIN-21",
            f"{truth.shape} labels and {answers.shape} answers cannot be scored",
            fix="give one answer per label, and at least one row",
        )
    if task == "regression":
        return _regression(_finite(truth, "labels"), _finite(answers, "answers"))
    return _classification(task, truth, answers, scores, classes)


def _regression(truth: Floats, answers: Floats) -> dict[str, float]:
    error = truth - answers
    found = {"rmse": float(np.sqrt(np.mean(error**2))), "mae": float(np.mean(np.abs(error)))}
    spread = float(np.sum((truth - truth.mean()) ** 2))
    if spread > 0.0:
        found["r2"] = 1.0 - float(np.sum(error**2)) / spread
    return found


def _classification(
    task: Task, truth: npt.NDArray[Any], answers: npt.NDArray[Any], scores: Any, classes: Sequence[Any]
) -> dict[str, float]:
    labels = list(classes) or sorted({*truth.tolist(), *answers.tolist()})
    true, said = _codes(truth, labels, "label"), _codes(answers, labels, "answer")
    size = max(len(labels), 2 if task == "binary" else 1)
    table = np.bincount(true * size + said, minlength=size * size).reshape(size, size)
    hits, predicted, actual = np.diag(table), table.sum(axis=0), table.sum(axis=1)
    counts = {
        "precision": _ratio(hits, predicted),
        "recall": _ratio(hits, actual),
        "f1": _ratio(2 * hits, predicted + actual),
    }
    found = {"accuracy": float(hits.sum() / true.size)}
    if task == "binary":
        found |= {name: float(values[1]) for name, values in counts.items()}
    else:
        present = (predicted + actual) > 0  # a class nobody saw says nothing about the model
        found |= {name: float(values[present].mean()) for name, values in counts.items()}
    if scores is not None and len(scores):
        found |= _probabilistic(task, true, _probabilities(scores, true.size, size))
    return found


def _probabilistic(task: Task, true: Codes, probability: Floats) -> dict[str, float]:
    found: dict[str, float] = {}
    members = np.eye(probability.shape[1])[true]
    columns = [1] if task == "binary" else list(range(probability.shape[1]))
    if all(0 < members[:, c].sum() < true.size for c in columns):
        areas = [_area(members[:, c] == 1, probability[:, c]) for c in columns]
        found["roc_auc"] = float(np.mean(areas))
    shares = probability / probability.sum(axis=1, keepdims=True)
    tiny = np.finfo(np.float64).eps
    chosen = np.clip(shares[np.arange(true.size), true], tiny, 1.0 - tiny)
    found["log_loss"] = float(-np.mean(np.log(chosen)))
    if task == "binary":
        found["brier"] = float(np.mean((probability[:, 1] - members[:, 1]) ** 2))
    else:
        found["brier"] = float(np.mean(np.sum((probability - members) ** 2, axis=1)))
    return found


def _area(positive: npt.NDArray[np.bool_], score_of: Floats) -> float:
    """Share of (positive, negative) pairs in the right order, ties half: the area under the ROC curve."""
    _, inverse, counts = np.unique(score_of, return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    rank = (last - (counts - 1) / 2.0)[inverse]  # the middle rank of each tie
    n_positive = int(positive.sum())
    n_negative = positive.size - n_positive
    above = rank[positive].sum() - n_positive * (n_positive + 1) / 2.0
    return float(above / (n_positive * n_negative))


def _ratio(part: Codes, whole: Codes) -> Floats:
    return np.divide(part, whole, out=np.zeros(len(whole), dtype=np.float64), where=whole > 0)


def _codes(values: npt.NDArray[Any], labels: Sequence[Any], what: str) -> Codes:
    code = {label: position for position, label in enumerate(labels)}
    unknown = {value for value in values.tolist() if value not in code}
    if unknown:
        raise ModelError(
            "TRAIN-22",
            f"the {what} {min(map(repr, unknown))} is not one of the classes {list(labels)}",
            why=f"{len(unknown)} different values are outside the classes",
            fix="train with every class the labels can take, or drop those rows",
        )
    return np.array([code[value] for value in values.tolist()], dtype=np.int64)


def _probabilities(scores: Any, rows: int, size: int) -> Floats:
    probability = _finite(np.asarray(scores), "probabilities")
    if probability.shape != (rows, size):
        raise ModelError(
            "TRAIN-21",
            f"probabilities of shape {probability.shape} do not fit {rows} rows and {size} classes",
            fix="give one probability per row and class, in the order of the classes",
        )
    return probability


def _finite(values: npt.NDArray[Any], what: str) -> Floats:
    try:
        numbers = values.astype(np.float64)
    except (TypeError, ValueError) as error:
        raise ModelError("TRAIN-23", f"the {what} are not numbers: {error}") from error
    bad = int(np.count_nonzero(~np.isfinite(numbers)))
    if bad:
        raise ModelError(
            "TRAIN-23",
            f"{bad} of {numbers.size} {what} are missing or not finite",
            fix="a metric over them would be a guess: drop those rows, or mend the model that answered them",
        )
    return numbers
