"""The second look: values and rows that break a rule. Rules that hold without exception are not looked at."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from millrace.validation.backend import Backend, CannotCheck
from millrace.validation.check import Check, Finding, Rows, Values

SHOWN = 20


def add_examples(
    backend: Backend, answered: Sequence[tuple[Check, Finding, Values]], result_format: str
) -> dict[int, str]:
    """Fill the lists of unexpected values in the findings' results, as GX does for `result_format`.

    ``partial_unexpected_list`` holds 20 values; SUMMARY adds their rows (counted from 0) and the most frequent
    values with their counts; COMPLETE adds all values and rows.

    Returns
    -------
    dict of int to str
        By the id of a check, why its rows could not be looked at.
    """
    problems: dict[int, str] = {}
    for check, finding, values in answered:
        result = finding.result
        if check.rows is None or result_format == "BOOLEAN_ONLY":
            continue
        if result_format in ("SUMMARY", "COMPLETE"):
            result["partial_unexpected_counts"] = []
            result["partial_unexpected_index_list"] = []
        rows = check.rows(values) if callable(check.rows) else check.rows
        if result["unexpected_count"] and rows is not None:
            try:
                _fill(backend, rows, check, result, result_format)
            except CannotCheck as error:
                problems[id(check)] = str(error)
    return problems


def _fill(backend: Backend, broken: Rows, check: Check, result: dict[str, Any], result_format: str) -> None:
    names = list(broken.shown) if isinstance(broken.shown, Mapping) else None
    shown = list(broken.shown.values()) if isinstance(broken.shown, Mapping) else [broken.shown]

    def shape(values: tuple[Any, ...]) -> Any:
        return values[0] if names is None else dict(zip(names, values, strict=True))

    # GX's COMPLETE is every value by its meaning; otherwise no more than is shown leaves the engine.
    limit = None if result_format == "COMPLETE" else SHOWN
    found = backend.examples(broken.unexpected, shown, where=check.where, limit=limit)
    values = [shape(row) for _, row in found]
    positions = [position for position, _ in found if position is not None]
    result["partial_unexpected_list"] = values[:SHOWN]
    if result_format == "BASIC":
        return
    counts = backend.frequent(broken.unexpected, shown, where=check.where, limit=SHOWN)
    result["partial_unexpected_counts"] = [{"value": shape(row), "count": count} for row, count in counts]
    result["partial_unexpected_index_list"] = positions[:SHOWN]
    if result_format == "COMPLETE":
        result["unexpected_list"] = values
        result["unexpected_index_list"] = positions
        result["unexpected_index_query"] = None
