"""What production answered in a window, measured: against the labels that came, and against what it learned from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from millrace.core.records import ModelVersion
from millrace.core.verdict import Verdict
from millrace.deployment.smoke import Golden
from millrace.flow.endpoint import GOLDEN_PREFIX
from millrace.flow.references import Holdout, Reference, holdout_of, training_reference
from millrace.flow.serve import prediction_folder
from millrace.monitoring.evidence import degradation_evidence, degradation_limit, label_incident_evidence
from millrace.monitoring.labels import Joined, Match, join_labels
from millrace.monitoring.triggers import (
    DEGRADATION,
    DRIFT,
    drift_evidence,
    judge_degradation,
    judge_drift_trigger,
    judge_label_incident,
)
from millrace.monitoring.windows import Window

if TYPE_CHECKING:
    import pyarrow as pa

    from millrace.drift.report import DriftReport
    from millrace.flow.model import Model
    from millrace.flow.wiring import Wiring

ESTIMATED = frozenset({"accuracy", "f1", "roc_auc"})
"""The metrics that can be estimated without labels."""


@dataclass(frozen=True)
class Seen:
    """The verdicts on one window; a failed one of `firing_rules` asks for a retrain."""

    verdicts: Sequence[Verdict]
    firing_rules: tuple[str, ...]
    text: str
    facts: Mapping[str, Any]


class Observer:
    """Reads prediction log, labels and references; measures; leaves the judging to the rules."""

    def __init__(self, wiring: Wiring) -> None:
        self._wiring = wiring
        self._references: dict[str, Reference | None] = {}
        self._holdouts: dict[str, Holdout | None] = {}
        self._golden: dict[str, set[tuple[Any, ...]]] = {}

    def degradation(self, model: Model, trigger: Any, version: ModelVersion, window: Window) -> Seen:
        """How often the answers of the window were right, against the floor and the score frozen at deploy."""
        joined = self._join(model, version, window)
        evidence = degradation_evidence(
            joined, trigger, deploy_scores=version.metrics, score=lambda matches: self._score(model, version, matches)
        )
        verdicts = [judge_degradation(facts) for facts in evidence]
        if model.task != "regression":
            shares = self._label_shares(model, version)
            incident = label_incident_evidence(joined, min_samples=trigger.min_samples, reference_shares=shares)
            verdicts.append(judge_label_incident(incident))
        first = evidence[0]
        facts = {
            "metric": first["metric"],
            "value": first["value"],
            "n": first["n"],
            "coverage": joined.coverage,
            "version": version.version,
            "outcome": verdicts[0].outcome,
        }
        return Seen(verdicts, (DEGRADATION,), verdicts[0].reason, facts)

    def drift(self, model: Model, trigger: Any, version: ModelVersion, window: Window) -> Seen:
        """The inputs of the window against those the model learned from, and its answers against its holdout's."""
        found = [one for one in self._predictions(model, window) if one["version"] == version.version]
        report = self._compare(model, trigger, version, found)
        parts = {} if report is None else report.parts
        columns = [] if report is None else report.columns
        holdout = self._holdout(model, version)
        evidence = drift_evidence(
            {column.name: column.outcome for column in columns},
            watched=trigger.columns,
            min_columns=trigger.min_columns,
            min_share=trigger.min_share,
            importances=None if holdout is None else holdout.reliance,
            signals={name: parts.get(name, _not_measured(name)) for name in trigger.signals},
        )
        verdict = judge_drift_trigger(evidence)
        facts = {
            "drifted": [] if report is None else report.drifted,
            "outcome": verdict.outcome,
            "version": version.version,
            "parts": {name: part.outcome for name, part in parts.items()},
        }
        told = [
            f"{name.replace('_', ' ')} {part.outcome}" for name, part in parts.items() if name not in trigger.signals
        ]
        text = f"{verdict.reason}; {', '.join(told)}" if told else verdict.reason
        return Seen([*([] if report is None else report.verdicts()), verdict], (DRIFT,), text, facts)

    def _compare(
        self, model: Model, trigger: Any, version: ModelVersion, found: Sequence[Mapping[str, Any]]
    ) -> DriftReport | None:
        """Everything that can be said of the window; None when nothing is kept of what the version learned from."""
        from millrace.drift.batch import Answers, assess

        reference, holdout = self._reference(model, version), self._holdout(model, version)
        if reference is None:
            return None
        current = self._inputs(version, found, reference)
        watched = trigger.columns if trigger.columns is not None else current.column_names
        answers = Answers([one["output"] for one in found], _scores_of(found))
        return assess(
            reference.profile,
            current,
            sample=reference.sample,
            columns=[name for name in watched if name in current.column_names],
            effect=trigger.effect,
            before=None if holdout is None else holdout.answers,
            after=answers,
            classes=() if holdout is None else holdout.classes,
            performance_limits=self._performance_limits(model, version),
        )

    def _performance_limits(self, model: Model, version: ModelVersion) -> dict[str, float] | None:
        """What the model's own `OnDegradation` asks for, of the metrics that can be estimated."""
        limits = {}
        for trigger in model.retrain:
            if trigger.kind == "degradation":
                for metric in ESTIMATED.intersection(trigger.floors):
                    limit = degradation_limit(metric, trigger.floors[metric], version.metrics.get(metric), trigger.drop)
                    if limit is not None:
                        limits[metric] = limit
        return limits or None

    def _join(self, model: Model, version: ModelVersion, window: Window) -> Joined:
        labels = model.labels
        moment = timedelta(microseconds=1)
        # Labels of the window, known by now: read_source's end is exclusive and counts from the event's own time.
        known = min(window.end, self._wiring.clock.now() - labels.delay + moment)
        table = self._wiring.read(labels.source, window.start, known)
        keys = self._wiring.entity_keys(model)
        rows = table.select([*keys, labels.event_time, labels.column]).to_pylist()
        return join_labels(
            self._predictions(model, window),
            rows,
            key=keys,
            event_time=labels.event_time,
            label=labels.column,
            start=window.start,
            end=window.end,
            version=version.version,
        )

    def _predictions(self, model: Model, window: Window) -> list[dict[str, Any]]:
        from millrace.serving.prediction_log import read_predictions

        folder = prediction_folder(self._wiring, "production", model.name)
        golden = self._golden_features(model)
        return [
            {
                "key": found.key,
                "event_time": found.event_time,
                "at": found.at,
                "output": found.output,
                "scores": found.scores,
                "version": found.version,
                "features": found.features,
            }
            for found in read_predictions(folder, start=window.start, end=window.end, model=model.name)
            # Both must hold, so that nobody can hide other requests behind the name.
            if not (found.request_id.startswith(GOLDEN_PREFIX) and _comparable(found.features) in golden)
        ]

    def _golden_features(self, model: Model) -> set[tuple[Any, ...]]:
        """What the smoke tests of every version asked."""
        for version in self._wiring.registry.versions(model.name):
            if version.digest not in self._golden:
                names = self._wiring.manifest(version.digest).names
                rows = Golden.from_json(self._wiring.blobs.get(version.golden)).requests
                asked = {_comparable([row["inputs"].get(name) for name in names]) for row in rows}
                self._golden[version.digest] = asked
        return set().union(*self._golden.values())

    def _score(self, model: Model, version: ModelVersion, matches: Sequence[Match]) -> Mapping[str, float | None]:
        import numpy as np

        from millrace.training.metrics import score

        classes = self._wiring.manifest(version.digest).classes
        scores = np.asarray([match.scores for match in matches]) if matches and matches[0].scores else None
        return score(
            model.task, [match.label for match in matches], [match.output for match in matches], scores, classes
        )

    def _inputs(self, version: ModelVersion, found: Sequence[Mapping[str, Any]], reference: Reference) -> pa.Table:
        import pyarrow as pa

        names = self._wiring.manifest(version.digest).names
        rows = [one["features"] for one in found]
        columns = list(zip(*rows, strict=True)) if rows else [() for _ in names]
        arrays = []
        for name, values in zip(names, columns, strict=True):
            arrays.append(_as_reference(values, reference.sample.schema.field(name).type))
        return pa.table(arrays, names=names)

    def _label_shares(self, model: Model, version: ModelVersion) -> Mapping[str, float] | None:
        """How often each label stood where the version learned: a rare class makes long runs of the other normal."""
        reference = self._reference(model, version)
        return None if reference is None else reference.label_shares or None

    def _reference(self, model: Model, version: ModelVersion) -> Reference | None:
        """What is kept of the rows the version learned from."""
        if version.digest not in self._references:
            self._references.clear()  # one at a time: the champion's
            self._references[version.digest] = training_reference(self._wiring, model, version)
        return self._references[version.digest]

    def _holdout(self, model: Model, version: ModelVersion) -> Holdout | None:
        """What the version answered on its own holdout."""
        if version.digest not in self._holdouts:
            self._holdouts.clear()
            self._holdouts[version.digest] = holdout_of(self._wiring, model, version)
        return self._holdouts[version.digest]


def _scores_of(found: Sequence[Mapping[str, Any]]) -> list[Any] | None:
    """The scores of all answers, None when one has none."""
    scores = [one["scores"] for one in found]
    return scores if all(scores) else None


def _not_measured(name: str) -> Verdict:
    return Verdict(f"drift.{name}", "inconclusive", "it could not be measured")


def _comparable(values: Sequence[Any]) -> tuple[Any, ...]:
    """Values so that 1 and 1.0 are equal, as the log and a request may write the same number."""
    return tuple(float(value) if isinstance(value, int | float) else value for value in values)


def _as_reference(values: Sequence[Any], kind: pa.DataType) -> pa.Array:
    """Logged values as the reference's type: the log keeps what the model saw, and it saw whole numbers as floats.

    Numbers that have no place in that type, such as one sent beyond its range, stay floats: drift compares them too.
    """
    import pyarrow as pa

    if pa.types.is_boolean(kind):
        values = [None if value is None else bool(value) for value in values]
    if pa.types.is_integer(kind):
        try:
            return pa.array([None if value is None else int(value) for value in values], kind)
        except (pa.ArrowInvalid, OverflowError, ValueError):  # beyond its range, or no whole number at all
            kind = pa.float64()
    if pa.types.is_decimal(kind):
        kind = pa.float64()
    if pa.types.is_floating(kind):
        values = [None if value is None else float(value) for value in values]
    try:
        return pa.array(values, kind)
    except (pa.ArrowException, TypeError, ValueError, OverflowError):  # of another type: the comparison says so
        return pa.array([None if value is None else str(value) for value in values], pa.string())
