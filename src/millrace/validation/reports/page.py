"""A validation as a page that stands alone. Standard library only."""

from __future__ import annotations

from collections.abc import Sequence

from millrace.core.page import page, share_bar, table, text
from millrace.core.verdict import Verdict
from millrace.validation.describe import demand
from millrace.validation.result import ExpectationResult, ValidationResult

_WORDS = {"fail": ("blocked", "bad"), "pass": ("usable", "good"), "inconclusive": ("not judged", "warn")}
_SEVERITY = {"critical": "bad", "warning": "warn", "info": "dim"}
_EXAMPLES = 8


def validation_page(result: ValidationResult, *, batch: str, incidents: Sequence[Verdict] = ()) -> str:
    """A validation as a page: the verdict, what failed with examples, then every rule that holds."""
    verdict = result.verdict()
    is_incident = any(found.is_fail for found in incidents)
    word, color = _WORDS["fail" if is_incident else verdict.outcome]
    counts = result.statistics
    body = [
        f'<h1>{text(result.suite_name)}: <span class="{color}">{word}</span></h1>',
        f"<p>{text(verdict.reason)}</p>",
        f'<p class="dim">batch <code>{text(batch)}</code>, {result.rows:,} rows, '
        f"{counts['successful_expectations']} of {counts['evaluated_expectations']} rules hold"
        + (f", judged {text(result.validated_at[:19])} UTC" if result.validated_at else "")
        + "</p>",
    ]
    if incidents:
        lines = [
            [f'<span class="{_WORDS[found.outcome][1]}">{found.outcome}</span>', text(found.rule), text(found.reason)]
            for found in sorted(incidents, key=lambda one: not one.is_fail)
        ]
        body += ["<h2>Against the reference</h2>", table(["verdict", "rule", "found"], lines)]
    failed = sorted(result.failed, key=lambda item: list(_SEVERITY).index(item.expectation.severity))
    if failed:
        rows = [_failed_row(item) for item in failed]
        body += ["<h2>What does not hold</h2>", table(["severity", "rule", "found", "share", "examples"], rows)]
    kept = [item for item in result.results if item.success]
    if kept:
        rows = [[_rule(item), text(item.expectation.severity)] for item in kept]
        body += ["<h2>What holds</h2>", table(["rule", "severity"], rows)]
    return page(f"{result.suite_name}: {word}", body)


def _failed_row(item: ExpectationResult) -> list[str]:
    severity = item.expectation.severity
    share = item.result.get("unexpected_percent")
    bar = share_bar(share / 100, f"{share:.3g} %") if isinstance(share, (int, float)) else ""
    shown = item.result.get("partial_unexpected_counts") or []
    examples = [f"<code>{text(one.get('value'))}</code> {one.get('count', 1):,}×" for one in shown[:_EXAMPLES]]
    rows = item.result.get("partial_unexpected_index_list") or []
    if rows:
        places = ", ".join(map(str, rows[:_EXAMPLES])) + (" ..." if len(rows) > _EXAMPLES else "")
        examples.append(f'<span class="dim">rows {text(places)}</span>')
    return [
        f'<span class="{_SEVERITY[severity]}">{severity}</span>',
        _rule(item),
        text(item.observed),
        bar,
        "<br>".join(examples),
    ]


def _rule(item: ExpectationResult) -> str:
    rule = item.expectation
    note = f'<br><span class="warn">{text(rule.suggestion)}</span>' if rule.suggestion else ""
    return f'{text(demand(rule.type, rule.kwargs))}<br><span class="dim">{text(rule.type)}</span>{note}'
