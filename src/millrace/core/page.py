"""Pages that stand alone: no script, nothing fetched, every text escaped. Standard library only."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape
from typing import Any

_STYLE = """
:root { color-scheme: light dark; --text: #1d2330; --dim: #5d6675; --line: #d9dde4; --page: #fff; --soft: #f4f6f9;
  --good: #1a7f4b; --bad: #c4342d; --warn: #a86400; --bar: #3f6fc4; }
@media (prefers-color-scheme: dark) { :root { --text: #e4e8ef; --dim: #9aa4b5; --line: #343b48; --page: #14171d;
  --soft: #1c212a; --good: #4cc38a; --bad: #ff7b72; --warn: #e0a64a; --bar: #7aa7f5; } }
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 72rem; padding: 2rem 1.25rem 4rem; background: var(--page); color: var(--text);
  font: 15px/1.5 system-ui, sans-serif; }
h1 { font-size: 1.5rem; margin: 0 0 .25rem; } h2 { font-size: 1.1rem; margin: 2rem 0 .5rem; }
p { margin: .25rem 0; } .dim { color: var(--dim); } .good { color: var(--good); } .bad { color: var(--bad); }
.warn { color: var(--warn); } .scroll { overflow-x: auto; }
table { border-collapse: collapse; width: 100%; } th { font-weight: 600; color: var(--dim); }
th, td { text-align: left; vertical-align: top; padding: .4rem .75rem .4rem 0; border-bottom: 1px solid var(--line); }
td.figure, th.figure { text-align: right; font-variant-numeric: tabular-nums; }
code { font: 13px/1.5 ui-monospace, monospace; background: var(--soft); padding: .05rem .3rem; border-radius: .25rem;
  overflow-wrap: anywhere; white-space: pre-wrap; }
svg { display: block; } svg .track { fill: var(--line); } svg .part { fill: var(--bad); } svg .bin { fill: var(--bar); }
"""


def page(title: str, body: Iterable[str], *, style: str = "") -> str:
    """A whole page around `body`, which is markup already; `style` adds rules to the common ones."""
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{text(title)}</title>\n<style>{_STYLE}{style}</style>\n</head>\n<body>\n"
        + "\n".join(body)
        + "\n</body>\n</html>\n"
    )


def text(value: Any) -> str:
    """`value` as text of a page; what no page can hold is written out."""
    plain = str(value).encode("utf-8", "backslashreplace").decode("utf-8")
    return escape("".join(c if c in "\t\n" or c >= " " else f"\\x{ord(c):02x}" for c in plain))


def table(columns: Sequence[str], rows: Iterable[Sequence[str]], *, figures: Sequence[str] = ()) -> str:
    """Rows of markup under plain column names; columns named in `figures` are set to the right."""
    marks = [' class="figure"' if name in figures else "" for name in columns]
    head = "".join(f'<th scope="col"{mark}>{text(name)}</th>' for name, mark in zip(columns, marks, strict=True))
    lines = [
        "<tr>" + "".join(f"<td{mark}>{cell}</td>" for cell, mark in zip(row, marks, strict=True)) + "</tr>"
        for row in rows
    ]
    return (
        '<div class="scroll"><table>\n<thead><tr>'
        + head
        + "</tr></thead>\n<tbody>\n"
        + "\n".join(lines)
        + "\n</tbody>\n</table></div>"
    )


def share_bar(share: float, label: str, *, width: int = 120) -> str:
    """A bar of which `share`, from 0 to 1, is filled; a share above 0 is never drawn as none."""
    part = 0.0 if share <= 0 else max(2.0, min(share, 1.0) * width)
    return (
        f'<svg width="{width}" height="10" role="img" aria-label="{text(label)}"><title>{text(label)}</title>'
        f'<rect class="track" width="{width}" height="10" rx="2"/>'
        f'<rect class="part" width="{part:.1f}" height="10" rx="2"/></svg>'
    )


def histogram(counts: Sequence[float], label: str, *, width: int = 160, height: int = 32) -> str:
    """Bars of equal width; one above 0 is never drawn as none."""
    top = max(counts, default=0.0)
    step = width / max(len(counts), 1)
    bars = []
    for number, count in enumerate(counts):
        tall = 0.0 if count <= 0 else max(1.0, count / top * height)
        bars.append(
            f'<rect class="bin" x="{number * step:.2f}" y="{height - tall:.2f}" '
            f'width="{max(step - 1, 0.5):.2f}" height="{tall:.2f}"/>'
        )
    return (
        f'<svg width="{width}" height="{height}" role="img" aria-label="{text(label)}"><title>{text(label)}</title>'
        + "".join(bars)
        + "</svg>"
    )
