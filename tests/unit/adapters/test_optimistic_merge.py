"""Compare and set: who comes too late reads again, in order, and gives up in the end."""

import pytest

from millrace.adapters import optimistic_merge
from millrace.adapters.optimistic_merge import merge_optimistically
from millrace.adapters.retries import Retries
from millrace.core.errors import StoreError


class Table:
    """A compare-and-set table; `intrude` may change it just before a swap, as another writer would."""

    def __init__(self, intrude=lambda table: None):
        self.values = {}
        self.intrude = intrude
        self.round_trips = 0

    def swap(self, changes, keys):
        self.round_trips += 1
        if changes:
            self.intrude(self.values)
        late = set()
        for key, old, new in changes:
            if self.values.get(key) == old:
                self.values[key] = new
            else:
                late.add(key)
        return late, [self.values.get(key) for key in keys]


def append(old, new):
    return (old or b"") + new


def merge(table, items, most_items=2, combine=append):
    merge_optimistically(iter(items), combine, table.swap, most_items=most_items, most_bytes=1000, where="here")


def test_a_chunk_costs_one_round_trip():
    table = Table()

    merge(table, [(b"%d" % number, b"x") for number in range(10)])

    assert len(table.values) == 10
    assert table.round_trips == 1 + 5


def test_chunks_are_bounded_by_bytes_too():
    table = Table()

    merge(table, [(b"%d" % number, b"x" * 600) for number in range(4)], most_items=100)

    assert table.round_trips == 1 + 2


def test_what_another_writer_added_stays_and_order_holds():
    left = [3]

    def intrude(values):
        if left[0]:
            left[0] -= 1
            values[b"a"] = values.get(b"a", b"") + b"!"

    table = Table(intrude)
    merge(table, [(b"a", b"1"), (b"b", b"1"), (b"a", b"2"), (b"c", b"1"), (b"a", b"3")])

    assert table.values[b"a"].count(b"!") == 3
    assert table.values[b"a"].replace(b"!", b"") == b"123"
    assert (table.values[b"b"], table.values[b"c"]) == (b"1", b"1")


def test_combine_is_called_again_with_what_came_between():
    told = []

    def combine(old, new):
        told.append(old)
        return append(old, new)

    def intrude(values):
        values.setdefault(b"a", b"first")

    table = Table(intrude)
    merge(table, [(b"a", b"1")], combine=combine)

    assert told == [None, b"first"]
    assert table.values == {b"a": b"first1"}


def test_a_key_that_others_never_leave_alone_is_told(monkeypatch):
    monkeypatch.setattr(optimistic_merge, "_MOST_ROUNDS", 5)
    monkeypatch.setattr(optimistic_merge, "_PATIENCE", Retries(5, sleep=lambda seconds: None))

    def intrude(values):
        values[b"a"] = append(values.get(b"a"), b"!")

    table = Table(intrude)
    with pytest.raises(StoreError, match="1 keys of the online store were changed by others") as refused:
        merge(table, [(b"a", b"1"), (b"b", b"1")])

    assert refused.value.code == "FEAT-43"
    assert table.values == {b"a": b"!" * 6, b"b": b"1"}


def test_delays_double_up_to_the_longest_and_are_spread():
    slept = []
    retries = Retries(6, first_delay_s=1, longest_delay_s=5, sleep=slept.append)

    with pytest.raises(ConnectionError):
        retries.run(lambda: (_ for _ in ()).throw(ConnectionError), passing=(ConnectionError,))

    assert len(slept) == 5
    assert all(whole / 2 <= delay <= whole for delay, whole in zip(slept, [1, 2, 4, 5, 5], strict=True))


def test_an_error_of_another_kind_is_not_tried_again():
    calls = []

    def action():
        calls.append(1)
        raise ValueError

    with pytest.raises(ValueError):
        Retries(5, sleep=lambda seconds: None).run(action, passing=(ConnectionError,))
    assert len(calls) == 1
