"""The suite of 14 rules beside Great Expectations, pandera, pointblank, and passes of Polars and DuckDB by hand.

Every contender is a process of its own, so that none pays for another's imports or memory. They take turns: cold, from
the start of the process to the verdict; warm, in the same process again; and the peak of its memory.
"""

from __future__ import annotations

import compileall
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from benchmarks.measure import Row
from benchmarks.validation_contender import SUITE

ROOT = Path(__file__).resolve().parents[1]
PEERS_PYTHON = ROOT / ".venv-peers" / "bin" / "python"
PEERS = ("great_expectations", "pandera", "pointblank")
ALONE = "great_expectations alone"
SIZES = {"100k": 100_000, "1M": 1_000_000, "10M": 10_000_000}
COLD_ROUNDS, WARM_ROUNDS = 5, 9
PIECE = 1_000_000


def run() -> list[Row]:
    """The tables for a hundred thousand, a million and ten million rows."""
    with tempfile.TemporaryDirectory(prefix="millrace-bench-") as name:
        folder = Path(name)
        compileall.compile_dir(ROOT / "src", quiet=1)
        dirty = folder / "dirty.parquet"
        write_users(dirty, 1000, is_dirty=True)
        contenders = [name for name in _contenders() if name != "read only"]
        for contender in contenders:
            found = _cold(contender, dirty)[1]["failed"]
            assert found == 3, f"{contender} finds {found} broken rules where there are 3"
        rows = []
        for size, count in SIZES.items():
            path = folder / f"{size}.parquet"
            write_users(path, count)
            rows += _measure(size, path)
            if size == "100k":
                rows += _command(path)
            path.unlink()
        return rows


def write_users(path: Path, rows: int, *, is_dirty: bool = False) -> None:
    """The seed's five columns, in row groups of a million; dirty ones break three of the rules."""
    import numpy as np
    import pyarrow as pa
    import pyarrow.parquet as pq

    rng = np.random.default_rng(0)
    writer = None
    for start in range(0, rows, PIECE):
        count = min(PIECE, rows - start)
        ids = rng.permutation(count) + start
        ages = np.clip(rng.normal(45, 15, count).round(), 18, 100).astype(np.int64)
        if is_dirty:
            ids[1], ages[0] = ids[0], 17
        table = pa.table(
            {
                "user_id": ids,
                "age": ages,
                "income": pa.array(
                    np.minimum(rng.lognormal(10, 0.6, count), 500_000),
                    mask=rng.random(count) < (0.2 if is_dirty else 0.05),
                ),
                "purchase_history": rng.integers(0, 1001, count),
                "target": rng.integers(0, 2, count),
            }
        )
        writer = writer or pq.ParquetWriter(path, table.schema)
        writer.write_table(table)
    if writer is not None:
        writer.close()


def _measure(size: str, path: Path) -> list[Row]:
    names = _contenders()
    is_small = size != "10M"
    started = [*names, ALONE] if is_small and names[-1] in PEERS else names
    cold: dict[str, list[float]] = {name: [] for name in started}
    for _ in range(COLD_ROUNDS if is_small else 1):
        for name in started:
            cold[name].append(_cold(name, path)[0])
    warm: dict[str, list[float]] = {name: [] for name in names}
    peak: dict[str, float] = {}
    with _running(names, path) as processes:
        for _ in range(WARM_ROUNDS if is_small else 3):
            for name, process in processes.items():
                facts = _ask(process)
                warm[name].append(facts["ms"])
                peak[name] = facts["rss_mb"]
    times = {"cold": _medians(cold), "warm": _medians(warm)}
    return [row for kind in times for row in _rows(size, kind, times[kind])] + _memory(size, peak)


def _rows(size: str, kind: str, times: dict[str, float]) -> list[Row]:
    """Millrace against each other contender, with the limit that is set for it."""
    own = times["millrace"]
    at_most: dict[str, float] = {}
    if size == "1M":
        slowest = 1 / 7 if kind == "warm" else 1 / 15
        at_most = {"great_expectations": slowest, ALONE: slowest, "pandera": 1.0, "pointblank": 1.0}
    if size in ("1M", "10M") and kind == "warm":
        at_most["polars by hand"] = 1.5
    return [
        Row(f"14 rules, {size} rows, {kind}", own, name, other, at_most[name] * other if name in at_most else None)
        for name, other in times.items()
        if name != "millrace"
    ]


def _command(path: Path) -> list[Row]:
    """The command as a user gives it, beside what Great Expectations takes to be imported."""
    own = [sys.executable, "-m", "millrace", "data", "validate", str(path), "--suite", str(SUITE)]
    words = {"millrace": own}
    if PEERS_PYTHON.exists():
        words["import great_expectations"] = [str(PEERS_PYTHON), "-W", "ignore", "-c", "import great_expectations"]
    times: dict[str, list[float]] = {name: [] for name in words}
    for _ in range(COLD_ROUNDS):
        for name, command in words.items():
            started = time.perf_counter()
            subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            times[name].append((time.perf_counter() - started) * 1000)
    found = _medians(times)
    own_ms = found.pop("millrace")
    return [
        Row("millrace data validate, 100k rows, cold", own_ms, name, other, other / 5) for name, other in found.items()
    ]


def _memory(size: str, peak: dict[str, float]) -> list[Row]:
    limit = 1024.0 if size == "10M" else None
    return [
        Row(f"14 rules, {size} rows, peak memory", peak["millrace"], name, other, limit, unit="MB")
        for name, other in peak.items()
        if name != "millrace"
    ]


def _contenders() -> list[str]:
    own = ["millrace", "polars by hand", "duckdb by hand", "read only"]
    if not PEERS_PYTHON.exists():
        sys.stderr.write("validation: the peers have no environment here; run `make peers` first\n")
        return own
    return [*own, *PEERS]


def _start(name: str, path: Path) -> subprocess.Popen[str]:
    python = str(PEERS_PYTHON) if name in (*PEERS, ALONE) else sys.executable
    words = [python, "-W", "ignore", "-m", "benchmarks.validation_contender", name, str(path)]
    return subprocess.Popen(
        words, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    )


def _answer(process: subprocess.Popen[str]) -> dict[str, Any]:
    assert process.stdout is not None
    for line in process.stdout:  # some print on their own
        if line.startswith('{"ms"'):
            facts: dict[str, Any] = json.loads(line)
            return facts
    raise RuntimeError(f"{process.args!r} ended without an answer")


def _cold(name: str, path: Path) -> tuple[float, dict[str, Any]]:
    started = time.perf_counter()
    with _ended(_start(name, path)) as process:
        facts = _answer(process)
        return (time.perf_counter() - started) * 1000, facts


@contextmanager
def _running(names: Sequence[str], path: Path) -> Iterator[dict[str, subprocess.Popen[str]]]:
    processes = {name: _start(name, path) for name in names}
    try:
        for process in processes.values():
            _answer(process)
        yield processes
    finally:
        for process in processes.values():
            _end(process)


@contextmanager
def _ended(process: subprocess.Popen[str]) -> Iterator[subprocess.Popen[str]]:
    try:
        yield process
    finally:
        _end(process)


def _end(process: subprocess.Popen[str]) -> None:
    assert process.stdin is not None
    process.stdin.close()
    process.wait()


def _ask(process: subprocess.Popen[str]) -> dict[str, Any]:
    assert process.stdin is not None
    process.stdin.write("again\n")
    process.stdin.flush()
    return _answer(process)


def _medians(times: dict[str, list[float]]) -> dict[str, float]:
    return {name: statistics.median(found) for name, found in times.items()}
