"""`millrace data quarantine|release`: batches that were refused, and how one is let through on the record."""

from __future__ import annotations

import argparse
import getpass
import json
import os
from typing import TYPE_CHECKING, Any

from millrace.cli.options import command, open_ledger, open_wiring
from millrace.cli.output import outcome, print_json, print_table
from millrace.core.errors import DataError

if TYPE_CHECKING:
    from millrace.validation.release import Quarantined

_DIGEST = 12


def add_quarantine(data: Any) -> None:
    """The grammar of these commands."""
    kept = command(data, "quarantine", "the batches that were refused; or one of them with its report", show_quarantine)
    kept.add_argument(
        "what", nargs="?", choices=("list", "show"), default="list", help="all of them, or one (default: list)"
    )
    kept.add_argument("batch", nargs="?", help="for show: its digest, the first characters of it, or its event")
    let = command(data, "release", "let one refused batch through, on the record; the next run learns from it", release)
    let.add_argument("batch", help="its digest, the first characters of it, or its event")
    let.add_argument("--reason", required=True, help="why, for the record")
    let.add_argument("--by", help="who decides (default: the user of this machine)")


def show_quarantine(options: argparse.Namespace) -> int:
    """List refused batches, or show one with what it was refused for."""
    from millrace.validation.release import find_quarantined, list_quarantined

    entries = list_quarantined(open_ledger(options))
    if options.what == "show":
        if options.batch is None:
            raise DataError("VALID-63", "which batch?", fix="millrace data quarantine show BATCH")
        return _show_one(options, find_quarantined(entries, options.batch))
    if options.json:
        print_json([entry.to_dict() for entry in entries])
        return 0
    if not entries:
        print("no batch was refused")
        return 0
    columns = ["event", "source", "batch", "rows", "status", "at", "reason"]
    rows = [{**entry.to_dict(), "batch": entry.batch[:_DIGEST], "at": entry.at[:19]} for entry in entries]
    print_table(rows, columns)
    return 0


def release(options: argparse.Namespace) -> int:
    """Let one refused batch through. Doing it again changes nothing."""
    from millrace.flow.quarantine import quarantined
    from millrace.flow.quarantine import release as let_through
    from millrace.validation.release import find_quarantined

    if not options.reason.strip():
        raise DataError("VALID-66", "the reason is empty", fix='say why: --reason "the outlier is real"')
    wiring = open_wiring(options)
    found = find_quarantined(quarantined(wiring), options.batch)
    event = let_through(wiring, found, reason=options.reason, by=options.by or _user())
    if options.json:
        print_json({"event": event.seq, "is_new": event.is_new, "source": found.source, **event.body})
        return 0
    print(f"{'released' if event.is_new else 'was released before'}: batch {found.batch[:_DIGEST]} of '{found.source}'")
    for text in found.findings.values():
        print(f"  covered      {text}")
    print("  not covered  any other batch, and anything else this one may be found to break")
    print(f"  next         {_next(found)}")
    return 0


def _next(found: Quarantined) -> str:
    if found.status in ("used", "passed over"):
        what = f"run {found.facts['run']} took it" if found.status == "used" else "a batch released later was taken"
        return f"nothing waits: {what}; met again, it is let through"
    if found.facts.get("snapshot") is not None:
        return f"millrace run {found.facts['model']} learns from exactly these {found.rows:,} rows, once"
    return f"millrace run {found.facts.get('model') or ''} accepts the source while it still has exactly these rows"


def _show_one(options: argparse.Namespace, found: Quarantined) -> int:
    wiring = open_wiring(options)
    event = wiring.ledger.get_event(found.event)
    report = json.loads(wiring.blobs.get(event.body["report"]))
    if options.json:
        print_json({**found.to_dict(), "report": report})
        return 0
    print(f"{outcome(found.status)}  batch {found.batch} of '{found.source}', {found.rows:,} rows")
    print(f"  refused   {found.at[:19]}")
    print(f"  {found.reason}")
    for name, text in found.findings.items():
        mark = "covered" if name in found.covered else "blocks"
        print(f"  {mark:<8}  {text}")
    released = found.facts.get("released")
    if released:
        print(f"  released  {released['at'][:19]} by {released['by']}: {released['reason']}")
    if found.facts.get("run"):
        print(f"  used by   {found.facts['run']}")
    return 0


def _user() -> str:
    try:
        return getpass.getuser()
    except (OSError, KeyError):  # a container's user may have no name
        return f"user {os.getuid()}"
