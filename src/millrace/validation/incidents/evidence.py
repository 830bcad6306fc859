"""What the incident rules look at, counted from the columns of a batch and of its reference."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from millrace.core.clock import from_micros
from millrace.core.errors import nearest
from millrace.core.verdict import Verdict
from millrace.validation.incidents.limits import Incidents
from millrace.validation.incidents.rules import judge_clock, judge_labels, judge_population, judge_units

_MOST_GROUPS = 50
_MOST_LABELS = 200
_MOST_MOVES = 3
_OTHER = "(other)"
_MISSING = "(missing)"
_SAMPLED = 20_000  # rows, evenly spread, tell a unit
_HOUR, _DAY = 3_600_000_000, 86_400_000_000


def compare_batches(
    table: pa.Table,
    reference: pa.Table,
    limits: Incidents,
    *,
    label: str | None = None,
    groups: Sequence[str] | None = None,
) -> list[Verdict]:
    """The incident rules that compare a batch with its reference: labels, populations, units and clocks.

    A column of labels or populations that one of the two lacks is told, never passed over: a batch without the labels
    has no label, and one without the column that `limits` name lost all its groups.

    Parameters
    ----------
    label : str, optional
        The column with the classes; without it labels are not judged.
    groups : sequence of str, optional
        The columns that are looked at, where the limits name none: of text with at most 50 values as populations, of
        numbers for their units.
    """
    shared = [name for name in table.column_names if name in reference.column_names]
    found = []
    if label is not None:
        none = pa.chunked_array([pa.nulls(table.num_rows)])
        labels = table.column(label) if label in table.column_names else none
        found.append(judge_classes(labels, reference.column(label) if label in shared else None, limits))
    asked = limits.groups
    # What nobody asked for can only be missed where the reference has it.
    wanted = asked if asked is not None else reference.column_names if groups is None else groups
    names = [name for name in wanted if name != label and (asked is not None or name in reference.column_names)]
    found += _populations(table, reference, names, limits, is_asked=asked is not None)
    for name in shared:
        sides = table.column(name), reference.column(name)
        is_asked = name != label and (groups is None or name in groups)
        # A counter is as large as there are rows, and that is no unit.
        if is_asked and all(_is_number_type(side.type) for side in sides) and not all(map(_is_counter, sides)):
            found.append(judge_numbers(name, *sides, limits))
    times = [
        name for name in shared if all(pa.types.is_timestamp(t.schema.field(name).type) for t in (table, reference))
    ]
    return [*found, *(judge_hours(name, table.column(name), reference.column(name), limits) for name in times)]


def compared_columns(schema: pa.Schema, limits: Incidents, *, label: str | None = None) -> list[str]:
    """The columns of a batch that `compare_batches` may look at."""
    groups = limits.groups
    return [
        field.name
        for field in schema
        if field.name == label
        or pa.types.is_timestamp(field.type)
        or _is_number_type(field.type)
        or (field.name in groups if groups is not None else _is_text_type(field.type))
    ]


def judge_classes(column: pa.ChunkedArray, reference: pa.ChunkedArray | None, limits: Incidents) -> Verdict:
    """`judge_labels` on classes."""
    counts = _counts(column)
    return _judge_counts(counts, len(column), None if reference is None else _counts(reference), limits)


def judge_amounts(column: pa.ChunkedArray, limits: Incidents) -> Verdict:
    """`judge_labels` on numbers: only "all the same" is told, how they are spread is the drift room's matter."""
    present = column.drop_null()
    if pa.types.is_floating(present.type):
        present = present.filter(pc.invert(pc.is_nan(present)))
    least = pc.min(present)
    count = pc.sum(pc.equal(present, least)).as_py() or 0
    counts = {str(least.as_py()): count, _OTHER: len(present) - count}
    return _judge_counts({name: rows for name, rows in counts.items() if rows}, len(column), None, limits)


def judge_hours(name: str, times: pa.ChunkedArray, reference: pa.ChunkedArray, limits: Incidents) -> Verdict:
    """`judge_clock` on a column of times."""
    (hours, days), (reference_hours, reference_days) = _hours(times), _hours(reference)
    return judge_clock(
        {
            "column": name,
            "hours": hours,
            "reference_hours": reference_hours,
            "days": days,
            "reference_days": reference_days,
            "gain": 0.15,
            "fit": 0.1,
            "chance": limits.chance,
            "min_samples": limits.min_samples,
        }
    )


def judge_numbers(name: str, column: pa.ChunkedArray, reference: pa.ChunkedArray, limits: Incidents) -> Verdict:
    """`judge_units` on a column of numbers."""
    now, before = _sizes(column), _sizes(reference)
    factor = float(np.median(np.abs(now)) / np.median(np.abs(before))) if len(now) and len(before) else 1.0
    return judge_units(
        {
            "column": name,
            "n": len(now),
            "reference_n": len(before),
            "factor": factor,
            "apart": _apart(now, before),
            "apart_divided": _apart(now / factor, before),
            "units": limits.units,
            "fit": 0.1,
            "chance": limits.chance,
            "min_samples": limits.min_samples,
        }
    )


def newest_and_longest_gap(times: pa.ChunkedArray) -> tuple[datetime | None, float | None]:
    """The newest time, and the longest pause between two in seconds; None for what there is not."""
    micros = np.sort(_micros(times))
    if len(micros) == 0:
        return None, None
    gap = float(np.diff(micros).max()) / 1e6 if len(micros) > 1 else None
    return from_micros(int(micros[-1])), gap


def _judge_counts(counts: dict[str, int], rows: int, reference: dict[str, int] | None, limits: Incidents) -> Verdict:
    n = sum(counts.values())
    return judge_labels(
        {
            "n": n,
            "missing": rows - n,
            "counts": _shortened(counts, counts, _MOST_LABELS),
            "reference": None if reference is None else _shortened(reference, counts, _MOST_LABELS),
            "min_samples": limits.min_samples,
            "odds": limits.odds,
            "chance": limits.chance,
        }
    )


def _populations(
    table: pa.Table, reference: pa.Table, names: Sequence[str], limits: Incidents, *, is_asked: bool
) -> Iterator[Verdict]:
    for name in names:
        # A column of many different texts says nothing of populations; counting them one by one would be slow.
        if not is_asked and (
            not _is_text(reference.column(name)) or pc.count_distinct(reference.column(name)).as_py() > _MOST_GROUPS
        ):
            continue
        absent = [side for side, one in (("batch", table), ("reference", reference)) if name not in one.column_names]
        before, now = (_groups(one.column(name)) if name in one.column_names else {} for one in (reference, table))
        unseen = {} if absent else {group: count for group, count in now.items() if group not in before}
        # A column that was filled in at last lost no population.
        vanished = {group: count for group, count in before.items() if group not in now and group != _MISSING}
        yield judge_population(
            {
                "column": name,
                "absent": absent,
                "nearest": nearest(name, table.column_names) if "batch" in absent else None,
                "is_asked": is_asked,
                "n": table.num_rows,
                "reference_n": reference.num_rows,
                "unseen": _shortened(unseen, unseen, _MOST_GROUPS),
                "vanished": _shortened(vanished, vanished, _MOST_GROUPS),
                "mix": _mix(now, before),
                "unseen_limit": limits.unseen,
                "vanished_limit": limits.vanished,
                "mix_limit": limits.mix,
                "min_samples": limits.min_samples,
                "chance": limits.chance,
            }
        )


def _counts(column: pa.ChunkedArray) -> dict[str, int]:
    """Rows of each value that is there, as text; whole numbers alike however they are stored."""
    counts: Counter[str] = Counter()
    for entry in column.drop_null().value_counts().to_pylist():
        value = entry["values"]
        if value != value:
            continue
        is_whole = isinstance(value, bool) or (isinstance(value, float) and value.is_integer())
        counts[str(int(value) if is_whole else value)] += entry["counts"]
    return dict(counts)


def _groups(column: pa.ChunkedArray) -> dict[str, int]:
    """Rows of each group; those that say none are a group of their own."""
    counts = _counts(column)
    missing = len(column) - sum(counts.values())
    return {**counts, _MISSING: missing} if missing else counts


def _mix(now: dict[str, int], before: dict[str, int]) -> dict[str, Any] | None:
    """How far the shares of the groups moved among the rows that name one; None where a side names none.

    ``distance`` is their total variation, ``by_chance`` no less than its expectation for two samples of one mix, and
    ``moves`` the groups that moved most, each with its share before and now.
    """
    names = sorted({*now, *before} - {_MISSING})
    after = np.array([now.get(name, 0) for name in names], dtype=float)
    earlier = np.array([before.get(name, 0) for name in names], dtype=float)
    n, reference_n = after.sum(), earlier.sum()
    if not n or not reference_n:
        return None
    pooled = (after + earlier) / (n + reference_n)
    after, earlier = after / n, earlier / reference_n
    move = np.abs(after - earlier)
    return {
        "n": int(n),
        "reference_n": int(reference_n),
        "distance": float(move.sum()) / 2,
        # E|X| is at most X's standard deviation.
        "by_chance": float(np.sqrt(pooled * (1 - pooled) * (1 / n + 1 / reference_n)).sum()) / 2,
        "moves": {
            names[k]: [float(earlier[k]), float(after[k])] for k in np.argsort(-move, kind="stable")[:_MOST_MOVES]
        },
    }


def _shortened(counts: dict[str, int], order: dict[str, int], most: int) -> dict[str, int]:
    """Rows of the values that are the most frequent in `order`, and of all others together."""
    kept = set(sorted(order, key=lambda name: (-order[name], name))[:most])
    found = {name: count for name, count in sorted(counts.items()) if name in kept or len(counts) <= most}
    others = sum(counts.values()) - sum(found.values())
    return {**found, _OTHER: others} if others else found


def _hours(times: pa.ChunkedArray) -> tuple[list[int], float]:
    """Events in each hour of the day, and the days between the first and the last."""
    micros = _micros(times)
    if len(micros) == 0:
        return [0] * 24, 0.0
    hours = np.bincount(micros % _DAY // _HOUR, minlength=24)
    return [int(count) for count in hours], float(micros.max() - micros.min()) / _DAY


def _sampled(column: pa.ChunkedArray) -> np.ndarray:
    """The numbers of evenly spread rows, without missing ones."""
    if len(column) > _SAMPLED:
        column = column.take(pa.array(np.linspace(0, len(column) - 1, _SAMPLED).astype(np.int64)))
    return np.asarray(column.drop_null().cast(pa.float64(), safe=False).to_numpy())


def _is_counter(column: pa.ChunkedArray) -> bool:
    return bool(pa.types.is_integer(column.type) and (np.diff(_sampled(column)) > 0).all())


def _sizes(column: pa.ChunkedArray) -> np.ndarray:
    """The sampled numbers in order, without those that are infinite or 0."""
    values = _sampled(column)
    # Beyond these sizes a quotient of two has no double.
    return np.sort(values[np.isfinite(values) & (np.abs(values) > 1e-150) & (np.abs(values) < 1e150)])


def _apart(first: np.ndarray, second: np.ndarray) -> float:
    """The Kolmogorov-Smirnov distance of two sorted samples; 0 where one is empty."""
    if not len(first) or not len(second):
        return 0.0
    points = np.concatenate((first, second))
    shares = [np.searchsorted(side, points, "right") / len(side) for side in (first, second)]
    return float(np.abs(shares[0] - shares[1]).max())


def _micros(times: pa.ChunkedArray) -> np.ndarray:
    plain = times.drop_null().cast(pa.timestamp("us"), safe=False) if times.type.tz is None else times.drop_null()
    return np.asarray(plain.cast(pa.timestamp("us", tz="UTC"), safe=False).cast(pa.int64()).to_numpy())


def _is_text(column: pa.ChunkedArray) -> bool:
    return _is_text_type(column.type)


def _is_text_type(kind: pa.DataType) -> bool:
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_dictionary(kind))


def _is_number_type(kind: pa.DataType) -> bool:
    return bool(pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind))
