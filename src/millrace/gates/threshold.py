"""A model must reach absolute scores."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from millrace.core.definition import caller_place, report
from millrace.core.errors import ProjectError
from millrace.core.intervals import wilson_interval
from millrace.core.verdict import Outcome, Verdict
from millrace.gates.judging import judged
from millrace.gates.settings import METRICS, finite, is_known_metric

if TYPE_CHECKING:
    from millrace.gates.context import GateContext

RULE = "gate.threshold"


@dataclass(frozen=True, init=False)
class Threshold:
    """Each named metric must reach its limit; for errors (rmse, mae, log_loss, brier) the limit is a maximum.

    The rule is on the point score; a 95 % interval is reported beside it (Wilson's for accuracy, else a bootstrap).
    A metric that cannot be computed on these rows is inconclusive and holds the model.

    Parameters
    ----------
    **limits : float
        ``accuracy=0.85, roc_auc=0.85, rmse=3.2`` and so on.

    Raises
    ------
    ProjectError
        PROJ-55 unknown metric, PROJ-56 impossible limit, PROJ-59 no limit at all.

    >>> Threshold(accuracy=0.85, log_loss=0.4).describe()
    'accuracy at least 0.85, log_loss at most 0.4'
    """

    limits: Mapping[str, float]
    place: str | None = field(default=None, repr=False, compare=False)
    name = "threshold"

    def __init__(self, **limits: float) -> None:
        object.__setattr__(self, "limits", {k: v for k, v in limits.items() if _is_sound(k, v)})
        object.__setattr__(self, "place", caller_place())
        if not limits:
            report(ProjectError("PROJ-59", "Threshold has no limit", fix="name one: Threshold(accuracy=0.85)"))

    def describe(self) -> str:
        return ", ".join(
            f"{name} at {'least' if METRICS[name][0] else 'most'} {limit:g}" for name, limit in self.limits.items()
        )

    def measure(self, context: GateContext) -> dict[str, Any]:
        from millrace.gates.resampling import bootstrap_intervals, metrics_of

        n = len(context.y_true)
        found = metrics_of(context, context.outputs, context.scores)
        resampled = [name for name in self.limits if name != "accuracy" and finite(found.get(name)) is not None]
        intervals = bootstrap_intervals(context, resampled) if resampled else {}
        metrics = {}
        for name, limit in self.limits.items():
            value = finite(found.get(name))
            lower, upper = intervals.get(name, (None, None))
            if name == "accuracy" and value is not None:
                lower, upper = wilson_interval(value * n, n)
            metrics[name] = {
                "limit": limit,
                "rule": "minimum" if METRICS[name][0] else "maximum",
                "value": value,
                "lower": lower,
                "upper": upper,
            }
        return {"rows": n, "metrics": metrics, "when_inconclusive": "hold"}

    def judge(self, evidence: Mapping[str, Any]) -> Verdict:
        return judge(evidence)


@judged(RULE)
def judge(evidence: Mapping[str, Any]) -> tuple[Outcome, str]:
    """Fail if one metric misses its limit, inconclusive if one has no value, else pass."""
    missed, unknown, reached = [], [], []
    for name, facts in evidence["metrics"].items():
        value, limit = facts["value"], facts["limit"]
        is_minimum = facts["rule"] == "minimum"
        if value is None:
            unknown.append(f"{name} cannot be computed on these {evidence['rows']:,} rows")
        elif (value < limit) if is_minimum else (value > limit):
            missed.append(f"{_said(name, facts)} is {'below' if is_minimum else 'above'} {limit:g}")
        else:
            reached.append(f"{_said(name, facts)} reaches {limit:g}")
    if missed:
        return "fail", "; ".join(missed)
    if unknown or not reached:
        return "inconclusive", "; ".join(unknown) or "no limit was set"
    return "pass", "; ".join(reached)


def _said(name: str, facts: Mapping[str, Any]) -> str:
    if facts["lower"] is None:
        return f"{name} {facts['value']:.4g}"
    return f"{name} {facts['value']:.4g} (95 % interval {facts['lower']:.4g} to {facts['upper']:.4g})"


def _is_sound(name: str, limit: Any) -> bool:
    if not is_known_metric(name, "Threshold"):
        return False
    _, low, high = METRICS[name]
    if isinstance(limit, (int, float)) and not isinstance(limit, bool) and low <= limit <= high:
        return True
    percent = isinstance(limit, (int, float)) and high == 1.0 and 1 < limit <= 100
    report(
        ProjectError(
            "PROJ-56",
            f"Threshold: {name}={limit!r} cannot be reached or means nothing",
            fix=f"write {name}={limit / 100:g}" if percent else f"give a number from {low:g} to {high:g}",
        )
    )
    return False
