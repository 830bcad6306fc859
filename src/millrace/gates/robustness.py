"""A model must not change its mind over noise."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from millrace.core.definition import caller_place
from millrace.core.intervals import wilson_interval
from millrace.core.verdict import Outcome, Verdict
from millrace.gates.judging import judged
from millrace.gates.settings import check_choice, check_number

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from millrace.gates.context import GateContext

RULE = "gate.robustness"
SEED = 20240229
# A number "agrees" when it moved by no more than this share of the spread of all answers.
_SAME_WITHIN = 0.05


@dataclass(frozen=True)
class Robustness:
    """At least `agreement` of the answers survive noise of `noise` times each numeric column's standard deviation.

    Scaled to the column, the noise means the same in cents and in millions. Integer columns stay integers: the noise
    is rounded up or down at random so that its mean stays right. Three answers by Wilson's bounds over the rows.

    Parameters
    ----------
    noise : float
        Share of a column's standard deviation.
    agreement : float
        Least share of equal answers; for regression of answers that move by at most 5 % of the answers' spread.
    draws : int
        Noisy copies of the rows.
    max_rows : int
        Rows used, the first ones; a bound for the time taken.
    when_inconclusive : {"promote", "hold"}
    """

    noise: float = 0.01
    agreement: float = 0.95
    draws: int = 3
    max_rows: int = 2000
    when_inconclusive: Literal["promote", "hold"] = "hold"
    place: str | None = field(default=None, repr=False, compare=False)
    name = "robustness"

    def __post_init__(self) -> None:
        object.__setattr__(self, "place", caller_place())
        check_number(self.noise, "noise", "Robustness", 1e-9, 10.0)
        check_number(self.agreement, "agreement", "Robustness", 0.0, 1.0)
        check_number(self.draws, "draws", "Robustness", 1, 1000, whole=True)
        check_number(self.max_rows, "max_rows", "Robustness", 1, 10**9, whole=True)
        check_choice(self.when_inconclusive, "Robustness")

    def describe(self) -> str:
        return f"{self.agreement:.0%} of the answers survive noise of {self.noise:g} standard deviations"

    def measure(self, context: GateContext) -> dict[str, Any]:
        import numpy as np

        predict = context.model(self.name)
        rows = [list(row) for row in context.rows[: self.max_rows]]
        spreads = _spreads(rows, context)
        evidence = {
            "noise": self.noise,
            "limit": self.agreement,
            "draws": self.draws,
            "seed": SEED,
            "rows": len(rows),
            "columns": [context.columns[i].name for i in spreads],
            "agreement": None,
            "when_inconclusive": self.when_inconclusive,
        }
        if not spreads:
            return evidence
        rng = np.random.default_rng(SEED)
        calm = np.asarray(predict(rows)[0])
        same = [
            _agreement(context.task, calm, np.asarray(predict(_disturb(rows, spreads, context, self.noise, rng))[0]))
            for _ in range(self.draws)
        ]
        return evidence | {"agreement": float(np.mean(same))}

    def judge(self, evidence: Mapping[str, Any]) -> Verdict:
        return judge(evidence)


@judged(RULE)
def judge(evidence: Mapping[str, Any]) -> tuple[Outcome, str]:
    """Three-way rule on Wilson's bounds of the agreement; the draws of one row count as one row."""
    if evidence["agreement"] is None:
        return "inconclusive", "no numeric column varies: there is nothing to disturb"
    share, limit, n = evidence["agreement"], evidence["limit"], evidence["rows"]
    lower, upper = wilson_interval(share * n, n)
    said = (
        f"{share:.2%} of the answers survive noise of {evidence['noise']:g} standard deviations "
        f"(95 % interval {lower:.2%} to {upper:.2%}, {n:,} rows)"
    )
    if lower >= limit:
        return "pass", f"{said}: at least {limit:.2%}"
    if upper < limit:
        return "fail", f"{said}: below {limit:.2%}"
    return "inconclusive", f"{said}: too few rows to tell {limit:.2%}"


def _spreads(rows: list[list[Any]], context: GateContext) -> dict[int, float]:
    """Position of each numeric column that varies, with its standard deviation over the values that are there."""
    import numpy as np

    spreads = {}
    for place, column in enumerate(context.columns):
        if column.type not in ("int", "float"):
            continue
        values = np.array([row[place] for row in rows if row[place] is not None], dtype=float)
        values = values[np.isfinite(values)]
        if len(values) > 1 and values.std() > 0:
            spreads[place] = float(values.std())
    return spreads


def _disturb(
    rows: list[list[Any]], spreads: Mapping[int, float], context: GateContext, noise: float, rng: Any
) -> list[list[Any]]:
    import numpy as np

    disturbed = [row.copy() for row in rows]
    for place, spread in spreads.items():
        shifts = rng.normal(0.0, noise * spread, len(rows))
        is_integer = context.columns[place].type == "int"
        if is_integer:
            shifts = np.floor(shifts + rng.uniform(size=len(rows)))
        for row, shift in zip(disturbed, shifts.tolist(), strict=True):
            value = row[place]
            if value is not None and np.isfinite(value):
                row[place] = int(value) + int(shift) if is_integer else float(value) + shift
    return disturbed


def _agreement(task: str, calm: NDArray[Any], disturbed: NDArray[Any]) -> float:
    import numpy as np

    if task != "regression":
        return float(np.mean(calm == disturbed))
    return float(np.mean(np.abs(disturbed - calm) <= _SAME_WITHIN * np.std(calm)))
