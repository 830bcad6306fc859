"""`millrace data`: freeze a source, judge and profile a batch, release one that was kept back, compare two."""

from __future__ import annotations

import argparse
from typing import Any

from millrace.cli.data_batch import find_source
from millrace.cli.data_checks import add_checks
from millrace.cli.data_drift import add_drift
from millrace.cli.data_profile import add_profile
from millrace.cli.data_quarantine import add_quarantine
from millrace.cli.options import a_time, command, open_wiring
from millrace.cli.output import print_json


def add(commands: Any) -> None:
    """The grammar of these commands."""
    data = commands.add_parser("data", help="snapshots, validation and drift of data").add_subparsers(
        metavar="VERB", required=True
    )
    freeze = command(data, "snapshot", "keep a source's rows as they are now, under their digest", snapshot)
    freeze.add_argument("source", help="which source of the project")
    freeze.add_argument("--start", type=a_time, metavar="TIME", help="rows from here on (ISO 8601; default: all)")
    freeze.add_argument("--end", type=a_time, metavar="TIME", help="rows before here (default: now)")
    add_checks(data)
    add_profile(data)
    add_quarantine(data)
    add_drift(data)


def snapshot(options: argparse.Namespace) -> int:
    """Freeze a source of the project."""
    from millrace.data.snapshot import take_snapshot

    wiring = open_wiring(options)
    source = find_source(options.source, wiring.project.sources)
    end = options.end or (wiring.clock.now() if source.event_time else None)
    table = wiring.read(source, options.start, end)
    taken = take_snapshot(
        table, source=source.name, event_time=source.event_time, blobs=wiring.blobs, ledger=wiring.ledger
    )
    if options.json:
        print_json(taken.to_dict())
        return 0
    print(f"{taken.source}: {taken.rows:,} rows, {len(taken.columns)} columns, digest {taken.digest}")
    if taken.start and taken.end:
        print(f"  from {taken.start[:19]} to {taken.end[:19]}")
    return 0
