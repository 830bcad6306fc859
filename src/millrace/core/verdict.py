"""Pass, fail or inconclusive, with the evidence."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

Outcome = Literal["pass", "fail", "inconclusive"]


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a rule says of a subject, and why.

    A verdict is a pure function of its evidence: the rule named `rule`, given `evidence` again, yields an equal
    verdict. `evidence` is JSON-ready and holds every number the rule looked at, thresholds included.

    Parameters
    ----------
    rule : str
        Name of the rule, e.g. ``gate.no_regression``.
    outcome : {"pass", "fail", "inconclusive"}
    reason : str
        One sentence with the values, for a person.
    evidence : mapping
    """

    rule: str
    outcome: Outcome
    reason: str
    evidence: Mapping[str, Any] = field(default_factory=dict)

    @property
    def is_pass(self) -> bool:
        return self.outcome == "pass"

    @property
    def is_fail(self) -> bool:
        return self.outcome == "fail"

    def __bool__(self) -> bool:
        raise TypeError("a Verdict has three outcomes: ask .is_pass or .is_fail")

    def to_dict(self) -> dict[str, Any]:
        return {
            "rule": self.rule,
            "outcome": self.outcome,
            "reason": self.reason,
            "evidence": dict(self.evidence),
        }

    @classmethod
    def from_dict(cls, facts: Mapping[str, Any]) -> Verdict:
        return cls(facts["rule"], facts["outcome"], facts["reason"], dict(facts["evidence"]))
