"""A live prediction endpoint seen from the outside: over HTTP, as its users see it."""

from __future__ import annotations

import http.client
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from millrace.core.errors import MillraceError, ServiceError

if TYPE_CHECKING:
    from millrace.flow.project import Project

GOLDEN_PREFIX = "golden-"
"""Request identifiers of smoke tests begin with it, so that monitoring can leave them out."""

_POLL_S = 0.02
_START_S = 60.0


class Endpoint:
    """One server's address, with a kept connection. Not for use by several threads at once."""

    def __init__(self, url: str, *, timeout_s: float = 10.0) -> None:
        self.url = url
        parts = urlsplit(url)
        kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
        self._connection = kind(parts.hostname or "", parts.port, timeout=timeout_s)
        self._prefix = parts.path.rstrip("/")

    def predict(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """The answer to one ``/predict`` request. Raises the server's own error, or SERVE-32, or SERVE-33."""
        return self._ask("POST", "/predict", request)

    def health(self) -> dict[str, Any]:
        """What the server says of itself."""
        return self._ask("GET", "/health", None)

    def find_health(self) -> dict[str, Any] | None:
        """What the server says of itself, or None when nobody answers."""
        try:
            return self.health()
        except MillraceError:
            return None

    def await_digest(self, digest: str, timeout_s: float, *, version: int | None = None) -> bool:
        """Whether the server runs the bundle within the time; with `version`, as that version of the model.

        Two versions may have one bundle: the same data trained again is the same bytes.
        """
        end = time.monotonic() + timeout_s
        while True:
            health = self.find_health() or {}
            if health.get("digest") == digest and version in (None, health.get("version")):
                return True
            if time.monotonic() >= end:
                return False
            time.sleep(_POLL_S)

    def replay(self, request: dict[str, Any]) -> dict[str, Any]:
        """One golden request; the answer in the smoke test's form."""
        answer = self.predict({**request, "request_id": f"{GOLDEN_PREFIX}{os.urandom(6).hex()}"})
        return {**answer["predictions"][0], "version": answer["version"], "digest": answer["digest"]}

    def close(self) -> None:
        self._connection.close()

    def _ask(self, method: str, path: str, body: Mapping[str, Any] | None) -> dict[str, Any]:
        self.send(method, path, body)
        return self.receive(path)

    def send(self, method: str, path: str, body: Mapping[str, Any] | None) -> None:
        """Send one request; `receive` takes its answer. Several endpoints can so be asked at the same time."""
        data = None if body is None else json.dumps(body).encode()
        headers = {"content-type": "application/json"} if data else {}
        try:
            self._connection.request(method, self._prefix + path, data, headers)
        except (OSError, http.client.HTTPException) as error:
            raise self._silent(path, error) from error

    def receive(self, path: str) -> dict[str, Any]:
        """The answer to the request that was sent. Raises the server's own error, or ServiceError."""
        try:
            response = self._connection.getresponse()
            text = response.read()
        except (OSError, http.client.HTTPException) as error:
            raise self._silent(path, error) from error
        try:
            answer: dict[str, Any] = json.loads(text)
        except ValueError as error:
            raise ServiceError("SERVE-33", "the server's answer is not JSON", where=f"{self.url}{path}") from error
        if response.status != 200:
            facts = answer.get("error", answer)
            raise ServiceError(
                facts.get("code", "SERVE-33"),
                facts.get("what", f"the server answered {response.status}"),
                where=f"{self.url}{path}",
                why=facts.get("why"),
                fix=facts.get("fix"),
                findings=[MillraceError.from_dict(finding) for finding in facts.get("findings", ())],
            )
        return answer

    def _silent(self, path: str, error: Exception) -> ServiceError:
        self._connection.close()  # the next request connects anew
        return ServiceError(
            "SERVE-32",
            f"the server does not answer: {type(error).__name__} {error}",
            where=f"{self.url}{path}",
            fix="start it: millrace serve",
        )


@contextmanager
def live_endpoint(project: Project, environment: str, model: str) -> Iterator[Endpoint]:
    """The environment's server if it answers, else a temporary one of this project, ended with the block."""
    url = project.settings.environments[environment].server_of(model)
    if url:
        endpoint = Endpoint(url)
        health = endpoint.find_health()
        if health is not None and health.get("model") in (None, model):
            try:
                yield endpoint
            finally:
                endpoint.close()
            return
    with temporary_server(project, environment, model) as endpoint:
        yield endpoint


@contextmanager
def temporary_server(project: Project, environment: str, model: str) -> Iterator[Endpoint]:
    """A server process of one environment on a free loopback port.

    Raises
    ------
    ServiceError
        SERVE-34 when it does not come up.
    """
    with tempfile.TemporaryDirectory(prefix="millrace-") as folder:
        process, url = start_server(project.root, environment, model, Path(folder))
        endpoint = Endpoint(url)
        try:
            yield endpoint
        finally:
            endpoint.close()
            stop_server(process)


def stop_server(process: subprocess.Popen[bytes]) -> None:
    """End a server process: asked first, killed when it does not follow."""
    process.terminate()
    try:
        process.wait(timeout=30)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def start_server(
    root: Path, environment: str, model: str, folder: Path, *, port: int = 0
) -> tuple[subprocess.Popen[bytes], str]:
    """Start ``millrace serve`` in a process of its own; returns it with its URL once it takes requests."""
    ready, log = folder / f"{environment}.ready.json", folder / f"{environment}.log"
    ready.unlink(missing_ok=True)
    words = [sys.executable, "-m", "millrace", "serve", model, "--project", str(root), "--env", environment]
    # It ends with this process, however this process ends.
    words += ["--port", str(port), "--ready-file", str(ready), "--follow", str(os.getpid())]
    with open(log, "wb") as output:
        process = subprocess.Popen(words, stdout=output, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL)
    end = time.monotonic() + _START_S
    while not ready.exists():
        if process.poll() is not None or time.monotonic() > end:
            process.kill()
            process.wait()
            raise ServiceError(
                "SERVE-34",
                f"a server for '{environment}' did not start",
                why=log.read_text(errors="replace")[-2000:] or None,
                fix=f"try it by hand: millrace serve {model} --env {environment}",
            )
        time.sleep(_POLL_S)
    return process, json.loads(ready.read_text())["url"]
