"""The online store in a SQLite file: what can be wrong with the file, and what a merge leaves."""

import os
import sqlite3

import pytest

from millrace.core.errors import StoreError
from millrace.features.online.port import open_online
from millrace.features.online.sqlite_store import SqliteOnlineStore, open_sqlite_online
from millrace.testing.shared_online_store import end_of, start_child


def put(old, new):
    return new


def test_it_is_found_by_its_scheme_and_makes_its_folder(tmp_path):
    store = open_online(f"sqlite:///{tmp_path / 'a' / 'b' / 'online.db'}")
    store.merge("view", [(b"a", b"1")], put)
    store.sync()
    store.close()

    assert (tmp_path / "a" / "b" / "online.db").exists()


@pytest.mark.parametrize("content", [b"not a database" * 1000, b"SQLite format 3\0" + b"\xff" * 8000])
def test_a_damaged_file_is_told(tmp_path, content):
    (tmp_path / "online.db").write_bytes(content)

    with pytest.raises(StoreError) as refused:
        open_sqlite_online(f"sqlite:///{tmp_path / 'online.db'}").read("view", [b"a"])

    assert refused.value.code == "FEAT-21"
    assert "materialize again" in refused.value.fix


def test_a_database_of_something_else_is_left_alone(tmp_path):
    with sqlite3.connect(tmp_path / "other.db") as other:
        other.execute("CREATE TABLE online (id INTEGER)")

    with pytest.raises(StoreError, match="no such column") as refused:
        open_sqlite_online(str(tmp_path / "other.db")).read("view", [b"a"])

    assert refused.value.code == "FEAT-21"
    other.close()


@pytest.mark.parametrize("path", ["", "file/online.db"])
def test_a_path_that_is_none_is_told(tmp_path, path):
    (tmp_path / "file").write_text("a file")

    with pytest.raises(StoreError) as refused:
        open_sqlite_online(f"sqlite:///{tmp_path / path}")

    assert refused.value.code == "FEAT-20"


def test_another_writer_is_waited_for_and_then_told(tmp_path):
    store = SqliteOnlineStore(tmp_path / "online.db", busy_timeout_s=0.05)
    other = sqlite3.connect(tmp_path / "online.db", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")

    with pytest.raises(StoreError, match="stayed locked") as refused:
        store.merge("view", [(b"a", b"1")], put)
    assert refused.value.code == "FEAT-20"
    assert store.read("view", [b"a"]) == [None]

    other.execute("ROLLBACK")
    other.close()
    store.merge("view", [(b"a", b"1")], put)
    assert store.read("view", [b"a"]) == [b"1"]
    store.close()


def test_a_merge_of_several_chunks_keeps_the_chunks_before_an_error(tmp_path):
    store = open_sqlite_online(str(tmp_path / "online.db"))

    def combine(old, new):
        if new == b"9000":
            raise ValueError("refused")
        return new

    with pytest.raises(ValueError, match="refused"):
        store.merge("view", ((b"%d" % number, b"%d" % number) for number in range(12_000)), combine)

    found = store.read("view", [b"0", b"4999", b"5000", b"9000"])
    assert found == [b"0", b"4999", None, None]
    store.close()


def test_a_child_leaves_the_log_of_its_parent_alone(tmp_path):
    """Parent and child may close in any order; what either has merged is there."""
    store = open_sqlite_online(str(tmp_path / "online.db"))
    store.merge("view", [(b"a", b"1")], put)
    ask, answer = os.pipe()

    def work():
        store.merge("view", [(b"child", b"1")], put)
        os.read(ask, 1)  # until the parent has closed
        store.merge("view", [(b"late", b"1")], put)

    child = start_child(work)
    store.merge("view", [(b"parent", b"1")], put)
    store.close()
    os.write(answer, b"!")
    code = end_of(child)
    os.close(ask)
    os.close(answer)

    assert code == 0
    again = open_sqlite_online(str(tmp_path / "online.db"))
    assert again.read("view", [b"a", b"child", b"parent", b"late"]) == [b"1"] * 4
    again.close()
