"""Rows split by key into buckets, each small enough to work on; what does not fit in memory waits on disk."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

import numpy as np
import pyarrow as pa

from millrace.features.columns import Ints
from millrace.features.workspace import Workspace

_PEAK = 8
"""Working on a bucket takes about so many times what its rows take."""
_HELD = 0.25
"""The part of the memory that rows may take before they go to disk."""
_MOST = 1024


def count_buckets(size: int, limit: int) -> int:
    """How many buckets rows of `size` bytes need, to be worked on one by one within `limit` bytes."""
    return min(max(1, -(-size * _PEAK // max(limit, 1))), _MOST)


def places_by_key(keys: Sequence[pa.Array], rows: int, count: int) -> Ints:
    """A bucket for every row; rows with equal keys are in one bucket, also those of another piece."""
    if count == 1 or not keys:
        return np.zeros(rows, dtype=np.int64)
    import polars as pl  # half of what importing the feature store costs, and lookups need none of it

    frame = pl.DataFrame({str(place): pl.from_arrow(array) for place, array in enumerate(keys)})
    return (frame.hash_rows(seed=0) % count).to_numpy().astype(np.int64)


class Buckets:
    """Rows by bucket, in the order they were added. Open one with `open_buckets`.

    Parameters
    ----------
    count : int
    limit : int
        Bytes that rows may take in memory.
    """

    def __init__(self, count: int, limit: int, workspace: Workspace, opened: ExitStack) -> None:
        self.count = count
        self._limit = limit
        self._held = 0
        self._rows: list[list[pa.Table]] = [[] for _ in range(count)]
        self._workspace = workspace
        self._opened = opened
        self._folder: Path | None = None
        self._files: dict[int, pa.ipc.RecordBatchStreamWriter] = {}

    @property
    def is_on_disk(self) -> bool:
        """Whether some rows did not fit in memory."""
        return self._folder is not None

    def add(self, table: pa.Table, places: Ints | None = None) -> None:
        """Put rows into buckets; -1 for a row that nobody needs, None: all into the only bucket."""
        if places is None:
            self._rows[0].append(table)
            return
        # Few numbers, in 16 bits: NumPy sorts these in a single pass, and equal ones stay in their order.
        order = np.argsort(places.astype(np.int16), kind="stable")
        bounds = np.searchsorted(places[order], np.arange(self.count + 1))
        sorted_rows = table.take(pa.array(order[bounds[0] :])) if len(order) > bounds[0] else table.slice(0, 0)
        bounds -= bounds[0]
        for number in range(self.count):
            if bounds[number + 1] > bounds[number]:
                self._rows[number].append(sorted_rows.slice(bounds[number], bounds[number + 1] - bounds[number]))
        self._held += sorted_rows.nbytes
        if self._held > self._limit:
            self._put_aside()

    def take(self, number: int, empty: pa.Table) -> pa.Table:
        """The rows of a bucket, once; `empty` when there are none."""
        tables, self._rows[number] = self._rows[number], []
        file = self._files.pop(number, None)
        if file is None or self._folder is None:
            return pa.concat_tables(tables) if tables else empty
        for table in tables:
            file.write_table(table)
        file.close()
        path = self._folder / str(number)
        with pa.memory_map(str(path)) as source:
            found = pa.ipc.open_stream(source).read_all()
        path.unlink()  # what is mapped can still be read
        return found

    def _put_aside(self) -> None:
        if self._folder is None:
            self._folder = self._opened.enter_context(self._workspace.spill())
            self._opened.callback(self._close)
        for number, tables in enumerate(self._rows):
            if not tables:
                continue
            if number not in self._files:
                self._files[number] = pa.ipc.new_stream(str(self._folder / str(number)), tables[0].schema)
            self._files[number].write_table(pa.concat_tables(tables).combine_chunks())  # few large batches
            tables.clear()
        self._held = 0

    def _close(self) -> None:
        for file in self._files.values():
            file.close()


@contextmanager
def open_buckets(count: int, workspace: Workspace) -> Iterator[Buckets]:
    """`count` empty buckets. Rows that must be put aside are gone from the disk afterwards.

    Raises
    ------
    DataError
        FEAT-14 when the disk is full.
    """
    with ExitStack() as opened:
        yield Buckets(count, int(workspace.limit() * _HELD), workspace, opened)
