"""Bootstrap of any metric, of one model or of the difference of two on the same rows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from millrace.gates.settings import METRICS, check_computable, finite

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from millrace.gates.context import GateContext

SEED = 20240229
RESAMPLES = 1000
_LEAST_DEFINED = 0.95  # share of resamples in which the metric must exist, else there is no interval


def metrics_of(context: GateContext, outputs: NDArray[Any], scores: NDArray[Any] | None) -> dict[str, float]:
    """All metrics of one set of answers to the context's rows."""
    return dict(context.score(context.task, context.y_true, outputs, scores, context.classes))


def metric_of(context: GateContext, metric: str, outputs: NDArray[Any], scores: NDArray[Any] | None) -> float | None:
    """One metric of a set of answers; None where these rows leave it undefined.

    Raises
    ------
    ModelError
        GATE-05 when no rows could define it for this model.
    """
    check_computable(metric, context.task, scores is not None)
    return finite(metrics_of(context, outputs, scores).get(metric))


def bootstrap_intervals(
    context: GateContext, names: Sequence[str], *, resamples: int = RESAMPLES, seed: int = SEED
) -> dict[str, tuple[float | None, float | None]]:
    """95 % percentile intervals of the candidate's metrics, all from the same resamples of rows."""
    import numpy as np

    rng = np.random.default_rng(seed)
    n = len(context.y_true)
    drawn: dict[str, list[float]] = {name: [] for name in names}
    for _ in range(resamples):
        chosen = rng.integers(0, n, n)
        found = _score(context, chosen, context.outputs, context.scores)
        for name in names:
            drawn[name].append(found.get(name, float("nan")))
    return {name: _percentiles(values, 2.5, 97.5) for name, values in drawn.items()}


def paired_bootstrap(
    context: GateContext,
    metric: str,
    other: tuple[NDArray[Any], NDArray[Any] | None],
    *,
    resamples: int = RESAMPLES,
    seed: int = SEED,
) -> dict[str, float | None]:
    """How much better the candidate is than `other` (outputs, scores) on the same rows, larger is better.

    Returns
    -------
    dict
        difference, lower and upper (one-sided 95 % bounds), deviation (of one row's paired difference).
    """
    import numpy as np

    sign = 1.0 if METRICS[metric][0] else -1.0
    rng = np.random.default_rng(seed)
    n = len(context.y_true)

    def difference(chosen: Any) -> float:
        own = _score(context, chosen, context.outputs, context.scores).get(metric, float("nan"))
        return sign * (own - _score(context, chosen, *other).get(metric, float("nan")))

    values = [difference(rng.integers(0, n, n)) for _ in range(resamples)]
    lower, upper = _percentiles(values, 5.0, 95.0)
    spread = float(np.nanstd(values)) if lower is not None else None
    return {
        "difference": finite(difference(slice(None))),
        "lower": lower,
        "upper": upper,
        "deviation": None if spread is None else finite(spread * n**0.5),
    }


def _score(context: GateContext, chosen: Any, outputs: NDArray[Any], scores: NDArray[Any] | None) -> dict[str, float]:
    return dict(
        context.score(
            context.task,
            context.y_true[chosen],
            outputs[chosen],
            None if scores is None else scores[chosen],
            context.classes,
        )
    )


def _percentiles(values: list[float], low: float, high: float) -> tuple[float | None, float | None]:
    import numpy as np

    drawn = np.asarray(values, dtype=float)
    defined = drawn[np.isfinite(drawn)]
    if len(defined) < _LEAST_DEFINED * len(drawn):
        return None, None
    return float(np.percentile(defined, low)), float(np.percentile(defined, high))
