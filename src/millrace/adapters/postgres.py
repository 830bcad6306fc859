"""Postgres as an online store: one table, for teams that run a Postgres already."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import chain
from typing import Any, TypeVar
from zlib import crc32

import psycopg
from psycopg import errors
from psycopg.conninfo import conninfo_to_dict

from millrace.adapters.connection_pool import ConnectionPool
from millrace.adapters.retries import Retries
from millrace.adapters.shared_reads import Answer, Question, SharedReads
from millrace.adapters.store_address import StoreAddress, read_address
from millrace.core.errors import StoreError
from millrace.features.online.port import Combine

OPTIONS = ("timeout_s", "connect_timeout_s", "attempts", "table", "connections", "lanes")
MOST_KEYS = 5_000
ITEMS_PER_TRANSACTION = 2_000
BYTES_PER_TRANSACTION = 16 << 20
ITEMS_PER_PAGE = 2_000
LONGEST_KEY_BYTES = 1_024
LOCKS = 64
_TABLE = re.compile(r"[a-z_][a-z0-9_]{0,50}")
_PASSING = (psycopg.OperationalError, psycopg.InterfaceError, errors.DeadlockDetected, errors.SerializationFailure)
_FULL = (errors.DiskFull, errors.OutOfMemory)
_REFUSED = (
    errors.InvalidAuthorizationSpecification,
    errors.InsufficientPrivilege,
    errors.InvalidCatalogName,
    errors.ReadOnlySqlTransaction,
)
_REFUSED_STATES = {kind.sqlstate for kind in _REFUSED} | {errors.InvalidPassword.sqlstate}

T = TypeVar("T")


class PostgresOnlineStore:
    """A table of view, key and value; made at the first merge if it is missing.

    Writers of one key wait for each other at an advisory lock, held until their transaction ends; readers wait for
    nobody. Reads of threads that meet share one query.

    Parameters
    ----------
    address : StoreAddress
        Its options: ``timeout_s`` (5) of a statement, ``connect_timeout_s`` (3), ``attempts`` (5) before an error,
        ``table`` (millrace_online), ``connections`` (8) of this process for merging, ``lanes`` (4) for reading.
    """

    def __init__(self, address: StoreAddress) -> None:
        self._address = address
        self._table = address.get("table", "millrace_online")
        if not _TABLE.fullmatch(self._table):
            raise address.refuse(f"table={self._table!r} is not a name", fix="small letters, digits and underscores")
        self._retries = Retries(address.get("attempts", 5))
        self._settings = _settings_of(address)
        lanes = address.get("lanes", 4)
        self._pool: ConnectionPool[psycopg.Connection[Any]] = ConnectionPool(
            self._connect, _disconnect, size=address.get("connections", 8) + lanes
        )
        self._reads = SharedReads(self._answer, lanes=lanes, most_keys=MOST_KEYS)
        self._is_open = True

    def read(self, view: str, keys: Sequence[bytes]) -> Answer:
        self._check_open()
        if len(keys) <= MOST_KEYS:
            return self._reads.read(view, keys) if keys else []
        parts = [keys[start : start + MOST_KEYS] for start in range(0, len(keys), MOST_KEYS)]
        return list(chain.from_iterable(self._reads.read(view, part) for part in parts))

    def merge(self, view: str, items: Iterable[tuple[bytes, bytes]], combine: Combine) -> None:
        self._check_open()
        name = _text(view)
        for chunk in _chunks(items):

            def write(connection: psycopg.Connection[Any], chunk: list[tuple[bytes, bytes]] = chunk) -> None:
                self._write(connection, name, chunk, combine)

            try:
                self._run(write)
            except errors.UndefinedTable:
                self._make_table()
                self._run(write)

    def sync(self) -> None:
        """Nothing is left to do: a merge returns when it is committed, as durable as the server is set to be."""
        self._check_open()

    def views(self) -> list[str]:
        # One step down the index per view, whatever their sizes.
        query = (
            f"WITH RECURSIVE found AS ((SELECT min(view) AS view FROM {self._table}) UNION ALL "  # noqa: S608 - checked
            f"SELECT (SELECT min(view) FROM {self._table} AS t WHERE t.view > found.view) FROM found "
            "WHERE found.view IS NOT NULL) SELECT view FROM found WHERE view IS NOT NULL"
        )
        return sorted(bytes(row[0]).decode() for row in self._query(query, ()))

    def clear(self, view: str) -> None:
        self._query(f"DELETE FROM {self._table} WHERE view = %b", (_text(view),))  # noqa: S608 - a checked name

    def items(self, view: str) -> Iterator[tuple[bytes, bytes]]:
        page = (
            f"SELECT name, key, value FROM {self._table} WHERE view = %b AND name > %b "  # noqa: S608 - a checked name
            f"ORDER BY name LIMIT {ITEMS_PER_PAGE}"
        )
        rows = self._query(page.replace("name > %b", "name >= %b"), (_text(view), b""))
        while rows:
            yield from ((name if key is None else key, value) for name, key, value in rows)
            rows = self._query(page, (_text(view), rows[-1][0])) if len(rows) == ITEMS_PER_PAGE else []

    def close(self) -> None:
        self._is_open = False
        self._pool.close()

    def _write(
        self,
        connection: psycopg.Connection[Any],
        view: bytes,
        items: list[tuple[bytes, bytes]],
        combine: Combine,
    ) -> None:
        names = {key: _name(key) for key, _ in items}
        locks = sorted({crc32(name, crc32(view)) % LOCKS for name in names.values()})
        with connection.transaction():
            # Locks are taken in the order of their numbers, so that no two writers wait for each other; the values
            # are read after them, so that they are the ones the writer before has committed.
            connection.execute(
                "SELECT count(pg_advisory_xact_lock(%b, lock)) FROM unnest(%b::int4[]) AS lock",
                (crc32(self._table.encode()) % 2**31, locks),
            )
            found = dict(self._fetch(connection, view, list(names.values())))
            values: dict[bytes, bytes | None] = {key: found.get(name) for key, name in names.items()}
            changed: dict[bytes, bytes] = {}
            for key, value in items:
                old = values[key]
                new = combine(old, value)
                if new is not old:
                    values[key] = changed[key] = new
            if changed:
                long_keys = [None if names[key] is key else key for key in changed]
                connection.execute(
                    f"INSERT INTO {self._table} (view, name, key, value) "  # noqa: S608 - a checked name
                    "SELECT %b, * FROM unnest(%b::bytea[], %b::bytea[], %b::bytea[]) "
                    "ON CONFLICT (view, name) DO UPDATE SET value = excluded.value",
                    (view, [names[key] for key in changed], long_keys, list(changed.values())),
                )

    def _answer(self, questions: list[Question]) -> list[Answer]:
        """One query per view."""
        by_view: dict[str, dict[bytes, bytes]] = {}
        for view, keys in questions:
            by_view.setdefault(view, {}).update((key, _name(key)) for key in keys)

        def ask(connection: psycopg.Connection[Any]) -> dict[str, dict[bytes, bytes]]:
            return {
                view: dict(self._fetch(connection, _text(view), list(names.values())))
                for view, names in by_view.items()
            }

        try:
            found = self._run(ask)
        except errors.UndefinedTable:
            found = {view: {} for view in by_view}
        return [[found[view].get(by_view[view][key]) for key in keys] for view, keys in questions]

    def _fetch(self, connection: psycopg.Connection[Any], view: bytes, names: list[bytes]) -> list[Any]:
        query = f"SELECT name, value FROM {self._table} WHERE view = %b AND name "  # noqa: S608 - a checked name
        if len(names) == 1:
            cursor = connection.execute(query + "= %b", (view, names[0]), binary=True)
        else:
            cursor = connection.execute(query + "= ANY(%b)", (view, names), binary=True)
        rows: list[Any] = cursor.fetchall()
        return rows

    def _query(self, query: str, parameters: tuple[Any, ...]) -> list[Any]:
        def ask(connection: psycopg.Connection[Any]) -> list[Any]:
            cursor = connection.execute(query, parameters, binary=True)
            return [] if cursor.description is None else cursor.fetchall()

        self._check_open()
        try:
            return self._run(ask)
        except errors.UndefinedTable:
            return []  # it is made by the first merge

    def _make_table(self) -> None:
        # Both at once would collide in the catalogue: the second one waits, and finds it.
        def make(connection: psycopg.Connection[Any]) -> None:
            with connection.transaction():
                connection.execute("SELECT pg_advisory_xact_lock(%b)", (crc32(self._table.encode()),))
                connection.execute(
                    f"CREATE TABLE IF NOT EXISTS {self._table} (view bytea NOT NULL, name bytea NOT NULL, key bytea, "
                    "value bytea NOT NULL, PRIMARY KEY (view, name))"
                )

        self._run(make)

    def _run(self, action: Callable[[psycopg.Connection[Any]], T]) -> T:
        """`action` on a connection; again when the server went away, or undid it for the sake of another."""

        def attempt() -> T:
            try:
                with self._pool.lend() as connection:
                    return action(connection)
            except psycopg.OperationalError as error:
                if isinstance(error, _FULL) or _is_refusal(error):
                    raise _Final from error
                self._pool.drop_idle()
                raise

        try:
            return self._retries.run(attempt, passing=_PASSING)
        except _Final as final:
            raise self._explain(final.__cause__) from None
        except (*_PASSING, *_REFUSED) as error:
            raise self._explain(error) from None

    def _explain(self, error: BaseException | None) -> StoreError:
        text, where = self._address.hide(str(error)), self._address.where
        if isinstance(error, _FULL):
            return StoreError(
                "FEAT-44",
                f"the online store is full: {text}",
                where=where,
                why="every value is the old one or the new one",
                fix="give the server more room, then run again",
            )
        if isinstance(error, _REFUSED) or _is_refusal(error):
            return StoreError(
                "FEAT-42",
                f"the online store refuses this user: {text}",
                where=where,
                fix=f"check user, password and database; the user must read and write the table {self._table}",
            )
        return StoreError(
            "FEAT-20",
            f"the online store cannot be reached: {text}",
            where=where,
            why=f"it did not answer {self._retries.attempts} times; every value is the old one or the new one",
            fix="check that the server is up and the URL is its own, then run again",
        )

    def _connect(self) -> psycopg.Connection[Any]:
        return psycopg.connect(autocommit=True, **self._settings)

    def _check_open(self) -> None:
        if not self._is_open:
            raise StoreError("FEAT-20", "the online store was closed", fix="open it again with open_online(url)")


class _Final(Exception):
    """The server answered, and asking again would not change the answer, which is the cause."""


def _is_refusal(error: BaseException | None) -> bool:
    # A refusal at the door comes without its state, as plain text.
    text = str(error)
    return getattr(error, "sqlstate", None) in _REFUSED_STATES or (
        "authentication failed" in text or "does not exist" in text or "no password supplied" in text
    )


def _settings_of(address: StoreAddress) -> dict[str, Any]:
    statement_ms = round(address.get("timeout_s", 5.0) * 1000)
    wait_s = max(2, round(address.get("connect_timeout_s", 3.0)))
    try:
        given = conninfo_to_dict(address.url)
    except psycopg.ProgrammingError as error:
        raise address.refuse(address.hide(str(error)), fix="postgresql://user:env:PASSWORD@host:5432/name") from None
    limits = f"-c statement_timeout={statement_ms} -c idle_in_transaction_session_timeout=60000"
    return {
        "connect_timeout": wait_s,
        "tcp_user_timeout": statement_ms,
        "keepalives_idle": 5,
        "keepalives_interval": 2,
        "keepalives_count": 3,
        "application_name": "millrace",
        **given,
        "options": f"{limits} {given.get('options', '')}".strip(),
    }


def _disconnect(connection: psycopg.Connection[Any]) -> None:
    try:
        connection.close()
    except psycopg.Error:
        return  # it was broken, and is gone


def _text(view: str) -> bytes:
    return view.encode()


def _name(key: bytes) -> bytes:
    """The key; for one that the index does not take, its SHA-256 padded to a length that no key has."""
    if len(key) <= LONGEST_KEY_BYTES:
        return key
    return hashlib.sha256(key).digest().ljust(LONGEST_KEY_BYTES + 1, b"\0")


def _chunks(items: Iterable[tuple[bytes, bytes]]) -> Iterator[list[tuple[bytes, bytes]]]:
    chunk: list[tuple[bytes, bytes]] = []
    size = 0
    for item in items:
        chunk.append(item)
        size += len(item[1])
        if len(chunk) >= ITEMS_PER_TRANSACTION or size >= BYTES_PER_TRANSACTION:
            yield chunk
            chunk, size = [], 0
    if chunk:
        yield chunk


def open_postgres(url: str) -> PostgresOnlineStore:
    """The store of ``postgresql://user@host:5432/name``; ``?table=...`` and libpq's own options may follow.

    A password may be in the URL as ``env:NAME``, in ``PGPASSWORD`` or in ``~/.pgpass``. Nothing is asked yet.

    Raises
    ------
    ProjectError
        FEAT-40 when the URL does not say what it must.
    """
    return PostgresOnlineStore(read_address(url, options=OPTIONS, rest=None))
