"""A million rows asking for five features as of their times, against the bare as-of joins of Polars, DuckDB and Feast.

Every contender runs in a process of its own, reads the same Parquet file, and answers an Arrow table in the order of
the rows; they take turns. Feast runs where ``make feast`` made its environment, on the smaller log: on the larger one
it does not end in 100 s.
"""

from __future__ import annotations

import json
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.measure import Row

ROWS = 1_000_000
LOGS = {"1M": 1_000_000, "10M": 10_000_000}
KEYS = 100_000
FEATURES = ["f0", "f1", "f2", "f3", "f4"]
ROUNDS = 7
FEAST_ROUNDS = 3
FEAST_PYTHON = Path(__file__).parent.parent / ".venv-feast" / "bin" / "python"
RAW = {"polars": "Polars join_asof", "duckdb": "DuckDB ASOF JOIN"}
FEAST = {"feast-duckdb": "Feast, duckdb", "feast-file": "Feast, file"}
TARGETS = {"1M": 1.3, "10M": 1.5, "feast-duckdb": 1 / 5, "feast-file": 1 / 8}


@dataclass
class Contender:
    """One way of joining, in a process that waits to be told to do it."""

    name: str
    process: subprocess.Popen[str]
    seconds: list[float] = field(default_factory=list)
    gigabytes: float = 0.0
    answer: Any = None

    def run(self, *, counts: bool = True) -> None:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write("go\n")
        self.process.stdin.flush()
        told = json.loads(self.process.stdout.readline())
        if counts:
            self.seconds.append(told["seconds"])
        self.gigabytes, self.answer = told["gigabytes"], told["answer"]

    @property
    def ms(self) -> float:
        return statistics.median(self.seconds) * 1000

    @property
    def peak(self) -> str:
        return f"{self.gigabytes:.2f} GB"


def run() -> list[Row]:
    """Both sizes; what could not be measured is said on standard error."""
    rows = []
    with tempfile.TemporaryDirectory(prefix="millrace-bench-") as name:
        for size, log in LOGS.items():
            folder = Path(name) / size
            write(folder, log)
            rows += _measure(folder, size)
    return rows


def _measure(folder: Path, size: str) -> list[Row]:
    feast = list(FEAST) if size == "1M" and FEAST_PYTHON.exists() else []
    if size == "1M" and not feast:
        print(f"no Feast beside it: there is no {FEAST_PYTHON}", file=sys.stderr)
    with ExitStack() as opened:
        fast = {name: opened.enter_context(_start(name, folder)) for name in ("millrace", "as-known", *RAW)}
        slow = {name: opened.enter_context(_start(name, folder)) for name in feast}
        for contender in fast.values():
            contender.run(counts=False)
        for number in range(ROUNDS):
            for contender in fast.values():
                contender.run()
            for contender in slow.values() if number < FEAST_ROUNDS else ():
                contender.run()
    ours, known = fast["millrace"], fast["as-known"]
    for name in RAW:
        assert fast[name].answer == ours.answer, f"{name} answers {fast[name].answer}, not {ours.answer}"
    best = min((fast[name] for name in RAW), key=lambda contender: contender.ms)
    rows = [_row(ours, size, best, RAW[best.name], TARGETS[size])]
    rows += [_row(ours, size, fast[name], label, None) for name, label in RAW.items() if name != best.name]
    rows += [_row(known, size, best, RAW[best.name], None, how=", created by then")]
    return rows + [_row(ours, size, one, FEAST[name], TARGETS[name]) for name, one in slow.items()]


def _row(ours: Contender, size: str, other: Contender, label: str, target: float | None, how: str = "") -> Row:
    limit = None if target is None else other.ms * target
    what = f"1M rows x {size} log x 5 features{how} ({ours.peak})"
    return Row(what, ours.ms, f"{label} ({other.peak})", other.ms, limit)


@contextmanager
def _start(name: str, folder: Path) -> Iterator[Contender]:
    python = str(FEAST_PYTHON) if name in FEAST else sys.executable
    process = subprocess.Popen(
        [python, "-m", "benchmarks.feature_join", name, str(folder)],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=Path(__file__).parent.parent,
    )  # fmt: skip
    with process:
        try:
            yield Contender(name, process)
        finally:
            assert process.stdin is not None
            process.stdin.close()


def write(folder: Path, log: int) -> None:
    """A log with times in no order, and the rows that ask."""
    import numpy as np
    import pyarrow as pa
    import pyarrow.parquet as pq

    folder.mkdir()
    rng = np.random.default_rng(0)
    first, span, kind = 1_704_067_200_000_000, 365 * 86_400_000_000, pa.timestamp("us", "UTC")
    times = first + rng.integers(0, span, log)
    columns = {
        "customer_id": rng.integers(0, KEYS, log),
        "ts": pa.array(times).cast(kind),
        "created": pa.array(times + rng.integers(0, 3_600_000_000, log)).cast(kind),
        "f0": rng.random(log), "f1": rng.integers(0, 1000, log), "f2": rng.normal(size=log),
        "f3": rng.integers(0, 2**40, log), "f4": rng.random(log), "unused": rng.random(log),
    }  # fmt: skip
    pq.write_table(pa.table(columns), folder / "log.parquet")
    asked = {
        "customer_id": rng.integers(0, KEYS, ROWS),
        "event_timestamp": pa.array(first + rng.integers(0, span, ROWS)).cast(kind),
        "label": rng.integers(0, 2, ROWS),
    }
    pq.write_table(pa.table(asked), folder / "rows.parquet")


# --- in the process of one contender ----------------------------------------------------------------------------------


def serve(name: str, folder: Path) -> None:
    """Do the join each time a line comes in, and tell how long it took."""
    import pyarrow.compute as pc

    join = CONTENDERS[name](folder)
    for _ in sys.stdin:
        started = time.perf_counter()
        table = join()
        seconds = time.perf_counter() - started
        answer = [table.num_rows, *(pc.sum(table[feature]).as_py() for feature in ("f1", "f3"))]
        del table
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024**2
        print(json.dumps({"seconds": seconds, "gigabytes": peak, "answer": answer}), flush=True)


def _rows(folder: Path) -> Any:
    import pyarrow.parquet as pq

    return pq.read_table(folder / "rows.parquet")


def _millrace(folder: Path, *, as_known: bool = False) -> Callable[[], Any]:
    import millrace as mr
    from millrace.data.reader import SourceReader
    from millrace.features.store import FeatureStore

    rows, source = _rows(folder), mr.Source("log", "log.parquet", event_time="ts", created="created")
    features = {name: name for name in FEATURES}
    view = mr.FeatureView("v", entity=mr.Entity("c", key="customer_id"), source=source, features=features)
    store = FeatureStore([view], read=SourceReader(folder))
    return lambda: store.get_historical_features(rows, ["v"], as_known=as_known).to_arrow()


def _polars(folder: Path) -> Callable[[], Any]:
    import polars as pl

    rows, columns = pl.from_arrow(_rows(folder)), ["customer_id", "ts", "created", *FEATURES]
    assert isinstance(rows, pl.DataFrame)
    frame = rows

    def join() -> Any:
        log = pl.read_parquet(folder / "log.parquet", columns=columns).sort("ts", "created", maintain_order=True)
        asked = frame.with_row_index("place").sort("event_timestamp")
        found = asked.join_asof(
            log.drop("created"), left_on="event_timestamp", right_on="ts", by="customer_id",
            strategy="backward", check_sortedness=False,
        )  # fmt: skip
        return found.sort("place").drop("place", "ts", strict=False).to_arrow()

    return join


def _duckdb(folder: Path) -> Callable[[], Any]:
    import duckdb

    connection = duckdb.connect()
    connection.register("asked", _rows(folder))
    chosen = ", ".join(f"log.{name}" for name in FEATURES)
    query = f"""
        WITH numbered AS (SELECT *, row_number() OVER () AS place FROM asked)
        SELECT numbered.* EXCLUDE place, {chosen}
        FROM numbered ASOF LEFT JOIN read_parquet('{folder / "log.parquet"}') AS log
        ON numbered.customer_id = log.customer_id AND numbered.event_timestamp >= log.ts
        ORDER BY place
    """
    return lambda: connection.sql(query).to_arrow_table()


def _feast(folder: Path, kind: str) -> Callable[[], Any]:
    from feast import Entity, FeatureStore, FeatureView, Field, FileSource, RepoConfig
    from feast.types import Float64, Int64
    from feast.value_type import ValueType

    config = RepoConfig(
        project="bench", provider="local", registry=str(folder / f"{kind}.db"), offline_store={"type": kind},
        online_store={"type": "sqlite", "path": str(folder / f"{kind}-online.db")},
        entity_key_serialization_version=3,
    )  # fmt: skip
    source = FileSource(path=str(folder / "log.parquet"), timestamp_field="ts", created_timestamp_column="created")
    customer = Entity(name="c", join_keys=["customer_id"], value_type=ValueType.INT64)
    schema = [Field(name=name, dtype=Int64 if name in ("f1", "f3") else Float64) for name in FEATURES]
    schema.append(Field(name="customer_id", dtype=Int64))
    store = FeatureStore(config=config)
    store.apply([customer, FeatureView(name="v", entities=[customer], schema=schema, source=source, ttl=None)])
    frame = _rows(folder).to_pandas()
    wanted = [f"v:{name}" for name in FEATURES]
    return lambda: store.get_historical_features(entity_df=frame, features=wanted).to_arrow()


CONTENDERS: dict[str, Callable[[Path], Callable[[], Any]]] = {
    "millrace": _millrace,
    "as-known": lambda folder: _millrace(folder, as_known=True),
    "polars": _polars,
    "duckdb": _duckdb,
    "feast-duckdb": lambda folder: _feast(folder, "duckdb"),
    "feast-file": lambda folder: _feast(folder, "file"),
}


def main(arguments: Sequence[str]) -> None:
    """The process of one contender: its name and the folder with the files."""
    name, folder = arguments
    serve(name, Path(folder))


if __name__ == "__main__":
    main(sys.argv[1:])
