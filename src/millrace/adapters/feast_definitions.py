"""Feast's definitions, one by one, as Millrace's."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlparse

import numpy as np
import pandas as pd
from feast.data_source import PushSource
from feast.infra.offline_stores.file_source import FileSource

from millrace.adapters.feast_files import is_parquet
from millrace.adapters.feast_keys import NO_KEY
from millrace.adapters.feast_types import dtype_of_feast
from millrace.core.errors import DataError, MillraceError
from millrace.data.source import Source
from millrace.features.entity import Entity
from millrace.features.field import Field
from millrace.features.on_demand import OnDemandView
from millrace.features.service import FeatureService
from millrace.features.view import FeatureView

ENTITY_TAG = "millrace.entity"
EVENT_KEY_TAG = "millrace.event_key"
SOURCE_TAG = "millrace.source"


@dataclass
class Reading:
    """What was read so far, and what was left out."""

    path: Path
    feast_entities: Mapping[str, Any]
    place: str
    entities: dict[str, Entity] = field(default_factory=dict)
    sources: dict[str, Source] = field(default_factory=dict)
    views: dict[str, FeatureView] = field(default_factory=dict)
    on_demand: dict[str, OnDemandView] = field(default_factory=dict)
    services: dict[str, FeatureService] = field(default_factory=dict)
    findings: list[MillraceError] = field(default_factory=list)

    def leave_out(self, finding: DataError) -> None:
        finding.where = self.place
        self.findings.append(finding)


def read_view(reading: Reading, view: Any, projection: Any = None) -> None:
    """Take over a feature view; with `projection` under that one's name and keys."""
    name = view.name if projection is None else projection.name_to_use()
    why = _why_not(view)
    if why:
        fix = "keep it in Feast, or define its aggregates in Millrace"
        reading.leave_out(DataError("FEAST-12", f"the view '{name}' is not taken over", why=why, fix=fix))
        return
    aliases = {} if projection is None else dict(projection.join_key_map)
    fields, kept = [], {}
    mapping = {new: old for old, new in view.batch_source.field_mapping.items()}
    for one in view.features:
        dtype = dtype_of_feast(one.dtype)
        if dtype is None:
            reading.leave_out(
                DataError(
                    "FEAST-13",
                    f"the feature '{name}:{one.name}' is not taken over",
                    why=f"Millrace has no type for Feast's {one.dtype}",
                    fix="keep it in Feast with Millrace's online store, which keeps every type",
                )
            )
            continue
        fields.append(Field(one.name, dtype, one.description, _tags(one.tags), place=reading.place))
        if one.name in mapping:
            kept[one.name] = mapping[one.name]
    try:
        entity = _entity(reading, view, aliases)
        source = _source(reading, view, aliases, mapping, name)
        reading.views[name] = FeatureView(
            name,
            entity=entity,
            source=source,
            features=kept,
            schema=fields,
            ttl=view.ttl or None,
            event_key=_listed(view.tags.get(EVENT_KEY_TAG, "")),
            description=view.description,
            owner=view.owner,
            tags=_tags(view.tags),
            place=reading.place,
        )
    except MillraceError as problem:
        reading.leave_out(
            DataError("FEAST-12", f"the view '{name}' is not taken over", why=problem.what, fix=problem.fix)
        )
        return
    reading.sources[source.name] = source
    if entity is not None:
        reading.entities[entity.name] = entity


def read_on_demand(reading: Reading, view: Any) -> None:
    """Take over an on-demand view whose function Millrace can call with the same values as Feast does."""
    outputs = {one.name: dtype_of_feast(one.dtype) for one in view.features}
    inputs: dict[str, str | Field] = {}
    kinds: dict[str, str] = {}
    why = None
    if view.mode not in ("python", "pandas"):
        why = f"its mode is {view.mode}"
    elif view.aggregations:
        why = "it aggregates"
    for projection in view.source_feature_view_projections.values():
        if projection.name_to_use() not in reading.views:
            why = why or f"its source '{projection.name_to_use()}' is not taken over"
        inputs.update({one.name: f"{projection.name_to_use()}:{one.name}" for one in projection.features})
        kinds.update({one.name: dtype_of_feast(one.dtype) or "" for one in projection.features})
    for request in view.source_request_sources.values():
        for one in request.schema:
            kinds[one.name] = dtype_of_feast(one.dtype) or ""
            if kinds[one.name]:
                inputs[one.name] = Field(one.name, kinds[one.name], place=reading.place)
    odd = [name for name, dtype in {**outputs, **kinds}.items() if not dtype]
    if odd:
        why = why or f"Millrace has no type for {', '.join(odd)}"
    if why is None:
        call = _calling(view, kinds)
        try:
            reading.on_demand[view.name] = OnDemandView(
                view.name,
                function=call,
                inputs=inputs,
                outputs={name: str(dtype) for name, dtype in outputs.items()},
                description=view.description,
                owner=view.owner,
                tags=_tags(view.tags),
                place=reading.place,
            )
        except MillraceError as problem:
            why = str(problem.what)
    if why is not None:
        fix = "write the function with mr.on_demand, or ask for this view through Feast"
        reading.leave_out(
            DataError("FEAST-14", f"the on-demand view '{view.name}' is not taken over", why=why, fix=fix)
        )


def read_service(reading: Reading, service: Any, views: Mapping[str, Any]) -> None:
    """Take over a feature service; what it renames becomes a view of its own."""
    references: list[str] = []
    for projection in service.feature_view_projections:
        name = projection.name_to_use()
        if name not in reading.views and name not in reading.on_demand and projection.name in views:
            read_view(reading, views[projection.name], projection)
        view: Any = reading.views.get(name) or reading.on_demand.get(name)
        if projection.join_key_map and name == projection.name:
            reading.leave_out(
                DataError(
                    "FEAST-14",
                    f"the service '{service.name}' is not taken over",
                    why=f"it gives the keys of '{name}' other names, but not the view",
                    fix=f'write {name}.with_name("...").with_join_key_map(...) in Feast',
                )
            )
            return
        own = () if view is None else view.rules if isinstance(view, FeatureView) else view.outputs
        missing = [one.name for one in projection.features if one.name not in own]
        if missing:
            reading.leave_out(
                DataError(
                    "FEAST-14",
                    f"the service '{service.name}' is not taken over",
                    why=f"it holds {', '.join(f'{name}:{one}' for one in missing)}, which is not",
                    fix="mend the findings on those, or ask for this service through Feast",
                )
            )
            return
        references += [f"{name}:{one.name}" for one in projection.features]
    reading.services[service.name] = FeatureService(
        service.name,
        features=references,
        description=service.description,
        owner=service.owner,
        tags=_tags(service.tags),
        place=reading.place,
    )


def _why_not(view: Any) -> str | None:
    source = view.batch_source
    if getattr(view, "feature_transformation", None) or getattr(view, "source_views", None):
        return "it transforms the rows of its source"
    if getattr(view, "aggregations", None):
        return "it aggregates in Feast"
    if not isinstance(source, FileSource):
        return f"its source is a {type(source).__name__}, and Parquet files are read"
    if not is_parquet(source):
        return f"its files are {source.file_format}, and Parquet is read"
    if urlparse(source.path).netloc:
        return f"its file is remote: {source.path}"
    return None


def _entity(reading: Reading, view: Any, aliases: Mapping[str, str]) -> Entity | None:
    own = [reading.feast_entities[name] for name in view.entities if name in reading.feast_entities]
    own = [one for one in own if one.join_key != NO_KEY]
    if not own:
        return None
    keys = [aliases.get(one.join_key, one.join_key) for one in own]
    name = next(iter({one.tags.get(ENTITY_TAG) for one in own} - {None}), None) or "__".join(one.name for one in own)
    if aliases:
        name = "__".join(keys)
    description = "; ".join(one.description for one in own if one.description)
    return Entity(name, keys[0] if len(keys) == 1 else keys, description, place=reading.place)


def _source(reading: Reading, view: Any, aliases: Mapping[str, str], mapping: Mapping[str, str], name: str) -> Source:
    """The view's file. Times and keys that the repository renames are renamed; features name their columns."""
    batch = view.batch_source
    pushed = next((one for one in (view.stream_source, view.source) if isinstance(one, PushSource)), None)
    keys = [one.name for one in view.entity_columns if one.name != NO_KEY]
    renames = {aliases.get(key, key): mapping.get(key, key) for key in keys}
    renames |= {one: mapping[one] for one in (batch.timestamp_field, batch.created_timestamp_column) if one in mapping}
    renames = {new: old for new, old in renames.items() if new != old}
    called = _clean(pushed.name if pushed else batch.tags.get(SOURCE_TAG) or batch.name or Path(batch.path).stem)
    return Source(
        f"{called}.{name}" if aliases else called,
        FileSource.get_uri_for_file_path(repo_path=reading.path, uri=batch.path),
        event_time=batch.timestamp_field,
        created=batch.created_timestamp_column or None,
        columns=renames or None,
        description=batch.description,
        place=reading.place,
    )


def _clean(name: str) -> str:
    text = "".join(one if one.isalnum() or one in "_.-" else "_" for one in name)
    return text if text[:1].isalpha() or text[:1] == "_" else f"_{text}"


def _listed(text: str) -> tuple[str, ...]:
    return tuple(one for one in text.split(",") if one)


def _tags(tags: Mapping[str, str]) -> tuple[str, ...]:
    """Words for Feast's pairs, sorted: its registry keeps no order."""
    own = (ENTITY_TAG, EVENT_KEY_TAG, SOURCE_TAG)
    return tuple(f"{name}={value}" if value else name for name, value in sorted(tags.items()) if name not in own)


def _calling(view: Any, kinds: Mapping[str, str]) -> Callable[..., Any]:
    """A function of columns that calls Feast's with the values Feast would give it."""
    udf = view.feature_transformation.udf
    outputs = [one.name for one in view.features]
    run = _run_pandas if view.mode == "pandas" else _run_singly if view.singleton else _run_python

    def call(**columns: Any) -> dict[str, Any]:
        return run(udf, outputs, {name: _as_feast_gives(values, kinds[name]) for name, values in columns.items()})

    # Millrace tells functions apart by their code: Feast's source text makes this one its own.
    code = call.__code__
    text = view.feature_transformation.udf_string or view.name
    call.__code__ = code.replace(co_consts=(*code.co_consts, text), co_filename=f"feast:{view.name}")
    call.__signature__ = inspect.Signature(  # type: ignore[attr-defined]
        [inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY) for name in kinds]
    )
    return call


def _as_feast_gives(values: Any, dtype: str) -> list[Any]:
    """Values with None for null, whole numbers and bools as such."""
    if dtype in ("int", "bool"):
        kind = int if dtype == "int" else bool
        return [None if one != one else kind(one) for one in values.tolist()]
    if dtype == "float":
        return [None if one != one else one for one in values.tolist()]
    if dtype == "timestamp":
        return [None if pd.isna(one) else one for one in pd.to_datetime(values, utc=True)]
    return list(values)


def _run_python(udf: Any, outputs: Sequence[str], columns: dict[str, list[Any]]) -> dict[str, Any]:
    answered = udf(columns)
    return {name: _array(answered[name]) for name in outputs}


def _run_singly(udf: Any, outputs: Sequence[str], columns: dict[str, list[Any]]) -> dict[str, Any]:
    rows = [udf(dict(zip(columns, values, strict=True))) for values in zip(*columns.values(), strict=True)]
    return {name: _array([row[name] for row in rows]) for name in outputs}


def _run_pandas(udf: Any, outputs: Sequence[str], columns: dict[str, list[Any]]) -> dict[str, Any]:
    answered = udf(pd.DataFrame(columns))
    return {name: _array(answered[name].tolist()) for name in outputs}


def _array(values: Sequence[Any]) -> Any:
    if any(isinstance(one, (str, list, tuple, np.ndarray)) for one in values):
        held = np.empty(len(values), dtype=object)
        held[:] = [None if one is None or (isinstance(one, float) and one != one) else one for one in values]
        return held
    if any(isinstance(one, pd.Timestamp) for one in values):
        return np.array([np.datetime64("NaT") if pd.isna(one) else one.to_datetime64() for one in values])
    return np.array([np.nan if one is None else one for one in values], dtype=np.float64)
