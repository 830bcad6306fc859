"""Joins of more than fits in memory: what goes to disk, what is left of it, and what is told."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from millrace.core.clock import ManualClock
from millrace.core.errors import DataError
from millrace.data.reader import SourceReader
from millrace.data.source import Source
from millrace.features import aggregation as mr
from millrace.features import workspace as workspaces
from millrace.features.buckets import count_buckets, open_buckets
from millrace.features.columns import TIME
from millrace.features.entity import Entity
from millrace.features.store import FeatureStore
from millrace.features.view import FeatureView
from millrace.features.workspace import Workspace, available_memory
from millrace.testing.memory_store import open_memory

START = datetime(2024, 1, 1, tzinfo=UTC)
SMALL = 60_000


@pytest.fixture
def orders(tmp_path: Path) -> Path:
    rng = np.random.default_rng(5)
    for number in range(2):
        rows = 3_000
        times = pa.array(rng.integers(0, 10**12, rows) + 1_704_067_200_000_000).cast(TIME)
        log = {"id": rng.integers(0, 50, rows), "ts": times, "i": rng.integers(0, 9, rows), "wide": rng.random(rows)}
        pq.write_table(pa.table(log), tmp_path / f"orders-{number}.parquet")
    (tmp_path / "orders").mkdir()
    for file in tmp_path.glob("*.parquet"):
        file.rename(tmp_path / "orders" / file.name)
    return tmp_path


@pytest.fixture
def view() -> FeatureView:
    source = Source("orders", "orders", event_time="ts")
    return FeatureView("v", entity=Entity("c", key="id"), source=source, features={"i": "i", "n": mr.count()})


@pytest.fixture
def asked() -> pa.Table:
    at = [START + timedelta(days=day % 11) for day in range(200)]
    return pa.table({"id": [day % 60 for day in range(200)], "event_time": pa.array(at, TIME)})


def test_what_went_to_disk_is_gone_afterwards(orders: Path, view: FeatureView, asked: pa.Table) -> None:
    seen: list[int] = []
    spill = orders / "spill"

    def look(done: int, total: int) -> None:
        seen.append(sum(file.stat().st_size for file in spill.glob("run-*/*") if file.exists()))

    store = FeatureStore([view], read=SourceReader(orders), workspace=Workspace(SMALL, spill))
    answers = store.get_historical_features(asked, ["v"], progress=look).to_arrow()

    assert max(seen) > 50_000
    assert [path.name for path in spill.iterdir()] == [".lock"]
    assert answers.equals(FeatureStore([view], read=SourceReader(orders)).get_historical_features(asked, ["v"]).table)


def test_only_what_is_asked_for_goes_to_disk(orders: Path, view: FeatureView, asked: pa.Table) -> None:
    few = asked.filter(pa.compute.less(asked["id"], 3))
    store = FeatureStore([view], read=SourceReader(orders), workspace=Workspace(SMALL, orders / "spill"))

    store.get_historical_features(few, ["v"])

    assert not (orders / "spill").exists()


def test_an_error_in_the_middle_leaves_nothing(orders: Path, view: FeatureView, asked: pa.Table) -> None:
    broken = orders / "orders" / "orders-1.parquet"
    data = bytearray(broken.read_bytes())
    data[4:9_000] = b"\x00" * 8_996
    broken.write_bytes(data)
    store = FeatureStore([view], read=SourceReader(orders), workspace=Workspace(SMALL, orders / "spill"))

    with pytest.raises(DataError) as refused:
        store.get_historical_features(asked, ["v"])

    assert refused.value.code == "DATA-04"
    assert "orders-1.parquet" in str(refused.value)
    assert not list((orders / "spill").glob("run-*"))


def test_a_disk_without_room_is_told(
    orders: Path, view: FeatureView, asked: pa.Table, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: Any) -> Any:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(pa.ipc, "new_stream", full)
    store = FeatureStore([view], read=SourceReader(orders), workspace=Workspace(SMALL, orders / "spill"))

    with pytest.raises(DataError) as refused:
        store.get_historical_features(asked, ["v"])

    assert refused.value.code == "FEAT-14"
    assert "No space left" in str(refused.value)
    assert not list((orders / "spill").glob("run-*"))


def test_a_folder_that_cannot_be_written_is_told(orders: Path, view: FeatureView, asked: pa.Table) -> None:
    (orders / "file").write_text("not a folder")
    store = FeatureStore([view], read=SourceReader(orders), workspace=Workspace(SMALL, orders / "file" / "spill"))

    with pytest.raises(DataError, match="FEAT-14"):
        store.get_historical_features(asked, ["v"])


def test_what_a_killed_process_left_is_removed_and_what_a_living_one_uses_is_not(tmp_path: Path) -> None:
    hold = (
        "import sys, pathlib\n"
        "from millrace.features.workspace import Workspace\n"
        f"with Workspace(folder=pathlib.Path({str(tmp_path)!r})).spill() as run:\n"
        "    (run / 'rows').write_text('x'); print(run, flush=True); sys.stdin.read()\n"
    )
    child = subprocess.Popen([sys.executable, "-c", hold], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert child.stdin is not None
    assert child.stdout is not None
    left = Path(child.stdout.readline().strip())
    with Workspace(folder=tmp_path).spill():
        assert (left / "rows").exists()
    os.kill(child.pid, signal.SIGKILL)
    child.communicate()
    assert (left / "rows").exists()

    with Workspace(folder=tmp_path).spill() as run:
        assert not left.exists()
        assert run.exists()
    assert not run.exists()


def test_rows_keep_their_order_within_a_bucket_however_often_they_go_to_disk(tmp_path: Path) -> None:
    table = pa.table({"key": [place % 7 for place in range(1000)], "place": range(1000), "text": ["t"] * 1000})
    with open_buckets(3, Workspace(4_000, tmp_path)) as found:
        for begin in range(0, 1000, 90):
            piece = table.slice(begin, 90)
            keys = piece["key"].to_numpy()
            found.add(piece, np.where(keys == 6, -1, keys % 3))
        assert found.is_on_disk
        taken = [found.take(number, table.slice(0, 0)) for number in range(3)]

    for number, rows in enumerate(taken):
        assert rows["place"].to_pylist() == [
            place for place in range(1000) if place % 7 != 6 and place % 7 % 3 == number
        ]


def test_the_number_of_buckets_follows_from_size_and_memory() -> None:
    assert [count_buckets(size, 1 << 30) for size in (0, 1 << 20, 1 << 27, (1 << 27) + 1, 1 << 30)] == [1, 1, 1, 2, 8]
    assert count_buckets(1 << 50, 1) == count_buckets(1 << 40, 1 << 20)


def test_memory_is_measured_and_bounded_by_every_limit(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert 0 < available_memory() < 1 << 50
    group = {"memory.max": "5000000", "memory.current": "3000000", "memory.stat": "inactive_file 100000\nactive_file 9"}
    for name, text in group.items():
        (tmp_path / name).write_text(text)

    left = workspaces._left(*(tmp_path / name for name in group))

    assert left == 5_000_000 - 3_000_000 + 100_009
    (tmp_path / "memory.max").write_text("max\n")
    assert workspaces._left(*(tmp_path / name for name in group)) is None
    monkeypatch.setattr(workspaces, "_process", lambda: 1 << 20)
    assert available_memory() == 1 << 20
    assert Workspace(123).limit() == 123


def test_materializing_a_log_that_does_not_fit_goes_key_by_key(orders: Path, view: FeatureView) -> None:
    told: list[tuple[int, int]] = []
    online = open_memory()
    store = FeatureStore(
        [view],
        read=SourceReader(orders),
        online=online,
        clock=ManualClock(START),
        workspace=Workspace(SMALL, orders / "s"),
    )

    counts = store.materialize(None, START + timedelta(days=99), progress=lambda *now: told.append(now))

    assert counts == {"v": 6000}
    assert len(told) > 10
    assert told == sorted(told)
    assert told[-1] == (100, 100)
    assert not list((orders / "s").glob("run-*"))
    whole = FeatureStore([view], read=SourceReader(orders), online=open_memory(), clock=ManualClock(START))
    whole.materialize(None, START + timedelta(days=99))
    keys = [{"id": key} for key in range(60)]
    at = START + timedelta(days=50)
    assert (
        store.get_online_features(["v"], keys, at=at).to_dict()
        == whole.get_online_features(["v"], keys, at=at).to_dict()
    )


LIMITED = """
import pathlib, resource, sys, time
folder, memory = pathlib.Path(sys.argv[1]), int(sys.argv[2])
import pyarrow.parquet as pq
from millrace.data.reader import SourceReader
from millrace.data.source import Source
from millrace.features import aggregation as mr
from millrace.features.entity import Entity
from millrace.features.store import FeatureStore
from millrace.features.view import FeatureView
from millrace.features.workspace import Workspace
resource.setrlimit(resource.RLIMIT_DATA, (memory, memory))
rows = pq.read_table(folder / "rows.parquet")
source = Source("log", "log", event_time="ts", created="created")
features = {"f0": "f0", "f1": "f1", "f2": "f2", "f3": "f3", "f4": "f4", "n": mr.count(window="30d")}
view = FeatureView("v", entity=Entity("c", key="id"), source=source, features=features)
store = FeatureStore([view], read=SourceReader(folder), workspace=Workspace(folder=folder / "spill"))
started = time.perf_counter()
found = store.get_historical_features(rows, ["v"]).to_arrow()
assert found.num_rows == rows.num_rows
assert found["f0"].null_count < rows.num_rows
print(time.perf_counter() - started, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024**2)
"""


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_a_hundred_million_rows_are_joined_within_four_gigabytes(
    tmp_path: Path, record_property: pytest.RecordProperty
) -> None:
    (tmp_path / "log").mkdir()
    rng, files, rows, keys = np.random.default_rng(0), 20, 5_000_000, 1_000_000
    for number in range(files):
        times = rng.integers(0, 365 * 86_400_000_000, rows) + 1_704_067_200_000_000
        log = {"id": rng.integers(0, keys, rows), "ts": pa.array(times).cast(TIME)}
        log["created"] = pa.array(times + rng.integers(0, 3_600_000_000, rows)).cast(TIME)
        log |= {f"f{place}": rng.random(rows) for place in range(5)}
        pq.write_table(pa.table(log), tmp_path / "log" / f"{number:02}.parquet", compression="none")
    times = rng.integers(0, 365 * 86_400_000_000, 1_000_000) + 1_704_067_200_000_000
    asked = {"id": rng.integers(0, keys, 1_000_000), "event_time": pa.array(times).cast(TIME)}
    pq.write_table(pa.table(asked), tmp_path / "rows.parquet")

    done = subprocess.run(
        [sys.executable, "-c", LIMITED, str(tmp_path), str(4 << 30)], capture_output=True, text=True, check=False
    )

    assert done.returncode == 0, done.stderr
    seconds, gigabytes = map(float, done.stdout.split())
    record_property("seconds", seconds)
    assert gigabytes < 4
    assert not list((tmp_path / "spill").glob("run-*"))
