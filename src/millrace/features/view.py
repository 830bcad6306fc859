"""A feature view: features of one entity, computed from one source."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from functools import cached_property
from typing import Any, Protocol, runtime_checkable

from millrace.core.definition import caller_place, report
from millrace.core.duration import parse_duration
from millrace.core.errors import ProjectError
from millrace.core.ids import digest_json
from millrace.features.aggregation import Aggregation, Duration
from millrace.features.entity import Entity
from millrace.features.expression import Expression
from millrace.features.field import Field, ValueKind

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_LONGEST_NAME = 120


@runtime_checkable
class EventSource(Protocol):
    """What a view must know of its source."""

    @property
    def name(self) -> str: ...
    @property
    def event_time(self) -> str | None: ...
    @property
    def created(self) -> str | None: ...
    @property
    def delay(self) -> timedelta | None: ...


@dataclass(frozen=True)
class FeatureView:
    """Features of one entity, each a rule over the events of one source. Used unchanged offline and online.

    Parameters
    ----------
    name : str
    entity : Entity or None
        None: the features have no key; there is one value of each for everybody.
    source : Source
        Must name its `event_time` column.
    features : mapping of str to Aggregation or str
        A bare column name means `last(column)`.
    schema : sequence of Field
        Declares types and descriptions. A field that is not among `features` is a column that is a feature as it
        stands: ``last(name)``. Rows whose column is of another type are refused, so that a source that changed under
        the view is noticed.
    ttl : duration, optional
        When the newest event is older than this, every feature of the view is null. An event exactly `ttl` old still
        counts. None or 0: no limit.
    event_key : str or sequence of str
        Further columns that tell two events of one key and one instant apart. An event pushed twice is one event;
        it is recognised by its time, its created time, and the columns that features and `event_key` name.
    description, owner : str
    tags : sequence of str

    Raises
    ------
    ProjectError
        PROJ-42 a name that cannot stand in ``view:feature``; PROJ-43 no features, or one that is not an aggregation;
        PROJ-44 an entity or source of the wrong kind; PROJ-45 a source without event time; PROJ-46 a negative ttl;
        PROJ-48 a schema that is not fields, or one declared twice.
    """

    name: str
    entity: Entity | None = field(kw_only=True)
    source: EventSource = field(kw_only=True)
    features: Mapping[str, Aggregation | str] = field(default_factory=dict, kw_only=True)
    schema: Sequence[Field] = field(default=(), kw_only=True)
    ttl: Duration | None = field(default=None, kw_only=True)
    event_key: str | Sequence[str] = field(default=(), kw_only=True)
    description: str = field(default="", kw_only=True)
    owner: str = field(default="", kw_only=True)
    tags: Sequence[str] = field(default=(), kw_only=True)
    place: str | None = field(default=None, repr=False, compare=False, kw_only=True)

    def __post_init__(self) -> None:
        if self.place is None:
            object.__setattr__(self, "place", caller_place())
        event_key = (self.event_key,) if isinstance(self.event_key, str) else tuple(self.event_key)
        object.__setattr__(self, "event_key", event_key)
        object.__setattr__(self, "tags", tuple(self.tags))
        _add_schema(self)
        for problem in _problems(self):
            problem.where = self.place
            report(problem)
        object.__setattr__(self, "ttl", _ttl(self))

    def __hash__(self) -> int:
        return hash(self.name)

    @property
    def keys(self) -> tuple[str, ...]:
        """Key columns; empty for a view without entity."""
        return () if self.entity is None else self.entity.keys

    # A view never changes, so what follows from it is worked out once.
    @cached_property
    def rules(self) -> dict[str, Aggregation]:
        """Every feature's rule, bare column names resolved."""
        return {
            name: Aggregation("last", rule) if isinstance(rule, str) else rule for name, rule in self.features.items()
        }

    @cached_property
    def leaves(self) -> tuple[Aggregation, ...]:
        """The rules without ratios: what ratios are made of stands in their place."""
        return tuple(leaf for rule in self.rules.values() for leaf in rule.leaves())

    @cached_property
    def columns(self) -> tuple[str, ...]:
        """What is kept of each event, each once, in a fixed order: the columns that rules and `event_key` look at.

        A name that begins with ``=`` is the text of an expression, see `expressions`.
        """
        wanted = {name for rule in self.leaves for name in (rule.column, rule.where) if name is not None}
        return tuple(dict.fromkeys([*sorted(wanted), *self.event_key]))

    @cached_property
    def expressions(self) -> dict[str, Expression]:
        """The expressions among `columns`."""
        return {name: one for rule in self.leaves for name, one in rule.expressions.items()}

    @cached_property
    def source_columns(self) -> tuple[str, ...]:
        """Columns of the source that the view needs: keys, times, and what its rules are worked out from."""
        source = self.source
        times = [name for name in (source.event_time, source.created) if name]
        plain = [name for name in self.columns if not name.startswith("=")]
        inside = [name for one in self.expressions.values() for name in one.columns]
        return tuple(dict.fromkeys([*self.keys, *times, *plain, *inside]))

    @cached_property
    def declared(self) -> dict[str, ValueKind]:
        """Kinds of the features whose type is declared."""
        return {one.name: one.kind for one in self.schema}

    def describe(self, feature: str) -> str:
        """What `schema` says of a feature, empty for nothing."""
        return next((one.description for one in self.schema if one.name == feature), "")

    @property
    def ttl_span(self) -> timedelta | None:
        """The ttl, None for no limit."""
        return self.ttl if isinstance(self.ttl, timedelta) else None

    @property
    def delay(self) -> timedelta:
        """How long after its event time a row of the source becomes known."""
        return self.source.delay or timedelta(0)

    def digest(self) -> str:
        """SHA-256 of what decides a value: keys, rules, ttl, and the source's name and times.

        A change of description, owner or tags leaves it; any other change does not.
        """
        return digest_json(
            {
                "keys": list(self.keys),
                "features": {name: rule.to_dict() for name, rule in self.rules.items()},
                "types": dict(sorted(self.declared.items())),
                "ttl_s": None if self.ttl_span is None else self.ttl_span.total_seconds(),
                "event_key": list(self.event_key),
                "source": _source_identity(self.source),
            }
        )

    def storage_id(self) -> str:
        """The name under which an online store keeps this view's events.

        It changes when the events that must be kept, or their form, change, so that a new definition never reads
        what an old one wrote; renaming a feature or moving the ttl keeps it.
        """
        return self._storage_id

    @cached_property
    def newest_kept(self) -> frozenset[tuple[str | None, int]]:
        """How many of the newest events must be kept, whatever their age: of all, and of those of a condition."""
        depths: dict[str | None, int] = {None: 1}
        for rule in self.leaves:
            if rule.is_newest and rule.window is None:
                depths[rule.where] = max(rule.depth, depths.get(rule.where, 1))
        return frozenset(depths.items())

    @cached_property
    def longest_window(self) -> timedelta | None:
        """How far back the events are needed, None without windows."""
        return max((rule.window for rule in self.leaves if rule.window is not None), default=None)

    @cached_property
    def is_unbounded(self) -> bool:
        """Whether a rule looks at all events that ever were."""
        return any(rule.window is None and not rule.is_newest for rule in self.leaves)

    @cached_property
    def _storage_id(self) -> str:
        kept = {
            "keys": list(self.keys),
            "columns": list(self.columns),
            "source": _source_identity(self.source),
            "newest": sorted([where or "", depth] for where, depth in self.newest_kept),
            "window_s": None if self.longest_window is None else self.longest_window.total_seconds(),
            "is_unbounded": self.is_unbounded,
        }
        return f"{self.name}@{digest_json(kept)[:12]}"


def _source_identity(source: EventSource) -> dict[str, Any]:
    return {
        "name": source.name,
        "event_time": source.event_time,
        "created": source.created,
        "delay_s": source.delay.total_seconds() if source.delay else 0.0,
    }


def _add_schema(view: FeatureView) -> None:
    """Make the declared columns features, and keep the declarations that can be kept."""
    fields = [one for one in view.schema if isinstance(one, Field)]
    names = [one.name for one in fields]
    for wrong in [one for one in view.schema if not isinstance(one, Field)]:
        report(
            ProjectError(
                "PROJ-48",
                f"the schema of view '{view.name}' holds {wrong!r}",
                where=view.place,
                fix='schema=[mr.Field("age", "int")]',
            )
        )
    for twice in sorted({name for name in names if names.count(name) > 1}):
        report(ProjectError("PROJ-48", f"the schema of view '{view.name}' declares '{twice}' twice", where=view.place))
    object.__setattr__(view, "schema", tuple({one.name: one for one in fields}.values()))
    as_they_stand = {name: name for name in names if name not in view.features}
    object.__setattr__(view, "features", {**view.features, **as_they_stand})


def _ttl(view: FeatureView) -> timedelta | None:
    if view.ttl is None:
        return None
    try:
        span = parse_duration(view.ttl, what=f"ttl of view '{view.name}'")
    except ProjectError as problem:
        problem.where = view.place
        report(problem)
        return None
    if span < timedelta(0):
        report(
            ProjectError(
                "PROJ-46",
                f"view '{view.name}' has the ttl {view.ttl!r}",
                where=view.place,
                fix='a ttl is not negative: "365d"; None for no limit',
            )
        )
    return span if span > timedelta(0) else None


def _problems(view: FeatureView) -> Iterator[ProjectError]:
    for what, name in [("view", view.name), *(("feature", name) for name in view.features)]:
        if not isinstance(name, str) or not _NAME.fullmatch(name) or len(name) > _LONGEST_NAME:
            yield ProjectError(
                "PROJ-42",
                f"{what} name {name!r}",
                fix=f"letters, digits and _, not starting with a digit, at most {_LONGEST_NAME}",
            )
    if not view.features:
        yield ProjectError(
            "PROJ-43",
            f"view '{view.name}' has no features",
            fix='features={"spend": mr.sum("amount")}, or schema=[mr.Field("age", "int")]',
        )
    for name, rule in view.features.items():
        if not isinstance(rule, (Aggregation, str)) or rule == "":
            yield ProjectError(
                "PROJ-43",
                f"feature '{view.name}:{name}' is {rule!r}",
                fix='a column name, or an aggregation such as mr.mean("amount", window="90d")',
            )
    if view.entity is not None and not isinstance(view.entity, Entity):
        yield ProjectError(
            "PROJ-44", f"view '{view.name}' has the entity {view.entity!r}", fix="an Entity, or None for no key"
        )
    if not hasattr(view.source, "event_time") or not hasattr(view.source, "name"):
        yield ProjectError("PROJ-44", f"view '{view.name}' has the source {view.source!r}", fix="a Source")
    elif view.source.event_time is None:
        yield ProjectError(
            "PROJ-45",
            f"source '{view.source.name}' of view '{view.name}' names no event time",
            why="a feature is a value as of a moment",
            fix=f'Source("{view.source.name}", ..., event_time="the column with the time of the fact")',
        )
