"""What production answered in a window, measured: against the labels that came, and against what it learned from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from millrace.core.records import ModelVersion
from millrace.core.verdict import Verdict
from millrace.deployment.smoke import Golden
from millrace.flow.artifacts import ArtifactRef, load_artifact
from millrace.flow.endpoint import GOLDEN_PREFIX
from millrace.flow.run import find_step
from millrace.flow.serve import prediction_folder
from millrace.monitoring.evidence import degradation_evidence, label_incident_evidence
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

    from millrace.flow.model import Model
    from millrace.flow.wiring import Wiring


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
        self._references: dict[str, pa.Table] = {}
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
        """The inputs of the window against those the model learned from."""
        from millrace.drift.compare import compare

        reference = self._reference(version)
        current = self._inputs(model, version, window)
        watched = trigger.columns if trigger.columns is not None else current.column_names
        columns = [name for name in watched if name in reference.column_names and name in current.column_names]
        report = compare(reference, current, columns=columns, effect=trigger.effect)
        outcomes = {column.name: column.outcome for column in report.columns}
        evidence = drift_evidence(outcomes, watched=trigger.columns, min_columns=trigger.min_columns)
        verdict = judge_drift_trigger(evidence)
        facts = {"drifted": report.drifted, "outcome": verdict.outcome, "version": version.version}
        return Seen([report.verdict(), verdict], (DRIFT,), verdict.reason, facts)

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

    def _inputs(self, model: Model, version: ModelVersion, window: Window) -> pa.Table:
        import pyarrow as pa

        names = self._wiring.manifest(version.digest).names
        rows = [found["features"] for found in self._predictions(model, window) if found["version"] == version.version]
        columns = list(zip(*rows, strict=True)) if rows else [() for _ in names]
        reference = self._reference(version)
        arrays = []
        for name, values in zip(names, columns, strict=True):
            kind = reference.schema.field(name).type if name in reference.column_names else None
            arrays.append(pa.array(_fit(values, kind), kind))
        return pa.table(arrays, names=names)

    def _label_shares(self, model: Model, version: ModelVersion) -> dict[str, float] | None:
        """How often each label stood where the version learned: a rare class makes long runs of the other normal."""
        from collections import Counter

        reference = self._reference(version)
        if model.labels.column not in reference.column_names or reference.num_rows == 0:
            return None
        counts = Counter(str(label) for label in reference.column(model.labels.column).to_pylist())
        return {label: count / reference.num_rows for label, count in counts.items()}

    def _reference(self, version: ModelVersion) -> pa.Table:
        """The rows the version learned from, as its run kept them."""
        if version.digest not in self._references:
            step = find_step(self._wiring.ledger, version.run_id, "build_features")
            if step is None:
                import pyarrow as pa

                return pa.table({})
            reference = ArtifactRef.from_dict(step["outputs"]["training"])
            self._references.clear()  # one table at a time: the champion's
            self._references[version.digest] = load_artifact(reference, self._wiring.blobs)
        return self._references[version.digest]


def _comparable(values: Sequence[Any]) -> tuple[Any, ...]:
    """Values so that 1 and 1.0 are equal, as the log and a request may write the same number."""
    return tuple(float(value) if isinstance(value, int | float) else value for value in values)


def _fit(values: Sequence[Any], kind: Any) -> list[Any]:
    """Logged values as the reference's type: the log keeps what the model saw, and it saw whole numbers as floats."""
    import pyarrow as pa

    if kind is not None and pa.types.is_integer(kind):
        return [None if value is None else int(value) for value in values]
    if kind is not None and pa.types.is_boolean(kind):
        return [None if value is None else bool(value) for value in values]
    return list(values)
