"""The batch that a `millrace data` command names: a file, which needs no project, or a source of the project."""

from __future__ import annotations

import argparse
import errno
import os
import re
import stat
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from millrace.cli.options import open_project
from millrace.core.errors import DataError, ProjectError, did_you_mean

if TYPE_CHECKING:
    import pyarrow as pa

    from millrace.data.scan import Scan
    from millrace.data.source import Source
    from millrace.validation.csv_pieces import CsvPieces
    from millrace.validation.suite import Suite


_MUST_BE_READ = ("VALID-30", "VALID-32")
"""What the adapter says of a database that does not judge suites, and of times it cannot bound."""


@dataclass(frozen=True)
class NamedBatch:
    """What a command is to look at. Rows of a source are those of events up to now."""

    source: Source
    root: Path
    end: datetime | None
    is_file: bool

    def read(self) -> pa.Table:
        """All rows. Raises as `read_source`."""
        from millrace.data.read import read_source

        return read_source(self.source, root=self.root, end=self.end)

    def read_columns(self, chosen: Callable[[pa.Schema], list[str]]) -> pa.Table:
        """All rows, and of Parquet files only the columns that `chosen` picks from the schema."""
        import pyarrow as pa

        from millrace.data.scan import scan_source

        whole = scan_source(self.source, root=self.root, end=self.end)
        names = chosen(whole.schema)
        narrow = scan_source(self.source, names, root=self.root, end=self.end) if names else whole
        pieces = [piece.select([name for name in names if name in piece.column_names]) for piece in narrow.pieces()]
        return pa.concat_tables(pieces) if pieces else whole.schema.empty_table().select(names)

    def where_it_is(self) -> Any:
        """What `validate` takes: the path of files, which it scans; a database that can judge; else the rows."""
        if self.is_file:
            return self._path()
        if self.source.is_sql:
            from millrace.core.plugins import load_plugin

            try:
                return load_plugin("batches", "sql")(self.source, root=self.root, end=self.end)
            except DataError as error:
                if error.code not in _MUST_BE_READ:
                    raise
        return self.read()

    def _path(self) -> Path:
        from millrace.data.location import data_files

        path = self.root / self.source.path
        if not (path.exists() or set(self.source.path) & set("*?[")):
            data_files(path)  # raises with what is near
        return path

    def scan(self) -> Scan | CsvPieces:
        """The rows piece by piece. Raises as `scan_source`; of large CSV files as `large_csv`."""
        from millrace.data.location import data_files, file_kind
        from millrace.data.scan import scan_source

        if self.is_file and not set(self.source.path) & set("*?["):
            files = data_files(self.root / self.source.path)
            if {file_kind(file) for file in files} == {"csv"}:
                from millrace.validation.csv_pieces import large_csv

                large = large_csv(files)
                if large is not None:
                    return large
        return scan_source(self.source, root=self.root, end=self.end)


def find_batch(options: argparse.Namespace) -> NamedBatch:
    """The file or the source that `options.batch` names; a folder that is no source is a folder of files.

    Raises
    ------
    DataError
        DATA-43 when it is neither; VALID-72 as `file_batch`.
    ProjectError
        Those of `load_project`, when it can only be a source.
    """
    from millrace.core.clock import SystemClock
    from millrace.data.location import data_files, file_kind

    if not options.batch.strip():
        raise DataError("DATA-43", "the name of the file or source is empty", fix="name a file, a folder or a source")
    path = Path(options.batch)
    refuse_unreadable(path)
    if path.is_file() or set(options.batch) & set("*?[") or file_kind(path) is not None or len(path.parts) > 1:
        return file_batch(options.batch)
    try:
        project = open_project(options)
    except ProjectError as error:
        if error.code != "PROJ-01":
            raise
        if path.is_dir():
            return file_batch(options.batch)
        if path.exists():
            data_files(path)  # raises with what it is instead
        raise DataError(
            "DATA-43",
            f"there is no file '{options.batch}' here, and no source: this is no project",
            where=str(Path.cwd()),
            fix=did_you_mean(options.batch, [entry.name for entry in Path.cwd().iterdir()]),
        ) from error
    if path.is_dir() and options.batch not in project.sources:
        return file_batch(options.batch)
    source = find_source(options.batch, project.sources)
    return NamedBatch(source, project.root, SystemClock().now() if source.event_time else None, is_file=False)


def read_batch(options: argparse.Namespace) -> tuple[Any, Suite]:
    """What `validate` takes for `options.batch`, and the suite that judges it: the one named, else the source's own."""
    from millrace.validation.suite import Suite

    given = Suite.load(options.suite) if options.suite else None
    batch = find_batch(options)
    own = batch.source.suite
    if given is None and batch.is_file:
        raise _no_suite(f"'{Path(options.batch).name}' is a file, and no suite was named")
    if given is None and own is None:
        raise _no_suite(f"the source '{batch.source.name}' has no suite, and none was named")
    suite = given or (own if isinstance(own, Suite) else Suite.load(batch.root / own))
    return batch.where_it_is(), suite


def file_batch(path: str) -> NamedBatch:
    """The rows of a Parquet or CSV file, or a folder of them. Raises as `refuse_unreadable`."""
    from millrace.data.source import Source

    refuse_unreadable(Path(path))
    path = str(Path.cwd()) if Path(path) == Path() else path
    name = re.sub(r"[^A-Za-z0-9_.-]", "_", Path(path).stem)
    return NamedBatch(Source(f"file_{name}", path, place="command line"), Path.cwd(), None, is_file=True)


def refuse_unreadable(path: Path) -> None:
    """Raises DataError VALID-72 for what is there and cannot be read as a file or a folder."""
    try:
        mode = path.stat().st_mode
    except (FileNotFoundError, NotADirectoryError):
        if not path.is_symlink():
            return  # whoever looks for it says what is near
        reason: str | None = "it is a link to a file that is not there"
    except (OSError, ValueError) as error:
        reason = str(getattr(error, "strerror", None) or error)
    else:
        is_folder = stat.S_ISDIR(mode)
        needed = os.R_OK | os.X_OK if is_folder else os.R_OK
        reason = None if os.access(path, needed) else os.strerror(errno.EACCES)
        if not (is_folder or stat.S_ISREG(mode)):
            reason = "it is neither a file nor a folder, and what flows by cannot be read twice"
    if reason is not None:
        is_forbidden = reason == os.strerror(errno.EACCES)
        raise DataError(
            "VALID-72",
            f"'{path}' cannot be read: {reason}",
            fix="ask its owner for the right to read it" if is_forbidden else "name a file or a folder",
        )


def read_file(path: str) -> pa.Table:
    """`file_batch`, read."""
    return file_batch(path).read()


def find_source(name: str, sources: Any) -> Source:
    """A source of the project. Raises DataError DATA-43 with the nearest name."""
    if name not in sources:
        raise DataError(
            "DATA-43", f"'{name}' is neither a file nor a source of the project", fix=did_you_mean(name, sources)
        )
    found: Source = sources[name]
    return found


def _no_suite(what: str) -> DataError:
    return DataError("VALID-04", what, fix="name one: --suite suites/NAME.json")
