"""Evidence on how a served model does: the numbers the degradation and incident rules look at."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from millrace.core.intervals import wilson_interval
from millrace.monitoring.definitions import HIGHER_IS_BETTER, OnDegradation
from millrace.monitoring.labels import Joined, Match
from millrace.monitoring.triggers import CHANCE_LIMIT

CONFIDENCE = 0.95
ScoreFunction = Callable[[Sequence[Match]], Mapping[str, float | None]]


def degradation_evidence(
    joined: Joined,
    policy: OnDegradation,
    *,
    deploy_scores: Mapping[str, float | None],
    score: ScoreFunction | None = None,
) -> list[dict[str, Any]]:
    """Evidence for `judge_degradation`, one mapping for each metric of the policy.

    Parameters
    ----------
    joined : Joined
        Predictions of the window with their labels.
    deploy_scores : mapping of str to float
        The scores frozen when the model was deployed. They stay: a baseline that follows each retrain goes silent.
    score : callable, optional
        ``(matches) -> {metric: value}`` for metrics other than accuracy, such as F1 or RMSE. Asked only when the
        window has enough labels.
    """
    n = len(joined.matches)
    is_enough = n >= policy.min_samples
    values: dict[str, float | None] = {}
    if is_enough and score is not None and set(policy.floors) - {"accuracy"}:
        values.update(score(joined.matches))
    correct = sum(match.output == match.label for match in joined.matches)
    found = []
    for metric, floor in policy.floors.items():
        is_accuracy = metric == "accuracy"
        value = correct / n if is_accuracy and n else _finite(values.get(metric))
        limit = degradation_limit(metric, floor, deploy_scores.get(metric), policy.drop)
        interval = wilson_interval(correct, n, confidence=CONFIDENCE) if is_accuracy and n else None
        found.append(
            {
                "metric": metric,
                "n": n,
                "value": value,
                "correct": correct if is_accuracy else None,
                "predictions": joined.predictions,
                "coverage": joined.coverage,
                "higher_is_better": metric in HIGHER_IS_BETTER,
                "floor": floor,
                "deploy_score": deploy_scores.get(metric),
                "drop": policy.drop,
                "limit": limit,
                "min_samples": policy.min_samples,
                "interval": None if interval is None else list(interval),
                "confidence": CONFIDENCE,
                "interval_excludes_limit": None if interval is None or limit is None else interval[1] < limit,
            }
        )
    return found


def degradation_limit(metric: str, floor: float | None, deploy_score: float | None, drop: float | None) -> float | None:
    """The value a metric must not pass: the stricter of the floor and the allowed loss since deploy.

    >>> degradation_limit("accuracy", 0.7, 0.8, 0.05), degradation_limit("rmse", None, 4.0, 0.05)
    (0.75, 4.2)
    """
    limits = [] if floor is None else [floor]
    is_higher_better = metric in HIGHER_IS_BETTER
    if deploy_score is not None and drop is not None:
        limits.append(deploy_score - drop if is_higher_better else deploy_score * (1 + drop))
    if not limits:
        return None
    return max(limits) if is_higher_better else min(limits)


def label_incident_evidence(
    joined: Joined, *, min_samples: int, reference_shares: Mapping[str, float] | None = None
) -> dict[str, Any]:
    """Evidence for `judge_label_incident`.

    Parameters
    ----------
    reference_shares : mapping of str to float, optional
        Share of each label, as text, where the model was trained.
    """
    counts = Counter(str(match.label) for match in joined.matches)
    n = len(joined.matches)
    label, count = counts.most_common(1)[0] if counts else (None, 0)
    share = None if label is None or reference_shares is None else reference_shares.get(label, 0.0)
    return {
        "n": n,
        "distinct": len(counts),
        "label": label,
        "rate": count / n if n else None,
        "reference_share": share,
        "chance": None if share is None else share**n,
        "chance_limit": CHANCE_LIMIT,
        "min_samples": min_samples,
    }


def _finite(value: float | None) -> float | None:
    return None if value is None or not math.isfinite(value) else float(value)
