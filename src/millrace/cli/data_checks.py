"""`millrace data validate`: judge a batch by a suite."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from millrace.cli.data_batch import read_batch
from millrace.cli.options import command
from millrace.cli.output import print_json


def add_checks(data: Any) -> None:
    """The grammar of these commands."""
    check = command(data, "validate", "judge a batch by a suite of expectations; exit 1 when it is unfit", validate)
    check.add_argument("batch", metavar="FILE|SOURCE", help="Parquet or CSV, a folder of them, or a project's source")
    check.add_argument("--suite", type=Path, metavar="FILE", help="the expectations (default: the source's own)")


def validate(options: argparse.Namespace) -> int:
    """Judge a file, which needs no project, or a source of the project."""
    from millrace.core.clock import SystemClock
    from millrace.validation.engine import validate as judge

    table, suite = read_batch(options)
    result = judge(table, suite, at=SystemClock().now())
    if options.json:
        print_json(result.to_json_dict())
    else:
        print(result.explain())
    # A suite without a rule judged nothing: that is no pass.
    return {"pass": 0, "fail": 1}.get(result.verdict().outcome, 2)
