"""One row answered: by ONNX Runtime against scikit-learn, and over HTTP against a handler that does nothing."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from benchmarks.measure import Row, in_turns

COLUMNS = 7
PREDICTIONS = 200
REQUESTS = 300
ROUNDS = 9


def run() -> list[Row]:
    """The predictor alone, then the whole path of a request."""
    with tempfile.TemporaryDirectory(prefix="millrace-bench-") as folder:
        bundles = {name: _bundle(model, Path(folder)) for name, model in _models().items()}
        rows = []
        for name, (fitted, predictor, _, _) in bundles.items():
            rows += _one_row(name, fitted, predictor)
        rows += _over_http(Path(folder), *bundles["logistic"][2:])
        return rows


def _models() -> dict[str, Any]:
    from sklearn.ensemble import RandomForestClassifier
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    return {
        "logistic": make_pipeline(StandardScaler(), LogisticRegression()),
        "forest of 100": RandomForestClassifier(n_estimators=100, max_depth=10, random_state=0, n_jobs=1),
    }


def _bundle(model: Any, folder: Path) -> tuple[Any, Any, Any, str]:
    """Fit, package as production does, and load what a server would load: fitted, predictor, blobs, digest."""
    import numpy as np
    import pandas as pd

    from millrace.core.bundle import Column
    from millrace.serving.predictor import load_predictor
    from millrace.store.blobs import FileBlobs
    from millrace.training.package import installed_exporters, package, store_manifest

    rng = np.random.default_rng(0)
    names = [f"x{number}" for number in range(COLUMNS)]
    X = pd.DataFrame(rng.normal(size=(2000, COLUMNS)), columns=names)
    y = (X.sum(axis=1) + rng.normal(size=2000) > 0).astype(int)
    blobs = FileBlobs(folder / "blobs")
    fitted = model.fit(X, y)
    manifest = package(
        fitted,
        X.head(200),
        model="bench",
        task="binary",
        columns=[Column(name, "float") for name in names],
        classes=[0, 1],
        lineage={},
        blobs=blobs,
        exporters=installed_exporters(),
        load=load_predictor,
    )
    assert manifest.format == "onnx", manifest.format
    return fitted, load_predictor(manifest, blobs), blobs, store_manifest(manifest, blobs)


def _one_row(name: str, fitted: Any, predictor: Any) -> list[Row]:
    import numpy as np
    import pandas as pd

    values = [0.1 * number for number in range(COLUMNS)]
    frame = pd.DataFrame([values], columns=[f"x{number}" for number in range(COLUMNS)])
    assert np.allclose(predictor.predict([values]).scores, fitted.predict_proba(frame), atol=1e-5)
    repeats = PREDICTIONS if name == "logistic" else 20

    def millrace() -> None:
        for _ in range(repeats):
            predictor.predict([values])

    def sklearn() -> None:
        for _ in range(repeats):
            fitted.predict_proba(frame)

    times = in_turns({"millrace": millrace, "sklearn": sklearn}, rounds=ROUNDS, per=repeats)
    return [Row(f"one row, {name}, bundle", times["millrace"], "scikit-learn predict_proba", times["sklearn"])]


def _over_http(folder: Path, blobs: Any, digest: str) -> list[Row]:
    """The same requests to the real server, and to an empty handler on the same uvicorn."""
    body = json.dumps({"inputs": {f"x{number}": 0.1 * number for number in range(COLUMNS)}})
    rows = []
    with _server(folder / "log", blobs, digest) as ours, _empty_server() as empty:
        for connections, name in ((1, "one connection"), (8, "8 connections")):
            subjects = {"ours": _client(ours, body, connections), "empty": _client(empty, body, connections)}
            times = _told_by_clients(subjects)
            rows.append(
                Row(f"POST /predict, logged, {name}", times["ours"], "empty ASGI handler, same uvicorn", times["empty"])
            )
    return rows


def _told_by_clients(subjects: dict[str, Callable[[], float]]) -> dict[str, float]:
    """As `in_turns`, with the time the client itself took: its start is not a part of a request."""
    import statistics

    found: dict[str, list[float]] = {name: [] for name in subjects}
    for number in range(ROUNDS + 1):
        for name, subject in subjects.items():
            seconds = subject()
            if number:
                found[name].append(seconds * 1000 / REQUESTS)
    return {name: statistics.median(times) for name, times in found.items()}


def _client(url: str, body: str, connections: int) -> Callable[[], float]:
    words = [sys.executable, "-m", "benchmarks.http_client", url, body, str(REQUESTS), str(connections)]

    def ask() -> float:
        return float(subprocess.run(words, check=True, stdout=subprocess.PIPE, text=True).stdout)

    return ask


@contextmanager
def _server(log: Path, blobs: Any, digest: str) -> Iterator[str]:
    from millrace.core.records import Release
    from millrace.serving.server import Server, Settings

    at = "2024-05-01T00:00:00.000000Z"
    release = Release("production", "bench", 1, 1, digest, "direct", at, "benchmark")
    server = Server(lambda: release, blobs, settings=Settings(port=0, log_folder=log))
    yield server.start()
    server.stop()


@contextmanager
def _empty_server() -> Iterator[str]:
    import socket

    import uvicorn

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        headers = [(b"content-type", b"application/json"), (b"content-length", b"2")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": b"{}"})

    # With its protocol named, as ours is: asyncio switches Nagle's algorithm off for no other.
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.bind(("127.0.0.1", 0))
    listener.listen()
    server = uvicorn.Server(
        uvicorn.Config(app, interface="asgi3", lifespan="off", ws="none", log_config=None, access_log=False)
    )
    thread = threading.Thread(target=lambda: server.run(sockets=[listener]), daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    server.should_exit = True
    thread.join()
    listener.close()
