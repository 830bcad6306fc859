"""A snapshot is the rows, all of them and only them: its digest forgets how they were stored."""

from datetime import UTC, datetime

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from millrace.core.clock import ManualClock
from millrace.core.errors import DataError, StoreError
from millrace.core.ids import digest_bytes
from millrace.core.records import Snapshot
from millrace.data.snapshot import load_snapshot, parquet_bytes, take_snapshot
from millrace.store.blobs import FileBlobs
from millrace.store.ledger import Ledger

START = datetime(2024, 1, 1, tzinfo=UTC)


@pytest.fixture
def blobs(tmp_path):
    return FileBlobs(tmp_path / "blobs")


@pytest.fixture
def ledger(tmp_path):
    opened = Ledger.open(f"sqlite:///{tmp_path}/ledger.db", ManualClock(START))
    yield opened
    opened.close()


@pytest.fixture
def table():
    return pa.table(
        {
            "at": pa.array(
                [datetime(2024, 5, 2, tzinfo=UTC), datetime(2024, 5, 1, tzinfo=UTC)], pa.timestamp("us", tz="UTC")
            ),
            "n": pa.array([1, None], pa.int8()),
            "s": pa.array(["a", None], pa.large_string()),
        }
    )


def test_a_snapshot_brings_the_same_rows_back(table, blobs, ledger):
    snapshot = take_snapshot(table, source="orders", event_time="at", blobs=blobs, ledger=ledger)

    assert load_snapshot(snapshot, blobs).equals(table)
    assert snapshot == Snapshot.from_dict(snapshot.to_dict())
    assert snapshot.start == "2024-05-01T00:00:00.000000Z"
    assert snapshot.end == "2024-05-02T00:00:00.000000Z"
    assert snapshot.columns == {"at": "timestamp[us, tz=UTC]", "n": "int8", "s": "large_string"}


def test_the_same_rows_are_one_event(table, blobs, ledger):
    first = take_snapshot(table, source="orders", event_time="at", blobs=blobs, ledger=ledger)
    again = take_snapshot(table, source="orders", event_time="at", blobs=blobs, ledger=ledger)
    other = take_snapshot(table, source="returns", event_time=None, blobs=blobs, ledger=ledger)

    assert first == again
    assert other.digest == first.digest
    assert [event.key for event in ledger.events("snapshot")] == [
        f"snapshot:orders:{first.digest}",
        f"snapshot:returns:{first.digest}",
    ]
    assert ledger.events("snapshot")[0].body == first.to_dict()


def test_an_empty_table_has_a_snapshot_without_times(table, blobs, ledger):
    snapshot = take_snapshot(table.slice(0, 0), source="orders", event_time="at", blobs=blobs, ledger=ledger)

    assert (snapshot.rows, snapshot.start, snapshot.end) == (0, None, None)
    assert load_snapshot(snapshot, blobs).schema.equals(table.schema)


def test_a_changed_blob_is_refused(table, blobs, ledger):
    snapshot = take_snapshot(table, source="orders", event_time="at", blobs=blobs, ledger=ledger)
    path = blobs.get_file(snapshot.digest)
    path.write_bytes(path.read_bytes() + b"!")

    with pytest.raises(StoreError, match="BLOB-02"):
        load_snapshot(snapshot, blobs)


def test_a_record_of_other_rows_is_refused(table, blobs, ledger):
    snapshot = take_snapshot(table, source="orders", event_time="at", blobs=blobs, ledger=ledger)
    wrong = Snapshot.from_dict({**snapshot.to_dict(), "rows": 3})

    with pytest.raises(DataError, match="holds 2 rows, the record says 3"):
        load_snapshot(wrong, blobs)


def test_no_event_is_written_for_times_that_are_none(table, blobs, ledger):
    with pytest.raises(DataError, match="DATA-02"):
        take_snapshot(table, source="orders", event_time="when", blobs=blobs, ledger=ledger)

    assert ledger.events("snapshot") == []


@given(
    rows=st.lists(st.tuples(st.none() | st.integers(-5, 5), st.none() | st.text(max_size=3)), max_size=30),
    cut=st.integers(0, 30),
)
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_the_digest_is_of_the_rows_and_not_of_their_chunks(rows, cut):
    schema = pa.schema([("n", pa.int64()), ("s", pa.string())])
    whole = pa.Table.from_pylist([{"n": n, "s": s} for n, s in rows], schema)
    chunked = pa.concat_tables([whole.slice(0, cut), whole.slice(cut)]).replace_schema_metadata({"by": "another"})
    longer = pa.concat_tables([whole, pa.Table.from_pylist([{"n": 9, "s": "z"}], schema)])

    assert digest_bytes(parquet_bytes(chunked)) == digest_bytes(parquet_bytes(whole))
    assert digest_bytes(parquet_bytes(longer.slice(0, len(rows)))) == digest_bytes(parquet_bytes(whole))
    assert digest_bytes(parquet_bytes(longer)) != digest_bytes(parquet_bytes(whole))
