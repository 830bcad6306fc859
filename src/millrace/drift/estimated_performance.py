"""How well a classifier does while its labels have not come: its own calibrated scores say how often it is right.

Confidence-based performance estimation (CBPE): a row answered with a calibrated probability of 0.8 is right 8 times in
10, so the batch's expected confusion matrix, and from it accuracy, F1 and the area under the ROC curve, need no label.

It sees a batch that became harder (covariate shift). **It is blind to concept drift**: when the labels' relation to
the inputs changes, the scores do not know of it, and the estimate stays where it was. Only labels show that.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from millrace.core.errors import DataError
from millrace.drift.calibration import CalibrationMap, apply_maps, learn_maps, worst_reliability
from millrace.drift.multivariate import MIN_ROWS
from millrace.drift.terms import Floats

BLIND_SPOT = (
    "it assumes that labels still relate to the scores as they did in the holdout: concept drift is invisible to it, "
    "and only labels show that"
)
MIN_HOLDOUT = 200
CALIBRATION_LIMIT = 0.05
_MOST_ROWS = 20_000
_DRAWS = 200
_SEED = 20_250_102

Codes = NDArray[np.intp]


def estimate_performance(
    holdout_scores: Any,
    holdout_labels: Sequence[Any],
    current_scores: Any,
    current_outputs: Sequence[Any],
    *,
    classes: Sequence[Any],
    holdout_outputs: Sequence[Any] | None = None,
    limits: Mapping[str, float] | None = None,
    drop: float = 0.05,
    min_rows: int = MIN_ROWS,
) -> dict[str, Any]:
    """Evidence for `judge_estimated_performance`.

    Parameters
    ----------
    holdout_scores : array-like of shape (n, k)
        Probabilities on rows with labels that the model was not trained on, in the order of `classes`.
    holdout_labels : sequence of length n
    current_scores : array-like of shape (m, k)
    current_outputs : sequence of length m
        The classes that were answered.
    holdout_outputs : sequence of length n, optional
        The classes answered on the holdout; those of the largest score if not given.
    limits : mapping of str to float, optional
        Least value by metric: accuracy, f1, roc_auc. Without one, accuracy may be `drop` below the holdout's. Where one
        names what cannot be estimated, `without_estimate` says why.

    Returns
    -------
    dict
        JSON-ready: `metrics` with `value`, `low`, `high` (95 % for the value that labels would show), `at_deploy` (the
        holdout's) and `limit`; `without_estimate`, the metrics that have a limit alone, with the reason;
        `calibration` of the scores as they are and after the map; `blind_spot`.

    Raises
    ------
    DataError
        DRIFT-20 when the shapes do not fit, or a holdout label is none of the classes.

    Notes
    -----
    The interval is by simulation: each of 200 draws takes a calibration map as uncertain as the holdout leaves it,
    draws labels from its probabilities, and scores them.
    """
    before, labels = _checked(holdout_scores, holdout_labels, classes, "holdout")
    after, answers = _checked(current_scores, current_outputs, classes, "current")
    evidence: dict[str, Any] = {
        "n_holdout": len(before),
        "n_current": len(after),
        "min_rows": min_rows,
        "min_holdout": MIN_HOLDOUT,
        "calibration": None,
        "calibration_limit": CALIBRATION_LIMIT,
        "metrics": {},
        "without_estimate": {},
        "blind_spot": BLIND_SPOT,
    }
    if len(before) < MIN_HOLDOUT or len(after) < min_rows:
        return evidence
    random = np.random.default_rng(_SEED)
    evidence["calibration"] = _check_calibration(before, labels, random)
    said = before.argmax(axis=1) if holdout_outputs is None else _codes(holdout_outputs, classes, "holdout")
    deployed = _Batch(before, said).metrics(labels[None, :])
    kept = np.sort(random.choice(len(after), _MOST_ROWS, replace=False)) if len(after) > _MOST_ROWS else slice(None)
    batch = _Batch(after[kept], answers[kept])
    evidence["metrics"] = _estimates(batch, learn_maps(before, labels), random)
    wanted = dict(limits) if limits else {"accuracy": float(deployed["accuracy"][0]) - drop}
    for name, facts in evidence["metrics"].items():
        at_deploy = float(deployed[name][0])
        facts["at_deploy"] = at_deploy if np.isfinite(at_deploy) else None
        facts["limit"] = wanted.get(name)
    evidence["without_estimate"] = {
        name: "it is not defined on these rows" if name in deployed else "it cannot be estimated without labels"
        for name in wanted
        if name not in evidence["metrics"]
    }
    return evidence


def _estimates(batch: _Batch, maps: list[CalibrationMap], random: np.random.Generator) -> dict[str, dict[str, Any]]:
    """Value, low and high of every metric that is defined on the batch."""
    drawn = np.stack([_draw(apply_maps(maps, batch.scores, random), random) for _ in range(_DRAWS)])
    simulated = batch.metrics(drawn)
    found = {}
    for name, value in batch.expected(apply_maps(maps, batch.scores)).items():
        spread = simulated[name][np.isfinite(simulated[name])]
        if np.isfinite(value) and len(spread):
            low, high = np.quantile(spread, [0.025, 0.975])
            found[name] = {"value": float(value), "low": float(min(low, value)), "high": float(max(high, value))}
    return found


class _Batch:
    """Scores and answers of one batch, ready to be held against many label vectors."""

    def __init__(self, scores: Floats, answers: Codes) -> None:
        self.scores = scores
        self._answers = answers
        size = scores.shape[1]
        self._answered = np.eye(size)[answers]
        # As in evaluation: two classes are judged by the second, more by the mean over all.
        self._judged = [1] if size == 2 else list(range(size))
        self._ranks = [_middle_ranks(scores[:, column]) for column in self._judged]

    def metrics(self, labels: NDArray[Any]) -> dict[str, Floats]:
        """Accuracy, f1 and roc_auc, each of shape (draws,), for labels of shape (draws, rows)."""
        hits = labels == self._answers
        f1, areas = [], []
        for column, ranks in zip(self._judged, self._ranks, strict=True):
            is_class = labels == column
            answered = self._answers == column
            n_class = is_class.sum(axis=1).astype(np.float64)
            f1.append(_f1((is_class & answered).sum(axis=1), np.full(len(labels), float(answered.sum())), n_class))
            rest = labels.shape[1] - n_class
            with np.errstate(invalid="ignore", divide="ignore"):
                areas.append((is_class @ ranks - n_class * (n_class + 1) / 2) / (n_class * rest))
        return {"accuracy": hits.mean(axis=1), "f1": _mean_known(f1), "roc_auc": np.mean(areas, axis=0)}

    def expected(self, probability: Floats) -> dict[str, float]:
        """The same of expected counts, for probabilities of shape (rows, classes)."""
        f1, areas = [], []
        for column, ranks in zip(self._judged, self._ranks, strict=True):
            p = probability[:, column]
            answered = self._answers == column
            f1.append(_f1(np.array([p[answered].sum()]), np.array([float(answered.sum())]), np.array([p.sum()])))
            areas.append(_expected_area(self.scores[:, column], ranks, p))
        return {
            "accuracy": float((probability * self._answered).sum(axis=1).mean()),
            "f1": float(_mean_known(f1)[0]),
            "roc_auc": float(np.mean(areas)),
        }


def _expected_area(scores: Floats, ranks: Floats, p: Floats) -> float:
    """Expected pairs in the right order over expected pairs: a row's own probability makes no pair with itself."""
    order = np.argsort(scores, kind="stable")
    below = np.concatenate([[0.0], np.cumsum((1 - p)[order])])
    _, start, counts = np.unique(scores[order], return_index=True, return_counts=True)
    lower, tied = below[start], below[start + counts] - below[start]
    codes = np.repeat(np.arange(len(start)), counts)
    own = p[order]
    right = float(np.sum(own * (lower[codes] + 0.5 * (tied[codes] - (1 - own)))))
    pairs = float(p.sum() * (1 - p).sum() - (p * (1 - p)).sum())
    return right / pairs if pairs > 0 else float("nan")


def _f1(hits: Any, answered: Any, members: Any) -> Floats:
    whole = np.asarray(answered + members, dtype=np.float64)
    found: Floats = np.divide(2.0 * hits, whole, out=np.full(len(whole), np.nan), where=whole > 0)
    return found


def _mean_known(values: list[Floats]) -> Floats:
    """Mean over classes; one that nobody answered and nobody is says nothing."""
    matrix = np.stack(values)
    known = ~np.isnan(matrix)
    total = np.where(known, matrix, 0.0).sum(axis=0)
    mean: Floats = np.divide(total, known.sum(axis=0), out=np.full(matrix.shape[1], np.nan), where=known.any(axis=0))
    return mean


def _middle_ranks(values: Floats) -> Floats:
    _, codes, counts = np.unique(values, return_inverse=True, return_counts=True)
    ranks: Floats = (np.cumsum(counts) - (counts - 1) / 2)[codes]
    return ranks


def _draw(probability: Floats, random: np.random.Generator) -> NDArray[np.int16]:
    """One label for each row."""
    reached = probability.cumsum(axis=1)[:, :-1] < random.random((len(probability), 1))
    labels: NDArray[np.int16] = reached.sum(axis=1).astype(np.int16)
    return labels


def _check_calibration(scores: Floats, labels: Codes, random: np.random.Generator) -> dict[str, Any]:
    """The scores' calibration as they are, and after a map that did not see the rows it is judged on."""
    order = random.permutation(len(scores))
    mended = np.empty_like(scores)
    for rows, others in ((order[::2], order[1::2]), (order[1::2], order[::2])):
        mended[rows] = apply_maps(learn_maps(scores[others], labels[others]), scores[rows])
    return {
        "raw": worst_reliability(scores, labels).to_dict(),
        "mended": worst_reliability(mended, labels).to_dict(),
    }


def _checked(scores: Any, labels: Sequence[Any], classes: Sequence[Any], side: str) -> tuple[Floats, Codes]:
    matrix = np.asarray(scores, dtype=np.float64)
    if matrix.size == 0:
        matrix = matrix.reshape(0, len(classes))
    if len(classes) < 2 or matrix.ndim != 2 or matrix.shape != (len(labels), len(classes)):
        raise DataError(
            "DRIFT-20",
            f"{side} scores of shape {matrix.shape} do not fit {len(labels)} rows and {len(classes)} classes",
            fix="give one probability for each row and class, in the order of the classes; two classes at least",
        )
    if not np.isfinite(matrix).all():
        raise DataError(
            "DRIFT-21",
            f"{int((~np.isfinite(matrix).all(axis=1)).sum())} of {len(matrix)} {side} rows have a score that is none",
            fix="leave those rows out, or mend the model that answered them",
        )
    return matrix, _codes(labels, classes, side)


def _codes(labels: Sequence[Any], classes: Sequence[Any], side: str) -> Codes:
    codes = {label: code for code, label in enumerate(classes)}
    values = labels.tolist() if isinstance(labels, np.ndarray) else labels
    unknown = {str(label) for label in values if label not in codes}
    if unknown:
        raise DataError(
            "DRIFT-22",
            f"the {side} label {min(unknown)!r} is not one of the classes {list(classes)}",
            fix="name every class that the model can answer",
        )
    return np.array([codes[label] for label in values], dtype=np.intp)
