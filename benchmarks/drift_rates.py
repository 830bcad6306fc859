"""False alarms and power of the drift verdict by simulation: the tables of docs/drift.md.

Takes about half an hour on a quiet machine.

    python -m benchmarks.drift_rates [power] [false-alarms] [--runs-scale 0.1]

Every draw is seeded, so the tables are the same each time.
"""

from __future__ import annotations

import argparse
import math
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np
import pyarrow as pa

from millrace.drift.compare import compare
from millrace.drift.profile import ReferenceProfile
from millrace.drift.report import DriftReport

COLUMNS = 20
LEVELS = (2, 10, 100, 1000, 5000)
RUNS = {1_000: 400, 10_000: 100, 1_000_000: 10}
# Rows a side, shift in standard deviations, batches.
POWER = ((1_000, 0.1, 200), (1_000, 0.2, 400), (1_000, 0.5, 100), (10_000, 0.1, 100), (10_000, 0.2, 100))
_CODES = {k: pa.array([f"level {i}" for i in range(k)]) for k in LEVELS}


@dataclass
class Rate:
    """Batches flagged of batches looked at, by the verdict and by significance alone, and what the reports expected."""

    runs: int = 0
    flagged: int = 0
    significant: int = 0
    expected: list[float] = field(default_factory=list)
    untested: int = 0

    def add(self, report: DriftReport) -> None:
        self.runs += 1
        self.flagged += bool(report.drifted)
        self.significant += any(q_of(column) <= report.evidence["q"] for column in report.columns)
        self.expected.append(report.false_alarm_chance)
        self.untested += sum(column.outcome in ("insufficient", "error") for column in report.columns)


def q_of(column: Any) -> float:
    """The smallest q-value of a column's tests."""
    return min((test["q_value"] for test in column.tests), default=1.0)


def interval(successes: int, runs: int) -> tuple[float, float]:
    """Clopper and Pearson's 95 % interval."""
    from scipy.stats import beta

    low = beta.ppf(0.025, successes, runs - successes + 1) if successes else 0.0
    high = beta.ppf(0.975, successes + 1, runs - successes) if successes < runs else 1.0
    return float(low), float(high)


def numbers(rng: np.random.Generator, n: int, shifts: Sequence[float] = ()) -> pa.Table:
    """Twenty columns of standard normal numbers, the first of them shifted."""
    moved = [*shifts, *[0.0] * (COLUMNS - len(shifts))]
    return pa.table({f"c{i}": rng.standard_normal(n) + shift for i, shift in enumerate(moved)})


def levels(rng: np.random.Generator, n: int, k: int, moved: int = 0, share: float = 0.0) -> pa.Table:
    """Twenty columns of k equally frequent levels; in the first `moved` one level gains `share` of the rows."""
    columns = {}
    for i in range(COLUMNS):
        codes = rng.integers(0, k, n).astype(np.int32)
        if i < moved:
            codes[rng.random(n) < share * k / (k - 1)] = 0
        columns[f"c{i}"] = pa.DictionaryArray.from_arrays(pa.array(codes), _CODES[k])
    return pa.table(columns)


def false_alarms(n: int, runs: int, draw: Callable[[np.random.Generator], pa.Table], *, by_profile: bool) -> Rate:
    """Pairs of batches of one law."""
    rate = Rate()
    for seed in range(runs):
        rng = np.random.default_rng([n, seed])
        reference, current = draw(rng), draw(rng)
        rate.add(compare(ReferenceProfile.of(reference) if by_profile else reference, current))
    return rate


def power(
    runs: int,
    before: Callable[[np.random.Generator], pa.Table],
    after: Callable[[np.random.Generator], pa.Table],
    moved: int,
    *,
    by_profile: bool = False,
) -> tuple[int, int, int, int]:
    """Moved columns found of those moved, still ones flagged of those still."""
    found = false = 0
    for seed in range(runs):
        rng = np.random.default_rng([7, seed])
        reference = before(rng)
        drifted = compare(ReferenceProfile.of(reference) if by_profile else reference, after(rng)).drifted
        hits = sum(int(name[1:]) < moved for name in drifted)
        found, false = found + hits, false + len(drifted) - hits
    return found, runs * moved, false, runs * (COLUMNS - moved)


def share_text(successes: int, runs: int) -> str:
    low, high = interval(successes, runs)
    return f"{successes / runs:.1%} ({low:.1%} to {high:.1%})"


def main(arguments: Sequence[str] | None = None) -> int:
    """Print both tables as they are made."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.drift_rates", description=__doc__)
    parser.add_argument("--runs-scale", type=float, default=1.0, help="a share of the runs, for a quick look")
    parser.add_argument("table", nargs="*", help="power, false-alarms (default: both)")
    options = parser.parse_args(arguments)
    tables = {"false-alarms": _print_rate_table, "power": _print_power_table}
    if unknown := set(options.table) - set(tables):
        parser.error(f"no table '{min(unknown)}'; one of: {', '.join(tables)}")
    started = time.perf_counter()
    for name in options.table or tables:
        tables[name](options.runs_scale)
    print(f"\n{time.perf_counter() - started:.0f} s")
    return 0


def _print_rate_table(scale: float) -> None:
    print("| rows a side | columns | reference | batches | flagged | significant | at most, as reported | untested |")
    print("|---:|---|---|---:|---|---|---:|---:|")
    for n, full in RUNS.items():
        runs = max(5, math.ceil(full * scale))
        _print_rate(n, "20 normal", runs, False, partial(numbers, n=n))
        # Levels are kept whole, so a profile's verdicts on them are the table's own; numbers are kept on a grid.
        _print_rate(n, "20 normal", runs, True, partial(numbers, n=n))
        for k in LEVELS:
            _print_rate(n, f"20 of {k} levels", runs, False, partial(levels, n=n, k=k))


def _print_power_table(scale: float) -> None:
    print("\n| rows a side | 5 of 20 columns moved | reference | batches | found | still ones flagged |")
    print("|---:|---|---|---:|---|---|")
    for n, shift, full in POWER:
        runs = max(5, math.ceil(full * scale))
        before, after = partial(numbers, n=n), partial(numbers, n=n, shifts=[shift] * 5)
        for by_profile in (False, True):
            _print_power(n, f"by {shift:g} sd", runs, by_profile, before, after)
    runs = max(5, math.ceil(100 * scale))
    for k in LEVELS:
        before, after = partial(levels, n=1_000, k=k), partial(levels, n=1_000, k=k, moved=5, share=0.1)
        _print_power(1_000, f"{k} levels, one gains 10 % of the rows", runs, False, before, after)


def _print_rate(n: int, name: str, runs: int, by_profile: bool, draw: Any) -> None:
    rate = false_alarms(n, runs, draw, by_profile=by_profile)
    cells = [f"{n:,}", name, "profile" if by_profile else "table", str(rate.runs)]
    cells += [share_text(rate.flagged, rate.runs), share_text(rate.significant, rate.runs)]
    cells += [f"{np.mean(rate.expected):.2g}", str(rate.untested)]
    print(f"| {' | '.join(cells)} |", flush=True)


def _print_power(n: int, name: str, runs: int, by_profile: bool, before: Any, after: Any) -> None:
    found, moved, false, still = power(runs, before, after, 5, by_profile=by_profile)
    cells = [f"{n:,}", name, "profile" if by_profile else "table", str(runs), share_text(found, moved)]
    print(f"| {' | '.join([*cells, share_text(false, still)])} |", flush=True)


if __name__ == "__main__":
    sys.exit(main())
