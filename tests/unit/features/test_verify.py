"""The check that finds what differs between the past and the online store, and only that."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pyarrow as pa
import pytest
from orders_shop import day, make_source

from millrace.core.errors import DataError, StoreError
from millrace.features import aggregation as mr
from millrace.features.checks.key_sample import keys_of_log, keys_of_store, unpack_key
from millrace.features.checks.same_bits import differing
from millrace.features.checks.verify import verify
from millrace.features.columns import ARROW_TYPES
from millrace.features.entity import Entity
from millrace.features.keys import key_packer
from millrace.features.online.lmdb_store import open_lmdb
from millrace.features.view import FeatureView
from millrace.testing.memory_store import open_memory


def log(customers=20, days=10):
    rows = [(number, day(at), float(number * at)) for at in range(days) for number in range(customers)]
    number, at, amount = zip(*rows, strict=True)
    return pa.table(
        {
            "customer_id": pa.array(number),
            "ts": pa.array(at, ARROW_TYPES["time"]),
            "amount": pa.array(amount),
            "word": pa.array([f"w{one}" for one in number]),
        }
    )


def make_view(customer, **changes):
    features = {"spend": mr.sum("amount", window="3d"), "word": "word", "last_two": mr.last_k("amount", 2)}
    return FeatureView("history", **{"entity": customer, "source": make_source(), "features": features} | changes)


@pytest.fixture
def online():
    return open_memory()


@pytest.fixture
def store(make_store, customer, online):
    store = make_store(make_view(customer), log(), online=online)
    store.materialize(None, day(10))
    return store


def by_feature(report):
    return {one.feature: one for one in report.features}


def test_what_was_materialized_is_the_same_bits(store):
    report = verify(store)

    assert (report.outcome, report.compared, report.different) == ("same", 60, 0)
    assert report.views[0].at == day(10) - timedelta(microseconds=1)


def test_a_changed_value_in_the_store_is_found_with_its_key(store, online):
    view = store.views["history"]
    key = key_packer(("customer_id",), ("int",))({"customer_id": 7})
    (packed,) = online.read(view.storage_id(), [key])
    at = packed.rindex(b"w7")
    online.merge(view.storage_id(), [(key, packed[:at] + b"w8" + packed[at + 2 :])], lambda old, new: new)

    report = verify(store)

    checks = by_feature(report)
    assert (report.outcome, report.different) == ("different", 1)
    assert checks["history:word"].examples == [
        {"key": {"customer_id": 7}, "offline": "w7", "online": "w8", "status": "present"}
    ]


def test_a_value_that_cannot_be_read_is_a_difference_and_the_others_are_compared(store, online):
    view = store.views["history"]
    key = key_packer(("customer_id",), ("int",))({"customer_id": 7})
    (packed,) = online.read(view.storage_id(), [key])
    online.merge(view.storage_id(), [(key, packed[:40])], lambda old, new: new)

    report = verify(store)

    assert [(one.compared, one.different, one.examples[0]["status"]) for one in report.features] == [
        (20, 1, "damaged"),
        (20, 1, "damaged"),
        (20, 1, "damaged"),
    ]


def test_an_event_that_is_not_in_the_log_is_found(store):
    store.push("history", [{"customer_id": 3, "ts": day(9), "amount": 0.5, "word": "w3"}])

    report = verify(store)

    assert [(one.feature, one.different) for one in report.features] == [
        ("history:spend", 1),
        ("history:word", 0),
        ("history:last_two", 1),
    ]


def test_a_key_that_only_the_store_has_is_found(store):
    store.push("history", [{"customer_id": 999, "ts": day(5), "amount": 1.0, "word": "new"}])

    examples = by_feature(verify(store))["history:word"].examples

    assert examples == [{"key": {"customer_id": 999}, "offline": None, "online": "new", "status": "present"}]


def test_a_row_that_came_late_to_the_log_is_found(make_store, customer, online):
    full = log()
    tables = {"orders": full.slice(0, full.num_rows - 1)}
    store = make_store(make_view(customer), tables, online=online)
    store.materialize(None, day(10))
    tables["orders"] = full

    report = verify(store)

    assert by_feature(report)["history:spend"].examples[0]["key"] == {"customer_id": 19}


def test_what_came_after_the_last_materialization_is_no_difference(store):
    store.push("history", [{"customer_id": 3, "ts": day(10.01), "amount": 5.0, "word": "later"}])

    assert verify(store).outcome == "same"
    assert verify(store, at=day(10.02)).outcome == "different"


def test_values_that_lie_too_far_back_are_counted_apart(store):
    store.push("history", [{"customer_id": 3, "ts": day(50), "amount": 5.0, "word": "w3"}])

    spend = by_feature(verify(store))["history:spend"]

    assert (spend.trimmed, spend.compared, spend.different) == (1, 19, 0)


def test_a_view_that_was_never_materialized_compares_nothing(make_store, customer):
    report = verify(make_store(make_view(customer), log()))

    assert (report.outcome, report.compared, report.views[0].at) == ("nothing", 0, None)


def test_a_view_without_keys_and_one_with_two(make_store, online):
    pair = Entity("pair", key=["customer_id", "word"])
    both = FeatureView("both", entity=pair, source=make_source(), features={"n": mr.count()})
    views = [make_view(None), both]
    store = make_store(views, log(), online=online)
    store.materialize(None, day(10))

    report = verify(store, keys=8)

    assert [(one.view, one.keys) for one in report.views] == [("history", 1), ("both", 8)]
    assert (report.outcome, report.compared) == ("same", 11)


def test_progress_ends_at_the_total(store):
    told: list[tuple[int, int]] = []

    verify(store, progress=lambda done, total: told.append((done, total)))

    assert told[-1] == (3000, 3000)
    assert told == sorted(told)


def test_no_keys_are_refused(store):
    with pytest.raises(DataError) as caught:
        verify(store, keys=0)

    assert caught.value.code == "FEAT-64"


def test_the_same_seed_draws_the_same_keys_from_pieces_of_any_size(customer):
    table = log(customers=500, days=2)
    view = make_view(customer)

    def in_pieces(size):
        class Reader:
            def __call__(self, source, start, end):
                return table

            def scan(self, source, columns, start, end):
                return Pieces()

        class Pieces:
            schema, rows, bytes = table.schema, table.num_rows, table.nbytes

            def pieces(self):
                for start in range(0, table.num_rows, size):
                    yield table.slice(start, size).select(["customer_id"])

        return Reader()

    drawn = [keys_of_log(in_pieces(size), view, 50, seed=3)["customer_id"].to_pylist() for size in (7, 100, 1000)]

    assert drawn[0] == drawn[1] == drawn[2]
    assert len(set(drawn[0])) == 50
    assert keys_of_log(in_pieces(100), view, 50, seed=4)["customer_id"].to_pylist() != drawn[0]


def test_a_source_without_rows_has_no_keys(customer):
    assert keys_of_log(lambda *_: log().slice(0, 0), make_view(customer), 5, seed=0).num_rows == 0


def test_the_store_s_keys_are_those_that_were_written(store, online):
    drawn = keys_of_store(online, store.views["history"], 100, seed=1)

    assert sorted(one["customer_id"] for one in drawn) == list(range(20))


@pytest.mark.parametrize("values", [(1, "ä", True), (-(2**63), "", False)])
def test_a_key_is_unpacked_to_what_it_was(values):
    pack = key_packer(("a", "b", "c"), None)
    packed = pack(dict(zip("abc", values, strict=True)))

    assert unpack_key(packed, 3) == list(values)
    for broken in (packed[:-1], packed + b"x", b"?" + packed):
        with pytest.raises(StoreError):
            unpack_key(broken, 3)


@pytest.mark.parametrize(
    ("kind", "mine", "theirs", "expected"),
    [
        ("float", [0.0, 1.0, None, 2.5], [-0.0, 1.0, None, None], [True, False, False, True]),
        ("int", [2**53 + 1, 2**53], [2**53, 2**53], [True, False]),
        ("int", [1, None], [1.0, None], [True, False]),
        ("bool", [True, False, None], [True, True, False], [False, True, True]),
        ("string", ["a", "", None], ["a", None, ""], [False, True, True]),
        ("time", [day(1), None], [day(1), day(1)], [False, True]),
        ("floats", [[1.0, None], [0.0]], [[1.0, None], [-0.0]], [False, True]),
        ("null", [None, None], [None, 3], [False, True]),
        ("int", [1, 2], [None, None], [True, True]),
        ("int", [1, 2], [1, "2"], [False, True]),
    ],
)
def test_equal_means_the_same_bits(kind: Any, mine: Any, theirs: Any, expected: Any):
    assert differing(pa.array(mine, ARROW_TYPES[kind]), theirs).tolist() == expected


@pytest.mark.slow
def test_a_million_values_are_the_same_bits(make_store, customer, tmp_path):
    """And one of them, changed, is found among the million."""
    customers, rows = 200_000, 600_000
    numbers = [place * 7919 % customers for place in range(rows)]
    table = pa.table(
        {
            "customer_id": numbers,
            "ts": pa.array([day(place * 60 / rows) for place in range(rows)], ARROW_TYPES["time"]),
            "amount": [place * 0.1 for place in range(rows)],
            "word": [f"w{place % 97}" for place in range(rows)],
        }
    )
    features = {
        "amount": "amount", "word": "word", "spend": mr.sum("amount", window="30d"), "n": mr.count(window="7d"),
        "top": mr.max("amount", window="50d"),
    }  # fmt: skip
    online = open_lmdb(str(tmp_path))
    store = make_store(make_view(customer, features=features), table, online=online)
    store.materialize(None, day(60))

    report = verify(store, keys=customers)
    store.push("history", [{"customer_id": 4711, "ts": day(59), "amount": 0.1, "word": "w1"}])
    again = verify(store, keys=customers)
    online.close()

    assert (report.outcome, report.compared) == ("same", 1_000_000)
    assert {one["key"]["customer_id"] for check in again.features for one in check.examples} == {4711}
