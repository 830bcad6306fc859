"""How commands speak: JSON when asked, colour only on a terminal, tables that fit."""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

_CODES = {"bold": "1", "dim": "2", "red": "31", "green": "32", "yellow": "33", "blue": "34"}

_BAR = 30
_REDRAW_S = 0.1


def has_color(stream: Any = None) -> bool:
    """Whether to colour: a terminal, and nobody said NO_COLOR."""
    stream = stream or sys.stdout
    return bool(stream.isatty()) and not os.environ.get("NO_COLOR")


def paint(text: str, color: str, *, stream: Any = None) -> str:
    """`text` in a colour, or as it is when the stream takes none."""
    return f"\x1b[{_CODES[color]}m{text}\x1b[0m" if has_color(stream) else text


def print_json(value: Any) -> None:
    """One JSON object on standard output."""
    print(json.dumps(value, indent=2 if sys.stdout.isatty() else None, ensure_ascii=False, default=str))


def print_table(rows: Sequence[Mapping[str, Any]], columns: Sequence[str]) -> None:
    """Rows as an aligned table with a header line."""
    cells = [[_cell(row.get(column)) for column in columns] for row in rows]
    widths = [max([len(column), *(len(line[i]) for line in cells)]) for i, column in enumerate(columns)]
    print(paint("  ".join(c.ljust(w) for c, w in zip(columns, widths, strict=True)).rstrip(), "dim"))
    for line in cells:
        print("  ".join(c.ljust(w) for c, w in zip(line, widths, strict=True)).rstrip())


def progress(label: str, unit: str = "") -> Callable[[int, int], None] | None:
    """Draws a bar on standard error as it is told (done, total); None when that is no terminal."""
    stream, last = sys.stderr, [0.0]
    if not stream.isatty():
        return None

    def show(done: int, total: int) -> None:
        now = time.monotonic()
        if done < total and now - last[0] < _REDRAW_S:
            return
        last[0] = now
        part = done / total if total else 1.0
        bar = ("#" * round(part * _BAR)).ljust(_BAR, ".")
        counts = f"{done:,} of {total:,} {unit}" if unit else f"{part:.0%}"
        print(f"\r\x1b[K{label} [{bar}] {counts}", end="" if done < total else "\n", file=stream, flush=True)

    return show


def outcome(text: str) -> str:
    """An outcome or status in its colour."""
    good = {"pass", "succeeded", "ok", "deployed", "intact", "same"}
    bad = {"fail", "failed", "drift", "error", "refused", "damaged", "different", "critical"}
    return paint(text, "green" if text in good else "red" if text in bad else "yellow")


def _cell(value: Any) -> str:
    if value is None:
        return "-"
    if isinstance(value, float):
        return f"{value:.4f}"
    if isinstance(value, (list, tuple)):
        return ", ".join(str(part) for part in value)
    return str(value)
