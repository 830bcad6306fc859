"""The embedded online store: LMDB. Many processes read while one writes; a killed process leaves it whole."""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from itertools import islice
from operator import itemgetter
from pathlib import Path
from typing import Any

from millrace.core.errors import StoreError
from millrace.features.online.lmdb_environment import release_environment, share_environment
from millrace.features.online.port import Combine, combine_all

LONGEST_NAME_BYTES = 511
ITEMS_PER_TRANSACTION = 20_000
ITEMS_PER_PAGE = 1_000
_LENGTH = struct.Struct("<I")


class LmdbOnlineStore:
    """An LMDB environment in a folder; the implementation of `OnlineStore` for one machine.

    A merge is visible to every process at once, and whole: a process killed at any instant, by ``kill -9`` too,
    loses at most the merge it was in. By default a merge does not wait for the disk, so a crash of the *machine* may
    lose, or damage, what was merged since the last `sync`; the store is a copy of the sources, so then it is removed
    and materialized again. With `durable` every merge waits and survives that too.

    Parameters
    ----------
    path : Path
        Folder; made if it is missing.
    durable : bool

    Notes
    -----
    A value lies under ``view NUL key``. LMDB takes 511 bytes: a longer name is a SHA-256, padded to exactly that, and
    the key then stands before the value. Writers of several processes wait for each other.
    """

    def __init__(self, path: Path, *, durable: bool = False) -> None:
        self._environment = share_environment(path, durable=durable)
        self._is_open = True

    def read(self, view: str, keys: Sequence[bytes]) -> list[bytes | None]:
        prefix = view.encode() + b"\0"
        longest = max(map(len, keys), default=0)

        def values(handle: Any) -> list[bytes | None]:
            with handle.begin() as transaction:
                if longest + len(prefix) < LONGEST_NAME_BYTES:
                    return [transaction.get(prefix + key) for key in keys]
                return [_value(name, transaction.get(name)) for name in (_name(prefix, key) for key in keys)]

        self._check_open()
        return self._environment.run(values)

    def merge(self, view: str, items: Iterable[tuple[bytes, bytes]], combine: Combine) -> None:
        self._check_open()
        prefix = view.encode() + b"\0"
        rest = iter(items)
        # In the order of the keys a transaction touches each page once; the items of one key stay in theirs.
        while chunk := sorted(islice(rest, ITEMS_PER_TRANSACTION), key=itemgetter(0)):

            def write(handle: Any, chunk: list[tuple[bytes, bytes]] = chunk) -> None:
                names = [prefix + key for key, _ in chunk]
                is_plain = max(map(len, names)) < LONGEST_NAME_BYTES and len(set(names)) == len(names)
                with handle.begin(write=True) as transaction:
                    if is_plain:
                        _write_together(transaction, names, chunk, combine)
                    else:
                        for key, value in chunk:
                            _write_one(transaction, prefix, key, value, combine)

            self._environment.run_growing(write)

    def sync(self) -> None:
        self._check_open()
        self._environment.run(lambda handle: handle.sync(True))

    def views(self) -> list[str]:
        def names(handle: Any) -> list[str]:
            found = []
            with handle.begin() as transaction, transaction.cursor() as cursor:
                is_there = cursor.first()
                while is_there:
                    view = cursor.key().split(b"\0", 1)[0]
                    found.append(view.decode())
                    is_there = cursor.set_range(view + b"\x01")
            return found

        self._check_open()
        return self._environment.run(names)

    def clear(self, view: str) -> None:
        prefix = view.encode() + b"\0"

        def delete(handle: Any) -> None:
            with handle.begin(write=True) as transaction, transaction.cursor() as cursor:
                is_there = cursor.set_range(prefix)
                while is_there and cursor.key().startswith(prefix):
                    cursor.delete()
                    is_there = cursor.set_range(prefix)

        self._check_open()
        self._environment.run_growing(delete)

    def items(self, view: str) -> Iterator[tuple[bytes, bytes]]:
        prefix = view.encode() + b"\0"

        def page(handle: Any, after: bytes) -> list[tuple[bytes, bytes]]:
            # Page by page: a transaction that stays open would keep what is replaced meanwhile in the file.
            with handle.begin() as transaction, transaction.cursor() as cursor:
                is_there = cursor.set_range(after)
                if is_there and cursor.key() == after:
                    is_there = cursor.next()
                found: Iterable[tuple[bytes, bytes]] = islice(cursor.iternext(), ITEMS_PER_PAGE) if is_there else ()
                return [(name, value) for name, value in found if name.startswith(prefix)]

        place = view.encode()
        while True:
            self._check_open()
            found: list[tuple[bytes, bytes]] = self._environment.run(partial(page, after=place))
            for name, value in found:
                yield _taken_apart(prefix, name, value)
            if len(found) < ITEMS_PER_PAGE:
                return
            place = found[-1][0]

    def close(self) -> None:
        if self._is_open:
            self._is_open = False
            release_environment(self._environment)

    def _check_open(self) -> None:
        if not self._is_open:
            raise StoreError("FEAT-20", "the online store was closed", fix="open it again with open_online(url)")


def _name(prefix: bytes, key: bytes) -> bytes:
    name = prefix + key
    if len(name) < LONGEST_NAME_BYTES:
        return name
    return (prefix + hashlib.sha256(key).digest()).ljust(LONGEST_NAME_BYTES, b"\0")


def _write_together(transaction: Any, names: list[bytes], chunk: list[tuple[bytes, bytes]], combine: Combine) -> None:
    """Merge items of different keys, none of which has a long name: two calls for all of them."""
    with transaction.cursor() as cursor:
        found = cursor.getmulti(names)  # in their order, without those that are not there
        is_whole = len(found) == len(names)
        olds = [value for _, value in found] if is_whole else list(map(dict(found).get, names))
        news = combine_all(combine, olds, [value for _, value in chunk])
        changed = [(name, new) for name, new, old in zip(names, news, olds, strict=True) if new is not old]
        cursor.putmulti(changed)


def _write_one(transaction: Any, prefix: bytes, key: bytes, value: bytes, combine: Combine) -> None:
    name = _name(prefix, key)
    old = _value(name, transaction.get(name))
    new = combine(old, value)
    if new is not old:
        transaction.put(name, new if len(name) < LONGEST_NAME_BYTES else _LENGTH.pack(len(key)) + key + new)


def _value(name: bytes, data: bytes | None) -> bytes | None:
    if data is None or len(name) < LONGEST_NAME_BYTES:
        return data
    return data[_LENGTH.size + _LENGTH.unpack_from(data)[0] :]


def _taken_apart(prefix: bytes, name: bytes, data: bytes) -> tuple[bytes, bytes]:
    if len(name) < LONGEST_NAME_BYTES:
        return name[len(prefix) :], data
    end = _LENGTH.size + _LENGTH.unpack_from(data)[0]
    return data[_LENGTH.size : end], data[end:]


def open_lmdb(url: str, *, durable: bool = False) -> LmdbOnlineStore:
    """The store in the folder of ``lmdb:///relative/path`` or ``lmdb:////absolute/path``; a bare path too.

    Raises
    ------
    StoreError
        FEAT-20 when it cannot be opened, FEAT-21 when it is damaged.
    """
    return LmdbOnlineStore(Path(url.removeprefix("lmdb:///")), durable=durable)
