"""The snapshot of an online store: how old it may be, what it sees at once, and what a refresh does not undo."""

import threading

import pytest

from millrace.core.errors import ProjectError, StoreError
from millrace.features.online.port import open_online
from millrace.features.online.snapshot_store import SnapshotOnlineStore, open_snapshot
from millrace.testing.memory_store import MemoryOnlineStore


def put(old, new):
    return new


class Origin(MemoryOnlineStore):
    """Counts how often a view is copied; can be out of reach, or stop in the middle of a copy."""

    def __init__(self):
        super().__init__()
        self.copies = 0
        self.error = None
        self.gate = None
        self.begun = threading.Event()
        self.ended = threading.Semaphore(0)

    def items(self, view):
        self.copies += 1
        found = list(super().items(view))
        try:
            self.begun.set()
            if self.gate is not None:
                assert self.gate.wait(30)
            if self.error is not None:
                raise self.error
            yield from found
        finally:
            self.ended.release()


class Watch:
    now = 0.0

    def __call__(self):
        return self.now


@pytest.fixture
def origin():
    store = Origin()
    store.merge("view", [(b"a", b"1"), (b"b", b"1")], put)
    return store


def ended(origin, snapshot):
    """Wait for a refresh in the background."""
    assert origin.ended.acquire(timeout=30)
    for thread in threading.enumerate():
        if thread.name.startswith("snapshot "):
            thread.join(30)


def test_what_others_write_is_seen_after_a_refresh(origin):
    watch = Watch()
    snapshot = SnapshotOnlineStore(origin, refresh_s=10, clock=watch)
    assert snapshot.read("view", [b"a"]) == [b"1"]
    origin.ended.acquire()
    origin.merge("view", [(b"a", b"2")], put)

    watch.now = 9
    assert snapshot.read("view", [b"a"]) == [b"1"]
    assert (origin.copies, snapshot.age_s("view")) == (1, 9)
    origin.gate, watch.now = threading.Event(), 11
    assert snapshot.read("view", [b"a"]) == [b"1"]  # from the old copy, while the new one is made
    origin.gate.set()
    ended(origin, snapshot)
    assert snapshot.read("view", [b"a"]) == [b"2"]
    assert (origin.copies, snapshot.age_s("view")) == (2, 0)


def test_a_refresh_may_be_asked_for(origin):
    snapshot = SnapshotOnlineStore(origin)
    snapshot.refresh("view")
    origin.merge("view", [(b"c", b"1")], put)
    snapshot.refresh("view")

    assert snapshot.read("view", [b"c"]) == [b"1"]


def test_what_this_process_merges_is_seen_at_once(origin):
    snapshot = SnapshotOnlineStore(origin)
    assert snapshot.read("view", [b"a"]) == [b"1"]

    snapshot.merge("view", [(b"a", b"2"), (b"new", b"3")], put)

    assert snapshot.read("view", [b"a", b"b", b"new"]) == [b"2", b"1", b"3"]
    assert origin.read("view", [b"a", b"new"]) == [b"2", b"3"]
    assert origin.copies == 1


def test_a_refresh_that_began_before_a_merge_does_not_undo_it(origin):
    watch = Watch()
    snapshot = SnapshotOnlineStore(origin, refresh_s=10, clock=watch)
    snapshot.read("view", [b"a"])
    origin.ended.acquire()
    origin.gate, watch.now = threading.Event(), 11
    origin.begun.clear()
    snapshot.read("view", [b"a"])
    assert origin.begun.wait(30)

    snapshot.merge("view", [(b"a", b"merged meanwhile")], put)
    origin.gate.set()
    ended(origin, snapshot)

    assert snapshot.read("view", [b"a"]) == [b"merged meanwhile"]


def test_a_first_copy_that_began_before_a_merge_does_not_hide_it(origin):
    snapshot = SnapshotOnlineStore(origin)
    origin.gate = threading.Event()
    reader = threading.Thread(target=snapshot.read, args=("view", [b"a"]))
    reader.start()
    assert origin.begun.wait(30)
    is_merged = threading.Event()

    def combine(old, new):
        is_merged.set()
        return new

    writer = threading.Thread(target=snapshot.merge, args=("view", [(b"a", b"merged meanwhile")], combine))
    writer.start()
    assert is_merged.wait(30)
    writer.join(0.2)  # time enough to miss the copy that is not there yet, for a store that would
    origin.gate.set()
    reader.join(30)
    writer.join(30)

    assert snapshot.read("view", [b"a"]) == [b"merged meanwhile"]


def test_an_origin_out_of_reach_is_no_error_until_the_copy_is_too_old(origin):
    watch = Watch()
    snapshot = SnapshotOnlineStore(origin, refresh_s=10, max_age_s=30, clock=watch)
    snapshot.read("view", [b"a"])
    origin.ended.acquire()
    origin.error = StoreError("FEAT-20", "the online store cannot be reached")

    watch.now = 11
    assert snapshot.read("view", [b"a"]) == [b"1"]
    ended(origin, snapshot)
    watch.now = 31
    with pytest.raises(StoreError, match="31 s old") as refused:
        snapshot.read("view", [b"a"])
    assert refused.value.code == "FEAT-20"
    assert "cannot be reached" in refused.value.why
    ended(origin, snapshot)

    origin.error, watch.now = None, 42
    with pytest.raises(StoreError):
        snapshot.read("view", [b"a"])
    ended(origin, snapshot)
    assert snapshot.read("view", [b"a"]) == [b"1"]


def test_the_first_copy_of_an_origin_out_of_reach_is_an_error(origin):
    origin.error = StoreError("FEAT-20", "the online store cannot be reached")

    with pytest.raises(StoreError, match="cannot be reached"):
        SnapshotOnlineStore(origin).read("view", [b"a"])


def test_one_refresh_runs_at_a_time(origin):
    watch = Watch()
    snapshot = SnapshotOnlineStore(origin, refresh_s=10, clock=watch)
    snapshot.read("view", [b"a"])
    origin.ended.acquire()
    origin.gate, watch.now = threading.Event(), 11

    for _ in range(100):
        snapshot.read("view", [b"a"])
    origin.gate.set()
    ended(origin, snapshot)

    assert origin.copies == 2


def test_a_url_names_the_origin_and_its_options(tmp_path):
    origin = open_online(f"sqlite:///{tmp_path / 'online.db'}")
    origin.merge("view", [(b"a", b"1")], put)

    snapshot = open_online(f"snapshot+sqlite:///{tmp_path / 'online.db'}?refresh_s=30&max_age_s=90")

    assert isinstance(snapshot, SnapshotOnlineStore)
    assert snapshot.read("view", [b"a"]) == [b"1"]
    snapshot.close()
    origin.close()


@pytest.mark.parametrize(
    ("url", "what"),
    [
        ("snapshot://", "needs a store to copy"),
        ("snapshot+memory://?refresh_s=often", "refresh_s is 'often'"),
        ("snapshot+memory://?max_age_s=0", "max_age_s is '0'"),
        ("snapshot+memory://?refresh_s=nan", "refresh_s is 'nan'"),
    ],
)
def test_a_url_that_is_none_is_told(url, what):
    with pytest.raises(ProjectError, match=what) as refused:
        open_snapshot(url)

    assert refused.value.code == "FEAT-40"
