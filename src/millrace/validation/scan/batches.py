"""Rows in any form as a backend that rules can ask. What one form needs is loaded only for it."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from typing import Any

from millrace.core.plugins import load_plugin
from millrace.validation.backend import Backend
from millrace.validation.scan.files import open_files
from millrace.validation.scan.polars_backend import PolarsBackend


def open_batch(data: Any) -> Backend:
    """Rows in any form as a backend. Nothing is read that no rule asks for.

    Raises
    ------
    DataError
        VALID-05 for anything that is not a table; VALID-10 to VALID-13 for files that cannot be read.
    """
    if hasattr(data, "compute") and hasattr(data, "unsupported"):
        backend: Backend = data
        return backend
    if isinstance(data, (str, Path)):
        return PolarsBackend(open_files(Path(data)))
    if hasattr(data, "is_sql"):
        return _open_source(data)
    if type(data).__module__.startswith("pyspark.sql"):
        spark: Backend = load_plugin("batches", "spark")(data)
        return spark
    from millrace.validation.scan.frames import columns_of

    return PolarsBackend(columns_of(data))


def open_within(stack: ExitStack, data: Any) -> Backend:
    """`open_batch`; what holds a connection is closed with `stack`."""
    backend = open_batch(data)
    close = getattr(backend, "close", None)
    if close is not None:
        stack.callback(close)
    return backend


def _open_source(source: Any) -> Backend:
    """A `Source`, which belongs to another room: judged where it is in a database, read where it is a file."""
    if source.is_sql:
        backend: Backend = load_plugin("batches", "sql")(source)
        return backend
    if source.frame is not None and source.columns is None:
        return open_batch(source.frame)
    return open_batch(load_plugin("sources", "files")(source, root=Path.cwd()))
