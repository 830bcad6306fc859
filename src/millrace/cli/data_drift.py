"""`millrace data drift`: compare two files column by column."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from millrace.cli.data_batch import read_file
from millrace.cli.options import command
from millrace.cli.output import print_json
from millrace.core.errors import DataError, did_you_mean

if TYPE_CHECKING:
    import pyarrow as pa


def add_drift(data: Any) -> None:
    """The grammar of this command."""
    drift = command(
        data, "drift", "compare two files column by column; exit 1 when one drifted", compare_files, in_project=False
    )
    drift.add_argument("reference", help="Parquet or CSV file, or a folder of them: how it was")
    drift.add_argument("current", help="the same: how it is")
    drift.add_argument("--columns", metavar="A,B", help="only these (default: all but times, which always move)")
    drift.add_argument("--effect", type=float, default=0.1, help="least size of a move that counts (default 0.1)")


def compare_files(options: argparse.Namespace) -> int:
    """Compare two files."""
    from millrace.drift.compare import compare

    reference, current = read_file(options.reference), read_file(options.current)
    columns, left_out = _choose(options.columns, reference, Path(options.reference))
    report = compare(reference, current, columns=columns, effect=options.effect)
    if options.json:
        print_json({**report.to_dict(), "left_out": left_out})
    else:
        print(report.explain())
        if left_out:
            print(f"  left out      {', '.join(left_out)}: a time always moves; name it in --columns to compare it")
    return 1 if report.verdict().is_fail else 0


def _choose(wanted: str | None, reference: pa.Table, path: Path) -> tuple[Sequence[str], list[str]]:
    """The columns to compare, and those that are left out unasked."""
    import pyarrow as pa

    names = reference.column_names
    if wanted is None:
        times = [field.name for field in reference.schema if pa.types.is_temporal(field.type)]
        return [name for name in names if name not in times], times
    columns = [name.strip() for name in wanted.split(",") if name.strip()]
    problems = [
        DataError("DATA-02", f"there is no column '{name}'", where=str(path), fix=did_you_mean(name, names))
        for name in columns
        if name not in names
    ]
    if len(problems) == 1:
        raise problems[0]
    if problems or not columns:
        raise DataError("DATA-02", f"{len(problems)} columns are missing", where=str(path), findings=problems)
    return columns, []
