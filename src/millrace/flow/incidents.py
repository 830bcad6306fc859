"""Whether a batch is a data incident: what the record and the champion's data say of it, put to the rules."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from millrace.core.clock import from_micros, from_text, to_text
from millrace.core.errors import StoreError
from millrace.core.records import Snapshot
from millrace.core.verdict import Verdict
from millrace.validation.incident_limits import DEFAULT, Incidents
from millrace.validation.incidents import judge_labels, judge_population, judge_row_count, judge_stale
from millrace.validation.release import list_quarantined

if TYPE_CHECKING:
    import pyarrow as pa

    from millrace.data.source import Source
    from millrace.flow.model import Model
    from millrace.flow.wiring import Wiring

_MOST_GROUPS = 50
_MOST_LABELS = 200
_LAST = 60
_OTHER = "(other)"


def judge_incidents(
    wiring: Wiring,
    model: Model,
    source: Source,
    table: pa.Table,
    *,
    as_of: datetime,
    digest: str | None = None,
) -> list[Verdict]:
    """Every incident rule on a batch of `source`: row count and age always, labels and population for the labels'.

    Parameters
    ----------
    as_of : datetime
        The run's time: rows up to then, less the delay, could be known.
    digest : str, optional
        The batch's own snapshot, which is no part of its history.
    """
    limits: Incidents = source.incidents or DEFAULT
    labels = model.labels
    is_labels = source.name == labels.source.name
    event_time = labels.event_time if is_labels else source.event_time
    delay = labels.delay if is_labels else source.delay
    history = _history(wiring, source.name, digest)
    verdicts = [_row_count(table, history, limits)]
    if event_time is not None and event_time in table.column_names:
        verdicts.append(_stale(table.column(event_time), history, limits, as_of - delay, delay))
    if is_labels and table.num_rows:
        reference = _reference(wiring, model)
        if labels.column in table.column_names:
            verdicts.append(_labels(model, table, reference, limits))
        verdicts += _populations(model, table, reference, limits)
    return verdicts


def _history(wiring: Wiring, source: str, digest: str | None) -> list[dict[str, Any]]:
    """Earlier batches that were not refused: rows, last time, and when they were taken."""
    refused = {
        entry.batch
        for entry in list_quarantined(wiring.ledger)
        if entry.source == source and entry.status not in ("released", "used")
    }
    events = wiring.ledger.events("snapshot", source, last=_LAST)
    return [
        {"rows": event.body["rows"], "end": event.body["end"], "at": event.at}
        for event in events
        if event.body["digest"] not in refused and event.body["digest"] != digest
    ]


def _row_count(table: pa.Table, history: Sequence[dict[str, Any]], limits: Incidents) -> Verdict:
    return judge_row_count(
        {
            "rows": table.num_rows,
            "history": [batch["rows"] for batch in history],
            "min_history": limits.min_history,
            "factor": limits.factor,
        }
    )


def _stale(
    times: pa.ChunkedArray,
    history: Sequence[dict[str, Any]],
    limits: Incidents,
    as_of: datetime,
    delay: timedelta,
) -> Verdict:
    newest, gap = _newest_and_gap(times)
    lags = [
        (from_text(batch["at"]) - delay - from_text(batch["end"])).total_seconds()
        for batch in history
        if batch["end"] is not None
    ]
    return judge_stale(
        {
            "newest": None if newest is None else to_text(newest),
            "as_of": to_text(as_of),
            "lag_s": None if newest is None else (as_of - newest).total_seconds(),
            "lags_s": [max(lag, 0.0) for lag in lags],
            "longest_gap_s": gap,
            "max_age_s": limits.max_age_s,
            "min_history": limits.min_history,
        }
    )


def _newest_and_gap(times: pa.ChunkedArray) -> tuple[datetime | None, float | None]:
    import numpy as np
    import pyarrow as pa

    present = times.drop_null()
    if len(present) == 0:
        return None, None
    micros = np.sort(present.cast(pa.timestamp("us", tz="UTC")).cast(pa.int64()).to_numpy())
    gap = float(np.diff(micros).max()) / 1e6 if len(micros) > 1 else None
    return from_micros(int(micros[-1])), gap


def _reference(wiring: Wiring, model: Model) -> pa.Table | None:
    """The batch that the champion learned from; None when there is none, or its bytes are gone."""
    from millrace.data.snapshot import load_snapshot

    champion = wiring.registry.find(model.name, "champion")
    snapshot = champion.lineage.get("snapshot") if champion is not None else None
    if not snapshot:
        return None
    try:
        return load_snapshot(Snapshot.from_dict(dict(snapshot)), wiring.blobs)
    except StoreError:
        return None


def _labels(model: Model, table: pa.Table, reference: pa.Table | None, limits: Incidents) -> Verdict:
    name = model.labels.column
    known = None
    if model.task == "regression":
        # Of numbers only "all the same" is told from here: how they are spread is the drift room's matter.
        counts = _least_and_others(table.column(name))
    else:
        counts = _counts(table.column(name))
        if reference is not None and name in reference.column_names:
            known = _counts(reference.column(name))
    return judge_labels(
        {
            "n": sum(counts.values()),
            "counts": _shortened(counts, counts, _MOST_LABELS),
            "reference": None if known is None else _shortened(known, counts, _MOST_LABELS),
            "min_samples": limits.min_samples,
            "odds": limits.odds,
            "chance": limits.chance,
        }
    )


def _least_and_others(column: pa.ChunkedArray) -> dict[str, int]:
    import pyarrow.compute as pc

    present = column.drop_null()
    least = pc.min(present)
    count = pc.sum(pc.equal(present, least)).as_py() or 0
    found = {str(least.as_py()): count, _OTHER: len(present) - count}
    return {name: rows for name, rows in found.items() if rows}


def _populations(model: Model, table: pa.Table, reference: pa.Table | None, limits: Incidents) -> list[Verdict]:
    if reference is None:
        return []
    asked = limits.groups
    names = [name for name in (model.inputs if asked is None else asked) if name in table.column_names]
    found = []
    for name in names:
        if name not in reference.column_names or (asked is None and not _is_text(reference.column(name))):
            continue
        before = _counts(reference.column(name))
        if asked is None and len(before) > _MOST_GROUPS:
            continue
        now = _counts(table.column(name))
        unseen = {group: count for group, count in now.items() if group not in before}
        vanished = {group: count for group, count in before.items() if group not in now}
        found.append(
            judge_population(
                {
                    "column": name,
                    "n": sum(now.values()),
                    "reference_n": sum(before.values()),
                    "unseen": _shortened(unseen, unseen, _MOST_GROUPS),
                    "vanished": _shortened(vanished, vanished, _MOST_GROUPS),
                    "unseen_limit": limits.unseen,
                    "vanished_limit": limits.vanished,
                    "min_samples": limits.min_samples,
                    "chance": limits.chance,
                }
            )
        )
    return found


def _counts(column: pa.ChunkedArray) -> dict[str, int]:
    """Rows of each value that is there, as text; whole numbers alike however they are stored."""
    counts: Counter[str] = Counter()
    for entry in column.drop_null().value_counts().to_pylist():
        value = entry["values"]
        if value != value:
            continue
        plain = int(value) if isinstance(value, float) and value.is_integer() else value
        counts[str(int(plain) if isinstance(plain, bool) else plain)] += entry["counts"]
    return dict(counts)


def _shortened(counts: dict[str, int], order: dict[str, int], most: int) -> dict[str, int]:
    """Rows of the values that are the most frequent in `order`, and of all others together."""
    kept = set(sorted(order, key=lambda name: (-order[name], name))[:most])
    found = {name: count for name, count in sorted(counts.items()) if name in kept or len(counts) <= most}
    others = sum(counts.values()) - sum(found.values())
    return {**found, _OTHER: others} if others else found


def _is_text(column: pa.ChunkedArray) -> bool:
    import pyarrow as pa

    kind = column.type
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_dictionary(kind))
