"""The point-in-time join behind Feast's offline store: Millrace finds which row of a source counts, and that row's
columns are taken as they are, of whatever type."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc
from feast.repo_config import RepoConfig
from feast.utils import _run_pyarrow_field_mapping

from millrace.adapters.feast_files import read_source
from millrace.adapters.feast_keys import NO_KEY
from millrace.core.clock import as_utc
from millrace.core.errors import DataError, did_you_mean
from millrace.data.source import Source
from millrace.features.columns import to_times
from millrace.features.entity import Entity
from millrace.features.store import FeatureStore
from millrace.features.view import FeatureView

_PLACE = "place"
_TIME = "time"
_CREATED = "created"


def join_views(
    config: RepoConfig,
    rows: pa.Table,
    views: Sequence[Any],
    references: Sequence[str],
    *,
    event_time: str,
    as_known: bool,
    full_feature_names: bool,
    start: datetime | None = None,
) -> pa.Table:
    """`rows`, each with the features of the views as of its time; as many and in the order given.

    Parameters
    ----------
    references : ``view:feature``, in the order of the answer within a view
    start : datetime, optional
        Events before it do not count, whatever the view's ttl.

    Raises
    ------
    DataError
        FEAST-03 to FEAST-05 for sources, FEAST-08 a key column is missing from the rows, FEAT-07 keys of another
        type than the source has.
    """
    joined = rows
    for view in views:
        prefix = view.projection.name_to_use()
        wanted = [one.split(":", 1)[1] for one in references if one.split(":", 1)[0] == prefix]
        plain = view.projection.name_alias or view.name
        found = _join_view(config, rows, view, event_time, as_known, start, wanted)
        for name, column in zip(wanted, found, strict=True):
            shown = f"{plain}__{name}" if full_feature_names else name
            joined = joined.append_column(shown, column)
    return joined


def _join_view(
    config: RepoConfig,
    rows: pa.Table,
    view: Any,
    event_time: str,
    as_known: bool,
    start: datetime | None,
    wanted: Sequence[str],
) -> list[pa.ChunkedArray]:
    keys = [field.name for field in view.entity_columns if field.name != NO_KEY]
    aliases = view.projection.join_key_map
    asking = {f"key{place}": _key(rows, aliases.get(key, key), view) for place, key in enumerate(keys)}
    at = to_times(rows[event_time], what=f"column '{event_time}' of the entity rows")
    asking[_TIME] = pa.array(at[0], pa.timestamp("us", "UTC"), mask=~at[1])
    # Only what can count is read: nothing after the last row asks, nothing older than ttl before the first one.
    times = at[0][at[1]]
    if not len(times):
        return [pa.chunked_array([pa.nulls(rows.num_rows)]) for _ in wanted]
    earliest, latest = (pc.cast(pa.scalar(int(one)), pa.timestamp("us", "UTC")).as_py() for one in _ends(times))
    since = None if not view.ttl else earliest - view.ttl - timedelta(seconds=1)
    since = start if since is None else since if start is None else max(as_utc(start), since)
    log = _read_view(config, view, keys, wanted, since, latest + timedelta(seconds=1))
    log = log if start is None else within(log, view.batch_source.timestamp_field, start, None)
    places = _places(asking, log, view, keys, as_known)
    return [log[name].combine_chunks().take(places) if log.num_rows else _nothing(log, name, rows) for name in wanted]


def _ends(times: Any) -> tuple[Any, Any]:
    return times.min(), times.max()


def _nothing(log: pa.Table, name: str, rows: pa.Table) -> pa.Array:
    return pa.nulls(rows.num_rows, log[name].type)


def _places(asking: dict[str, Any], log: pa.Table, view: Any, keys: Sequence[str], as_known: bool) -> pa.Array:
    """Which row of `log` counts for each row that asks; null for none."""
    source = view.batch_source
    events: dict[str, Any] = {f"key{place}": _comparable(log[key]) for place, key in enumerate(keys)}
    events[_TIME] = _as_time(log[source.timestamp_field], source.timestamp_field)
    created = source.created_timestamp_column
    if created:
        events[_CREATED] = _as_time(log[created], created)
    events[_PLACE] = pa.array(np.arange(log.num_rows, dtype=np.int64))
    table = pa.table(events)
    names = list(asking)[:-1]
    one = FeatureView(
        "view",
        entity=Entity("entity", key=names, place=view.name) if names else None,
        source=Source("log", "log", event_time=_TIME, created=_CREATED if created else None, place=view.name),
        features={_PLACE: _PLACE},
        ttl=view.ttl or None,
        place=view.name,
    )
    store = FeatureStore([one], read=lambda source, start, end: table)
    found = store.get_historical_features(
        pa.table(asking), [f"view:{_PLACE}"], event_time=_TIME, as_known=as_known
    ).to_arrow()
    return found[_PLACE].combine_chunks()


def _read_view(
    config: RepoConfig,
    view: Any,
    keys: Sequence[str],
    wanted: Sequence[str],
    start: datetime | None,
    end: datetime | None,
) -> pa.Table:
    """Rows of a view's source under the view's names."""
    source = view.batch_source
    if source is None:
        raise DataError("FEAST-07", f"the view '{view.name}' has no batch source to read", fix="give it a source")
    back = {new: old for old, new in source.field_mapping.items()}
    times = [source.timestamp_field, *([source.created_timestamp_column] if source.created_timestamp_column else [])]
    columns = [back.get(name, name) for name in [*keys, *times, *wanted]]
    table = read_source(config, source, columns, back.get(source.timestamp_field, source.timestamp_field), start, end)
    return _run_pyarrow_field_mapping(table, source.field_mapping)


def _key(rows: pa.Table, name: str, view: Any) -> Any:
    if name not in rows.column_names:
        raise DataError(
            "FEAST-08",
            f"the entity rows have no column '{name}', a key of the view '{view.name}'",
            fix=did_you_mean(name, rows.column_names),
        )
    return _comparable(rows[name])


def _comparable(column: Any) -> Any:
    """A key column in a type that Millrace's join takes: times as numbers, bytes as their hexadecimal digits."""
    kind = column.type
    if pa.types.is_timestamp(kind):
        return column.cast(pa.timestamp("us", kind.tz), safe=False).cast(pa.int64())
    if pa.types.is_binary(kind) or pa.types.is_large_binary(kind):
        return pa.array([None if one is None else one.hex() for one in column.to_pylist()], pa.string())
    return column


def _as_time(column: Any, name: str) -> pa.Array:
    values, valid = to_times(column, what=f"column '{name}'")
    return pa.array(values, pa.timestamp("us", "UTC"), mask=~valid)


def within(table: pa.Table, event_time: str, start: datetime | None, end: datetime | None) -> pa.Table:
    """Rows with start <= event time <= end, whatever type their times have; rows without time are left out."""
    moments = _as_time(table[event_time], event_time)
    kept = pc.is_valid(moments)
    for bound, compare in ((start, pc.greater_equal), (end, pc.less_equal)):
        if bound is not None:
            kept = pc.and_(kept, compare(moments, pa.scalar(as_utc(bound), pa.timestamp("us", "UTC"))))
    return table.filter(pc.fill_null(kept, False))


def newest_rows(table: pa.Table, keys: Sequence[str], times: Sequence[str]) -> pa.Table:
    """The newest row of each key by the columns `times`; of equal ones the last. In the order of the table."""
    columns: dict[str, Any] = {f"key{place}": _comparable(table[key]) for place, key in enumerate(keys)}
    names = list(columns)
    if names and pl.DataFrame(pa.table(columns)).n_unique() == table.num_rows:
        return table
    columns |= {f"time{place}": _as_time(table[name], name) for place, name in enumerate(times)}
    columns[_PLACE] = pa.array(np.arange(table.num_rows, dtype=np.int64))
    frame = pl.DataFrame(pa.table(columns)).sort(
        [f"time{place}" for place in range(len(times))], nulls_last=False, maintain_order=True
    )
    kept = frame.unique(subset=names, keep="last", maintain_order=True) if names else frame.tail(1)
    return table.take(pa.array(np.sort(kept[_PLACE].to_numpy())))


def keys_between(config: RepoConfig, views: Sequence[Any], start: datetime, end: datetime) -> pa.Table:
    """One row per key that any of the views has an event of in the range, asking as of its end.

    Raises
    ------
    DataError
        FEAST-09 when the views have different keys.
    """
    keyed = [view for view in views if [one for one in view.entity_columns if one.name != NO_KEY]]
    found: pa.Table | None = None
    for view in keyed:
        keys = [one.name for one in view.entity_columns if one.name != NO_KEY]
        log = within(_read_view(config, view, keys, [], start, end), view.batch_source.timestamp_field, start, end)
        names = [view.projection.join_key_map.get(key, key) for key in keys]
        own = log.select(keys).rename_columns(names)
        if found is not None and set(found.column_names) != set(names):
            raise DataError(
                "FEAST-09",
                f"the views have different keys: {', '.join(found.column_names)} and {', '.join(names)}",
                why="without entity rows it is not said which of them go together",
                fix="pass an entity_df with all keys",
            )
        found = own if found is None else pa.concat_tables([found, own.select(found.column_names).cast(found.schema)])
    columns = {} if found is None else found.group_by(found.column_names, use_threads=False).aggregate([]).to_pydict()
    rows = len(next(iter(columns.values()))) if columns else 1
    schema = {} if found is None else {name: found.schema.field(name).type for name in found.column_names}
    table = {name: pa.array(values, schema[name]) for name, values in columns.items()}
    table["event_timestamp"] = pa.array([as_utc(end)] * rows, pa.timestamp("us", "UTC"))
    return pa.table(table)
