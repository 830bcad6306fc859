"""SQLite in WAL mode with full synchronisation: the embedded database."""

from __future__ import annotations

import os
import sqlite3
import threading
import weakref
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

from millrace.core.errors import Conflict, StoreError
from millrace.store.database import Row
from millrace.store.disk import disk_error

BUSY_TIMEOUT_S = 30.0


class SqliteDatabase:
    """One SQLite file. A connection belongs to one thread of one process.

    A forked child opens connections of its own, and neither uses nor closes one that it inherited: SQLite forbids
    both. It inherits SQLite's account of the file locks too, but not the locks, so its parent must hold them for it:

    - Every connection that the parent had open at the fork stays open until the child has done with the file. When
      the last one that the system knows of is closed, SQLite removes the write-ahead log, and what the child commits
      from then on is lost without an error. Ending a thread, or dropping the database, closes a connection as well.
    - At the fork no thread of the parent is inside a transaction or a read.
    """

    def __init__(self, path: Path, *, busy_timeout_s: float = BUSY_TIMEOUT_S) -> None:
        self.path = path
        self._busy_timeout_s = busy_timeout_s
        self._local = threading.local()
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise disk_error(error, path.parent) from error
        with self._explained():
            self._connection()

    def transaction(self) -> AbstractContextManager[SqliteSession]:
        return self._block("BEGIN IMMEDIATE")

    def snapshot(self) -> AbstractContextManager[SqliteSession]:
        return self._block("BEGIN DEFERRED")  # with the write-ahead log: the state at the first query, without a lock

    @contextmanager
    def _block(self, begin: str) -> Iterator[SqliteSession]:
        with self._explained():
            connection = self._connection()
            connection.execute(begin)
            try:
                yield SqliteSession(connection)
            except BaseException:
                if connection.in_transaction:
                    connection.execute("ROLLBACK")
                raise
            try:
                connection.execute("COMMIT")
            except BaseException:
                if connection.in_transaction:
                    connection.execute("ROLLBACK")
                raise

    def read(self, sql: str, parameters: Sequence[Any] = ()) -> list[Row]:
        with self._explained():
            return self._connection().execute(sql, parameters).fetchall()

    def has_table(self, name: str) -> bool:
        return bool(self.read("SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = ?", (name,)))

    def close(self) -> None:
        """Close this thread's connection. In a forked child the parent's handle is forgotten, not closed."""
        connection = getattr(self._local, "connection", None)
        if connection is not None and self._local.pid == os.getpid():
            connection.close()
        self._local.connection = None

    def _connection(self) -> sqlite3.Connection:
        connection: sqlite3.Connection | None = getattr(self._local, "connection", None)
        if connection is None or self._local.pid != os.getpid():
            connection = _connect(self.path, self._busy_timeout_s)
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute("PRAGMA synchronous = FULL")
            connection.execute("PRAGMA foreign_keys = ON")
            self._local.connection = connection
            self._local.pid = os.getpid()
        return connection

    @contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as error:
            raise self._translate(error) from error

    def _translate(self, error: sqlite3.Error) -> Exception:
        text = str(error).lower()
        if "full" in text or "disk i/o" in text:
            return StoreError(
                "STORE-01",
                f"the disk cannot take more: {error}",
                where=str(self.path),
                why="the last transaction was undone; what was committed before it is intact",
                fix="free space on that disk, then run the same command again",
            )
        if "locked" in text or "busy" in text:
            return Conflict(
                "STORE-02",
                f"the ledger stayed locked for {self._busy_timeout_s:g} s",
                where=str(self.path),
                fix="another process writes to it: wait for it, or stop it, and run again",
            )
        if any(word in text for word in ("malformed", "not a database", "corrupt", "no such table")):
            return StoreError(
                "STORE-03",
                f"the ledger is damaged: {error}",
                where=str(self.path),
                why="the file was changed by something other than Millrace, or the disk lost data",
                fix="restore the file from a backup; blobs and bundles beside it are not affected",
            )
        if "unable to open" in text or "readonly" in text:
            return StoreError(
                "STORE-04",
                f"the ledger cannot be opened for writing: {error}",
                where=str(self.path),
                fix="check the path and the permissions of its folder",
            )
        return error


class _Connection(sqlite3.Connection):
    """A connection that a weak reference can point at; the built-in class cannot."""


# A connection that is collected is closed, and in a forked child that would close its parent's: what is open at a fork
# stays referenced in the child for good. The list is a stack, for a child that forks in its turn.
_open: weakref.WeakSet[_Connection] = weakref.WeakSet()
_inherited: list[list[_Connection]] = []
_lock = threading.Lock()


def _connect(path: Path, timeout_s: float) -> _Connection:
    with _lock:
        connection = sqlite3.connect(
            path, timeout=timeout_s, isolation_level=None, check_same_thread=False, factory=_Connection
        )
        _open.add(connection)
    return connection


def _before_fork() -> None:
    _lock.acquire()
    _inherited.append(list(_open))


def _after_fork_in_parent() -> None:
    released = _inherited.pop()
    _lock.release()
    released.clear()


os.register_at_fork(before=_before_fork, after_in_parent=_after_fork_in_parent, after_in_child=_lock.release)


class SqliteSession:
    """An open transaction on one connection."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    def execute(self, sql: str, parameters: Sequence[Any] = ()) -> list[Row]:
        return self._connection.execute(sql, parameters).fetchall()


def open_sqlite(url: str) -> SqliteDatabase:
    """Open ``sqlite:///relative/path`` or ``sqlite:////absolute/path``."""
    return SqliteDatabase(Path(url.removeprefix("sqlite:///")))
