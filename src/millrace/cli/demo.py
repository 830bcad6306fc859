"""`millrace demo`: watch the whole loop on a real drifting stream."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from millrace.cli.options import command
from millrace.cli.output import outcome, paint, print_json, print_table


def add(commands: Any) -> None:
    """The grammar of this command."""
    demo = command(
        commands,
        "demo",
        "train, serve, degrade, retrain, redeploy: the loop on a real stream",
        show_demo,
        in_project=False,
    )
    demo.add_argument("--folder", type=Path, default=Path("millrace-demo"), help="where (default: ./millrace-demo)")
    demo.add_argument("--model", action="append", help="only this model of the example (may be repeated)")
    demo.add_argument("--weeks", type=int, default=109, metavar="N", help="how many weeks to serve (default: all 109)")


def show_demo(options: argparse.Namespace) -> int:
    """Run the demo with a live view."""
    from millrace.flow.demo import run_demo

    live = _Silent() if options.json else _Live(options.weeks)
    result = run_demo(options.folder, models=options.model, weeks=options.weeks, on_event=live)
    if options.json:
        print_json(result.summary)
        return 0
    live.end()
    _show_end(result.summary, result.folder, result.pages)
    return 0


def _show_end(summary: Mapping[str, Any], folder: Path, pages: Any) -> None:
    print()
    rows = [
        {
            "model": story["model"],
            "without automation": story["accuracy_static"],
            "with Millrace": story["accuracy"],
            "same as last half hour": story["accuracy_naive"],
            "retrains": len(story["retrains"]),
            "blocked": story["blocked"],
            "drift reports": len(story["drift"]),
            "alerts": story["alerts"],
        }
        for story in summary["models"].values()
    ]
    print_table(rows, list(rows[0]))
    for story in summary["models"].values():
        print(f"\n{paint(story['model'], 'bold')}: retrains")
        for retrain in story["retrains"]:
            state = f"v{retrain['version']} deployed" if retrain["promoted"] else "refused"
            print(f"  {retrain['date']}  {', '.join(retrain['reasons']):<22} {state}")
    print(
        f"\n{summary['requests']:,} requests, {summary['failed_requests']} failed, {summary['seconds']:.0f} s. "
        f"The state is in {folder}: try"
    )
    print(f"  cd {folder} && millrace status && millrace history --kind decision && millrace model list")
    for page in pages:
        print(f"  picture: {page}")


class _Silent:
    """No live view."""

    def __call__(self, kind: str, facts: Any) -> None:
        pass

    def end(self) -> None:
        pass


class _Live:
    """A line per event; on a terminal the weeks run by in one line."""

    def __init__(self, weeks: int) -> None:
        self._weeks = weeks
        self._seen: dict[str, int] = {}
        self._is_terminal = sys.stderr.isatty()
        self._step = ""

    def __call__(self, kind: str, facts: Any) -> None:
        if kind == "stage":
            self._line(paint(str(facts), "dim", stream=sys.stderr))
        elif kind == "step" and facts["status"] == "started":
            self._step = facts["step"]
            self._progress(f"  {self._step} ...")
        elif kind == "batch":
            self._show_batch(facts)
        elif kind == "happening":
            self._show_happening(facts)

    def end(self) -> None:
        """Leave the line."""
        self._line("")

    def _show_batch(self, batch: Any) -> None:
        count = self._seen[batch.model] = self._seen.get(batch.model, 0) + 1
        bar = "#" * round(20 * count / self._weeks)
        text = f"week {count:>3}/{self._weeks} [{bar:<20}] {batch.start:%Y-%m-%d}  {batch.model} v{batch.version}"
        text += f"  accuracy {batch.accuracy:.3f}"
        if self._is_terminal:
            self._progress(text)
        elif count % 13 == 0:
            self._line(text)

    def _show_happening(self, happening: Any) -> None:
        facts = happening.facts
        if happening.kind == "retrain":
            self._line(f"{paint('retrain', 'yellow', stream=sys.stderr)}   {happening.model}: {happening.text}")
        elif happening.kind == "run":
            word = outcome("deployed" if facts["status"] == "succeeded" else facts["status"])
            note = "" if facts["status"] == "succeeded" else f": {happening.text}"
            self._line(f"{word:<9} {happening.model} as of {facts['result']['as_of'][:10]}{note}")
        elif happening.kind == "drift" and facts["outcome"] == "fail":
            self._line(
                f"{paint('drift', 'red', stream=sys.stderr)}     {happening.model}, week to {facts['end'][:10]}: "
                f"{', '.join(facts['drifted'])}"
            )

    def _progress(self, text: str) -> None:
        if self._is_terminal:
            print(f"\r\x1b[K{text}", end="", file=sys.stderr, flush=True)

    def _line(self, text: str) -> None:
        clear = "\r\x1b[K" if self._is_terminal else ""
        if text or self._is_terminal:
            print(f"{clear}{text}", file=sys.stderr, flush=True)
