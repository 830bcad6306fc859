"""A request for online features, worked out once and read many times."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, TypeAlias, cast

from millrace.core.clock import Clock, from_micros, to_micros
from millrace.core.errors import DataError
from millrace.features.computed import compute, from_request, from_values
from millrace.features.keys import key_packer, missing_key
from millrace.features.moment import a_moment
from millrace.features.online.port import OnlineStore
from millrace.features.online.stored_schema import find_schema
from millrace.features.online.view_reader import Reading, Status, ViewReader
from millrace.features.request import Request
from millrace.features.view import FeatureView

if TYPE_CHECKING:
    import pandas as pd


ViewReading: TypeAlias = tuple[list[str], list[Any], Status, int | None]
"""Names of a view's features, their values, what holds for all of them (a value may be null yet), and the newest
event's time in microseconds."""


Behind: TypeAlias = Callable[[], tuple[Mapping[str, list[Status]], Mapping[str, list[int | None]]]]

_NULLABLE = {frozenset({int, type(None)}): "Int64", frozenset({bool, type(None)}): "boolean"}


class OnlineFeatures:
    """The answer to `get_online_features`: for each feature one value, status and event time per entity row.

    Parameters
    ----------
    keys, values : mapping of name to list
        Columns, each with one entry per entity row. Lists may be shared: copy one before changing it.
    behind : callable () -> (statuses, event_micros)
        The same of what stands behind the values, worked out when it is asked for: what holds for each, and the time
        of the newest event in microseconds, None when there is none.
    """

    __slots__ = ("_behind", "_made", "keys", "values")

    def __init__(self, keys: Mapping[str, list[Any]], values: Mapping[str, list[Any]], behind: Behind) -> None:
        self.keys = keys
        self.values = values
        self._behind = behind
        self._made: tuple[Mapping[str, list[Status]], Mapping[str, list[int | None]]] | None = None

    @property
    def statuses(self) -> Mapping[str, list[Status]]:
        """What stands behind each value."""
        return self._facts()[0]

    def _facts(self) -> tuple[Mapping[str, list[Status]], Mapping[str, list[int | None]]]:
        if self._made is None:
            self._made = self._behind()
        return self._made

    @property
    def event_times(self) -> dict[str, list[datetime | None]]:
        """Times of the newest event behind each value, None when there is none."""
        made: dict[int, list[datetime | None]] = {}
        columns = self._facts()[1]
        for micros in columns.values():
            if id(micros) not in made:
                made[id(micros)] = [None if one is None else from_micros(one) for one in micros]
        return {name: made[id(micros)] for name, micros in columns.items()}

    def to_dict(self, *, include_event_timestamps: bool = False) -> dict[str, list[Any]]:
        """Columns by name: keys, then features; with event times as ``<feature>__ts``, as Feast calls them."""
        columns: dict[str, list[Any]] = {**self.keys, **self.values}
        if include_event_timestamps:
            columns.update({f"{name}__ts": list(times) for name, times in self.event_times.items()})
        return columns

    def to_df(self, *, include_event_timestamps: bool = False) -> pd.DataFrame:
        """The same as a pandas table. Whole numbers beside nulls come as ``Int64``, as those of the past do."""
        import pandas as pd

        columns: dict[str, Any] = dict(self.to_dict(include_event_timestamps=include_event_timestamps))
        for name, values in self.values.items():
            nullable = _NULLABLE.get(frozenset(map(type, values)))
            if nullable is not None:
                columns[name] = pd.array(values, dtype=cast("Any", nullable))
        return pd.DataFrame(columns)


@dataclass(frozen=True, slots=True)
class _Part:
    """One view of a plan. `names` are those of its values."""

    view: FeatureView
    storage_id: str
    names: list[str]
    pack: Callable[[Any], bytes | None]
    reader: ViewReader
    is_settled: bool


_Readings: TypeAlias = list[tuple["_Part", list[Reading]]]
"""What each view of a plan holds of the rows."""


class LookupPlan:
    """Features resolved to views, places and bytes. Safe to use from many threads; made by `FeatureStore.plan`.

    `names` are the features' names in the order of the values, `keys` the columns a key must have; `fields` what a
    row must bring along besides, for features that are worked out on demand.
    """

    def __init__(self, request: Request, online: OnlineStore, clock: Clock) -> None:
        self.request = request
        self.names = request.names
        self.fields = request.fields
        self._online = online
        self._clock = clock
        views = {feature.view.name: feature.view for feature in request.stored}
        self.keys = tuple(dict.fromkeys(key for view in views.values() for key in view.keys))
        self._parts = [self._part(view) for view in views.values()]

    def read(self, key: Mapping[str, Any], at: datetime | None = None) -> list[Any]:
        """The features of one key at `at` (default: now), None for what is not there, in the order of `names`.

        Raises
        ------
        DataError
            FEAT-05 a key column is missing, FEAT-07 a key is of the wrong type, FEAT-30 to FEAT-33 what is worked
            out on demand cannot be.
        StoreError
            FEAT-20 the store does not answer, FEAT-22 it holds something that is not whole.
        """
        moment = to_micros(self._clock.now() if at is None else at)
        if len(self._parts) == 1 and self._parts[0].is_settled and not self.request.computed:
            part = self._parts[0]
            packed = part.pack(key)
            if packed is None:
                return list(part.reader.nothing)
            values = part.reader.read(self._online.read(part.storage_id, (packed,))[0], moment)[0]
            return list(values) if values is part.reader.nothing else values
        columns = self._values(self._find([key], moment), [key])
        return [columns[name][0] for name in self.names]

    def read_views(self, row: Mapping[str, Any], at: datetime | None = None) -> list[ViewReading] | None:
        """What each view holds of one row, without columns made of it: what a server of single rows needs.

        None when something is worked out on demand: then `lookup`. Raises as `read` does.
        """
        if self.request.computed:
            return None
        moment = to_micros(self._clock.now() if at is None else at)
        answer = []
        for place, part in enumerate(self._parts):
            if not part.is_settled:
                part = self._parts[place] = self._part(part.view)
            packed = part.pack(row)
            data = None if packed is None else self._online.read(part.storage_id, (packed,))[0]
            answer.append((part.names, *part.reader.read(data, moment)))
        return answer

    def lookup(self, rows: Sequence[Mapping[str, Any]], at: datetime | None = None) -> OnlineFeatures:
        """Values, statuses and event times of many keys; raises as `read` does."""
        moment = to_micros(self._clock.now() if at is None else a_moment(at, "at"))
        if len(rows) == 1 and len(self._parts) == 1 and not self.request.computed:
            return self._lookup_one(rows[0], moment)
        readings = self._find(rows, moment)
        values = self._values(readings, rows)
        return OnlineFeatures(
            {name: [row[name] for row in rows] for name in self.keys},
            values if len(readings) == 1 and not self.request.computed else {name: values[name] for name in self.names},
            lambda: self._behind(readings, values),
        )

    def _lookup_one(self, row: Mapping[str, Any], moment: int) -> OnlineFeatures:
        """`lookup` of one row in one view: what most requests are, in as few steps as can be."""
        part = self._parts[0]
        if not part.is_settled:
            part = self._parts[0] = self._part(part.view)
        key = part.pack(row)
        reading = part.reader.read(None if key is None else self._online.read(part.storage_id, (key,))[0], moment)
        values = {name: [value] for name, value in zip(part.names, reading[0], strict=True)}
        keys = {name: [row[name]] for name in self.keys}
        return OnlineFeatures(keys, values, lambda: self._behind([(part, [reading])], values))

    def _find(self, rows: Sequence[Mapping[str, Any]], moment: int) -> _Readings:
        found = []
        for place, part in enumerate(self._parts):
            if not part.is_settled:
                # Nothing of this view was in the store when the plan was made; something may have come since.
                part = self._parts[place] = self._part(part.view)
            found.append((part, self._read_part(part, rows, moment)))
        return found

    def _values(self, readings: _Readings, rows: Sequence[Mapping[str, Any]]) -> dict[str, list[Any]]:
        """Columns by the names of the request's stored features, and of those that are worked out from them."""
        values: dict[str, list[Any]] = {}
        for part, own in readings:
            if len(own) == 1:
                values.update({name: [value] for name, value in zip(part.names, own[0][0], strict=True)})
            else:
                columns = zip(*[reading[0] for reading in own], strict=True) if own else [()] * len(part.names)
                values.update({name: list(column) for name, column in zip(part.names, columns, strict=True)})
        if self.request.computed:
            values.update(self._computed(readings, values, rows))
        return values

    def _behind(
        self, readings: _Readings, values: Mapping[str, list[Any]]
    ) -> tuple[dict[str, list[Status]], dict[str, list[int | None]]]:
        statuses: dict[str, list[Status]] = {}
        micros: dict[str, list[int | None]] = {}
        for part, own in readings:
            common, times = [reading[1] for reading in own], [reading[2] for reading in own]
            for name in part.names:
                statuses[name] = common if None not in values[name] else _with_nulls(common, values[name])
                micros[name] = times
        for computed in self.request.computed:
            column = values[computed.name]
            statuses[computed.name] = ["null" if value is None else "present" for value in column]
            micros[computed.name] = [None] * len(column)
        return {name: statuses[name] for name in self.names}, {name: micros[name] for name in self.names}

    def _read_part(self, part: _Part, rows: Sequence[Mapping[str, Any]], moment: int) -> list[Reading]:
        if len(rows) == 1:
            key = part.pack(rows[0])
            data = None if key is None else self._online.read(part.storage_id, (key,))[0]
            return [part.reader.read(data, moment)]
        packed = [part.pack(row) for row in rows]
        if None not in packed:
            found = self._online.read(part.storage_id, cast("list[bytes]", packed))
        else:
            there = iter(self._online.read(part.storage_id, [key for key in packed if key is not None]))
            found = [None if key is None else next(there) for key in packed]
        kinds, read = part.reader.kinds, part.reader.read
        readings = [read(data, moment) for data in found]
        # A column that became wider since the plan was made is answered as that for all rows alike.
        return readings if part.reader.kinds is kinds else [read(data, moment) for data in found]

    def _computed(
        self, readings: _Readings, values: Mapping[str, list[Any]], rows: Sequence[Mapping[str, Any]]
    ) -> dict[str, list[Any]]:
        stored = {
            name: from_values(values[name], kind)
            for part, _ in readings
            for name, kind in zip(part.names, part.reader.kinds, strict=True)
        }
        given = {name: from_request([row.get(name) for row in rows], name) for name in self._given(rows)}
        answers = compute(self.request, stored, len(rows), given=given)
        return {computed.name: answers[computed.name].to_pylist() for computed in self.request.computed}

    def _given(self, rows: Sequence[Mapping[str, Any]]) -> list[str]:
        return [name for name in self.fields if all(name in row for row in rows)]

    def _part(self, view: FeatureView) -> _Part:
        features = [feature for feature in self.request.stored if feature.view.name == view.name]
        schema = find_schema(self._online, view)
        kinds = None if schema is None or "null" in schema.keys else schema.keys
        columns = {} if schema is None else schema.columns
        reader = ViewReader(view, [feature.rule for feature in features], columns)
        is_settled = kinds is not None and "null" not in columns.values()
        return _Part(
            view,
            view.storage_id(),
            [feature.name for feature in features],
            key_packer(view.keys, kinds),
            reader,
            is_settled,
        )


def _with_nulls(statuses: list[Status], values: Sequence[Any]) -> list[Status]:
    return [
        "null" if value is None and status == "present" else status
        for status, value in zip(statuses, values, strict=True)
    ]


def entity_rows_of(
    keys: Sequence[str],
    entity_rows: Iterable[Mapping[str, Any]] | Mapping[str, Sequence[Any]] | None,
    entity_ids: Sequence[Any] | Mapping[str, Sequence[Any]] | None,
) -> list[Mapping[str, Any]]:
    """One mapping per entity, from any of the forms a caller may use.

    Raises
    ------
    DataError
        FEAT-05 when neither or both are given, when bare ids meet a key of several columns, when columns of ids differ
        in length, or when rows are no mappings.
    """
    if (entity_rows is None) == (entity_ids is None):
        raise DataError("FEAT-05", "give either entity_rows or entity_ids", fix='entity_rows=[{"customer_id": 7}]')
    given: Any = entity_rows if entity_rows is not None else entity_ids
    if type(given) is not list and isinstance(given, Mapping):  # a list is asked for most, and told apart fastest
        for key in keys:
            if key not in given:
                raise missing_key(key, given)
        for name, values in given.items():
            if isinstance(values, str) or not hasattr(values, "__len__"):
                raise _not_rows(f"'{name}' is {values!r}, one value for all entities")
        lengths = {len(values) for values in given.values()}
        if len(lengths) > 1:
            raise DataError(
                "FEAT-05",
                f"the columns of ids have {', '.join(map(str, sorted(lengths)))} values",
                fix="one value per entity in each column",
            )
        return [dict(zip(given, values, strict=True)) for values in zip(*given.values(), strict=True)]
    if entity_rows is not None:
        rows = list(given)
        for row in rows:
            if type(row) is not dict and not isinstance(row, Mapping):
                raise _not_rows(f"{type(row).__name__} is not a mapping of columns to values")
        return rows
    if len(keys) != 1:
        raise DataError(
            "FEAT-05",
            f"bare ids do not say which of {', '.join(keys) or 'no keys'} they are",
            fix="entity_rows=[{...}] with one value per key column",
        )
    return [{keys[0]: value} for value in given]


def _not_rows(what: str) -> DataError:
    return DataError(
        "FEAT-05",
        f"the entities are not rows: {what}",
        fix='entity_rows=[{"customer_id": 7}] or {"customer_id": [7, 8]}; of a pandas table df.to_dict("list")',
    )
