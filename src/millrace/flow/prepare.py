"""The first half of the training pipeline: from a source to a table of features and labels."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from millrace.core.duration import format_duration, parse_duration
from millrace.core.errors import DataError
from millrace.core.records import Snapshot
from millrace.core.refusal import Refused
from millrace.core.verdict import Verdict
from millrace.flow.run_step import StepContext

if TYPE_CHECKING:
    import pyarrow as pa

    from millrace.flow.model import Model


def extract(context: StepContext) -> dict[str, Any]:
    """Freeze the rows that were known at the run's time: labelled, and inside the model's window."""
    from datetime import timedelta

    import pyarrow.compute as pc

    from millrace.data.snapshot import take_snapshot

    model, wiring = _model(context), context.wiring
    labels, source = model.labels, model.labels.source
    # A row of that very moment is known; read_source's end is exclusive.
    end = context.run.as_of - labels.delay + timedelta(microseconds=1)
    window = parse_duration(context.run.parameters["window"]) if "window" in context.run.parameters else model.window
    start = end - window if window is not None else None
    table = wiring.read(source, start, end) if labels.event_time else wiring.read(source, None, None)
    if labels.column in table.column_names:
        table = table.filter(pc.is_valid(table.column(labels.column)))
    if table.num_rows == 0:
        raise DataError(
            "DATA-40",
            f"'{source.name}' has no labelled row that was known at {context.run.as_of:%Y-%m-%d %H:%M}",
            where=source.place,
            why=f"window {format_duration(window)}" if window else None,
            fix="check the source's event_time and delay, or widen the model's window",
        )
    snapshot = take_snapshot(
        table, source=source.name, event_time=labels.event_time, blobs=wiring.blobs, ledger=wiring.ledger
    )
    return snapshot.to_dict()


def validate_data(context: StepContext, snapshot: dict[str, Any]) -> Any:
    """Refuse a batch that its suite does not allow: it is put aside with its report, and somebody is told."""
    from millrace.validation.engine import validate
    from millrace.validation.quarantine import quarantine
    from millrace.validation.suite import Suite

    wiring, model = context.wiring, _model(context)
    source = model.labels.source
    table = load_batch(context, snapshot)
    if source.suite is None:
        evidence = {"rows": table.num_rows, "suite": None}
        return {"outcome": "inconclusive", "reason": f"source '{source.name}' has no suite", "evidence": evidence}
    suite = source.suite if isinstance(source.suite, Suite) else Suite.load(wiring.project.root / source.suite)
    result = validate(table, suite)
    verdict = result.verdict()
    record(context, verdict)
    facts = {"outcome": verdict.outcome, "reason": verdict.reason, "result": result.to_json_dict()}
    if not verdict.is_fail:
        return facts
    event = quarantine(table, result, source=source.name, blobs=wiring.blobs, ledger=wiring.ledger, clock=wiring.clock)
    wiring.alert(
        f"{context.key}:alert",
        "critical",
        model.name,
        f"batch of '{source.name}' is unfit: nothing was trained on it",
        f"{verdict.reason}; the batch is kept as event {event.seq}",
        {"run": context.run.run_id, "quarantine": event.seq},
    )
    return Refused(verdict.reason, {"validation": facts})


def check_drift(context: StepContext, snapshot: dict[str, Any], validation: dict[str, Any]) -> dict[str, Any]:
    """Compare the batch with the one the champion learned from. Drift is a fact for the record, not a refusal.

    `validation` is not read: a batch is compared only after it was found fit.
    """
    from millrace.drift.compare import compare

    wiring, model = context.wiring, _model(context)
    champion = wiring.registry.find(model.name, "champion")
    reference = champion.lineage.get("snapshot") if champion is not None else None
    if champion is None or reference is None:
        return {"outcome": "inconclusive", "reason": "no champion yet: nothing to compare with", "drifted": []}
    table = load_batch(context, snapshot)
    past = load_batch(context, dict(reference))
    columns = [name for name in model.inputs if name in past.column_names]
    if not columns:
        return {"outcome": "inconclusive", "reason": "the model takes no inputs of the batch", "drifted": []}
    report = compare(past, table, columns=columns)
    verdict = report.verdict()
    record(context, verdict, {"reference": champion.version})
    return {"outcome": verdict.outcome, "reason": verdict.reason, "drifted": report.drifted, "report": report.to_dict()}


def build_features(context: StepContext, snapshot: dict[str, Any], drift: dict[str, Any]) -> pa.Table:
    """Join each labelled row with its features as they were known at its time.

    `drift` is not read: features are built after the batch was compared.
    """
    model, wiring = _model(context), context.wiring
    table = load_batch(context, snapshot)
    _check_columns(model, table)
    labels = model.labels
    keys = wiring.entity_keys(model)
    names = dict.fromkeys([*keys, *([labels.event_time] if labels.event_time else []), *model.inputs, labels.column])
    entity = table.select(list(names))
    references = wiring.feature_references(model)
    if not references:
        return entity
    if labels.event_time is None:
        raise DataError(
            "DATA-41",
            f"the labels of '{model.name}' have no event time, so features cannot be joined as of it",
            where=labels.place,
            fix='mr.Labels(source, "column", event_time="...")',
        )
    return wiring.features.get_historical_features(entity, references, event_time=labels.event_time).to_arrow()


def load_batch(context: StepContext, snapshot: dict[str, Any]) -> pa.Table:
    """The rows of a snapshot, their bytes checked."""
    from millrace.data.snapshot import load_snapshot

    return load_snapshot(Snapshot.from_dict(snapshot), context.wiring.blobs)


def record(context: StepContext, verdict: Verdict, extra: dict[str, Any] | None = None) -> None:
    """A verdict of this step on the record, once however often the step is tried."""
    context.wiring.record_verdict(
        verdict,
        subject=context.run.model or context.run.pipeline,
        key=f"{context.key}:{verdict.rule}",
        extra={"run": context.run.run_id, "step": context.step, **(extra or {})},
    )


def _model(context: StepContext) -> Model:
    return context.wiring.project.get_model(context.run.model)


def _check_columns(model: Model, table: pa.Table) -> None:
    from millrace.core.errors import did_you_mean

    missing = [name for name in [*model.inputs, model.labels.column] if name not in table.column_names]
    problems = [
        DataError(
            "DATA-42",
            f"'{model.labels.source.name}' has no column '{name}', which model '{model.name}' takes",
            where=model.place,
            fix=did_you_mean(name, table.column_names),
        )
        for name in missing
    ]
    if len(problems) == 1:
        raise problems[0]
    if problems:
        raise DataError("DATA-42", f"{len(problems)} columns are missing", findings=problems)
