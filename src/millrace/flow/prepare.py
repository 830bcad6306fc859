"""The first half of the training pipeline: from a source to a table of features and labels."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

from millrace.core.duration import format_duration, parse_duration
from millrace.core.errors import DataError
from millrace.core.records import Snapshot
from millrace.core.refusal import Refused
from millrace.core.verdict import Verdict
from millrace.flow.run_step import StepContext

if TYPE_CHECKING:
    import pyarrow as pa

    from millrace.data.source import Source
    from millrace.flow.model import Model
    from millrace.flow.wiring import Wiring


def extract(context: StepContext) -> dict[str, Any]:
    """Freeze the rows of the labels' source that were known at the run's time and lie inside the model's window.

    A batch that was refused and then released is taken instead, once: exactly its rows.
    """
    from millrace.data.snapshot import take_snapshot
    from millrace.flow.quarantine import take_released_batch

    model, wiring = _model(context), context.wiring
    source = model.labels.source
    released = take_released_batch(context, source)
    if released is not None:
        return released
    try:
        table = _read_some(context, source)
    except DataError as problem:
        # There is no batch to put aside, and whoever looks after production must hear of it all the same.
        title = f"'{source.name}' cannot be used: nothing was trained on it"
        wiring.alert(f"{context.key}:{source.name}:alert", "critical", model.name, title, problem.render())
        raise
    snapshot = take_snapshot(
        table, source=source.name, event_time=model.labels.event_time, blobs=wiring.blobs, ledger=wiring.ledger
    )
    return snapshot.to_dict()


def _read_some(context: StepContext, source: Source) -> pa.Table:
    """The rows that were known of the labels' source. Raises DataError DATA-40 when there are none."""
    labels = _model(context).labels
    table = read_known(context, source, labels.event_time, labels.delay)
    if table.num_rows == 0:
        raise DataError(
            "DATA-40",
            f"'{source.name}' has no row that was known at {context.run.as_of:%Y-%m-%d %H:%M}",
            where=source.place,
            why=f"the window is {format_duration(window)}" if (window := window_of(context)) else None,
            fix="check the source's event_time and delay, or widen the model's window",
        )
    return table


def read_known(context: StepContext, source: Source, event_time: str | None, delay: timedelta) -> pa.Table:
    """A source's rows that were known at the run's time, inside its window; all of them without an event time."""
    if event_time is None:
        return context.wiring.read(source, None, None)
    # A row of that very moment is known, and the end of a read is exclusive.
    end = context.run.as_of - delay + timedelta(microseconds=1)
    window = window_of(context)
    return context.wiring.read(source, end - window if window is not None else None, end)


def window_of(context: StepContext) -> timedelta | None:
    """How much of the past the run learns from: its own parameter, else the model's."""
    asked = context.run.parameters.get("window")
    return parse_duration(asked) if asked is not None else _model(context).window


def validate_data(context: StepContext, snapshot: dict[str, Any]) -> Any:
    """Refuse a batch that its suite does not allow, or that is a data incident: it is put aside and somebody is told.

    Every source the model learns from is judged, the labels' and those of its features.
    """
    from millrace.flow.quarantine import judge_batch
    from millrace.flow.serving_rules import check_serving_rules

    model = _model(context)
    batch = load_batch(context, snapshot)
    judged = {model.labels.source.name: judge_batch(context, model, model.labels.source, batch, snapshot)}
    if judged[model.labels.source.name].refusal is None:
        check_serving_rules(context.wiring, model, batch)
    for source in feature_sources(context.wiring, model):
        if source.name not in judged and (source.suite is not None or source.incidents is not None):
            table = read_known(context, source, source.event_time, source.delay)
            judged[source.name] = judge_batch(context, model, source, table)
    facts = {name: batch.facts for name, batch in judged.items()}
    refused = [batch.refusal for batch in judged.values() if batch.refusal is not None]
    return Refused("; ".join(refused), {"validation": facts}) if refused else facts


def feature_sources(wiring: Wiring, model: Model) -> list[Source]:
    """The sources behind the model's features, each once."""
    names = dict.fromkeys(view.source.name for view in wiring.feature_views(model))
    return [wiring.project.sources[name] for name in names]


def check_drift(context: StepContext, snapshot: dict[str, Any], validation: dict[str, Any]) -> dict[str, Any]:
    """Compare the batch with the one the champion learned from. Drift is a fact for the record, not a refusal.

    `validation` is not read: a batch is compared only after it was found fit.
    """
    from millrace.drift.batch import assess
    from millrace.flow.references import keep_reference

    wiring, model = context.wiring, _model(context)
    champion = wiring.registry.find(model.name, "champion")
    reference = champion.lineage.get("snapshot") if champion is not None else None
    table = load_batch(context, snapshot)
    columns = [name for name in model.inputs if name in table.column_names]
    if columns:  # kept now, so that the next run reads only its own batch
        keep_reference(wiring, model.name, snapshot["digest"], columns, lambda: table)
    if champion is None or reference is None:
        return {"outcome": "inconclusive", "reason": "no champion yet: nothing to compare with", "drifted": []}
    known = [name for name in model.inputs if name in reference["columns"]]
    if not known:
        return {"outcome": "inconclusive", "reason": "the model takes no inputs of the batch", "drifted": []}
    past = keep_reference(wiring, model.name, reference["digest"], known, lambda: load_batch(context, dict(reference)))
    report = assess(past.profile, table, sample=past.sample)
    verdict = report.verdict()
    for part in report.verdicts():
        record(context, part, {"reference": champion.version})
    return {"outcome": verdict.outcome, "reason": verdict.reason, "drifted": report.drifted, "report": report.to_dict()}


def build_features(context: StepContext, snapshot: dict[str, Any], drift: dict[str, Any]) -> pa.Table:
    """Join each labelled row with its features as they were known at its time.

    `drift` is not read: features are built after the batch was compared.
    """
    import pyarrow.compute as pc

    model, wiring = _model(context), context.wiring
    table = load_batch(context, snapshot)
    keys = [*wiring.entity_keys(model), *wiring.requested_columns(model)]
    _check_columns(model, table, keys)
    labels = model.labels
    table = table.filter(pc.is_valid(table.column(labels.column)))  # a label that has not come teaches nothing
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


def record(context: StepContext, verdict: Verdict, extra: dict[str, Any] | None = None, *, part: str = "") -> None:
    """A verdict of this step on the record, once however often the step is tried."""
    context.wiring.record_verdict(
        verdict,
        subject=context.run.model or context.run.pipeline,
        key=f"{context.key}:{verdict.rule}:{part}" if part else f"{context.key}:{verdict.rule}",
        extra={"run": context.run.run_id, "step": context.step, **(extra or {})},
    )


def check_columns(wiring: Wiring, model: Model) -> None:
    """Raise DataError unless the labels' source can be read and has every column the model takes; trains nothing."""
    from millrace.flow.serving_rules import check_serving_rules

    keys = [*wiring.entity_keys(model), *wiring.requested_columns(model)]
    table = wiring.read(model.labels.source, None, None)
    _check_columns(model, table, keys)
    check_serving_rules(wiring, model, table)


def _model(context: StepContext) -> Model:
    return context.wiring.project.get_model(context.run.model)


def _check_columns(model: Model, table: pa.Table, keys: list[str]) -> None:
    from millrace.core.errors import did_you_mean

    missing = [name for name in [*keys, *model.inputs, model.labels.column] if name not in table.column_names]
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
