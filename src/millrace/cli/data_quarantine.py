"""`millrace data quarantine|release`: batches that were refused, and how one is let through on the record."""

from __future__ import annotations

import argparse
import getpass
import json
import os
from typing import TYPE_CHECKING, Any

from millrace.cli.options import command, open_ledger, open_settings, open_wiring
from millrace.cli.output import outcome, print_json, print_table
from millrace.core.errors import DataError
from millrace.validation.release import SHOWN_DIGEST

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from millrace.store.ledger import Event, Ledger
    from millrace.validation.release import Quarantined


def add_quarantine(data: Any) -> None:
    """The grammar of these commands."""
    kept = command(data, "quarantine", "the batches that were refused; or one of them with its report", show_quarantine)
    kept.add_argument(
        "what", nargs="?", choices=("list", "show"), default="list", help="all of them, or one (default: list)"
    )
    kept.add_argument("batch", nargs="?", help="for show: its digest, the first characters of it, or its event")
    kept.add_argument("--model", help="only what this model refused")
    let = command(data, "release", "let one refused batch through, on the record; the next run learns from it", release)
    let.add_argument("batch", help="its digest, the first characters of it, or its event")
    let.add_argument("--reason", required=True, help="why, for the record")
    let.add_argument("--by", help="who decides (default: the user of this machine)")
    let.add_argument("--model", help="for this model alone (default: for every model that refused it)")


def show_quarantine(options: argparse.Namespace) -> int:
    """List refused batches, or show one with what it was refused for."""
    from millrace.validation.release import find_quarantined, list_quarantined

    ledger = open_ledger(options)
    entries = list_quarantined(ledger)
    if options.what == "show":
        if options.batch is None:
            raise DataError("VALID-63", "which batch?", fix="millrace data quarantine show BATCH")
        return _show_one(options, find_quarantined(entries, options.batch, options.model), ledger)
    if options.batch is not None:
        # Listing everything instead would answer another question than was asked.
        raise DataError("VALID-63", "list takes no batch", fix=f"millrace data quarantine show {options.batch}")
    if options.model is not None:
        entries = [entry for entry in entries if entry.model == options.model]
    if options.json:
        print_json([_facts(entry, ledger) for entry in entries])
        return 0
    if not entries:
        print("no batch was refused")
        return 0
    columns = ["event", "source", "model", "batch", "rows", "status", "at", "reason"]
    rows = [
        {
            **entry.to_dict(),
            "batch": entry.batch[:SHOWN_DIGEST],
            "at": entry.at[:19],
            "status": _status(_facts(entry, ledger)),
        }
        for entry in entries
    ]
    print_table(rows, columns)
    return 0


def release(options: argparse.Namespace) -> int:
    """Let one refused batch through, for each model that refused it. Doing it again changes nothing."""
    from millrace.flow.quarantine import quarantined
    from millrace.flow.quarantine import release as let_through
    from millrace.validation.release import find_refusals

    if not options.reason.strip():
        raise DataError("VALID-66", "the reason is empty", fix='say why: --reason "the outlier is real"')
    if options.by is not None and not options.by.strip():  # an unset variable must not put it on somebody else
        raise DataError("VALID-66", "--by is empty", fix="name who decides, or leave --by out")
    wiring = open_wiring(options)
    refusals = find_refusals(quarantined(wiring), options.batch, options.model)
    events = let_through(wiring, refusals, reason=options.reason.strip(), by=(options.by or _user()).strip())
    now = {entry.key: entry for entry in quarantined(wiring)}
    if options.json:
        print_json(_released(refusals, events, now))
        return 0
    for found, event in zip(refusals, events, strict=True):
        what = f"batch {found.batch[:SHOWN_DIGEST]} of '{found.source}'" + (
            f" for '{found.model}'" if found.model else ""
        )
        if event.is_new:
            print(f"released: {what}")
        else:
            print(f"was released before: {what}, {event.at[:19]} by {event.body['by']}: {event.body['reason']}")
        for text in found.findings.values():
            print(f"  covered      {text}")
        print("  not covered  any other batch, and anything else this one may be found to break")
        print(f"  next         {_next(now[found.key], wiring.project.models)}")
    return 0


def _released(
    refusals: Sequence[Quarantined], events: Sequence[Event], now: Mapping[str, Quarantined]
) -> dict[str, Any]:
    """One answer for the batch, and under ``models`` one for each model that had refused it."""
    models = [
        {
            "event": event.seq,
            "is_new": event.is_new,
            "status": now[found.key].status,
            **event.body,
            "model": found.model,
        }
        for found, event in zip(refusals, events, strict=True)
    ]
    return {
        **models[-1],
        "source": refusals[0].source,
        "is_new": any(event.is_new for event in events),
        "covered": sorted({identity for event in events for identity in event.body["covered"]}),
        "models": models,
    }


def _next(found: Quarantined, models: Collection[str]) -> str:
    if found.status == "used":
        return f"nothing waits: run {found.facts['run']} took it; met again, it is let through"
    if found.status == "passed over":
        return "nothing waits: a batch released later was taken; met again, it is let through"
    if found.model is not None and found.model not in models:
        return f"nothing takes it: the project has no model '{found.model}' now"
    if found.facts.get("snapshot") is not None:
        return f"millrace run {found.model} learns from exactly these {found.rows:,} rows, once"
    run = f"millrace run {found.model}" if found.model else "a run"
    return f"{run} accepts the source while it still has exactly these rows"


def _facts(entry: Quarantined, ledger: Ledger) -> dict[str, Any]:
    """The entry, and of the run that took it how it ended."""
    facts = entry.to_dict()
    run = ledger.state("run", facts["run"]) if "run" in facts else None
    if run is not None:
        facts |= {"run_status": run.value["status"], "run_message": run.value["message"]}
    return facts


def _status(facts: Mapping[str, Any]) -> str:
    """The status; of a used batch whose run did not succeed, that too: it was learned from, and is in no production."""
    ended = facts.get("run_status", "succeeded")
    return f"{facts['status']} (run {ended})" if facts["status"] == "used" and ended != "succeeded" else facts["status"]


def _show_one(options: argparse.Namespace, found: Quarantined, ledger: Ledger) -> int:
    facts = _facts(found, ledger)
    if options.json:
        from millrace.store.blobs import open_blobs

        # Without the definitions: while those are being mended, what they broke on can still be looked at.
        blobs = open_blobs(open_settings(options).active.blobs)
        print_json({**facts, "report": json.loads(blobs.get(ledger.get_event(found.event).body["report"]))})
        return 0
    by = f" by '{found.model}'" if found.model else ""
    print(f"{outcome(found.status)}  batch {found.batch} of '{found.source}', {found.rows:,} rows")
    print(f"  refused   {found.at[:19]}{by}")
    print(f"  {found.reason}")
    for name, text in found.findings.items():
        mark = "covered" if name in found.covered else "blocks"
        print(f"  {mark:<8}  {text}")
    released = found.facts.get("released")
    if released:
        print(f"  released  {released['at'][:19]} by {released['by']}: {released['reason']}")
    if "run" in facts:
        message = f": {facts['run_message']}" if facts.get("run_message") else ""
        word = "used by" if found.status == "used" else "taken by"
        print(f"  {word:<8}  {facts['run']}, {facts.get('run_status', 'of which nothing is on record')}{message}")
    if found.facts.get("failures"):
        failures = found.facts["failures"]
        print(f"  failed    {failures} {'run' if failures == 1 else 'runs'} on it since its release")
    if found.status == "given up":
        print(f'  next      mend the cause, then: millrace data release {found.batch[:SHOWN_DIGEST]} --reason "..."')
    return 0


def _user() -> str:
    try:
        return getpass.getuser()
    except (OSError, KeyError):  # a container's user may have no name
        return f"user {os.getuid()}"
