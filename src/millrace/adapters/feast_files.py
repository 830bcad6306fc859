"""Reading and writing the files behind a Feast repository: Parquet directly, what else Feast can read through Feast."""

from __future__ import annotations

import fcntl
import os
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as ds
import pyarrow.parquet as pq
from feast.data_format import ParquetFormat
from feast.errors import SavedDatasetLocationAlreadyExists
from feast.infra.offline_stores.file_source import FileSource
from feast.repo_config import RepoConfig

from millrace.core.clock import as_utc
from millrace.core.errors import DataError, did_you_mean

Bound = datetime | None


def is_parquet(source: Any) -> bool:
    """Whether a source is Parquet files, the only format that is read without Feast."""
    return isinstance(source, FileSource) and (
        source.file_format is None or isinstance(source.file_format, ParquetFormat)
    )


def read_source(
    config: RepoConfig, source: Any, columns: Sequence[str], event_time: str, start: Bound = None, end: Bound = None
) -> pa.Table:
    """Rows of a source with start <= event time <= end, in the order of the files.

    Parameters
    ----------
    columns : sequence of str
        As they are called in the source; each is read once.
    event_time : str
        One of them.

    Raises
    ------
    DataError
        FEAST-03 a kind of source that cannot be read here, FEAST-04 no such file, FEAST-05 no such column.
    """
    wanted = list(dict.fromkeys(columns))
    if is_parquet(source):
        data = _dataset(config, source)
        _check_columns(wanted, data.schema.names, source)
        kept = _within(data.schema.field(event_time).type, event_time, start, end)
        return data.to_table(columns=wanted, filter=kept)
    table = _read_through_feast(config, source)
    _check_columns(wanted, table.column_names, source)
    kept = _within(table.schema.field(event_time).type, event_time, start, end)
    table = table.select(wanted)
    return table if kept is None else table.filter(kept)


def source_columns(config: RepoConfig, source: Any) -> pa.Schema:
    """Names and types of a source's columns."""
    return _dataset(config, source).schema if is_parquet(source) else _read_through_feast(config, source).schema


def _dataset(config: RepoConfig, source: Any) -> Any:
    path = FileSource.get_uri_for_file_path(repo_path=config.repo_path, uri=source.path)
    filesystem, place = FileSource.create_filesystem_and_path(str(path), source.s3_endpoint_override)
    try:
        return ds.dataset(place, filesystem=filesystem, format="parquet", partitioning="hive")
    except (FileNotFoundError, pa.ArrowInvalid) as error:
        raise DataError(
            "FEAST-04",
            f"the source '{source.name}' cannot be read: {error}",
            where=str(path),
            fix="correct the path of the FileSource; a relative one starts at the repository's folder",
        ) from error


def _read_through_feast(config: RepoConfig, source: Any) -> pa.Table:
    # Importing Feast's DuckDB store takes a second: only who has such a source waits for it.
    from feast.infra.offline_stores.duckdb import _read_data_source

    try:
        return _read_data_source(source, str(config.repo_path)).to_pyarrow()
    except AssertionError as error:
        raise DataError(
            "FEAST-03",
            f"the source '{source.name}' is a {type(source).__name__}",
            why="this offline store reads files, and what Feast's own DuckDB store reads",
            fix="keep Feast's offline store for it; the online store of Millrace works with any",
        ) from error


def _check_columns(wanted: Sequence[str], present: Sequence[str], source: Any) -> None:
    findings = [
        DataError("FEAST-05", f"the source '{source.name}' has no column '{name}'", fix=did_you_mean(name, present))
        for name in wanted
        if name not in present
    ]
    if len(findings) == 1:
        raise findings[0]
    if findings:
        raise DataError(
            "FEAST-05", f"the source '{source.name}' lacks {len(findings)} columns", findings=list(findings)
        )


def _within(kind: pa.DataType, event_time: str, start: Bound, end: Bound) -> Any:
    if not pa.types.is_timestamp(kind):
        return None  # texts and dates are compared after they were read
    unit = pa.timestamp(kind.unit, kind.tz)
    kept = None
    for bound, compare in ((start, "__ge__"), (end, "__le__")):
        if bound is not None:
            moment = as_utc(bound).astimezone(UTC)
            edge = pa.scalar(moment if kind.tz else moment.replace(tzinfo=None), pa.timestamp("us", kind.tz))
            one = getattr(pc.field(event_time), compare)(edge.cast(unit, safe=False))
            kept = one if kept is None else kept & one
    return kept


def write_parquet(config: RepoConfig, source: Any, table: pa.Table, *, allow_overwrite: bool) -> None:
    """Write a table where a Feast source says, whole or not at all.

    Raises
    ------
    SavedDatasetLocationAlreadyExists
        When something is there and must not be replaced.
    DataError
        FEAST-03 for a source that is not Parquet files.
    """
    _require_parquet(source)
    filesystem, place, is_local = _place(config, source)
    is_there = filesystem.get_file_info(place).type.name != "NotFound"
    if is_there and not allow_overwrite:
        raise SavedDatasetLocationAlreadyExists(location=source.path)
    if place.endswith(".parquet"):
        if is_local:
            _replace(Path(place), table)
        else:
            pq.write_table(table, place, filesystem=filesystem)
    else:
        ds.write_dataset(
            table, place, filesystem=filesystem, format="parquet", existing_data_behavior="delete_matching"
        )


def append_parquet(config: RepoConfig, source: Any, table: pa.Table) -> None:
    """Add rows behind those that a source has. A folder gets a file more, a file is replaced by a longer one.

    Raises
    ------
    DataError
        FEAST-03 for a source that is not Parquet files, FEAST-06 when the columns are not those of the source.
    """
    _require_parquet(source)
    filesystem, place, is_local = _place(config, source)
    present = _dataset(config, source).schema
    ordered = _fitted(table, present, source)
    if filesystem.get_file_info(place).type.name == "Directory":
        pq.write_table(ordered, f"{place.rstrip('/')}/{_fresh_name()}", filesystem=filesystem)
    elif is_local:
        with _alone_in(Path(place).parent):
            before = pq.read_table(place)
            _replace(Path(place), pa.concat_tables([before, ordered.cast(before.schema)]))
    else:
        before = pq.read_table(place, filesystem=filesystem)
        pq.write_table(pa.concat_tables([before, ordered.cast(before.schema)]), place, filesystem=filesystem)


def append_to_folder(config: RepoConfig, destination: Any, table: pa.Table) -> None:
    """Add a file to a folder of logs, made if it is missing, split by the columns that the destination names."""
    filesystem, place = FileSource.create_filesystem_and_path(
        str(FileSource.get_uri_for_file_path(repo_path=config.repo_path, uri=destination.path)),
        destination.s3_endpoint_override,
    )
    pq.write_to_dataset(
        table,
        place,
        partition_cols=list(destination.partition_by or []) or None,
        filesystem=filesystem,
        basename_template=_fresh_name().replace(".parquet", "-{i}.parquet"),
    )


def _fitted(table: pa.Table, present: pa.Schema, source: Any) -> pa.Table:
    if set(table.column_names) != set(present.names):
        missing = sorted(set(present.names) - set(table.column_names))
        extra = sorted(set(table.column_names) - set(present.names))
        raise DataError(
            "FEAST-06",
            f"the rows for '{source.name}' do not have the source's columns",
            why="; ".join(
                f"{what}: {', '.join(names)}" for what, names in (("missing", missing), ("new", extra)) if names
            ),
            fix=f"give exactly {', '.join(present.names)}",
        )
    return table.select(present.names).cast(present)


def _place(config: RepoConfig, source: Any) -> tuple[Any, str, bool]:
    uri = str(FileSource.get_uri_for_file_path(repo_path=config.repo_path, uri=source.path))
    filesystem, place = FileSource.create_filesystem_and_path(uri, source.s3_endpoint_override)
    if filesystem is None:
        filesystem = pa.fs.LocalFileSystem()
    return filesystem, place, isinstance(filesystem, pa.fs.LocalFileSystem)


def _replace(path: Path, table: pa.Table) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    fresh = path.with_name(f".{path.name}.{uuid.uuid4().hex}")
    try:
        pq.write_table(table, fresh)
        os.replace(fresh, path)
    finally:
        fresh.unlink(missing_ok=True)


@contextmanager
def _alone_in(folder: Path) -> Iterator[None]:
    """Hold the folder's lock, so that two writers do not lose each other's rows."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


def _fresh_name() -> str:
    return f"{uuid.uuid4().hex}.parquet"


def _require_parquet(source: Any) -> None:
    if not is_parquet(source):
        raise DataError(
            "FEAST-03",
            f"'{getattr(source, 'name', source)}' is a {type(source).__name__}, and only Parquet is written",
            fix="use a FileSource, or keep Feast's offline store for it",
        )
