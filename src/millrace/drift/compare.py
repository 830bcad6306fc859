"""Did the distribution move: every column of a batch against the same column of a reference."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import pyarrow as pa

from millrace.core.errors import ProjectError, did_you_mean
from millrace.drift.categorical import chi2_test, count_levels, largest_moves, pool_rare, unseen_test
from millrace.drift.columns import check_declared, family_of, instants, kind_of, levels, numbers, suits
from millrace.drift.numeric import ks_test
from millrace.drift.report import DriftReport

RATE_EFFECT = 0.02


def compare(
    reference: pa.Table,
    current: pa.Table,
    *,
    columns: Iterable[str] | None = None,
    types: Mapping[str, str] | None = None,
    q: float = 0.05,
    min_rows: int = 100,
    effect: float = 0.1,
    rate_effect: float = RATE_EFFECT,
) -> DriftReport:
    """The drift of each column: ok, drift, insufficient or error, with statistics and a reason.

    A column is tested by its declared type, else by its Arrow type: numbers and instants by Kolmogorov-Smirnov,
    text, booleans and dictionaries by a contingency chi-square with rare levels pooled, and besides for a change of
    its null rate and for levels the reference never saw. Drift is significance after Benjamini and Hochberg's
    correction over all these tests *and* an effect that matters. The tests take rows as independent: on a time
    series it is the effect's limit that keeps false alarms away.

    Parameters
    ----------
    reference, current : pyarrow.Table
    columns : iterable of str, optional
        The columns to compare; all of the reference if not given. Leave out the event time: it always moves.
    types : mapping of str to str, optional
        Declared types: numeric, categorical, temporal, identifier, or a model's int, float, bool, string.
        Of an identifier only type and nulls are compared. A text column of which every value is different is
        taken for an identifier; undeclared, it is reported as insufficient.
    q : float
        Share of false discoveries allowed; with nothing drifted, the chance of any false alarm in the batch.
    min_rows : int
        Below this many values on either side a column is insufficient, never ok.
    effect : float
        Least KS distance, or total variation beyond chance, that counts as drift.
    rate_effect : float
        Least change in the share of nulls or of unseen levels that counts as drift.

    Raises
    ------
    ProjectError
        PROJ-35 for a limit outside its range, PROJ-36 for an unknown declared type.
    """
    declared = dict(types or {})
    _check_limits(q=q, effect=effect, rate_effect=rate_effect, min_rows=min_rows)
    check_declared(declared)
    names = list(reference.column_names if columns is None else columns)
    return DriftReport(
        {
            "q": q,
            "min_rows": min_rows,
            "effect": effect,
            "rate_effect": rate_effect,
            "rows_reference": reference.num_rows,
            "rows_current": current.num_rows,
            "columns": [_measure(name, reference, current, declared.get(name), min_rows) for name in names],
        }
    )


def _measure(name: str, reference: pa.Table, current: pa.Table, declared: str | None, min_rows: int) -> dict[str, Any]:
    """The facts of one column, JSON-ready; everything the decision needs stands in them."""
    before, after = _column(reference, name), _column(current, name)
    facts: dict[str, Any] = {
        "name": name,
        "kind": None,
        "declared": declared,
        "type_reference": None if before is None else str(before.type),
        "type_current": None if after is None else str(after.type),
        "type_changed": False,
        "error": None,
        "n_reference": 0,
        "n_current": 0,
        "nulls_reference": 0,
        "nulls_current": 0,
        "infinite_reference": 0,
        "infinite_current": 0,
        "tests": [],
    }
    if before is None or after is None:
        present = current if after is None else reference
        facts["hint"] = did_you_mean(name, present.column_names)
        return facts
    facts["type_changed"] = _type_changed(before.type, after.type, declared)
    if facts["type_changed"]:
        return facts
    known = before.type if not pa.types.is_null(before.type) else after.type
    facts["kind"] = kind_of(known, declared)
    try:
        _count_and_test(facts, before, after, min_rows)
    except (pa.ArrowException, ValueError, TypeError, OverflowError) as error:
        facts["error"] = f"{type(error).__name__}: {error}"
    return facts


def _count_and_test(facts: dict[str, Any], before: pa.ChunkedArray, after: pa.ChunkedArray, min_rows: int) -> None:
    read = {"numeric": numbers, "temporal": instants, "categorical": levels}.get(facts["kind"])
    if read is None or pa.types.is_null(before.type) or pa.types.is_null(after.type):
        for side, column in (("reference", before), ("current", after)):
            facts[f"nulls_{side}"] = column.null_count
            facts[f"n_{side}"] = len(column) - column.null_count
        _test_nulls(facts, len(before), len(after), min_rows)
        return
    first, second = read(before), read(after)
    for side, values in (("reference", first), ("current", second)):
        facts[f"n_{side}"] = len(values.present)
        facts[f"nulls_{side}"] = values.missing
        facts[f"infinite_{side}"] = values.infinite
    _test_nulls(facts, len(before), len(after), min_rows)
    if min(len(first.present), len(second.present)) < min_rows:
        return
    if facts["kind"] == "categorical":
        _test_levels(facts, first.present, second.present)
    else:
        facts["constant_reference"] = bool(first.present.min() == first.present.max())
        facts["constant_current"] = bool(second.present.min() == second.present.max())
        facts["tests"].append(ks_test(first.present, second.present))


def _test_levels(facts: dict[str, Any], before: pa.ChunkedArray, after: pa.ChunkedArray) -> None:
    names, reference, current = count_levels(before, after)
    facts["levels_reference"] = int(np.count_nonzero(reference))
    facts["levels_current"] = int(np.count_nonzero(current))
    facts["constant_reference"] = facts["levels_reference"] == 1
    facts["constant_current"] = facts["levels_current"] == 1
    if max(reference.max(), current.max()) == 1 and facts["declared"] is None:
        facts["kind"] = "identifier"
        return
    cells = pool_rare(reference, current)
    # One cell is a constant column, the same on both sides (p = 1), unless it is the pool of many rare levels.
    if len(cells[0]) > 1 or len(names) == 1:
        facts["tests"].append(chi2_test(*cells))
        facts["moves"] = largest_moves(names, reference, current)
    if len(names) > 1:
        facts["tests"].append(unseen_test(reference, current))


def _test_nulls(facts: dict[str, Any], rows_before: int, rows_after: int, min_rows: int) -> None:
    """Two-proportion test of the null rate, where there is any null at all."""
    nulls_before, nulls_after = facts["nulls_reference"], facts["nulls_current"]
    if min(rows_before, rows_after) < min_rows or not nulls_before + nulls_after:
        return
    pooled = (nulls_before + nulls_after) / (rows_before + rows_after)
    difference = nulls_after / rows_after - nulls_before / rows_before
    spread = math.sqrt(pooled * (1 - pooled) * (1 / rows_before + 1 / rows_after))
    z = difference / spread if spread else 0.0
    facts["tests"].append(
        {
            "test": "nulls",
            "statistic": z,
            "p_value": math.erfc(abs(z) / math.sqrt(2)),
            "effect": abs(difference),
        }
    )


def _type_changed(before: pa.DataType, after: pa.DataType, declared: str | None) -> bool:
    if declared is not None:
        return not (suits(declared, before) and suits(declared, after))
    families = {family_of(before), family_of(after)} - {"null"}
    if families == {"other"}:
        return bool(before != after)
    return len(families) > 1


def _column(table: pa.Table, name: str) -> pa.ChunkedArray | None:
    places = table.schema.get_all_field_indices(name)
    return table.column(places[0]) if places else None


def _check_limits(*, min_rows: int, **shares: float) -> None:
    findings = [
        ProjectError("PROJ-35", f"{name} is {value!r}", fix=f"give {name} a number between 0 and 1")
        for name, value in shares.items()
        if not (isinstance(value, (int, float)) and not isinstance(value, bool) and 0 <= value <= 1)
    ]
    if not isinstance(min_rows, int) or isinstance(min_rows, bool) or min_rows < 2:
        findings.append(ProjectError("PROJ-35", f"min_rows is {min_rows!r}", fix="give at least 2 rows"))
    if findings:
        raise ProjectError("PROJ-35", "a limit of the drift comparison is outside its range", findings=findings)
