"""Where rows come from: the `Source` and the `Labels` a project names. Standard library only."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

from millrace.core.definition import caller_place, report
from millrace.core.duration import parse_duration
from millrace.core.errors import ProjectError, did_you_mean

Duration = str | int | float | timedelta

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]*")
IN_MEMORY = "(in memory)"
FILE_STORES = ("s3", "s3a", "s3n", "gs", "abfs", "abfss", "wasb", "wasbs", "hdfs", "viewfs", "dbfs", "file")
"""Schemes of addresses of files, which an engine of many machines reads."""
TYPES = ("int", "float", "bool", "string", "timestamp")
"""Types of `Source.schema`, each also as ``list[...]``."""


@dataclass(frozen=True, init=False)
class Source:
    """A named table outside Millrace.

    Parameters
    ----------
    name : str
        Letters, digits, ``_``, ``-`` and ``.``; how the ledger and the messages speak of it.
    path : str, Path or table
        A Parquet or CSV file, a folder of such files, a SQLAlchemy URL, or ``env:NAME`` for a URL that must not
        stand in a file. A relative path starts at the project's folder. Or the rows themselves: an Arrow, pandas or
        polars table, for notebooks. With an engine that reads there, files by address: ``s3a://lake/orders``.
    event_time : str, optional
        Column that says when a row's fact was true. Naive times are UTC.
    created : str, optional
        Column that says when a row became known.
    delay : duration, optional
        Rows become known this long after their event time.
    suite : str, Path or Suite, optional
        The expectations every batch must meet.
    columns : mapping or sequence of str, optional
        A mapping renames, our name to the file's name, and keeps the rest; a list keeps only those columns.
    query, table : str, optional
        What to read from a database: exactly one of them, with a URL only.
    schema : mapping of str to str, optional
        Column to type, as those of `Field`: what rows that are pushed must be, and what there is before the first.
    incidents : Incidents, optional
        What counts as a data incident of this source; the usual limits when None.
    description : str

    Raises
    ------
    ProjectError
        PROJ-20 (name), PROJ-21 (path), PROJ-22 (query and table), PROJ-23 (columns), PROJ-24 (times), PROJ-28
        (schema), DATA-50 (incidents).

    >>> Source("orders", "data/orders.parquet", event_time="ordered_at", delay="2h").delay
    datetime.timedelta(seconds=7200)
    """

    name: str
    path: str
    event_time: str | None
    created: str | None
    delay: timedelta
    suite: Any = field(hash=False)
    columns: Mapping[str, str] | Sequence[str] | None = field(hash=False)
    query: str | None
    table: str | None
    schema: Mapping[str, str] | None = field(hash=False)
    incidents: Any = field(hash=False)
    description: str
    frame: Any = field(repr=False, compare=False)
    place: str | None = field(repr=False, compare=False)

    def __init__(
        self,
        name: str,
        path: Any,
        *,
        event_time: str | None = None,
        created: str | None = None,
        delay: Duration | None = None,
        suite: Any = None,
        columns: Mapping[str, str] | Sequence[str] | None = None,
        query: str | None = None,
        table: str | None = None,
        schema: Mapping[str, str] | None = None,
        incidents: Any = None,
        description: str = "",
        place: str | None = None,
    ) -> None:
        facts: dict[str, Any] = {
            "name": name,
            "path": str(path) if isinstance(path, (str, Path)) else IN_MEMORY if is_table(path) else "",
            "frame": path if is_table(path) else None,
            "schema": schema,
            "event_time": event_time,
            "created": created,
            "delay": _span(delay, f"the delay of source {name!r}"),
            "suite": suite,
            "columns": columns,
            "query": query,
            "table": table,
            "incidents": incidents,
            "description": description,
            "place": place or caller_place(),
        }
        for key, value in facts.items():
            object.__setattr__(self, key, value)
        for problem in _problems(self):
            problem.where = self.place
            report(problem)

    @property
    def is_sql(self) -> bool:
        """Whether the rows stand in a database."""
        return is_url(self.path)

    @property
    def renames(self) -> dict[str, str]:
        """Our name to the file's name, for the columns that differ."""
        return dict(self.columns) if isinstance(self.columns, Mapping) else {}

    @property
    def kept(self) -> list[str] | None:
        """The columns to keep, None for all."""
        return None if self.columns is None or isinstance(self.columns, Mapping) else list(self.columns)


def PushSource(  # noqa: N802 - it makes a Source, and is Feast's name for one
    name: str,
    *,
    schema: Mapping[str, str],
    event_time: str,
    created: str | None = None,
    path: str | Path | None = None,
    suite: Any = None,
    description: str = "",
) -> Source:
    """A source whose rows are pushed, with a log of them in a folder that Millrace keeps.

    Parameters
    ----------
    schema : mapping of column to type
        As those of `Field`.
    path : str or Path, optional
        The folder of the log; ``.millrace/pushed/NAME`` in the project when None.

    >>> PushSource("clicks", schema={"user_id": "int", "at": "timestamp"}, event_time="at").path
    '.millrace/pushed/clicks'
    """
    return Source(
        name,
        f".millrace/pushed/{name}" if path is None else path,
        event_time=event_time,
        created=created,
        schema=schema,
        suite=suite,
        description=description,
        place=caller_place(),
    )


@dataclass(frozen=True, init=False)
class Labels:
    """What the model should have answered: one column of a source.

    Parameters
    ----------
    source : Source, str or Path
        A path makes a source named after the file.
    column : str
        The column with the answer.
    event_time : str, optional
        Column with the moment the label is about; the source's own by default.
    delay : duration, optional
        The label becomes known this long after that moment; the source's own by default.

    Raises
    ------
    ProjectError
        PROJ-25 when `source` or `column` is not usable, and those of `Source`.

    >>> Labels("data/churned.parquet", "churned", event_time="at", delay="30d").source.name
    'churned'
    """

    source: Source
    column: str
    event_time: str | None
    delay: timedelta
    place: str | None = field(repr=False, compare=False)

    def __init__(
        self,
        source: Source | str | Path,
        column: str,
        *,
        event_time: str | None = None,
        delay: Duration | None = None,
        place: str | None = None,
    ) -> None:
        where = place or caller_place()
        if not isinstance(source, Source):
            text = str(source)
            name = re.sub(r"[^A-Za-z0-9_.-]", "_", Path(text).stem) if not is_url(text) else "labels"
            source = Source(name or "labels", text, event_time=event_time, delay=delay, place=where)
        object.__setattr__(self, "source", source)
        object.__setattr__(self, "column", column)
        object.__setattr__(self, "event_time", event_time or source.event_time)
        span = source.delay if delay is None else _span(delay, f"the delay of labels {column!r}")
        object.__setattr__(self, "delay", span)
        object.__setattr__(self, "place", where)
        if not isinstance(column, str) or not column:
            report(ProjectError("PROJ-25", f"the label column {column!r} is not a column name", where=where))


def is_table(value: Any) -> bool:
    """Whether `value` holds rows itself: an Arrow, pandas or polars table."""
    return hasattr(value, "__arrow_c_stream__")


def is_url(path: str) -> bool:
    """Whether `path` names a database: a URL, or the environment variable that holds one.

    >>> is_url("env:ORDERS_URL"), is_url("sqlite:///orders.db"), is_url("orders.csv"), is_url("s3a://lake/orders")
    (True, True, False, False)
    """
    scheme, sign, _ = path.partition("://")
    return path.startswith(("env:", "jdbc:")) or (bool(sign) and scheme not in FILE_STORES)


def _span(delay: Duration | None, what: str) -> timedelta:
    if delay is None:
        return timedelta(0)
    try:
        return parse_duration(delay, what=what)
    except ProjectError as problem:
        report(problem)
        return timedelta(0)


def _problems(source: Source) -> list[ProjectError]:
    found = []
    if not isinstance(source.name, str) or not _NAME.fullmatch(source.name):
        found.append(
            ProjectError(
                "PROJ-20",
                f"the source name {source.name!r} is not a name",
                fix="use letters, digits, '_', '-' and '.', and start with a letter",
            )
        )
    if source.path in ("", ".", "env:"):
        found.append(
            ProjectError(
                "PROJ-21",
                f"source {source.name!r} has no path",
                fix="give a Parquet or CSV file, a folder of them, a SQLAlchemy URL or env:NAME",
            )
        )
    if source.incidents is not None and not hasattr(source.incidents, "min_history"):
        found.append(
            ProjectError(
                "DATA-50",
                f"incidents={source.incidents!r} of source {source.name!r} are no limits of incidents",
                fix='write incidents=mr.Incidents(max_age="2d")',
            )
        )
    found += _query_problems(source) + _column_problems(source) + _schema_problems(source)
    return found + _time_problems(source)


def _schema_problems(source: Source) -> list[ProjectError]:
    allowed = [*TYPES, *(f"list[{name}]" for name in TYPES)]
    schema = {} if source.schema is None else dict(source.schema)
    found = [
        ProjectError(
            "PROJ-28",
            f"column '{name}' of source '{source.name}' has the type {dtype!r}",
            fix=did_you_mean(str(dtype), allowed),
        )
        for name, dtype in schema.items()
        if dtype not in allowed
    ]
    found += [
        ProjectError(
            "PROJ-28",
            f"the schema of source '{source.name}' has no column '{column}', its {role}",
            fix=did_you_mean(column, schema),
        )
        for role, column in (("event_time", source.event_time), ("created", source.created))
        if schema and column is not None and column not in schema
    ]
    return found


def _query_problems(source: Source) -> list[ProjectError]:
    given = [name for name in ("query", "table") if getattr(source, name)]
    if source.is_sql and len(given) != 1:
        what = "both query= and table=" if given else "neither query= nor table="
        return [
            ProjectError(
                "PROJ-22",
                f"source {source.name!r} reads a database and has {what}",
                fix="give exactly one: table='orders', or query='SELECT ...'",
            )
        ]
    if given and not source.is_sql:
        return [
            ProjectError(
                "PROJ-22",
                f"source {source.name!r} reads a file, which takes no {given[0]}=",
                fix=f"drop {given[0]}=, or give a SQLAlchemy URL as the path",
            )
        ]
    return []


def _column_problems(source: Source) -> list[ProjectError]:
    columns = source.columns
    if columns is None:
        return []
    names: list[Any] = [*columns, *columns.values()] if isinstance(columns, Mapping) else list(columns)
    if isinstance(columns, str) or not names or not all(isinstance(name, str) and name for name in names):
        return [
            ProjectError(
                "PROJ-23",
                f"columns={columns!r} of source {source.name!r} is neither names to keep nor renames",
                fix="write ['a', 'b'] to keep columns, or {'our_name': 'file name'} to rename them",
            )
        ]
    listed = list(columns.values()) if isinstance(columns, Mapping) else names
    twice = sorted({name for name in listed if listed.count(name) > 1})
    if twice:
        return [ProjectError("PROJ-23", f"columns of source {source.name!r} names {twice} more than once")]
    return []


def _time_problems(source: Source) -> list[ProjectError]:
    found = []
    if source.delay < timedelta(0):
        found.append(ProjectError("PROJ-24", f"the delay of source {source.name!r} is negative: rows from the future"))
    if source.delay and source.event_time is None:
        found.append(
            ProjectError(
                "PROJ-24",
                f"source {source.name!r} has a delay but no event_time to count it from",
                fix="name the column: event_time='...'",
            )
        )
    kept = source.kept if not isinstance(source.columns, str) else None
    for role in ("event_time", "created"):
        column = getattr(source, role)
        if column is not None and kept is not None and column not in kept:
            found.append(
                ProjectError(
                    "PROJ-24",
                    f"{role} {column!r} of source {source.name!r} is not among the columns it keeps",
                    fix=f"add {column!r} to columns=",
                )
            )
    return found
