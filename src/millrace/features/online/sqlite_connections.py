"""SQLite connections to one file, a thread its own, none of which is open while the process forks.

SQLite keeps account of its file locks in the process, and POSIX gives them to a process: a child that inherits the
account, and not the locks, would read a log that its parent may remove. So a fork waits for what runs, and closes all.
"""

from __future__ import annotations

import os
import sqlite3
import threading
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager

LONGEST_WAIT_S = 60.0


class _Mine:
    """One thread's connection; the lock is held while it is in use."""

    def __init__(self) -> None:
        self.connection: sqlite3.Connection | None = None
        self.lock = threading.RLock()

    def close(self) -> None:
        connection, self.connection = self.connection, None
        if connection is not None:
            connection.close()

    def __del__(self) -> None:
        self.close()  # its thread has ended


class FileConnections:
    """Connections made by `connect`, one for each thread that asks."""

    def __init__(self, connect: Callable[[], sqlite3.Connection]) -> None:
        self._connect = connect
        self._local = threading.local()
        self.all: weakref.WeakSet[_Mine] = weakref.WeakSet()
        with _lock:
            _files.add(self)

    @contextmanager
    def mine(self) -> Iterator[sqlite3.Connection]:
        """This thread's connection; a fork waits until the block is left."""
        mine: _Mine | None = getattr(self._local, "mine", None)
        if mine is None:
            mine = self._local.mine = _Mine()
            with _lock:
                self.all.add(mine)
        with mine.lock:
            if mine.connection is None:
                mine.connection = self._connect()
            yield mine.connection

    def close(self) -> None:
        """Close the connections of all threads, each when it is not in use."""
        with _lock:
            found = list(self.all)
        for mine in found:
            with mine.lock:
                mine.close()


_files: weakref.WeakSet[FileConnections] = weakref.WeakSet()
_lock = threading.Lock()
_stopped: list[tuple[_Mine, bool]] = []


def _before_fork() -> None:
    _lock.acquire()
    for file in list(_files):
        for mine in list(file.all):
            # Not for ever: a thread may wait for the one that forks. Its connection then stays as it is.
            is_idle = mine.lock.acquire(timeout=LONGEST_WAIT_S)
            _stopped.append((mine, is_idle))
            if is_idle and mine.connection is not None and not mine.connection.in_transaction:
                mine.close()


def _after_fork() -> None:
    while _stopped:
        mine, is_held = _stopped.pop()
        if is_held:
            mine.lock.release()
    _lock.release()


os.register_at_fork(before=_before_fork, after_in_parent=_after_fork, after_in_child=_after_fork)
