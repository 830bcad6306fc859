"""Pushing into the log, online, or both: the past and the present see the same events."""

from datetime import UTC, datetime, timedelta

import pytest

import millrace as mr
from millrace.core.clock import ManualClock
from millrace.core.errors import DataError
from millrace.data.append import append_rows
from millrace.data.read import read_source
from millrace.features.store import FeatureStore
from millrace.testing.memory_store import open_memory

NOW = datetime(2024, 1, 10, tzinfo=UTC)
CLICKS = mr.PushSource("clicks", schema={"user": "int", "amount": "float", "at": "timestamp"}, event_time="at")
VIEW = mr.FeatureView(
    "v",
    entity=mr.Entity("user", key="user"),
    source=CLICKS,
    features={"total": mr.sum("amount"), "n": mr.count(window="2d")},
)


@pytest.fixture
def store(tmp_path):
    return FeatureStore(
        [VIEW],
        read=lambda source, start, end: read_source(source, root=tmp_path, start=start, end=end),
        append=lambda source, table: append_rows(source, table, root=tmp_path),
        online=open_memory(),
        clock=ManualClock(NOW),
    )


def click(day, amount):
    return {"user": 1, "amount": amount, "at": datetime(2024, 1, day, tzinfo=UTC)}


def offline(store):
    row = [{"user": 1, "event_time": NOW}]
    return store.get_historical_features(row, ["v"]).to_arrow().select(["total", "n"]).to_pylist()[0]


def online(store):
    return dict(zip(["total", "n"], store.plan(["v"]).read({"user": 1}), strict=True))


def test_both_sides_see_what_is_pushed_to_both_however_often(store):
    for _ in range(2):
        store.push("clicks", [click(9, 2.0), click(3, 1.0)], to="both")
    store.push("clicks", [click(8, 4.0)], to="both")

    assert offline(store) == online(store) == {"total": 7.0, "n": 1}


def test_materializing_the_log_after_pushes_counts_nothing_twice(store):
    store.push("clicks", [click(9, 2.0), click(9, 2.0)], to="both")
    store.push("clicks", [click(3, 1.0)], to="offline")
    store.materialize_incremental(NOW + timedelta(days=1))

    assert offline(store) == online(store) == {"total": 5.0, "n": 2}


def test_each_side_alone(store):
    store.push("clicks", [click(9, 2.0)], to="offline")

    assert (offline(store), online(store)["total"]) == ({"total": 2.0, "n": 1}, None)


def test_rows_that_a_view_cannot_use_reach_neither_side(store):
    with pytest.raises(DataError):
        store.push("clicks", [{"user": 1, "amount": "much", "at": NOW}], to="both")

    assert offline(store)["total"] is None


def test_a_store_without_a_log_says_so(store):
    alone = FeatureStore([VIEW], read=store._read, online=open_memory())

    with pytest.raises(DataError, match="cannot add rows to a log"):
        alone.push("clicks", [click(1, 1.0)], to="both")
    with pytest.raises(DataError, match="did you mean 'offline'"):
        store.push("clicks", [click(1, 1.0)], to="ofline")
