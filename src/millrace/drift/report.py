"""What a comparison found, readable by people and machines."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from millrace.core.verdict import Verdict
from millrace.drift.batch_decisions import PARTS, judge_batch, judge_parts
from millrace.drift.decisions import ColumnDrift, false_alarm_chance, judge_columns, judge_drift

_ORDER = ("drift", "error", "insufficient", "ok")
_WORDS = {"classifier": "classifier", "scores": "scores", "estimated_performance": "performance"}


@dataclass(frozen=True)
class DriftReport:
    """Outcomes of all columns, and of the batch as a whole, computed from recorded evidence alone.

    Parameters
    ----------
    evidence : mapping
        The statistics and every limit, JSON-ready, as `compare` measured them; of a batch that `assess` looked at also
        `classifier`, `scores` and `estimated_performance`, where those could be asked.

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

    @property
    def columns_added(self) -> list[str]:
        """Columns that only the batch has: told, not compared."""
        return list(self.evidence["columns_added"])

    @property
    def columns_removed(self) -> list[str]:
        """Columns that the batch lacks; those that were to be compared are errors, too."""
        return list(self.evidence.get("columns_removed", ()))

    def told_of_columns(self) -> list[tuple[str, str]]:
        """What no column's outcome tells: which are new, which are gone unasked for, which types are of no column."""
        compared = {column.name for column in self.columns}
        gone = [name for name in self.columns_removed if name not in compared]
        told = []
        if self.columns_added:
            told.append(("new", f"{', '.join(self.columns_added)}: not in the reference, so not compared"))
        if gone:
            told.append(("gone", f"{', '.join(gone)}: in the reference, and was not to be compared"))
        if self.evidence.get("types_unused"):
            told.append(
                ("no column", f"{', '.join(self.evidence['types_unused'])}: a type is declared, nothing has it")
            )
        return told

    @property
    def parts(self) -> dict[str, Verdict]:
        """What was asked of the batch beside its columns: classifier, scores, estimated_performance."""
        return {name: verdict for name, verdict in judge_parts(self.evidence).items() if name in PARTS}

    @property
    def false_alarm_chance(self) -> float:
        """The chance, at most, that a batch like this one is flagged though nothing drifted."""
        chance = false_alarm_chance(self.evidence)
        for name in ("classifier", "scores"):
            if self.evidence.get(name) is not None:
                chance += self.evidence[name]["alpha"]
        return min(1.0, chance)

    @property
    def false_alarms_per_month(self) -> float:
        """How many of a month's batches are flagged at most though nothing drifted."""
        return self.false_alarm_chance * float(self.evidence["batches_per_month"])

    def verdict(self) -> Verdict:
        """Fail on any drift or error, inconclusive when something could not be tested, else pass."""
        return judge_batch(self.evidence) if self.parts else judge_drift(self.evidence)

    def verdicts(self) -> list[Verdict]:
        """One verdict on the columns and one on each part, each with its own evidence alone."""
        of_columns = {name: value for name, value in self.evidence.items() if name not in PARTS}
        return [judge_drift(of_columns), *self.parts.values()]

    def by_severity(self) -> list[ColumnDrift]:
        """The columns, those that moved most first."""
        return sorted(
            self.columns,
            key=lambda c: (_ORDER.index(c.outcome), c.severity != "major", -(c.effect or 0.0)),
        )

    def to_dict(self) -> dict[str, Any]:
        """The verdict with its evidence, the drifted columns, and every column's outcome."""
        verdict = self.verdict()
        return {
            "rule": verdict.rule,
            "outcome": verdict.outcome,
            "reason": verdict.reason,
            "drifted": self.drifted,
            "columns": [column.to_dict() for column in self.columns],
            "columns_added": self.columns_added,
            "columns_removed": self.columns_removed,
            "parts": {name: {"outcome": part.outcome, "reason": part.reason} for name, part in self.parts.items()},
            "false_alarm_chance": self.false_alarm_chance,
            "false_alarms_per_month": self.false_alarms_per_month,
            "evidence": dict(self.evidence),
        }

    def to_html(self, *, title: str = "Drift", note: str = "") -> str:
        """The report as a page that stands alone: pictures of every column, no script, nothing fetched."""
        from millrace.drift.html import drift_page

        return drift_page(self, title=title, note=note)

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
        lines += [f"  {column.outcome:<12}  {column.name:<{width}}  {_why(column)}" for column in self.by_severity()]
        lines += [f"  {word:<12}  {text}" for word, text in self.told_of_columns()]
        lines += [f"  {_WORDS[name]:<12}  {part.outcome}: {part.reason}" for name, part in self.parts.items()]
        if "estimated_performance" in self.parts:
            lines.append(f"  {'':<12}  {facts['estimated_performance']['blind_spot']}")
        lines.append(
            f"  limits        false-discovery rate {facts['q']:g}, effect {facts['effect']:g}, "
            f"share of rows {facts['rate_effect']:g}, at least {facts['min_rows']} rows"
        )
        lines.append(
            f"  false alarms  at most {self.false_alarm_chance:.2g} of healthy batches: "
            f"{self.false_alarms_per_month:.2g} a month of {facts['batches_per_month']}"
        )
        return "\n".join(lines)


def _why(column: ColumnDrift) -> str:
    return f"{column.severity}: {column.reason}" if column.severity else column.reason
