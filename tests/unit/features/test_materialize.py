"""Materializing by intervals: progress, resuming after a crash, increments."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from orders_shop import day, make_source, reader

from millrace.features import aggregation as mr
from millrace.features.columns import TIME
from millrace.features.entity import Entity
from millrace.features.store import FeatureStore
from millrace.features.view import FeatureView
from millrace.store.ledger import Ledger
from millrace.testing.memory_store import MemoryOnlineStore, open_memory

LOG = pa.table(
    {
        "customer_id": [place % 3 for place in range(60)],
        "ts": pa.array([day(place) for place in range(60)], TIME),
        "amount": list(range(60)),
    }
)
TOTALS = [[sum(range(key, 60, 3)), 20] for key in range(3)]


class Crash(BaseException):
    """The process dies here."""


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    ledger = Ledger.open(f"sqlite:///{tmp_path}/ledger.db")
    yield ledger
    ledger.close()


@pytest.fixture
def view(customer: Entity) -> FeatureView:
    return FeatureView("v", entity=customer, source=make_source(), features={"s": mr.sum("amount"), "n": mr.count()})


def totals(store: FeatureStore) -> list[Any]:
    plan = store.plan(["v"])
    return [plan.read({"customer_id": key}) for key in range(3)]


def test_chunks_are_read_in_order_and_told(view: FeatureView, make_store: Any) -> None:
    calls: list[Any] = []
    told: list[tuple[int, int]] = []
    store = make_store(view, LOG, read=reader(LOG, calls=calls))

    counts = store.materialize(day(0), day(60), chunk="25d", progress=lambda done, total: told.append((done, total)))

    assert counts == {"v": 60}
    assert calls == [
        ("orders", day(0), day(25)), ("orders", day(25), day(50)), ("orders", day(50), day(60)),
    ]  # fmt: skip
    assert told == [(100, 300), (200, 300), (300, 300)]
    assert totals(store) == TOTALS


@pytest.mark.parametrize("dies_in", range(6))
@pytest.mark.parametrize("moment", ["read", "sync", "record"])
def test_a_crash_at_any_chunk_is_resumed(
    view: FeatureView, make_store: Any, ledger: Ledger, dies_in: int, moment: str
) -> None:
    online, calls = open_memory(), []
    read = reader(LOG, calls=calls)
    left = [dies_in]

    def step(name: str) -> None:
        if name == moment:
            left[0] -= 1
            if left[0] < 0:
                raise Crash

    def dying_read(source: Any, start: Any, end: Any) -> pa.Table:
        step("read")
        return read(source, start, end)

    class DyingStore(MemoryOnlineStore):
        def sync(self) -> None:
            step("sync")

    class DyingLedger(Ledger):
        def append(self, *args: Any, **options: Any) -> Any:
            step("record")
            return super().append(*args, **options)

    online.__class__ = DyingStore
    first = make_store(view, LOG, read=dying_read, online=online, ledger=DyingLedger(ledger.database))
    with pytest.raises(Crash):
        first.materialize(day(0), day(60), chunk="10d")
    calls.clear()
    left[0] = 10**6

    second = make_store(view, LOG, read=dying_read, online=online, ledger=ledger)
    second.materialize(day(0), day(60), chunk="10d")

    assert totals(second) == TOTALS
    assert calls == [("orders", day(10 * at), day(10 * at + 10)) for at in range(dies_in, 6)]
    assert second.materialized_until("v") == day(60)
    assert ledger.verify().is_intact


def test_asking_again_after_it_ended_reads_again(view: FeatureView, make_store: Any, ledger: Ledger) -> None:
    calls: list[Any] = []
    store = make_store(view, LOG, read=reader(LOG, calls=calls), ledger=ledger)

    store.materialize(day(0), day(60))
    store.materialize(day(0), day(60))

    assert len(calls) == 4
    assert totals(store) == TOTALS


@pytest.mark.parametrize("has_ledger", [True, False])
def test_increments_go_on_where_the_last_one_ended(
    view: FeatureView, make_store: Any, ledger: Ledger, has_ledger: bool
) -> None:
    calls: list[Any] = []
    store = make_store(view, LOG, read=reader(LOG, calls=calls), ledger=ledger if has_ledger else None)

    counts = [store.materialize_incremental(day(end))["v"] for end in (20, 20, 45, 60)]
    again = store.materialize_incremental(day(60), lookback="5d")["v"]

    assert (counts, again) == ([20, 0, 25, 15], 5)
    assert calls == [
        ("orders", None, day(20)), ("orders", day(20), day(45)), ("orders", day(45), day(60)),
        ("orders", day(55), day(60)),
    ]  # fmt: skip
    assert totals(store) == TOTALS


def test_a_hole_is_filled_by_the_next_increment(view: FeatureView, make_store: Any, ledger: Ledger) -> None:
    store = make_store(view, LOG, ledger=ledger)

    store.materialize(None, day(20))
    store.materialize(day(40), day(60))
    assert store.materialized_until("v") == day(20)
    store.materialize_incremental(day(60))

    assert totals(store) == TOTALS


def test_progress_belongs_to_the_definition(view: FeatureView, make_store: Any, ledger: Ledger) -> None:
    make_store(view, LOG, ledger=ledger).materialize(None, day(60))
    changed = FeatureView(
        "v", entity=view.entity, source=make_source(delay=timedelta(days=1)), features=dict(view.features)
    )
    store = make_store(changed, LOG, ledger=ledger)

    assert store.materialized_until("v") is None
    assert store.materialize_incremental(day(60)) == {"v": 60}


def test_a_chunk_without_events_is_done_too(view: FeatureView, make_store: Any) -> None:
    store = make_store(view, LOG)

    assert store.materialize(day(70), day(80)) == {"v": 0}
    assert store.materialized_until(view) == day(80)


def test_another_online_store_is_filled_from_the_beginning(
    view: FeatureView, ledger: Ledger, caplog: pytest.LogCaptureFixture
) -> None:
    first, second = MemoryOnlineStore(), MemoryOnlineStore()
    FeatureStore([view], read=reader(LOG), online=first, ledger=ledger).materialize_incremental(day(60))
    store = FeatureStore([view], read=reader(LOG), online=second, ledger=ledger)

    assert store.materialize_incremental(day(60)) == {"v": 60}
    assert "holds nothing of view 'v' any more" in caplog.text
    assert totals(store) == TOTALS
    assert store.materialize_incremental(day(60)) == {"v": 0}


def test_an_interval_that_was_begun_in_another_online_store_is_done_whole(view: FeatureView, ledger: Ledger) -> None:
    def dies(done: int, total: int) -> None:
        if done > 100:
            raise Crash

    store = FeatureStore([view], read=reader(LOG), online=MemoryOnlineStore(), ledger=ledger)
    with pytest.raises(Crash):
        store.materialize(day(0), day(60), chunk="25d", progress=dies)
    store = FeatureStore([view], read=reader(LOG), online=MemoryOnlineStore(), ledger=ledger)

    assert store.materialize(day(0), day(60), chunk="25d") == {"v": 60}
    assert totals(store) == TOTALS


def test_a_store_that_was_moved_with_its_views_goes_on(view: FeatureView, ledger: Ledger) -> None:
    old, new = MemoryOnlineStore(), MemoryOnlineStore()
    FeatureStore([view], read=reader(LOG), online=old, ledger=ledger).materialize_incremental(day(30))
    for name in old.views():
        new.merge(name, old.items(name), lambda there, moved: moved)
    store = FeatureStore([view], read=reader(LOG), online=new, ledger=ledger)

    assert store.materialize_incremental(day(60)) == {"v": 30}
    assert totals(store) == TOTALS
