"""A copy of another online store in the memory of this process: the fastest reads there are."""

from __future__ import annotations

import os
import threading
import time
import weakref
from collections.abc import Callable, Iterable, Iterator, Sequence
from urllib.parse import parse_qsl, urlencode, urlsplit

from millrace.core.errors import MillraceError, ProjectError, StoreError, did_you_mean
from millrace.features.online.port import Combine, ScannableStore, open_online

REFRESH_S = 60.0
_OPTIONS = ("refresh_s", "max_age_s")


class SnapshotOnlineStore:
    """Reads from a dictionary, which is filled from `origin` and filled anew every `refresh_s` seconds.

    It is for processes that answer many requests over features that change rarely, such as those of a nightly
    materialization, from a store that fits in memory. What another process merges is seen after the next refresh;
    what this one merges goes to the origin, and is seen at once. For features that must be fresh, read the origin.

    Parameters
    ----------
    origin : ScannableStore
        It is closed together with the snapshot.
    refresh_s : float
        How old the copy of a view may grow before a read starts a refresh, in the background. Until that is done, and
        while the origin cannot be reached, reads go on from the old copy.
    max_age_s : float, optional
        How old it may grow before reads fail rather than answer from it. Default: as old as it gets.
    clock : callable
        Seconds that only grow.
    """

    def __init__(
        self,
        origin: ScannableStore,
        *,
        refresh_s: float = REFRESH_S,
        max_age_s: float | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._origin = origin
        self._refresh_s = refresh_s
        self._max_age_s = max_age_s
        self._clock = clock
        self._copies: dict[str, _Copy] = {}
        self._lock = threading.Lock()
        self._is_open = True
        _all.add(self)

    def read(self, view: str, keys: Sequence[bytes]) -> list[bytes | None]:
        get = self._fresh(view).values.get
        return [get(key) for key in keys]

    def merge(self, view: str, items: Iterable[tuple[bytes, bytes]], combine: Combine) -> None:
        """Into the origin; then its values of these keys into the copy."""
        self._check_open()
        keys: dict[bytes, None] = {}

        def seen() -> Iterator[tuple[bytes, bytes]]:
            for item in items:
                keys[item[0]] = None
                yield item

        try:
            self._origin.merge(view, seen(), combine)
        finally:  # also what was merged before an error
            with self._lock:  # a first copy that is being made may have read what was there before
                copy = self._copies.get(view)
            if copy is not None:
                copy.reread(self._origin, list(keys))

    def sync(self) -> None:
        self._check_open()
        self._origin.sync()

    def views(self) -> list[str]:
        self._check_open()
        return self._origin.views()

    def clear(self, view: str) -> None:
        self._check_open()
        self._origin.clear(view)
        with self._lock:
            self._copies.pop(view, None)

    def items(self, view: str) -> Iterator[tuple[bytes, bytes]]:
        """What the copy holds."""
        yield from list(self._fresh(view).values.items())

    def refresh(self, view: str) -> None:
        """Copy a view anew, now; returns when it is done, and raises what the origin raises."""
        self._check_open()
        copy = self._copies.get(view)
        if copy is None:
            self._fresh(view)
        else:
            copy.fill(self._origin, self._clock)

    def age_s(self, view: str) -> float | None:
        """Seconds since the copy of `view` was begun; None when there is none yet."""
        copy = self._copies.get(view)
        return None if copy is None else self._clock() - copy.begun

    def close(self) -> None:
        if self._is_open:
            self._is_open = False
            self._copies.clear()
            self._origin.close()

    def _fresh(self, view: str) -> _Copy:
        copy = self._copies.get(view)
        if copy is None:
            copy = self._first(view)
        age = self._clock() - copy.begun
        if age > self._refresh_s:
            self._start_refresh(copy)
            if self._max_age_s is not None and age > self._max_age_s:
                raise StoreError(
                    "FEAT-20",
                    f"the snapshot of '{view}' is {age:.0f} s old, more than max_age_s={self._max_age_s:g}",
                    why=f"the last refresh failed: {copy.problem.what}" if copy.problem else "a refresh is under way",
                    fix="bring its origin back; the next read then starts a refresh",
                )
        return copy

    def _first(self, view: str) -> _Copy:
        self._check_open()
        with self._lock:
            copy = self._copies.get(view)
            if copy is None:
                copy = _Copy(view)
                copy.fill(self._origin, self._clock)
                self._copies[view] = copy
            return copy

    def _start_refresh(self, copy: _Copy) -> None:
        with self._lock:
            is_due = not copy.is_refreshing and self._clock() - copy.tried > self._refresh_s
            if is_due:
                copy.is_refreshing = True
        if is_due:
            threading.Thread(target=self._refresh, args=(copy,), name=f"snapshot {copy.view}", daemon=True).start()

    def _refresh(self, copy: _Copy) -> None:
        try:
            copy.fill(self._origin, self._clock)
        except MillraceError as error:
            copy.problem = error  # told by the read that finds the copy too old
        finally:
            copy.is_refreshing = False

    def start_anew(self) -> None:
        """In a forked child: nobody holds a lock, and no refresh is under way; the copies are still good."""
        self._lock = threading.Lock()
        for copy in self._copies.values():
            copy.start_anew()

    def _check_open(self) -> None:
        if not self._is_open:
            raise StoreError("FEAT-20", "the online store was closed", fix="open it again with open_online(url)")


class _Copy:
    """One view. `begun` is when the copy was begun that `values` is, `tried` when the last one was."""

    def __init__(self, view: str) -> None:
        self.view = view
        self.values: dict[bytes, bytes] = {}
        self.begun = self.tried = float("-inf")
        self.problem: MillraceError | None = None
        self.start_anew()

    def start_anew(self) -> None:
        self.is_refreshing = False
        self.lock = threading.Lock()
        self._filling = threading.Lock()
        self._merged: set[bytes] | None = None

    def fill(self, origin: ScannableStore, clock: Callable[[], float]) -> None:
        with self._filling:
            self.tried = begun = clock()
            with self.lock:
                self._merged = set()
            values = dict(origin.items(self.view))
            with self.lock:
                # What this process merged while the origin was read may be older in what was read.
                self._take(values, origin, list(self._merged or ()))
                self._merged = None
                self.values, self.begun, self.problem = values, begun, None

    def reread(self, origin: ScannableStore, keys: list[bytes]) -> None:
        """Under the lock, so that what one thread read does not replace what another read later."""
        with self.lock:
            if self._merged is not None:
                self._merged.update(keys)
            self._take(self.values, origin, keys)

    def _take(self, values: dict[bytes, bytes], origin: ScannableStore, keys: list[bytes]) -> None:
        for key, value in zip(keys, origin.read(self.view, keys), strict=True):
            if value is None:
                values.pop(key, None)
            else:
                values[key] = value


_all: weakref.WeakSet[SnapshotOnlineStore] = weakref.WeakSet()


def _start_all_anew() -> None:
    for store in list(_all):
        store.start_anew()


os.register_at_fork(after_in_child=_start_all_anew)


def open_snapshot(url: str) -> SnapshotOnlineStore:
    """The snapshot of the store behind the rest of the URL: ``snapshot+redis://cache:6379/0?refresh_s=30``.

    Raises
    ------
    ProjectError
        FEAT-40 when the URL names no store, or one that cannot be copied.
    """
    _, _, address = url.partition("+")
    parts = urlsplit(address)
    query = dict(parse_qsl(parts.query, keep_blank_values=True))
    own = {name: query.pop(name) for name in _OPTIONS if name in query}
    if not parts.scheme:
        raise ProjectError(
            "FEAT-40",
            "the URL of the online store: a snapshot needs a store to copy",
            fix="snapshot+lmdb:///state/online, snapshot+redis://cache:6379/0",
        )
    seconds = {name: _seconds(name, text) for name, text in own.items()}
    plain = address.partition("?")[0]
    origin = open_online(f"{plain}?{urlencode(query)}" if query else plain)
    if not isinstance(origin, ScannableStore):
        origin.close()
        raise ProjectError(
            "FEAT-40",
            f"the URL of the online store: a store of kind '{parts.scheme}' does not hand out whole views",
            fix=did_you_mean(parts.scheme, ["lmdb", "sqlite", "redis", "postgresql", "dynamodb"]),
        )
    return SnapshotOnlineStore(
        origin, refresh_s=seconds.get("refresh_s", REFRESH_S), max_age_s=seconds.get("max_age_s")
    )


def _seconds(name: str, text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not value > 0:
        raise ProjectError(
            "FEAT-40",
            f"the URL of the online store: the option {name} is {text!r}, not a number of seconds above zero",
            fix=f"{name}=60",
        )
    return value
