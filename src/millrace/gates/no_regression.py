"""A model must not be worse than the one in production, judged on the same rows."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from millrace.core.definition import caller_place
from millrace.core.verdict import Outcome, Verdict
from millrace.gates.intervals import chance_of_so_few, paired_bounds, rows_for_a_decision
from millrace.gates.judging import judged
from millrace.gates.settings import (
    UNIT_METRICS,
    check_choice,
    check_number,
    default_metric,
    is_known_metric,
)

if TYPE_CHECKING:
    from millrace.gates.context import GateContext

RULE = "gate.no_regression"
MIN_ROWS = 30  # below this a bootstrap knows too few rows to speak of their spread


@dataclass(frozen=True)
class NoRegression:
    """The candidate may be at most `tolerance` worse than the champion, and the data must be able to tell.

    Three answers: pass when the lower one-sided 95 % bound of the paired difference is above -tolerance; fail when
    the upper bound is below it, or McNemar's exact test says "worse" and the difference itself is beyond the
    tolerance; else inconclusive, with the rows that would decide. A first version passes.

    At 1,000 rows of which 6 % tell the models apart, an equal model is refused about 4 times in 100 and a model 2
    points worse about 80; at 5,000 rows, 0 and 100.

    Parameters
    ----------
    tolerance : float
        In the metric's own unit; for rmse and mae a share of the champion's error.
    metric : str, optional
        Accuracy, or rmse for regression, if not named. Other metrics are compared by a paired bootstrap.
    when_inconclusive : {"promote", "hold"}
        A metric that has no value on these rows holds in any case.
    """

    tolerance: float = 0.01
    metric: str | None = None
    when_inconclusive: Literal["promote", "hold"] = "promote"
    place: str | None = field(default=None, repr=False, compare=False)
    name = "no_regression"

    def __post_init__(self) -> None:
        object.__setattr__(self, "place", caller_place())
        check_number(self.tolerance, "tolerance", "NoRegression", 0.0, 1.0)
        check_choice(self.when_inconclusive, "NoRegression")
        if self.metric is not None:
            is_known_metric(self.metric, "NoRegression")

    def describe(self) -> str:
        return f"{self.metric or 'accuracy or rmse'} at most {self.tolerance:g} worse than the champion"

    def measure(self, context: GateContext) -> dict[str, Any]:
        metric = self.metric or default_metric(context.task)
        evidence: dict[str, Any] = {
            "metric": metric,
            "tolerance": self.tolerance,
            "rows": len(context.y_true),
            "when_inconclusive": self.when_inconclusive,
        }
        if context.champion_outputs is None:
            return evidence | {"method": "none"}
        if metric == "accuracy" and context.task != "regression":
            return evidence | count_pairs(context, context.champion_outputs)
        return evidence | _resample(context, metric, context.champion_outputs, self.tolerance)

    def judge(self, evidence: Mapping[str, Any]) -> Verdict:
        return judge(evidence)


def count_pairs(context: GateContext, other: Any) -> dict[str, Any]:
    """The four counts that hold everything paired accuracies say."""
    own_right = context.outputs == context.y_true
    other_right = other == context.y_true
    return {
        "method": "counts",
        "significance": 0.05,
        "both_right": int((own_right & other_right).sum()),
        "only_candidate": int((own_right & ~other_right).sum()),
        "only_champion": int((~own_right & other_right).sum()),
        "both_wrong": int((~own_right & ~other_right).sum()),
    }


@judged(RULE)
def judge(evidence: Mapping[str, Any]) -> tuple[Outcome, str]:
    """Three-way rule on the paired difference: non-inferiority, inferiority, or neither shown."""
    if evidence["method"] == "none":
        return "pass", "first version: there is no champion to regress from"
    if evidence["method"] == "counts":
        return _judge_counts(evidence)
    return _judge_resampled(evidence)


def _judge_counts(evidence: Mapping[str, Any]) -> tuple[Outcome, str]:
    won, lost, n = evidence["only_candidate"], evidence["only_champion"], evidence["rows"]
    margin = evidence["tolerance"]
    difference = (won - lost) / n
    lower, upper = paired_bounds(won, lost, n)
    said = _said("accuracy", difference, lower, upper, n)
    if lower > -margin:
        return "pass", f"{said}: not more than {margin:g} worse"
    is_worse = chance_of_so_few(won, won + lost) < evidence["significance"]
    if upper < -margin or (is_worse and difference < -margin):
        return "fail", f"{said}: more than {margin:g} worse; {lost} rows were lost and {won} won"
    needed = rows_for_a_decision(((won + lost) / n) ** 0.5, margin)
    return "inconclusive", _undecided(said, margin, needed, n)


def _judge_resampled(evidence: Mapping[str, Any]) -> tuple[Outcome, str]:
    metric, n, margin = evidence["metric"], evidence["rows"], evidence["margin"]
    difference, lower, upper = evidence["difference"], evidence["lower"], evidence["upper"]
    if difference is None or lower is None or margin is None:
        return "inconclusive", f"{metric} cannot be computed for both models on these {n:,} rows"
    said = _said(metric, difference, lower, upper, n)
    if n < evidence["min_rows"]:
        return "inconclusive", f"{said}: fewer than {evidence['min_rows']} rows decide nothing"
    if lower > -margin:
        return "pass", f"{said}: not more than {margin:.4g} worse"
    if upper < -margin:
        return "fail", f"{said}: more than {margin:.4g} worse"
    return "inconclusive", _undecided(said, margin, rows_for_a_decision(evidence["deviation"], margin), n)


def _resample(context: GateContext, metric: str, champion: Any, tolerance: float) -> dict[str, Any]:
    from millrace.gates.resampling import RESAMPLES, SEED, metric_of, paired_bootstrap

    candidate_score = metric_of(context, metric, context.outputs, context.scores)
    champion_score = metric_of(context, metric, champion, context.champion_scores)
    margin: float | None = tolerance
    if metric in UNIT_METRICS:
        margin = None if champion_score is None else tolerance * champion_score
    return {
        "method": "bootstrap",
        # A metric without a value is not "equal models": whatever was chosen for those, here the model is held.
        **({"when_inconclusive": "hold"} if candidate_score is None or champion_score is None else {}),
        "min_rows": MIN_ROWS,
        "resamples": RESAMPLES,
        "seed": SEED,
        "candidate": candidate_score,
        "champion": champion_score,
        "margin": margin,
        **paired_bootstrap(context, metric, (champion, context.champion_scores)),
    }


def _said(metric: str, difference: float, lower: float, upper: float, n: int) -> str:
    way = "better" if difference >= 0 else "worse"
    return (
        f"{metric} is {abs(difference):.4g} {way} than the champion's "
        f"(90 % interval {lower:+.4g} to {upper:+.4g}, {n:,} rows)"
    )


def _undecided(said: str, margin: float, needed: int | None, n: int) -> str:
    if needed is None:
        return f"{said}: with a tolerance of 0 equal models cannot be told apart"
    if needed <= n:
        return f"{said}: too close to the tolerance of {margin:.4g} to tell"
    return f"{said}: too few rows to tell {margin:.4g}, about {needed:,} would decide"
