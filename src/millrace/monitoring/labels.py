"""Joining predictions with the labels that arrive later."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from millrace.core.clock import as_utc, from_text, to_micros
from millrace.core.errors import DataError, did_you_mean


@dataclass(frozen=True, slots=True)
class Match:
    """One prediction and the label that came for it. `scores` is empty for regression."""

    event_time: datetime
    output: Any
    label: Any
    scores: Sequence[float]
    version: int


@dataclass(frozen=True, slots=True)
class Joined:
    """What a window knows of its predictions.

    `predictions` counts the distinct ones, `repeated` the requests that asked for the same one again, and
    `matches` holds those with a label, by event time.
    """

    matches: tuple[Match, ...]
    predictions: int
    repeated: int

    @property
    def coverage(self) -> float | None:
        """Share of the predictions that have a label; None without predictions."""
        return len(self.matches) / self.predictions if self.predictions else None


def join_labels(
    predictions: Iterable[Mapping[str, Any]],
    labels: Iterable[Mapping[str, Any]],
    *,
    key: Sequence[str],
    event_time: str,
    label: str,
    start: datetime | None = None,
    end: datetime | None = None,
    version: int | None = None,
) -> Joined:
    """Predictions with start <= event time < end, each with its label where one has come.

    Parameters
    ----------
    predictions : iterable of mapping
        Records of the prediction log: ``key``, ``event_time``, ``at``, ``output``, ``scores``, ``version``. Of several
        about the same key and time, the last answered counts.
    labels : iterable of mapping
        Rows with the `key` columns, `event_time` and `label`, as ``table.to_pylist()`` gives them. Of several for the
        same key and time the last row counts, so a corrected label replaces the first; a null label is none.
    key : sequence of str
        Names of the key columns; empty when event time alone tells rows apart.
    version : int, optional
        Only predictions of this model version: another version's errors are not this one's.

    Raises
    ------
    DataError
        MON-01 when the labels lack a column, MON-02 when a time cannot be read.
    """
    first, last = _micros(start), _micros(end)
    asked: dict[tuple[Any, ...], Mapping[str, Any]] = {}
    repeated = 0
    for record in predictions:
        if version is not None and record["version"] != version:
            continue
        moment = _moment(record["event_time"])
        if (first is not None and moment < first) or (last is not None and moment >= last):
            continue
        identity = (moment, *(record["key"].get(name) for name in key))
        earlier = asked.get(identity)
        repeated += earlier is not None
        if earlier is None or record["at"] >= earlier["at"]:
            asked[identity] = record
    known = _labels(labels, key=key, event_time=event_time, label=label)
    matches = [
        Match(_as_time(record["event_time"]), record["output"], known[identity], record["scores"], record["version"])
        for identity, record in sorted(asked.items(), key=lambda item: item[0][0])
        if identity in known
    ]
    return Joined(tuple(matches), len(asked), repeated)


def _labels(
    labels: Iterable[Mapping[str, Any]], *, key: Sequence[str], event_time: str, label: str
) -> dict[tuple[Any, ...], Any]:
    known: dict[tuple[Any, ...], Any] = {}
    for row in labels:
        try:
            identity = (_moment(row[event_time]), *(row[name] for name in key))
            value = row[label]
        except KeyError as error:
            name = str(error.args[0])
            raise DataError(
                "MON-01", f"the labels have no column '{name}'", fix=did_you_mean(name, [str(column) for column in row])
            ) from error
        if value is None or value != value:  # a null, or a NaN in a float column: no label yet
            known.pop(identity, None)
        else:
            known[identity] = value
    return known


def _micros(moment: datetime | None) -> int | None:
    return None if moment is None else to_micros(moment)


def _moment(value: Any) -> int:
    return to_micros(_as_time(value))


def _as_time(value: Any) -> datetime:
    if isinstance(value, datetime):
        return as_utc(value)
    try:
        return from_text(value)
    except (TypeError, ValueError) as error:
        raise DataError(
            "MON-02", f"{value!r} is not a time", fix="event times are timestamps, or ISO 8601 text"
        ) from error
