"""What a gate may look at, and what a gate is."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from millrace.core.bundle import Column, Task
from millrace.core.errors import DataError, ModelError
from millrace.core.verdict import Verdict

if TYPE_CHECKING:
    from numpy.typing import NDArray

Predict = Callable[[Sequence[Sequence[Any]]], "tuple[Any, Any]"]
Score = Callable[[Task, Any, Any, Any, Sequence[Any]], Mapping[str, float]]


@dataclass(frozen=True)
class GateContext:
    """A candidate on held-out rows, beside what it is compared with.

    Parameters
    ----------
    task : {"binary", "multiclass", "regression"}
    y_true : ndarray of shape (n,)
    outputs : ndarray of shape (n,)
        The candidate's answers.
    score : callable
        ``score(task, y_true, outputs, scores, classes)`` gives metrics by name; one that the rows leave
        undefined is left out or NaN.
    scores : ndarray of shape (n, classes), optional
        The candidate's class probabilities, in the order of `classes`.
    classes : sequence
        Class labels; empty for regression.
    champion_outputs, champion_scores : ndarrays, optional
        The same of the model in production, on the same rows; None for a first version.
    y_train : ndarray of shape (any,), optional
        Training labels: the trivial baseline is their majority class or mean.
    persistence_outputs : ndarray of shape (n,), optional
        "Same as the last known label", where the data is a stream.
    rows : sequence of n rows
        Feature values in the order of `columns`; None for a missing value.
    columns : sequence of Column
    predict : callable, optional
        ``predict(rows) -> (outputs, scores)``: the candidate as it will be served.
    timer : callable
        Seconds on any clock that only goes forward.

    Raises
    ------
    DataError
        GATE-01 when lengths disagree, GATE-02 when there is no row.
    """

    task: Task
    y_true: NDArray[Any]
    outputs: NDArray[Any]
    score: Score
    scores: NDArray[Any] | None = None
    classes: Sequence[Any] = ()
    champion_outputs: NDArray[Any] | None = None
    champion_scores: NDArray[Any] | None = None
    y_train: NDArray[Any] | None = None
    persistence_outputs: NDArray[Any] | None = None
    rows: Sequence[Sequence[Any]] = ()
    columns: Sequence[Column] = ()
    predict: Predict | None = None
    timer: Callable[[], float] = time.perf_counter

    def __post_init__(self) -> None:
        n = len(self.y_true)
        if n == 0:
            raise DataError("GATE-02", "there is no held-out row to judge the model on", fix="hold out more data")
        names = ["outputs", "scores", "champion_outputs", "champion_scores", "persistence_outputs"]
        if len(self.rows):
            names.append("rows")
        findings = [
            DataError("GATE-01", f"{name} has {len(getattr(self, name))} rows, y_true has {n}")
            for name in names
            if getattr(self, name) is not None and len(getattr(self, name)) != n
        ]
        if findings:
            raise DataError("GATE-01", "what the gates compare is not of the same rows", findings=findings)

    def model(self, gate: str) -> Predict:
        """The candidate's `predict`. Raises ModelError GATE-03 if the context has none or no rows to ask it."""
        if self.predict is None or len(self.rows) == 0:
            raise ModelError(
                "GATE-03",
                f"gate '{gate}' asks the model itself, but was given no predict function or no rows",
                fix="give the GateContext predict, rows and columns",
            )
        return self.predict


class Gate(Protocol):
    """A rule on a model: measure what it needs, then judge the measurement alone."""

    @property
    def name(self) -> str: ...

    def describe(self) -> str:
        """The rule in one line."""
        ...

    def measure(self, context: GateContext) -> dict[str, Any]:
        """Evidence, JSON-ready, limits included."""
        ...

    def judge(self, evidence: Mapping[str, Any]) -> Verdict:
        """The verdict: a pure function of the evidence."""
        ...
