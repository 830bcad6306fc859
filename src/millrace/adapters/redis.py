"""Redis, and servers that speak its language, as an online store for many hosts."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import chain
from typing import Any, TypeVar

import redis
from redis.exceptions import (
    AuthenticationError,
    BusyLoadingError,
    NoPermissionError,
    RedisError,
    ResponseError,
    TryAgainError,
)

from millrace.adapters.connection_pool import ConnectionPool
from millrace.adapters.optimistic_merge import Change, merge_optimistically
from millrace.adapters.redis_connection import connection_maker
from millrace.adapters.retries import Retries
from millrace.adapters.shared_reads import Answer, Question, SharedReads
from millrace.adapters.store_address import StoreAddress, read_address
from millrace.core.errors import StoreError
from millrace.features.online.port import Combine

OPTIONS = ("timeout_s", "connect_timeout_s", "attempts", "prefix", "connections")
DRIVER_OPTIONS = (
    "db",
    "protocol",
    "ssl_ca_certs",
    "ssl_cert_reqs",
    "ssl_certfile",
    "ssl_check_hostname",
    "ssl_keyfile",
)
MOST_FIELDS = 5_000
LANES = 2
ITEMS_PER_SWAP = 500
BYTES_PER_SWAP = 4 << 20
_PASSING = (redis.ConnectionError, redis.TimeoutError, BusyLoadingError, TryAgainError)
_REFUSED = (AuthenticationError, NoPermissionError)  # the first is a kind of ConnectionError

# The fields whose value is the one that was read get their new one, at once; the places of the others come back.
_SWAP = b"""
local count, flags = tonumber(ARGV[1]), ARGV[2]
local fields = {unpack(ARGV, 3, count + 2)}
local found = redis.call('HMGET', KEYS[1], unpack(fields))
local late, set, place = {}, {}, count + 3
for i = 1, count do
  local old = false
  if string.byte(flags, i) == 49 then old = ARGV[place] place = place + 1 end
  if found[i] == old then set[#set + 1] = fields[i] set[#set + 1] = ARGV[place]
  else late[#late + 1] = i end
  place = place + 1
end
if #set > 0 then
  redis.call('HSET', KEYS[1], unpack(set))
  redis.call('SADD', KEYS[2], ARGV[#ARGV])
end
return late
"""

Command = tuple[Any, ...]
T = TypeVar("T")


class RedisOnlineStore:
    """A hash per view. Reads of threads that meet share one round trip; merges compare and set in a script.

    Parameters
    ----------
    address : StoreAddress
        Its options: ``timeout_s`` and ``connect_timeout_s`` (2), ``attempts`` (5) before an error, ``prefix`` of the
        names in Redis (millrace), ``connections`` (8) of this process for merging.
    """

    def __init__(self, address: StoreAddress) -> None:
        self._address = address
        self._prefix = address.get("prefix", "millrace").encode()
        self._retries = Retries(address.get("attempts", 5))
        self._maker = connection_maker(address)
        self._writers = self._pool(address.get("connections", 8))
        self._readers = self._pool(LANES)
        self._reads = SharedReads(self._answer, lanes=LANES, most_keys=MOST_FIELDS)
        self._is_open = True

    def read(self, view: str, keys: Sequence[bytes]) -> Answer:
        self._check_open()
        if len(keys) <= MOST_FIELDS:
            return self._reads.read(view, keys) if keys else []
        parts = [keys[start : start + MOST_FIELDS] for start in range(0, len(keys), MOST_FIELDS)]
        return list(chain.from_iterable(self._reads.read(view, part) for part in parts))

    def merge(self, view: str, items: Iterable[tuple[bytes, bytes]], combine: Combine) -> None:
        self._check_open()
        name, known = self._name(view), self._known()

        def swap(changes: list[Change], keys: Sequence[bytes]) -> tuple[set[bytes], Answer]:
            commands: list[Command] = []
            if changes:
                commands.append(("EVAL", _SWAP, 2, name, known, *_arguments(changes), view.encode()))
            if keys:
                commands.append(("HMGET", name, *keys))
            answers = self._ask(self._writers, commands) if commands else []
            lost = {changes[place - 1][0] for place in answers[0]} if changes else set()
            return lost, answers[-1] if keys else []

        merge_optimistically(
            items,
            combine,
            swap,
            most_items=ITEMS_PER_SWAP,
            most_bytes=BYTES_PER_SWAP,
            where=self._address.where,
        )

    def sync(self) -> None:
        """Return when the server's own log is on disk, where the server can tell (Redis 7.2 and later).

        An older server has taken every merge that returned, and writes it down as its ``appendfsync`` says.

        Raises
        ------
        StoreError
            FEAT-20 when the server's disk does not keep up.
        """
        self._check_open()
        wait_s = self._address.get("timeout_s", 2.0) / 2
        # The server waits for what one connection wrote. Its log is in the order of all writes: what this connection
        # writes now comes after every merge that returned.
        mark = ("SET", self._prefix + b":synced", b"1")
        try:
            *_, (written, _) = self._ask(self._writers, [mark, ("WAITAOF", 1, 0, int(wait_s * 1000))])
        except ResponseError:
            return  # a server that does not know the command, or keeps no log: there is nothing more to wait for
        if not written:
            raise StoreError(
                "FEAT-20",
                f"the online store took what was merged, and has not written it down within {wait_s:g} s",
                where=self._address.where,
                why="nothing is lost while the server runs",
                fix="see why its disk is slow, or give timeout_s in the URL, and run again: no event counts twice",
            )

    def views(self) -> list[str]:
        self._check_open()
        (names,) = self._ask(self._writers, [("SMEMBERS", self._known())])
        return sorted(name.decode() for name in names)

    def clear(self, view: str) -> None:
        self._check_open()
        self._ask(
            self._writers,
            [("MULTI",), ("UNLINK", self._name(view)), ("SREM", self._known(), view.encode()), ("EXEC",)],
        )

    def items(self, view: str) -> Iterator[tuple[bytes, bytes]]:
        self._check_open()
        cursor: Any = 0
        while True:
            ((cursor, found),) = self._ask(self._writers, [("HSCAN", self._name(view), cursor, "COUNT", 1000)])
            flat = chain.from_iterable(found.items()) if isinstance(found, dict) else iter(found)
            yield from zip(flat, flat, strict=True)
            if int(cursor) == 0:
                return

    def close(self) -> None:
        self._is_open = False
        self._writers.close()
        self._readers.close()

    def _answer(self, questions: list[Question]) -> list[Answer]:
        """One HMGET per view, all sent before the first answer is read."""
        by_view: dict[str, list[bytes]] = {}
        for view, keys in questions:
            by_view.setdefault(view, []).extend(keys)
        found = self._ask(self._readers, [("HMGET", self._name(view), *keys) for view, keys in by_view.items()])
        if len(questions) == 1:
            return found
        rests = {view: iter(values) for view, values in zip(by_view, found, strict=True)}
        return [[next(rests[view]) for _ in keys] for view, keys in questions]

    def _ask(self, pool: ConnectionPool[redis.Connection], commands: list[Command]) -> list[Any]:
        """The answers to commands sent at once; asked again when the server cannot be reached."""

        def attempt() -> list[Any]:
            try:
                with pool.lend() as connection:
                    return _converse(connection, commands)
            except _PASSING:
                pool.drop_idle()
                raise

        return self._explained(lambda: self._retries.run(attempt, passing=_PASSING, final=_REFUSED))

    def _explained(self, action: Callable[[], T]) -> T:
        try:
            return action()
        except _REFUSED as error:
            raise self._refused(error) from None
        except _PASSING as error:
            raise StoreError(
                "FEAT-20",
                f"the online store cannot be reached: {self._address.hide(str(error))}",
                where=self._address.where,
                why=f"it did not answer {self._retries.attempts} times; every value is the old one or the new one",
                fix="check that the server is up and the URL is its own, then run again",
            ) from None
        except ResponseError as error:
            explained = self._explain_answer(error)
            if explained is None:
                raise
            raise explained from None

    def _refused(self, error: RedisError) -> StoreError:
        return StoreError(
            "FEAT-42",
            f"the online store refuses this user: {self._address.hide(str(error))}",
            where=self._address.where,
            fix="check user and password; the user needs HMGET, HSET, HSCAN, EVAL, UNLINK and the set commands",
        )

    def _explain_answer(self, error: ResponseError) -> StoreError | None:
        """What an answer that is an error means; None when it is about the command itself."""
        text, where = self._address.hide(str(error)), self._address.where
        if "OOM" in text or "MISCONF" in text:
            return StoreError(
                "FEAT-44",
                f"the online store is full: {text}",
                where=where,
                why="every value is the old one or the new one",
                fix="give Redis more maxmemory or disk, or clear views that nothing reads, then run again",
            )
        if "READONLY" in text or "NOPERM" in text:
            return self._refused(error)
        if "WRONGTYPE" in text:
            return StoreError(
                "FEAT-21",
                f"the online store is damaged: {text}",
                where=where,
                why=f"something else uses names that begin with '{self._prefix.decode()}:'",
                fix="give the store a prefix of its own: ?prefix=name",
            )
        return None

    def _pool(self, size: int) -> ConnectionPool[redis.Connection]:
        return ConnectionPool(self._maker.make_connection, redis.Connection.disconnect, size=size)

    def _name(self, view: str) -> bytes:
        return self._prefix + b":view:" + view.encode()

    def _known(self) -> bytes:
        return self._prefix + b":views"

    def _check_open(self) -> None:
        if not self._is_open:
            raise StoreError("FEAT-20", "the online store was closed", fix="open it again with open_online(url)")


def _converse(connection: redis.Connection, commands: list[Command]) -> list[Any]:
    connection.send_packed_command(connection.pack_commands(commands))
    answers = [_next(connection) for _ in commands]
    for answer in answers:  # all are read before one is raised, so that the connection is at its next question
        if isinstance(answer, Exception):
            raise answer
    return answers


def _next(connection: redis.Connection) -> Any:
    try:
        return connection.read_response()
    except ResponseError as error:
        return error


def _arguments(changes: list[Change]) -> Iterator[bytes | int]:
    yield len(changes)
    yield bytes(48 if old is None else 49 for _, old, _ in changes)
    for key, _, _ in changes:
        yield key
    for _, old, new in changes:
        if old is not None:
            yield old
        yield new


def open_redis(url: str) -> RedisOnlineStore:
    """The store of ``redis://host:6379/0``, ``rediss://`` with TLS, or ``unix:///path/of.sock?db=0``.

    Nothing is asked yet: a server that is down is met at the first read or merge.

    Raises
    ------
    ProjectError
        FEAT-40 when the URL does not say what it must.
    """
    return RedisOnlineStore(read_address(url, options=OPTIONS, rest=DRIVER_OPTIONS))
