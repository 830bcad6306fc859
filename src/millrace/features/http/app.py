"""The HTTP answers of the feature server: a bare ASGI application that speaks as Feast's.

POST /get-online-features      features of some entities
POST /push                     new rows                                   } these three need the token
POST /materialize              an interval of the sources                 }
POST /materialize-incremental  from where each view stands                }
GET  /features                 what can be asked for
GET  /health                   200 as long as the process answers
GET  /ready                    200 when the online store answers, else 503
GET  /metrics                  Prometheus text
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from time import perf_counter
from typing import Any

import msgspec

from millrace.core.asgi import Disconnected, Receive, Reply, Scope, Send, read_body, send_reply
from millrace.core.clock import Clock, SystemClock, to_text
from millrace.core.errors import Conflict, DataError, MillraceError, ServiceError, StoreError, did_you_mean
from millrace.core.prometheus import CONTENT_TYPE
from millrace.features.http.access import Access
from millrace.features.http.lookup import FeatureLookup, Limits
from millrace.features.http.metrics import FeatureMetrics
from millrace.features.http.request import (
    BodyReader,
    FeatureRequest,
    IncrementRequest,
    MaterializeRequest,
    PushRequest,
    too_large,
)
from millrace.features.http.writes import FeatureWrites
from millrace.features.on_demand import OnDemandView
from millrace.features.request import feature_names
from millrace.features.store import FeatureStore
from millrace.features.view import FeatureView

logger = logging.getLogger("millrace.features")

_FEATURES = "/get-online-features"
_CHANGES = ("/push", "/materialize", "/materialize-incremental")
_GET = ("GET", "HEAD")
_METHODS: Mapping[str, tuple[str, ...]] = {
    _FEATURES: ("POST",),
    **dict.fromkeys(_CHANGES, ("POST",)),
    **dict.fromkeys(("/features", "/health", "/ready", "/metrics"), _GET),
}
_STATUS = {"FEAT-01": 404, "FEAT-02": 404, "FEAT-11": 404, "FEAT-58": 404, "FEAT-52": 413}
_STATUS |= {"FEAT-56": 403, "FEAT-57": 401, "FEAT-59": 500, "FEAT-32": 500, "FEAT-33": 500}
_Answer = Callable[[Scope, Receive], Awaitable[Reply]]
_encode = msgspec.json.Encoder(enc_hook=str).encode


class FeatureApp:
    """Answers from `store`.

    Parameters
    ----------
    store : FeatureStore
    services : mapping of name to references
        What `feature_service` may name.
    probe : callable
        Raises when the online store does not answer.
    access : Access
        Who may change the store.
    is_local : bool
        Whether the online store is on this machine: its reads are then not worth a thread.
    limits : Limits
    clock : Clock
    """

    def __init__(
        self,
        store: FeatureStore,
        *,
        services: Mapping[str, Sequence[str]],
        probe: Callable[[], object],
        access: Access,
        is_local: bool = True,
        limits: Limits | None = None,
        clock: Clock | None = None,
    ) -> None:
        self.metrics = FeatureMetrics()
        self._limits = limits or Limits()
        self._store = store
        self._lookup = FeatureLookup(store, services, probe=probe, is_local=is_local, limits=self._limits)
        self._writes = FeatureWrites(store, clock=clock or SystemClock(), rows=self._limits.rows)
        self._access = access
        self._bodies = BodyReader()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            raise RuntimeError(f"only HTTP is served here, not {scope['type']}")
        path, method = scope["path"], scope["method"]
        try:
            if path == _FEATURES and method == "POST":
                begun = perf_counter()
                reply = await self._answered(self._get_features, scope, receive)
                self.metrics.observe(perf_counter() - begun)
            elif path in _CHANGES and method == "POST":
                reply = await self._answered(self._change, scope, receive)
            else:
                reply = await self._answered(self._inform, scope, receive)
        except Disconnected:
            return
        if path in _METHODS:
            self.metrics.requests[path, reply.status] += 1
        await send_reply(send, reply, has_body=method != "HEAD")

    def stop(self) -> None:
        """The server was told to end: what takes long ends early."""
        self._writes.stop()

    @contextmanager
    def working(self) -> Iterator[None]:
        """While the server runs; leaving it ends the threads."""
        try:
            yield
        finally:
            self._lookup.close()
            self._writes.close()

    async def _answered(self, answer: _Answer, scope: Scope, receive: Receive) -> Reply:
        try:
            reply = await answer(scope, receive)
        except MillraceError as error:
            reply = self._refuse(error)
        except Disconnected:
            raise
        except Exception as error:
            logger.exception("request failed")
            problem = ServiceError(
                "FEAT-59",
                f"the request could not be answered: {type(error).__name__}: {error}",
                fix="see the server's log for where it happened",
            )
            reply = self._refuse(problem)
        return reply

    async def _get_features(self, scope: Scope, receive: Receive) -> Reply:
        body = await read_body(scope, receive, self._limits.body_bytes, too_large)
        request = self._bodies.read(body, FeatureRequest)
        outcome = await self._lookup.look_up(request)
        if outcome.views is not None:
            self.metrics.count_views(outcome.views)
            return Reply(200, outcome.form.encode_one(request.entities, outcome.views))
        if outcome.found is None:
            self.metrics.count_unavailable(len(outcome.form.names), outcome.rows)
        else:
            self.metrics.count_found(outcome.found, outcome.rows)
        if outcome.error is not None:
            self.metrics.errors[outcome.error.code] += 1
        return Reply(200, outcome.form.encode(request.entities, outcome.rows, outcome.found, outcome.error))

    async def _change(self, scope: Scope, receive: Receive) -> Reply:
        self._access.check(scope)
        body = await read_body(scope, receive, self._limits.body_bytes, too_large)
        path = scope["path"]
        if path == "/push":
            rows = await self._writes.push(self._bodies.read(body, PushRequest))
            self.metrics.pushed_rows += rows
            return Reply(200, _encode({"rows": rows}))
        if path == "/materialize":
            counts = await self._writes.materialize(self._bodies.read(body, MaterializeRequest))
        else:
            counts = await self._writes.increment(self._bodies.read(body, IncrementRequest))
        return Reply(200, _encode({"rows": counts}))

    async def _inform(self, scope: Scope, receive: Receive) -> Reply:
        path, method = scope["path"], scope["method"]
        methods = _METHODS.get(path)
        if methods is None:
            problem = DataError("FEAT-53", f"there is nothing at {path[:200]}", fix=did_you_mean(path, _METHODS))
            return self._refuse(problem, 404)
        if method not in methods:
            problem = DataError("FEAT-53", f"{path} does not take {method}", fix=f"send {methods[0]}")
            return self._refuse(problem, 405, ((b"allow", ", ".join(methods).encode()),))
        if path == "/health":
            return Reply(200, _encode({"status": "alive", "views": len(self._store.views)}))
        if path == "/ready":
            error = await self._lookup.check()
            why = [] if error is None else [error.to_dict()]
            return Reply(503 if why else 200, _encode({"ready": not why, "why": why}))
        freshness = await asyncio.to_thread(self._freshness)
        if path == "/metrics":
            text = self.metrics.render(is_available=self._lookup.error is None, freshness=freshness)
            return Reply(200, text.encode(), CONTENT_TYPE)
        return Reply(200, _encode(self._describe(freshness)))

    def _freshness(self) -> dict[str, datetime]:
        try:
            found = {
                name: self._store.materialized_until(name)
                for name, view in self._store.views.items()
                if isinstance(view, FeatureView)
            }
        except (StoreError, ServiceError):
            return {}  # the record cannot be read just now: nothing is known, and the rest is told all the same
        return {name: until for name, until in found.items() if until is not None}

    def _describe(self, freshness: Mapping[str, datetime]) -> dict[str, Any]:
        return {
            "views": [_facts(view, freshness.get(name)) for name, view in self._store.definitions.items()],
            "services": [
                {"name": name, "features": list(features)} for name, features in self._lookup.services.items()
            ],
        }

    def _refuse(
        self, error: MillraceError, status: int | None = None, headers: tuple[tuple[bytes, bytes], ...] = ()
    ) -> Reply:
        self.metrics.errors[error.code] += 1
        status = status or _status_of(error)
        if status == 413:
            headers = ((b"connection", b"close"),)  # the rest of the body is not read
        elif status == 401:
            headers = ((b"www-authenticate", b"Bearer"),)
        return Reply(status, _encode({"error": error.to_dict()}), headers=headers)


def _facts(view: FeatureView | OnDemandView, until: datetime | None) -> dict[str, Any]:
    told = {"name": view.name, "description": view.description, "owner": view.owner, "tags": list(view.tags)}
    features: list[dict[str, Any]] = [{"reference": f"{view.name}:{name}"} for name in feature_names(view)]
    if isinstance(view, OnDemandView):
        return {**told, "inputs": list(view.inputs), "features": features}
    for feature, rule in zip(features, view.rules.values(), strict=True):
        feature["rule"] = rule.to_dict()
    return {
        **told,
        "keys": list(view.keys),
        "source": view.source.name,
        "ttl_s": None if view.ttl_span is None else view.ttl_span.total_seconds(),
        "materialized_until": None if until is None else to_text(until),
        "features": features,
    }


def _status_of(error: MillraceError) -> int:
    if error.code in _STATUS:
        return _STATUS[error.code]
    if isinstance(error, Conflict):
        return 409
    return 503 if isinstance(error, (StoreError, ServiceError)) else 400
