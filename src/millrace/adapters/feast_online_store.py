"""Millrace as the online store of a Feast repository.

    online_store:
      type: millrace.adapters.feast_online_store.MillraceOnlineStore
      url: lmdb:///data/online

Every call of an unchanged repository keeps working. A read enforces the view's ttl, the newest event wins however late
it comes, 64-bit integers stay exact, and the status of a value tells null, too old and unknown apart.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

import pyarrow as pa
import pyarrow.compute as pc
from feast import metrics as feast_metrics
from feast import utils as feast_utils
from feast.infra.online_stores.helpers import compute_versioned_name
from feast.infra.online_stores.online_store import OnlineStore
from feast.infra.supported_async_methods import SupportedAsyncMethods
from feast.repo_config import FeastConfigBaseModel, RepoConfig
from feast.value_type import ValueType

from millrace.adapters.feast_keys import NO_KEY, pack_columns, pack_proto_key
from millrace.adapters.feast_lookup import Plan, Unplanned, feature_vectors, part_of
from millrace.adapters.feast_rows import FORM_BYTES, UNKNOWN, Form, Reader, newest, pack_row, pack_rows, unknown_form
from millrace.adapters.feast_values import (
    column_micros,
    decode,
    form_of_values,
    micros,
    packed_type,
    raw_column,
    raw_values,
    to_proto,
)
from millrace.core.plugins import scheme_of
from millrace.features.online.port import OnlineStore as Store
from millrace.features.online.port import open_online

FORMS = "feast-forms"
_FILES = ("lmdb", "sqlite", "file")
_MOST_PLANS = 1_000

Row = tuple[Any, dict[str, Any], datetime, datetime | None]


class MillraceOnlineStoreConfig(FeastConfigBaseModel):  # type: ignore[misc]  # Feast has no types
    """What `online_store` of feature_store.yaml holds."""

    type: Literal["millrace.adapters.feast_online_store.MillraceOnlineStore"] = (
        "millrace.adapters.feast_online_store.MillraceOnlineStore"
    )
    url: str = "lmdb:///data/online"
    """Any store that Millrace opens: lmdb, memory, redis, sqlite, postgres, dynamodb. A relative path starts at the
    repository."""


class MillraceOnlineStore(OnlineStore):  # type: ignore[misc]
    """Packed rows in any online store that Millrace opens; the newest event of a key stands."""

    def __init__(self) -> None:
        self._store: Store | None = None
        self._opening = threading.Lock()
        self._forms: dict[bytes, Form] = {}
        self._plans: dict[tuple[Any, ...], Plan] = {}
        self._is_local = True

    @property
    def async_supported(self) -> SupportedAsyncMethods:
        return SupportedAsyncMethods(read=True, write=True)

    # Reading

    def get_online_features(
        self,
        config: RepoConfig,
        features: Any,
        entity_rows: Any,
        registry: Any,
        project: str,
        full_feature_names: bool = False,
        **more: Any,
    ) -> Any:
        """Feast's `OnlineResponse`, by a plan that is worked out once per request shape."""
        if not any(more.values()) and not feast_metrics._config.online_features:
            with suppress(Unplanned):
                plan = self._plan(config, features, registry, project, full_feature_names)
                return plan.lookup(self._opened(config), entity_rows)
        return super().get_online_features(
            config, features, entity_rows, registry, project, full_feature_names=full_feature_names, **more
        )

    async def get_online_features_async(
        self,
        config: RepoConfig,
        features: Any,
        entity_rows: Any,
        registry: Any,
        project: str,
        full_feature_names: bool = False,
        **more: Any,
    ) -> Any:
        """The same for a coroutine. A store in files answers sooner than a thread would start."""
        store = self._opened(config)
        arguments = (config, features, entity_rows, registry, project, full_feature_names)
        if self._is_local:
            return self.get_online_features(*arguments, **more)
        assert store is not None
        return await asyncio.to_thread(self.get_online_features, *arguments, **more)

    def online_read(
        self, config: RepoConfig, table: Any, entity_keys: Sequence[Any], requested_features: list[str] | None = None
    ) -> list[tuple[datetime | None, dict[str, Any] | None]]:
        """Event time and values of each key; a time without values is older than the view's ttl."""
        names = requested_features or [field.name for field in table.features]
        part = self._part(config, table, [name for name in names if name in {field.name for field in table.features}])
        found = part.read_keys(self._opened(config), [pack_proto_key(key) for key in entity_keys], _now())
        return [
            (
                None if event is None else datetime.fromtimestamp(event / 1_000_000, UTC),
                None
                if values is None
                else {
                    name: to_proto(value, kind)
                    for name, kind, value in zip(part.names, part.kinds, values, strict=True)
                },
            )
            for event, values in found
        ]

    async def online_read_async(
        self, config: RepoConfig, table: Any, entity_keys: Sequence[Any], requested_features: list[str] | None = None
    ) -> list[tuple[datetime | None, dict[str, Any] | None]]:
        """`online_read` for a coroutine."""
        return await asyncio.to_thread(self.online_read, config, table, entity_keys, requested_features)

    def _read_features_per_fv(
        self,
        config: RepoConfig,
        grouped_refs: list[tuple[Any, list[str]]],
        join_key_values: dict[str, list[Any]],
        entity_name_to_join_key_map: dict[str, str],
        online_features_response: Any,
        full_feature_names: bool,
        include_feature_view_version_metadata: bool,
    ) -> None:
        # Feast's own way, taken for on-demand views and whatever else no plan knows: its statuses are told right too.
        metadata = online_features_response.metadata
        for table, features in grouped_refs:
            values, places, rows = feast_utils._get_unique_entities(table, join_key_values, entity_name_to_join_key_map)
            part = self._part(config, table, features)
            keys = [pack_proto_key(key) for key in feast_utils._get_entity_key_protos(values)]
            unique = part.read_keys(self._opened(config), keys, _now())
            found: list[Any] = [(None, None)] * rows
            for one, targets in zip(unique, places, strict=True):
                for place in targets:
                    found[place] = one
            shown = table.projection.name_to_use()
            metadata.feature_names.val.extend(f"{shown}__{name}" if full_feature_names else name for name in features)
            online_features_response.results.extend(feature_vectors(part, found))
            plain = table.projection.name_alias or table.projection.name
            if include_feature_view_version_metadata and plain not in {
                one.name for one in metadata.feature_view_metadata
            }:
                metadata.feature_view_metadata.add(name=plain, version=table.current_version_number or 0)
            present = sum(value is not None for _, row in found for value in row or ())
            feast_metrics.track_feature_statuses(table.name, present, rows * len(features) - present)

    async def _read_features_per_fv_async(self, *arguments: Any) -> None:
        await asyncio.to_thread(self._read_features_per_fv, *arguments)

    def _is_versioned_read_supported(self) -> bool:
        return True

    def _plan(self, config: RepoConfig, features: Any, registry: Any, project: str, full_feature_names: bool) -> Plan:
        wanted = tuple(features) if isinstance(features, list) else ("service", getattr(features, "name", None))
        name = (id(registry), project, wanted, full_feature_names)
        plan = self._plans.get(name)
        created = getattr(registry, "cached_registry_proto_created", None)
        if plan is not None and created is not None and plan.token == created and registry.is_cache_valid():
            return plan
        plan = self._make_plan(config, features, registry, project, full_feature_names)
        if len(self._plans) >= _MOST_PLANS:
            self._plans.clear()
        self._plans[name] = plan
        return plan

    def _make_plan(
        self, config: RepoConfig, features: Any, registry: Any, project: str, full_feature_names: bool
    ) -> Plan:
        context = feast_utils._get_cached_request_context(registry, project, features, full_feature_names)
        asked, on_demand, entities, types, join_keys, found, *_ = context
        if on_demand:
            raise Unplanned
        grouped = [(table, _in_order(asked, table, wanted)) for table, wanted in found]
        parts = tuple(self._part(config, table, wanted) for table, wanted in grouped)
        names = [
            f"{table.projection.name_to_use()}__{name}" if full_feature_names else name
            for table, wanted in grouped
            for name in wanted
        ]
        return Plan(
            parts=parts,
            names=tuple(names),
            join_keys={name: types.get(name, ValueType.UNKNOWN) for name in join_keys if name != NO_KEY},
            entities=frozenset(entities),
            types=self._build_feature_types(grouped),
            token=getattr(registry, "cached_registry_proto_created", None),
        )

    def _part(self, config: RepoConfig, table: Any, features: Sequence[str]) -> Any:
        reader = Reader(features, lambda digest: self._find_form(config, digest), decode)
        return part_of(table, features, storage_name(config, table), reader)

    # Writing

    def online_write_batch(
        self, config: RepoConfig, table: Any, data: Sequence[Row], progress: Callable[[int], Any] | None
    ) -> None:
        """Bring rows online. A row that is older than what is there changes nothing."""
        declared = {field.name: packed_type(field.dtype.to_value_type()) for field in table.features}
        form = form_of_values([values for _, values, _, _ in data], declared)
        self._keep_form(config, form)
        standing: dict[bytes, bytes] = {}
        for key, values, event, created in data:
            packed = pack_proto_key(key)
            if packed is not None:
                known = UNKNOWN if created is None else micros(created)
                row = pack_row(form, micros(event), known, raw_values(form, values))
                standing[packed] = newest(standing.get(packed), row)
        self._opened(config).merge(storage_name(config, table), standing.items(), newest)
        if progress is not None:
            progress(len(data))

    async def online_write_batch_async(
        self, config: RepoConfig, table: Any, data: Sequence[Row], progress: Callable[[int], Any] | None
    ) -> None:
        """`online_write_batch` for a coroutine."""
        await asyncio.to_thread(self.online_write_batch, config, table, data, progress)

    def write_table(self, config: RepoConfig, table: Any, rows: pa.Table) -> None:
        """Bring rows online straight from Arrow, by columns: what the compute engine of this package does.

        `rows` has the view's own names: keys, features and the source's times.
        """
        source = table.batch_source
        names = sorted(one.name for one in table.entity_columns if one.name != NO_KEY)
        if names:  # neighbours in the store are written together; rows of one key keep their order
            rows = rows.take(pc.sort_indices(rows, sort_keys=[(name, "ascending") for name in names]))
        event, is_timed = column_micros(single(rows[source.timestamp_field]))
        created = event * 0 + UNKNOWN
        if source.created_timestamp_column:
            known, is_known = column_micros(single(rows[source.created_timestamp_column]))
            created[is_known] = known[is_known]
        columns = [raw_column(single(rows[one.name]), one.dtype.to_value_type()) for one in table.features]
        form = Form(tuple(one.name for one in table.features), tuple(kind for kind, _, _ in columns))
        self._keep_form(config, form)
        keys = pack_columns([single(rows[name]) for name in names], names) if names else [b""] * rows.num_rows
        packed = pack_rows(form, event, created, [(valid, values) for _, valid, values in columns])
        if None in keys or not is_timed.all():
            kept = [place for place, key in enumerate(keys) if key is not None and is_timed[place]]
            keys, packed = [keys[place] for place in kept], [packed[place] for place in kept]
        pairs: Any = zip(keys, packed, strict=True)
        store = self._opened(config)
        store.merge(storage_name(config, table), pairs, newest)
        store.sync()

    def _keep_form(self, config: RepoConfig, form: Form) -> None:
        if form.digest not in self._forms:
            self._opened(config).merge(FORMS, [(form.digest, form.to_bytes())], lambda old, new: new)
            self._forms[form.digest] = form

    def _find_form(self, config: RepoConfig, digest: bytes) -> Form:
        form = self._forms.get(digest)
        if form is None:
            (data,) = self._opened(config).read(FORMS, [digest])
            if data is None or len(digest) != FORM_BYTES:
                raise unknown_form(digest)
            form = self._forms[digest] = Form.from_bytes(data)
        return form

    # Life

    def update(
        self,
        config: RepoConfig,
        tables_to_delete: Sequence[Any],
        tables_to_keep: Sequence[Any],
        entities_to_delete: Sequence[Any],
        entities_to_keep: Sequence[Any],
        partial: bool,
    ) -> None:
        """Forget the views that were deleted; nothing needs to be made for the others."""
        self._plans.clear()
        self._clear(config, tables_to_delete)

    def teardown(self, config: RepoConfig, tables: Sequence[Any], entities: Sequence[Any]) -> None:
        """Forget every view."""
        self._plans.clear()
        self._clear(config, tables)

    async def initialize(self, config: RepoConfig) -> None:
        """Open the store before the first request."""
        self._opened(config)

    async def close(self) -> None:
        """Let go of the store; the next call opens it anew."""
        with self._opening:
            if self._store is not None:
                self._store.close()
                self._store = None

    def _clear(self, config: RepoConfig, tables: Iterable[Any]) -> None:
        store = self._opened(config)
        prefixes = [storage_name(config, table) for table in tables]
        for name in store.views():
            # A view and its versions, which Feast calls view_v1, view_v2, ...
            if any(name == prefix or _is_version(name, prefix) for prefix in prefixes):
                store.clear(name)

    def _opened(self, config: RepoConfig) -> Store:
        store = self._store
        if store is None:
            with self._opening:
                if self._store is None:
                    url = store_url(config)
                    self._is_local = scheme_of(url) in (*_FILES, "memory")
                    self._store = open_online(url)
                store = self._store
        return store


def storage_name(config: RepoConfig, table: Any) -> str:
    """The name under which an online store keeps a view."""
    is_versioned = bool(getattr(config.registry, "enable_online_feature_view_versioning", False))
    return f"feast:{config.project}:{compute_versioned_name(table, is_versioned)}"


def store_url(config: RepoConfig) -> str:
    """The URL of the configured store, a relative file path made to start at the repository."""
    url = str(config.online_store.url)
    scheme = scheme_of(url)
    if scheme not in _FILES:
        return url
    path = Path(url.removeprefix(f"{scheme}:///"))
    return f"{scheme}:///{path if path.is_absolute() else Path(config.repo_path or '.').resolve() / path}"


def _in_order(asked: Sequence[str], table: Any, wanted: Iterable[str]) -> list[str]:
    """A view's features in the order in which they are asked for; Feast keeps them in a set."""
    places = {reference: place for place, reference in enumerate(asked)}
    shown = table.projection.name_to_use()
    return sorted(wanted, key=lambda name: places.get(f"{shown}:{name}", len(places)))


def _is_version(name: str, prefix: str) -> bool:
    return name.startswith(f"{prefix}_v") and name.removeprefix(f"{prefix}_v").isdigit()


def single(column: Any) -> pa.Array:
    combined = column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column
    if isinstance(combined, pa.ChunkedArray):
        return pa.concat_arrays(combined.chunks) if combined.num_chunks else pa.array([], combined.type)
    return combined


def _now() -> int:
    return micros(datetime.now(UTC))
