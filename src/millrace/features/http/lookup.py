"""Lookups of the feature server: compiled once per form of request, and never longer than a client should wait."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, TypeVar

from millrace.core.clock import to_micros
from millrace.core.errors import DataError, MillraceError, ServiceError, StoreError, did_you_mean
from millrace.features.http.answer import AnswerForm
from millrace.features.http.request import FeatureRequest, Rows, rows_of
from millrace.features.online.lookup import LookupPlan, OnlineFeatures, ViewReading
from millrace.features.request import resolve
from millrace.features.store import FeatureStore

logger = logging.getLogger("millrace.features")

_T = TypeVar("_T")
_PLANS = 1024
_INLINE_ROWS = 200  # about as long as a request may hold up all others
_DAMAGED = "FEAT-22"


@dataclass(frozen=True, slots=True)
class Limits:
    """What the server takes and how long it waits.

    Parameters
    ----------
    rows, body_bytes : int
        Of one request; more is refused with 413.
    wait_seconds : float
        How long a lookup may take before its values are answered as unavailable.
    threads : int
        Lookups at once in a store that is not on this machine.
    waiting : int
        How many more may wait for a thread; others are answered as unavailable at once.
    """

    rows: int = 10_000
    body_bytes: int = 8 << 20
    wait_seconds: float = 2.0
    threads: int = 16
    waiting: int = 512


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one request. With `error` the store did not answer; not for some rows if there is `found`.

    Of a single row `views` may stand instead of `found`.
    """

    form: AnswerForm
    rows: int
    found: OnlineFeatures | None
    error: MillraceError | None = None
    views: list[ViewReading] | None = None


@dataclass(frozen=True, slots=True)
class _Prepared:
    form: AnswerForm
    plan: LookupPlan


class FeatureLookup:
    """Looks requests up in `store`.

    Parameters
    ----------
    store : FeatureStore
    services : mapping of name to references
        What `feature_service` may name.
    probe : callable
        Raises when the online store does not answer.
    is_local : bool
        Whether reads are so fast that a thread would cost more than they do.
    limits : Limits
    """

    def __init__(
        self,
        store: FeatureStore,
        services: Mapping[str, Sequence[str]],
        *,
        probe: Callable[[], object],
        is_local: bool,
        limits: Limits,
    ) -> None:
        self.services = services
        self.error: MillraceError | None = None
        self._store = store
        self._probe = probe
        self._is_local = is_local
        self._limits = limits
        self._prepared: dict[tuple[Any, ...], _Prepared] = {}
        self._keys = {key for view in store.views.values() for key in view.keys}
        self._pool = ThreadPoolExecutor(limits.threads, thread_name_prefix="millrace-lookup")
        self._pending = 0
        self._lock = threading.Lock()  # the threads that look up count themselves out
        self._probing: asyncio.Future[Any] | None = None

    async def look_up(self, request: FeatureRequest) -> Outcome:
        """The features a request asks for, or why the store could not say.

        Raises
        ------
        DataError
            FEAT-01 to FEAT-05, FEAT-07 as `FeatureStore.get_online_features`; FEAT-51, FEAT-52, FEAT-58.
        """
        name = (
            request.feature_service,
            *request.features,
            request.full_feature_names,
            request.include_feature_view_version_metadata,
            *request.entities,
        )
        rows = rows_of(request.entities, self._limits.rows)
        try:
            if self._is_local and len(rows) <= _INLINE_ROWS:
                outcome = self._read(name, request, rows)
            else:
                outcome = await self._in_thread(lambda: self._read(name, request, rows))
        except (StoreError, ServiceError) as error:
            self.error = error
            return Outcome(self._form_without_store(request), len(rows), None, error)
        self.error = None if outcome.found is not None else outcome.error
        return outcome

    async def check(self) -> MillraceError | None:
        """Ask the store for a sign of life; the error when there is none in time."""
        if self._probing is None or self._probing.done():
            self._probing = asyncio.ensure_future(self._in_thread(self._probe))
        try:
            await asyncio.shield(self._probing)
        except (StoreError, ServiceError) as error:
            self.error = error
        except Exception as error:  # noqa: BLE001 - a driver may raise anything; that the store is not there is the news
            self.error = ServiceError("FEAT-55", f"the online store does not answer: {type(error).__name__}: {error}")
        else:
            self.error = None
        return self.error

    def close(self) -> None:
        """Let go of the threads; a lookup that hangs is not waited for."""
        self._pool.shutdown(wait=False, cancel_futures=True)

    async def _in_thread(self, work: Callable[[], _T]) -> _T:
        limits = self._limits
        if self._pending >= limits.threads + limits.waiting:
            raise ServiceError(
                "FEAT-55",
                f"{self._pending} lookups already wait for the online store",
                why="it answers slower than requests come",
                fix="ask again; if it stays so, look at the store, or start more servers",
            )
        with self._lock:
            self._pending += 1
        future = self._pool.submit(work)
        future.add_done_callback(self._count_done)
        try:
            return await asyncio.wait_for(asyncio.wrap_future(future), limits.wait_seconds)
        except TimeoutError as error:
            raise ServiceError(
                "FEAT-55",
                f"the online store did not answer within {limits.wait_seconds:g} s",
                fix="see whether it runs and can be reached from here",
            ) from error

    def _count_done(self, future: object) -> None:
        with self._lock:
            self._pending -= 1

    def _read(self, name: tuple[Any, ...], request: FeatureRequest, rows: Rows) -> Outcome:
        prepared = self._prepared.get(name)
        if prepared is None:
            prepared = self._prepare(name, request)
        try:
            if len(rows) == 1:
                views = prepared.plan.read_views(rows[0])
                if views is not None:
                    return Outcome(prepared.form, 1, None, None, views)
            return Outcome(prepared.form, len(rows), prepared.plan.lookup(rows))
        except (StoreError, ServiceError) as error:
            found = None
            if error.code == _DAMAGED:
                logger.error("%s: %s", error.code, error.what)
                found = _read_each(prepared.plan, rows)
            return Outcome(prepared.form, len(rows), found, error)

    def _prepare(self, name: tuple[Any, ...], request: FeatureRequest) -> _Prepared:
        plan = self._store.plan(self._references(request), full_feature_names=request.full_feature_names)
        prepared = _Prepared(self._form(request, plan.names), plan)
        if len(self._prepared) >= _PLANS:  # as many forms as there are models: more is somebody trying them out
            self._prepared.clear()
        self._prepared[name] = prepared
        return prepared

    def _form_without_store(self, request: FeatureRequest) -> AnswerForm:
        """The names of the answer, from the definitions alone; a mistake in the request is told all the same."""
        wanted = self._references(request)
        asked = resolve(self._store.definitions, wanted, full_feature_names=request.full_feature_names)
        return self._form(request, asked.names)

    def _form(self, request: FeatureRequest, names: Sequence[str]) -> AnswerForm:
        views = None
        if request.include_feature_view_version_metadata:
            views = list(dict.fromkeys(reference.partition(":")[0] for reference in self._references(request)))
        return AnswerForm([key for key in request.entities if key in self._keys], names, views)

    def _references(self, request: FeatureRequest) -> Sequence[str]:
        if request.feature_service is None:
            return request.features
        references = self.services.get(request.feature_service)
        if references is None:
            raise DataError(
                "FEAT-58",
                f"there is no feature service '{request.feature_service}'",
                fix=did_you_mean(request.feature_service, self.services),
            )
        return references


def _read_each(plan: LookupPlan, rows: Rows) -> OnlineFeatures:
    """Row by row, so that one damaged value in the store takes nothing else with it."""
    values: dict[str, list[Any]] = {name: [] for name in plan.names}
    statuses: dict[str, list[Any]] = {name: [] for name in plan.names}
    times: dict[str, list[Any]] = {name: [] for name in plan.names}
    for row in rows:
        try:
            one: OnlineFeatures | None = plan.lookup([row])
        except StoreError:
            one = None
        for name in plan.names:
            values[name].append(None if one is None else one.values[name][0])
            statuses[name].append("unavailable" if one is None else one.statuses[name][0])
            time = None if one is None else one.event_times[name][0]
            times[name].append(None if time is None else to_micros(time))
    return OnlineFeatures({}, values, lambda: (statuses, times))
