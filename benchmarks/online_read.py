"""Five features of one key from the embedded online store, against LMDB handing out the bytes alone."""

from __future__ import annotations

import random
import tempfile
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from benchmarks.measure import Row, in_turns

KEYS = 10_000
READS = 2_000
ROUNDS = 15
NOW = datetime(2024, 6, 1, tzinfo=UTC)


def run() -> list[Row]:
    """Newest values, which are stored as they are; and windows, which are worked out at the time of the request."""
    with tempfile.TemporaryDirectory(prefix="millrace-bench-") as folder:
        rows = _newest(Path(folder) / "newest")
        return rows + _windows(Path(folder) / "windows")


def _newest(folder: Path) -> list[Row]:
    import millrace as mr

    features = {name: mr.last(name) for name in ("a", "b", "c", "d", "e")}
    return [_measure(folder, features, events=1, what="5 newest values of one key, plan.read")]


def _windows(folder: Path) -> list[Row]:
    import millrace as mr

    features = {
        "mean_30d": mr.mean("a", window="30d"),
        "sum_7d": mr.sum("b", window="7d"),
        "max_30d": mr.max("c", window="30d"),
        "count_30d": mr.count(window="30d"),
        "since": mr.days_since_last(),
    }
    return [_measure(folder, features, events=8, what="5 windowed features of one key over 8 events, plan.read")]


def _measure(folder: Path, features: dict[str, Any], *, events: int, what: str) -> Row:
    import lmdb

    import millrace as mr
    from millrace.core.clock import SystemClock
    from millrace.features.online.lmdb_store import open_lmdb
    from millrace.features.store import FeatureStore

    source = mr.Source("events", "events.parquet", event_time="ts")
    view = mr.FeatureView("view", entity=mr.Entity("customer", key="id"), source=source, features=features)
    online = open_lmdb(f"lmdb:///{folder / 'online'}")
    table = _events(events)
    store = FeatureStore([view], read=lambda source, start, end: table, online=online, clock=SystemClock())
    store.materialize(NOW - timedelta(days=365), NOW)
    plan = store.plan([f"view:{name}" for name in features])
    keys = random.Random(0).choices(range(KEYS), k=READS)
    assert None not in plan.read({"id": keys[0]}, NOW)
    sizes = _sizes(online, view, keys)

    raw = lmdb.open(str(folder / "raw"), map_size=1 << 30, lock=False)
    with raw.begin(write=True) as writing:
        for key in range(KEYS):
            writing.put(key.to_bytes(8, "big"), b"x" * sizes)
    names = [key.to_bytes(8, "big") for key in keys]

    def ours() -> None:
        for key in keys:
            plan.read({"id": key}, NOW)

    def bare() -> None:
        for name in names:
            with raw.begin(buffers=False) as reading:
                reading.get(name)

    times = in_turns({"ours": ours, "bare": bare}, rounds=ROUNDS, per=READS)
    raw.close()
    online.close()
    return Row(what, times["ours"], f"lmdb transaction and get, {sizes} bytes", times["bare"])


def _events(per_key: int) -> Any:
    import numpy as np
    import pyarrow as pa

    rng = np.random.default_rng(0)
    rows = KEYS * per_key
    times = [NOW - timedelta(days=3 * number + 1) for number in range(per_key)]
    columns: dict[str, Any] = {name: rng.normal(size=rows) for name in ("a", "b", "c", "d", "e")}
    columns["id"] = np.tile(np.arange(KEYS), per_key)
    columns["ts"] = pa.array(np.repeat(times, KEYS).tolist(), pa.timestamp("us", tz="UTC"))
    return pa.table(columns)


def _sizes(online: Any, view: Any, keys: list[int]) -> int:
    """How many bytes the store holds for a key, so that the bare read hands out as many."""
    from millrace.features.keys import key_packer

    pack = key_packer(view.keys, None)
    (value,) = online.read(view.storage_id(), [pack({"id": keys[0]})])
    assert value is not None
    return len(value)
