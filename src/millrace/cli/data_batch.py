"""The batch that a `millrace data` command names: a file, which needs no project, or a source of the project."""

from __future__ import annotations

import argparse
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from millrace.cli.options import open_project
from millrace.core.errors import DataError, did_you_mean

if TYPE_CHECKING:
    import pyarrow as pa

    from millrace.data.source import Source
    from millrace.validation.suite import Suite


def read_batch(options: argparse.Namespace) -> tuple[pa.Table, Suite]:
    """The rows of `options.batch`, and the suite that judges them: the one named, else the source's own."""
    from millrace.data.location import file_kind
    from millrace.validation.suite import Suite

    given = Suite.load(options.suite) if options.suite else None
    path = Path(options.batch)
    if path.is_file() or file_kind(path) is not None or len(path.parts) > 1:
        if given is None:
            raise _no_suite(f"'{path.name}' is a file, and no suite was named")
        return read_file(options.batch), given
    project = open_project(options)
    if path.is_dir() and options.batch not in project.sources and given is not None:
        return read_file(options.batch), given
    source = find_source(options.batch, project.sources)
    own = source.suite
    if given is None and own is None:
        raise _no_suite(f"the source '{source.name}' has no suite, and none was named")
    suite = given or (own if isinstance(own, Suite) else Suite.load(project.root / own))
    return _read_until_now(source, project.root), suite


def _read_until_now(source: Source, root: Path) -> pa.Table:
    from millrace.core.clock import SystemClock
    from millrace.data.read import read_source

    return read_source(source, root=root, end=SystemClock().now() if source.event_time else None)


def read_file(path: str) -> pa.Table:
    """The rows of a Parquet or CSV file, or a folder of them."""
    from millrace.data.read import read_source
    from millrace.data.source import Source

    name = re.sub(r"[^A-Za-z0-9_.-]", "_", Path(path).stem)
    return read_source(Source(f"file_{name}", path, place="command line"), root=Path.cwd())


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
