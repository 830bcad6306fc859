"""From the columns of files to the columns of a source: partitions, renames, kept columns, one type for all files."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import unquote

import pyarrow as pa

from millrace.core.errors import DataError, did_you_mean
from millrace.data.source import Source

_NO_VALUE = "__HIVE_DEFAULT_PARTITION__"


def partition_of(file: Path, folder: Path) -> dict[str, str | None]:
    """The parts ``name=value`` of the path below `folder`; none when `folder` is the file itself.

    A value is None where the writer had none, for which Hive, Spark and Arrow write ``__HIVE_DEFAULT_PARTITION__``.
    """
    if file == folder:
        return {}
    pairs = (part.partition("=") for part in file.relative_to(folder).parts[:-1])
    return {name: None if value == _NO_VALUE else unquote(value) for name, sign, value in pairs if sign}


def with_partition(table: pa.Table, partition: dict[str, str | None]) -> pa.Table:
    """`table` with the parts of its path as columns, where it has none of that name."""
    for name, value in partition.items():
        if name not in table.column_names:
            table = table.append_column(name, pa.array([value] * table.num_rows, pa.string()))
    return table


@contextmanager
def fitting_together(folder: Path) -> Iterator[None]:
    """Files whose types differ are DATA-07."""
    try:
        yield
    except (pa.ArrowInvalid, pa.ArrowTypeError) as error:
        raise DataError(
            "DATA-07",
            f"the files of '{folder.name}' do not fit together: {str(error).splitlines()[0]}",
            where=str(folder),
            why="a column has another type in one file than in the others",
            fix="write the differing file again with the types of the others",
        ) from error


def shape(source: Source, table: pa.Table) -> pa.Table:
    """`table` with the columns of `source` under our names.

    Raises
    ------
    DataError
        DATA-02 for columns that are not there, DATA-11 for a rename onto a name in use.
    """
    wanted = source.kept if source.kept is not None else list(source.renames.values())
    for role in (source.event_time, source.created):
        name = file_name(source, role)
        if name is not None and name not in wanted:
            wanted.append(name)
    missing = [_missing(name, table) for name in wanted if name not in table.column_names]
    if len(missing) == 1:
        raise missing[0]
    if missing:
        raise DataError("DATA-02", f"{len(missing)} columns are missing", findings=missing)
    if source.kept is not None:
        return table.select(source.kept)
    ours = {theirs: our for our, theirs in source.renames.items()}
    names = [ours.get(name, name) for name in table.column_names]
    twice = sorted({name for name in names if names.count(name) > 1})
    if ours and twice:
        raise DataError(
            "DATA-11",
            f"after renaming, the columns {twice} are there twice",
            fix="rename the other one too in columns=, or list only the columns to keep",
        )
    return table.rename_columns(names)


def _missing(name: str, table: pa.Table) -> DataError:
    return DataError(
        "DATA-02",
        f"there is no column '{name}'",
        why=f"the columns are: {', '.join(table.column_names)}",
        fix=did_you_mean(name, table.column_names),
    )


def decode(table: pa.Table) -> pa.Table:
    """`table` with the values of dictionary columns."""
    for index, field in enumerate(table.schema):
        if pa.types.is_dictionary(field.type):
            table = table.set_column(index, field.name, table.column(index).cast(field.type.value_type))
    return table


def file_name(source: Source, column: str | None) -> str | None:
    """What the files call a column of `source`."""
    return None if column is None else source.renames.get(column, column)


def shown_path(source: Source) -> str:
    """The path of `source` as a message may show it."""
    # A URL may hold a password: only what stands before it is shown.
    return source.path if "://" not in source.path else f"{source.path.split('://', 1)[0]}://..."
