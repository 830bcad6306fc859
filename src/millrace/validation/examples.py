"""The second look: values and rows that break a rule. Rules that hold without exception are not looked at."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import polars as pl

from millrace.validation.batch import Batch
from millrace.validation.check import Check, Finding, Rows

SHOWN = 20
_ROW = "row"
_VALUE = "value"


def add_examples(batch: Batch, answered: Sequence[tuple[Check, Finding]], result_format: str) -> None:
    """Fill the lists of unexpected values in the findings' results, as GX does for `result_format`.

    ``partial_unexpected_list`` holds 20 values; SUMMARY adds their rows (counted from 0) and the most frequent
    values with their counts; COMPLETE adds all values and rows.
    """
    for check, finding in answered:
        result = finding.result
        if check.rows is None or result_format == "BOOLEAN_ONLY":
            continue
        if result_format in ("SUMMARY", "COMPLETE"):
            result["partial_unexpected_counts"] = []
            result["partial_unexpected_index_list"] = []
        if result["unexpected_count"]:
            _fill(batch, check.rows, result, result_format)


def _fill(batch: Batch, broken: Rows, result: dict[str, Any], result_format: str) -> None:
    unexpected = batch.frame.with_row_index(_ROW).filter(broken.unexpected).select(_ROW, broken.shown.alias(_VALUE))
    # GX's COMPLETE is every value by its meaning; otherwise no more than is shown leaves the engine.
    rows = unexpected if result_format == "COMPLETE" else unexpected.head(SHOWN)
    found = rows.collect(engine="streaming").sort(_ROW)
    values, positions = found[_VALUE].to_list(), found[_ROW].to_list()
    result["partial_unexpected_list"] = values[:SHOWN]
    if result_format == "BASIC":
        return
    counts = (
        unexpected.group_by(_VALUE)
        .agg(pl.len().alias("count"), pl.col(_ROW).min())
        .sort(["count", _ROW], descending=[True, False])
        .head(SHOWN)
        .collect(engine="streaming")
    )
    result["partial_unexpected_counts"] = counts.select(_VALUE, "count").to_dicts()
    result["partial_unexpected_index_list"] = positions[:SHOWN]
    if result_format == "COMPLETE":
        result["unexpected_list"] = values
        result["unexpected_index_list"] = positions
        result["unexpected_index_query"] = None
