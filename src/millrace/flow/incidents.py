"""Whether a batch is a data incident: what the record and the champion's data say of it, put to the rules."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from millrace.core.clock import from_text, to_text
from millrace.core.errors import StoreError
from millrace.core.records import Snapshot
from millrace.core.verdict import Verdict
from millrace.validation.incidents.limits import DEFAULT, Incidents
from millrace.validation.incidents.rules import judge_row_count, judge_stale
from millrace.validation.release import list_quarantined

if TYPE_CHECKING:
    import pyarrow as pa

    from millrace.data.source import Source
    from millrace.flow.model import Model
    from millrace.flow.wiring import Wiring

_LAST = 60


def judge_incidents(
    wiring: Wiring,
    model: Model,
    source: Source,
    table: pa.Table,
    *,
    as_of: datetime,
    digest: str | None = None,
) -> list[Verdict]:
    """Every incident rule on a batch of `source`.

    Row count and age always; for the labels' source labels, populations, units and clocks, too, against the champion's.

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
    history = _history(wiring, source.name, digest, as_of)
    verdicts = [_row_count(table, history, limits)]
    if event_time is not None and event_time in table.column_names:
        verdicts.append(_stale(table.column(event_time), history, limits, as_of - delay, delay))
    if is_labels and table.num_rows:
        verdicts += _against_champion(wiring, model, table, limits)
    return verdicts


def _against_champion(wiring: Wiring, model: Model, table: pa.Table, limits: Incidents) -> list[Verdict]:
    from millrace.validation.incidents.evidence import compare_batches, judge_amounts, judge_classes

    reference = _reference(wiring, model)
    label = model.labels.column
    found = []
    is_known = reference is not None and label in reference.column_names
    if label in table.column_names and model.task == "regression":
        found.append(judge_amounts(table.column(label), limits))
    elif label in table.column_names:
        before = reference.column(label) if reference is not None and is_known else None
        found.append(judge_classes(table.column(label), before, limits))
    if reference is not None:
        names = [name for name in (label,) if name in reference.column_names]
        rest = reference.drop_columns(names) if names else reference
        found += compare_batches(table, rest, limits, groups=model.inputs)
    return found


def keep_count(wiring: Wiring, source: Source, table: pa.Table, *, as_of: datetime, run: str) -> None:
    """Put a sound batch of a source of features into its history; its rows are kept nowhere, so there is no snapshot.

    The event is ``batch_fit``. Batches of as many rows up to the same moment are one.
    """
    from millrace.validation.incidents.evidence import newest_and_longest_gap

    newest = None
    if source.event_time is not None and source.event_time in table.column_names:
        newest = newest_and_longest_gap(table.column(source.event_time))[0]
    end = None if newest is None else to_text(newest)
    body = {"rows": table.num_rows, "end": end, "at": to_text(as_of)}
    wiring.ledger.append("batch_fit", source.name, body, key=f"batch_fit:{source.name}:{end or run}:{table.num_rows}")


def _history(wiring: Wiring, source: str, digest: str | None, as_of: datetime) -> list[dict[str, Any]]:
    """Batches before `as_of` that were not refused, oldest first: rows, last time, and when they were taken.

    By their time and not by their place in the ledger: a run of the past neither sees what came later, nor stands
    for the last batch afterwards.
    """
    of_source = [entry for entry in list_quarantined(wiring.ledger) if entry.source == source]
    released = {entry.batch for entry in of_source if entry.status in ("released", "used")}
    refused = {entry.batch for entry in of_source} - released  # released for one model, it is a batch like others
    events = [event for kind in ("snapshot", "batch_fit") for event in wiring.ledger.events(kind, source, last=_LAST)]
    found = [
        {"rows": event.body["rows"], "end": event.body["end"], "at": event.body.get("at", event.at)}
        for event in events
        if (kept := event.body.get("digest")) is None or (kept not in refused and kept != digest)
    ]
    now = to_text(as_of)
    return sorted((batch for batch in found if batch["at"] <= now), key=lambda batch: str(batch["at"]))[-_LAST:]


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
    from millrace.validation.incidents.evidence import newest_and_longest_gap

    newest, gap = newest_and_longest_gap(times)
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
