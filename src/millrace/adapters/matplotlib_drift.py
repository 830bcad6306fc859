"""A drift report as one picture: every column's distribution then and now, those that moved most first."""

from __future__ import annotations

import io
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from millrace.core.errors import MissingExtra
from millrace.drift.html import edge_labels, without_rest

try:
    import matplotlib
    from matplotlib.figure import Figure
except ModuleNotFoundError as error:
    raise MissingExtra("matplotlib", "plots", "a picture of drift") from error

if TYPE_CHECKING:
    from millrace.drift.decisions import ColumnDrift
    from millrace.drift.report import DriftReport

_MOST_COLUMNS = 24
_ACROSS = 4
_THEN, _NOW = "#a9b0bb", "#1f5fbf"
_COLORS = {"drift": "#c0392b", "error": "#c0392b", "insufficient": "#b07400", "ok": "#2e7d4f"}
_MOST_TEXT = 34
_MOST_NAMES = 6


def draw_drift(report: DriftReport, *, title: str) -> bytes:
    """The report as PNG: at most 24 columns, those that moved most.

    The title says how many more there are, and names those that are not ok and have nothing to draw.
    """
    facts = {one["name"]: one for one in report.evidence["columns"]}
    columns = [column for column in report.by_severity() if facts[column.name].get("bars")]
    shown = columns[:_MOST_COLUMNS]
    down = max(1, -(-len(shown) // _ACROSS))
    # A figure of its own, without pyplot: nothing global is touched, and no display is asked for. What users call
    # their columns is no mathematics.
    settings = {"font.size": 8, "axes.spines.top": False, "axes.spines.right": False, "text.parse_math": False}
    with matplotlib.rc_context(settings):
        headline = _headline(report, title, len(columns) - len(shown))
        height = 1.0 + 0.15 * (headline.count("\n") + 1) + 1.9 * down
        figure = Figure(figsize=(12, height), dpi=120, layout="constrained")
        figure.suptitle(headline, x=0.01, ha="left", fontsize=10)
        places = figure.subplots(down, _ACROSS, squeeze=False).flat
        for axes, column in zip(places, shown, strict=False):
            _draw(axes, column, facts[column.name])
        for axes in list(figure.axes)[len(shown) :]:
            axes.set_visible(False)
        sink = io.BytesIO()
        figure.savefig(sink, format="png")
    return sink.getvalue()


def _draw(axes: Any, column: ColumnDrift, facts: Mapping[str, Any]) -> None:
    bars = without_rest(facts["bars"])
    first, last = edge_labels(bars, is_time=str(facts["type_current"]).startswith(("timestamp", "date")))
    if "edges" in bars:
        axes.stairs(bars["reference"], bars["edges"], fill=True, color=_THEN)
        axes.stairs(bars["current"], bars["edges"], color=_NOW, linewidth=1.4)
        axes.set_xticks([bars["edges"][0], bars["edges"][-1]], [first, last])
    else:
        places = range(len(bars["levels"]))
        axes.bar([i - 0.2 for i in places], bars["reference"], 0.4, color=_THEN)
        axes.bar([i + 0.2 for i in places], bars["current"], 0.4, color=_NOW)
        axes.set_xticks([0, max(len(bars["levels"]) - 1, 0.5)], [first, last])
    axes.set_yticks([])
    size = "" if column.effect is None else f"  {column.effect:.3f}"
    word = f"{column.severity} {column.outcome}" if column.severity else column.outcome
    axes.set_title(f"{_plain(column.name)}\n{word}{size}", loc="left", fontsize=8, color=_COLORS[column.outcome])


def _headline(report: DriftReport, title: str, left_out: int) -> str:
    then, now = report.evidence["rows_reference"], report.evidence["rows_current"]
    first = (
        f"{_plain(title)}: {report.verdict().outcome}, {len(report.drifted)} of {len(report.columns)} columns drifted; "
        f"{now:,} current rows (line) against {then:,} of reference (filled)"
    )
    second = [f"{name.replace('_', ' ')}: {part.outcome}" for name, part in report.parts.items()]
    second += [f"{left_out} more columns are not drawn"] if left_out else []
    lines = [first, ", ".join(second), *_without_picture(report)]
    return "\n".join(line for line in lines if line)


def _without_picture(report: DriftReport) -> list[str]:
    """The columns that a picture alone would pass over: broken or untested, or null, new, gone."""
    drawn = {one["name"] for one in report.evidence["columns"] if one.get("bars")}
    named = {
        outcome: [column.name for column in report.columns if column.outcome == outcome and column.name not in drawn]
        for outcome in ("drift", "error", "insufficient")
    }
    compared = {column.name for column in report.columns}
    named["new"] = report.columns_added
    named["gone"] = [name for name in report.columns_removed if name not in compared]
    return [f"{word}: {_some(names)}" for word, names in named.items() if names]


def _some(names: list[str]) -> str:
    shown = ", ".join(_plain(name) for name in names[:_MOST_NAMES])
    return shown if len(names) <= _MOST_NAMES else f"{shown} and {len(names) - _MOST_NAMES} more"


def _plain(text: str) -> str:
    """Text that a font can draw: control characters and halves of surrogate pairs are written out."""
    whole = text.encode("utf-8", "backslashreplace").decode("utf-8")
    cut = whole if len(whole) <= _MOST_TEXT else f"{whole[: _MOST_TEXT - 1]}…"
    return "".join(c if c.isprintable() else f"\\x{ord(c):02x}" for c in cut)
