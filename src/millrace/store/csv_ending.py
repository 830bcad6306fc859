"""Whether a CSV file ends within quotes: all that followed the open one is read as a single value, without an error.

Standard library only.
"""

from __future__ import annotations

import gzip
from pathlib import Path
from typing import Any

_LONGEST_NUMBER = 1 << 10
"""Bytes of a last line that does not end in a text."""


def ends_within_quotes(file: Path, last: Any, *, is_only_column: bool) -> bool:
    """Whether the last value of `file` opens a quote that nothing closes.

    Parameters
    ----------
    file : path
        A CSV file with rows, plain or compressed by gzip.
    last : value
        What was read for the last column of the last row.
    is_only_column : bool
        Nothing but a line feed can then stand before the quote.
    """
    if not isinstance(last, str):
        field = _tail(file, _LONGEST_NUMBER).rpartition(b"\n")[2].rpartition(b",")[2]
        return field.startswith(b'"') and (len(field) == 1 or not field.endswith(b'"'))
    if is_only_column and not last.strip():
        return False  # a quoted line feed, or the rest after an open quote: both are written alike
    opened = b'"' + last.encode().replace(b'"', b'""')
    tail = _tail(file, len(opened) + 1)
    return tail[1:] == opened and tail[:1] in ((b"\n", b"\r") if is_only_column else (b",",))


def _tail(file: Path, size: int) -> bytes:
    """The last `size` bytes of what the file holds."""
    if file.suffix == ".gz":
        kept = b""
        with gzip.open(file) as stream:
            while piece := stream.read(1 << 22):
                kept = (kept + piece)[-size:]
        return kept
    with file.open("rb") as plain:
        plain.seek(max(0, file.stat().st_size - size))
        return plain.read()
