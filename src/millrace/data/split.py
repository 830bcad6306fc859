"""Which rows train and which rows judge: splits and windows."""

from __future__ import annotations

from datetime import datetime, timedelta

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from millrace.core.clock import as_utc
from millrace.core.duration import format_duration, parse_duration
from millrace.core.errors import DataError
from millrace.data.times import between, normalise_times


def split_by_time(
    table: pa.Table, event_time: str, test_share: float, gap: timedelta = timedelta(0)
) -> tuple[pa.Table, pa.Table]:
    """(train, test): every row of `test` is later than every row of `train`; both keep their order.

    Rows of one moment stay together, so `test` holds at least the newest `test_share` of the rows.

    Parameters
    ----------
    gap : timedelta
        Rows less than this before the first of `test` are on neither side: a label that takes so long to become
        known would tell `train` what happened in the time of `test`.

    Raises
    ------
    DataError
        DATA-12 when `test_share` is not between 0 and 1; DATA-13 when one side would be empty.
    """
    _check_share(test_share)
    times = normalise_times(table, event_time).column(event_time)
    rows = table.num_rows
    if rows >= 2:
        micros = times.cast(pa.int64()).to_numpy()
        # ceil, less the rounding of products such as 0.7 * 10
        wanted = max(1, int(np.ceil(rows * test_share - 1e-9)))
        cut = np.partition(micros, rows - wanted)[rows - wanted]
        is_test = pa.array(micros >= cut)
        is_known = pa.array(micros <= cut - round(gap.total_seconds() * 1_000_000))
        train, test = table.filter(pc.and_(pc.invert(is_test), is_known)), table.filter(is_test)
        if train.num_rows:
            return train, test
    raise DataError(
        "DATA-13",
        f"{rows:,} rows at {pc.count_distinct(times).as_py():,} moments of '{event_time}' cannot be split by time",
        why="rows of one moment stay on one side, and both sides need a row"
        + (
            f"; rows of the {format_duration(gap)} before the holdout, whose labels reach into it, are left out"
            if gap
            else ""
        ),
        fix="give more data, or split at random",
    )


def split_random(table: pa.Table, test_share: float, seed: int) -> tuple[pa.Table, pa.Table]:
    """(train, test) drawn with `seed`, `test` with round(rows * test_share) rows; both keep their order.

    Raises
    ------
    DataError
        DATA-12 when `test_share` is not between 0 and 1; DATA-13 when one side would be empty.
    """
    _check_share(test_share)
    rows = table.num_rows
    wanted = round(rows * test_share)
    if wanted < 1 or wanted >= rows:
        raise DataError(
            "DATA-13",
            f"{rows:,} rows cannot be split: a test share of {test_share:g} is {wanted:,} rows",
            why="both sides need a row",
            fix="give more data, or another share",
        )
    is_test = np.zeros(rows, dtype=bool)
    is_test[np.random.default_rng(seed).permutation(rows)[:wanted]] = True
    mask = pa.array(is_test)
    return table.filter(pc.invert(mask)), table.filter(mask)


def select_window(
    table: pa.Table, event_time: str, end: datetime, length: str | int | float | timedelta | None
) -> pa.Table:
    """Rows with ``end - length <= event_time < end``, all before `end` when `length` is None; order kept.

    Raises
    ------
    ProjectError
        PROJ-10 when `length` is not a duration.
    DataError
        DATA-02, DATA-08, DATA-09 when `event_time` is not a usable column.
    """
    start = None if length is None else as_utc(end) - parse_duration(length, what="window")
    return between(normalise_times(table, event_time), event_time, start, end)


def _check_share(test_share: float) -> None:
    if not 0 < test_share < 1:
        raise DataError(
            "DATA-12",
            f"the test share {test_share!r} is not between 0 and 1",
            fix="0.2 keeps a fifth of the rows for the test",
        )
