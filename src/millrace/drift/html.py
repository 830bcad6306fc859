"""A drift report as a page that stands alone: distributions then and now, verdicts, limits. Standard library only."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from millrace.core.clock import from_micros, to_text
from millrace.core.page import page, share_bar, table, text
from millrace.drift.decisions import shown

if TYPE_CHECKING:
    from millrace.drift.decisions import ColumnDrift
    from millrace.drift.report import DriftReport

_WORDS = {"fail": ("drifted", "bad"), "pass": ("no drift", "good"), "inconclusive": ("not all testable", "warn")}
_OUTCOMES = {"drift": "bad", "error": "bad", "insufficient": "warn", "ok": "good"}
_PART_OUTCOMES = {"fail": "bad", "pass": "good", "inconclusive": "warn"}
_PARTS = {
    "classifier": "Can rows be told apart?",
    "scores": "Did the model's answers move?",
    "estimated_performance": "How well does the model do?",
}
_WIDTH, _HEIGHT = 220, 56
_MOVES = 3
_STYLE = """
svg .then { fill: var(--dim); opacity: .45; } svg .now { fill: none; stroke: var(--bar); stroke-width: 1.6; }
svg .nowbar { fill: var(--bar); } svg .base { stroke: var(--line); } svg text { fill: var(--dim); font-size: 9px; }
.key { display: inline-block; width: .8rem; height: .8rem; border-radius: .15rem; vertical-align: -.1rem; }
.key.then { background: var(--dim); opacity: .45; } .key.now { background: var(--bar); }
td small { color: var(--dim); } td.figure { white-space: nowrap; }
"""


def drift_page(report: DriftReport, *, title: str, note: str = "") -> str:
    """The whole report: verdict, the batch as a whole, every column by severity, limits and false alarms."""
    facts, verdict = report.evidence, report.verdict()
    word, color = _WORDS[verdict.outcome]
    body = [
        f'<h1>{text(title)}: <span class="{color}">{word}</span></h1>',
        f"<p>{text(verdict.reason)}</p>",
        f'<p class="dim">{facts["rows_current"]:,} current rows against {facts["rows_reference"]:,} of reference'
        + (f"; {text(note)}" if note else "")
        + "</p>",
    ]
    if report.parts:
        rows = [_part_row(name, part.outcome, part.reason, facts[name]) for name, part in report.parts.items()]
        body += ["<h2>The batch as a whole</h2>", table(["question", "answer", "why", "what adds to it"], rows)]
    if "estimated_performance" in report.parts:
        body += [
            "<h2>Performance without labels</h2>",
            _performance(facts["estimated_performance"]),
        ]
    body += [
        "<h2>Columns</h2>",
        '<p class="dim"><span class="key then"></span> reference &nbsp; <span class="key now"></span> current</p>',
        _columns(report),
        *(f'<p><span class="warn">{text(word)}</span> {text(why)}</p>' for word, why in report.told_of_columns()),
        "<h2>Limits and false alarms</h2>",
        *_limits(report),
    ]
    return page(f"{title}: {word}", body, style=_STYLE)


def picture(bars: Mapping[str, Any] | None, label: str, *, is_time: bool = False) -> str:
    """The shares of both sides: a filled histogram under a line for numbers, bars side by side for levels.

    What many rare levels have together is named below, and not drawn: it would make all others small.
    """
    if not bars:
        return ""
    bars = without_rest(bars)
    then, now = list(bars["reference"]), list(bars["current"])
    top = max([*then, *now], default=0.0)
    if top <= 0:
        return ""
    ends = edge_labels(bars, is_time=is_time)
    drawn = _steps(then, now, top) if "edges" in bars else _pairs(bars["levels"], then, now, top)
    return (
        f'<svg width="{_WIDTH}" height="{_HEIGHT + 12}" role="img" aria-label="{text(label)}">'
        f'<title>{text(label)}</title>{drawn}<line class="base" x1="0" x2="{_WIDTH}" y1="{_HEIGHT}" y2="{_HEIGHT}"/>'
        f'<text x="0" y="{_HEIGHT + 10}">{text(ends[0])}</text>'
        f'<text x="{_WIDTH}" y="{_HEIGHT + 10}" text-anchor="end">{text(ends[1])}</text></svg>'
    )


def _steps(then: Sequence[float], now: Sequence[float], top: float) -> str:
    step = _WIDTH / len(then)
    bars = "".join(
        f'<rect class="then" x="{i * step:.2f}" y="{_y(share, top):.2f}" width="{step:.2f}" '
        f'height="{_HEIGHT - _y(share, top):.2f}"/>'
        for i, share in enumerate(then)
        if share > 0
    )
    points = "".join(f"L{i * step:.2f} {_y(s, top):.2f}H{(i + 1) * step:.2f}" for i, s in enumerate(now))
    return f'{bars}<path class="now" d="M0 {_HEIGHT}{points}V{_HEIGHT}"/>'


def _pairs(levels: Sequence[str], then: Sequence[float], now: Sequence[float], top: float) -> str:
    step = _WIDTH / len(levels)
    wide = max(step * 0.4, 1.0)
    drawn = []
    for i, (level, before, after) in enumerate(zip(levels, then, now, strict=True)):
        left = i * step + step * 0.08
        drawn.append(
            f"<g><title>{text(level)}: {before:.1%} then, {after:.1%} now</title>"
            f'<rect class="then" x="{left:.2f}" y="{_y(before, top):.2f}" width="{wide:.2f}" '
            f'height="{_HEIGHT - _y(before, top):.2f}"/>'
            f'<rect class="nowbar" x="{left + wide:.2f}" y="{_y(after, top):.2f}" width="{wide:.2f}" '
            f'height="{_HEIGHT - _y(after, top):.2f}"/></g>'
        )
    return "".join(drawn)


def _y(share: float, top: float) -> float:
    """Where a bar begins; one above 0 is never drawn as none."""
    return _HEIGHT - (max(1.0, share / top * (_HEIGHT - 2)) if share > 0 else 0.0)


def without_rest(bars: Mapping[str, Any]) -> Mapping[str, Any]:
    """Bars of levels without the last one that stands for all others, if there is one."""
    levels = bars.get("levels")
    if not levels or len(levels) < 2 or not (levels[-1].startswith("(") and levels[-1].endswith(" others)")):
        return bars
    return {name: values[:-1] for name, values in bars.items()} | {"rest": levels[-1]}


def edge_labels(bars: Mapping[str, Any], *, is_time: bool = False) -> tuple[str, str]:
    """What to write below the first and the last bar; instants are in microseconds."""
    if "edges" not in bars:
        levels = [str(level) for level in bars["levels"]]
        last = bars.get("rest") or (levels[-1] if len(levels) > 1 else "")
        return _short(levels[0]), _short(str(last))
    first, last = bars["edges"][0], bars["edges"][-1]
    if not is_time:
        return f"{first:.4g}", f"{last:.4g}"
    try:
        return to_text(from_micros(int(first)))[:10], to_text(from_micros(int(last)))[:10]
    except (OverflowError, ValueError):  # beyond the calendar
        return "", ""


def _columns(report: DriftReport) -> str:
    facts = {one["name"]: one for one in report.evidence["columns"]}
    rows = [_column_row(column, facts[column.name]) for column in report.by_severity()]
    figures = ["effect", "PSI", "q", "nulls"]
    return table(["", "column", "distribution", "why", *figures], rows, figures=figures)


def _column_row(column: ColumnDrift, facts: Mapping[str, Any]) -> list[str]:
    moved = [
        f"{text(_short(str(move['level']), 40))} {move['reference']:.1%} → {move['current']:.1%}"
        for move in column.moves[:_MOVES]
    ]
    why = text(column.reason)
    if moved and column.outcome == "drift":
        why += f"<br><small>{'; '.join(moved)}</small>"
    severity = f"<br><small>{column.severity}</small>" if column.severity else ""
    return [
        f'<span class="{_OUTCOMES[column.outcome]}">{column.outcome}</span>{severity}',
        f"<code>{text(column.name)}</code><br><small>{text(column.kind or '')}</small>",
        picture(
            facts.get("bars"),
            f"distribution of {column.name}, reference and current",
            is_time=str(facts["type_current"]).startswith(("timestamp", "date")),
        ),
        why,
        _figure(column.effect),
        _figure(column.effects.get("psi")),
        "" if column.q_value is None else shown(column.q_value),
        f"{_share(column.null_rate_reference)} → {_share(column.null_rate_current)}",
    ]


def _part_row(name: str, outcome: str, reason: str, facts: Mapping[str, Any]) -> list[str]:
    shown = []
    if name == "classifier":
        shown = [
            f"{share_bar(entry['share'], entry['term'])}<small>{text(entry['term'])} {entry['share']:.0%}</small>"
            for entry in facts["contributors"][:5]
        ]
    elif name == "scores":
        tests = sorted(facts["tests"], key=lambda test: -test["effect"])[:5]
        shown = [f"<small>{text(test['of'])} {test['effect']:.3f}</small>" for test in tests]
    elif facts["calibration"]:
        raw, mended = (facts["calibration"][side]["error"] for side in ("raw", "mended"))
        shown = [f"<small>calibration error of the scores {raw:.3f}, after mending {mended:.3f}</small>"]
    return [
        text(_PARTS[name]),
        f'<span class="{_PART_OUTCOMES[outcome]}">{outcome}</span>',
        text(reason),
        "<br>".join(shown),
    ]


def _performance(facts: Mapping[str, Any]) -> str:
    rows = [
        [
            text(name),
            _figure(metric["value"]),
            f"{metric['low']:.3f} to {metric['high']:.3f}",
            _figure(metric["at_deploy"]),
            _figure(metric["limit"]),
        ]
        for name, metric in facts["metrics"].items()
    ]
    rows += [
        [text(name), f'<span class="warn">{text(why)}</span>', "", "", ""]
        for name, why in facts.get("without_estimate", {}).items()
    ]
    figures = ["estimate", "95 % interval", "holdout", "limit"]
    return (
        table(["metric", *figures], rows, figures=figures)
        + f'<p class="warn">What it cannot see: {text(facts["blind_spot"])}.</p>'
    )


def _limits(report: DriftReport) -> list[str]:
    facts = report.evidence
    lines = [
        f"A column drifted when a test is significant at a false-discovery rate of {facts['q']:g} over all tests of "
        f"the batch and its effect is at least {facts['effect']:g} (of the rate of nulls, infinities or unseen levels "
        f"{facts['rate_effect']:g}). Fewer than {facts['min_rows']} rows are not tested.",
        f"At most {report.false_alarm_chance:.2g} of healthy batches are flagged by chance: "
        f"{report.false_alarms_per_month:.2g} a month of {facts['batches_per_month']} batches. "
        "Rows are taken as independent.",
    ]
    return [f"<p>{text(line)}</p>" for line in lines]


def _figure(value: Any, form: str = ".3f") -> str:
    return "" if value is None else f"{value:{form}}"


def _share(rate: float | None) -> str:
    return "-" if rate is None else f"{rate:.1%}"


def _short(value: str, most: int = 22) -> str:
    return value if len(value) <= most else f"{value[: most - 1]}…"
