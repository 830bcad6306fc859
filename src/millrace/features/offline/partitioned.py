"""One view joined onto rows from a source of any size: read in pieces, only what is asked for, bucket by bucket."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import pyarrow as pa

from millrace.features.aggregation import Aggregation
from millrace.features.buckets import Buckets, count_buckets, open_buckets
from millrace.features.columns import Bools, Ints
from millrace.features.events import read_events
from millrace.features.keys import key_arrays
from millrace.features.offline.asked_keys import AskedKeys
from millrace.features.offline.asof import Moments
from millrace.features.offline.join import point_in_time_join
from millrace.features.scan import Scan
from millrace.features.view import FeatureView
from millrace.features.workspace import Workspace

Tell = Callable[[float], None]
"""Told how much is done, from 0 to 1."""


@dataclass(frozen=True)
class Rows:
    """Rows that ask for features: their columns, their times, and where the time is null."""

    table: pa.Table
    at: Ints
    is_timed: Bools


def join_view(
    view: FeatureView,
    rules: Mapping[str, Aggregation],
    rows: Rows,
    scan: Scan,
    *,
    as_known: bool,
    workspace: Workspace,
    tell: Tell,
) -> dict[str, pa.Array]:
    """The answers of `point_in_time_join`, bit for bit, however many buckets it takes.

    Parameters
    ----------
    scan : Scan
        The source of `view`, with its columns.
    tell : callable
        Told after each piece and each bucket how much is done, from 0 to 1.

    Raises
    ------
    DataError
        FEAT-05 to FEAT-10 for the rows and the source, FEAT-14 when the disk is full.
    """
    empty = scan.schema.empty_table()
    kinds = read_events(empty, view).key_kinds  # what the view cannot use is found before a row is read
    keys = key_arrays(rows.table, view.keys, expected=kinds)
    count = count_buckets(scan.bytes, workspace.limit()) if view.keys else 1
    with open_buckets(count, workspace) as buckets:
        if count == 1:
            _fill(buckets, scan, None, view, tell)
            events = read_events(buckets.take(0, empty), view)
            answers = point_in_time_join(Moments(keys, rows.at, rows.is_timed), events, view, rules, as_known=as_known)
            tell(1.0)
            return answers
        asked = AskedKeys.of(keys, len(rows.at))
        _fill(buckets, scan, asked, view, tell)
        found: dict[str, list[pa.Array]] = {name: [] for name in rules}
        order, parts = _by_bucket(asked, count)
        for number, part in enumerate(parts):
            events = read_events(buckets.take(number, empty), view)
            some = pa.array(part)
            moments = Moments([key.take(some) for key in keys], rows.at[part], rows.is_timed[part])
            for name, answer in point_in_time_join(moments, events, view, rules, as_known=as_known).items():
                found[name].append(answer)
            tell(0.5 + 0.5 * (number + 1) / count)
    back = np.empty(len(order), dtype=np.int64)
    back[order] = np.arange(len(order))
    return {name: pa.concat_arrays(answers).take(pa.array(back)) for name, answers in found.items()}


def _fill(buckets: Buckets, scan: Scan, asked: AskedKeys | None, view: FeatureView, tell: Tell) -> None:
    done = 0
    for piece in scan.pieces():
        if asked is None:
            buckets.add(piece)
        else:
            codes = asked.find(key_arrays(piece, view.keys, expected=None), piece.num_rows)
            buckets.add(piece, np.where(codes >= 0, codes % buckets.count, -1))
        done += piece.num_rows
        tell(0.5 * min(done / max(scan.rows, 1), 1.0))


def _by_bucket(asked: AskedKeys, count: int) -> tuple[Ints, list[Ints]]:
    """The rows in the order of their buckets, and each bucket's."""
    number = np.where(asked.codes >= 0, asked.codes % count, 0)
    order = np.argsort(number.astype(np.int16), kind="stable")
    bounds = np.searchsorted(number[order], np.arange(count + 1))
    return order, [order[begin:end] for begin, end in pairwise(bounds)]
