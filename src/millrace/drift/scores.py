"""Did the model's own answers move? The cheapest detector there is in production: every score is logged anyway.

Two-sample tests on what the model says instead of what it reads (black box shift detection; Lipton, Wang and Smola,
ICML 2018): chi-square on the predicted classes, the exact test of each one's share, and Kolmogorov-Smirnov on each
class's scores, or on the numbers that a regression answers. A move that the model does not react to is invisible here,
as is one of the labels alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from millrace.drift.categorical import pool_rare
from millrace.drift.multivariate import ALPHA, MIN_ROWS
from millrace.drift.numeric import ks_gap, ks_p_value
from millrace.drift.terms import Floats

EFFECT = 0.05
_MOST_CLASSES = 50  # scores tested one by one; the predicted classes are tested whatever their number


def compare_scores(
    reference_outputs: Sequence[Any],
    current_outputs: Sequence[Any],
    *,
    classes: Sequence[Any] = (),
    reference_scores: Any = None,
    current_scores: Any = None,
    alpha: float = ALPHA,
    effect: float = EFFECT,
    min_rows: int = MIN_ROWS,
) -> dict[str, Any]:
    """Evidence for `judge_scores`.

    Parameters
    ----------
    reference_outputs, current_outputs : sequences of length n and m
        What the model answered on rows it was not trained on, and what it answers now: classes, or numbers when
        `classes` is empty.
    reference_scores, current_scores : array-likes of shape (n, k) and (m, k), optional
        Probabilities in the order of `classes`.
    alpha : float
        Chance of a false alarm allowed to all tests together (each gets its share, after Bonferroni).
    effect : float
        Least KS distance, or total variation of the predicted classes, that counts.

    Returns
    -------
    dict
        JSON-ready: `tests` with `of`, `statistic`, `p_value` and `effect`, `n_reference`, `n_current`, the limits;
        `missing_current`, how many answers were no number, of no known class, or without a score for each class, and
        `missing_reference`, how many of a regression's were no number; `untested`, what was to be compared and could
        not be, with the reason.
    """
    n, m = len(reference_outputs), len(current_outputs)
    evidence: dict[str, Any] = {
        "alpha": alpha,
        "effect": effect,
        "min_rows": min_rows,
        "n_reference": n,
        "n_current": m,
        "missing_reference": 0,
        "missing_current": 0,
        "tests": [],
        "untested": {},
    }
    if min(n, m) < min_rows:
        return evidence
    if not len(classes):
        before, after = _numbers(reference_outputs), _numbers(current_outputs)
        evidence["missing_reference"], evidence["missing_current"] = int(n - len(before)), int(m - len(after))
        if min(len(before), len(after)) >= min_rows:
            evidence["tests"].append({"of": "answers", **_ks(before, after)})
        return evidence
    is_missing = np.array([output not in classes for output in current_outputs])
    if current_scores is not None and len(current_scores) == m:
        is_missing |= ~np.isfinite(_matrix(current_scores, len(classes))).all(axis=1)
    evidence["missing_current"] = int(is_missing.sum())
    evidence["tests"] += _of_classes(reference_outputs, current_outputs, classes)
    if reference_scores is not None and current_scores is not None:
        tests, evidence["untested"] = _of_scores(reference_scores, current_scores, classes, min_rows)
        evidence["tests"] += tests
    elif reference_scores is not None:
        evidence["untested"] = {"scores": "not every current answer came with its scores"}
    return evidence


def _of_classes(before: Sequence[Any], after: Sequence[Any], classes: Sequence[Any]) -> list[dict[str, Any]]:
    """All predicted classes together, and each one's share: what vanished alone is lost in the sum over many."""
    codes = {label: code for code, label in enumerate(classes)}
    unknown = len(codes)
    counts = [
        np.bincount([codes.get(output, unknown) for output in outputs], minlength=unknown + 1)
        for outputs in (before, after)
    ]
    seen = np.flatnonzero(counts[0] + counts[1])
    reference, current = counts[0][seen], counts[1][seen]
    statistic, p_value = _chi2(*pool_rare(reference, current))
    moved = np.abs(reference / reference.sum() - current / current.sum())
    # The plain distance: significance already keeps chance away, and what chance adds is large at a few hundred rows.
    together = {"of": "predicted classes", "test": "chi2", "statistic": statistic, "p_value": p_value}
    tests = [{**together, "effect": 0.5 * float(moved.sum())}]
    if 2 < len(seen) <= _MOST_CLASSES:
        names = [*classes, "no known class"]
        for code, share, p_value in zip(seen, moved, _share_p_values(reference, current), strict=True):
            tests.append(
                {
                    "of": f"share of {names[code]}",
                    "test": "hypergeometric",
                    "statistic": float(share),
                    "p_value": float(p_value),
                    "effect": float(share),
                }
            )
    return tests


def _share_p_values(reference: NDArray[np.int64], current: NDArray[np.int64]) -> Floats:
    """Twice the smaller exact tail (Fisher) of each class's count among the current rows, all rows' counts given."""
    from scipy.stats import hypergeom

    n, m = int(reference.sum()), int(current.sum())
    law = hypergeom(n + m, reference + current, m)
    both: Floats = np.minimum(1.0, 2 * np.minimum(law.cdf(current), law.sf(current - 1)))
    return both


def _of_scores(
    before: Any, after: Any, classes: Sequence[Any], min_rows: int
) -> tuple[list[dict[str, Any]], dict[str, str]]:
    """The tests, and why there are none of the others."""
    first, second = _matrix(before, len(classes)), _matrix(after, len(classes))
    columns = [1] if len(classes) == 2 else range(min(len(classes), _MOST_CLASSES))
    tests, untested = [], {}
    for column in columns:
        then, now = _numbers(first[:, column]), _numbers(second[:, column])
        if min(len(then), len(now)) >= min_rows:
            tests.append({"of": f"score of {classes[column]}", **_ks(then, now)})
        else:
            untested[f"score of {classes[column]}"] = (
                f"{len(then)} and {len(now)} numbers, {min_rows} of each are needed"
            )
    return tests, untested


def _matrix(scores: Any, size: int) -> Floats:
    """Scores of shape (n, size); a row that has not one for each class has none."""
    nothing = [float("nan")] * size
    rows = [row if len(row) == size else nothing for row in scores]
    return np.asarray(rows, dtype=np.float64).reshape(len(rows), size)


def _ks(before: Floats, after: Floats) -> dict[str, Any]:
    gap = ks_gap(np.sort(before), np.sort(after))
    p_value = ks_p_value(len(before), len(after), gap.before, gap.after)
    return {"test": "ks", "statistic": gap.distance, "p_value": p_value, "effect": gap.distance}


def _chi2(reference: NDArray[np.int64], current: NDArray[np.int64]) -> tuple[float, float]:
    """Contingency chi-square and its p-value; 1 when there is only one cell."""
    from scipy.stats import chi2_contingency

    if len(reference) < 2:
        return 0.0, 1.0
    found = chi2_contingency(np.stack([reference, current]), correction=False)
    return float(found.statistic), float(found.pvalue)


def _numbers(values: Any) -> Floats:
    """The finite numbers among the values: an answer that is a text is no number, and stops nothing."""
    try:
        numbers = np.asarray(values, dtype=np.float64)
    except (TypeError, ValueError):
        numbers = np.array([_number(value) for value in values], dtype=np.float64)
    return numbers[np.isfinite(numbers)]


def _number(value: Any) -> float:
    return float(value) if isinstance(value, (int, float, np.number)) else float("nan")
