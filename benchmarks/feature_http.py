"""Features of one random key over HTTP: against a handler that does nothing, and against `feast serve` where it is."""

from __future__ import annotations

import json
import os
import random
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from benchmarks.measure import Row

KEYS = 5_000
REQUESTS = 3_000
FEAST_REQUESTS = 500
RATE = 1_000
ROUNDS = 5
PACED_ROUNDS = 3
NOW = datetime.now(UTC).replace(microsecond=0)
NAMES = ("a", "b", "c", "d", "e")
FEAST = Path(__file__).resolve().parents[1] / ".venv-feast" / "bin"

FEAST_SETTINGS = """
project: bench
provider: local
registry: registry.db
online_store: {type: sqlite, path: online.db}
offline_store: {type: file}
entity_key_serialization_version: 3
"""
FEAST_DEFINITIONS = """
from datetime import timedelta
from feast import Entity, FeatureView, Field, FileSource
from feast.types import Float64, Int64
from feast.value_type import ValueType

customer = Entity(name="customer", join_keys=["id"], value_type=ValueType.INT64)
view = FeatureView(
    name="view",
    entities=[customer],
    ttl=timedelta(days=365),
    source=FileSource(path="events.parquet", timestamp_field="ts"),
    schema=[Field(name="id", dtype=Int64), *(Field(name=name, dtype=Float64) for name in "abcde")],
)
"""


def run() -> list[Row]:
    """Closed loop and paced, two features and five, each against its limit and its peer in turns."""
    with tempfile.TemporaryDirectory(prefix="millrace-bench-") as name, ExitStack() as stack:
        folder = Path(name)
        servers = {"ours": stack.enter_context(_server(folder)), "empty": stack.enter_context(_empty_server())}
        if (FEAST / "feast").exists():
            servers["feast"] = stack.enter_context(_feast(folder / "feast"))
        bodies = {count: _bodies(folder, count) for count in (2, 5)}
        rows = _closed(servers, bodies[2], "2 features", connections=1)
        rows += _closed(servers, bodies[2], "2 features", connections=16)
        rows += _closed(servers, bodies[5], "5 features", connections=16)
        for count in (2, 5):
            rows += _paced(servers, bodies[count], f"{count} features")
        return rows


def _closed(servers: Mapping[str, str], bodies: Path, what: str, *, connections: int) -> list[Row]:
    found: dict[str, list[float]] = {name: [] for name in servers}
    for number in range(ROUNDS + 1):
        for name, url in servers.items():
            requests = FEAST_REQUESTS if name == "feast" else REQUESTS
            seconds = _ask(url, bodies, requests, connections, 0)["seconds"]
            if number:
                found[name].append(seconds * 1000 / requests)
    times = {name: statistics.median(each) for name, each in found.items()}
    title = f"{what}, {connections} connection{'s' if connections > 1 else ''}, time per request"
    rows = [Row(title, times["ours"], "empty ASGI handler, same uvicorn", times["empty"])]
    if "feast" in times:
        limit = times["feast"] / 8 if connections == 16 else None
        rows.append(Row(title, times["ours"], "feast serve -w 1, SQLite", times["feast"], limit))
    return rows


def _paced(servers: Mapping[str, str], bodies: Path, what: str) -> list[Row]:
    found: dict[str, list[dict[str, float]]] = {"ours": [], "empty": []}
    for _ in range(PACED_ROUNDS):
        for name, runs in found.items():
            runs.append(_ask(servers[name], bodies, REQUESTS, 64, RATE))
    rows = []
    for part, limit in (("p50", None), ("p95", 10.0), ("p99", 25.0)):
        ours, empty = (statistics.median(run[part] for run in found[name]) for name in ("ours", "empty"))
        rows.append(Row(f"{what}, {RATE:,}/s paced, {part}", ours, "empty ASGI handler, same pace", empty, limit))
    return rows


def _ask(url: str, bodies: Path, requests: int, connections: int, rate: float) -> dict[str, float]:
    words = [sys.executable, "-m", "benchmarks.feature_client", url, bodies, requests, connections, rate]
    done = subprocess.run([str(word) for word in words], check=True, stdout=subprocess.PIPE, text=True)
    found: dict[str, float] = json.loads(done.stdout)
    return found


def _bodies(folder: Path, features: int) -> Path:
    chance = random.Random(features)
    path = folder / f"bodies{features}"
    wanted = [f"view:{name}" for name in NAMES[:features]]
    lines = [
        json.dumps({"features": wanted, "entities": {"id": [chance.randrange(KEYS)]}}, separators=(",", ":"))
        for _ in range(1000)
    ]
    path.write_text("\n".join(lines))
    return path


@contextmanager
def _server(folder: Path) -> Iterator[str]:
    import millrace as mr
    from millrace.features.http.access import Access
    from millrace.features.http.app import FeatureApp
    from millrace.features.online.lmdb_store import open_lmdb
    from millrace.features.store import FeatureStore
    from millrace.serving.asgi_server import AsgiServer

    view = mr.FeatureView(
        "view",
        entity=mr.Entity("customer", key="id"),
        source=mr.Source("events", "events.parquet", event_time="ts"),
        features={name: mr.last(name) for name in NAMES},
        ttl="365d",
    )
    online = open_lmdb(f"lmdb:///{folder / 'online'}")
    table = _events()
    store = FeatureStore([view], read=lambda source, start, end: table, online=online)
    store.materialize(None, NOW)
    app = FeatureApp(
        store,
        services={},
        probe=lambda: online.read("ready", [b"ready"]),
        access=Access("", ""),
    )
    server = AsgiServer()
    yield server.start(app, app.working())
    server.stop()
    online.close()


@contextmanager
def _empty_server() -> Iterator[str]:
    from millrace.serving.asgi_server import AsgiServer

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        headers = [(b"content-type", b"application/json"), (b"content-length", b"2")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": b"{}"})

    server = AsgiServer()
    yield server.start(app)
    server.stop()


@contextmanager
def _feast(folder: Path) -> Iterator[str]:
    """Feast's own server over the same values, with one worker that is never restarted."""
    import pyarrow.parquet as pq

    folder.mkdir()
    (folder / "feature_store.yaml").write_text(FEAST_SETTINGS)
    (folder / "definitions.py").write_text(FEAST_DEFINITIONS)
    pq.write_table(_events(), folder / "events.parquet")
    quiet = {"cwd": folder, "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    subprocess.run([FEAST / "feast", "apply"], check=True, **quiet)
    begin, end = ((NOW + timedelta(days=days)).strftime("%Y-%m-%dT%H:%M:%S") for days in (-30, 1))
    subprocess.run([FEAST / "feast", "materialize", begin, end], check=True, **quiet)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    words = ["serve", "-h", "127.0.0.1", "-p", str(port), "-w", "1", "--max-requests", "1000000000"]
    process = subprocess.Popen([FEAST / "feast", *words], **quiet, env={**os.environ, "FEAST_USAGE": "False"})
    url = f"http://127.0.0.1:{port}"
    try:
        while process.poll() is None and not _is_up(url):
            time.sleep(0.2)
        yield url
    finally:
        process.terminate()
        process.wait()


def _is_up(url: str) -> bool:
    try:
        with urllib.request.urlopen(f"{url}/health", timeout=5) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False


def _events() -> Any:
    import numpy as np
    import pyarrow as pa

    rng = np.random.default_rng(0)
    columns: dict[str, Any] = {name: rng.normal(size=KEYS) for name in NAMES}
    columns["id"] = np.arange(KEYS)
    columns["ts"] = pa.array([NOW - timedelta(days=1)] * KEYS, pa.timestamp("us", tz="UTC"))
    return pa.table(columns)
