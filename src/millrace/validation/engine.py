"""A whole suite in one pass over the batch, and a second look only at the rows that break a rule."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Literal

import polars as pl
import pyarrow as pa

from millrace.core.clock import to_text
from millrace.validation.aggregate_rules import AGGREGATE_RULES
from millrace.validation.batch import Batch, CannotCheck
from millrace.validation.check import Check, Finding
from millrace.validation.examples import add_examples
from millrace.validation.json_form import json_ready
from millrace.validation.result import ExpectationResult, ValidationResult
from millrace.validation.signatures import argument_mistakes, unsupported_parts
from millrace.validation.suite import Expectation, Suite
from millrace.validation.table_rules import TABLE_RULES
from millrace.validation.value_rules import VALUE_RULES

ResultFormat = Literal["BOOLEAN_ONLY", "BASIC", "SUMMARY", "COMPLETE"]

RULES = {**TABLE_RULES, **AGGREGATE_RULES, **VALUE_RULES}


def validate(
    table: pa.Table, suite: Suite, *, result_format: ResultFormat = "SUMMARY", at: datetime | None = None
) -> ValidationResult:
    """What every rule of `suite` finds in `table`. Never raises on what the batch holds.

    A rule that cannot be evaluated (no such column, a type it does not apply to, an expectation the engine does not
    run) is a failed result that says why; nothing is passed over in silence.

    Parameters
    ----------
    table : pyarrow.Table, n rows
    suite : Suite
    result_format : {"BOOLEAN_ONLY", "BASIC", "SUMMARY", "COMPLETE"}
        GX's levels of detail. COMPLETE lists every unexpected value and its row.
    at : datetime, optional
        Time of the validation, for the report.
    """
    rules = list(suite.expectations)
    batch = Batch(table, _columns(rules))
    compiled = [_compile(batch, rule) for rule in rules]
    checks = [item for item in compiled if isinstance(item, Check)]
    values, broken = _collect(batch, checks)
    findings = {id(check): check.finish(values) for check in checks if id(check) not in broken}
    add_examples(
        batch,
        [(check, findings[id(check)]) for check in checks if id(check) in findings],
        result_format,
    )
    results = [
        item if isinstance(item, ExpectationResult) else _result(rule, findings.get(id(item)), broken.get(id(item)))
        for rule, item in zip(rules, compiled, strict=True)
    ]
    if result_format == "BOOLEAN_ONLY":
        results = [ExpectationResult(r.expectation, r.success, {}, r.problem, r.is_unsupported) for r in results]
    return ValidationResult(suite.name, table.num_rows, results, suite.id, to_text(at) if at else None)


def _columns(rules: list[Expectation]) -> list[str]:
    found = [rule.column for rule in rules if rule.column is not None]
    for rule in rules:
        if rule.type == "expect_compound_columns_to_be_unique":
            found.extend(name for name in rule.kwargs.get("column_list") or () if isinstance(name, str))
    return found


def _compile(batch: Batch, rule: Expectation) -> Check | ExpectationResult:
    unsupported = unsupported_parts(rule.type, rule.kwargs)
    if unsupported:
        return ExpectationResult(rule, False, {}, f"unsupported: {'; '.join(unsupported)}", is_unsupported=True)
    mistakes = argument_mistakes(rule.type, rule.kwargs)
    if mistakes:
        return ExpectationResult(rule, False, {}, f"the rule is not written right: it {'; it '.join(mistakes)}")
    try:
        return RULES[rule.type](batch, {name: value for name, value in rule.kwargs.items() if value is not None})
    except CannotCheck as reason:
        return ExpectationResult(rule, False, {}, str(reason), is_unsupported=str(reason).startswith("unsupported"))


def _collect(batch: Batch, checks: list[Check]) -> tuple[dict[str, Any], dict[int, str]]:
    """The values of all aggregates, and the checks whose own could not be computed."""
    values, broken = _pass(batch, [(check, check.aggregates) for check in checks])
    again = [
        (check, more)
        for check in checks
        if check.recount is not None and id(check) not in broken and (more := check.recount(values))
    ]
    more_values, more_broken = _pass(batch, again)
    return {**values, **more_values}, {**broken, **more_broken}


def _pass(batch: Batch, wanted: list[tuple[Check, Mapping[str, pl.Expr]]]) -> tuple[dict[str, Any], dict[int, str]]:
    try:
        return _select(batch, {label: each for _, aggregates in wanted for label, each in aggregates.items()}), {}
    except pl.exceptions.PolarsError:
        # One expression spoils a pass: find it, and let the others have their answer.
        values: dict[str, Any] = {}
        broken: dict[int, str] = {}
        for check, aggregates in wanted:
            try:
                values.update(_select(batch, aggregates))
            except pl.exceptions.PolarsError as error:
                broken[id(check)] = str(error).splitlines()[0]
        return values, broken


def _select(batch: Batch, wanted: Mapping[str, pl.Expr]) -> dict[str, Any]:
    if not wanted:
        return {}
    # Labels may hold any text of the suite; the frame gets plain names.
    numbered = {f"v{number}": label for number, label in enumerate(wanted)}
    row = (
        batch.frame.select(wanted[label].alias(name) for name, label in numbered.items())
        .collect(engine="streaming")
        .row(0, named=True)
    )
    return {label: row[name] for name, label in numbered.items()}


def _result(rule: Expectation, finding: Finding | None, problem: str | None) -> ExpectationResult:
    if finding is None:
        return ExpectationResult(rule, False, {}, f"the rule could not be evaluated: {problem}")
    return ExpectationResult(rule, finding.success, json_ready(finding.result))
