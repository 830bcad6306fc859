"""A stream judged as it comes: every row by itself, and the last rows as a batch."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

import pyarrow as pa

from millrace.core.errors import DataError
from millrace.validation.engine import validate
from millrace.validation.result import ValidationResult
from millrace.validation.rows.checker import Policy, RowChecker
from millrace.validation.rows.result import RowResult, RowRule
from millrace.validation.rows.types import form_of
from millrace.validation.scan.frames import to_table
from millrace.validation.suite import Suite


class StreamValidator:
    """Counts what the rows of a stream break, and judges the last of them by the whole suite.

    Parameters
    ----------
    suite : Suite
    window : int
        How many of the last rows `validate` judges; they are kept in memory.
    policy, types, parameters
        See `RowChecker`.

    Attributes
    ----------
    checker : RowChecker
    rows : int
        How many rows came.
    rejected, flagged : int
        How many of them were.
    failures : Counter
        By rule, how many of all rows break it.
    window_failures : Counter
        By rule, how many of the rows in the window break it.

    Raises
    ------
    DataError
        VALID-43 for a policy that does not exist, VALID-44 for a window of no row.

    >>> stream = StreamValidator(Suite("s").expect_column_mean_to_be_between("x", 0, 2), window=2)
    >>> for x in (9, 1, 2):
    ...     _ = stream.add({"x": x})
    >>> stream.rows, stream.validate().success
    (3, True)
    """

    def __init__(
        self,
        suite: Suite,
        *,
        window: int = 1000,
        policy: Policy = "reject",
        types: Mapping[str, pa.DataType] | None = None,
        parameters: Mapping[str, Any] | None = None,
    ) -> None:
        if isinstance(window, bool) or not isinstance(window, int) or window < 1:
            raise DataError("VALID-44", f"a window of {window!r} rows holds nothing to judge", fix="window=1000")
        self.checker = RowChecker(suite, policy=policy, types=types, parameters=parameters)
        self.rows = 0
        self.rejected = 0
        self.flagged = 0
        self.failures: Counter[RowRule] = Counter()
        self.window_failures: Counter[RowRule] = Counter()
        self._window: deque[RowResult] = deque()
        self._size = window

    def add(self, row: Mapping[str, Any]) -> RowResult:
        """Judge the next row, and count it. A row that is rejected counts too: it came."""
        found = self.checker.check(row)
        self.rows += 1
        self._window.append(found)
        if not found.is_clean:
            self.rejected += found.is_rejected
            self.flagged += found.is_flagged
            self.failures.update(found.broken)
            self.window_failures.update(found.broken)
        if len(self._window) > self._size:
            gone = self._window.popleft()
            if gone.broken:
                self.window_failures.subtract(gone.broken)
        return found

    def extend(self, rows: Iterable[Mapping[str, Any]]) -> list[RowResult]:
        """`add` each of a micro-batch."""
        return [self.add(row) for row in rows]

    def validate(self, *, at: datetime | None = None) -> ValidationResult:
        """What every rule of the suite finds in the rows of the window, as a batch: shares, means, uniqueness too."""
        table = rows_table([found.row for found in self._window], self.checker.types)
        return validate(table, self.checker.suite, at=at, parameters=self.checker.parameters)


def rows_table(rows: Iterable[Mapping[str, Any]], types: Mapping[str, pa.DataType] | None = None) -> pa.Table:
    """Rows as a table; its columns are in the order in which they first come, null where a row has none.

    A column whose every value fits the type in `types` has it; else the type that holds all of them, text where no
    other does.
    """
    given = list(rows)
    names = dict.fromkeys(name for row in given for name in row)
    columns = {str(name): [row.get(name) for row in given] for name in names}
    return to_table({name: _column(values, (types or {}).get(name)) for name, values in columns.items()})


def _column(values: list[Any], declared: pa.DataType | None) -> Any:
    if declared is None or not all(form_of(value, declared).is_declared for value in values):
        return values
    is_float = pa.types.is_floating(declared)
    return pa.array([float(one) if is_float and one is not None else one for one in values], declared, from_pandas=True)
