"""Drift of 20 numeric and 5 categorical columns: two tables, a stored profile, the plain scipy loop, one bare sort."""

from __future__ import annotations

import subprocess
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from benchmarks.measure import Row, in_turns
from benchmarks.validation import PEERS_PYTHON, ROOT

NUMERIC, CATEGORICAL, LEVELS = 20, 5, 50
SMALL, LARGE = 100_000, 1_000_000
ROUNDS = 5
# What the plain loop may cost at most, as a multiple; and a check against a profile, of sorting the batch once.
LOOP_RATIO, SORT_RATIO = 2.0, 2.0


def run() -> list[Row]:
    """Both sizes; every contender is given what it takes best, and answers for all 25 columns."""
    return [*_measure(SMALL, ROUNDS), *_measure(LARGE, 3)]


def contenders(rows: int) -> dict[str, Any]:
    """A callable for each contender, on the same data. Other environments take `tables` and add their own."""
    from millrace.drift.compare import compare
    from millrace.drift.profile import ReferenceProfile

    reference, current = tables(rows)
    frames = reference.to_pandas(), current.to_pandas()
    profile = ReferenceProfile.of(reference)
    numbers = [current.column(f"n{i}").to_numpy() for i in range(NUMERIC)]

    def check(report: Any) -> None:
        # Five numeric columns were shifted by a tenth of a standard deviation: significant, and below the effect.
        assert sum(column.q_value <= 0.05 for column in report.columns) >= NUMERIC // 4, report.explain()

    return {
        "scipy loop": lambda: scipy_loop(*frames),
        "tables": lambda: check(compare(reference, current)),
        "profile": lambda: check(compare(profile, current)),
        "making the profile": lambda: ReferenceProfile.of(reference),
        "sort": lambda: one_sort(numbers),
    }


def tables(rows: int) -> tuple[Any, Any]:
    """Reference and current of `rows` rows; 5 of the 20 numeric columns moved by 0.1 standard deviations."""
    import numpy as np
    import pyarrow as pa

    rng = np.random.default_rng(0)
    names = np.array([f"level {i}" for i in range(LEVELS)])

    def make(shift: float) -> Any:
        columns: dict[str, Any] = {
            f"n{i}": rng.normal(shift if i < NUMERIC // 4 else 0.0, 1, rows) for i in range(NUMERIC)
        }
        for i in range(CATEGORICAL):
            columns[f"c{i}"] = pa.array(names[rng.integers(0, LEVELS, rows)])
        return pa.table(columns)

    return make(0.0), make(0.1)


def scipy_loop(reference: Any, current: Any) -> int:
    """The usual loop over two pandas frames: dropna, ks_2samp, or chi-square of the counted levels."""
    import pandas as pd
    from scipy import stats

    flagged = 0
    for name in reference.columns:
        before, after = reference[name].dropna(), current[name].dropna()
        if pd.api.types.is_numeric_dtype(before):
            p_value = stats.ks_2samp(before, after).pvalue
        else:
            counts = pd.concat([before.value_counts(), after.value_counts()], axis=1).fillna(0).to_numpy().T
            p_value = stats.chi2_contingency(counts, correction=False).pvalue
        flagged += bool(p_value < 0.05)
    return flagged


def one_sort(columns: list[Any]) -> None:
    """The limit: `numpy.sort` of each numeric column of the batch, one after the other."""
    import numpy as np

    for values in columns:
        np.sort(values)


def _measure(rows: int, rounds: int) -> list[Row]:
    with _evidently(rows) as others:
        ms = in_turns({**contenders(rows), **others}, rounds=rounds)
    size = f"{rows // 1000}k rows" if rows < LARGE else f"{rows // LARGE}M rows"
    loop, sort = ms["scipy loop"], ms["sort"]
    lines = [
        Row(f"two tables, {size}", ms["tables"], "pandas and scipy, a loop", loop, loop / LOOP_RATIO),
        Row(f"against a profile, {size}", ms["profile"], "one sort of the batch", sort, SORT_RATIO * sort),
        Row(f"against a profile, {size}", ms["profile"], "pandas and scipy, a loop", loop),
        Row(f"making a profile, {size}", ms["making the profile"], "one sort of the batch", sort),
    ]
    if "evidently" in ms:
        lines.append(Row(f"two tables, {size}", ms["tables"], "Evidently", ms["evidently"], ms["evidently"] / 15))
    return lines if rows >= LARGE else lines[:1] + lines[2:]


@contextmanager
def _evidently(rows: int) -> Iterator[dict[str, Callable[[], Any]]]:
    """Evidently in the peers' environment, for the smaller size: at a million rows it takes minutes."""
    if not PEERS_PYTHON.exists() or rows > SMALL:
        yield {}
        return
    import pyarrow.parquet as pq

    with tempfile.TemporaryDirectory(prefix="millrace-bench-") as name:
        paths = [str(Path(name) / side) for side in ("reference.parquet", "current.parquet")]
        for path, table in zip(paths, tables(rows), strict=True):
            pq.write_table(table, path)
        words = [str(PEERS_PYTHON), "-W", "ignore", "-m", "benchmarks.drift_evidently", *paths]
        with subprocess.Popen(
            words, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
        ) as process:
            assert process.stdin is not None
            assert process.stdout is not None
            answers, questions = process.stdout, process.stdin

            def ask() -> None:
                questions.write("again\n")
                questions.flush()
                assert answers.readline(), "Evidently ended"

            assert answers.readline(), "Evidently ended"
            yield {"evidently": ask}
            questions.close()
