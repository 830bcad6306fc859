"""What a suite found in a batch, in Great Expectations' JSON form and in words. Standard library only."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from millrace.core.verdict import Verdict
from millrace.validation.decisions import judge_validation
from millrace.validation.describe import demand, observed
from millrace.validation.json_form import json_ready
from millrace.validation.suite import SEVERITIES, Expectation

if TYPE_CHECKING:
    from millrace.core.records import Severity

BLOCKING: tuple[Severity, ...] = ("critical",)


@dataclass(frozen=True)
class ExpectationResult:
    """What one rule found.

    Parameters
    ----------
    expectation : Expectation
    success : bool
    result : mapping
        GX's `result` object, JSON-ready.
    problem : str, optional
        Why the rule could not be evaluated; `success` is then False.
    is_unsupported : bool
        The engine does not run this rule.
    """

    expectation: Expectation
    success: bool
    result: Mapping[str, Any] = field(default_factory=dict)
    problem: str | None = None
    is_unsupported: bool = False

    @property
    def observed(self) -> str:
        """What was seen, in a few words."""
        return self.problem if self.problem is not None else observed(self.expectation.type, self.result)

    def to_json_dict(self) -> dict[str, Any]:
        """GX 1.x form of one result."""
        rule = self.expectation
        config = {
            "type": rule.type,
            "kwargs": json_ready(dict(rule.kwargs)),
            "meta": dict(rule.meta or {}),
            "severity": rule.severity,
        }
        if rule.id is not None:
            config["id"] = rule.id
        return {
            "success": self.success,
            "expectation_config": config,
            "result": dict(self.result),
            "meta": {"suggestion": rule.suggestion} if rule.suggestion else {},
            "exception_info": {
                "raised_exception": self.problem is not None,
                # GX's own renderer wants a text here; there is no trace of a rule that was refused.
                "exception_traceback": self.problem,
                "exception_message": self.problem,
            },
        }


@dataclass(frozen=True)
class ValidationResult:
    """What all rules of a suite found in one batch.

    `success` follows GX, all rules must hold, and is False for a batch of 0 rows. `validated_at` is ISO 8601 text;
    `suite_parameters` are the values the suite was filled with, JSON-ready.
    """

    suite_name: str
    rows: int
    results: Sequence[ExpectationResult]
    suite_id: str | None = None
    validated_at: str | None = None
    suite_parameters: Mapping[str, Any] = field(default_factory=dict)

    @property
    def success(self) -> bool:
        return self.rows > 0 and all(result.success for result in self.results)

    @property
    def failed(self) -> list[ExpectationResult]:
        """The results of the rules that do not hold, in the suite's order."""
        return [result for result in self.results if not result.success]

    @property
    def is_blocking(self) -> bool:
        """Whether the batch must not be used."""
        return self.verdict().is_fail

    @property
    def statistics(self) -> dict[str, Any]:
        """GX's counts."""
        evaluated, unsuccessful = len(self.results), len(self.failed)
        passed = evaluated - unsuccessful
        return {
            "evaluated_expectations": evaluated,
            "successful_expectations": passed,
            "unsuccessful_expectations": unsuccessful,
            "success_percent": passed / evaluated * 100 if evaluated else None,
        }

    def evidence(self) -> dict[str, Any]:
        """What the verdict rests on, JSON-ready."""
        return {
            "suite": self.suite_name,
            "rows": self.rows,
            "evaluated": len(self.results),
            "passed": len(self.results) - len(self.failed),
            "blocking": list(BLOCKING),
            "failed": [
                {
                    "rule": demand(result.expectation.type, result.expectation.kwargs),
                    "type": result.expectation.type,
                    "column": result.expectation.column,
                    "severity": result.expectation.severity,
                    "observed": result.observed,
                    "is_unsupported": result.is_unsupported,
                }
                for result in self.failed
            ],
        }

    def verdict(self) -> Verdict:
        """May the batch be used; see `judge_validation`."""
        return judge_validation(self.evidence())

    def explain(self) -> str:
        """The verdict and every failed rule with what was seen, for a person; the grave before the light."""
        verdict = self.verdict()
        words = {"fail": "blocked", "pass": "usable", "inconclusive": "not judged"}
        lines = [f"{self.suite_name}: {words[verdict.outcome]}. {verdict.reason}"]
        for result in sorted(self.failed, key=lambda item: SEVERITIES.index(item.expectation.severity)):
            rule = result.expectation
            lines.append(f"  {rule.severity:<8}  {demand(rule.type, rule.kwargs)}")
            lines.append(f"            {result.observed}")
        lines += [
            f"  note      {rule.column}: {rule.suggestion}"
            for rule in (result.expectation for result in self.results)
            if rule.suggestion
        ]
        return "\n".join(lines)

    def to_json_dict(self) -> dict[str, Any]:
        """GX 1.x form of a validation result."""
        meta: dict[str, Any] = {"suite_id": self.suite_id, "row_count": self.rows}
        if self.validated_at is not None:
            meta["validation_time"] = self.validated_at
        return {
            "success": self.success,
            "results": [result.to_json_dict() for result in self.results],
            "suite_name": self.suite_name,
            "suite_parameters": dict(self.suite_parameters),
            "statistics": self.statistics,
            "meta": meta,
            "id": None,
        }
