"""From a source's path to the files behind it."""

from __future__ import annotations

import os
from pathlib import Path

from millrace.core.errors import DataError, did_you_mean, nearest

PARQUET = (".parquet", ".pq")
CSV = (".csv", ".csv.gz")


def resolve_url(path: str) -> str:
    """The URL itself, or the value of the variable that ``env:NAME`` names.

    Raises
    ------
    DataError
        DATA-10 when the variable is not set.
    """
    if not path.startswith("env:"):
        return path
    name = path.removeprefix("env:")
    value = os.environ.get(name, "")
    if not value:
        raise DataError(
            "DATA-10",
            f"the environment variable {name} is not set",
            why="the source takes its database URL from it, so that no secret stands in a file",
            fix=f"export {name}=dialect://user:password@host/database",
        )
    return value


def data_files(path: Path) -> list[Path]:
    """The files to read, in order of their names: the file itself, or every data file below the folder.

    Hidden files and those that begin with ``_`` (markers of other writers) are left out.

    Raises
    ------
    DataError
        DATA-01 when nothing is at `path`; DATA-03 when what is there is neither Parquet nor CSV.
    """
    if path.is_file():
        if file_kind(path) is None:
            raise DataError(
                "DATA-03",
                f"'{path.name}' is neither Parquet nor CSV",
                where=str(path),
                fix=f"give a file that ends in one of {', '.join(PARQUET + CSV)}",
            )
        return [path]
    if not path.is_dir():
        raise missing_file(path)
    found = sorted(
        file
        for file in path.rglob("*")
        if file.is_file() and file_kind(file) is not None and not _is_hidden(file.relative_to(path))
    )
    if not found:
        raise DataError(
            "DATA-03",
            f"the folder '{path.name}' holds no Parquet or CSV file",
            where=str(path),
            fix=f"put files there that end in one of {', '.join(PARQUET + CSV)}",
        )
    return found


def holds_files(path: Path) -> bool:
    """Whether there is anything to read at `path`: a file, or a folder with a data file below it."""
    return path.is_file() or any(
        file_kind(file) is not None and not _is_hidden(file.relative_to(path)) for file in path.rglob("*")
    )


def file_kind(path: Path) -> str | None:
    """``parquet``, ``csv``, or None for anything else."""
    name = path.name.lower()
    if name.endswith(PARQUET):
        return "parquet"
    return "csv" if name.endswith(CSV) else None


def missing_file(path: Path) -> DataError:
    """DATA-01 with the nearest name that does exist."""
    folder = path.parent
    while not folder.exists() and folder != folder.parent:
        folder = folder.parent
    if folder != path.parent:
        wanted = path.relative_to(folder).parts[0]
        what = f"there is no folder '{wanted}' in {folder}"
    else:
        wanted = path.name
        what = f"there is no file '{wanted}' in {folder}"
    names = [entry.name for entry in folder.iterdir() if not entry.name.startswith(".")]
    # A folder of thousands of files helps nobody as a list: name the nearest, or say nothing.
    fix = did_you_mean(wanted, names) if len(names) <= 12 or nearest(wanted, names) else "check the path"
    if wanted.endswith(":"):  # the scheme of an address
        fix = "files there are read by an engine such as Spark; see docs/offline-engines.md"
    return DataError("DATA-01", what, where=str(path), fix=fix)


def _is_hidden(path: Path) -> bool:
    return any(part.startswith((".", "_")) for part in path.parts)
