"""Definitions as data: what the ledger keeps of them, and feature views made anew from it.

A record is JSON-ready and holds the whole definition: what decides values (its `digest` covers that) and what does not.
A feature view is nothing but data, so it can be rebuilt from its record, bit for bit; an on-demand view is code, and
its record only shows it.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from millrace.core.errors import MillraceError, StoreError
from millrace.core.ids import digest_json
from millrace.features.aggregation import Aggregation
from millrace.features.entity import Entity
from millrace.features.expression import from_json
from millrace.features.field import Field
from millrace.features.on_demand import OnDemandView
from millrace.features.service import FeatureService
from millrace.features.view import EventSource, FeatureView

Record = Mapping[str, Any]
KINDS = ("source", "entity", "view", "on_demand", "service")
"""What is recorded, each made of kinds before it."""

_PASSWORDS = (
    (re.compile(r"(?<=://)([^/@:]*):.*@"), r"\1:***@"),
    (re.compile(r"([?&][^=&]*(?:pass|pwd|token|secret|key)[^=&]*=)[^&]*", re.IGNORECASE), r"\1***"),
)


@dataclass(frozen=True)
class RecordedSource:
    """What a view rebuilt from its record knows of its source; rows cannot be read from it."""

    name: str
    event_time: str | None
    created: str | None
    delay: timedelta


def source_record(source: Any) -> dict[str, Any]:
    """The record of a source. A password in its URL is left out."""
    facts = {
        "event_time": source.event_time,
        "created": source.created,
        "delay_s": source.delay.total_seconds() if source.delay else 0.0,
        "path": _without_passwords(str(getattr(source, "path", ""))),
        "query": getattr(source, "query", None),
        "table": getattr(source, "table", None),
        "columns": _plain_columns(getattr(source, "columns", None)),
        "schema": _plain_columns(getattr(source, "schema", None)),
    }
    return {
        "kind": "source",
        "name": source.name,
        **facts,
        "description": getattr(source, "description", ""),
        "digest": digest_json(facts),
    }


def entity_record(entity: Entity) -> dict[str, Any]:
    """The record of an entity."""
    return {
        "kind": "entity",
        "name": entity.name,
        "keys": list(entity.keys),
        "description": entity.description,
        "digest": digest_json(list(entity.keys)),
    }


def view_record(view: FeatureView) -> dict[str, Any]:
    """The record of a feature view, from which `view_from_record` makes it anew."""
    source = view.source
    return {
        "kind": "view",
        "name": view.name,
        "entity": None if view.entity is None else view.entity.name,
        "keys": list(view.keys),
        "source": {
            "name": source.name,
            "event_time": source.event_time,
            "created": source.created,
            "delay_s": view.delay.total_seconds(),
        },
        # A list, because JSON keeps no order of names.
        "features": [{"name": name, "rule": rule.to_dict(), "words": str(rule)} for name, rule in view.rules.items()],
        "schema": [
            {"name": one.name, "dtype": one.dtype, "description": one.description, "tags": list(one.tags)}
            for one in view.schema
        ],
        "ttl_s": None if view.ttl_span is None else view.ttl_span.total_seconds(),
        "event_key": list(view.event_key),
        **_about(view),
        "storage_id": view.storage_id(),
        "digest": view.digest(),
    }


def on_demand_record(view: OnDemandView) -> dict[str, Any]:
    """The record of an on-demand view; its code to look at."""
    return {
        "kind": "on_demand",
        "name": view.name,
        "inputs": [
            {"name": name, "feature": one}
            if isinstance(one, str)
            else {"name": name, "field": one.name, "dtype": one.dtype}
            for name, one in view.inputs.items()
        ],
        "outputs": [{"name": name, "dtype": dtype} for name, dtype in view.outputs.items()],
        "code": _source_text(view),
        **_about(view),
        "digest": view.digest(),
    }


def service_record(service: FeatureService, digests: Mapping[str, str]) -> dict[str, Any]:
    """The record of a service, with the digest of each view it is made of, given all of them."""
    return {
        "kind": "service",
        "name": service.name,
        "features": list(service.references),
        "pins": service.pins(digests),
        **_about(service),
        "digest": service.digest(digests),
    }


def records_of(
    *,
    sources: Sequence[Any] = (),
    entities: Sequence[Entity] = (),
    views: Sequence[FeatureView] = (),
    on_demand: Sequence[OnDemandView] = (),
    services: Sequence[FeatureService] = (),
) -> dict[str, dict[str, Any]]:
    """The records of all definitions, by `record_key`."""
    both: list[FeatureView | OnDemandView] = [*views, *on_demand]
    digests = {view.name: view.digest() for view in both}
    records = [
        *map(source_record, sources),
        *map(entity_record, entities),
        *map(view_record, views),
        *map(on_demand_record, on_demand),
        *(service_record(service, digests) for service in services),
    ]
    return {record_key(record): record for record in records}


def record_key(record: Record) -> str:
    """Kind and name: what a record is kept under."""
    return f"{record['kind']}:{record['name']}"


def view_from_record(record: Record, source: EventSource | None = None) -> FeatureView:
    """The feature view that `record` was made of.

    Parameters
    ----------
    source : EventSource, optional
        Its source, so that rows can be read. It must be named and timed as the recorded one; without it the view
        answers from an online store only.

    Raises
    ------
    StoreError
        FEAT-60 when what comes out is not what was recorded.
    """
    try:
        view = _rebuilt(record, source)
        digest = view.digest()
    except (KeyError, TypeError, ValueError, AttributeError, MillraceError) as error:
        raise _not_the_same(record, f"{type(error).__name__}: {error}") from error
    if digest != record["digest"]:
        raise _not_the_same(record, f"its digest is {digest[:12]}, not {record['digest'][:12]}")
    return view


def source_of(record: Record) -> RecordedSource:
    """Name and times of the source of a recorded view."""
    facts = record["source"]
    return RecordedSource(facts["name"], facts["event_time"], facts["created"], _span(facts["delay_s"]))


def _rebuilt(record: Record, source: EventSource | None) -> FeatureView:
    name = record["entity"]
    fields = [Field(one["name"], one["dtype"], one["description"], one["tags"]) for one in record["schema"]]
    return FeatureView(
        record["name"],
        entity=None if name is None else Entity(name, key=record["keys"]),
        source=source or source_of(record),
        features={one["name"]: rule_from_dict(one["rule"]) for one in record["features"]},
        schema=fields,
        ttl=None if record["ttl_s"] is None else _span(record["ttl_s"]),
        event_key=record["event_key"],
        description=record["description"],
        owner=record["owner"],
        tags=record["tags"],
    )


def rule_from_dict(facts: Record) -> Aggregation:
    """The rule that `Aggregation.to_dict` wrote."""
    window = facts["window_s"]
    return Aggregation(
        facts["kind"],
        facts["column"],
        None if window is None else _span(window),
        facts["steps"],
        facts.get("where"),
        tuple(rule_from_dict(part) for part in facts.get("parts", ())),
        {name: from_json(one) for name, one in facts.get("expressions", {}).items()},
    )


def _without_passwords(url: str) -> str:
    if "://" in url:
        for pattern, kept in _PASSWORDS:
            url = pattern.sub(kept, url)
    return url


def _about(thing: Any) -> dict[str, Any]:
    return {"description": thing.description, "owner": thing.owner, "tags": list(thing.tags)}


def _span(seconds: float) -> timedelta:
    return timedelta(microseconds=round(seconds * 1_000_000))


def _plain_columns(columns: Any) -> Any:
    if columns is None:
        return None
    return dict(columns) if isinstance(columns, Mapping) else list(columns)


def _source_text(view: OnDemandView) -> str | None:
    try:
        return inspect.getsource(view.function)
    except (OSError, TypeError):
        return None


def _not_the_same(record: Record, why: str) -> StoreError:
    return StoreError(
        "FEAT-60",
        f"the view '{record.get('name')}' cannot be made anew from its record",
        why=why,
        fix="a newer Millrace may have written it: pip install --upgrade millrace; or train a version on the present "
        "definition: millrace run",
    )
