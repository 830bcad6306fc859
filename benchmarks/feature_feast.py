"""Feast on its own stores, Feast on Millrace's, and Millrace itself: the same rows and calls, in turns in one process.

It runs in Feast's environment, where `make feast` made it.
"""

from __future__ import annotations

import contextlib
import gc
import io
import json
import random
import statistics
import subprocess
import sys
import tempfile
import time
import warnings
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from benchmarks.measure import Row, in_turns

ROOT = Path(__file__).resolve().parents[1]
FEAST_PYTHON = ROOT / ".venv-feast" / "bin" / "python"

KEYS = 100_000
FEATURES = ("a", "b", "c", "d", "e")
READS = 500
BATCH, BATCHES = 100, 10
REQUESTS, THREADS = 10_000, 100
ROUNDS, BURSTS, MATERIALISATIONS = 11, 3, 3

MILLRACE = {
    "online_store": {
        "type": "millrace.adapters.feast_online_store.MillraceOnlineStore",
        "url": "lmdb:///data/millrace",
    },
    "offline_store": {"type": "millrace.adapters.feast_offline_store.MillraceOfflineStore"},
    "batch_engine": {"type": "millrace.adapters.feast_engine.MillraceComputeEngine"},
}
OWN = {"online_store": {"type": "sqlite", "path": "data/sqlite.db"}, "offline_store": {"type": "file"}}
AGAINST = "Feast, file and SQLite"


def run() -> list[Row]:
    """The rows; none where Feast has no environment."""
    if not FEAST_PYTHON.exists():
        sys.stderr.write("feature_feast: Feast has no environment here; run `make feast` first\n")
        return []
    done = subprocess.run(
        [FEAST_PYTHON, "-W", "ignore", "-m", "benchmarks.feature_feast"],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    return [Row.from_dict(facts) for facts in json.loads(done.stdout.splitlines()[-1])]


def measure() -> list[Row]:
    """What `run` does inside Feast's environment."""
    with tempfile.TemporaryDirectory(prefix="millrace-bench-") as name:
        folder = Path(name)
        rows, stores = _first_load(folder)
        rows += _materialise(folder, stores)
        _agree(stores)
        rows += [*_one_key(stores), *_batch(stores), *_burst(stores)]
        return rows


def _open(folder: Path, number: int) -> dict[str, Any]:
    """Empty stores of each kind."""
    plugin = MILLRACE["online_store"] | {"url": f"lmdb:///data/millrace{number}"}
    sqlite = OWN["online_store"] | {"path": f"data/sqlite{number}.db"}
    stores = {
        "plugin": _repository(folder, f"plugin{number}", {**MILLRACE, "online_store": plugin}),
        "feast": _repository(folder, f"feast{number}", {**OWN, "online_store": sqlite}),
        "millrace": _millrace(folder, f"own{number}"),
    }
    # No subject pays for looking through the objects of the others, as it would not in a process of its own.
    gc.collect()
    gc.freeze()
    return stores


def _write_events(folder: Path, number: int) -> None:
    """One event for each key, two hours newer than those of the number before."""
    import numpy as np
    import pandas as pd

    path = folder / "data" / "users.parquet"
    path.parent.mkdir(exist_ok=True)
    rng = np.random.default_rng(number)
    at = datetime.now(UTC).replace(microsecond=0) - timedelta(hours=40 - 2 * number)
    columns: dict[str, Any] = {name: rng.normal(size=KEYS) for name in FEATURES[:3]}
    columns |= {name: rng.integers(0, 1000, KEYS) for name in FEATURES[3:]}
    times = pd.to_datetime([at] * KEYS, utc=True)
    frame = pd.DataFrame({"user_id": rng.permutation(KEYS), **columns, "event_timestamp": times})
    frame.to_parquet(path, coerce_timestamps="us")


def _millrace(folder: Path, place: str) -> Any:
    """The same view in Millrace, without Feast."""
    import millrace as mr
    from millrace.data.reader import SourceReader
    from millrace.features.online.lmdb_store import open_lmdb

    source = mr.Source("users", "data/users.parquet", event_time="event_timestamp")
    fields = [mr.Field(name, "float" if name in FEATURES[:3] else "int") for name in FEATURES]
    user = mr.Entity("user", key="user_id")
    view = mr.FeatureView("users", entity=user, source=source, schema=fields, ttl="30d")
    return mr.FeatureStore([view], read=SourceReader(folder), online=open_lmdb(str(folder / "data" / place)))


def _repository(folder: Path, kind: str, settings: dict[str, Any]) -> Any:
    from feast import Entity, FeatureStore, FeatureView, Field, FileSource, RepoConfig
    from feast.types import Float64, Int64
    from feast.value_type import ValueType

    path = folder / "data" / "users.parquet"
    store = FeatureStore(
        config=RepoConfig(
            project=kind,
            provider="local",
            registry=str(folder / "data" / f"{kind}.db"),
            repo_path=folder,
            entity_key_serialization_version=3,
            **settings,
        )
    )
    user = Entity(name="user", join_keys=["user_id"], value_type=ValueType.INT64)
    source = FileSource(name="users", path=str(path), timestamp_field="event_timestamp")
    kinds = {name: Float64 if name in FEATURES[:3] else Int64 for name in FEATURES}
    view = FeatureView(
        name="users",
        entities=[user],
        ttl=timedelta(days=30),
        schema=[Field(name="user_id", dtype=Int64), *(Field(name=name, dtype=kinds[name]) for name in FEATURES)],
        source=source,
    )
    store.apply([user, source, view])
    return store


REFERENCES = [f"users:{name}" for name in FEATURES]


def _ask(store: Any, keys: list[int]) -> dict[str, list[Any]]:
    answer: dict[str, list[Any]] = store.get_online_features(REFERENCES, [{"user_id": key} for key in keys]).to_dict()
    return answer


def _agree(stores: dict[str, Any]) -> None:
    keys = list(range(0, KEYS + 1000, 997))
    answers = {name: _ask(store, keys) for name, store in stores.items()}
    assert answers["plugin"] == answers["feast"] == answers["millrace"]
    assert answers["feast"]["a"][0] is not None


def _rows(what: str, times: dict[str, float], limit: dict[str, float]) -> list[Row]:
    """A row for Feast on Millrace's stores, and one for Millrace itself, each against Feast on its own."""
    names = {"plugin": "Feast on Millrace's stores", "millrace": "Millrace"}
    return [Row(f"{name}: {what}", times[key], AGAINST, times["feast"], limit[key]) for key, name in names.items()]


def _bring(store: Any) -> float:
    """Milliseconds that a thousand rows take."""
    now = datetime.now(UTC)
    started = time.perf_counter()
    with contextlib.redirect_stdout(io.StringIO()):
        store.materialize(now - timedelta(days=2), now)
    return (time.perf_counter() - started) * 1000 / (KEYS / 1000)


def _medians(rounds: list[dict[str, float]]) -> dict[str, float]:
    return {name: statistics.median(times[name] for times in rounds) for name in rounds[0]}


def _limits(times: dict[str, float]) -> dict[str, float]:
    # 200,000 rows a second are 5 ms for a thousand of them.
    return {"plugin": 5.0, "millrace": min(5.0, times["feast"] / 40)}


def _first_load(folder: Path) -> tuple[list[Row], dict[str, Any]]:
    """Into empty stores, and those that were filled last. The first round warms up."""
    _write_events(folder, 0)
    rounds = []
    for number in range(1 + MATERIALISATIONS):
        stores = _open(folder, number)
        rounds.append({name: _bring(store) for name, store in stores.items()})
    times = _medians(rounds[1:])
    return _rows("materialise 1,000 rows of 5 features into an empty store", times, _limits(times)), stores


def _materialise(folder: Path, stores: dict[str, Any]) -> list[Row]:
    """A newer event for each key that is there."""
    rounds = []
    for number in range(1 + MATERIALISATIONS):
        _write_events(folder, 1 + number)
        rounds.append({name: _bring(store) for name, store in stores.items()})
    times = _medians(rounds[1:])
    return _rows("materialise 1,000 newer rows of 5 features", times, {"plugin": 5.0, "millrace": 5.0})


def _one_key(stores: dict[str, Any]) -> list[Row]:
    keys = random.Random(1).choices(range(KEYS), k=READS)

    def read(store: Any) -> None:
        for key in keys:
            _ask(store, [key])

    times = in_turns(
        {name: lambda store=store: read(store) for name, store in stores.items()}, rounds=ROUNDS, per=READS
    )
    limit = {"plugin": 0.02, "millrace": min(0.02, times["feast"] / 15)}
    return _rows("1 key, 5 features, to_dict", times, limit)


def _batch(stores: dict[str, Any]) -> list[Row]:
    draw = random.Random(2)
    batches = [draw.choices(range(KEYS), k=BATCH) for _ in range(BATCHES)]

    def read(store: Any) -> None:
        for keys in batches:
            _ask(store, keys)

    times = in_turns(
        {name: lambda store=store: read(store) for name, store in stores.items()}, rounds=ROUNDS, per=BATCHES
    )
    # A hundred thousand keys a second are one millisecond for a hundred of them.
    limit = min(1.0, times["feast"] / 10)
    return _rows(f"{BATCH} keys, 5 features, to_dict", times, {"plugin": limit, "millrace": limit})


def _burst(stores: dict[str, Any]) -> list[Row]:
    """All requests given to the threads at once; the quantiles of a request's own time, the median over the bursts."""
    found: dict[str, list[tuple[float, float]]] = {name: [] for name in stores}
    for _ in range(BURSTS):
        for name, store in stores.items():
            times = sorted(_one_burst(store))
            found[name].append((times[int(0.95 * REQUESTS)], times[int(0.99 * REQUESTS)]))
    rows: list[Row] = []
    for place, (what, limit) in enumerate((("p95", 1.0), ("p99", 10.0))):
        middle = {name: sorted(one[place] for one in bursts)[BURSTS // 2] for name, bursts in found.items()}
        what = f"{REQUESTS:,} requests at once on {THREADS} threads, {what} of a request"
        rows += _rows(what, middle, {"plugin": limit, "millrace": limit})
    return rows


def _one_burst(store: Any) -> list[float]:
    draw = random.Random(3)
    keys = draw.choices(range(KEYS), k=REQUESTS)

    def request(key: int) -> float:
        started = time.perf_counter()
        answer = _ask(store, [key])
        spent = time.perf_counter() - started
        assert answer["user_id"] == [key]
        return spent * 1000

    with ThreadPoolExecutor(THREADS) as pool:
        waiting = [pool.submit(request, key) for key in keys]
        return [one.result() for one in waiting]


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    print(json.dumps([row.to_dict() for row in measure()]))
