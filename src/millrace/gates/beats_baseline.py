"""A model must beat the answer that needs no model."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from millrace.core.definition import caller_place
from millrace.core.errors import ModelError
from millrace.core.verdict import Outcome, Verdict
from millrace.gates.intervals import paired_bounds
from millrace.gates.judging import judged
from millrace.gates.settings import check_choice, check_number, default_metric, finite, is_known_metric

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from millrace.gates.context import GateContext

RULE = "gate.beats_baseline"


@dataclass(frozen=True)
class BeatsBaseline:
    """The candidate beats always answering the training labels' majority class, or their mean.

    Paired on the same rows: pass when the lower one-sided 95 % bound of the difference is above 0; fail when the
    upper bound is below 0, or when with `min_rows` rows the candidate is not better at all; else inconclusive. Where
    the data is a stream, "same as the last known label" stands beside it in evidence and reason, but decides nothing.

    Parameters
    ----------
    metric : str, optional
        Accuracy, or rmse for regression, if not named. The baseline's probabilities are the training shares.
    min_rows : int
    when_inconclusive : {"promote", "hold"}
    """

    metric: str | None = None
    min_rows: int = 100
    when_inconclusive: Literal["promote", "hold"] = "hold"
    place: str | None = field(default=None, repr=False, compare=False)
    name = "beats_baseline"

    def __post_init__(self) -> None:
        object.__setattr__(self, "place", caller_place())
        check_number(self.min_rows, "min_rows", "BeatsBaseline", 1, 10**9, whole=True)
        check_choice(self.when_inconclusive, "BeatsBaseline")
        if self.metric is not None:
            is_known_metric(self.metric, "BeatsBaseline")

    def describe(self) -> str:
        return f"{self.metric or 'accuracy or rmse'} better than the majority class or the mean"

    def measure(self, context: GateContext) -> dict[str, Any]:
        from millrace.gates.resampling import metric_of, metrics_of, paired_bootstrap

        metric = self.metric or default_metric(context.task)
        answer, outputs, scores = _trivial(context)
        persistence = None
        if context.persistence_outputs is not None:
            persistence = finite(metrics_of(context, context.persistence_outputs, None).get(metric))
        evidence = {
            "metric": metric,
            "rows": len(context.y_true),
            "min_rows": self.min_rows,
            "baseline": "mean" if context.task == "regression" else "majority",
            "answer": answer,
            "candidate_score": metric_of(context, metric, context.outputs, context.scores),
            "baseline_score": metric_of(context, metric, outputs, scores),
            "persistence_score": persistence,
            "when_inconclusive": self.when_inconclusive,
        }
        if metric == "accuracy" and context.task != "regression":
            return evidence | _count_wins(context, outputs)
        return evidence | {"method": "bootstrap", **paired_bootstrap(context, metric, (outputs, scores))}

    def judge(self, evidence: Mapping[str, Any]) -> Verdict:
        return judge(evidence)


@judged(RULE)
def judge(evidence: Mapping[str, Any]) -> tuple[Outcome, str]:
    """Three-way rule on the paired difference from the trivial baseline."""
    metric, n = evidence["metric"], evidence["rows"]
    if evidence["method"] == "counts":
        won, lost = evidence["only_candidate"], evidence["only_baseline"]
        difference: float | None = (won - lost) / n
        bounds: tuple[float | None, float | None] = paired_bounds(won, lost, n)
    else:
        difference, bounds = evidence["difference"], (evidence["lower"], evidence["upper"])
    lower, upper = bounds
    if difference is None or lower is None or upper is None:
        return "inconclusive", f"{metric} cannot be computed for model and baseline on these {n:,} rows"
    said = (
        f"{metric} {evidence['candidate_score']:.4g} against {evidence['baseline_score']:.4g} of the "
        f"{evidence['baseline']} {evidence['answer']!r}{_persistence(evidence)} ({n:,} rows)"
    )
    if difference <= 0 and n >= evidence["min_rows"]:
        return "fail", f"{said}: not better than the trivial baseline"
    if upper < 0:
        return "fail", f"{said}: worse than the trivial baseline"
    if lower > 0:
        return "pass", f"{said}: better than the trivial baseline"
    return "inconclusive", f"{said}: too few rows to tell the model from the trivial baseline"


def _trivial(context: GateContext) -> tuple[Any, NDArray[Any], NDArray[Any] | None]:
    """The baseline's one answer, its outputs (n,) and its scores (n, classes) or None."""
    import numpy as np

    if context.y_train is None or len(context.y_train) == 0:
        raise ModelError(
            "GATE-04",
            "gate 'beats_baseline' needs the training labels to know the trivial answer",
            fix="give the GateContext y_train",
        )
    n = len(context.y_true)
    if context.task == "regression":
        mean = float(np.mean(context.y_train))
        return mean, np.full(n, mean), None
    values, counts = np.unique(context.y_train, return_counts=True)
    majority = values[int(np.argmax(counts))]
    outputs = np.full(n, majority, dtype=values.dtype)
    shares = dict(zip(values.tolist(), (counts / counts.sum()).tolist(), strict=True))
    scores = np.tile([shares.get(_plain(label), 0.0) for label in context.classes], (n, 1))
    return _plain(majority), outputs, scores if len(context.classes) else None


def _count_wins(context: GateContext, outputs: NDArray[Any]) -> dict[str, Any]:
    own_right, other_right = context.outputs == context.y_true, outputs == context.y_true
    return {
        "method": "counts",
        "only_candidate": int((own_right & ~other_right).sum()),
        "only_baseline": int((~own_right & other_right).sum()),
    }


def _plain(label: Any) -> Any:
    """A numpy scalar as the Python value it holds, which JSON can say."""
    return label.item() if hasattr(label, "item") else label


def _persistence(evidence: Mapping[str, Any]) -> str:
    score = evidence["persistence_score"]
    return "" if score is None else f"; the last known label would have {score:.4g}"
