"""One LMDB file per process, however often it is opened: shared, growing, and reopened after a fork."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import lmdb

from millrace.core.errors import StoreError

FIRST_SIZE_BYTES = 64 << 20
MOST_READERS = 1024
LONGEST_PAUSE_S = 60.0

T = TypeVar("T")


class Environment:
    """An LMDB environment whose transactions may run from many threads while its map grows.

    LMDB moves the map only while this process has no transaction open, so every transaction runs through `run` or
    `run_growing`, which keep count of them. Get one from `share_environment`.
    """

    def __init__(self, path: Path, durable: bool) -> None:
        self.path = path
        self.durable = durable
        self.users = 0
        self._lock = threading.RLock()
        self._running: dict[int, bool] = {}
        self._is_moving = False
        self._is_outgrown = False
        self._pid = -1
        self._handle: Any = None
        self._open()

    def run(self, action: Callable[[Any], T]) -> T:
        """`action` of the LMDB handle, which runs one transaction and may be called again.

        Raises
        ------
        StoreError
            FEAT-20 when the file cannot be read or written, FEAT-21 when it is damaged.
        """
        if self._pid != os.getpid():
            self._reopen()
        thread = threading.get_ident()
        while True:
            self._running[thread] = True
            try:
                # First announced, then looked: either this thread sees the move, or the mover sees this thread.
                if not self._is_moving:
                    return action(self._handle)
            except lmdb.MapResizedError:
                self._is_outgrown = True
            except lmdb.MapFullError:
                raise
            except lmdb.Error as error:
                raise explain(error, self.path) from error
            finally:
                self._running[thread] = False
            self._follow()

    def run_growing(self, action: Callable[[Any], None]) -> None:
        """As `run`, for a write transaction: again in a map of twice the size as long as it does not fit."""
        while True:
            try:
                return self.run(action)
            except lmdb.MapFullError:
                self._move(lambda: self._handle.set_mapsize(2 * self._handle.info()["map_size"]))

    def close(self) -> None:
        """Close the handle, unless it belongs to the parent of this process."""
        if self._pid == os.getpid():
            self._handle.close()

    def _open(self) -> None:
        data_file = self.path / "data.mdb"
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            size = max(FIRST_SIZE_BYTES, data_file.stat().st_size if data_file.exists() else 0)
            self._handle = lmdb.open(
                str(self.path), map_size=size, sync=self.durable, max_readers=MOST_READERS, readahead=False
            )
            self._handle.reader_check()  # free the places of killed readers
        except (lmdb.Error, OSError) as error:
            raise explain(error, self.path) from error
        self._pid = os.getpid()

    def _reopen(self) -> None:
        with _opening:
            if self._pid == os.getpid():
                return
            # The binding sees that the handle is the parent's: it only forgets it, and leaves LMDB's own part alone.
            self._handle.close()
            self._running = {}
            self._is_outgrown = False
            self._open()

    def pause(self) -> None:
        """Before a fork: let the transactions of other threads end, and begin no more until `go_on`.

        The child would inherit the locks of the binding as a thread in a transaction holds them, and nobody would
        ever release them there. The wait has an end, as a thread may be waiting for the one that forks.
        """
        self._lock.acquire()
        self._is_moving = True
        deadline = time.monotonic() + LONGEST_PAUSE_S
        while self._is_busy(but=threading.get_ident()) and time.monotonic() < deadline:
            time.sleep(0.0001)

    def go_on(self) -> None:
        """After a fork, in parent and child: undo `pause`."""
        self._is_moving = False
        self._lock.release()

    def _is_busy(self, *, but: int | None = None) -> bool:
        return any(is_running for thread, is_running in list(self._running.items()) if thread != but)

    def _follow(self) -> None:
        """Wait for a move to end; make one when another process has made the file larger than this map."""
        with self._lock:
            if self._is_outgrown:
                self._move(lambda: self._handle.set_mapsize(0))
                self._is_outgrown = False

    def _move(self, change: Callable[[], None]) -> None:
        with self._lock:
            self._is_moving = True
            try:
                while self._is_busy():
                    time.sleep(0.0001)
                change()
            except lmdb.Error as error:
                raise explain(error, self.path) from error
            finally:
                self._is_moving = False


_environments: dict[Path, Environment] = {}
_opening = threading.RLock()


def _before_fork() -> None:
    _opening.acquire()
    for environment in _environments.values():
        environment.pause()


def _after_fork() -> None:
    for environment in _environments.values():
        environment.go_on()
    _opening.release()


os.register_at_fork(before=_before_fork, after_in_parent=_after_fork, after_in_child=_after_fork)


def share_environment(path: Path, *, durable: bool) -> Environment:
    """The environment in the folder `path`: LMDB may not be opened twice in one process, so there is one.

    Raises
    ------
    StoreError
        FEAT-20 when it cannot be opened, or is open with the other durability.
    """
    path = path.resolve()
    with _opening:
        environment = _environments.get(path)
        if environment is None:
            environment = _environments[path] = Environment(path, durable)
        elif environment.durable != durable:
            raise StoreError(
                "FEAT-20",
                f"the online store is open in this process with durable={environment.durable} already",
                where=str(path),
                fix="open it the same way everywhere, or close it first",
            )
        environment.users += 1
        return environment


def release_environment(environment: Environment) -> None:
    """Give back what `share_environment` gave; the last one closes it."""
    with _opening:
        environment.users -= 1
        if environment.users == 0:
            _environments.pop(environment.path, None)
            environment.close()


def explain(error: Exception, path: Path) -> StoreError:
    """What an error of LMDB or the operating system means for the user."""
    if isinstance(error, (lmdb.CorruptedError, lmdb.InvalidError, lmdb.PanicError, lmdb.PageNotFoundError)):
        return StoreError(
            "FEAT-21",
            f"the online store is damaged: {error}",
            where=str(path),
            why="something other than Millrace changed the file, or the machine went down before it was synced",
            fix=f"remove {path} and materialize again: it is a copy of the sources",
        )
    return StoreError(
        "FEAT-20",
        f"the online store cannot be read or written: {error}",
        where=str(path),
        why="nothing was half written: every value is the old one or the new one",
        fix="check the path, its permissions and the free space of its disk, then run again",
    )
