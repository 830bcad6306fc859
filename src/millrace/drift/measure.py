"""What a comparison records of one column: counts of both sides, tests, effects and what to draw."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any

import numpy as np
import pyarrow as pa

from millrace.core.errors import nearest
from millrace.drift.categorical import align, largest_levels, largest_moves, levels_test, pool_rare, unseen_test
from millrace.drift.columns import Column, Kind, family_of, kind_of, moments, read_column, suits
from millrace.drift.effects import bars, jensen_shannon, stability_index, tenths, wasserstein
from millrace.drift.numeric import Gap, alike, ks_chance, ks_gap, ks_gap_to_steps, ks_p_value, steps_of
from millrace.drift.profile import ColumnProfile, ReferenceProfile
from millrace.drift.rates import rate_p_value

_SIDES = ("reference", "current")


@dataclass(frozen=True, slots=True)
class Limits:
    """Below `min_rows` nothing is tested; `effect` and `rate_effect` are the least that count."""

    min_rows: int
    effect: float
    rate_effect: float


def measure_column(
    name: str,
    reference: pa.Table | ReferenceProfile,
    current: pa.Table,
    declared: str | None,
    limits: Limits,
    *,
    is_moving: bool = False,
) -> dict[str, Any]:
    """The facts of one column, JSON-ready; everything the decision needs stands in them.

    Of one that `is_moving` only type, nulls and infinities are compared.

    The Kolmogorov-Smirnov test still lacks its p-value: `settle` adds it, outside of threads.
    """
    after = column_of(current, name)
    facts: dict[str, Any] = {
        "name": name,
        "kind": None,
        "declared": declared,
        "type_reference": None,
        "type_current": None if after is None else str(after.type),
        "type_changed": False,
        "is_moving": is_moving,
        "error": None,
        **{f"{count}_{side}": 0 for count in ("n", "nulls", "nan", "infinite") for side in _SIDES},
        "tests": [],
    }
    before: pa.ChunkedArray | ColumnProfile | None
    if isinstance(reference, ReferenceProfile):
        before, others = reference.columns.get(name), list(reference.columns)
    else:
        before, others = column_of(reference, name), reference.column_names
    if before is not None:
        facts["type_reference"] = str(before.type)
    if before is None or after is None:
        close = nearest(name, current.column_names if after is None else others)
        facts["hint"] = f"did you mean '{close}'?" if close else None
        return facts
    facts["error"] = _unreadable(name, reference, current)
    if facts["error"] is not None:
        return facts
    facts["type_changed"] = _type_changed(before, after.type, declared)
    if facts["type_changed"]:
        return facts
    try:
        facts["kind"] = _kind(before, after.type, declared)
        _count_and_test(facts, before, after, limits)
    except (pa.ArrowException, ValueError, TypeError, OverflowError, MemoryError) as error:
        facts["error"] = f"{type(error).__name__}: {error}"
    return facts


def settle(facts: dict[str, Any], limits: Limits) -> None:
    """Put the p-value into the Kolmogorov-Smirnov test of `facts`."""
    for test in facts["tests"]:
        if test["test"] == "ks":
            n, m = facts["n_reference"], facts["n_current"]
            before, after = test.pop("counts")
            test["p_value"] = ks_p_value(n, m, before, after)
            test["chance"] = ks_chance(n, m, limits.effect)


def times_of(table: pa.Table, name: str) -> int:
    """How many columns have that name."""
    return len(table.schema.get_all_field_indices(name))


def column_of(table: pa.Table, name: str) -> pa.ChunkedArray | None:
    """The first column of that name, None if there is none."""
    places = table.schema.get_all_field_indices(name)
    return table.column(places[0]) if places else None


def _unreadable(name: str, reference: pa.Table | ReferenceProfile, current: pa.Table) -> str | None:
    """Why nothing can be asked of the column, if so: of columns that share a name, none is *the* column."""
    if isinstance(reference, ReferenceProfile):
        if (error := reference.columns[name].error) is not None:
            return error
    elif (times := times_of(reference, name)) > 1:
        return f"{times} columns of the reference data have this name"
    times = times_of(current, name)
    return f"{times} columns of the current data have this name" if times > 1 else None


def _count_and_test(
    facts: dict[str, Any], before: pa.ChunkedArray | ColumnProfile, after: pa.ChunkedArray, limits: Limits
) -> None:
    name, declared, kind = facts["name"], facts["declared"], facts["kind"]
    first = before if isinstance(before, ColumnProfile) else read_column(name, before, kind, declared)
    second = read_column(name, after, kind, declared)
    for side, column in zip(_SIDES, (first, second), strict=True):
        facts[f"n_{side}"], facts[f"nulls_{side}"] = column.present, column.missing
        facts[f"nan_{side}"], facts[f"infinite_{side}"] = column.nan, column.infinite
    _test_rate(facts, "nulls", (first.missing, first.rows), (second.missing, second.rows), limits)
    _test_rate(facts, "infinite", (first.infinite, first.present), (second.infinite, second.present), limits)
    if (
        facts["is_moving"]
        or kind in ("identifier", "untestable")
        or min(first.present, second.present) < limits.min_rows
    ):
        return
    facts["constant_reference"], facts["constant_current"] = first.is_constant, second.is_constant
    if declared is None and first.is_identifier_like and second.is_identifier_like:
        facts["kind"] = "identifier"
    elif kind == "categorical":
        _test_levels(facts, first, second, limits)
    else:
        _test_numbers(facts, first, second)


def _test_levels(facts: dict[str, Any], first: Column | ColumnProfile, second: Column, limits: Limits) -> None:
    if first.levels is None and isinstance(first, ColumnProfile):
        facts["untested"] = f"its {first.distinct:,} levels are more than a profile keeps: compare it with the table"
    if first.levels is None or second.levels is None:
        return
    names, reference, current = align(first.levels, second.levels)
    facts["levels_reference"] = int(np.count_nonzero(reference))
    facts["levels_current"] = int(np.count_nonzero(current))
    test = levels_test(names, reference, current, limits.effect)
    facts["tests"].append(test)
    if len(names) > 1:
        facts["tests"].append(unseen_test(reference, current, limits.rate_effect))
    _test_constant(facts, int(reference[int(np.argmax(current))]), int(reference.max()))
    cells = pool_rare(reference, current, names)
    facts["effects"] = {
        "total_variation": test["total_variation"],
        "total_variation_beyond_chance": test["beyond_chance"],
        "moved_levels": test["moved_levels"],
        **stability_index(*cells),
        **jensen_shannon(*cells),
    }
    facts["moves"] = largest_moves(names, reference, current)
    facts["bars"] = largest_levels(names, reference, current)


def _test_numbers(facts: dict[str, Any], first: Column | ColumnProfile, second: Column) -> None:
    assert second.values is not None
    if isinstance(first, ColumnProfile):
        assert first.steps is not None
        steps, current = first.steps.alike(second.values)
        gap, travelled = ks_gap_to_steps(steps, current), wasserstein(steps, current)
        mean, std = first.mean, first.std
    else:
        assert first.values is not None
        reference, current = alike(first.values, second.values)
        steps, gap, travelled = steps_of(reference), ks_gap(reference, current), wasserstein(reference, current)
        mean, std = moments(first)
    facts["tests"].append(_ks_record(gap))
    rows_of = steps.at_most - steps.below
    _test_constant(facts, int(rows_of[steps.values == current[0]].sum()), int(rows_of.max()))
    cuts, before, after = tenths(steps, current)
    facts["effects"] = {
        "d": gap.distance,
        "d_at_most": gap.at_most,
        **stability_index(before, after),
        **jensen_shannon(before, after),
        # In standard deviations of the reference; without any there is no such unit.
        "wasserstein": travelled[0] / std if travelled and std else None,
        "wasserstein_error": travelled[1] / std if travelled and std else None,
    }
    facts["mean_reference"], facts["std_reference"] = mean, std
    facts["mean_current"], facts["std_current"] = moments(second)
    facts["moves"] = _bin_moves(cuts, before, after, second.family)
    facts["bars"] = bars(steps, current)


def _ks_record(gap: Gap) -> dict[str, Any]:
    return {
        "test": "ks",
        "statistic": gap.distance,
        "statistic_at_most": gap.at_most,
        "is_exact": gap.at_most == gap.distance,
        "counts": (gap.before, gap.after),
        "effect": gap.distance,
    }


def _bin_moves(ends: list[tuple[Any, bool]], before: Any, after: Any, family: str) -> list[dict[str, Any]]:
    """The tenths of the reference whose share moved most, largest first."""
    say = _sayer(family)
    labels = [_cell(low, high, say) for low, high in pairwise([None, *ends, None])]
    shares = list(zip(labels, (before / before.sum()).tolist(), (after / after.sum()).tolist(), strict=True))
    shares.sort(key=lambda row: -abs(row[2] - row[1]))
    return [{"level": label, "reference": p, "current": q} for label, p, q in shares if p != q]


def _cell(low: tuple[Any, bool] | None, high: tuple[Any, bool] | None, say: Callable[[Any], str]) -> str:
    if low and high and low[0] == high[0]:
        return say(low[0])
    parts = [f"{'above' if low[1] else 'from'} {say(low[0])}"] if low else []
    parts += [f"{'up to' if high[1] else 'below'} {say(high[0])}"] if high else []
    return ", ".join(parts) or "all"


def _sayer(family: str) -> Callable[[Any], str]:
    """How a value of that family is written: numbers short, microseconds as times."""
    if family == "number":
        return lambda value: f"{value:.6g}"

    def say(micros: int) -> str:
        try:
            if family != "time":
                return str(timedelta(microseconds=micros))
            return (datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=micros)).strftime("%Y-%m-%d %H:%M:%S")
        except OverflowError:
            return f"{micros} us"

    return say


def _test_constant(facts: dict[str, Any], alike: int, most: int) -> None:
    """Whether a column that varied is constant now: exact test of the rows that had other values.

    `alike` reference rows have the batch's first value, `most` the reference's most frequent one. However few rows
    varied, all of the variation is gone, so that the effect is 1; by chance a batch of m rows is constant with
    ``(most / n) ** m``.
    """
    if facts["constant_reference"]:
        return
    n, m = facts["n_reference"], facts["n_current"]
    facts["constant_chance"] = (most / n) ** m
    if facts["constant_current"]:
        p_value = rate_p_value(n - alike, n, 0, m)
        facts["tests"].append(
            {"test": "constant", "statistic": 1 - alike / n, "p_value": p_value, "effect": 1.0, "chance": 0.0}
        )


def _test_rate(
    facts: dict[str, Any], test: str, reference: tuple[int, int], current: tuple[int, int], limits: Limits
) -> None:
    """Two-proportion test of a share of rows, each given as (part, rows), where there is any such row at all.

    Exact (Fisher's, twice the smaller tail) where few rows are expected somewhere: there the normal law calls three
    nulls among a hundred rows far rarer than they are.
    """
    (before, n), (after, m) = reference, current
    if min(n, m) < limits.min_rows or not before + after:
        return
    pooled = (before + after) / (n + m)
    difference = after / m - before / n
    spread = math.sqrt(pooled * (1 - pooled) * (1 / n + 1 / m))
    z = difference / spread if spread else 0.0
    facts["tests"].append(
        {
            "test": test,
            "statistic": z,
            "p_value": rate_p_value(before, n, after, m),
            "effect": abs(difference),
            # Hoeffding's bound for a difference this large without drift.
            "chance": min(1.0, 2 * math.exp(-2 * limits.rate_effect**2 * n * m / (n + m))),
        }
    )


def _type_changed(before: pa.ChunkedArray | ColumnProfile, after: pa.DataType, declared: str | None) -> bool:
    family = before.family if isinstance(before, ColumnProfile) else family_of(before.type)
    families = {family, family_of(after)} - {"null"}
    if declared is not None and not all(suits(declared, one) for one in families):
        return True
    if families == {"other"}:
        return str(before.type) != str(after)
    return len(families) > 1


def _kind(before: pa.ChunkedArray | ColumnProfile, after: pa.DataType, declared: str | None) -> Kind:
    if isinstance(before, ColumnProfile):
        return before.kind if before.family != "null" else kind_of(after, declared)
    return kind_of(after if pa.types.is_null(before.type) else before.type, declared)
