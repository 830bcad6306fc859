"""A forked child works on the same file and leaves its parent's connections alone."""

import gc
import os
import sqlite3
import threading

import pytest

from millrace.store.sqlite import SqliteDatabase


@pytest.fixture
def database(tmp_path):
    database = SqliteDatabase(tmp_path / "ledger.db")
    with database.transaction() as session:
        session.execute("CREATE TABLE t (n INTEGER)")
    yield database
    database.close()


@pytest.fixture
def closed(monkeypatch):
    """Process numbers in which the life of an SQLite connection ended, by close or by being collected."""
    gc.collect()
    found = []

    class Watched(sqlite3.Connection):
        def close(self):
            found.append(os.getpid())
            super().close()

        def __del__(self):
            found.append(os.getpid())

    monkeypatch.setattr("millrace.store.sqlite._Connection", Watched)
    return found


def collected(closed):
    gc.collect()  # a connection holds itself through its cache of statements
    return closed


def in_child(check):
    """Run `check` in a forked child; what it returned."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        answer = "raised"
        try:
            answer = repr(check())
        finally:
            os.write(writer, answer.encode())
            os._exit(0)
    os.close(writer)
    with os.fdopen(reader) as pipe:
        answer = pipe.read()
    os.waitpid(child, 0)
    return answer


def insert(database, n):
    with database.transaction() as session:
        session.execute("INSERT INTO t (n) VALUES (?)", (n,))


def test_parent_and_child_write_in_turn(database):
    insert(database, 1)
    assert in_child(lambda: insert(database, 2)) == "None"
    insert(database, 3)

    assert database.read("SELECT n FROM t ORDER BY n") == [(1,), (2,), (3,)]


def test_the_parents_connections_end_as_if_it_had_not_forked(closed, tmp_path):
    database = SqliteDatabase(tmp_path / "ledger.db")
    in_child(lambda: None)
    del database

    assert collected(closed) == [os.getpid()]


@pytest.mark.parametrize("use", ["closes", "reads", "drops"])
def test_a_child_never_closes_its_parents_connection(closed, tmp_path, use):
    database = SqliteDatabase(tmp_path / "ledger.db")

    def check():
        nonlocal database
        if use == "closes":
            database.close()
        elif use == "reads":
            database.read("SELECT 1")
        else:
            del database
        return collected(closed)

    assert in_child(check) == "[]"
    assert database.read("SELECT 1") == [(1,)]
    database.close()
    assert closed[:1] == [os.getpid()]


def test_a_child_never_closes_the_connection_of_its_parents_other_thread(closed, tmp_path):
    database = SqliteDatabase(tmp_path / "ledger.db")
    is_open, may_end = threading.Event(), threading.Event()

    def hold():
        database.read("SELECT 1")
        is_open.set()
        may_end.wait()

    thread = threading.Thread(target=hold)
    thread.start()
    is_open.wait()
    answer = in_child(lambda: collected(closed))
    may_end.set()
    thread.join()

    assert answer == "[]"
    assert database.read("SELECT 1") == [(1,)]
    database.close()
