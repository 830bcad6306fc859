"""What a comparison found, readable by people and machines."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from millrace.core.verdict import Verdict
from millrace.drift.decisions import ColumnDrift, judge_columns, judge_drift

_ORDER = ("drift", "error", "insufficient", "ok")


@dataclass(frozen=True)
class DriftReport:
    """Outcomes of all columns, computed from recorded evidence alone.

    Parameters
    ----------
    evidence : mapping
        The statistics and every limit, JSON-ready, as `compare` measured them.

    Attributes
    ----------
    columns : list of ColumnDrift
        In the evidence's order.
    """

    evidence: Mapping[str, Any]
    columns: list[ColumnDrift] = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "columns", judge_columns(self.evidence))

    def __getitem__(self, name: str) -> ColumnDrift:
        for column in self.columns:
            if column.name == name:
                return column
        raise KeyError(name)

    @property
    def drifted(self) -> list[str]:
        """Names of the columns that drifted."""
        return [column.name for column in self.columns if column.outcome == "drift"]

    def verdict(self) -> Verdict:
        """Fail on any drift or error, inconclusive when something could not be tested, else pass."""
        return judge_drift(self.evidence)

    def to_dict(self) -> dict[str, Any]:
        """The verdict with its evidence, the drifted columns, and every column's outcome."""
        verdict = self.verdict()
        return {
            "rule": verdict.rule,
            "outcome": verdict.outcome,
            "reason": verdict.reason,
            "drifted": self.drifted,
            "columns": [column.to_dict() for column in self.columns],
            "evidence": dict(self.evidence),
        }

    @classmethod
    def from_dict(cls, facts: Mapping[str, Any]) -> DriftReport:
        """The report again, its outcomes recomputed from the evidence `to_dict` wrote."""
        return cls(facts["evidence"])

    def explain(self) -> str:
        """The report as text: what moved first, one column a line, then the limits used."""
        facts = self.evidence
        lines = [
            f"{facts['rows_current']:,} rows against {facts['rows_reference']:,} of reference: {self.verdict().reason}"
        ]
        width = max((len(column.name) for column in self.columns), default=0)
        lines += [
            f"  {column.outcome:<12}  {column.name:<{width}}  {column.reason}"
            for column in sorted(self.columns, key=lambda c: _ORDER.index(c.outcome))
        ]
        lines.append(
            f"  limits        false-discovery rate {facts['q']:g}, effect {facts['effect']:g}, "
            f"share of rows {facts['rate_effect']:g}, at least {facts['min_rows']} rows"
        )
        return "\n".join(lines)
