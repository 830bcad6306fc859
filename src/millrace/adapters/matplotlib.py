"""Pictures: weekly accuracy of a replay with its deployments marked, as PNG and as a self-contained page."""

from __future__ import annotations

import base64
import html
import io
from collections.abc import Mapping
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import matplotlib
from matplotlib.figure import Figure

from millrace.store.disk import write_atomic

_COLORS = {"accuracy": "#1f5fbf", "accuracy_static": "#c0504d", "accuracy_naive": "#8a8a8a"}
_NAMES = {
    "accuracy": "with Millrace",
    "accuracy_static": "without automation",
    "accuracy_naive": "same as last label",
}
_SMOOTH_WEEKS = 4


def draw_replay(summary: Mapping[str, Any], *, picture: Path, page: Path) -> None:
    """Write the picture and the page of a demo's summary (`millrace.flow.demo.summarize`)."""
    image = _render(summary)
    write_atomic(picture, image)
    write_atomic(page, _page(summary, image).encode())


def _render(summary: Mapping[str, Any]) -> bytes:
    stories = list(summary["models"].values())
    # A figure of its own, without pyplot: nothing global is touched, and no display is asked for.
    with matplotlib.rc_context({"font.size": 9, "axes.spines.top": False, "axes.spines.right": False}):
        figure = Figure(figsize=(11, 3.6 * len(stories)), dpi=120, layout="constrained")
        for axes, story in zip(figure.subplots(len(stories), 1, squeeze=False)[:, 0], stories, strict=True):
            _draw_story(axes, story)
        sink = io.BytesIO()
        figure.savefig(sink, format="png")
    return sink.getvalue()


def _draw_story(axes: Any, story: Mapping[str, Any]) -> None:
    weeks = [week for week in story["weeks"] if week["rows"]]
    days = [date.fromisoformat(week["start"]) for week in weeks]
    for series, color in _COLORS.items():
        values = [week[series] for week in weeks]
        smooth = [
            sum(values[max(0, i - _SMOOTH_WEEKS + 1) : i + 1]) / min(i + 1, _SMOOTH_WEEKS) for i in range(len(values))
        ]
        name = f"{_NAMES[series]} ({story[series]:.3f})"
        axes.plot(days, smooth, color=color, linewidth=1.8 if series == "accuracy" else 1.3, label=name)
        if series == "accuracy":
            axes.plot(days, values, color=color, alpha=0.25, linewidth=0.8)
    bottom, top = axes.get_ylim()
    marked = set()
    for retrain in story["retrains"]:
        kind = "deployed" if retrain["promoted"] else "refused by a gate"
        color = "#2e8b57" if retrain["promoted"] else "#d08700"
        label = None if kind in marked else kind
        marked.add(kind)
        day = date.fromisoformat(retrain["date"])
        axes.plot(
            [day],
            [bottom + 0.02 * (top - bottom)],
            marker="^",
            markersize=5,
            color=color,
            linestyle="none",
            label=label,
        )
    if story["drift"]:
        first = date.fromisoformat(story["drift"][0]["date"])
        axes.axvline(first, color="#7a3fb0", linewidth=0.9, linestyle=":")
        axes.annotate(
            f"drift: {', '.join(story['drift'][0]['columns'][:3])}",
            (first + timedelta(days=4), bottom + 0.1 * (top - bottom)),
            color="#7a3fb0",
            fontsize=8,
        )
    axes.set_title(f"{story['model']}: accuracy by week (thick: mean of {_SMOOTH_WEEKS} weeks)", loc="left", pad=22)
    axes.legend(loc="lower left", bbox_to_anchor=(0, 1.0), ncols=5, frameon=False, fontsize=8, borderaxespad=0.2)


def _page(summary: Mapping[str, Any], image: bytes) -> str:
    parts = [_HEAD, "<h1>One model, 109 weeks, nobody in between</h1>"]
    parts.append(f'<img alt="accuracy by week" src="data:image/png;base64,{base64.b64encode(image).decode()}">')
    for story in summary["models"].values():
        parts.append(f"<h2>{html.escape(story['model'])}</h2>")
        parts.append(
            _table(
                ["without automation", "with Millrace", "same as last label", "retrains", "blocked", "alerts"],
                [
                    [
                        f"{story['accuracy_static']:.4f}",
                        f"{story['accuracy']:.4f}",
                        f"{story['accuracy_naive']:.4f}",
                        len(story["retrains"]),
                        story["blocked"],
                        story["alerts"],
                    ]
                ],
            )
        )
        rows = [
            [r["date"], ", ".join(r["reasons"]), f"v{r['version']}" if r["promoted"] else "refused", r["text"]]
            for r in story["retrains"]
        ]
        parts.append(_table(["date", "reasons", "outcome", "why"], rows))
        parts.append(
            _table(["week to", "drifted columns"], [[d["date"], ", ".join(d["columns"])] for d in story["drift"]])
        )
    parts.append("</main></body></html>")
    return "\n".join(parts)


def _table(columns: list[str], rows: list[list[Any]]) -> str:
    head = "".join(f"<th>{html.escape(column)}</th>" for column in columns)
    body = "".join("<tr>" + "".join(f"<td>{html.escape(str(cell))}</td>" for cell in row) + "</tr>" for row in rows)
    return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"


_HEAD = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>Millrace demo</title>
<meta name="viewport" content="width=device-width, initial-scale=1">
<style>
body { font: 15px/1.5 system-ui, sans-serif; color: #222; margin: 0; background: #fff }
main { max-width: 1100px; margin: 2rem auto; padding: 0 1rem }
img { max-width: 100% }
table { border-collapse: collapse; margin: 1rem 0; font-size: 13px }
th, td { text-align: left; padding: .25rem .75rem .25rem 0; border-bottom: 1px solid #e5e5e5; vertical-align: top }
th { color: #666; font-weight: 600 }
</style></head><body><main>"""
