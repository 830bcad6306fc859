"""A batch that was refused is kept, with the report, where nobody trains on it."""

from __future__ import annotations

import json

import pyarrow as pa
import pyarrow.parquet as pq

from millrace.core.clock import Clock, to_text
from millrace.core.ids import digest_json
from millrace.store.blobs import BlobStore
from millrace.store.ledger import Event, Ledger
from millrace.validation.result import ValidationResult


def quarantine(
    table: pa.Table,
    result: ValidationResult,
    *,
    source: str,
    blobs: BlobStore,
    ledger: Ledger,
    clock: Clock,
) -> Event:
    """Keep the batch and its report, and put the event ``quarantine`` on the record.

    The blobs are written first. The event's key is of the batch and the findings: the same batch refused for the
    same reasons is one event (``is_new`` is False on the second). Its body holds ``batch`` and ``report`` (digests),
    ``rows``, ``reason`` and ``verdict``.

    Raises
    ------
    StoreError
        STORE-01 when the disk is full; nothing is then on the record.
    """
    sink = pa.BufferOutputStream()
    pq.write_table(table.replace_schema_metadata(None).combine_chunks(), sink, compression="zstd")
    batch = blobs.put(memoryview(sink.getvalue()))
    key = f"quarantine:{source}:{batch}:{digest_json(result.evidence())}"
    earlier = ledger.find(key)
    if earlier is not None:
        return earlier
    verdict = result.verdict()
    report = {**result.to_json_dict(), "source": source, "quarantined_at": to_text(clock.now())}
    body = {
        "batch": batch,
        "report": blobs.put(json.dumps(report, indent=2, ensure_ascii=False, allow_nan=False).encode()),
        "rows": result.rows,
        "suite": result.suite_name,
        "reason": verdict.reason,
        "verdict": verdict.to_dict(),
    }
    return ledger.append("quarantine", source, body, key=key)


def load_quarantined(event: Event, blobs: BlobStore) -> pa.Table:
    """The rows of a refused batch, to look at them. Raises StoreError BLOB-01 or BLOB-02."""
    table: pa.Table = pq.ParquetFile(blobs.get_file(event.body["batch"])).read()
    return table
