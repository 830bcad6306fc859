"""Rules that the engine does not run go through Great Expectations itself, where the extra `gx` is installed.

Its import takes seconds and it reads the batch into memory as pandas: it is asked only for rules that need it, and
for one of an unknown type only when GX is imported already, as it is where somebody has defined a class for it.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow as pa

from millrace.core.errors import DataError, MissingExtra, ProjectError
from millrace.core.plugins import load_plugin
from millrace.validation.backend import CannotCheck
from millrace.validation.json_form import json_ready
from millrace.validation.result import ExpectationResult
from millrace.validation.result_format import ResultFormat
from millrace.validation.scan.files import open_files
from millrace.validation.scan.frames import to_table
from millrace.validation.signatures import is_supported

_PACKAGE = "great_expectations"
EXTRA = "pip install 'millrace[gx]' lets Great Expectations run it"
OWN_CLASS = "a class of your own is run by Great Expectations (millrace[gx]) once its module is imported"


def with_fallback(
    results: Sequence[ExpectationResult],
    data: Any,
    form: ResultFormat,
    parameters: Mapping[str, Any] | None = None,
) -> list[ExpectationResult]:
    """`results` with GX's answers in place of those that say "unsupported"; where it has none, they say what to do.

    Parameters
    ----------
    results : sequence of ExpectationResult
    data : table or path
        As given to `validate`. Rows that stay where they are, in a database or a stream read once, are not fetched.
    form : ResultFormat
    parameters : mapping, optional
        Values of the suite parameters.
    """
    found = list(results)
    wanted = [number for number, result in enumerate(found) if result.is_unsupported]
    for number in wanted:
        rule = found[number].expectation
        if not is_supported(rule.type) and _PACKAGE not in sys.modules:
            found[number] = _advised(found[number], OWN_CLASS)
    asked = [n for n in wanted if is_supported(found[n].expectation.type) or _PACKAGE in sys.modules]
    if not asked or not _can_be_read(data):
        return found
    try:
        run = load_plugin("expectations", "gx")
    except (MissingExtra, ProjectError):
        return [_advised(result, EXTRA) if number in asked else result for number, result in enumerate(found)]
    try:
        frame = _as_pandas(data)
    except (CannotCheck, DataError, pl.exceptions.PolarsError, pa.ArrowException) as error:
        reason = f"Great Expectations could not be given the rows: {str(error).splitlines()[0]}"
        return [_advised(result, reason) if number in asked else result for number, result in enumerate(found)]
    answers = run(
        frame,
        [found[number].expectation.to_dict() for number in asked],
        result_format=form.to_dict(),
        parameters=parameters,
    )
    for number, answer in zip(asked, answers, strict=True):
        found[number] = _answered(found[number], answer)
    return found


def _answered(result: ExpectationResult, answer: Mapping[str, Any]) -> ExpectationResult:
    if answer["is_unsupported"]:
        return _advised(result, OWN_CLASS)
    problem = answer["problem"]
    if problem is not None:
        # GX takes it up and has no verdict either: both reasons may help.
        return replace(result, problem=f"{result.problem}; Great Expectations: {problem}", is_unsupported=False)
    return ExpectationResult(result.expectation, answer["success"], json_ready(dict(answer["result"])))


def _advised(result: ExpectationResult, advice: str) -> ExpectationResult:
    return replace(result, problem=f"{result.problem}; {advice}")


def _can_be_read(data: Any) -> bool:
    is_table = isinstance(data, (str, Path, pa.Table, pa.RecordBatch, pl.DataFrame, pl.LazyFrame, Mapping))
    return is_table or (hasattr(data, "iloc") and hasattr(data, "columns"))


def _as_pandas(data: Any) -> Any:
    if hasattr(data, "iloc"):
        return data
    if not isinstance(data, (str, Path)):
        return to_table(data).to_pandas()
    columns = open_files(Path(data))
    names = list(columns.names)
    frame = columns.frame(names).collect(engine="streaming")
    return frame.rename(dict(zip(frame.columns, names, strict=True))).to_arrow().to_pandas()
