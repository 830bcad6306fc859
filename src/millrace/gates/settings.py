"""Checks that all gate definitions share: metric names, numbers in range, what to do when inconclusive."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from millrace.core.definition import report
from millrace.core.errors import ModelError, ProjectError, did_you_mean

# Metric -> (larger is better, smallest possible value, largest possible value)
METRICS: dict[str, tuple[bool, float, float]] = {
    "accuracy": (True, 0.0, 1.0),
    "precision": (True, 0.0, 1.0),
    "recall": (True, 0.0, 1.0),
    "f1": (True, 0.0, 1.0),
    "roc_auc": (True, 0.0, 1.0),
    "r2": (True, -math.inf, 1.0),
    "log_loss": (False, 0.0, math.inf),
    "brier": (False, 0.0, 2.0),
    "rmse": (False, 0.0, math.inf),
    "mae": (False, 0.0, math.inf),
}
_REGRESSION = frozenset({"rmse", "mae", "r2"})
_NEED_SCORES = frozenset({"roc_auc", "log_loss", "brier"})
# Metrics in the label's own unit: a difference of 0.01 means nothing until it is set against the score itself.
UNIT_METRICS = frozenset({"rmse", "mae"})


def is_known_metric(name: str, gate: str) -> bool:
    """True for a known metric; else PROJ-55 with the nearest name."""
    if name in METRICS:
        return True
    report(ProjectError("PROJ-55", f"{gate}: there is no metric {name!r}", fix=did_you_mean(str(name), METRICS)))
    return False


def check_number(value: Any, name: str, gate: str, low: float, high: float, *, whole: bool = False) -> None:
    """PROJ-57 unless `value` is a number in [low, high], a whole one if asked."""
    is_number = isinstance(value, int if whole else (int, float)) and not isinstance(value, bool)
    if is_number and low <= value <= high:
        return
    kind = "a whole number" if whole else "a number"
    span = f"of at least {low:g}" if math.isinf(high) else f"between {low:g} and {high:g}"
    report(ProjectError("PROJ-57", f"{gate}: {name} is {value!r}", fix=f"give {name} {kind} {span}"))


def check_choice(value: Any, gate: str, choices: Sequence[str] = ("hold", "promote")) -> None:
    """PROJ-58 unless `when_inconclusive` is one of the choices."""
    if value not in choices:
        report(
            ProjectError(
                "PROJ-58",
                f"{gate}: when_inconclusive is {value!r}",
                fix=did_you_mean(str(value), choices),
            )
        )


def check_computable(metric: str, task: str, has_scores: bool) -> None:
    """Refuse a metric that no data could define for this model.

    Raises
    ------
    ModelError
        GATE-05 when the task has no such metric, or it needs class probabilities and the model gives none.
    """
    if (metric in _REGRESSION) != (task == "regression"):
        fitting = [name for name in METRICS if (name in _REGRESSION) == (task == "regression")]
        raise ModelError(
            "GATE-05", f"a {task} model has no metric '{metric}'", fix=f"one of: {', '.join(sorted(fitting))}"
        )
    if metric in _NEED_SCORES and not has_scores:
        raise ModelError("GATE-05", f"'{metric}' needs class probabilities and the model gives none")


def default_metric(task: str) -> str:
    """The metric of a comparison when none was named."""
    return "rmse" if task == "regression" else "accuracy"


def finite(value: Any) -> float | None:
    """`value` as a plain float, None where it is missing, NaN or infinite: JSON cannot say those."""
    if value is None:
        return None
    number = float(value)
    return number if math.isfinite(number) else None
