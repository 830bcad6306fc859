"""What the feature server changes: rows pushed, views materialized. In threads; nothing here holds up a lookup."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from typing import Literal, TypeVar

from millrace.core.clock import Clock
from millrace.core.errors import Conflict
from millrace.features.http.request import (
    IncrementRequest,
    MaterializeRequest,
    PushRequest,
    Target,
    check_count,
    check_lengths,
    read_time,
)
from millrace.features.store import FeatureStore

_T = TypeVar("_T")
_TARGETS: Mapping[Target, Literal["online", "offline", "both"]] = {
    "online": "online",
    "offline": "offline",
    "online_and_offline": "both",
}
"""Feast's words and ours."""
_PUSHES_AT_ONCE = 4


class FeatureWrites:
    """Pushes into `store` and materializes it.

    Parameters
    ----------
    store : FeatureStore
    clock : Clock
    rows : int
        Most rows of one push.
    """

    def __init__(self, store: FeatureStore, *, clock: Clock, rows: int) -> None:
        self._store = store
        self._clock = clock
        self._rows = rows
        self._pool = ThreadPoolExecutor(_PUSHES_AT_ONCE + 1, thread_name_prefix="millrace-write")
        self._materializing = threading.Lock()
        self._is_closing = False

    async def push(self, request: PushRequest) -> int:
        """The number of rows taken.

        Raises
        ------
        DataError
            FEAT-05 to FEAT-11 and FEAT-35 as `FeatureStore.push`, FEAT-51, FEAT-52.
        """
        check_lengths(request.df, "df")
        check_count(len(next(iter(request.df.values()), [])), self._rows)
        to = _TARGETS[request.to]
        return await self._in_thread(lambda: self._store.push(request.push_source_name, request.df, to=to))

    async def materialize(self, request: MaterializeRequest) -> dict[str, int]:
        """The number of events by view.

        Raises
        ------
        DataError
            FEAT-01, FEAT-13 as `FeatureStore.materialize`; FEAT-50 for a time that is none.
        Conflict
            FEAT-54 while another one is under way.
        """
        start: datetime | None = None
        if request.disable_event_timestamp:
            end = self._clock.now()
        else:
            start, end = read_time(request.start_ts, "start_ts"), read_time(request.end_ts, "end_ts")
        return await self._in_thread(
            lambda: self._alone(
                lambda: self._store.materialize(start, end, views=request.feature_views, progress=self._go_on)
            )
        )

    async def increment(self, request: IncrementRequest) -> dict[str, int]:
        """`materialize` from where each view stands."""
        end = read_time(request.end_ts, "end_ts")
        return await self._in_thread(
            lambda: self._alone(
                lambda: self._store.materialize_incremental(end, views=request.feature_views, progress=self._go_on)
            )
        )

    def stop(self) -> None:
        """Let a materialization end after the interval it is in."""
        self._is_closing = True

    def close(self) -> None:
        """`stop`, and wait for what is being written."""
        self.stop()
        self._pool.shutdown(wait=True, cancel_futures=True)

    def _alone(self, work: Callable[[], dict[str, int]]) -> dict[str, int]:
        if not self._materializing.acquire(blocking=False):
            raise Conflict(
                "FEAT-54", "a materialization is under way", why="two at once would read the same rows", fix="wait"
            )
        try:
            return work()
        finally:
            self._materializing.release()

    def _go_on(self, done: int, total: int) -> None:
        if self._is_closing and done < total:
            raise Conflict(
                "FEAT-54",
                f"the server ends; {done} of {total} intervals are done",
                fix="ask again: the same request goes on where this one ended",
            )

    async def _in_thread(self, work: Callable[[], _T]) -> _T:
        return await asyncio.get_running_loop().run_in_executor(self._pool, work)
