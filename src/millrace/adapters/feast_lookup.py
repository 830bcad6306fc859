"""A request for online features of a Feast repository, worked out once, and the answer to it.

The answer is Feast's own `OnlineResponse`, except that it is made of Python values: protobuf is built only for a
caller that asks for it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from feast.online_response import TIMESTAMP_POSTFIX, OnlineResponse
from feast.protos.feast.serving.ServingService_pb2 import FieldStatus, GetOnlineFeaturesResponse
from feast.type_map import python_values_to_proto_values
from feast.value_type import ValueType
from google.protobuf.timestamp_pb2 import Timestamp

from millrace.adapters.feast_keys import NO_KEY, part_packer
from millrace.adapters.feast_rows import Reader
from millrace.adapters.feast_values import packed_type, to_proto, to_python
from millrace.features.online.port import OnlineStore

_SECOND = 1_000_000
_PLAIN = (int, str, bool)

Found = tuple[int | None, Sequence[Any] | None]
"""Event time in microseconds (None: no such key) and the values (None: too old, or no such key)."""


class Unplanned(Exception):
    """A request that has something a plan does not know: Feast's own way takes it, with Feast's own errors."""


@dataclass(frozen=True)
class ViewPart:
    """The features of one view that a request asks for."""

    view: str
    storage: str
    names: tuple[str, ...]
    kinds: tuple[str, ...]
    ttl: int | None
    keys: tuple[tuple[str, Callable[[Any], bytes | None]], ...]
    reader: Reader

    def read(self, online: OnlineStore, columns: Mapping[str, Sequence[Any]], rows: int, now: int) -> list[Found]:
        """What the store holds for each row of the request."""
        if len(self.keys) == 1:
            name, pack = self.keys[0]
            packed = [pack(value) for value in columns[name]]
        elif self.keys:
            parts = zip(*([pack(value) for value in columns[name]] for name, pack in self.keys), strict=True)
            packed = [None if None in row else b"".join(part for part in row if part) for row in parts]
        else:
            packed = [b""] * rows
        return self.read_keys(online, packed, now)

    def read_keys(self, online: OnlineStore, packed: Sequence[bytes | None], now: int) -> list[Found]:
        """The same by keys that are packed already."""
        if None in packed:
            known = iter(online.read(self.storage, [key for key in packed if key is not None]))
            data = [None if key is None else next(known) for key in packed]
        else:
            data = online.read(self.storage, [key for key in packed if key is not None])
        read, ttl = self.reader.read, self.ttl
        found: list[Found] = []
        for row in data:
            if row is None:
                found.append((None, None))
                continue
            event, values = read(row)
            found.append((event, values) if ttl is None or now - event <= ttl else (event, None))
        return found


@dataclass(frozen=True)
class Plan:
    """A request resolved to views, places and bytes.

    Parameters
    ----------
    parts : the views asked
    names : names of the features in the answer, in the order of the parts
    join_keys : mapping of name to ValueType
        What a row of a request may name as a key.
    entities : names of entities, which Feast still takes in place of their keys
    types : what `OnlineResponse` knows of the features' types
    token : what must be unchanged in the registry for the plan to hold
    """

    parts: tuple[ViewPart, ...]
    names: tuple[str, ...]
    join_keys: Mapping[str, ValueType]
    entities: frozenset[str]
    types: Mapping[str, ValueType]
    token: Any

    @cached_property
    def needed(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(name for part in self.parts for name, _ in part.keys))

    def lookup(self, online: OnlineStore, entity_rows: Any) -> Response:
        """The answer.

        Raises
        ------
        Unplanned
            When the request is for Feast's own way.
        """
        columns = self._columns(entity_rows)
        rows = len(next(iter(columns.values()))) if columns else 0
        now = time.time_ns() // 1000
        return Response(
            self, columns, [part.read(online, columns, rows, now) for part in self.parts], now if rows else 0
        )

    def _columns(self, entity_rows: Any) -> dict[str, Sequence[Any]]:
        if isinstance(entity_rows, list):
            if not entity_rows:
                raise Unplanned
            names = [name for name in entity_rows[0] if name in self.join_keys]
            try:
                columns: dict[str, Sequence[Any]] = {name: [row[name] for row in entity_rows] for name in names}
            except (KeyError, TypeError) as error:
                raise Unplanned from error
            given = entity_rows[0]
        elif isinstance(entity_rows, Mapping):
            given = entity_rows
            columns = {name: values for name, values in entity_rows.items() if name in self.join_keys}
            if any(not isinstance(values, (list, tuple)) for values in columns.values()):
                raise Unplanned
            if len({len(values) for values in columns.values()}) != 1:
                raise Unplanned
        else:
            raise Unplanned
        if any(name not in columns for name in self.needed) or not columns:
            raise Unplanned
        if any(name in self.entities and name not in self.join_keys for name in given):
            raise Unplanned
        return columns


class Response(OnlineResponse):  # type: ignore[misc]  # Feast has no types
    """An `OnlineResponse` over Python values."""

    def __init__(
        self, plan: Plan, columns: Mapping[str, Sequence[Any]], found: Sequence[Sequence[Found]], now: int
    ) -> None:
        # OnlineResponse's own __init__ takes a protobuf, which is what this class is there to avoid.
        self._plan = plan
        self._columns = columns
        self._found = found
        self._feature_types = plan.types
        self._made: GetOnlineFeaturesResponse | None = None

    @property
    def proto(self) -> GetOnlineFeaturesResponse:
        """The same as protobuf, made when it is first asked for."""
        if self._made is None:
            self._made = self._to_proto()
        return self._made

    def to_dict(self, include_event_timestamps: bool = False) -> dict[str, list[Any]]:
        """Columns by name: keys as given, features, and on request ``<name>__ts`` in seconds."""
        answer: dict[str, list[Any]] = {}
        for name, values in self._columns.items():
            answer[name] = self._shown_key(name, values)
            if include_event_timestamps:
                answer[name + TIMESTAMP_POSTFIX] = [0] * len(values)
        names = iter(self._plan.names)
        for part, found in zip(self._plan.parts, self._found, strict=True):
            seconds = [0 if event is None else event // _SECOND for event, _ in found]
            for place, kind in enumerate(part.kinds):
                name = next(names)
                column = [None if values is None else values[place] for _, values in found]
                answer[name] = [to_python(value) for value in column] if kind == "value" else column
                if include_event_timestamps:
                    answer[name + TIMESTAMP_POSTFIX] = list(seconds)
        return answer

    def _shown_key(self, name: str, values: Sequence[Any]) -> list[Any]:
        if all(type(value) in _PLAIN for value in values):
            return list(values)
        return [to_python(value) for value in self._key_protos(name, values)]

    def _key_protos(self, name: str, values: Sequence[Any]) -> list[Any]:
        kind = self._plan.join_keys[name]
        return [
            value if hasattr(value, "WhichOneof") else python_values_to_proto_values([value], kind)[0]
            for value in values
        ]

    def _to_proto(self) -> GetOnlineFeaturesResponse:
        made = GetOnlineFeaturesResponse()
        for name, values in self._columns.items():
            made.metadata.feature_names.val.append(name)
            made.results.append(
                GetOnlineFeaturesResponse.FeatureVector(
                    values=self._key_protos(name, values),
                    statuses=[FieldStatus.PRESENT] * len(values),
                    event_timestamps=[Timestamp()] * len(values),
                )
            )
        names = iter(self._plan.names)
        for part, found in zip(self._plan.parts, self._found, strict=True):
            vectors = feature_vectors(part, found)
            made.metadata.feature_names.val.extend(next(names) for _ in vectors)
            made.results.extend(vectors)
        return made


def feature_vectors(part: ViewPart, found: Sequence[Found]) -> list[GetOnlineFeaturesResponse.FeatureVector]:
    """Feast's vectors of one view: values, event times, and a status that tells null, too old and unknown apart."""
    times = [Timestamp() if event is None else _timestamp(event) for event, _ in found]
    vectors = []
    for place, kind in enumerate(part.kinds):
        values, statuses = [], []
        for event, row in found:
            value = None if row is None else row[place]
            values.append(to_proto(value, kind))
            if event is None:
                statuses.append(FieldStatus.NOT_FOUND)
            elif row is None:
                statuses.append(FieldStatus.OUTSIDE_MAX_AGE)
            else:
                statuses.append(FieldStatus.NULL_VALUE if value is None else FieldStatus.PRESENT)
        vectors.append(
            GetOnlineFeaturesResponse.FeatureVector(values=values, statuses=statuses, event_timestamps=times)
        )
    return vectors


def _timestamp(event: int) -> Timestamp:
    return Timestamp(seconds=event // _SECOND, nanos=event % _SECOND * 1000)


def part_of(table: Any, features: Sequence[str], storage: str, reader: Reader) -> ViewPart:
    """The part of a request that asks one Feast view, under the names that the request's projection gives the keys."""
    aliases: Mapping[str, str] = table.projection.join_key_map
    types = {field.name: field.dtype.to_value_type() for field in table.entity_columns}
    keys = sorted(name for name in types if name != NO_KEY)
    declared = {field.name: field.dtype.to_value_type() for field in table.features}
    ttl = None if not table.ttl else round(table.ttl.total_seconds() * _SECOND)
    return ViewPart(
        view=table.name,
        storage=storage,
        names=tuple(features),
        kinds=tuple(packed_type(declared[name]) for name in features),
        ttl=ttl,
        keys=tuple((aliases.get(name, name), part_packer(name, types[name])) for name in keys),
        reader=reader,
    )
