"""Features as of the past on Spark: the same join on every machine.

Rows and log are cut into buckets by a hash of their key, and each bucket goes through the very join that runs
embedded; so every rule, tie and edge is the same, bit for bit. Spark reads, filters, shuffles and spills.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl

import numpy as np
import pyarrow as pa
from pyspark.sql import Column, DataFrame, SparkSession
from pyspark.sql import functions as fn
from pyspark.sql.types import DateType, StructType, TimestampNTZType, TimestampType

from millrace.adapters.spark_answer import SparkFeatures, collect, spark_fields, told
from millrace.adapters.spark_bucket import Bucket, portable
from millrace.adapters.spark_session import as_before, own_session, quiet, start_session
from millrace.adapters.spark_sources import Frames, quoted, read_log
from millrace.adapters.spark_types import pack
from millrace.core.errors import ProjectError
from millrace.features.columns import to_table, to_times
from millrace.features.keys import key_arrays
from millrace.features.offline.engine import accept_table
from millrace.features.offline.historical import HistoricalFeatures, time_column, time_span
from millrace.features.request import Feature
from millrace.features.scan import Read
from millrace.features.workspace import Progress


class SparkEngine:
    """The offline engine that joins on Spark.

    Parameters
    ----------
    session : SparkSession
        Its configuration is never changed. Its workers must have Millrace installed.
    frames : mapping of source name to DataFrame or table name, optional
        Where to read a source instead of at its path.
    root : Path, optional
        The folder that relative paths of sources start at; the working folder by default.
    buckets : int, optional
        Into how many pieces rows and log are cut; one must fit into the memory of a Python worker. Default:
        ``spark.sql.shuffle.partitions``.
    """

    def __init__(
        self,
        session: SparkSession,
        *,
        frames: Frames | None = None,
        root: Path | None = None,
        buckets: int | None = None,
    ) -> None:
        self.session = session
        self._own = own_session(session)
        self._frames: Frames = frames or {}
        self._root = root or Path()
        self._buckets = buckets or int(session.conf.get("spark.sql.shuffle.partitions") or 200)

    def accept(self, rows: Any) -> tuple[Any, list[str]]:
        return (rows, list(rows.columns)) if isinstance(rows, DataFrame) else accept_table(rows)

    def retrieve(
        self,
        rows: Any,
        features: Sequence[Feature],
        read: Read,
        *,
        event_time: str,
        as_known: bool,
        progress: Progress | None = None,
    ) -> HistoricalFeatures | SparkFeatures:
        """See `millrace.features.offline.engine.OfflineEngine`; a Spark frame of rows gives `SparkFeatures`.

        Raises
        ------
        DataError
            FEAT-05 to FEAT-10; FEAT-81 a source that Spark cannot read.
        ServiceError
            FEAT-82 when Spark fails.
        """
        table = None if isinstance(rows, DataFrame) else to_table(rows)
        with quiet(), as_before(self.session), told():
            asking = (
                self._from_spark(rows, event_time) if table is None else self._from_here(table, features, event_time)
            )
            names = tuple(feature.name for feature in features)
            places = {name: f"a{place}" for place, name in enumerate(names)}
            types: dict[str, pa.DataType] = {}
            for group in _groups(features):
                asking = self._join(asking, group, read, places, types, as_known=as_known)
            answers = pa.schema([pa.field(name, types[name]) for name in names])
            frame = asking.frame.select(
                *([] if table is not None else asking.places.values()),
                *places.values(),
                "row",
            )
            if table is None:
                schema = pa.schema([*asking.schema, *answers])
                return SparkFeatures(frame, schema, names, as_known=as_known)
            found = collect(frame, answers)
        if found.num_rows != table.num_rows:
            raise AssertionError("the join changed the number of rows")
        if progress is not None:
            progress(1, 1)
        for name in names:
            table = table.append_column(name, found[name])
        return HistoricalFeatures(table, names, as_known, rows)

    def _from_here(self, table: pa.Table, features: Sequence[Feature], event_time: str) -> _Asking:
        """Rows of this process: only what the join looks at goes to Spark."""
        time = time_column(table.column_names, event_time)
        at, is_timed = to_times(table[time], what="the rows' event time")
        names = dict.fromkeys([time, *(key for feature in features for key in feature.view.keys)])
        sent = table.select([name for name in names if name in table.column_names])
        columns = {f"r{place}": pack(column) for place, column in enumerate(sent.columns)}
        columns["row"] = pa.array(np.arange(table.num_rows))
        frame = self._own.createDataFrame(pa.table(columns))
        edges = at[is_timed][[at[is_timed].argmin(), at[is_timed].argmax()]] if is_timed.any() else at[:0]
        places = {name: fn.col(f"r{place}") for place, name in enumerate(sent.column_names)}
        return _Asking(frame, table.schema, places, time, edges)

    def _from_spark(self, rows: DataFrame, event_time: str) -> _Asking:
        """Rows in Spark: all columns come along, since the answer is to have them."""
        time = time_column(rows.columns, event_time)
        columns = [fn.col(quoted(name)) for name in rows.columns]
        frame = rows.select(
            *(column.alias(f"r{place}") for place, column in enumerate(columns)),
            fn.monotonically_increasing_id().alias("row"),
        )
        schema = rows.limit(0).toArrow().schema
        places = {name: fn.col(f"r{place}") for place, name in enumerate(rows.columns)}
        edges = None
        if isinstance(rows.schema[time].dataType, (TimestampType, TimestampNTZType, DateType)):
            found = frame.agg(fn.min(places[time]).alias("first"), fn.max(places[time]).alias("last")).toArrow()
            both = [to_times(found[name], what="the rows' event time") for name in ("first", "last")]
            edges = np.concatenate([moment[is_timed] for moment, is_timed in both])
        return _Asking(frame, schema, places, time, edges)

    def _join(
        self,
        asking: _Asking,
        group: Sequence[Feature],
        read: Read,
        places: Mapping[str, str],
        types: dict[str, pa.DataType],
        *,
        as_known: bool,
    ) -> _Asking:
        """The rows with the answers of views of one source and key; their types go into `types`."""
        view = group[0].view
        wanted = [name for feature in group for name in feature.view.source_columns]
        span = None if asking.edges is None else _widest([time_span(f.view, asking.edges) for f in group])
        log = read_log(
            self.session, self._own, view.source, wanted, span, read=read, frames=self._frames, root=self._root
        )
        bucket = Bucket(
            {feature.name: places[feature.name] for feature in group},
            tuple(map(portable, group)),
            asking.time,
            as_known,
            asking.sent(view.keys),
            log.schema,
            log.order,
        )
        dry = bucket.dry_run(log.others, asking.schema)
        answers = {feature.name: dry.schema.field(feature.name).type for feature in group}
        types.update(answers)
        keys = key_arrays(log.schema.empty_table(), view.keys, expected=None)
        left = asking.frame.withColumn("bucket", self._bucket_of([asking.places[key] for key in view.keys], keys))
        right = self._cut(log.frame, [fn.col(f"l{log.schema.get_field_index(key)}") for key in view.keys], keys)
        added = spark_fields(self._own, bucket.answers, pa.schema(list(answers.items())))
        output = StructType([*asking.frame.schema.fields, *added])
        joined = left.groupBy("bucket").cogroup(right.groupBy("bucket")).applyInArrow(bucket.function(), output)
        return replace(asking, frame=joined)

    def _cut(self, log: DataFrame, keys: Sequence[Column], kinds: Sequence[pa.Array]) -> DataFrame:
        """The log with the bucket of each row; a log without keys is in all of them."""
        if not keys:
            return log.withColumn("bucket", fn.explode(fn.sequence(fn.lit(0), fn.lit(self._shared - 1))))
        for key in keys:
            log = log.where(key.isNotNull())
        # A value that is no key goes anywhere: the join there says so.
        return log.withColumn("bucket", fn.coalesce(self._hash(keys, kinds), fn.lit(0)))

    @property
    def _shared(self) -> int:
        """Into how many pieces rows are cut where every piece needs the whole log."""
        return min(self._buckets, int(self.session.sparkContext.defaultParallelism))

    def _bucket_of(self, keys: Sequence[Column], kinds: Sequence[pa.Array]) -> Column:
        # Rows without a key find nothing wherever they are: they are spread out.
        anywhere = fn.pmod(fn.col("row"), fn.lit(self._buckets if keys else self._shared))
        return (fn.coalesce(self._hash(keys, kinds), anywhere) if keys else anywhere).cast("int")

    def _hash(self, keys: Sequence[Column], kinds: Sequence[pa.Array]) -> Column:
        """The bucket of a key, null when a part is null; the same for 7, 7.0 and a decimal 7."""
        parts = []
        for key, array in zip(keys, kinds, strict=True):
            kind = (
                "bigint"
                if pa.types.is_integer(array.type)
                else "boolean"
                if pa.types.is_boolean(array.type)
                else "string"
            )
            parts.append(key.try_cast(kind))
        is_whole = fn.lit(True)
        for part in parts:
            is_whole = is_whole & part.isNotNull()
        return fn.when(is_whole, fn.pmod(fn.xxhash64(*parts), fn.lit(self._buckets))).cast("int")


@dataclass(frozen=True)
class _Asking:
    """Rows on their way through Spark: `frame` has their columns under safe names, and `row`, their place.

    Parameters
    ----------
    schema : pyarrow.Schema
        The rows' own columns and types.
    places : mapping of a row's column to its column in `frame`
    time : str
        Which column says as of when.
    edges : int64 array or None
        First and last moment asked, empty for none; None when unknown.
    """

    frame: DataFrame
    schema: pa.Schema
    places: Mapping[str, Column]
    time: str
    edges: Any

    def sent(self, keys: Sequence[str]) -> dict[str, tuple[str, pa.DataType]]:
        """Where in the frame the columns are that a join looks at, and their types."""
        names = list(self.places)
        wanted = [name for name in dict.fromkeys([self.time, *keys]) if name in self.places]
        return {name: (f"r{names.index(name)}", self.schema.field(name).type) for name in wanted}


def open_spark(url: str = "spark://", *, root: Path | None = None) -> SparkEngine:
    """The engine of the Spark that `url` names.

    ``spark://`` is the session that runs in this process, or what `spark-submit` and Spark's own files say;
    ``spark://local[4]``, ``spark://yarn`` and ``spark://host:7077`` start one. Settings of a session that starts stand
    behind a ``?``, beside `buckets`: ``spark://yarn?buckets=2000&spark.executor.memory=8g``.

    Raises
    ------
    ServiceError
        FEAT-83 when Spark does not start.
    """
    master, _, query = url.partition("://")[2].partition("?")
    settings = dict(parse_qsl(query))
    buckets = settings.pop("buckets", None)
    if buckets is not None and not buckets.isdigit():
        raise ProjectError("FEAT-84", f"buckets={buckets} in '{url}' is not a whole number", fix="buckets=2000")
    with quiet():
        session = SparkSession.getActiveSession() or start_session(master, settings)
    return SparkEngine(session, root=root, buckets=None if buckets is None else int(buckets))


def _groups(features: Sequence[Feature]) -> list[list[Feature]]:
    """Features that one pass can answer: of one source and one key."""
    groups: dict[Any, list[Feature]] = {}
    for feature in features:
        groups.setdefault((id(feature.view.source), feature.view.keys), []).append(feature)
    return list(groups.values())


def _widest(spans: Sequence[tuple[datetime | None, datetime | None]]) -> tuple[datetime | None, datetime | None]:
    starts, ends = [start for start, _ in spans if start is not None], [end for _, end in spans if end is not None]
    if not ends:  # no row asks: the columns are enough
        nowhere = datetime.fromtimestamp(0, UTC)
        return nowhere, nowhere
    return min(starts) if len(starts) == len(spans) else None, max(ends)
