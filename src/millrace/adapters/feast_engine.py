"""Millrace as the compute engine of a Feast repository: from the offline into the online store without detours.

    batch_engine:
      type: millrace.adapters.feast_engine.MillraceComputeEngine

Feast's own engine turns every row into protobuf on the way. This one hands Arrow columns to Millrace's online store.
What it does not know, such as a view with a transformation or another online store, goes Feast's own way.
"""

from __future__ import annotations

from typing import Any, Literal

from feast.infra.common.materialization_job import MaterializationJobStatus, MaterializationTask
from feast.infra.compute_engines.local.compute import LocalComputeEngine
from feast.infra.compute_engines.local.job import LocalMaterializationJob
from feast.repo_config import FeastConfigBaseModel
from feast.utils import _get_column_names, _run_pyarrow_field_mapping, _validate_vector_field_lengths

from millrace.adapters.feast_keys import NO_KEY
from millrace.adapters.feast_online_store import MillraceOnlineStore


class MillraceComputeEngineConfig(FeastConfigBaseModel):  # type: ignore[misc]  # Feast has no types
    """What `batch_engine` of feature_store.yaml holds."""

    type: Literal["millrace.adapters.feast_engine.MillraceComputeEngine"] = (
        "millrace.adapters.feast_engine.MillraceComputeEngine"
    )


class MillraceComputeEngine(LocalComputeEngine):  # type: ignore[misc]
    """Materialises plain views by columns; everything else as Feast's local engine does."""

    def __init__(self, type: str = "", **kwargs: Any) -> None:  # noqa: A002 - the key of feature_store.yaml
        super().__init__(**kwargs)

    def _materialize_one(self, registry: Any, task: MaterializationTask, **kwargs: Any) -> Any:
        view = task.feature_view
        if not isinstance(self.online_store, MillraceOnlineStore) or not _is_plain(view):
            return super()._materialize_one(registry, task, **kwargs)
        status, problem = MaterializationJobStatus.SUCCEEDED, None
        try:
            self._write(registry, task)
        except Exception as error:  # noqa: BLE001 - Feast's contract: the job carries the error, its caller raises it
            status, problem = MaterializationJobStatus.ERROR, error
        return LocalMaterializationJob(
            job_id=f"{view.name}-{task.start_time}-{task.end_time}", status=status, error=problem
        )

    def _write(self, registry: Any, task: MaterializationTask) -> None:
        view = task.feature_view
        entities = [registry.get_entity(name, task.project) for name in view.entities]
        keys, features, event_time, created = _get_column_names(view, entities)
        source = view.batch_source
        rows = self.offline_store.pull_latest_from_table_or_query(
            config=self.repo_config,
            data_source=source,
            join_key_columns=[key for key in keys if key != NO_KEY],
            feature_name_columns=features,
            timestamp_field=event_time,
            created_timestamp_column=created,
            start_date=task.start_time,
            end_date=task.end_time,
        ).to_arrow()
        if not rows.num_rows:
            return
        _validate_vector_field_lengths(rows, view)
        if view.online:
            mapped = _run_pyarrow_field_mapping(rows, source.field_mapping)
            self.online_store.write_table(self.repo_config, view, mapped)


def _is_plain(view: Any) -> bool:
    """Whether the view's rows stand in its source as they are, and go nowhere but online."""
    special = ("feature_transformation", "aggregations", "source_views", "enable_validation", "filter")
    return (
        view.batch_source is not None
        and not getattr(view, "offline", False)
        and not any(getattr(view, name, None) for name in special)
    )
