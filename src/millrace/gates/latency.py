"""One prediction must be fast enough."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from millrace.core.definition import caller_place
from millrace.core.verdict import Outcome, Verdict
from millrace.gates.intervals import quantile_ranks
from millrace.gates.judging import judged
from millrace.gates.settings import check_choice, check_number

if TYPE_CHECKING:
    from millrace.gates.context import GateContext

RULE = "gate.latency"


@dataclass(frozen=True)
class Latency:
    """The 95th percentile of single calls stays within `p95_ms`.

    Calls are made one row at a time, as requests come: the time of a batch divided by its rows says nothing of them.
    Order statistics bound the percentile: pass when the upper one-sided 95 % bound is within the limit, fail when
    the lower one is not, else inconclusive.

    Parameters
    ----------
    p95_ms : float
        Limit in milliseconds.
    calls : int
        Timed calls, at least 59: fewer have no upper bound of a 95th percentile.
    warmup : int
        Calls before the clock starts.
    when_inconclusive : {"promote", "hold"}
    """

    p95_ms: float = 100.0
    calls: int = 200
    warmup: int = 20
    when_inconclusive: Literal["promote", "hold"] = "hold"
    place: str | None = field(default=None, repr=False, compare=False)
    name = "latency"

    def __post_init__(self) -> None:
        object.__setattr__(self, "place", caller_place())
        check_number(self.p95_ms, "p95_ms", "Latency", 0.001, float("inf"))
        check_number(self.calls, "calls", "Latency", 59, 1_000_000, whole=True)
        check_number(self.warmup, "warmup", "Latency", 0, 1_000_000, whole=True)
        check_choice(self.when_inconclusive, "Latency")

    def describe(self) -> str:
        return f"95 of 100 single calls within {self.p95_ms:g} ms"

    def measure(self, context: GateContext) -> dict[str, Any]:
        times_ms = sorted(self._time(context))
        lower, upper = quantile_ranks(self.calls, 0.95)
        return {
            "p95_limit_ms": self.p95_ms,
            "calls": self.calls,
            "warmup": self.warmup,
            "p50_ms": _quantile(times_ms, 0.50),
            "p95_ms": _quantile(times_ms, 0.95),
            "p99_ms": _quantile(times_ms, 0.99),
            "p95_lower_ms": None if lower is None else times_ms[lower - 1],
            "p95_upper_ms": None if upper is None else times_ms[upper - 1],
            "when_inconclusive": self.when_inconclusive,
        }

    def judge(self, evidence: Mapping[str, Any]) -> Verdict:
        return judge(evidence)

    def _time(self, context: GateContext) -> list[float]:
        predict, rows, timer = context.model(self.name), context.rows, context.timer
        for i in range(self.warmup):
            predict([rows[i % len(rows)]])
        times_ms = []
        for i in range(self.calls):
            row = [rows[i % len(rows)]]
            start = timer()
            predict(row)
            times_ms.append((timer() - start) * 1000)
        return times_ms


@judged(RULE)
def judge(evidence: Mapping[str, Any]) -> tuple[Outcome, str]:
    """Three-way rule on the order-statistic bounds of the 95th percentile."""
    limit, lower, upper = evidence["p95_limit_ms"], evidence["p95_lower_ms"], evidence["p95_upper_ms"]
    said = f"p95 of {evidence['calls']:,} single calls is {evidence['p95_ms']:.3g} ms"
    if upper is not None and upper <= limit:
        return "pass", f"{said}, at most {upper:.3g} ms: within {limit:g} ms"
    if lower is not None and lower > limit:
        return "fail", f"{said}, at least {lower:.3g} ms: above {limit:g} ms"
    return "inconclusive", f"{said}: too close to {limit:g} ms to tell with so few calls"


def _quantile(ordered: list[float], share: float) -> float:
    """The smallest value that at least `share` of the values do not exceed."""
    return ordered[max(0, -int(-share * len(ordered) // 1) - 1)]
