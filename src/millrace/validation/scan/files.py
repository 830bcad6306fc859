"""From a path to the Parquet or CSV files behind it."""

from __future__ import annotations

from pathlib import Path

from millrace.core.errors import DataError, did_you_mean, nearest
from millrace.validation.scan.plain_parquet import open_plain
from millrace.validation.scan.polars_backend import Columns

_PARQUET = (".parquet", ".pq")
_CSV = (".csv", ".csv.gz")


def open_files(path: Path) -> Columns:
    """The rows of a file, of every file below a folder, or of those that a pattern such as ``day=*/*.parquet`` names.

    Files whose name begins with ``.`` or ``_`` (markers of other writers) are left out of a folder.

    Raises
    ------
    DataError
        VALID-11 when nothing is there; VALID-14 when what is there is neither Parquet nor CSV, or is of both kinds;
        VALID-10, VALID-12 and VALID-13 when it cannot be read.
    """
    root = _root(path)
    files = _files(path, root)
    kinds = {_kind(file) for file in files}
    if len(kinds) > 1 or None in kinds:
        odd = next((file for file in files if _kind(file) is None), files[0])
        raise DataError(
            "VALID-14",
            f"'{odd.name}' is neither Parquet nor CSV" if None in kinds else f"'{path.name}' holds Parquet and CSV",
            where=str(path),
            fix=f"name files that end in one of {', '.join(_PARQUET + _CSV)}",
        )
    if kinds == {"csv"}:
        from millrace.validation.scan.csv_columns import open_csv

        return open_csv(files)
    plain = open_plain(files[0]) if files == [root] else None
    if plain is not None:
        return plain
    from millrace.validation.scan.parquet_columns import ParquetColumns

    return ParquetColumns(files, root)


def _files(path: Path, root: Path) -> list[Path]:
    if path.is_file():
        return [path]
    if path.is_dir():
        found = [file for file in path.rglob("*") if file.is_file() and _kind(file) is not None]
    else:
        found = [file for file in root.glob(str(path.relative_to(root))) if file.is_file()] if root != path else []
    kept = sorted(file for file in found if not _is_hidden(file.relative_to(root)))
    if not kept:
        raise _nothing_there(path)
    return kept


def _root(path: Path) -> Path:
    if path.exists():
        return path
    for part in path.parents:
        if not any(sign in str(part) for sign in "*?["):
            return part
    return path


def _kind(file: Path) -> str | None:
    name = file.name.lower()
    if name.endswith(_PARQUET):
        return "parquet"
    return "csv" if name.endswith(_CSV) else None


def _is_hidden(path: Path) -> bool:
    return any(part.startswith((".", "_")) for part in path.parts)


def _nothing_there(path: Path) -> DataError:
    if path.is_dir():
        return DataError(
            "VALID-11",
            f"the folder '{path.name}' holds no Parquet or CSV file",
            where=str(path),
            fix=f"put files there that end in one of {', '.join(_PARQUET + _CSV)}",
        )
    names = [entry.name for entry in path.parent.iterdir()] if path.parent.is_dir() else []
    close = nearest(path.name, names)
    return DataError(
        "VALID-11",
        f"there is no file '{path.name}' in {path.parent}",
        where=str(path),
        fix=did_you_mean(path.name, names) if close or 0 < len(names) <= 12 else "check the path",
    )
