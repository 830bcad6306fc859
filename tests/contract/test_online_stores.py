"""Every online store of this package passes the shipped suite; LMDB some more of its own."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from millrace.core.errors import StoreError
from millrace.core.plugins import plugin_names
from millrace.features.online.layout import open_tail
from millrace.features.online.lmdb_store import LmdbOnlineStore, open_lmdb
from millrace.features.online.port import open_online
from millrace.features.online.snapshot_store import SnapshotOnlineStore, open_snapshot
from millrace.features.online.sqlite_store import open_sqlite_online
from millrace.testing.memory_store import MemoryOnlineStore, open_memory
from millrace.testing.online_store import OnlineStoreContract
from millrace.testing.shared_online_store import SharedOnlineStoreContract


class TestMemory(OnlineStoreContract):
    @pytest.fixture
    def store(self) -> MemoryOnlineStore:
        return open_memory()


class TestLmdb(SharedOnlineStoreContract):
    @pytest.fixture
    def open_again(self, tmp_path: Path, handles: Any) -> Any:
        return lambda: handles(open_lmdb, str(tmp_path / "online"))

    @pytest.fixture
    def store(self, open_again: Any) -> Any:
        return open_again()


class TestDurableLmdb(TestLmdb):
    @pytest.fixture
    def open_again(self, tmp_path: Path, handles: Any) -> Any:
        return lambda: handles(open_lmdb, f"lmdb:///{tmp_path / 'online'}", durable=True)


class TestSqlite(SharedOnlineStoreContract):
    @pytest.fixture
    def open_again(self, tmp_path: Path, handles: Any) -> Any:
        return lambda: handles(open_sqlite_online, f"sqlite:///{tmp_path / 'folder' / 'online.db'}")

    @pytest.fixture
    def store(self, open_again: Any) -> Any:
        return open_again()


class TestSnapshotOfMemory(OnlineStoreContract):
    @pytest.fixture
    def store(self, handles: Any) -> Any:
        return handles(SnapshotOnlineStore, open_memory())


class TestSnapshotThatIsAlwaysDue(OnlineStoreContract):
    """Each read finds its copy too old, and starts a refresh beside what this process merges."""

    @pytest.fixture
    def store(self, tmp_path: Path, handles: Any) -> Any:
        return handles(open_snapshot, f"snapshot+sqlite:///{tmp_path / 'online.db'}?refresh_s=0.000001")


def put(old: bytes | None, new: bytes) -> bytes:
    return new


def test_both_are_found_by_name(tmp_path: Path) -> None:
    assert {"lmdb", "memory"} <= set(plugin_names("online_stores"))
    assert isinstance(open_online("memory://"), MemoryOnlineStore)
    store = open_online(f"lmdb:///{tmp_path}/online")
    store.merge("view", [(b"a", b"1")], put)
    store.close()
    assert (tmp_path / "online" / "data.mdb").exists()


def test_lmdb_outlives_its_handle_and_may_be_opened_twice(tmp_path: Path) -> None:
    one, other = open_lmdb(str(tmp_path)), open_lmdb(str(tmp_path))
    one.merge("view", [(b"a", b"1")], put)
    one.close()
    one.close()

    assert other.read("view", [b"a"]) == [b"1"]
    with pytest.raises(StoreError) as closed:
        one.read("view", [b"a"])
    assert closed.value.code == "FEAT-20"
    other.close()
    again = open_lmdb(str(tmp_path))
    assert again.read("view", [b"a"]) == [b"1"]
    again.close()


def test_lmdb_open_with_two_durabilities_is_refused(tmp_path: Path) -> None:
    store = open_lmdb(str(tmp_path))
    with pytest.raises(StoreError, match="durable=False already"):
        open_lmdb(str(tmp_path), durable=True)
    store.close()


def test_lmdb_grows_by_itself_and_another_process_follows(tmp_path: Path) -> None:
    store = open_lmdb(str(tmp_path))
    value = os.urandom(1 << 20)
    store.merge("view", [(b"first", b"1")], put)
    program = (
        "import sys; from millrace.features.online.lmdb_store import open_lmdb\n"
        f"store = open_lmdb({str(tmp_path)!r}); store.read('view', [b'first'])\n"
        "print('ready', flush=True); sys.stdin.readline()\n"
        "print(len(store.read('view', [(99).to_bytes(2, 'big')])[0]))"
    )
    with subprocess.Popen(
        [sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as reader:
        assert reader.stdout is not None
        assert reader.stdout.readline() == "ready\n"
        store.merge("view", ((number.to_bytes(2, "big"), value) for number in range(100)), put)
        answer, _ = reader.communicate("\n")

    assert store.read("view", [(99).to_bytes(2, "big")]) == [value]
    assert answer == f"{1 << 20}\n"
    store.close()


def test_lmdb_works_on_in_a_fork(tmp_path: Path) -> None:
    store = open_lmdb(str(tmp_path))
    store.merge("view", [(b"a", b"parent")], put)
    child = os.fork()
    if child == 0:
        is_right = store.read("view", [b"a"]) == [b"parent"]
        store.merge("view", [(b"b", b"child")], put)
        os._exit(0 if is_right and store.read("view", [b"b"]) == [b"child"] else 1)
    _, status = os.waitpid(child, 0)

    assert os.waitstatus_to_exitcode(status) == 0
    assert store.read("view", [b"a", b"b"]) == [b"parent", b"child"]
    store.close()


def test_a_folder_that_is_a_file_is_explained(tmp_path: Path) -> None:
    (tmp_path / "online").write_text("not a folder")
    with pytest.raises(StoreError) as refused:
        open_lmdb(str(tmp_path / "online"))
    assert refused.value.code == "FEAT-20"


def test_a_damaged_file_is_explained(tmp_path: Path) -> None:
    (tmp_path / "data.mdb").write_bytes(b"\xff" * 8192)
    with pytest.raises(StoreError) as refused:
        open_lmdb(str(tmp_path))
    assert refused.value.code == "FEAT-21"


PUSHER = """
import sys
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from millrace.core.clock import ManualClock
from millrace.core.errors import DataError
from millrace.features import aggregation as mr
from millrace.features.entity import Entity
from millrace.features.online.lmdb_store import open_lmdb
from millrace.features.store import FeatureStore
from millrace.features.view import FeatureView

start = datetime(2024, 1, 1, tzinfo=UTC)
source = SimpleNamespace(name="orders", event_time="ts", created=None, delay=None)
view = FeatureView("v", entity=Entity("c", key="id"), source=source,
                   features={"n": mr.count(), "a": "a", "total": mr.sum("a"), "b": "b"})

def read(source, start, end):
    raise DataError("DATA-01", "the stream began before its log: the rows say what the columns are")

def opened(path):
    return FeatureStore([view], read=read, online=open_lmdb(path), clock=ManualClock(start + timedelta(days=400)))

if __name__ == "__main__":
    store = opened(sys.argv[1])
    number = int(sys.argv[2])
    print("ready", flush=True)
    while True:
        at = start + timedelta(seconds=number)
        store.push("v", [{"id": key, "ts": at, "a": number, "b": f"text {number}"} for key in range(20)])
        number += 1
"""


def test_values_are_whole_after_kill_9_while_pushing(tmp_path: Path) -> None:
    """Every value read after a kill is a merged tail without a hole, and pushing again loses and doubles nothing."""
    script = tmp_path / "pusher.py"
    script.write_text(PUSHER)
    facts: dict[str, object] = {"__name__": "pusher"}
    exec(PUSHER, facts)
    dice = random.Random(7)
    reached = 0
    for _ in range(4):
        with subprocess.Popen(
            [sys.executable, str(script), str(tmp_path / "online"), str(max(reached - 2, 0))],
            stdout=subprocess.PIPE,
            text=True,
        ) as child:
            assert child.stdout is not None
            assert child.stdout.readline() == "ready\n"
            online = open_lmdb(str(tmp_path / "online"))
            target = reached + dice.randrange(20, 60)
            while (_count(online, facts, 0) or 0) < target:
                assert child.poll() is None
            child.send_signal(signal.SIGKILL)
        counts = {_count(online, facts, key) for key in range(20)}
        reached = max(count for count in counts if count is not None)
        assert counts == {reached}
        online.close()


def _count(online: LmdbOnlineStore, facts: dict[str, object], key: int) -> int | None:
    """Events of a key, after checking that they are the numbers 0 to n - 1, each whole."""
    view = facts["view"]
    packed = b"i" + key.to_bytes(8, "big")
    (data,) = online.read(view.storage_id(), [packed])  # type: ignore[attr-defined]
    if data is None:
        return None
    tail = open_tail(data)
    numbers = []
    for place in range(tail.count):
        event = tail.layout.event.unpack_from(tail.events, place * tail.layout.width)
        text = tail.texts[event[-1] : event[-1] + (event[3] >> 32)].decode()
        assert text == f"text {event[2]}"
        numbers.append(event[2])
    assert numbers == list(range(tail.count))
    return tail.count
