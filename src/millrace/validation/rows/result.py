"""What rules find in one row."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from millrace.core.errors import DataError
from millrace.core.records import Severity
from millrace.validation.json_form import json_ready
from millrace.validation.rows.coercion import EXAMPLES, Target

Action = Literal["reject", "flag", "log"]

_SHOWN = 60


@dataclass(frozen=True, slots=True)
class RowRule:
    """A rule that is judged on every row, and what happens to a row that breaks it.

    Parameters
    ----------
    number : int
        Its place in the suite, from 1.
    text : str
        What it demands.
    type, column, severity
        The expectation's.
    action : {"reject", "flag", "log"}
    """

    number: int
    text: str
    type: str
    column: str | None
    severity: Severity
    action: Action


@dataclass(frozen=True, slots=True)
class NotJudged:
    """A rule of the suite that one row says nothing about, and why."""

    number: int
    text: str
    why: str


@dataclass(frozen=True, slots=True)
class RowFinding:
    """One rule that a row breaks; `observed` says what was seen."""

    rule: RowRule
    observed: str

    def error(self, where: str | None = None) -> DataError:
        """The finding as VALID-40."""
        return DataError(
            "VALID-40",
            f"{self.rule.text}; {self.observed}",
            where=where,
            why=f"rule {self.rule.number} of the suite ({self.rule.type}) is {self.rule.severity}",
            fix="send a value that keeps the rule; if the value is right, change the rule",
        )

    def to_dict(self) -> dict[str, Any]:
        return {
            "rule": self.rule.text,
            "number": self.rule.number,
            "type": self.rule.type,
            "column": self.rule.column,
            "severity": self.rule.severity,
            "action": self.rule.action,
            "observed": self.observed,
        }


@dataclass(slots=True)  # not frozen: that would cost more than the rules do
class RowResult:
    """A row, judged.

    Parameters
    ----------
    row : mapping
        As it was judged: with coerced values in place of those that were sent.
    broken : sequence of RowRule
        Rules it breaks, in the suite's order.
    coerced : mapping of str to value
        By column, what was sent where `row` holds another form of it.
    uncoerced : mapping of str to kind
        Columns whose values have no equal of the kind that is asked for.
    """

    row: Mapping[str, Any]
    broken: Sequence[RowRule] = ()
    coerced: Mapping[str, Any] = field(default_factory=dict)
    uncoerced: Mapping[str, Target] = field(default_factory=dict)
    explain: Callable[[Mapping[str, Any], Sequence[RowRule]], list[RowFinding]] = field(
        default=lambda row, broken: [], repr=False, compare=False
    )

    @property
    def is_clean(self) -> bool:
        """Whether it breaks no rule."""
        return not self.broken and not self.uncoerced

    @property
    def is_rejected(self) -> bool:
        """Whether it must not be used."""
        return bool(self.uncoerced) or any(rule.action == "reject" for rule in self.broken)

    @property
    def is_flagged(self) -> bool:
        """Whether it is used, and breaks a rule that somebody should hear of."""
        return not self.is_rejected and any(rule.action == "flag" for rule in self.broken)

    def findings(self) -> list[RowFinding]:
        """Every rule it breaks with what was seen. Worked out when asked: most rows are never asked."""
        return self.explain(self.row, self.broken) if self.broken else []

    def errors(self, where: str | None = None) -> list[DataError]:
        """Everything that rejects the row: VALID-42 for a value of another kind, VALID-40 for a broken rule.

        `where` is the place of the row, such as ``inputs[3]``.
        """
        found = [_wrong_kind(name, self.row[name], kind, where) for name, kind in self.uncoerced.items()]
        rejecting = [rule for rule in self.broken if rule.action == "reject" and not self._is_told(rule)]
        if rejecting:
            findings = self.explain(self.row, rejecting)
            found += [each.error(_place(where, each.rule.column)) for each in findings]
        return found

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready: ``row``, ``outcome``, ``findings``, ``coerced``, ``errors``."""
        outcome = "rejected" if self.is_rejected else "flagged" if self.is_flagged else "passed"
        return {
            "outcome": outcome,
            "row": json_ready(dict(self.row)),
            "findings": [finding.to_dict() for finding in self.findings()],
            "coerced": json_ready(dict(self.coerced)),
            "errors": [error.to_dict() for error in self.errors()],
        }

    def _is_told(self, rule: RowRule) -> bool:
        # A value of another kind breaks the rule on its type, and whatever compares it: once is enough.
        return rule.column is not None and rule.column in self.uncoerced


def _place(where: str | None, column: str | None) -> str | None:
    return f"{where}.{column}" if where and column else column or where


def _wrong_kind(name: str, value: Any, kind: Target, where: str | None) -> DataError:
    shown = repr(value) if isinstance(value, (str, int, float, bool)) else f"a {type(value).__name__}"
    shown = shown if len(shown) <= _SHOWN else f"{shown[: _SHOWN - 3]}..."
    return DataError(
        "VALID-42",
        f"{shown} is not {EXAMPLES[kind]}, and cannot be read as one without loss",
        where=_place(where, name),
        fix=f"send {EXAMPLES[kind]}, or null",
    )
