"""The online store in one SQLite file: no dependency; many processes read, one writes at a time."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import TypeVar

from millrace.core.errors import StoreError
from millrace.features.online.port import Combine
from millrace.features.online.sqlite_connections import FileConnections
from millrace.store.disk import sync_folder

BUSY_TIMEOUT_S = 30.0
ITEMS_PER_TRANSACTION = 5_000
ITEMS_PER_PAGE = 1_000
_SELECT = "SELECT value FROM online WHERE name = ?"
_PUT = "INSERT INTO online (name, value) VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET value = excluded.value"
_SCHEMA = "CREATE TABLE IF NOT EXISTS online (name BLOB PRIMARY KEY, value BLOB NOT NULL) WITHOUT ROWID"

T = TypeVar("T")


class SqliteOnlineStore:
    """A table in a SQLite file with a write-ahead log; a connection per thread.

    A merge is visible to every process at once, and whole: a process killed at any instant loses at most the merge it
    was in. A crash of the *machine* may lose what was merged since the last `sync`, and damages nothing. With
    `durable` every merge waits for the disk.

    Parameters
    ----------
    path : Path
        The file; it and its folder are made if they are missing.
    durable : bool
    busy_timeout_s : float
        How long a merge waits for the one of another process.

    Notes
    -----
    A value lies under ``view NUL key``. A fork first lets running transactions end and closes every connection of the
    process, as SQLite's locks do not survive it; parent and child open new ones when they need them.
    """

    def __init__(self, path: Path, *, durable: bool = False, busy_timeout_s: float = BUSY_TIMEOUT_S) -> None:
        self._path = path
        self._timeout_s = busy_timeout_s
        self._pragmas = ("journal_mode = WAL", f"synchronous = {'FULL' if durable else 'NORMAL'}")
        self._connections = FileConnections(self._connect)
        self._is_open = True
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise _unreadable(error, path) from error
        self._run(lambda connection: connection.execute(_SCHEMA))

    def read(self, view: str, keys: Sequence[bytes]) -> list[bytes | None]:
        prefix = view.encode() + b"\0"

        def values(connection: sqlite3.Connection) -> list[bytes | None]:
            if len(keys) > 1:
                connection.execute("BEGIN")  # one state, and one lock, for all of them
            try:
                rows = [connection.execute(_SELECT, (prefix + key,)).fetchone() for key in keys]
            finally:
                if connection.in_transaction:
                    connection.execute("COMMIT")
            return [None if row is None else row[0] for row in rows]

        return self._run(values)

    def merge(self, view: str, items: Iterable[tuple[bytes, bytes]], combine: Combine) -> None:
        self._check_open()
        prefix = view.encode() + b"\0"
        rest = iter(items)
        while chunk := list(islice(rest, ITEMS_PER_TRANSACTION)):
            self._run(lambda connection, chunk=chunk: _merge(connection, prefix, chunk, combine))  # type: ignore[misc]

    def sync(self) -> None:
        def flush(connection: sqlite3.Connection) -> None:
            # SQLite locks the database and its index, never the log: opening and closing that breaks no lock.
            log = Path(f"{self._path}-wal")
            try:
                handle = os.open(log, os.O_RDONLY)
            except FileNotFoundError:
                return  # all of it is in the database, where the log is put only after it was synced
            try:
                os.fsync(handle)
            finally:
                os.close(handle)
            sync_folder(self._path.parent)

        self._run(flush)

    def views(self) -> list[str]:
        def names(connection: sqlite3.Connection) -> list[str]:
            found: list[str] = []
            place = b""
            while True:
                row = connection.execute(
                    "SELECT name FROM online WHERE name >= ? ORDER BY name LIMIT 1", (place,)
                ).fetchone()
                if row is None:
                    return found
                view = row[0].split(b"\0", 1)[0]
                found.append(view.decode())
                place = view + b"\x01"

        return self._run(names)

    def clear(self, view: str) -> None:
        bounds = (view.encode() + b"\0", view.encode() + b"\x01")
        self._run(lambda connection: connection.execute("DELETE FROM online WHERE name >= ? AND name < ?", bounds))

    def items(self, view: str) -> Iterator[tuple[bytes, bytes]]:
        prefix = view.encode() + b"\0"
        page = "SELECT name, value FROM online WHERE name > ? AND name < ? ORDER BY name LIMIT ?"
        place, end = view.encode(), view.encode() + b"\x01"
        while True:
            bounds = (place, end, ITEMS_PER_PAGE)
            # Page by page: a reader that stays inside would keep the log from being taken into the database.
            rows = self._run(lambda connection, bounds=bounds: connection.execute(page, bounds).fetchall())  # type: ignore[misc]
            for name, value in rows:
                yield name[len(prefix) :], value
            if len(rows) < ITEMS_PER_PAGE:
                return
            place = rows[-1][0]

    def close(self) -> None:
        self._is_open = False
        self._connections.close()

    def _connect(self) -> sqlite3.Connection:
        connection = sqlite3.connect(self._path, timeout=self._timeout_s, isolation_level=None, check_same_thread=False)
        try:
            for pragma in self._pragmas:
                connection.execute(f"PRAGMA {pragma}")
        except sqlite3.Error:
            connection.close()
            raise
        return connection

    def _run(self, action: Callable[[sqlite3.Connection], T]) -> T:
        self._check_open()
        try:
            with self._connections.mine() as connection:
                return action(connection)
        except (sqlite3.Error, OSError) as error:
            raise _explain(error, self._path, self._timeout_s) from error

    def _check_open(self) -> None:
        if not self._is_open:
            raise StoreError("FEAT-20", "the online store was closed", fix="open it again with open_online(url)")


def _merge(connection: sqlite3.Connection, prefix: bytes, items: list[tuple[bytes, bytes]], combine: Combine) -> None:
    values: dict[bytes, bytes | None] = {}
    changed: dict[bytes, bytes] = {}
    connection.execute("BEGIN IMMEDIATE")
    try:
        for key, value in items:
            name = prefix + key
            if name not in values:
                row = connection.execute(_SELECT, (name,)).fetchone()
                values[name] = None if row is None else row[0]
            old = values[name]
            new = combine(old, value)
            if new is not old:
                values[name] = changed[name] = new
        connection.executemany(_PUT, changed.items())
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise


def _explain(error: Exception, path: Path, timeout_s: float) -> StoreError:
    text = str(error).lower()
    if any(word in text for word in ("malformed", "not a database", "corrupt", "no such table", "no such column")):
        return StoreError(
            "FEAT-21",
            f"the online store is damaged: {error}",
            where=str(path),
            why="something other than Millrace changed the file, or the disk lost data",
            fix=f"remove {path} and materialize again: it is a copy of the sources",
        )
    if "locked" in text or "busy" in text:
        return StoreError(
            "FEAT-20",
            f"the online store stayed locked for {timeout_s:g} s",
            where=str(path),
            why="another process writes to it; nothing was half written",
            fix="wait for it, or stop it, and run again",
        )
    if "full" in text:
        return StoreError(
            "FEAT-44",
            f"the online store is full: {error}",
            where=str(path),
            why="every value is the old one or the new one",
            fix="free space on that disk, then run again",
        )
    return _unreadable(error, path)


def _unreadable(error: Exception, path: Path) -> StoreError:
    return StoreError(
        "FEAT-20",
        f"the online store cannot be read or written: {error}",
        where=str(path),
        why="nothing was half written: every value is the old one or the new one",
        fix="check the path, its permissions and the free space of its disk, then run again",
    )


def open_sqlite_online(url: str, *, durable: bool = False) -> SqliteOnlineStore:
    """The store in the file of ``sqlite:///relative/path.db`` or ``sqlite:////absolute/path.db``; a bare path too.

    Raises
    ------
    StoreError
        FEAT-20 when it cannot be opened, FEAT-21 when it is no store or damaged.
    """
    return SqliteOnlineStore(Path(url.removeprefix("sqlite:///")), durable=durable)
