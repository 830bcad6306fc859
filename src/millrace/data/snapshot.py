"""Exactly which rows: tables frozen under the digest of their bytes."""

from __future__ import annotations

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from millrace.core.clock import to_text
from millrace.core.errors import DataError
from millrace.core.records import Snapshot
from millrace.data.times import normalise_times
from millrace.store.blobs import BlobStore
from millrace.store.ledger import Ledger

_ROW_GROUP = 1 << 18


def take_snapshot(
    table: pa.Table, *, source: str, event_time: str | None, blobs: BlobStore, ledger: Ledger
) -> Snapshot:
    """Freeze `table`; the same rows in the same order are one snapshot, however often it is taken.

    Writes the blob first and then the event ``snapshot`` with the key ``snapshot:{source}:{digest}``: what the
    ledger names is there.

    Raises
    ------
    DataError
        DATA-02, DATA-08, DATA-09 when `event_time` is not a usable column.
    StoreError
        STORE-01 when the disk is full; nothing is then on the record.
    """
    times = normalise_times(table, event_time).column(event_time) if event_time is not None else None
    digest = blobs.put(parquet_bytes(table))
    first, last = _span(times)
    snapshot = Snapshot(
        source=source,
        digest=digest,
        rows=table.num_rows,
        columns={field.name: str(field.type) for field in table.schema},
        start=first,
        end=last,
    )
    ledger.append("snapshot", source, snapshot.to_dict(), key=f"snapshot:{source}:{digest}")
    return snapshot


def load_snapshot(snapshot: Snapshot, blobs: BlobStore) -> pa.Table:
    """The frozen rows.

    Raises
    ------
    StoreError
        BLOB-01 or BLOB-02 when the blob is gone or was changed.
    DataError
        DATA-04 when the blob is sound but is not the table on the record.
    """
    table = pq.read_table(blobs.get_file(snapshot.digest), memory_map=True, partitioning=None)
    # A record that went through JSON has lost the order of its columns.
    if table.num_rows != snapshot.rows or sorted(table.column_names) != sorted(snapshot.columns):
        raise DataError(
            "DATA-04",
            f"the blob {snapshot.digest[:12]} holds {table.num_rows:,} rows, the record says {snapshot.rows:,}",
            where=f"snapshot of source '{snapshot.source}'",
            fix="take the snapshot again",
        )
    return table


def parquet_bytes(table: pa.Table) -> memoryview:
    """`table` as Parquet, byte for byte the same for equal rows, types and order.

    Notes that other writers leave in the schema, and how the rows are cut into chunks, do not count.
    """
    plain = table.replace_schema_metadata(None).combine_chunks()
    sink = pa.BufferOutputStream()
    pq.write_table(
        plain,
        sink,
        row_group_size=_ROW_GROUP,
        version="2.6",
        compression="zstd",
        compression_level=3,
        use_dictionary=True,
        write_statistics=True,
    )
    return memoryview(sink.getvalue())


def _span(times: pa.ChunkedArray | None) -> tuple[str | None, str | None]:
    if times is None or len(times) == 0:
        return None, None
    bounds = pc.min_max(times).as_py()
    return to_text(bounds["min"]), to_text(bounds["max"])
