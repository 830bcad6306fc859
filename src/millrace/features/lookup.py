"""A request for online features, worked out once and read many times."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

from millrace.core.clock import Clock, from_micros, to_micros
from millrace.core.errors import DataError
from millrace.features.keys import key_packer, missing_key
from millrace.features.online import OnlineStore
from millrace.features.request import Feature
from millrace.features.stored_schema import find_schema
from millrace.features.view import FeatureView
from millrace.features.view_reader import Reading, Status, ViewReader

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True, slots=True)
class OnlineFeatures:
    """The answer to `get_online_features`: for each feature one value, status and event time per entity row.

    `event_times` are those of the newest event behind a value, None when there is none.
    """

    keys: Mapping[str, list[Any]]
    values: Mapping[str, list[Any]]
    statuses: Mapping[str, list[Status]]
    event_times: Mapping[str, list[datetime | None]]

    def to_dict(self, *, include_event_timestamps: bool = False) -> dict[str, list[Any]]:
        """Columns by name: keys, then features; with event times as ``<feature>__ts``, as Feast calls them."""
        columns: dict[str, list[Any]] = {**self.keys, **self.values}
        if include_event_timestamps:
            columns.update({f"{name}__ts": list(times) for name, times in self.event_times.items()})
        return columns

    def to_df(self, *, include_event_timestamps: bool = False) -> pd.DataFrame:
        """The same as a pandas table."""
        import pandas as pd

        return pd.DataFrame(self.to_dict(include_event_timestamps=include_event_timestamps))


@dataclass(frozen=True, slots=True)
class _Part:
    """One view of a plan. `places` are where its values go in the answer."""

    view: FeatureView
    storage_id: str
    places: list[int]
    pack: Callable[[Any], bytes | None]
    reader: ViewReader
    is_settled: bool


class LookupPlan:
    """Features resolved to views, places and bytes. Safe to use from many threads; made by `FeatureStore.plan`.

    `names` are the features' names in the order of the values, `keys` the columns a key must have.
    """

    def __init__(self, features: Sequence[Feature], online: OnlineStore, clock: Clock) -> None:
        self.features = tuple(features)
        self.names = tuple(feature.name for feature in features)
        self._online = online
        self._clock = clock
        views = {feature.view.name: feature.view for feature in features}
        self.keys = tuple(dict.fromkeys(key for view in views.values() for key in view.keys))
        self._parts = [self._part(view) for view in views.values()]

    def read(self, key: Mapping[str, Any], at: datetime | None = None) -> list[Any]:
        """The features of one key at `at` (default: now), None for what is not there, in the order of `names`.

        Raises
        ------
        DataError
            FEAT-05 a key column is missing, FEAT-07 a key is of the wrong type.
        StoreError
            FEAT-20 the store does not answer, FEAT-22 it holds something that is not whole.
        """
        moment = to_micros(self._clock.now() if at is None else at)
        if len(self._parts) == 1 and self._parts[0].is_settled:
            part = self._parts[0]
            packed = part.pack(key)
            if packed is None:
                return list(part.reader.nothing)
            values = part.reader.read(self._online.read(part.storage_id, (packed,))[0], moment)[0]
            return list(values) if values is part.reader.nothing else values
        answer: list[Any] = [None] * len(self.names)
        for place, part in enumerate(self._parts):
            ((values, _, _),) = self._read_part(place, part, [key], moment)
            for target, value in zip(part.places, values, strict=True):
                answer[target] = value
        return answer

    def lookup(self, rows: Sequence[Mapping[str, Any]], at: datetime | None = None) -> OnlineFeatures:
        """Values, statuses and event times of many keys; raises as `read` does."""
        moment = to_micros(self._clock.now() if at is None else at)
        values: list[list[Any]] = [[] for _ in self.names]
        statuses: list[list[Status]] = [[] for _ in self.names]
        times: list[list[datetime | None]] = [[] for _ in self.names]
        for place, part in enumerate(self._parts):
            for found, status, micros in self._read_part(place, part, rows, moment):
                time = None if micros is None else from_micros(micros)
                for target, value in zip(part.places, found, strict=True):
                    values[target].append(value)
                    is_null = status == "present" and value is None
                    statuses[target].append("null" if is_null else status)
                    times[target].append(time)
        return OnlineFeatures(
            keys={name: [row[name] for row in rows] for name in self.keys},
            values=dict(zip(self.names, values, strict=True)),
            statuses=dict(zip(self.names, statuses, strict=True)),
            event_times=dict(zip(self.names, times, strict=True)),
        )

    def _read_part(self, place: int, part: _Part, rows: Sequence[Mapping[str, Any]], moment: int) -> list[Reading]:
        if not part.is_settled:
            # Nothing of this view was in the store when the plan was made; something may have come since.
            part = self._parts[place] = self._part(part.view)
        packed = [part.pack(row) for row in rows]
        found = iter(self._online.read(part.storage_id, [key for key in packed if key is not None]))
        return [part.reader.read(None if key is None else next(found), moment) for key in packed]

    def _part(self, view: FeatureView) -> _Part:
        places = [place for place, feature in enumerate(self.features) if feature.view.name == view.name]
        schema = find_schema(self._online, view)
        kinds = None if schema is None or "null" in schema.keys else schema.keys
        reader = ViewReader(
            view, [self.features[place].rule for place in places], {} if schema is None else schema.columns
        )
        is_settled = kinds is not None and schema is not None and "null" not in schema.columns.values()
        return _Part(view, view.storage_id(), places, key_packer(view.keys, kinds), reader, is_settled)


def entity_rows_of(
    keys: Sequence[str],
    entity_rows: Iterable[Mapping[str, Any]] | Mapping[str, Sequence[Any]] | None,
    entity_ids: Sequence[Any] | Mapping[str, Sequence[Any]] | None,
) -> list[Mapping[str, Any]]:
    """One mapping per entity, from any of the forms a caller may use.

    Raises
    ------
    DataError
        FEAT-05 when neither or both are given, when bare ids meet a key of several columns, or when columns of ids
        differ in length.
    """
    if (entity_rows is None) == (entity_ids is None):
        raise DataError("FEAT-05", "give either entity_rows or entity_ids", fix='entity_rows=[{"customer_id": 7}]')
    given: Any = entity_rows if entity_rows is not None else entity_ids
    if isinstance(given, Mapping):
        for key in keys:
            if key not in given:
                raise missing_key(key, given)
        lengths = {len(values) for values in given.values()}
        if len(lengths) > 1:
            raise DataError(
                "FEAT-05",
                f"the columns of ids have {', '.join(map(str, sorted(lengths)))} values",
                fix="one value per entity in each column",
            )
        return [dict(zip(given, values, strict=True)) for values in zip(*given.values(), strict=True)]
    if entity_rows is not None:
        return list(given)
    if len(keys) != 1:
        raise DataError(
            "FEAT-05",
            f"bare ids do not say which of {', '.join(keys) or 'no keys'} they are",
            fix="entity_rows=[{...}] with one value per key column",
        )
    return [{keys[0]: value} for value in given]
