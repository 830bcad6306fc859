"""`millrace data drift`: compare two files, or a file with a stored profile."""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from millrace.cli.data_batch import read_file
from millrace.cli.data_reports import add_report, wanted_reports, write_report, write_reports
from millrace.cli.options import command
from millrace.cli.output import outcome, paint, print_json
from millrace.core.errors import DataError, did_you_mean

if TYPE_CHECKING:
    import pyarrow as pa

    from millrace.drift.profile import ReferenceProfile
    from millrace.drift.report import DriftReport

_REPORTS = ("html", "png", "json")
_LABEL = 12
_OUTCOMES = ("ok", "drift", "error", "insufficient")


def add_drift(data: Any) -> None:
    """The grammar of this command."""
    drift = command(
        data,
        "drift",
        "compare two files, by column and as a whole; exit 1 when they drifted, 2 when nothing could be compared",
        compare_files,
        in_project=False,
    )
    drift.add_argument(
        "reference", help="how it was: Parquet or CSV, a folder of them, or a profile that --save-profile wrote"
    )
    drift.add_argument("current", nargs="?", help="how it is: Parquet or CSV, or a folder of them")
    drift.add_argument(
        "--columns", metavar="A,B", help="only these (default: all; of times, which always move, only type and nulls)"
    )
    drift.add_argument(
        "--types",
        metavar="A=TYPE,B=TYPE",
        help="what columns are: numeric, categorical, temporal or identifier (default: what they look like)",
    )
    drift.add_argument("--effect", type=float, default=0.1, help="least size of a move that counts (default 0.1)")
    drift.add_argument(
        "--columns-only", action="store_true", help="do not ask whether a classifier tells the rows apart"
    )
    drift.add_argument("--save-profile", type=Path, metavar="FILE", help="keep the reference's profile for later")
    add_report(drift, _REPORTS)


def compare_files(options: argparse.Namespace) -> int:
    """Compare what was named, or only keep the reference's profile."""
    from millrace.drift.batch import assess

    reports = wanted_reports(options.report, options.current or options.reference, _REPORTS)
    reference = _read_reference(options.reference)
    types = _parse_types(options.types)
    columns, left_out = _choose(options.columns, reference, Path(options.reference))
    if options.current is None:
        _check_types(types, _names(reference))
    if options.save_profile:
        _save_profile(reference, types, options.save_profile)
    if options.current is None:
        if options.save_profile and not reports:
            return 0
        raise DataError(
            "DRIFT-23",
            f"'{options.reference}' has nothing to be compared with",
            fix=f"name the current file too, or keep a profile: --save-profile {Path(options.reference).stem}.json",
        )
    current = read_file(options.current)
    _check_types(types, [*_names(reference), *current.column_names])
    report = assess(
        reference,
        current,
        columns=columns,
        moving=left_out,
        types=types,
        effect=options.effect,
        with_classifier=not options.columns_only,
    )
    if options.json:
        print_json({**report.to_dict(), "left_out": left_out})
    else:
        _show(report, left_out, is_asked=not options.columns_only)
    write_reports(reports, _makers(report, Path(options.current).stem, left_out))
    return _exit_code(report, left_out)


def _exit_code(report: DriftReport, left_out: Sequence[str]) -> int:
    """0 and 1 as the verdict says; of an inconclusive one 2 when not a single column could be compared."""
    if report.verdict().is_fail:
        return 1
    return 0 if any(column.outcome == "ok" and column.name not in left_out for column in report.columns) else 2


def _show(report: DriftReport, left_out: Sequence[str], *, is_asked: bool) -> None:
    """The report's own text, its outcomes in colour on a terminal."""
    first, *lines = report.explain().splitlines()
    print(paint(first, "bold"))
    for line in lines:
        label, rest = line[2 : 2 + _LABEL], line[2 + _LABEL :]
        word = label.strip()
        print(f"  {label.replace(word, outcome(word)) if word in _OUTCOMES else label}{rest}")
    if is_asked and "classifier" not in report.parts:
        print("  classifier    not asked: a profile keeps no rows that could be told apart")
    if left_out:
        print(f"  left out      {', '.join(left_out)}: a time always moves; name it in --columns to compare it")


def _makers(report: DriftReport, title: str, left_out: Sequence[str]) -> dict[str, Callable[[], bytes]]:
    def picture() -> bytes:
        from millrace.core.plugins import load_plugin

        drawn: bytes = load_plugin("plots", "drift")(report, title=title)
        return drawn

    note = f"left out: {', '.join(left_out)}" if left_out else ""
    return {
        "html": lambda: report.to_html(title=title, note=note).encode(),
        "png": picture,
        "json": lambda: json.dumps({**report.to_dict(), "left_out": list(left_out)}, ensure_ascii=False).encode(),
    }


def _read_reference(path: str) -> pa.Table | ReferenceProfile:
    from millrace.drift.profile import ReferenceProfile

    return ReferenceProfile.load(path) if Path(path).suffix.lower() == ".json" else read_file(path)


def _is_profile(reference: Any) -> bool:
    from millrace.drift.profile import ReferenceProfile

    return isinstance(reference, ReferenceProfile)


def _save_profile(reference: Any, types: dict[str, str], path: Path) -> None:
    from millrace.drift.profile import ReferenceProfile

    profile = reference if _is_profile(reference) else ReferenceProfile.of(reference, types=types)
    write_report(path, profile.to_bytes())


def _parse_types(text: str | None) -> dict[str, str]:
    """`a=numeric,b=categorical` as a mapping; `assess` refuses what is no type.

    Raises
    ------
    DataError
        DRIFT-24 for a part without ``=``.
    """
    types: dict[str, str] = {}
    for part in (text or "").split(","):
        if not part.strip():
            continue
        name, sign, kind = part.rpartition("=")
        if not (sign and name.strip() and kind.strip()):
            raise DataError("DRIFT-24", f"'{part.strip()}' declares no type", fix="write COLUMN=TYPE: plan=categorical")
        types[name.strip()] = kind.strip()
    return types


def _check_types(types: dict[str, str], names: Sequence[str]) -> None:
    """What is declared of a column that is nowhere is most often misspelt. Raises DataError DATA-02."""
    problems = [
        DataError("DATA-02", f"there is no column '{name}'", where="--types", fix=did_you_mean(name, set(names)))
        for name in types
        if name not in names
    ]
    if len(problems) == 1:
        raise problems[0]
    if problems:
        raise DataError("DATA-02", f"{len(problems)} columns are missing", where="--types", findings=problems)


def _choose(wanted: str | None, reference: pa.Table | ReferenceProfile, path: Path) -> tuple[Sequence[str], list[str]]:
    """The columns to compare, and those among them whose values are left out unasked."""
    names = _names(reference)
    if wanted is None:
        times = [name for name in names if _is_time(reference, name)]
        return names, times
    columns = [name.strip() for name in wanted.split(",") if name.strip()]
    problems = [
        DataError("DATA-02", f"there is no column '{name}'", where=str(path), fix=did_you_mean(name, names))
        for name in columns
        if name not in names
    ]
    if len(problems) == 1:
        raise problems[0]
    if not columns:
        raise DataError("DRIFT-09", "there is no column to compare", fix=f"name some: --columns {','.join(names[:2])}")
    if problems:
        raise DataError("DATA-02", f"{len(problems)} columns are missing", where=str(path), findings=problems)
    return columns, []


def _names(reference: Any) -> list[str]:
    return list(dict.fromkeys(reference.columns if _is_profile(reference) else reference.column_names))


def _is_time(reference: Any, name: str) -> bool:
    """Whether it holds instants or days, which always move; a time of day and a duration do not."""
    from millrace.drift.columns import family_of
    from millrace.drift.measure import column_of

    if _is_profile(reference):
        return bool(reference.columns[name].family == "time")
    column = column_of(reference, name)
    return column is not None and family_of(column.type) == "time"
