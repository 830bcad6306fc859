"""Millrace as the offline store of a Feast repository.

    offline_store:
      type: millrace.adapters.feast_offline_store.MillraceOfflineStore

Every row of the entity table comes back, in its order; of one key the newest event at or before the row's time counts,
then the later created, then the later written. What Feast computes beyond that (monitoring) goes Feast's own way.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from feast.infra.offline_stores.offline_store import OfflineStore, RetrievalJob, RetrievalMetadata
from feast.infra.offline_stores.offline_utils import infer_event_timestamp_from_entity_df
from feast.on_demand_feature_view import OnDemandFeatureView
from feast.repo_config import FeastConfigBaseModel, RepoConfig
from feast.utils import compute_non_entity_date_range

from millrace.adapters.feast_files import append_parquet, append_to_folder, read_source, write_parquet
from millrace.adapters.feast_join import join_views, keys_between, newest_rows, within
from millrace.adapters.feast_keys import NO_KEY
from millrace.core.errors import DataError
from millrace.features.columns import to_table

_EXACT = 2**53
_MONITORING = (
    "compute_monitoring_metrics",
    "get_monitoring_max_timestamp",
    "ensure_monitoring_tables",
    "save_monitoring_metrics",
    "query_monitoring_metrics",
    "clear_monitoring_baseline",
)


class MillraceOfflineStoreConfig(FeastConfigBaseModel):  # type: ignore[misc]  # Feast has no types
    """What `offline_store` of feature_store.yaml holds."""

    type: Literal["millrace.adapters.feast_offline_store.MillraceOfflineStore"] = (
        "millrace.adapters.feast_offline_store.MillraceOfflineStore"
    )
    staging_location: str | None = None
    staging_location_endpoint_override: str | None = None


class MillraceRetrievalJob(RetrievalJob):  # type: ignore[misc]
    """Rows that are worked out when they are first asked for, and then kept."""

    def __init__(
        self,
        make: Callable[[], pa.Table],
        config: RepoConfig,
        *,
        full_feature_names: bool = False,
        on_demand_feature_views: Sequence[Any] = (),
        metadata: RetrievalMetadata | None = None,
    ) -> None:
        super().__init__()
        self._make = functools.cache(make)
        self._config = config
        self._full_feature_names = full_feature_names
        self._on_demand_feature_views = list(on_demand_feature_views)
        self._metadata = metadata

    @property
    def full_feature_names(self) -> bool:
        return self._full_feature_names

    @property
    def on_demand_feature_views(self) -> list[Any]:
        return self._on_demand_feature_views

    @property
    def metadata(self) -> RetrievalMetadata | None:
        return self._metadata

    def to_df(self, validation_reference: Any = None, timeout: int | None = None) -> pd.DataFrame:
        """A pandas table. Whole numbers beside nulls are floats, as Feast gives them, unless that would change one."""
        table = self.to_arrow(validation_reference=validation_reference, timeout=timeout)
        frame: pd.DataFrame = table.to_pandas()
        for name in table.column_names:
            if pa.types.is_int64(table[name].type) and table[name].null_count and _passes_float(table[name]):
                frame[name] = pd.Series(table[name].to_pylist(), dtype="Int64")
        return frame

    def _to_df_internal(self, timeout: int | None = None) -> pd.DataFrame:
        frame: pd.DataFrame = self._make().to_pandas()
        return frame

    def _to_arrow_internal(self, timeout: int | None = None) -> pa.Table:
        return self._make()

    def persist(self, storage: Any, allow_overwrite: bool = False, timeout: int | None = None) -> None:
        """Write the rows where a saved dataset says."""
        write_parquet(self._config, storage.to_data_source(), self.to_arrow(), allow_overwrite=allow_overwrite)


class MillraceOfflineStore(OfflineStore):  # type: ignore[misc]
    """Point-in-time joins that lose no row, over Parquet and whatever else Feast's DuckDB store reads."""

    supports_filter_by_created_timestamp = True

    @staticmethod
    def get_historical_features(
        config: RepoConfig,
        feature_views: list[Any],
        feature_refs: list[str],
        entity_df: pd.DataFrame | str | None,
        registry: Any,
        project: str,
        full_feature_names: bool = False,
        **options: Any,
    ) -> RetrievalJob:
        """The rows of `entity_df` with the features as of their times.

        Parameters
        ----------
        entity_df : pandas table, SQL query over files (by DuckDB), or None for all keys seen in the time range
        options : start_date, end_date, filter_by_created_timestamp
        """
        as_known = bool(options.get("filter_by_created_timestamp"))
        if entity_df is None:
            start, end = compute_non_entity_date_range(
                feature_views, options.get("start_date"), options.get("end_date")
            )
            rows = keys_between(config, feature_views, start, end)
            event_time, span = "event_timestamp", (start, end)
        else:
            start = None
            rows, event_time = _entity_rows(config, entity_df)
            span = _span(rows[event_time])

        def make() -> pa.Table:
            return join_views(
                config,
                rows,
                feature_views,
                feature_refs,
                event_time=event_time,
                as_known=as_known,
                full_feature_names=full_feature_names,
                start=start,
            )

        on_demand = OnDemandFeatureView.get_requested_odfvs(feature_refs, project, registry)
        by_ibis = [view for view in on_demand if view.mode == "substrait"]
        return MillraceRetrievalJob(
            _transformed(make, by_ibis, full_feature_names) if by_ibis else make,
            config,
            full_feature_names=full_feature_names,
            on_demand_feature_views=[view for view in on_demand if view.mode != "substrait"],
            metadata=RetrievalMetadata(
                features=feature_refs,
                keys=[name for name in rows.column_names if name != event_time],
                min_event_timestamp=span[0],
                max_event_timestamp=span[1],
            ),
        )

    @staticmethod
    def pull_latest_from_table_or_query(
        config: RepoConfig,
        data_source: Any,
        join_key_columns: list[str],
        feature_name_columns: list[str],
        timestamp_field: str,
        created_timestamp_column: str | None,
        start_date: datetime | None,
        end_date: datetime | None,
    ) -> RetrievalJob:
        """The newest row of each key with start <= event time <= end."""
        times = [timestamp_field, *([created_timestamp_column] if created_timestamp_column else [])]
        columns = [*join_key_columns, *feature_name_columns, *times]

        def make() -> pa.Table:
            table = read_source(config, data_source, columns, timestamp_field, start_date, end_date)
            table = within(table, timestamp_field, start_date, end_date)
            return _keyed(newest_rows(table, join_key_columns, times), join_key_columns)

        return MillraceRetrievalJob(make, config)

    @staticmethod
    def pull_all_from_table_or_query(
        config: RepoConfig,
        data_source: Any,
        join_key_columns: list[str],
        feature_name_columns: list[str],
        timestamp_field: str,
        created_timestamp_column: str | None = None,
        start_date: datetime | None = None,
        end_date: datetime | None = None,
    ) -> RetrievalJob:
        """Every row with start <= event time <= end, in the order of the source."""
        times = [timestamp_field, *([created_timestamp_column] if created_timestamp_column else [])]
        columns = [*join_key_columns, *feature_name_columns, *times]

        def make() -> pa.Table:
            table = read_source(config, data_source, columns, timestamp_field, start_date, end_date)
            return _keyed(within(table, timestamp_field, start_date, end_date), join_key_columns)

        return MillraceRetrievalJob(make, config)

    @staticmethod
    def offline_write_batch(
        config: RepoConfig, feature_view: Any, table: pa.Table, progress: Callable[[int], Any] | None
    ) -> None:
        """Add rows behind those of the view's source."""
        if feature_view.batch_source is None:
            raise DataError(
                "FEAST-07",
                f"the view '{feature_view.name}' has no batch source to write to",
                fix="give the view a source, or the PushSource a batch_source",
            )
        append_parquet(config, feature_view.batch_source, table)
        if progress is not None:
            progress(table.num_rows)

    @staticmethod
    def write_logged_features(
        config: RepoConfig, data: pa.Table | Path, source: Any, logging_config: Any, registry: Any
    ) -> None:
        """Add a file of served features to the folder of the logging destination."""
        table = pq.read_table(data) if isinstance(data, Path) else data
        append_to_folder(config, logging_config.destination, table)


def _through_feast(name: str) -> Any:
    def call(config: RepoConfig, *arguments: Any, **options: Any) -> Any:
        from feast.infra.offline_stores.duckdb import DuckDBOfflineStore, DuckDBOfflineStoreConfig

        theirs = config.model_copy()
        theirs._offline_store = DuckDBOfflineStoreConfig()  # it looks at the type before anything else
        return getattr(DuckDBOfflineStore, name)(theirs, *arguments, **options)

    call.__name__ = name
    call.__doc__ = f"Feast's own `{name}`."
    return staticmethod(call)


for _name in _MONITORING:
    setattr(MillraceOfflineStore, _name, _through_feast(_name))


def _entity_rows(config: RepoConfig, entity_df: Any) -> tuple[pa.Table, str]:
    """The rows that ask, and which column says as of when; that column in UTC."""
    if isinstance(entity_df, str):
        import duckdb

        folder = str(config.repo_path or ".")
        with duckdb.connect(config={"file_search_path": folder}) as connection:
            rows = connection.sql(entity_df).to_arrow_table()
        schema = {field.name: field.type.to_pandas_dtype() for field in rows.schema}
    else:
        rows = to_table(entity_df)
        schema = {name: entity_df[name].dtype for name in entity_df.columns}
    event_time = infer_event_timestamp_from_entity_df(schema)
    place = rows.column_names.index(event_time)
    return rows.set_column(place, event_time, _in_utc(rows[event_time])), event_time


def _in_utc(times: pa.ChunkedArray) -> pa.ChunkedArray:
    if pa.types.is_timestamp(times.type):
        return times.cast(pa.timestamp(times.type.unit, "UTC"))
    moments = pd.to_datetime(pd.Series(times.to_pylist(), dtype="object"), utc=True)
    return pa.chunked_array([pa.array(moments.dt.tz_localize(None)).cast(pa.timestamp("us", "UTC"), safe=False)])


def _span(times: pa.ChunkedArray) -> tuple[datetime | None, datetime | None]:
    filled = times.drop_null().cast(pa.timestamp("us", "UTC"), safe=False).cast(pa.int64())
    if not len(filled):
        return None, None
    numbers = np.asarray(filled.to_numpy())
    return tuple(pd.Timestamp(int(one), unit="us", tz="UTC").to_pydatetime() for one in (numbers.min(), numbers.max()))  # type: ignore[return-value]


def _transformed(make: Callable[[], pa.Table], views: Sequence[Any], full_names: bool) -> Callable[[], pa.Table]:
    def made() -> pa.Table:
        import ibis

        table = ibis.memtable(make())
        for view in views:
            table = view.transform_ibis(table, full_names)
        return table.to_pyarrow()

    return made


def _keyed(table: pa.Table, keys: Sequence[str]) -> pa.Table:
    """With the key that Feast gives a view without keys."""
    return table if keys else table.append_column(NO_KEY, pa.array([""] * table.num_rows, pa.string()))


def _passes_float(column: pa.ChunkedArray) -> bool:
    numbers = column.drop_null().to_numpy()
    return bool(len(numbers)) and bool((np.abs(numbers) > _EXACT).any())
