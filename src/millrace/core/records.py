"""Records that pass between rooms. Plain, frozen, JSON-ready."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal


@dataclass(frozen=True, slots=True)
class Snapshot:
    """Exactly which rows: a table frozen under the digest of its bytes.

    `digest` names a Parquet blob. `start` and `end` are the first and last event time (ISO 8601 UTC), None for a
    table without one.
    """

    source: str
    digest: str
    rows: int
    columns: Mapping[str, str]
    start: str | None = None
    end: str | None = None

    def to_dict(self) -> dict[str, Any]:
        return {
            "source": self.source,
            "digest": self.digest,
            "rows": self.rows,
            "columns": dict(self.columns),
            "start": self.start,
            "end": self.end,
        }

    @classmethod
    def from_dict(cls, facts: Mapping[str, Any]) -> Snapshot:
        return cls(**facts)


@dataclass(frozen=True, slots=True)
class ModelVersion:
    """An immutable version of a model. `digest` is its bundle's; `golden` names the blob of its golden rows."""

    model: str
    version: int
    digest: str
    golden: str
    run_id: str
    created_at: str
    metrics: Mapping[str, float] = field(default_factory=dict)
    parameters: Mapping[str, Any] = field(default_factory=dict)
    lineage: Mapping[str, Any] = field(default_factory=dict)
    files: Mapping[str, str] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        return {name: _plain(getattr(self, name)) for name in self.__slots__}

    @classmethod
    def from_dict(cls, facts: Mapping[str, Any]) -> ModelVersion:
        return cls(**facts)


@dataclass(frozen=True, slots=True)
class Release:
    """What one environment runs of one model. `number` counts the environment's releases of it, from 1."""

    environment: str
    model: str
    number: int
    version: int
    digest: str
    strategy: str
    at: str
    reason: str
    previous: int | None = None

    def to_dict(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in self.__slots__}

    @classmethod
    def from_dict(cls, facts: Mapping[str, Any]) -> Release:
        return cls(**facts)


Severity = Literal["info", "warning", "critical"]


@dataclass(frozen=True, slots=True)
class Alert:
    """Something a person should know. `key` makes it unique: the same alert is told once."""

    key: str
    severity: Severity
    subject: str
    title: str
    text: str
    at: str
    facts: Mapping[str, Any] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        return {name: _plain(getattr(self, name)) for name in self.__slots__}

    @classmethod
    def from_dict(cls, facts: Mapping[str, Any]) -> Alert:
        return cls(**facts)


@dataclass(frozen=True, slots=True)
class Prediction:
    """One answered request, as the prediction log keeps it.

    `features` are the values the model saw, in its column order; `key` the entity key (empty for none);
    `event_time` the moment the prediction is about; `output` the answer (class or number); `scores` the class
    probabilities, empty for regression. `supplied` names the features that the request brought itself instead of having
    them looked up; None when that was not noted. `flags` says which rules on data the row breaks; `coerced` holds, by
    column, what was sent where `features` hold another form of it.
    """

    request_id: str
    model: str
    version: int
    at: str
    event_time: str
    key: Mapping[str, Any]
    features: Sequence[Any]
    output: Any
    scores: Sequence[float] = ()
    supplied: Sequence[str] | None = None
    flags: Sequence[str] = ()
    coerced: Mapping[str, Any] = field(default_factory=dict)


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return dict(value)
    return value
