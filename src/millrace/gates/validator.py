"""The gates over a fitted model in hand: notebooks, scripts, tests."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from millrace.core.bundle import Column, ColumnType, Task
from millrace.gates.context import Gate, GateContext, Score
from millrace.gates.evaluate import blocks, evaluate_all
from millrace.gates.latency import Latency
from millrace.gates.no_regression import NoRegression
from millrace.gates.robustness import Robustness
from millrace.gates.threshold import Threshold

_COLUMN_TYPES: dict[str, ColumnType] = {"i": "int", "u": "int", "f": "float", "b": "bool"}


class ModelValidator:
    """Evaluates gates on a model with scikit-learn's shape: ``predict``, and ``predict_proba`` if it has scores.

    Parameters
    ----------
    model : object
    X : DataFrame or array of shape (n, features)
    y : array of shape (n,)
        Held-out rows and labels.
    baseline : object, optional
        The model in production, to compare with.
    gates : iterable of Gate, optional
        Accuracy of 0.85 (classification only), no regression, latency and robustness if not given.
    score : callable, optional
        ``score(task, y_true, outputs, scores, classes) -> dict``; accuracy, or rmse and mae, if not given.
    y_train : array, optional
        Training labels, for BeatsBaseline.
    """

    def __init__(
        self,
        model: Any,
        X: Any,
        y: Any,
        baseline: Any = None,
        *,
        gates: Iterable[Gate] | None = None,
        score: Score | None = None,
        y_train: Any = None,
    ) -> None:
        self.model, self.X, self.y, self.baseline = model, X, np.asarray(y), baseline
        self.task: Task = _task_of(model)
        self.gates = list(_default_gates(self.task) if gates is None else gates)
        self._score = simple_score if score is None else score
        self._y_train = None if y_train is None else np.asarray(y_train)

    def validate_all(self) -> tuple[bool, dict[str, dict[str, Any]]]:
        """Whether the model may go out, and per gate ``passed``, ``outcome``, ``reason`` and ``details``.

        `passed` is False where the gate blocks; a gate that cannot tell blocks or not as it was set to. A second gate
        of one name is listed as ``name_2``.
        """
        results: dict[str, dict[str, Any]] = {}
        for gate, verdict in zip(self.gates, evaluate_all(self.gates, self.context()), strict=True):
            twins = sum(1 for name in results if name == gate.name or name.startswith(f"{gate.name}_"))
            results[f"{gate.name}_{twins + 1}" if twins else gate.name] = {
                "passed": not blocks(verdict),
                "outcome": verdict.outcome,
                "reason": verdict.reason,
                "details": dict(verdict.evidence),
            }
        return all(result["passed"] for result in results.values()), results

    def context(self) -> GateContext:
        """What the gates look at."""
        outputs, scores = _answer(self.model, self.X)
        champion = (None, None) if self.baseline is None else _answer(self.baseline, self.X)
        return GateContext(
            task=self.task,
            y_true=self.y,
            outputs=outputs,
            scores=scores,
            score=self._score,
            classes=list(getattr(self.model, "classes_", ())),
            champion_outputs=champion[0],
            champion_scores=champion[1],
            y_train=self._y_train,
            rows=np.asarray(self.X, dtype=object).tolist(),
            columns=_columns_of(self.X),
            predict=lambda rows: _answer(self.model, _like(self.X, rows)),
        )


def simple_score(
    task: Task, y_true: Any, outputs: Any, scores: Any = None, classes: Sequence[Any] = ()
) -> Mapping[str, float]:
    """Accuracy, or rmse and mae for regression."""
    if task != "regression":
        return {"accuracy": float(np.mean(outputs == y_true))}
    miss = np.asarray(outputs, dtype=float) - np.asarray(y_true, dtype=float)
    return {"rmse": float(np.sqrt(np.mean(miss**2))), "mae": float(np.mean(np.abs(miss)))}


def _task_of(model: Any) -> Task:
    classes = getattr(model, "classes_", None)
    if classes is None:
        return "multiclass" if hasattr(model, "predict_proba") else "regression"
    return "binary" if len(classes) == 2 else "multiclass"


def _default_gates(task: Task) -> list[Gate]:
    absolute: list[Gate] = [] if task == "regression" else [Threshold(accuracy=0.85)]
    return [*absolute, NoRegression(), Latency(), Robustness()]


def _answer(model: Any, X: Any) -> tuple[Any, Any]:
    scores = np.asarray(model.predict_proba(X)) if hasattr(model, "predict_proba") else None
    return np.asarray(model.predict(X)), scores


def _like(X: Any, rows: Sequence[Sequence[Any]]) -> Any:
    """Rows in the form the model was given: a frame with the same columns and types, or an array."""
    if hasattr(X, "columns"):
        return type(X)(rows, columns=list(X.columns)).astype(dict(X.dtypes))
    return np.asarray(rows, dtype=np.asarray(X).dtype)


def _columns_of(X: Any) -> list[Column]:
    if hasattr(X, "columns"):
        kinds = [getattr(dtype, "kind", "O") for dtype in X.dtypes]
        return [
            Column(str(name), _COLUMN_TYPES.get(kind, "string")) for name, kind in zip(X.columns, kinds, strict=True)
        ]
    array = np.asarray(X)
    kind = _COLUMN_TYPES.get(array.dtype.kind, "string")
    return [Column(f"x{i}", kind) for i in range(array.shape[1])]
