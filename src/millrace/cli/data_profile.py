"""`millrace data profile|suggest`: what a batch looks like, and a suite drafted from it."""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from millrace.cli.data_batch import find_batch
from millrace.cli.data_reports import add_report, wanted_reports, write_reports
from millrace.cli.options import command
from millrace.cli.output import print_json, progress

if TYPE_CHECKING:
    from millrace.data.scan import Scan
    from millrace.validation.profile import TableProfile


def add_profile(data: Any) -> None:
    """The grammar of these commands."""
    look = command(data, "profile", "what every column of a batch looks like, in one pass", show_profile)
    look.add_argument("batch", metavar="FILE|SOURCE", help="Parquet or CSV, a folder of them, or a project's source")
    add_report(look)


def show_profile(options: argparse.Namespace) -> int:
    """Profile a file, which needs no project, or a source of the project."""
    reports = wanted_reports(options.report, options.batch)
    found = profile_of(find_batch(options).scan(), options.batch)
    if options.json:
        print_json(found.to_dict())
    else:
        print(found.explain())
    document = json.dumps(found.to_dict(), indent=2, ensure_ascii=False) + "\n"
    write_reports(
        reports,
        {"html": lambda: _page(found, options.batch), "json": lambda: document.encode("utf-8", "backslashreplace")},
    )
    return 0


def profile_of(scan: Scan, batch: str) -> TableProfile:
    """The profile of a batch read piece by piece, with a bar on a terminal."""
    from millrace.validation.profile import profile

    show = progress(f"reading {batch}", "rows")
    tell = None if show is None else lambda rows: show(min(rows, scan.rows), scan.rows)
    return profile(_pieces(scan), tell=tell)


def _pieces(scan: Scan) -> Iterator[Any]:
    is_empty = True
    for piece in scan.pieces():
        is_empty = False
        yield piece
    if is_empty:
        yield scan.schema.empty_table()


def _page(found: TableProfile, batch: str) -> bytes:
    from millrace.validation.profile_page import profile_page

    return profile_page(found, batch=Path(batch).name).encode()
