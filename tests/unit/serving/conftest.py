"""A real ONNX model, bundles of it, and a way to ask the application without a socket."""

import asyncio
import json
from collections.abc import Callable
from time import monotonic

import numpy as np
import pytest

from millrace.adapters import sklearn as adapter
from millrace.core.bundle import Column, Manifest
from millrace.core.ids import canonical_json
from millrace.core.records import Release
from millrace.store.blobs import FileBlobs

COLUMNS = (
    Column("amount", "float"),
    Column("orders", "int", feature="customer:orders"),
    Column("is_new", "bool"),
)


@pytest.fixture(scope="session")
def onnx_bytes():
    """A logistic regression on three columns, in float32."""
    from sklearn.linear_model import LogisticRegression

    rng = np.random.default_rng(1)
    X = rng.normal(size=(200, 3))
    return adapter.export(LogisticRegression().fit(X, X[:, 0] > 0), "onnx", COLUMNS)


@pytest.fixture
def blobs(tmp_path):
    return FileBlobs(tmp_path / "blobs")


@pytest.fixture
def make_release(blobs, onnx_bytes) -> Callable[..., Release]:
    """Store a bundle whose classes carry its version, and release it."""

    def make(version: int, number: int | None = None, **changes) -> Release:
        facts = {
            "model": "churn",
            "task": "binary",
            "columns": COLUMNS,
            "classes": [f"no-{version}", f"yes-{version}"],
            "format": "onnx",
            "files": {"model": blobs.put(onnx_bytes)},
        }
        manifest = Manifest(**(facts | changes))
        digest = blobs.put(canonical_json(manifest.to_dict()).encode())
        return Release(
            "production", "churn", number or version, version, digest, "direct", "2024-05-01T00:00:00.000000Z", "test"
        )

    return make


class Reply:
    def __init__(self, status, headers, body):
        self.status = status
        self.headers = {name.decode(): value.decode() for name, value in headers}
        self.body = body

    def json(self):
        return json.loads(self.body)


@pytest.fixture
def ask():
    """``ask(app, "POST", "/predict", {...})``: the application's answer; bytes are sent as they are."""

    def call(app, method, path, body=b"", *, chunks=None, headers=()):
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        parts = list(chunks) if chunks is not None else [data]
        sent = []

        async def receive():
            part = parts.pop(0)
            if part is None:
                return {"type": "http.disconnect"}
            return {"type": "http.request", "body": part, "more_body": bool(parts)}

        async def send(message):
            sent.append(message)

        scope = {"type": "http", "method": method, "path": path, "headers": list(headers)}
        asyncio.run(app(scope, receive, send))
        if not sent:
            return None
        return Reply(sent[0]["status"], sent[0]["headers"], b"".join(m.get("body", b"") for m in sent[1:]))

    return call


@pytest.fixture
def until():
    """Wait for another thread: returns as soon as the condition holds, fails after ten seconds."""

    def wait(condition):
        deadline = monotonic() + 10
        while not condition():
            assert monotonic() < deadline, "the condition did not come true"

    return wait
