"""`millrace data validate`: judge a batch by a suite."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from millrace.cli.data_batch import file_batch, find_batch, read_batch
from millrace.cli.data_reports import add_report, waiting, wanted_reports, write_report, write_reports
from millrace.cli.options import command
from millrace.cli.output import has_color, paint, print_json
from millrace.core.errors import DataError, MillraceError, did_you_mean

if TYPE_CHECKING:
    import pyarrow as pa

    from millrace.core.verdict import Verdict
    from millrace.validation.result import ValidationResult

_COLORS = {"critical": "red", "warning": "yellow", "info": "dim", "note": "dim"}
_VERDICTS = {"blocked": "red", "usable": "green", "not judged": "yellow"}


def add_checks(data: Any) -> None:
    """The grammar of this command."""
    check = command(
        data,
        "validate",
        "judge a batch by a suite of expectations; exit 0 when it is fit, 1 when not, 2 when that cannot be told",
        validate,
    )
    check.add_argument("batch", metavar="FILE|SOURCE", help="Parquet or CSV, a folder of them, or a project's source")
    check.add_argument("--suite", type=Path, metavar="FILE", help="the expectations (default: the source's own)")
    check.add_argument(
        "--result-format",
        choices=("BOOLEAN_ONLY", "BASIC", "SUMMARY", "COMPLETE"),
        default="SUMMARY",
        help="how much is told of each rule (default: SUMMARY)",
    )
    check.add_argument(
        "--parameter",
        action="append",
        default=[],
        type=_parameter,
        metavar="NAME=VALUE",
        help="a suite parameter; the value is JSON, or else text; may be given again",
    )
    check.add_argument(
        "--against", metavar="FILE", help="a reference: also look for labels, groups, units and hours that left it"
    )
    check.add_argument("--label", metavar="COLUMN", help="with --against: the column with the classes")
    add_report(check)
    check.add_argument("--junit", type=Path, metavar="FILE", help="write JUnit XML, a test case for each rule")


def validate(options: argparse.Namespace) -> int:
    """Judge a file, which needs no project, or a source of the project."""
    reports = wanted_reports(options.report, options.batch)
    try:
        result = _judged(options)
        incidents = _incidents(options)
    except MillraceError as error:
        if options.junit:
            # What stands there from an earlier batch would be taken for this one's.
            from millrace.validation.reports.junit import junit_of_refusal

            write_report(options.junit, junit_of_refusal(error, batch=options.batch))
        raise
    document = _document(result)
    for note in document["meta"]["notes"]:
        print(f"note: {note}", file=sys.stderr)
    if options.against:
        document["incidents"] = [verdict.to_dict() for verdict in incidents]
    if options.json:
        print_json(document)
    else:
        _show(result, incidents)
    write_reports(
        reports,
        {"html": lambda: _page(result, options.batch, incidents), "json": lambda: _as_bytes(document)},
    )
    if options.junit:
        from millrace.validation.reports.junit import junit_xml

        write_report(options.junit, junit_xml(result, batch=options.batch, incidents=incidents))
    return 1 if any(verdict.is_fail for verdict in incidents) else exit_code(result)


def _judged(options: argparse.Namespace) -> ValidationResult:
    from millrace.core.clock import SystemClock
    from millrace.validation.engine import validate as judge

    batch, suite = read_batch(options)
    settings: dict[str, Any] = {"parameters": dict(options.parameter)} if options.parameter else {}
    with waiting(f"judging {options.batch} by {len(suite.expectations)} rules ..."):
        return judge(batch, suite, result_format=options.result_format, at=SystemClock().now(), **settings)


def _document(result: ValidationResult) -> dict[str, Any]:
    """GX's form, with the verdict and what else is to be known of it under "meta"."""
    document, verdict = result.to_json_dict(), result.verdict()
    # GX calls a suite without rules a success. Who reads that one word must not take it for a pass.
    document["success"] = document["success"] and bool(result.results)
    severities = [item.expectation.severity for item in result.results]
    blocking = verdict.evidence["blocking"]
    notes = []
    if severities and not set(severities) & set(blocking):
        notes = [f"no rule of the suite '{result.suite_name}' is {' or '.join(blocking)}: it blocks no batch with rows"]
    document["meta"] |= {"verdict": verdict.outcome, "reason": verdict.reason, "notes": notes}
    return document


def exit_code(result: ValidationResult) -> int:
    """0 for a pass and 1 for a fail; 2 when no rule was evaluated: a suite without any, or none the engine runs."""
    verdict = result.verdict()
    if verdict.is_pass:
        return 0
    evaluated = [item for item in result.results if not item.is_unsupported]
    blocking = [item for item in result.failed if item.expectation.severity in verdict.evidence["blocking"]]
    if result.rows > 0 and (not evaluated or (blocking and all(item.is_unsupported for item in blocking))):
        return 2
    return 1 if verdict.is_fail else 2


def _show(result: ValidationResult, incidents: list[Verdict]) -> None:
    """The verdict first, then what failed, the grave before the light."""
    from millrace.validation.incidents.rules import explain_incidents

    first, *others = result.explain().splitlines()
    if result.verdict().is_pass and any(verdict.is_fail for verdict in incidents):
        first = f"{result.suite_name}: blocked. {explain_incidents(incidents)}"
    if has_color():
        name, _, rest = first.partition(": ")
        word, _, reason = rest.partition(". ")
        first = f"{paint(name, 'bold')}: {paint(word, _VERDICTS.get(word, 'bold'))}. {reason}"
    print(first)
    for line in others:
        word = line.strip().split(" ", 1)[0]
        is_rule = line.startswith("  ") and not line.startswith("    ") and word in _COLORS
        print(line.replace(word, paint(word, _COLORS[word]), 1) if is_rule else line)
    if result.failed:
        counts = result.statistics
        print(f"  {counts['successful_expectations']} of {counts['evaluated_expectations']} rules hold")
    for verdict in sorted(incidents, key=lambda found: not found.is_fail):
        word = "incident" if verdict.is_fail else verdict.outcome
        print(f"  {paint(word, 'red' if verdict.is_fail else 'dim')}  {verdict.reason}")


def _incidents(options: argparse.Namespace) -> list[Verdict]:
    """What the comparison with a reference finds; nothing without one."""
    if not options.against:
        if options.label:
            raise DataError("VALID-67", "--label needs --against: labels are compared with a reference's")
        return []
    from millrace.validation.incidents.evidence import compare_batches, compared_columns
    from millrace.validation.incidents.limits import DEFAULT

    batch = find_batch(options)
    limits = batch.source.incidents or DEFAULT

    def of_reference(schema: pa.Schema) -> list[str]:
        # Where only the batch lacks it, none of its rows has a label, and the comparison says so.
        if options.label and options.label not in schema.names:
            fix = did_you_mean(options.label, schema.names)
            raise DataError("VALID-67", f"there is no column '{options.label}'", where=options.against, fix=fix)
        return of_batch(schema)

    def of_batch(schema: pa.Schema) -> list[str]:
        return compared_columns(schema, limits, label=options.label)

    reference = file_batch(options.against).read_columns(of_reference)
    return compare_batches(batch.read_columns(of_batch), reference, limits, label=options.label)


def _page(result: ValidationResult, batch: str, incidents: list[Verdict]) -> bytes:
    from millrace.validation.reports.page import validation_page

    return validation_page(result, batch=batch, incidents=incidents).encode()


def _as_bytes(document: dict[str, Any]) -> bytes:
    return (json.dumps(document, indent=2, ensure_ascii=False) + "\n").encode("utf-8", "backslashreplace")


def _parameter(text: str) -> tuple[str, Any]:
    name, sign, value = text.partition("=")
    if not sign or not name:
        raise argparse.ArgumentTypeError(f"'{text}' is not NAME=VALUE")
    try:
        return name, json.loads(value)
    except ValueError:
        return name, value
