"""`millrace data snapshot|validate|drift`: freeze a source, judge a batch, compare two."""

from __future__ import annotations

import argparse
import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from millrace.cli.options import a_time, command, open_project, open_wiring
from millrace.cli.output import print_json
from millrace.core.errors import DataError, did_you_mean

if TYPE_CHECKING:
    import pyarrow as pa

    from millrace.data.source import Source
    from millrace.validation.suite import Suite


def add(commands: Any) -> None:
    """The grammar of these commands."""
    data = commands.add_parser("data", help="snapshots, validation and drift of data").add_subparsers(
        metavar="VERB", required=True
    )
    freeze = command(data, "snapshot", "keep a source's rows as they are now, under their digest", snapshot)
    freeze.add_argument("source", help="which source of the project")
    freeze.add_argument("--start", type=a_time, metavar="TIME", help="rows from here on (ISO 8601; default: all)")
    freeze.add_argument("--end", type=a_time, metavar="TIME", help="rows before here (default: now)")
    check = command(data, "validate", "judge a batch by a suite of expectations; exit 1 when it is unfit", validate)
    check.add_argument("batch", metavar="FILE|SOURCE", help="Parquet or CSV, a folder of them, or a project's source")
    check.add_argument("--suite", type=Path, metavar="FILE", help="the expectations (default: the source's own)")
    drift = command(
        data, "drift", "compare two files column by column; exit 1 when one drifted", compare_files, in_project=False
    )
    drift.add_argument("reference", help="Parquet or CSV file, or a folder of them: how it was")
    drift.add_argument("current", help="the same: how it is")
    drift.add_argument("--columns", metavar="A,B", help="only these (default: all but times, which always move)")
    drift.add_argument("--effect", type=float, default=0.1, help="least size of a move that counts (default 0.1)")


def snapshot(options: argparse.Namespace) -> int:
    """Freeze a source of the project."""
    from millrace.data.snapshot import take_snapshot

    wiring = open_wiring(options)
    source = _find_source(options.source, wiring.project.sources)
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


def validate(options: argparse.Namespace) -> int:
    """Judge a file, which needs no project, or a source of the project."""
    from millrace.core.clock import SystemClock
    from millrace.validation.engine import validate as judge

    table, suite = _read_batch(options)
    result = judge(table, suite, at=SystemClock().now())
    if options.json:
        print_json(result.to_json_dict())
    else:
        print(result.explain())
    # A suite without a rule judged nothing: that is no pass.
    return {"pass": 0, "fail": 1}.get(result.verdict().outcome, 2)


def compare_files(options: argparse.Namespace) -> int:
    """Compare two files."""
    from millrace.drift.compare import compare

    reference, current = _read_file(options.reference), _read_file(options.current)
    columns, left_out = _choose(options.columns, reference, Path(options.reference))
    report = compare(reference, current, columns=columns, effect=options.effect)
    if options.json:
        print_json({**report.to_dict(), "left_out": left_out})
    else:
        print(report.explain())
        if left_out:
            print(f"  left out      {', '.join(left_out)}: a time always moves; name it in --columns to compare it")
    return 1 if report.verdict().is_fail else 0


def _read_batch(options: argparse.Namespace) -> tuple[pa.Table, Suite]:
    from millrace.data.location import file_kind
    from millrace.validation.suite import Suite

    given = Suite.load(options.suite) if options.suite else None
    path = Path(options.batch)
    if path.is_file() or file_kind(path) is not None or len(path.parts) > 1:
        if given is None:
            raise _no_suite(f"'{path.name}' is a file, and no suite was named")
        return _read_file(options.batch), given
    project = open_project(options)
    if path.is_dir() and options.batch not in project.sources and given is not None:
        return _read_file(options.batch), given
    source = _find_source(options.batch, project.sources)
    own = source.suite
    if given is None and own is None:
        raise _no_suite(f"the source '{source.name}' has no suite, and none was named")
    suite = given or (own if isinstance(own, Suite) else Suite.load(project.root / own))
    return _read_until_now(source, project.root), suite


def _read_until_now(source: Source, root: Path) -> pa.Table:
    from millrace.core.clock import SystemClock
    from millrace.data.read import read_source

    return read_source(source, root=root, end=SystemClock().now() if source.event_time else None)


def _read_file(path: str) -> pa.Table:
    from millrace.data.read import read_source
    from millrace.data.source import Source

    name = re.sub(r"[^A-Za-z0-9_.-]", "_", Path(path).stem)
    return read_source(Source(f"file_{name}", path, place="command line"), root=Path.cwd())


def _find_source(name: str, sources: Any) -> Source:
    if name not in sources:
        raise DataError(
            "DATA-43", f"'{name}' is neither a file nor a source of the project", fix=did_you_mean(name, sources)
        )
    found: Source = sources[name]
    return found


def _no_suite(what: str) -> DataError:
    return DataError("VALID-04", what, fix="name one: --suite suites/NAME.json")


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
