"""The HTTP answers of a server: a bare ASGI application.

POST /predict   answers rows, by inputs, by entity key, or both; 422 to rows that the rules on data refuse
GET  /health    what is served; 200 as long as the process answers
GET  /ready     200 when a warm model answers and its predictions are logged, else 503
GET  /metrics   Prometheus text
"""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Sequence
from dataclasses import dataclass
from time import perf_counter
from typing import Any

import msgspec

from millrace.core import asgi
from millrace.core.asgi import Disconnected, Receive, Scope, Send, read_body, send_reply
from millrace.core.clock import Clock, SystemClock, to_text
from millrace.core.errors import (
    Conflict,
    MillraceError,
    MissingExtra,
    ModelError,
    ServiceError,
    StoreError,
    did_you_mean,
)
from millrace.core.prometheus import CONTENT_TYPE
from millrace.core.records import Prediction
from millrace.serving.inputs import Request, Rows, read_request
from millrace.serving.metrics import Metrics
from millrace.serving.prediction_log import PredictionLog
from millrace.serving.predictor import Answer
from millrace.serving.row_check import judge_rows
from millrace.serving.slot import Served, Slot

logger = logging.getLogger("millrace.serving")

_METHODS = {"/predict": ("POST",), "/health": ("GET", "HEAD"), "/ready": ("GET", "HEAD"), "/metrics": ("GET", "HEAD")}
_STATUS = {"SERVE-02": 503, "SERVE-06": 500, "SERVE-07": 500, "SERVE-08": 500, "SERVE-22": 413, "SERVE-23": 404}
_STATUS |= {"SERVE-24": 405, "SERVE-36": 422}


@dataclass(frozen=True, slots=True)
class Reply(asgi.Reply):
    """One HTTP answer. `version` is the model's that gave it, "none" otherwise."""

    version: str = "none"


class App:
    """Answers what `slot` holds.

    Parameters
    ----------
    slot : Slot
    log : PredictionLog, optional
        Without one nothing is recorded.
    clock : Clock
        Gives `at`, and `event_time` to requests that bring none.
    body_bytes : int
        Requests with a larger body are refused with 413.
    """

    def __init__(
        self,
        slot: Slot,
        *,
        log: PredictionLog | None = None,
        clock: Clock | None = None,
        body_bytes: int = 1 << 20,
    ) -> None:
        self.slot = slot
        self.metrics = Metrics()
        self._log = log
        self._clock = clock or SystemClock()
        self._body_bytes = body_bytes
        self._decoder = msgspec.json.Decoder(Request)
        self._encode = msgspec.json.Encoder().encode

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            raise RuntimeError(f"only HTTP is served here, not {scope['type']}")
        path, method = scope["path"], scope["method"]
        if path == "/predict" and method == "POST":
            begun = perf_counter()
            try:
                reply = await self._predict(scope, receive)
            except Disconnected:
                return
            self.metrics.count_request(reply.status, reply.version, perf_counter() - begun)
        else:
            reply = self._inform(path, method)
        await send_reply(send, reply, has_body=method != "HEAD")

    async def _predict(self, scope: Scope, receive: Receive) -> Reply:
        version = "none"
        try:
            body = await read_body(scope, receive, self._body_bytes, _too_large)
            request = read_request(body, self._decoder)
            served = self.slot.current  # taken once: a swap meanwhile does not touch this request
            if served is None:
                raise self._not_loaded()
            version = str(served.release.version)
            return await self._answer(served, request, version)
        except MillraceError as error:
            return self._refuse(error, version)
        except Disconnected:
            raise
        except Exception as error:
            logger.exception("request failed")
            problem = ModelError(
                "SERVE-06",
                f"the request could not be answered: {type(error).__name__}: {error}",
                fix="see the server's log for where it happened",
            )
            return self._refuse(problem, version)

    async def _answer(self, served: Served, request: Request, version: str) -> Reply:
        now = self._clock.now()
        rows = served.reader.read(request, now)
        flags = judge_rows(served.reader, rows, self.metrics)
        answer = served.predictor.predict(rows.values)
        request_id = request.request_id or os.urandom(8).hex()
        if self._log is not None:
            written = self._log.append(_records(served, rows, flags, answer, request_id, to_text(now)))
            if written is not None:
                await asyncio.wrap_future(written)
        self.metrics.predictions[version] += len(answer.outputs)
        body = {
            "model": served.release.model,
            "version": served.release.version,
            "digest": served.release.digest,
            "request_id": request_id,
            "predictions": _predictions(rows, flags, answer),
        }
        return Reply(200, self._encode(body), version=version)

    def _inform(self, path: str, method: str) -> Reply:
        methods = _METHODS.get(path)
        if methods is None:
            return self._refuse(
                ModelError("SERVE-23", f"there is nothing at {path}", fix=did_you_mean(path, _METHODS)), "none"
            )
        if method not in methods:
            problem = ModelError("SERVE-24", f"{path} does not take {method}", fix=f"send {methods[0]}")
            return self._refuse(problem, "none", ((b"allow", ", ".join(methods).encode()),))
        if path == "/metrics":
            return Reply(200, self.metrics.render(self.slot, self._log).encode(), CONTENT_TYPE)
        if path == "/health":
            return Reply(200, self._encode(self._health()))
        why = self._unready()
        return Reply(503 if why else 200, self._encode({"ready": not why, "why": why}))

    def _health(self) -> dict[str, Any]:
        served = self.slot.current
        release = None if served is None else served.release
        log = self._log
        return {
            "status": "alive",
            "model": release and release.model,
            "version": release and release.version,
            "digest": release and release.digest,
            "release": release and release.number,
            "environment": release and release.environment,
            "swaps": self.slot.swaps,
            "failure": self.slot.failure,
            "log": log
            and {
                "written": log.written,
                "pending": log.pending,
                "failures": log.failures,
                "dropped": log.dropped,
                "error": log.error and log.error.to_dict(),
            },
        }

    def _unready(self) -> list[dict[str, Any]]:
        why = []
        if self.slot.current is None:
            why.append(self._not_loaded().to_dict())
        if self._log is not None and self._log.error is not None:
            why.append(self._log.error.to_dict())
        return why

    def _not_loaded(self) -> ServiceError:
        failure = self.slot.failure
        return ServiceError(
            "SERVE-02",
            "no model is loaded yet",
            why=str(failure["what"]) if failure else "no release stands in this environment",
            fix="deploy a model, then ask again",
        )

    def _refuse(self, error: MillraceError, version: str, headers: tuple[tuple[bytes, bytes], ...] = ()) -> Reply:
        self.metrics.errors[error.code] += 1
        status = _status_of(error)
        if status == 413:
            headers = ((b"connection", b"close"),)  # the rest of the body is not read
        return Reply(status, self._encode({"error": error.to_dict()}), headers=headers, version=version)


def _status_of(error: MillraceError) -> int:
    if error.code in _STATUS:
        return _STATUS[error.code]
    if isinstance(error, MissingExtra):
        return 500
    # What the feature store refuses: a wrong key is the client's, a store that does not answer is ours.
    return 503 if isinstance(error, (StoreError, ServiceError, Conflict)) else 400


def _predictions(rows: Rows, flags: Sequence[Sequence[str]], answer: Answer) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = [
        {"output": output, "scores": scores} for output, scores in zip(answer.outputs, answer.scores, strict=True)
    ]
    # What is told of a row is told only where there is something to tell.
    for prediction, broken, coerced in zip(found, flags, rows.coerced, strict=True):
        if broken:
            prediction["flags"] = broken
        if coerced:
            prediction["coerced"] = coerced
    return found


def _records(
    served: Served, rows: Rows, flags: Sequence[Sequence[str]], answer: Answer, request_id: str, at: str
) -> list[Prediction]:
    release = served.release
    return [
        Prediction(
            request_id=f"{request_id}/{place}" if rows.is_batch else request_id,
            model=release.model,
            version=release.version,
            at=at,
            event_time=to_text(moment),
            key=key,
            features=values,
            output=output,
            scores=scores,
            supplied=supplied,
            flags=broken,
            coerced=coerced,
        )
        for place, (values, key, moment, supplied, coerced, broken, output, scores) in enumerate(
            zip(
                rows.values,
                rows.keys,
                rows.times,
                rows.supplied,
                rows.coerced,
                flags,
                answer.outputs,
                answer.scores,
                strict=True,
            )
        )
    ]


def _too_large(limit: int) -> ModelError:
    return ModelError(
        "SERVE-22",
        f"the body is larger than the {limit:,} bytes this server takes",
        fix="send fewer rows in one request",
    )
