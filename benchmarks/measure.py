"""Timing two things in turns, and what a benchmark reports of them."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True)
class Row:
    """One line of the table: what was measured, against what. Times are medians in milliseconds, `unit` says else."""

    what: str
    ms: float
    against: str
    against_ms: float
    limit_ms: float | None = None
    unit: str = "ms"

    @property
    def ratio(self) -> float:
        return self.ms / self.against_ms

    @property
    def holds(self) -> bool | None:
        """Whether the target is met; None without one."""
        return None if self.limit_ms is None else self.ms <= self.limit_ms

    def to_dict(self) -> dict[str, Any]:
        return {**asdict(self), "ratio": self.ratio, "holds": self.holds}

    @classmethod
    def from_dict(cls, facts: Mapping[str, Any]) -> Row:
        return cls(**{name: facts[name] for name in cls.__dataclass_fields__ if name in facts})


def in_turns(
    subjects: Mapping[str, Callable[[], Any]], *, rounds: int, per: int = 1, warm_up: int = 1
) -> dict[str, float]:
    """Median milliseconds of each subject over `rounds` rounds, in each of which every subject runs once.

    `per` divides: how many units of work one call does.
    """
    times: dict[str, list[float]] = {name: [] for name in subjects}
    for number in range(warm_up + rounds):
        for name, subject in subjects.items():
            started = time.perf_counter()
            subject()
            if number >= warm_up:
                times[name].append((time.perf_counter() - started) * 1000 / per)
    return {name: statistics.median(found) for name, found in times.items()}


def table(rows: Sequence[Row]) -> str:
    """The rows as a Markdown table."""
    lines = ["| measured | | against | | ratio | target |", "|---|---:|---|---:|---:|---|"]
    for row in rows:
        target = "" if row.limit_ms is None else f"{row.limit_ms:.4g} {row.unit}: {'held' if row.holds else 'MISSED'}"
        times = f"{_number(row.ms)} {row.unit} | {row.against} | {_number(row.against_ms)} {row.unit} | {row.ratio:.3g}"
        lines.append(f"| {row.what} | {times} | {target} |")
    return "\n".join(lines)


def _number(ms: float) -> str:
    return f"{ms:.4f}" if ms < 0.1 else f"{ms:.3f}" if ms < 10 else f"{ms:.1f}"
