"""Sources as Spark frames: the columns a join needs, between two times, with what orders rows that tie.

Spark has no order of rows. "The later written wins" needs one, so each row brings where it stood: the place of its
file among the files, and its own in the file. Where a table has no files, rows that tie in every time are ordered by
their values: arbitrary, but the same on every run.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import unquote, urlsplit

import pyarrow as pa
import pyarrow.parquet as pq
from pyspark.errors import AnalysisException
from pyspark.sql import Column, DataFrame, SparkSession
from pyspark.sql import functions as fn
from pyspark.sql import types as kinds

from millrace.adapters.spark_session import REFUSALS, cause, own_session
from millrace.adapters.spark_types import pack
from millrace.core.clock import as_utc, to_micros
from millrace.core.errors import DataError
from millrace.data.location import data_files, file_kind, holds_files, resolve_url
from millrace.data.shape import partition_of
from millrace.data.source import FILE_STORES
from millrace.features.online.materialization import Read

Frames = Mapping[str, DataFrame | str]
_Value = TypeVar("_Value")

_NANOS = "spark.sql.legacy.parquet.nanosAsLong"


@dataclass(frozen=True)
class Log:
    """Rows of a source in Spark.

    Parameters
    ----------
    frame : DataFrame
        Columns ``l0``, ``l1`` ... as `schema` has them, then those that `order` names.
    schema : pyarrow.Schema
        What the columns are called, and of which types they are.
    order : tuple of str
        Columns whose ascending order is the order of writing.
    others : tuple of str
        Further columns that the source has.
    """

    frame: DataFrame
    schema: pa.Schema
    order: tuple[str, ...]
    others: tuple[str, ...]


@dataclass(frozen=True)
class _Found:
    """A frame as Spark reads it: its columns' expressions by our names, which are nanoseconds, and its order."""

    frame: DataFrame
    columns: Mapping[str, Column]
    order: Sequence[Column]
    nanos: Mapping[str, pa.DataType]


def read_log(
    session: SparkSession,
    own: SparkSession,
    source: Any,
    wanted: Sequence[str],
    span: tuple[datetime | None, datetime | None] | None,
    *,
    read: Read,
    frames: Frames,
    root: Path,
) -> Log:
    """The rows of `source` with an event time in `span`.

    Parameters
    ----------
    session, own : SparkSession
        The user's, which knows their tables; ours, which reads files.
    wanted : sequence of str
        Columns to bring; those that are not there are left out.
    span : pair of datetime or None
        Half-open bounds; None for no bounds at all. They prune as early as Spark can; where the type of the event
        time does not allow it, all rows come.
    read : callable
        Reads what Spark is not asked for: CSV, databases by SQLAlchemy URL, frames in memory.
    frames : mapping of source name to DataFrame or table name
        Where Spark should look instead.

    Raises
    ------
    DataError
        What the reader raises; FEAT-81 when Spark refuses the source.
    """
    try:
        found = _find(session, own, source, frames, root)
        if found is None:
            return _read_here(own, source, wanted, span, read)
        return _shape(source, wanted, span, found)
    except REFUSALS as error:
        raise DataError(
            "FEAT-81",
            f"Spark cannot read the source '{source.name}': {cause(error)}",
            where=getattr(source, "place", None),
            fix="check the path or table in Spark, or hand the frame over: SparkEngine(session, frames={...})",
        ) from error


def _find(session: SparkSession, own: SparkSession, source: Any, frames: Frames, root: Path) -> _Found | None:
    """How Spark reads the source, None when it does not."""
    given, path = frames.get(source.name), getattr(source, "path", None)
    frame = given if given is not None else getattr(source, "frame", None)
    if isinstance(frame, (DataFrame, str)):
        return _table(source, session.table(frame) if isinstance(frame, str) else frame)
    if frame is not None or not isinstance(path, str):
        return None
    if path.startswith("env:"):
        path = resolve_url(path)
    scheme = urlsplit(path).scheme if "://" in path else ""
    if path.startswith("jdbc:"):
        chosen = {"dbtable": source.table} if source.table else {"query": source.query}
        return _table(source, session.read.format("jdbc").options(url=path, **chosen).load())
    if scheme == "spark":
        return _table(source, session.table(source.table) if source.table else session.sql(source.query))
    if scheme in FILE_STORES:
        return _files(own, source, [path], Path(_local(path)))
    folder = (root / path).resolve()
    if scheme or (getattr(source, "schema", None) and not (folder.exists() and holds_files(folder))):
        return None  # a log that is still to begin has its declared columns
    files = data_files(folder)
    if any(file_kind(file) != "parquet" for file in files):
        return None
    return _files(own, source, [f"file://{_escaped(str(file))}" for file in files], folder)


def _escaped(path: str) -> str:
    # Spark takes these for patterns.
    return re.sub(r"([\\{}\[\]*?])", r"\\\1", path)


def _files(own: SparkSession, source: Any, paths: Sequence[str], folder: Path) -> _Found:
    """Parquet files, in order of their names, with the parts ``name=value`` of their paths as columns."""
    nanos: Mapping[str, pa.DataType] = {}
    try:
        frame = _read_parquet(own, paths)
    except REFUSALS as error:
        if "TIMESTAMP(NANOS" not in str(error):
            raise
        nanos = _nanosecond_columns(paths[0], source)
        frame = _read_parquet(own_session(own, **{_NANOS: "true"}), paths)
    uris = sorted(frame.inputFiles(), key=lambda uri: Path(_local(uri)))
    partitions = [partition_of(Path(_local(uri)), folder) for uri in uris]
    names = [name for name in dict.fromkeys(name for one in partitions for name in one) if name not in frame.columns]
    known = pa.table(
        {
            "millrace_file": pa.array([_normal(uri) for uri in uris], pa.string()),
            "millrace_place": pa.array(range(len(uris)), pa.int64()),
            **{f"millrace_p{i}": pa.array([one.get(n) for one in partitions]) for i, n in enumerate(names)},
        }
    )
    columns = {name: fn.col(quoted(name)) for name in frame.columns}
    joined = frame.select(
        *columns.values(),
        fn.regexp_replace("_metadata.file_path", "^file:/+", "file:/").alias("millrace_file"),
        fn.col("_metadata.row_index").alias("millrace_row"),
    ).join(fn.broadcast(own.createDataFrame(known)), "millrace_file")
    columns.update({name: fn.col(f"millrace_p{place}") for place, name in enumerate(names)})
    order = [fn.col("millrace_place"), fn.col("millrace_row")]
    return _Found(joined, _named(source, columns), order, _named(source, nanos))


def _read_parquet(session: SparkSession, paths: Sequence[str]) -> DataFrame:
    return session.read.option("mergeSchema", "true").option("recursiveFileLookup", "true").parquet(*paths)


def _nanosecond_columns(path: str, source: Any) -> Mapping[str, pa.DataType]:
    """The columns that hold nanoseconds, of which Spark sees whole numbers."""
    try:
        address = re.sub(r"\\(.)", r"\1", path)
        schema = pq.read_schema(address.removeprefix("file://") if address.startswith("file://") else address)
    except (pa.ArrowException, OSError, ValueError) as error:
        raise DataError(
            "FEAT-81",
            f"the source '{source.name}' holds times in nanoseconds, which Spark does not know",
            where=getattr(source, "place", None),
            fix="write the files with times in microseconds",
        ) from error
    return {one.name: one.type for one in schema if pa.types.is_timestamp(one.type) and one.type.unit == "ns"}


def _table(source: Any, frame: DataFrame) -> _Found:
    """A table or frame: ordered by its files where Spark can tell them, else by values."""
    columns = _named(source, {name: fn.col(quoted(name)) for name in frame.columns})
    for row in (fn.col("_metadata.row_index"), fn.col("_metadata.file_block_start")):
        try:
            order = [fn.xxhash64("_metadata.file_path"), row, fn.monotonically_increasing_id()]
            frame.select(*order).schema  # noqa: B018 - asks Spark whether it knows these columns
        except AnalysisException:
            continue
        return _Found(frame, columns, order, {})
    return _Found(frame, columns, (), {})


def _named(source: Any, columns: Mapping[str, _Value]) -> dict[str, _Value]:
    """What is known by columns of a file, by the names that the source gives them."""
    ours = {theirs: our for our, theirs in getattr(source, "renames", {}).items()}
    kept = getattr(source, "kept", None)
    named = {ours.get(name, name): column for name, column in columns.items()}
    return named if kept is None else {name: named[name] for name in kept if name in named}


def _shape(
    source: Any, wanted: Sequence[str], span: tuple[datetime | None, datetime | None] | None, found: _Found
) -> Log:
    names = [name for name in dict.fromkeys(wanted) if name in found.columns]
    frame = found.frame
    time = found.columns.get(source.event_time)
    if span is not None and time is not None:
        kind = "nanos" if source.event_time in found.nanos else frame.select(time.alias("t")).schema["t"].dataType
        frame = _between(frame, time, kind, *span)
    columns = [found.columns[name].alias(f"l{place}") for place, name in enumerate(names)]
    order = found.order or [fn.xxhash64(*(found.columns[name] for name in names))]
    frame = frame.select(*columns, *(column.alias(f"o{place}") for place, column in enumerate(order)))
    arrow = frame.drop(*(f"o{place}" for place in range(len(order)))).limit(0).toArrow().schema
    fields = [pa.field(name, found.nanos.get(name, arrow.field(place).type)) for place, name in enumerate(names)]
    others = tuple(name for name in found.columns if name not in names)
    return Log(frame, pa.schema(fields), tuple(f"o{place}" for place in range(len(order))), others)


def _between(frame: DataFrame, time: Column, kind: Any, start: datetime | None, end: datetime | None) -> DataFrame:
    for moment, is_start in ((start, True), (end, False)):
        edge = None if moment is None else _edge(moment, kind)
        if edge is not None:
            frame = frame.where(time >= edge if is_start else time < edge)
    return frame


def _edge(moment: datetime, kind: Any) -> Column | None:
    """`moment` as a literal of a column's type, None where the type does not allow to compare."""
    if kind == "nanos":
        return fn.lit(to_micros(moment) * 1000)
    if isinstance(kind, kinds.TimestampType):
        return fn.timestamp_micros(fn.lit(to_micros(moment)))
    if isinstance(kind, kinds.TimestampNTZType):
        return fn.expr(f"TIMESTAMP_NTZ'{as_utc(moment):%Y-%m-%d %H:%M:%S.%f}'")
    return None


def _read_here(
    own: SparkSession,
    source: Any,
    wanted: Sequence[str],
    span: tuple[datetime | None, datetime | None] | None,
    read: Read,
) -> Log:
    """The rows read by this process and handed to Spark, in their order."""
    table = read(source, *(span or (None, None)))
    names = [name for name in dict.fromkeys(wanted) if name in table.column_names]
    columns = {f"l{place}": pack(table[name]) for place, name in enumerate(names)}
    columns["o0"] = pa.array(range(table.num_rows), pa.int64())
    schema = pa.schema([pa.field(name, table.schema.field(name).type) for name in names])
    others = tuple(name for name in table.column_names if name not in names)
    return Log(own.createDataFrame(pa.table(columns)), schema, ("o0",), others)


def _local(uri: str) -> str:
    return unquote(urlsplit(uri).path)


def _normal(uri: str) -> str:
    # Spark writes local files as file:/x and as file:///x.
    return re.sub("^file:/+", "file:/", uri)


def quoted(name: str) -> str:
    """A column's name as Spark takes it whatever is in it."""
    return "`" + name.replace("`", "``") + "`"
