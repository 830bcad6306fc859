"""Feast's names for Millrace's definitions: a file written for Feast works by changing its imports. Needs no Feast.

    from millrace.adapters.feast_names import Entity, FeatureStore, FeatureView, Field, FileSource, Float32, Int64

Types stand beside the rest. Each name takes Feast's arguments and makes Millrace's object.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import timedelta
from enum import Enum
from pathlib import Path
from typing import Any

from millrace.adapters.feast_names_store import FeatureStore
from millrace.adapters.feast_names_types import Array, Bool, Float32, Float64, Int32, Int64, String, UnixTimestamp
from millrace.core.definition import report
from millrace.core.errors import ProjectError
from millrace.data.source import Source
from millrace.features import entity as entity_module
from millrace.features import field as field_module
from millrace.features import service as service_module
from millrace.features import view as view_module

__all__ = [
    "Array",
    "Bool",
    "Entity",
    "FeatureService",
    "FeatureStore",
    "FeatureView",
    "Field",
    "FileSource",
    "Float32",
    "Float64",
    "Int32",
    "Int64",
    "PushMode",
    "PushSource",
    "String",
    "UnixTimestamp",
]

Tags = Mapping[str, str] | None


class PushMode(Enum):
    """Where `FeatureStore.push` brings rows."""

    ONLINE = "online"
    OFFLINE = "offline"
    ONLINE_AND_OFFLINE = "both"


def Entity(  # noqa: N802 - Feast's name
    *,
    name: str,
    join_keys: Sequence[str] | None = None,
    value_type: Any = None,
    description: str = "",
    tags: Tags = None,
    owner: str = "",
) -> entity_module.Entity:
    """An entity; its key is its name unless `join_keys` says otherwise. Types of keys come from the source."""
    keys = list(join_keys or [name])
    return entity_module.Entity(name, keys[0] if len(keys) == 1 else keys, description)


def Field(  # noqa: N802 - Feast's name
    *, name: str, dtype: str, description: str = "", tags: Tags = None
) -> field_module.Field:
    """A named value of one of the types above."""
    return field_module.Field(name, dtype, description, _words(tags))


def FileSource(  # noqa: N802 - Feast's name
    *,
    path: str | Path,
    name: str = "",
    timestamp_field: str = "",
    created_timestamp_column: str = "",
    field_mapping: Mapping[str, str] | None = None,
    description: str = "",
    tags: Tags = None,
    owner: str = "",
) -> Source:
    """A Parquet file or a folder of them; the columns that `field_mapping` names have the new name from then on."""
    return Source(
        name or _named_after(path),
        path,
        event_time=timestamp_field or None,
        created=created_timestamp_column or None,
        columns={new: old for old, new in (field_mapping or {}).items()} or None,
        description=description,
    )


def PushSource(  # noqa: N802 - Feast's name
    *, name: str, batch_source: Source, description: str = "", tags: Tags = None, owner: str = ""
) -> Source:
    """A source that rows are pushed to; its history stands where that of `batch_source` does."""
    return Source(
        name,
        batch_source.path,
        event_time=batch_source.event_time,
        created=batch_source.created,
        delay=batch_source.delay,
        columns=batch_source.columns,
        query=batch_source.query,
        table=batch_source.table,
        description=description or batch_source.description,
    )


class FeatureView(view_module.FeatureView):
    """A feature view over columns as they stand.

    Parameters
    ----------
    name : str
    source : Source
    entities : sequence of Entity
        None or empty: the features have no key.
    schema : sequence of Field
        The features; fields that are keys are passed over.
    ttl : timedelta, optional
        None or 0: no limit.
    online : bool
        Whether `FeatureStore.materialize` brings it online.
    description, owner : str
    tags : mapping

    Notes
    -----
    ``view[["a", "b"]]`` are some of its features, for a `FeatureService`.
    """

    def __init__(
        self,
        *,
        name: str,
        source: Source,
        schema: Sequence[field_module.Field] | None = None,
        entities: Sequence[entity_module.Entity] | None = None,
        ttl: timedelta | None = None,
        online: bool = True,
        description: str = "",
        tags: Tags = None,
        owner: str = "",
    ) -> None:
        if schema is None:
            report(
                ProjectError(
                    "FEAST-19",
                    f"the view '{name}' has no schema",
                    why="Feast looks into the file when it is applied; here a definition opens no file",
                    fix='schema=[Field(name="age", dtype=Int64)]',
                )
            )
        entity = _joined(entities or ())
        keys = () if entity is None else entity.keys
        super().__init__(
            name,
            entity=entity,
            source=source,
            schema=[one for one in schema or () if one.name not in keys],
            ttl=ttl,
            description=description,
            owner=owner,
            tags=_words(tags),
        )
        object.__setattr__(self, "online", online)

    __hash__ = view_module.FeatureView.__hash__

    def __getitem__(self, names: str | Sequence[str]) -> tuple[str, ...]:
        return tuple(f"{self.name}:{one}" for one in ([names] if isinstance(names, str) else names))


def FeatureService(  # noqa: N802 - Feast's name
    *, name: str, features: Sequence[Any], description: str = "", tags: Tags = None, owner: str = ""
) -> service_module.FeatureService:
    """The features of one model: views, and ``view[["a", "b"]]`` for some of theirs."""
    flat: list[Any] = []
    for one in features:
        flat += one if isinstance(one, tuple) else [one]
    return service_module.FeatureService(name, features=flat, description=description, owner=owner, tags=_words(tags))


def _joined(entities: Sequence[entity_module.Entity]) -> entity_module.Entity | None:
    """One entity with the keys of several, as Feast's views have them."""
    if len(entities) < 2:
        return entities[0] if entities else None
    keys = [key for one in entities for key in one.keys]
    about = "; ".join(one.description for one in entities if one.description)
    return entity_module.Entity("__".join(one.name for one in entities), keys, about)


def _named_after(path: str | Path) -> str:
    name = "".join(one if one.isalnum() or one in "_.-" else "_" for one in Path(path).stem)
    return name if name[:1].isalpha() else f"_{name}"


def _words(tags: Tags) -> list[str]:
    return [f"{name}={value}" if value else name for name, value in (tags or {}).items()]
