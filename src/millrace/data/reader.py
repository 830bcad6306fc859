"""The sources of one folder, to be read whole or piece by piece."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import pyarrow as pa

from millrace.data.read import read_source
from millrace.data.scan import Scan, scan_source


class SourceReader:
    """Reads sources whose relative paths start at `root`.

    Called, it is `read_source`; `scan` is `scan_source`. Sources are `Source`; rooms that know less of them
    may ask too.
    """

    def __init__(self, root: Path) -> None:
        self._root = root

    def __call__(self, source: Any, start: datetime | None, end: datetime | None) -> pa.Table:
        return read_source(source, root=self._root, start=start, end=end)

    def scan(self, source: Any, columns: Sequence[str] | None, start: datetime | None, end: datetime | None) -> Scan:
        """The rows with start <= event time < end, a piece at a time, with these columns."""
        return scan_source(source, columns, root=self._root, start=start, end=end)
