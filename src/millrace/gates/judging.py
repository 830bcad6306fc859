"""How a judge becomes a verdict, and a gate that broke becomes a refusal."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from millrace.core.verdict import Outcome, Verdict

Judge = Callable[[Mapping[str, Any]], Verdict]


def judged(rule: str) -> Callable[[Callable[[Mapping[str, Any]], tuple[Outcome, str]]], Judge]:
    """Make a verdict of a function from evidence to (outcome, reason).

    Evidence with an ``error`` in it was recorded by a gate that raised: it fails, with that text, also on replay.
    """

    def decorate(decide: Callable[[Mapping[str, Any]], tuple[Outcome, str]]) -> Judge:
        def judge(evidence: Mapping[str, Any]) -> Verdict:
            outcome: Outcome
            if evidence.get("error") is not None:
                outcome, reason = "fail", f"the gate could not be evaluated: {evidence['error']}"
            else:
                outcome, reason = decide(evidence)
            return Verdict(rule, outcome, reason, evidence)

        judge.__doc__ = decide.__doc__
        return judge

    return decorate
