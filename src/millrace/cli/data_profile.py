"""`millrace data profile|suggest`: what a batch looks like, and a suite drafted from it."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from millrace.cli.data_batch import find_batch
from millrace.cli.data_reports import add_report, waiting, wanted_reports, write_reports
from millrace.cli.options import command
from millrace.cli.output import print_json, progress
from millrace.core.errors import DataError

if TYPE_CHECKING:
    from millrace.data.scan import Scan
    from millrace.validation.csv_pieces import CsvPieces
    from millrace.validation.profiling.profile import TableProfile
    from millrace.validation.suite import Suite


def add_profile(data: Any) -> None:
    """The grammar of these commands."""
    look = command(data, "profile", "what every column of a batch looks like, in one pass", show_profile)
    look.add_argument("batch", metavar="FILE|SOURCE", help="Parquet or CSV, a folder of them, or a project's source")
    add_report(look)
    draft = command(data, "suggest", "draft a suite that batches like this one meet", suggest_suite)
    draft.add_argument("batch", metavar="FILE|SOURCE", help="the reference: Parquet or CSV, a folder, or a source")
    draft.add_argument("--output", type=Path, metavar="FILE", help="write the suite there (default: print it)")
    draft.add_argument("--name", help="of the suite (default: the batch's)")
    draft.add_argument(
        "--batch-rows",
        type=_count,
        metavar="N",
        help="rows of the batches it will judge: small ones scatter more (default: as many as the reference)",
    )


def show_profile(options: argparse.Namespace) -> int:
    """Profile a file, which needs no project, or a source of the project."""
    reports = wanted_reports(options.report, options.batch)
    found = profile_of(find_batch(options).scan(), options.batch)
    _warn_of_separator(found)
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


def suggest_suite(options: argparse.Namespace) -> int:
    """Draft a suite from a reference, and leave out what the reference itself does not meet."""
    from millrace.validation.engine import validate
    from millrace.validation.profiling.suggest import confirm, suggest

    batch = find_batch(options)
    found = profile_of(batch.scan(), options.batch)
    if found.rows == 0:
        raise DataError("VALID-62", f"'{options.batch}' has 0 rows: no habit can be learned", fix="give a larger file")
    _warn_of_separator(found)
    drafted = suggest(found, name=options.name or Path(options.batch).stem, batch_rows=options.batch_rows)
    with waiting("trying the draft on its reference ..."):
        draft = confirm(drafted, lambda suite: validate(batch.where_it_is(), suite).results)
    for item in draft.left_out:
        print(f"left out: {item.expectation.type} {item.expectation.column or ''} {item.observed}", file=sys.stderr)
    if options.output is not None:
        draft.suite.save(options.output)
    if options.json or options.output is None:
        print_json(draft.suite.to_dict())
    else:
        _show_draft(draft.suite)
        print(f"written: {options.output}", file=sys.stderr)
    return 0


def _show_draft(suite: Suite) -> None:
    from millrace.validation.describe import demand

    for rule in suite.expectations:
        print(f"{rule.severity:<8}  {demand(rule.type, rule.kwargs)}")


def _warn_of_separator(found: TableProfile) -> None:
    """A file of other separators is one column to whoever reads commas."""
    (name, *others) = [column.name for column in found.columns] or [""]
    if not others and (signs := [sign for sign in ";\t|" if sign in name]):
        print(f"note: the only column is {name!r}; if {signs[0]!r} separates values, write commas", file=sys.stderr)


def _count(text: str) -> int:
    if not (text.isascii() and text.isdigit() and int(text) > 0):
        raise argparse.ArgumentTypeError(f"'{text}' is not a number of rows")
    return int(text)


def profile_of(scan: Scan | CsvPieces, batch: str) -> TableProfile:
    """The profile of a batch read piece by piece, with a bar on a terminal."""
    from millrace.validation.profiling.profile import profile

    show = progress(f"reading {batch}", "rows")
    tell = None if show is None else lambda rows: show(min(rows, scan.rows), scan.rows)
    return profile(_pieces(scan), tell=tell)


def _pieces(scan: Scan | CsvPieces) -> Iterator[Any]:
    is_empty = True
    for piece in scan.pieces():
        is_empty = False
        yield piece
    if is_empty:
        yield scan.schema.empty_table()


def _page(found: TableProfile, batch: str) -> bytes:
    from millrace.validation.reports.profile_page import profile_page

    return profile_page(found, batch=Path(batch).name).encode()
