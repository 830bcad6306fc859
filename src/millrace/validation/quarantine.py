"""A batch that was refused is kept, with the report, where nobody trains on it."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from millrace.core.clock import Clock, to_text
from millrace.core.errors import DataError
from millrace.core.ids import digest_json
from millrace.core.verdict import Verdict
from millrace.store.blobs import BlobStore
from millrace.store.ledger import Event, Ledger, Transaction
from millrace.validation.describe import demand
from millrace.validation.incidents.rules import explain_incidents
from millrace.validation.release import KIND, find_state, identity_of, state_key
from millrace.validation.result import BLOCKING, ValidationResult


def quarantine(
    table: pa.Table,
    result: ValidationResult | None,
    *,
    source: str,
    blobs: BlobStore,
    ledger: Ledger,
    clock: Clock,
    incidents: Sequence[Verdict] = (),
    batch: str | None = None,
    facts: Mapping[str, Any] | None = None,
    along: Callable[[Transaction, Event], object] | None = None,
) -> Event:
    """Keep the batch and its report, and put the event ``quarantine`` on the record.

    The blobs are written first. The event's key is of the batch, the model and the findings: the same batch refused
    by one model for the same reasons is one event (``is_new`` is False on the second). Its body holds ``batch`` and
    ``report`` (digests), ``rows``, ``reason``, ``verdict`` and ``model``.

    Parameters
    ----------
    result : ValidationResult, optional
        What its suite found; None when it has no suite.
    incidents : sequence of Verdict, optional
        Failed ones count.
    batch : str, optional
        Digest under which the rows are kept already.
    facts : mapping, optional
        More for the state of the batch: ``model``, ``snapshot``.
    along : callable, optional
        What else becomes true with the event, such as an alert; called in its transaction each time.

    Raises
    ------
    StoreError
        STORE-01 when the disk is full; nothing is then on the record.
    DataError
        VALID-69 when there is neither a result nor a failed incident: nothing to refuse the batch for.
    """
    failed = [verdict for verdict in incidents if verdict.is_fail]
    if result is None and not failed:
        raise DataError(
            "VALID-69",
            f"nothing was found that a batch of '{source}' could be refused for",
            fix="give the result of its suite, or the incidents that failed",
        )
    verdict = result.verdict() if result is not None else None
    digest = batch if batch is not None else keep_rows(table, blobs)
    findings = findings_of(result, failed)
    basis = {} if result is None else result.evidence()
    if failed:
        basis = {"suite": basis, "incidents": [verdict.to_dict() for verdict in failed]}
    refusal = _state_key(ledger, source, digest, facts).removeprefix(f"{source}/")
    key = f"quarantine:{source}:{refusal}:{digest_json(basis)}"
    if ledger.find(key) is None:
        report = {
            **(result.to_json_dict() if result is not None else {}),
            "incidents": [verdict.to_dict() for verdict in failed],
            "source": source,
            "quarantined_at": to_text(clock.now()),
        }
        kept = blobs.put(json.dumps(report, indent=2, ensure_ascii=False, allow_nan=False).encode())
    reasons = [verdict.reason] if verdict is not None and verdict.is_fail else []
    reasons += [explain_incidents(failed)] if failed else []
    with ledger.transaction() as transaction:
        event = transaction.find(key)
        if event is None:
            first = verdict if verdict is not None and (verdict.is_fail or not failed) else failed[0]
            body = {
                "batch": digest,
                "report": kept,
                "rows": table.num_rows,
                "suite": result.suite_name if result is not None else None,
                "reason": "; ".join(reasons) or first.reason,
                "verdict": first.to_dict(),
                "model": (facts or {}).get("model"),
            }
            entry = _entry(transaction, source, digest, findings, facts or {})
            event = transaction.append("quarantine", source, body, key=key, sets=[entry])
        if along is not None:
            along(transaction, event)
    return event


def findings_of(result: ValidationResult | None, incidents: Sequence[Verdict] = ()) -> dict[str, str]:
    """What a batch is refused for: identity to text."""
    found = {verdict.rule: verdict.reason for verdict in incidents if verdict.is_fail}
    if result is not None and result.rows == 0:
        found["rows"] = "the batch has 0 rows"
    for item in result.failed if result is not None else ():
        if item.expectation.severity in BLOCKING:
            rule = item.expectation
            found[identity_of(rule)] = f"{demand(rule.type, rule.kwargs)} ({item.observed})"
    return found


def keep_rows(table: pa.Table, blobs: BlobStore) -> str:
    """Write the rows; their digest."""
    sink = pa.BufferOutputStream()
    pq.write_table(table.replace_schema_metadata(None).combine_chunks(), sink, compression="zstd")
    return blobs.put(memoryview(sink.getvalue()))


def load_quarantined(event: Event, blobs: BlobStore) -> pa.Table:
    """The rows of a refused batch, to look at them. Raises StoreError BLOB-01 or BLOB-02."""
    table: pa.Table = pq.ParquetFile(blobs.get_file(event.body["batch"])).read()
    return table


def _state_key(record: Ledger | Transaction, source: str, batch: str, facts: Mapping[str, Any] | None) -> str:
    """Where the model's refusal of the batch is kept, or is to be."""
    model = (facts or {}).get("model")
    state = find_state(record, source, batch, model)
    return state.key if state is not None else state_key(source, batch, model)


def _entry(
    transaction: Transaction, source: str, batch: str, findings: Mapping[str, str], facts: Mapping[str, Any]
) -> tuple[str, str, dict[str, Any]]:
    """The batch's state: refused again it is kept again, and what a release covered stays covered."""
    key = _state_key(transaction, source, batch, facts)
    state = transaction.state(KIND, key)
    earlier = state.value if state is not None else {"findings": {}, "covered": [], "released": None}
    found = {**earlier["findings"], **findings}
    # A release that came while the batch was being judged, and covers all of it, stands.
    is_covered = found.keys() <= set(earlier["covered"])
    value = {
        **earlier,
        **facts,
        "source": source,
        "batch": batch,
        "status": earlier["status"] if is_covered and found else "kept",
        "findings": found,
    }
    return (KIND, key, value)
