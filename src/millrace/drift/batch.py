"""Everything that can be asked of a batch at once: its columns, their associations, the model's answers to it."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from millrace.core.errors import DataError
from millrace.drift.compare import compare
from millrace.drift.estimated_performance import estimate_performance
from millrace.drift.multivariate import AUC_LIMIT, tell_apart
from millrace.drift.profile import ReferenceProfile
from millrace.drift.report import DriftReport
from millrace.drift.scores import EFFECT, compare_scores


@dataclass(frozen=True, slots=True)
class Answers:
    """What a model answered on n rows.

    Parameters
    ----------
    outputs : sequence of length n
        Classes, or numbers of a regression.
    scores : array-like of shape (n, k), optional
        Probabilities in the order of the classes.
    labels : sequence of length n, optional
        The truth, where it is known.
    """

    outputs: Sequence[Any]
    scores: Any = None
    labels: Sequence[Any] | None = None


def assess(
    reference: pa.Table | ReferenceProfile,
    current: pa.Table,
    *,
    sample: pa.Table | None = None,
    columns: Iterable[str] | None = None,
    types: Mapping[str, str] | None = None,
    before: Answers | None = None,
    after: Answers | None = None,
    classes: Sequence[Any] = (),
    performance_limits: Mapping[str, float] | None = None,
    with_classifier: bool = True,
    **limits: Any,
) -> DriftReport:
    """The drift of a batch: each column, what only shows in several together, and what the model makes of it.

    Parameters
    ----------
    reference, current, columns, types, **limits
        As in `compare`. A larger `effect` than the default raises the classifier's and the scores' limits with it: the
        area under the curve to 0.5 + effect / 2.
    sample : pyarrow.Table, optional
        Rows of the reference for the classifier; the reference itself if it is a table. Against a profile without a
        sample no classifier is asked.
    before, after : Answers, optional
        The model's answers on rows it was not trained on, and on the current ones. With labels before and scores on
        both sides the performance of a classifier is estimated too.
    classes : sequence
        Labels in the order of the scores; empty for a regression.
    performance_limits : mapping of str to float, optional
        Least estimated value by metric; without it accuracy may be 0.05 below the holdout's. Where they are given and
        nothing can be estimated, the report says why.
    with_classifier : bool
        Whether to ask the classifier.

    Raises
    ------
    ProjectError, DataError
        As `compare` and `estimate_performance`; DRIFT-20, too, when scores or labels are not one for each answer.
    """
    _check_lengths("holdout", before)
    _check_lengths("current", after)
    report = compare(reference, current, columns=columns, types=types, **limits)
    evidence = dict(report.evidence)
    rows = sample if sample is not None else reference if isinstance(reference, pa.Table) else None
    effect = report.evidence["effect"]
    if rows is not None and with_classifier:
        # Identifiers always move, and a column that is missing or of another type was already told.
        moving = frozenset(limits.get("moving", ()))
        weighed = [c.name for c in report.columns if c.kind in ("numeric", "categorical", "temporal")]
        weighed = [name for name in weighed if name not in moving]
        weighed = [name for name in weighed if name in rows.column_names and report[name].outcome != "error"]
        evidence["classifier"] = tell_apart(
            rows,
            current,
            columns=weighed,
            types=types,
            auc_limit=max(AUC_LIMIT, 0.5 + effect / 2),
            min_rows=report.evidence["min_rows"],
        )
    if before is not None and after is not None:
        evidence["scores"] = compare_scores(
            before.outputs,
            after.outputs,
            classes=classes,
            reference_scores=before.scores,
            current_scores=after.scores,
            effect=max(EFFECT, effect),
        )
    lacking = _lacking(before, after, classes)
    if lacking is None:
        assert before is not None
        assert after is not None
        evidence["estimated_performance"] = _estimate(before, after, classes, performance_limits)
    elif performance_limits:
        evidence["estimated_performance"] = {**estimate_performance([], [], [], [], classes=[0, 1]), "lacking": lacking}
    return DriftReport(evidence)


def _check_lengths(side: str, answers: Answers | None) -> None:
    if answers is None:
        return
    rows = len(answers.outputs)
    for what, values in (("scores", answers.scores), ("labels", answers.labels)):
        if values is not None and len(values) != rows:
            raise DataError(
                "DRIFT-20",
                f"{len(values)} {side} {what} do not fit {rows} answers",
                fix="give one for each answer, in their order",
            )


def _lacking(before: Answers | None, after: Answers | None, classes: Sequence[Any]) -> str | None:
    """What is missing for an estimate of the performance; None if nothing is."""
    if before is None or after is None:
        return f"the model's answers on the {'holdout' if before is None else 'current rows'}"
    if before.labels is None:
        return "the labels of the holdout"
    if before.scores is None or after.scores is None:
        return f"scores on the {'holdout' if before.scores is None else 'current rows'}"
    return None if len(classes) > 1 else "two classes"


def _estimate(
    before: Answers, after: Answers, classes: Sequence[Any], limits: Mapping[str, float] | None
) -> dict[str, Any]:
    """Of the rows that have a place among the classes: what has none is for the test of the answers to tell."""
    assert before.labels is not None
    kept = _placed(before.scores, [before.outputs, before.labels], classes)
    current = _placed(after.scores, [after.outputs], classes)
    return estimate_performance(
        [before.scores[i] for i in kept],
        [before.labels[i] for i in kept],
        [after.scores[i] for i in current],
        [after.outputs[i] for i in current],
        classes=classes,
        holdout_outputs=[before.outputs[i] for i in kept],
        limits=limits,
    )


def _placed(scores: Any, named: Sequence[Sequence[Any]], classes: Sequence[Any]) -> list[int]:
    """Rows of which every name is a class and which have a finite score for each class."""
    return [
        i
        for i, row in enumerate(scores)
        if len(row) == len(classes)
        and all(score is not None and math.isfinite(score) for score in row)
        and all(names[i] in classes for names in named)
    ]
