"""A batch before training: judged by its suite and for incidents, put aside when unfit, let through when released."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any

from millrace.core.clock import from_text, to_text
from millrace.core.records import Alert, Severity
from millrace.core.verdict import Verdict
from millrace.flow.incidents import judge_incidents, keep_count
from millrace.flow.run import ABANDONED, RunRecord, find_run
from millrace.monitoring.alerts import append_alert
from millrace.validation.incidents.rules import explain_incidents
from millrace.validation.release import (
    SHOWN_DIGEST,
    Quarantined,
    find_state,
    judge_release,
    list_quarantined,
    release_batch,
    release_evidence,
)
from millrace.validation.released import MOST_FAILURES, return_unlearned, take_released

if TYPE_CHECKING:
    import pyarrow as pa

    from millrace.data.source import Source
    from millrace.flow.model import Model
    from millrace.flow.run_step import StepContext
    from millrace.flow.wiring import Wiring
    from millrace.store.ledger import Event, Transaction
    from millrace.validation.result import ValidationResult


@dataclass(frozen=True)
class JudgedBatch:
    """What was found of one source's batch: facts for the step's output, and whether they stop the run."""

    facts: dict[str, Any]
    refusal: str | None = field(default=None)


def judge_batch(
    context: StepContext, model: Model, source: Source, table: pa.Table, snapshot: dict[str, Any] | None = None
) -> JudgedBatch:
    """Judge a batch by its source's suite and as a data incident; put it aside unless a release covers what was found.

    Parameters
    ----------
    snapshot : mapping, optional
        How the rows are kept already.
    """
    wiring = context.wiring
    result = _validated(wiring, source, table)
    facts: dict[str, Any] = {"outcome": "inconclusive", "reason": f"source '{source.name}' has no suite"}
    if result is not None:
        verdict = _record(context, source, result.verdict())
        facts = {"outcome": verdict.outcome, "reason": verdict.reason, "result": result.to_json_dict()}
    digest = snapshot["digest"] if snapshot is not None else None
    incidents = judge_incidents(wiring, model, source, table, as_of=_as_of(context, source, digest), digest=digest)
    facts["incidents"] = [{"rule": v.rule, "outcome": v.outcome, "reason": v.reason} for v in incidents]
    failed = [_record(context, source, verdict) for verdict in incidents if verdict.is_fail]
    blocked = result if result is not None and result.verdict().is_fail else None
    if blocked is None and not failed:
        _tell_warnings(context, model, source, result)
        if snapshot is None:
            keep_count(wiring, source, table, as_of=context.run.as_of, run=context.run.run_id)
        return JudgedBatch(facts)
    reason = "; ".join([facts["reason"]] * (blocked is not None) + [explain_incidents(failed)] * bool(failed))
    facts |= {"outcome": "fail", "reason": reason}
    return _put_aside(context, model, source, table, snapshot, blocked, failed, facts)


def take_released_batch(context: StepContext, source: Source) -> dict[str, Any] | None:
    """The snapshot that was released for the run's model and that no run took yet; None when there is none.

    A run of a replayed past takes none: it looks at what was known then.
    """
    if context.run.is_replay or context.run.model is None:
        return None
    with context.wiring.ledger.transaction() as transaction:
        taken = take_released(transaction, source.name, context.run.model, context.run.run_id)
    return dict(taken["snapshot"]) if taken is not None else None


def return_batches(transaction: Transaction, run: RunRecord, channels: Sequence[str]) -> None:
    """Give back what a run took that ended before a model of it was judged, and tell so, as part of the run's end.

    A run that was abandoned tells nobody: the one that takes its place takes the batch, too.
    """
    message = f"run {run.run_id} ended as {run.status}" + (f": {run.message}" if run.message else "")
    for event in return_unlearned(transaction, run.run_id, reason=message, is_failure=run.status == "failed"):
        if run.status == ABANDONED:
            continue
        batch, failures = event.body["batch"][:SHOWN_DIGEST], event.body["failures"]
        severity: Severity = "warning"
        title = f"a released batch of '{event.subject}' waits again: no model of it was judged"
        text = f"{message}; the next run of '{run.model}' takes batch {batch} again"
        if event.body["status"] == "given up":
            severity, title = "critical", f"a released batch of '{event.subject}' is given up: {failures} runs failed"
            text = f'{message}; no run takes batch {batch} until: millrace data release {batch} --reason "..."'
        elif run.status == "failed":
            text += f"; it is given up when {MOST_FAILURES} runs failed ({failures} did)"
        key = f"{event.key}:alert"
        told = Alert(key, severity, run.model or run.pipeline, title, text, event.at, {"run": run.run_id, **event.body})
        append_alert(transaction, told, channels)


def release(wiring: Wiring, refusals: Sequence[Quarantined], *, reason: str, by: str) -> list[Event]:
    """Let a refused batch through for each model that refused it, and tell so, in one transaction.

    For a model for which it was released before, the earlier event. Raises DataError VALID-69.
    """
    at = to_text(wiring.clock.now())
    with wiring.ledger.transaction() as transaction:
        events = [release_batch(transaction, found, reason=reason, by=by, at=at) for found in refusals]
        for found, event in zip(refusals, events, strict=True):
            told = Alert(
                key=f"{event.key}:alert",
                severity="warning",
                subject=found.model or found.source,
                title=f"{by} released a refused batch of '{found.source}'",
                text=f"{reason}; it covers: {'; '.join(found.findings.values())}",
                at=event.at,
                facts={"batch": found.batch, "release": event.seq, "quarantine": found.event},
            )
            append_alert(transaction, told, wiring.environment.channels)
    return events


def quarantined(wiring: Wiring) -> list[Quarantined]:
    """Every batch that was refused."""
    return list_quarantined(wiring.ledger)


def _validated(wiring: Wiring, source: Source, table: pa.Table) -> ValidationResult | None:
    from millrace.validation.engine import validate
    from millrace.validation.suite import Suite

    if source.suite is None:
        return None
    suite = source.suite if isinstance(source.suite, Suite) else Suite.load(wiring.project.root / source.suite)
    return validate(table, suite)


def _as_of(context: StepContext, source: Source, digest: str | None) -> datetime:
    """The run's time; of a released batch, when it was first judged: that it grew old was known to who released it."""
    ledger, run = context.wiring.ledger, context.run
    state = find_state(ledger, source.name, digest, run.model) if digest is not None else None
    if state is None or not state.value.get("as_of"):
        return run.as_of
    taker = state.value.get("run")
    while run.run_id != taker and run.parameters.get("base"):  # it goes on from what the taker found
        run = find_run(ledger, run.parameters["base"])
    return from_text(state.value["as_of"]) if run.run_id == taker else context.run.as_of


def _put_aside(
    context: StepContext,
    model: Model,
    source: Source,
    table: pa.Table,
    snapshot: dict[str, Any] | None,
    blocked: ValidationResult | None,
    incidents: Sequence[Verdict],
    facts: dict[str, Any],
) -> JudgedBatch:
    from millrace.data.snapshot import take_snapshot
    from millrace.validation.quarantine import findings_of, quarantine

    wiring = context.wiring
    batch = snapshot["digest"] if snapshot is not None else None
    if batch is None:
        kept = take_snapshot(
            table, source=source.name, event_time=source.event_time, blobs=wiring.blobs, ledger=wiring.ledger
        )
        batch = kept.digest
    evidence = release_evidence(wiring.ledger, source.name, batch, findings_of(blocked, incidents), model.name)
    if evidence["released"] is not None:
        let_through = _record(context, source, judge_release(evidence))
        facts["release"] = {"outcome": let_through.outcome, "reason": let_through.reason}
        if let_through.is_pass:
            return JudgedBatch(facts)
        facts["reason"] += f"; {let_through.reason}"

    def tell(transaction: Transaction, event: Event) -> None:
        text = f"{facts['reason']}; production stays as it is; the batch is kept as event {event.seq}"
        alert = Alert(
            key=f"{context.key}:{source.name}:alert",
            severity="critical",
            subject=model.name,
            title=f"batch of '{source.name}' is unfit: nothing was trained on it",
            text=f"{text}: millrace data quarantine show {event.seq}",
            at=to_text(wiring.clock.now()),
            facts={"run": context.run.run_id, "quarantine": event.seq},
        )
        append_alert(transaction, alert, wiring.environment.channels)

    event = quarantine(
        table,
        blocked,
        source=source.name,
        blobs=wiring.blobs,
        ledger=wiring.ledger,
        clock=wiring.clock,
        incidents=incidents,
        batch=batch,
        facts={"model": model.name, "snapshot": snapshot, "as_of": to_text(context.run.as_of)},
        along=tell,
    )
    return JudgedBatch({**facts, "quarantine": event.seq}, f"{source.name}: {facts['reason']}")


def _tell_warnings(context: StepContext, model: Model, source: Source, result: ValidationResult | None) -> None:
    """A failed rule of severity warning is told and stops nothing; one of severity info is only on the record."""
    warnings = [item for item in result.failed if item.expectation.severity == "warning"] if result is not None else []
    if warnings and result is not None:
        context.wiring.alert(
            f"{context.key}:{source.name}:warnings",
            "warning",
            model.name,
            f"batch of '{source.name}' keeps every rule that blocks, and breaks {len(warnings)} that warn",
            result.verdict().reason,
            {"run": context.run.run_id, "rules": [item.expectation.type for item in warnings]},
        )


def _record(context: StepContext, source: Source, verdict: Verdict) -> Verdict:
    return context.wiring.record_verdict(
        verdict,
        subject=context.run.model or context.run.pipeline,
        key=f"{context.key}:{verdict.rule}:{source.name}",
        extra={"run": context.run.run_id, "step": context.step, "source": source.name},
    )
