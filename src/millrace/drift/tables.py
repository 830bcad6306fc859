"""Tables of any library as Arrow's."""

from __future__ import annotations

from pathlib import PurePath
from typing import Any

import pyarrow as pa

from millrace.core.errors import DataError


def as_table(data: Any) -> pa.Table:
    """Any Arrow-speaking table (pandas, polars, pyarrow, DuckDB) as a pyarrow.Table.

    Raises
    ------
    DataError
        DRIFT-01 when it is no table, or holds a column of mixed types.
    """
    if isinstance(data, pa.Table):
        return data
    if type(data).__name__ == "LazyFrame" and type(data).__module__.startswith("polars."):
        data = data.collect()
    try:
        return pa.table(data)
    except (pa.ArrowException, TypeError, ValueError, AttributeError) as error:
        raise DataError(
            "DRIFT-01",
            f"{type(data).__name__} cannot be read as a table",
            why=None if isinstance(data, (str, PurePath)) else str(error),
            fix=_of_path(data)
            if isinstance(data, (str, PurePath))
            else "pass a pandas, polars or pyarrow table with one type in each column",
        ) from error


def _of_path(path: str | PurePath) -> str:
    if str(path).endswith(".json"):
        return f"a profile is loaded first: ReferenceProfile.load({str(path)!r})"
    reader = "read_csv" if str(path).endswith((".csv", ".csv.gz")) else "read_parquet"
    return f"read it first: polars.{reader}({str(path)!r}); files are compared by `millrace data drift`"
