"""The text of a Feast repository: feature_store.yaml and the definitions, as a person would write them."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from datetime import timedelta
from pathlib import Path

from millrace.features.service import FeatureService
from millrace.features.view import FeatureView

FieldText = tuple[str, str, str, Mapping[str, str]]
"""Name, type as it is written, description, tags."""

STORES = {
    "millrace": """\
online_store:
  type: millrace.adapters.feast_online_store.MillraceOnlineStore
  url: lmdb:///data/online
offline_store:
  type: millrace.adapters.feast_offline_store.MillraceOfflineStore
batch_engine:
  type: millrace.adapters.feast_engine.MillraceComputeEngine
""",
    "feast": """\
online_store:
  type: sqlite
  path: data/online.db
offline_store:
  type: file
""",
}


_ENTITY_TYPES = {"Int64": "INT64", "String": "STRING", "Bool": "BOOL"}


def settings_text(project: str, stores: str) -> str:
    """feature_store.yaml."""
    return (
        f"project: {project}\nprovider: local\nregistry: data/registry.db\n{STORES[stores]}"
        "entity_key_serialization_version: 3\n"
    )


def module_text(*definitions: Iterable[str]) -> str:
    """definitions.py: the imports, and the definitions in the order in which they need each other."""
    parts = [
        '"""Written by Millrace from its own definitions."""\n',
        "from datetime import timedelta\n",
        "from feast import Entity, FeatureService, FeatureView, Field, FileSource\n"
        "from feast.types import Array, Bool, Float64, Int64, String, UnixTimestamp\n"
        "from feast.value_type import ValueType\n",
    ]
    for part in definitions:
        parts.extend(part)
    return "\n".join(parts)


def entity_text(name: str, key: str, kind: str, description: str, tags: Mapping[str, str]) -> str:
    """One Entity; `kind` is the type of its key as it is written."""
    return _call(
        variable("entity", name),
        "Entity",
        name=repr(name),
        join_keys=repr([key]),
        value_type=f"ValueType.{_ENTITY_TYPES.get(kind, 'INT64')}",
        description=repr(description),
        tags=json.dumps(dict(tags)),
    )


def file_source_text(
    name: str,
    path: Path,
    event_time: str,
    created: str | None,
    mapping: Mapping[str, str],
    description: str,
    known_as: str | None,
) -> str:
    """One FileSource; `known_as` is what Millrace calls it, when that is another name."""
    return _call(
        variable("source", name),
        "FileSource",
        name=repr(name),
        path=repr(str(path)),
        timestamp_field=repr(event_time),
        created_timestamp_column=repr(created or ""),
        field_mapping=json.dumps(dict(mapping)),
        description=repr(description),
        tags=json.dumps({"millrace.source": known_as} if known_as else {}),
    )


def view_text(
    view: FeatureView,
    entities: Sequence[str],
    source: str,
    fields: Sequence[FieldText],
    ttl: timedelta | None,
    tags: Mapping[str, str],
) -> str:
    """One FeatureView over entities and a source that were written before."""
    schema = "".join(f"        {_field_text(one)},\n" for one in fields)
    return _call(
        variable("view", view.name),
        "FeatureView",
        name=repr(view.name),
        entities=f"[{', '.join(variable('entity', one) for one in entities)}]",
        ttl="None" if ttl is None else f"timedelta(seconds={ttl.total_seconds()!r})",
        schema=f"[\n{schema}    ]",
        source=variable("source", source),
        tags=json.dumps(dict(tags)),
        description=repr(view.description),
        owner=repr(view.owner),
    )


def service_text(service: FeatureService, parts: Mapping[str, Sequence[str]]) -> str:
    """One FeatureService over views that were written before."""
    return _call(
        variable("service", service.name),
        "FeatureService",
        name=repr(service.name),
        features="[" + ", ".join(f"{variable('view', view)}[{list(names)!r}]" for view, names in parts.items()) + "]",
        tags=json.dumps(tags_of(service.tags)),
        description=repr(service.description),
        owner=repr(service.owner),
    )


def _field_text(one: FieldText) -> str:
    name, kind, about, tags = one
    more = (f", description={about!r}" if about else "") + (f", tags={dict(tags)!r}" if tags else "")
    return f"Field(name={name!r}, dtype={kind}{more})"


def _call(target: str, function: str, **arguments: str) -> str:
    lines = "".join(f"    {name}={value},\n" for name, value in arguments.items())
    return f"{target} = {function}(\n{lines})\n"


def tags_of(tags: Iterable[str]) -> dict[str, str]:
    """Feast's tags, which are pairs, for Millrace's, which are words, some of the form ``name=value``."""
    return {name: value for name, _, value in (one.partition("=") for one in tags)}


def variable(kind: str, name: str) -> str:
    """What a definition is called in the module."""
    return f"{re.sub(r'[^A-Za-z0-9_]', '_', name)}_{kind}"
