"""Connections to a server, lent to one thread at a time, and never across a fork."""

from __future__ import annotations

import os
import threading
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Generic, TypeVar

T = TypeVar("T")


class ConnectionPool(Generic[T]):
    """Up to `size` connections; who needs one more waits for one to come back.

    Parameters
    ----------
    connect : callable
    disconnect : callable
        Must not raise.
    size : int
    """

    def __init__(self, connect: Callable[[], T], disconnect: Callable[[T], None], *, size: int) -> None:
        self._connect = connect
        self._disconnect = disconnect
        self._size = size
        self._inherited: list[Any] = []
        self._idle: list[T] = []
        self._lent: list[T] = []
        self.start_anew()
        _all.add(self)

    @contextmanager
    def lend(self) -> Iterator[T]:
        """A connection for the block. One on which the block raised is closed: nobody knows what it still says."""
        with self._places:
            with self._lock:
                connection = self._idle.pop() if self._idle else None
            if connection is None:
                connection = self._connect()
            self._lent.append(connection)
            try:
                yield connection
            except BaseException:
                self._lent.remove(connection)
                self._disconnect(connection)
                raise
            with self._lock:
                self._lent.remove(connection)
                is_kept = self._is_open
                if is_kept:
                    self._idle.append(connection)
            if not is_kept:
                self._disconnect(connection)

    def drop_idle(self) -> None:
        """Close what nobody uses: after one connection broke, the others of the same server are no better."""
        with self._lock:
            idle, self._idle = self._idle, []
        for connection in idle:
            self._disconnect(connection)

    def close(self) -> None:
        """Close what nobody uses now, and what is in use when it comes back."""
        with self._lock:
            self._is_open = False
        self.drop_idle()

    def start_anew(self) -> None:
        """No connections yet. In a forked child those of the parent are kept out of use, and open."""
        self._inherited += [*self._idle, *self._lent]
        self._idle, self._lent = [], []
        self._lock = threading.Lock()
        self._places = threading.BoundedSemaphore(self._size)
        self._is_open = True


_all: weakref.WeakSet[ConnectionPool[Any]] = weakref.WeakSet()


def _start_all_anew() -> None:
    for pool in list(_all):
        pool.start_anew()


os.register_at_fork(after_in_child=_start_all_anew)
