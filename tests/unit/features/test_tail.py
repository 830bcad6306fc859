"""Merging packed events: what repeats, ties, late rows and trimming do to the bytes."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pyarrow as pa
import pytest
from orders_shop import day, make_source

from millrace.core.clock import from_micros, to_micros
from millrace.core.errors import DataError, StoreError
from millrace.features import aggregation as mr
from millrace.features.columns import TIME
from millrace.features.events import read_events
from millrace.features.online.batch import pack_events
from millrace.features.online.layout import open_tail, pack_tail
from millrace.features.online.tail import merge_tails, retention_of
from millrace.features.online.view_reader import ViewReader
from millrace.features.view import FeatureView

NOW = to_micros(day(100))
HOUR = 3_600_000_000


def view_of(source: Any = None, **features: Any) -> FeatureView:
    return FeatureView("v", entity=None, source=source or make_source(), features=features)


def packed(view: FeatureView, rows: list[tuple[Any, ...]], *, kind: Any = None) -> bytes:
    """One batch; a row is (day, [created day], value)."""
    names = ["ts", *(["created"] if view.source.created else []), "a"]
    columns = dict(zip(names, zip(*rows, strict=True), strict=True))
    table = pa.table(
        {
            name: pa.array(values, kind) if name == "a" else pa.array([day(one) for one in values], TIME)
            for name, values in columns.items()
        }
    )
    ((_, data),) = pack_events(read_events(table, view), view)
    return data


def merged(view: FeatureView, *batches: bytes, late: int = 0, now: int = NOW, log: bytes | None = None) -> bytes:
    """The batches as if they were pushed one after another, then `log` as it is read from there."""
    data: bytes | None = None
    for batch in batches:
        data = merge_tails(data, batch, retention_of(view, late), now)
    if log is not None:
        data = merge_tails(data, log, retention_of(view, late), now, is_replay=True)
    assert data is not None
    return data


def values(view: FeatureView, data: bytes) -> list[tuple[float, Any]]:
    """(day, value) of each event, oldest first."""
    tail = open_tail(data)
    found = []
    for place in range(tail.count):
        at = tail.layout.times.unpack_from(tail.events, place * tail.layout.width)[0]
        reader = ViewReader(view, [mr.last("a")], {"a": tail.layout.kinds[0]})
        one = tail.events[place * tail.layout.width : (place + 1) * tail.layout.width]
        answer, _, _ = reader.read(pack_tail(tail.layout, one, tail.texts), 2**62)
        found.append(((from_micros(at) - day(0)) / timedelta(days=1), answer[0]))
    return found


EVERYTHING = view_of(a="a", n=mr.count())


@pytest.mark.parametrize("kind", [pa.int64(), pa.float64(), pa.string()])
def test_late_rows_are_inserted_at_their_place(kind: pa.DataType) -> None:
    cast = str if kind == pa.string() else float if kind == pa.float64() else int
    batches = [packed(EVERYTHING, [(at, cast(at)) for at in days], kind=kind) for days in [(5, 9), (7,), (1, 6, 8, 12)]]

    data = merged(EVERYTHING, *batches)

    assert values(EVERYTHING, data) == [(at, cast(at)) for at in (1, 5, 6, 7, 8, 9, 12)]


@pytest.mark.parametrize("kind", [pa.int64(), pa.string()])
def test_the_same_events_again_give_the_same_bytes(kind: pa.DataType) -> None:
    cast = str if kind == pa.string() else int
    one = packed(EVERYTHING, [(1, cast(1)), (2, None), (2, None), (3, cast(3))], kind=kind)
    other = packed(EVERYTHING, [(2, cast(2)), (4, cast(4))], kind=kind)
    data = merged(EVERYTHING, one, other)

    assert merge_tails(data, one, retention_of(EVERYTHING, 0), NOW) is data
    assert merge_tails(data, other, retention_of(EVERYTHING, 0), NOW) is data
    assert values(EVERYTHING, data) == [
        (1, cast(1)), (2, None), (2, None), (2, cast(2)), (3, cast(3)), (4, cast(4))
    ]  # fmt: skip


def test_equal_rows_of_one_batch_are_as_many_events() -> None:
    twice, thrice = packed(EVERYTHING, [(1, 5)] * 2), packed(EVERYTHING, [(1, 5)] * 3)

    assert open_tail(merged(EVERYTHING, twice, thrice)).count == 3
    assert open_tail(merged(EVERYTHING, thrice, twice)).count == 3


def test_of_a_tie_the_last_written_stands_last() -> None:
    data = merged(EVERYTHING, packed(EVERYTHING, [(1, 10)]), packed(EVERYTHING, [(1, 30), (1, 20)]))

    assert values(EVERYTHING, data) == [(1, 10), (1, 30), (1, 20)]


def test_a_batch_from_the_log_restores_the_order_of_writing() -> None:
    pushed = [packed(EVERYTHING, [(1, number)]) for number in (2, 1, 9)]
    log = packed(EVERYTHING, [(1, 1), (1, 2), (1, 3)])

    data = merged(EVERYTHING, *pushed, log=log)

    assert values(EVERYTHING, data) == [(1, 1), (1, 2), (1, 3), (1, 9)]


def test_of_a_tie_the_later_created_is_newer_whenever_it_came() -> None:
    view = view_of(make_source(created="created"), a="a", n=mr.count())

    data = merged(view, packed(view, [(1, 9, 1)]), packed(view, [(1, 3, 2)]))

    assert values(view, data) == [(1, 2), (1, 1)]


def test_last_keeps_one_event_and_what_may_be_asked_late() -> None:
    view = view_of(a="a")
    batch = packed(view, [(number, number) for number in range(10)])

    assert values(view, merged(view, batch)) == [(9, 9)]
    kept = merged(view, batch, late=36 * HOUR)
    assert values(view, kept) == [(7, 7), (8, 8), (9, 9)]
    assert open_tail(kept).since == to_micros(day(7.5))


def test_events_in_the_future_do_not_push_out_the_present() -> None:
    """With a delay events are stored before they may be seen."""
    view = view_of(a="a")
    batch = packed(view, [(number, number) for number in range(10)])

    assert values(view, merged(view, batch, now=to_micros(day(4.5)))) == [(number, number) for number in range(4, 10)]


def test_an_event_not_yet_known_does_not_push_out_a_known_one() -> None:
    view = view_of(make_source(created="created"), a="a")

    data = merged(view, packed(view, [(0, 0, 0), (1, 1, 1), (2, 50, 2), (3, 3, 3), (4, 50, 4)]))

    assert values(view, data) == [(3, 3), (4, 4)]


def test_lag_keeps_its_steps_and_a_window_its_width() -> None:
    rows = [(number, number) for number in range(10)]
    by_lag, by_window = view_of(a=mr.lag("a", 3)), view_of(a=mr.sum("a", window="2d"), b="a")

    assert values(by_lag, merged(by_lag, packed(by_lag, rows))) == rows[6:]
    assert values(by_window, merged(by_window, packed(by_window, rows))) == rows[8:]  # (7, 9]
    late = merged(by_window, packed(by_window, rows), late=12 * HOUR)
    assert values(by_window, late) == rows[7:]  # reads from 8.5 on: (6.5, ...]


def test_a_window_is_kept_from_just_after_its_open_end() -> None:
    view = view_of(a=mr.sum("a", window="2d"))
    tick = timedelta(microseconds=1) / timedelta(days=1)

    kept = merged(view, packed(view, [(2, 1), (2 + tick, 2), (4, 3)]))

    assert [value for _, value in values(view, kept)] == [2, 3]


def test_ties_are_not_cut_apart_so_that_a_repeated_event_is_recognised() -> None:
    view = view_of(a="a")
    one, other = packed(view, [(0, 0), (1, 1)]), packed(view, [(1, 2)])
    data = merged(view, one, other)

    assert values(view, data) == [(1, 1), (1, 2)]
    assert merge_tails(data, one, retention_of(view, 0), NOW) == data


def test_trimmed_events_that_come_again_change_nothing_that_is_kept() -> None:
    view = view_of(a="a", s=mr.sum("a", window="1d"))
    old = packed(view, [(number, number) for number in range(8)])
    data = merged(view, old, packed(view, [(9, 9)]))

    again = merge_tails(data, old, retention_of(view, 0), NOW)

    assert values(view, again) == values(view, data) == [(9, 9)]


def test_nulls_take_any_kind_and_integers_become_floats() -> None:
    nothing = packed(EVERYTHING, [(1, None)], kind=pa.null())
    whole, broken = packed(EVERYTHING, [(2, 2)]), packed(EVERYTHING, [(3, 2.5)])
    text = packed(EVERYTHING, [(4, "x")])

    assert values(EVERYTHING, merged(EVERYTHING, nothing, text)) == [(1, None), (4, "x")]
    assert values(EVERYTHING, merged(EVERYTHING, text, nothing)) == [(1, None), (4, "x")]
    assert values(EVERYTHING, merged(EVERYTHING, nothing, whole, broken, whole)) == [(1, None), (2, 2.0), (3, 2.5)]
    with pytest.raises(DataError) as refused:
        merged(EVERYTHING, whole, text)
    assert refused.value.code == "FEAT-10"


@pytest.mark.parametrize("cut", [0, 5, 17, -1])
def test_half_a_value_is_refused(cut: int) -> None:
    whole = packed(EVERYTHING, [(1, 1), (2, 2)])

    with pytest.raises(StoreError) as refused:
        open_tail(whole[:cut])
    assert refused.value.code == "FEAT-22"


def test_a_newer_form_is_refused() -> None:
    with pytest.raises(StoreError) as refused:
        open_tail(b"\x09" + packed(EVERYTHING, [(1, 1)])[1:])
    assert refused.value.code == "FEAT-22"
