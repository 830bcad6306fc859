"""May this batch be used: a pure function of what the rules found. Standard library only."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from millrace.core.verdict import Outcome, Verdict
from millrace.validation.incidents.rules import INCIDENTS

RULE = "validation.suite"


def judge_validation(evidence: Mapping[str, Any]) -> Verdict:
    """Fail for a batch of 0 rows or a failed rule of a blocking severity; inconclusive when no rule was evaluated.

    Parameters
    ----------
    evidence : mapping
        ``suite``; ``rows``; ``evaluated`` and ``passed``, numbers of rules; ``failed``, a list of ``{rule, type,
        column, severity, observed, is_unsupported}``; ``blocking``, the severities that block.

    >>> judge_validation({"suite": "s", "rows": 0, "evaluated": 1, "passed": 1, "failed": [], "blocking": []}).reason
    'the batch has 0 rows: there is nothing to judge, and nothing to use'
    """
    failed, rows = evidence["failed"], evidence["rows"]
    blocking = [rule for rule in failed if rule["severity"] in evidence["blocking"]]
    others = [rule for rule in failed if rule["severity"] not in evidence["blocking"]]
    outcome: Outcome
    if rows == 0:
        outcome, reason = "fail", "the batch has 0 rows: there is nothing to judge, and nothing to use"
    elif blocking:
        count = f"{len(blocking)} of {evidence['evaluated']} rules failed"
        more = f", and {len(blocking) - 1} more" if len(blocking) > 1 else ""
        outcome, reason = "fail", f"{count} over {rows:,} rows: {_text(blocking[0])}{more}"
    elif evidence["evaluated"] == 0:
        outcome, reason = "inconclusive", f"the suite '{evidence['suite']}' has no rule"
    elif others:
        kinds = ", ".join(sorted({rule["severity"] for rule in others}))
        count = f"{len(others)} of {evidence['evaluated']} rules failed ({kinds}, not blocking)"
        outcome, reason = "pass", f"{count} over {rows:,} rows: {_text(others[0])}"
    else:
        outcome, reason = "pass", f"all {evidence['evaluated']} rules hold over {rows:,} rows"
    return Verdict(RULE, outcome, reason, dict(evidence))


def _text(rule: Mapping[str, Any]) -> str:
    return f"{rule['rule']} ({rule['observed']})"


DECISIONS: dict[str, Callable[[Mapping[str, Any]], Verdict]] = {
    RULE: judge_validation,
    **INCIDENTS,
}
