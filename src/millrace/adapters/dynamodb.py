"""DynamoDB as an online store: no server to run, and a request where others have a round trip."""

from __future__ import annotations

import hashlib
import os
import threading
import weakref
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import chain
from typing import Any, TypeVar
from zlib import crc32

from millrace.adapters.dynamodb_client import OPTIONS, SDK_ERRORS, explain, is_late, make_client, make_table
from millrace.adapters.optimistic_merge import Change, merge_optimistically
from millrace.adapters.retries import Retries
from millrace.adapters.shared_reads import Answer, Question, SharedReads
from millrace.adapters.store_address import StoreAddress, read_address
from millrace.core.errors import StoreError
from millrace.features.online.port import Combine

MOST_KEYS = 100
MOST_DELETES = 25
ITEMS_PER_SWAP = 400
BYTES_PER_SWAP = 4 << 20
LARGEST_ITEM_BYTES = 400 * 1024
LONGEST_KEY_BYTES = 1_000
BUCKETS = 32
_VIEWS = b"!views"
_TOKEN_BYTES = 12

Item = dict[str, Any]
T = TypeVar("T")
R = TypeVar("R")


class DynamoOnlineStore:
    """A table with a view and a bucket as partition key ``p``, the entity's key as sort key ``k``.

    A write is conditional on the token ``t`` that was read with the value ``v``; every write draws a new one. So a
    merge is atomic, and one whose answer was lost recognises itself.

    Parameters
    ----------
    address : StoreAddress
        Its options: ``endpoint`` (that of the region), ``timeout_s`` and ``connect_timeout_s`` (2), ``attempts`` (5)
        before an error, ``connections`` (16) of this process, ``consistent`` (yes; with no, reads cost half and may
        miss the last second), ``create`` (no; with yes, a table that is missing is made).
    """

    largest_value_bytes = LARGEST_ITEM_BYTES - 2_048

    def __init__(self, address: StoreAddress) -> None:
        self._address = address
        self._table = address.url.partition("?")[0].rpartition("/")[2]
        if not self._table:
            raise address.refuse("it names no table", fix="dynamodb://eu-west-1/my-table")
        self._is_consistent = address.get("consistent", True)
        self._is_creating = address.get("create", False)
        self._threads = address.get("connections", 16)
        self._retries = Retries(address.get("attempts", 5))
        self._inherited: list[Any] = []
        self.start_anew()
        self._reads = SharedReads(self._answer, lanes=self._threads, most_keys=MOST_KEYS)
        self._announced: set[str] = set()
        self._is_open = True
        _all.add(self)

    def read(self, view: str, keys: Sequence[bytes]) -> Answer:
        self._check_open()
        if len(keys) <= MOST_KEYS:
            return self._reads.read(view, keys) if keys else []
        found = self._get_all(view, keys)
        return [None if item is None else item["v"]["B"] for item in map(found.get, keys)]

    def merge(self, view: str, items: Iterable[tuple[bytes, bytes]], combine: Combine) -> None:
        self._check_open()
        tokens: dict[bytes, bytes] = {}

        def swap(changes: list[Change], keys: Sequence[bytes]) -> tuple[set[bytes], Answer]:
            if changes:
                self._announce(view)
            late = self._in_parallel(lambda change: self._put(view, change, tokens.get(change[0])), changes)
            found = self._get_all(view, keys)
            tokens.clear()
            tokens.update((key, item["t"]["B"]) for key, item in found.items())
            values = [None if item is None else item["v"]["B"] for item in map(found.get, keys)]
            return {change[0] for change, is_late in zip(changes, late, strict=True) if is_late}, values

        merge_optimistically(
            items,
            combine,
            swap,
            most_items=ITEMS_PER_SWAP,
            most_bytes=BYTES_PER_SWAP,
            where=self._address.where,
        )

    def sync(self) -> None:
        """Nothing is left to do: DynamoDB answers a write when it is durable."""
        self._check_open()

    def views(self) -> list[str]:
        names = [item["k"]["B"][1:].decode() for item in self._query(_VIEWS, fields="k")]
        return sorted(name for name in names if self._holds_a_key(name))

    def clear(self, view: str) -> None:
        def clear_bucket(partition: bytes) -> None:
            keys = [{"p": {"B": partition}, "k": item["k"]} for item in self._query(partition, fields="k")]
            for start in range(0, len(keys), MOST_DELETES):
                requests = [{"DeleteRequest": {"Key": key}} for key in keys[start : start + MOST_DELETES]]
                self._until_all_are_done(
                    lambda rest: self._call("batch_write_item", RequestItems=rest),
                    {self._table: requests},
                    "UnprocessedItems",
                )

        self._in_parallel(clear_bucket, _partitions(view))

    def items(self, view: str) -> Iterator[tuple[bytes, bytes]]:
        for partition in _partitions(view):
            for item in self._query(partition, fields="k, f, v"):
                yield item["f"]["B"] if "f" in item else item["k"]["B"][1:], item["v"]["B"]

    def close(self) -> None:
        self._is_open = False
        self._pool.shutdown()
        if self._client is not None:
            self._client.close()

    def start_anew(self) -> None:
        """No connections yet. In a forked child those of the parent are kept out of use, and open."""
        self._inherited.append((getattr(self, "_client", None), getattr(self, "_pool", None)))
        self._client: Any = None
        self._opening = threading.Lock()
        self._pool = ThreadPoolExecutor(self._threads, thread_name_prefix="dynamodb")

    def _answer(self, questions: list[Question]) -> list[Answer]:
        wanted = {(view, key): _place(view, key) for view, keys in questions for key in keys}
        places = list(wanted.values())
        found = {}
        for start in range(0, len(places), MOST_KEYS):
            found.update(self._get(places[start : start + MOST_KEYS]))
        values = {name: found[place]["v"]["B"] for name, place in wanted.items() if place in found}
        return [[values.get((view, key)) for key in keys] for view, keys in questions]

    def _get_all(self, view: str, keys: Sequence[bytes]) -> dict[bytes, Item]:
        places = {key: _place(view, key) for key in keys}
        every = list(places.values())
        parts = [every[start : start + MOST_KEYS] for start in range(0, len(every), MOST_KEYS)]
        found = dict(chain.from_iterable(part.items() for part in self._in_parallel(self._get, parts)))
        return {key: found[place] for key, place in places.items() if place in found}

    def _get(self, places: Sequence[tuple[bytes, bytes]]) -> dict[tuple[bytes, bytes], Item]:
        """Up to 100 items by their place."""
        keys = [{"p": {"B": partition}, "k": {"B": key}} for partition, key in places]
        found: list[Item] = []

        def ask(rest: dict[str, Any]) -> dict[str, Any]:
            answer: dict[str, Any] = self._call("batch_get_item", RequestItems=rest)
            found.extend(answer["Responses"].get(self._table, ()))
            return answer

        wanted = {self._table: {"Keys": keys, "ConsistentRead": self._is_consistent}}
        self._until_all_are_done(ask, wanted, "UnprocessedKeys")
        return {(item["p"]["B"], item["k"]["B"]): item for item in found}

    def _put(self, view: str, change: Change, known: bytes | None) -> bool:
        """Whether it came too late: somebody else has written this key since it was read."""
        key, _, new = change
        if len(new) > self.largest_value_bytes:
            raise self._too_large(view, key, new)
        partition, sort_key = _place(view, key)
        token = os.urandom(_TOKEN_BYTES)
        item = {"p": {"B": partition}, "k": {"B": sort_key}, "v": {"B": new}, "t": {"B": token}}
        if sort_key != b"k" + key:
            item["f"] = {"B": key}
        condition: dict[str, Any] = {"ConditionExpression": "attribute_not_exists(t)"}
        if known is not None:
            condition = {"ConditionExpression": "t = :t", "ExpressionAttributeValues": {":t": {"B": known}}}
        answer = self._call("put_item", Item=item, ReturnValuesOnConditionCheckFailure="ALL_OLD", **condition)
        if answer is not None:
            return False
        # The driver asks again when an answer was lost: then it is its own first attempt that came before.
        there = self._get([(partition, sort_key)]).get((partition, sort_key))
        return there is None or there["t"]["B"] != token

    def _announce(self, view: str) -> None:
        """Keep the view's name, for ever: whether it holds a key is asked when the views are."""
        if view not in self._announced:
            self._call("put_item", Item={"p": {"B": _VIEWS}, "k": {"B": b"k" + view.encode()}})
            self._announced.add(view)

    def _holds_a_key(self, view: str) -> bool:
        return any(self._in_parallel(lambda part: bool(self._page(part, "k", None, 1)["Items"]), _partitions(view)))

    def _query(self, partition: bytes, *, fields: str) -> Iterator[Item]:
        start: Any = None
        while True:
            page = self._page(partition, fields, start, None)
            yield from page["Items"]
            start = page.get("LastEvaluatedKey")
            if start is None:
                return

    def _page(self, partition: bytes, fields: str, start: Any, limit: int | None) -> dict[str, Any]:
        more: dict[str, Any] = {} if start is None else {"ExclusiveStartKey": start}
        if limit is not None:
            more["Limit"] = limit
        page: dict[str, Any] = self._call(
            "query",
            KeyConditionExpression="p = :p",
            ExpressionAttributeValues={":p": {"B": partition}},
            ProjectionExpression=fields,
            ConsistentRead=True,
            **more,
        )
        return page

    def _until_all_are_done(
        self, ask: Callable[[dict[str, Any]], dict[str, Any]], rest: dict[str, Any], left: str
    ) -> None:
        """DynamoDB may do a part of a batch when it is busy; what is left is asked again, a little later."""
        for attempt in range(1, self._retries.attempts + 6):
            rest = ask(rest).get(left) or {}
            if not rest:
                return
            self._retries.wait(attempt)
        raise StoreError(
            "FEAT-20",
            "the online store does less than it is asked: a part of the batch stayed undone",
            where=self._address.where,
            why="the table's capacity is used up",
            fix="give the table more capacity, or on-demand mode, then run again",
        )

    def _call(self, operation: str, **request: Any) -> Any:
        """The answer of DynamoDB; None when the condition of a write does not hold."""
        self._check_open()
        if operation not in ("batch_get_item", "batch_write_item"):
            request["TableName"] = self._table
        try:
            return getattr(self._connected(), operation)(**request)
        except SDK_ERRORS as error:
            if is_late(error):
                return None
            raise explain(error, self._address, self._table) from None

    def _connected(self) -> Any:
        if self._client is None:
            with self._opening:
                if self._client is None:
                    client = make_client(self._address, self._threads)
                    if self._is_creating:
                        make_table(client, self._address, self._table)
                    self._client = client
        return self._client

    def _in_parallel(self, action: Callable[[T], R], inputs: Sequence[T]) -> list[R]:
        self._check_open()
        if len(inputs) < 2:
            return [action(one) for one in inputs]
        return list(self._pool.map(action, inputs))

    def _too_large(self, view: str, key: bytes, value: bytes) -> StoreError:
        return StoreError(
            "FEAT-41",
            f"a value of {len(value) / 1024:,.0f} KB is more than DynamoDB takes in one item (400 KB)",
            where=f"{self._address.where}, view '{view}', key {key[:80]!r}",
            why="a value is all the events of one key that the view's windows reach; the old value is untouched",
            fix="give the view shorter windows or fewer columns, or keep it in Redis, Postgres or LMDB",
        )

    def _check_open(self) -> None:
        if not self._is_open:
            raise StoreError("FEAT-20", "the online store was closed", fix="open it again with open_online(url)")


def _place(view: str, key: bytes) -> tuple[bytes, bytes]:
    """Partition and sort key. The first byte of a sort key says whether it is a key or the SHA-256 of a long one."""
    sort_key = b"k" + key if len(key) <= LONGEST_KEY_BYTES else b"h" + hashlib.sha256(key).digest()
    return view.encode() + b"\0" + bytes([crc32(sort_key) % BUCKETS]), sort_key


def _partitions(view: str) -> list[bytes]:
    return [view.encode() + b"\0" + bytes([bucket]) for bucket in range(BUCKETS)]


_all: weakref.WeakSet[DynamoOnlineStore] = weakref.WeakSet()


def _start_all_anew() -> None:
    for store in list(_all):
        store.start_anew()


os.register_at_fork(after_in_child=_start_all_anew)


def open_dynamodb(url: str) -> DynamoOnlineStore:
    """The store of ``dynamodb://region/table``; credentials are found as the AWS SDK finds them.

    Raises
    ------
    ProjectError
        FEAT-40 when the URL does not say what it must.
    """
    return DynamoOnlineStore(read_address(url, options=OPTIONS, rest=()))
