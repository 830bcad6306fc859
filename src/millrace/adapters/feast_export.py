"""Millrace's definitions as a Feast repository that ``feast apply`` accepts. Needs no Feast to write one."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, Literal

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from millrace.adapters.feast_text import (
    STORES,
    FieldText,
    entity_text,
    file_source_text,
    module_text,
    service_text,
    settings_text,
    tags_of,
    view_text,
)
from millrace.adapters.feast_types import feast_of_dtype
from millrace.core.clock import as_utc
from millrace.core.errors import DataError, MillraceError, did_you_mean
from millrace.data.read import read_source
from millrace.data.source import Source
from millrace.features.columns import kind_of
from millrace.features.entity import Entity
from millrace.features.field import dtype_of
from millrace.features.on_demand import OnDemandView
from millrace.features.service import FeatureService
from millrace.features.store import FeatureStore
from millrace.features.view import FeatureView

_PROJECT = re.compile(r"[A-Za-z0-9][A-Za-z0-9_]*")


@dataclass(frozen=True)
class FeastExport:
    """What `to_feast` wrote.

    Parameters
    ----------
    path : Path
    views, services : names of those that were written
    computed : names of the views whose values were worked out and stand in a file
    findings : tuple of MillraceError
        FEAST-15: what was left out, and why.
    """

    path: Path
    views: tuple[str, ...]
    services: tuple[str, ...]
    computed: tuple[str, ...] = ()
    findings: tuple[MillraceError, ...] = ()


@dataclass
class _Writing:
    path: Path
    root: Path
    at: Sequence[datetime]
    entities: dict[str, str] = field(default_factory=dict)
    sources: dict[str, str] = field(default_factory=dict)
    views: dict[str, str] = field(default_factory=dict)
    features: dict[str, list[str]] = field(default_factory=dict)
    computed: list[str] = field(default_factory=list)
    findings: list[MillraceError] = field(default_factory=list)

    def leave_out(self, what: str, why: str, fix: str, where: str | None) -> None:
        self.findings.append(DataError("FEAST-15", what, where=where, why=why, fix=fix))


def to_feast(
    path: str | Path,
    definitions: Iterable[Any],
    *,
    project: str = "millrace",
    root: str | Path = ".",
    at: Sequence[datetime] = (),
    stores: Literal["millrace", "feast"] = "millrace",
) -> FeastExport:
    """Write feature_store.yaml and definitions.py into the folder `path`, and files for what Feast cannot compute.

    A view of columns as they stand becomes a Feast view over the same file. Feast has no windows: a view with
    aggregates becomes a view over a Parquet file with the values of every key as of the moments `at`. On-demand views
    are left out: `findings` of the answer says so.

    Parameters
    ----------
    definitions : iterable
        Feature views and feature services; anything else is passed over. A `FeastRepository` is one.
    project : str
        Feast's name for the whole.
    root : str or Path
        What relative paths of sources start at.
    at : sequence of datetime
        Moments to compute aggregates for; without them those views are left out.
    stores : {"millrace", "feast"}
        Whose online and offline store feature_store.yaml names.

    Raises
    ------
    DataError
        FEAST-16 for a project name that Feast refuses, FEAST-17 when the folder holds another repository, FEAST-18 for
        a name of `stores` that is none; FEAST-15 when nothing could be written.
    """
    folder = Path(path)
    _check(folder, project, stores)
    found = list(definitions)
    writing = _Writing(folder.resolve(), Path(root).resolve(), [as_utc(one) for one in at])
    views = {one.name: one for one in found if isinstance(one, FeatureView)}.values()
    # Of the views of one source, one that renames nothing gives the source its plain name.
    for view in sorted(views, key=lambda one: (_plain_columns(one) != {name: name for name in one.rules}, one.name)):
        _write_view(writing, view)
    for one in found:
        if isinstance(one, OnDemandView):
            fix = "write it as @on_demand_feature_view in the repository; its Python can be the same"
            writing.leave_out(f"the on-demand view '{one.name}' is left out", "its code stays here", fix, one.place)
    if not writing.views:
        raise DataError(
            "FEAST-15", "there is no view that Feast can serve", where=str(folder), findings=list(writing.findings)
        )
    services = {
        one.name: text
        for one in found
        if isinstance(one, FeatureService) and (text := _service(writing, one)) is not None
    }
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "feature_store.yaml").write_text(settings_text(project, stores))
    (folder / "definitions.py").write_text(
        module_text(*(_sorted(part) for part in (writing.entities, writing.sources, writing.views, services)))
    )
    views_written, served = tuple(sorted(writing.views)), tuple(sorted(services))
    return FeastExport(folder, views_written, served, tuple(writing.computed), tuple(writing.findings))


def _sorted(texts: Mapping[str, str]) -> list[str]:
    return [texts[name] for name in sorted(texts)]


def _check(folder: Path, project: str, stores: str) -> None:
    if not _PROJECT.fullmatch(project):
        raise DataError(
            "FEAST-16",
            f"the project name {project!r} is none that Feast takes",
            fix="letters, digits and _, not starting with _",
        )
    if stores not in STORES:
        raise DataError("FEAST-18", f"stores={stores!r} is not known", fix=did_you_mean(stores, STORES))
    settings = folder / "feature_store.yaml"
    if settings.exists() and not settings.read_text().startswith(f"project: {project}\n"):
        raise DataError(
            "FEAST-17",
            "the folder holds the repository of another project",
            where=str(settings),
            fix="write into an empty folder, or pass the same project",
        )


def _write_view(writing: _Writing, view: FeatureView) -> None:
    source = view.source
    try:
        if not isinstance(source, Source):
            raise DataError(
                "FEAST-15",
                f"the source of '{view.name}' is not a file",
                fix="give the view a Source with a Parquet file",
            )
        plain = _plain_columns(view)
        if plain is not None and _why_not_file(source) is None:
            _as_it_stands(writing, view, source, plain)
        elif writing.at:
            _as_of(writing, view)
        else:
            why = _why_not_file(source) or "Feast has no windows and no aggregates"
            fix = "to_feast(..., at=[...]) computes its values as of those moments into a file"
            writing.leave_out(f"the view '{view.name}' is left out", why, fix, view.place)
    except MillraceError as problem:
        writing.leave_out(f"the view '{view.name}' is left out", str(problem.what), problem.fix or "", view.place)


def _plain_columns(view: FeatureView) -> dict[str, str] | None:
    """The column behind each feature, None when one is more than a column of the newest event."""
    columns = {}
    for name, rule in view.rules.items():
        is_column = rule.kind == "last" and rule.column is not None and not rule.column.startswith("=")
        if not is_column or rule.window is not None or rule.where is not None or rule.column is None:
            return None
        columns[name] = rule.column
    return columns if len(set(columns.values())) == len(columns) and not view.delay else None


def _why_not_file(source: Source) -> str | None:
    if source.is_sql:
        return "its rows stand in a database"
    if source.kept is not None:
        return "its source keeps only some columns"
    if Path(source.path).suffix not in (".parquet", ""):
        return f"its file is {Path(source.path).suffix}, and Feast reads Parquet"
    return None


def _as_it_stands(writing: _Writing, view: FeatureView, source: Source, columns: Mapping[str, str]) -> None:
    # Feast gives times in the answer the names of the source, so a rename of a time is undone there.
    mapping = {old: new for new, old in source.renames.items()}
    mapping |= {source.renames.get(column, column): name for name, column in columns.items() if name != column}
    path = (writing.root / source.path).resolve()
    schema = _schema(view, read_schema(source, writing.root))
    name = source.name
    text = file_source_text(name, path, source.event_time or "", source.created, mapping, source.description, None)
    if writing.sources.get(name, text) != text:
        name = f"{source.name}__{view.name}"
        text = file_source_text(
            name, path, source.event_time or "", source.created, mapping, source.description, source.name
        )
    writing.sources[name] = text
    _add(writing, view, name, schema, keys_of(view, read_schema(source, writing.root)))


def _as_of(writing: _Writing, view: FeatureView) -> None:
    """The view's values of every key as of each moment, in a file of the repository."""

    def read(source: Any, start: datetime | None, end: datetime | None) -> pa.Table:
        return read_source(source, root=writing.root, start=start, end=end)

    log = read(view.source, None, None)
    keys = log.select(list(view.keys)).drop_null() if view.keys else None
    distinct = None if keys is None else keys.group_by(keys.column_names, use_threads=False).aggregate([])
    parts = []
    for moment in writing.at:
        rows = 1 if distinct is None else distinct.num_rows
        times = pa.array([moment] * rows, pa.timestamp("us", "UTC"))
        columns = {} if distinct is None else {name: distinct[name] for name in view.keys}
        parts.append(pa.table({**columns, "event_timestamp": times}))
    asked = pa.concat_tables(parts)
    answer = FeatureStore([view], read=read).get_historical_features(asked, [view], event_time="event_timestamp")
    table = answer.to_arrow()
    data = writing.path / "data" / f"{view.name}.parquet"
    data.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(_typed(table), data)
    name = f"{view.name}_values"
    about = f"Values of {view.name} that Millrace worked out as of {len(writing.at)} moments"
    writing.sources[name] = file_source_text(name, Path("data") / data.name, "event_timestamp", None, {}, about, None)
    writing.computed.append(view.name)
    kinds = {column: table.schema.field(column).type for column in table.column_names}
    _add(writing, view, name, _schema(view, kinds), keys_of(view, kinds), is_computed=True)


def _typed(table: pa.Table) -> pa.Table:
    """A column in which nothing was seen has no type, which Parquet and Feast cannot have: it is called a number."""
    for place, one in enumerate(table.schema):
        if pa.types.is_null(one.type):
            table = table.set_column(place, one.name, pc.cast(table[one.name], pa.float64()))
    return table


def read_schema(source: Source, root: Path) -> dict[str, pa.DataType]:
    """The types of a source's columns."""
    nowhere = datetime(1970, 1, 1)  # noqa: DTZ001 - both bounds alike: no rows, only the columns
    table = read_source(source, root=root, start=nowhere, end=nowhere)
    return {one.name: one.type for one in table.schema}


def _schema(view: FeatureView, kinds: Mapping[str, pa.DataType]) -> list[FieldText]:
    fields: list[FieldText] = []
    declared = {one.name: one for one in view.schema}
    for name, rule in view.rules.items():
        told = declared.get(name)
        column = name if name in kinds else rule.column or name
        seen = kind_of(kinds[column]) if column in kinds else None
        dtype = told.dtype if told is not None else dtype_of("float" if seen in (None, "null") else seen)
        fields.append((name, feast_of_dtype(dtype), view.describe(name), tags_of(told.tags if told else ())))
    return fields


def keys_of(view: FeatureView, kinds: Mapping[str, pa.DataType]) -> dict[str, str]:
    """Feast's type of each key column."""
    return {name: feast_of_dtype(dtype_of(kind_of(kinds[name]) or "int")) for name in view.keys if name in kinds}


def _add(
    writing: _Writing,
    view: FeatureView,
    source: str,
    schema: Sequence[FieldText],
    keys: Mapping[str, str],
    *,
    is_computed: bool = False,
) -> None:
    entities = [] if view.entity is None else _entities(writing, view.entity, keys)
    tags = tags_of(view.tags)
    if view.event_key and not is_computed:
        tags["millrace.event_key"] = ",".join(view.event_key)
    ttl = None if is_computed else view.ttl_span
    fields = [*((name, kind, "", {}) for name, kind in keys.items()), *schema]
    writing.views[view.name] = view_text(view, entities, source, fields, ttl, tags)
    writing.features[view.name] = [name for name, *_ in schema]


def _entities(writing: _Writing, entity: Entity, keys: Mapping[str, str]) -> list[str]:
    """Feast's entities have one key each: one of several becomes several, which remember what they were."""
    names = []
    for key in entity.keys:
        is_alone = len(entity.keys) == 1
        name = entity.name if is_alone else f"{entity.name}__{key}"
        about = entity.description if is_alone or key == entity.keys[0] else ""
        tags = {} if is_alone else {"millrace.entity": entity.name}
        writing.entities[name] = entity_text(name, key, keys.get(key, "Int64"), about, tags)
        names.append(name)
    return names


def _service(writing: _Writing, service: FeatureService) -> str | None:
    parts: dict[str, list[str]] = {}
    for reference in service.references:
        view, _, name = reference.partition(":")
        own = writing.features.get(view)
        if own is None or (name and name not in own):
            fix = "mend the finding on that view, or leave it out of the service"
            what = f"the service '{service.name}' is left out"
            writing.leave_out(what, f"it holds '{reference}', which is not written", fix, service.place)
            return None
        parts.setdefault(view, []).extend([name] if name else own)
    return service_text(service, parts)
