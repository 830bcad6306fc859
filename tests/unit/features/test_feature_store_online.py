"""Asking for now: values, statuses, event times, pushes, and what is refused."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pandas as pd
import pyarrow as pa
import pytest
from orders_shop import day, make_source

from millrace.core.clock import ManualClock
from millrace.core.errors import DataError
from millrace.features import aggregation as mr
from millrace.features.columns import TIME
from millrace.features.entity import Entity
from millrace.features.store import FeatureStore
from millrace.features.view import FeatureView
from millrace.testing.memory_store import open_memory

LOG = pa.table(
    {
        "customer_id": [1, 1, 2, 3],
        "ts": pa.array([day(90), day(95), day(99), day(10)], TIME),
        "amount": [10, 2**53 + 1, None, 7],
        "name": ["a", "b", "c", "d"],
    }
)


@pytest.fixture
def view(customer: Entity) -> FeatureView:
    return FeatureView(
        "v",
        entity=customer,
        source=make_source(),
        features={"amount": "amount", "name": "name", "n": mr.count(window="30d"), "days": mr.days_since_last()},
        ttl="60d",
    )


@pytest.fixture
def store(view: FeatureView, make_store: Callable[..., FeatureStore]) -> FeatureStore:
    store = make_store(view, LOG)
    store.materialize(None, day(100))
    return store


def test_values_statuses_and_event_times(store: FeatureStore) -> None:
    rows = [{"customer_id": key} for key in (1, 2, 3, 4, None)]

    answer = store.get_online_features(["v:amount", "v:name", "v:n"], rows)

    assert answer.to_dict() == {
        "customer_id": [1, 2, 3, 4, None],
        "amount": [2**53 + 1, None, None, None, None],
        "name": ["b", "c", None, None, None],
        "n": [2, 1, None, None, None],
    }
    assert answer.statuses["amount"] == ["present", "null", "expired", "missing", "missing"]
    assert answer.statuses["name"] == ["present", "present", "expired", "missing", "missing"]
    assert answer.event_times["name"] == [day(95), day(99), day(10), None, None]
    assert answer.to_dict(include_event_timestamps=True)["n__ts"] == answer.event_times["n"]
    assert answer.to_df()["name"].tolist()[:2] == ["b", "c"]


def test_every_form_of_asking_gives_the_same(store: FeatureStore) -> None:
    forms: list[dict[str, Any]] = [
        {"entity_rows": [{"customer_id": 1}, {"customer_id": 2}]},
        {"entity_rows": {"customer_id": [1, 2]}},
        {"entity_ids": {"customer_id": [1, 2]}},
        {"entity_ids": [1, 2]},
    ]

    answers = [store.get_online_features(["v:name"], **form).to_dict() for form in forms]

    assert answers == [{"customer_id": [1, 2], "name": ["b", "c"]}] * 4


def test_a_plan_reads_one_key(store: FeatureStore) -> None:
    plan = store.plan(["v:name", "v:days", "v:amount"])

    assert plan.names == ("name", "days", "amount")
    assert plan.keys == ("customer_id",)
    assert plan.read({"customer_id": 1, "other": 2}) == ["b", 5, 2**53 + 1]
    assert plan.read({"customer_id": 1}, day(97.5)) == ["b", 2, 2**53 + 1]
    assert plan.read({"customer_id": 9}) == [None, None, None]
    assert store.plan(["v:name", "v:days", "v:amount"]) is plan


def test_an_answer_may_be_changed_by_its_caller(store: FeatureStore) -> None:
    plan = store.plan(["v:name"])
    plan.read({"customer_id": 9}).append("mine")

    assert plan.read({"customer_id": 9}) == [None]


def test_a_plan_made_before_the_first_row_sees_it(view: FeatureView, make_store: Any) -> None:
    store = make_store(view, LOG)
    plan = store.plan(["v:amount", "v:name"])
    assert plan.read({"customer_id": 1}) == [None, None]

    store.push("v", [{"customer_id": 1, "ts": day(99), "amount": 3, "name": "new"}])

    assert plan.read({"customer_id": 1}) == [3, "new"]
    with pytest.raises(DataError):
        plan.read({"customer_id": "1"})


def test_several_views_and_keys_in_one_plan(customer: Entity, make_store: Any) -> None:
    shop = Entity("shop", key=("country", "shop"))
    source = make_source(name="shops")
    views = [
        FeatureView("c", entity=customer, source=make_source(), features={"name": "name"}),
        FeatureView("s", entity=shop, source=source, features={"sold": mr.sum("sold", window="9d")}),
        FeatureView("g", entity=None, source=source, features={"total": mr.sum("sold")}),
    ]
    shops = pa.table(
        {"country": ["de", "de", "fr"], "shop": [1, 2, 1], "ts": pa.array([day(99)] * 3, TIME), "sold": [0.5, 1.5, 3.0]}
    )
    store = make_store(views, {"orders": LOG, "shops": shops})
    store.materialize(None, day(100))
    plan = store.plan(["s:sold", "g:total", "c:name"])

    assert plan.keys == ("country", "shop", "customer_id")
    assert plan.read({"country": "de", "shop": 2, "customer_id": 1}) == [1.5, 5.0, "b"]
    assert plan.read({"country": "fr", "shop": 2, "customer_id": 2}) == [None, 5.0, "c"]
    answer = store.get_online_features(["g"], [{}])
    assert answer.to_dict() == {"total": [5.0]}


def test_values_leave_their_window_without_a_new_event(store: FeatureStore) -> None:
    plan = store.plan(["v:n"])

    counts = [plan.read({"customer_id": 1}, day(at)) for at in (100, 119.9, 120, 124.9, 125, 155, 155.1)]

    assert counts == [[2], [2], [1], [1], [0], [0], [None]]


def test_a_read_too_far_back_is_refused_not_answered_wrongly(customer: Entity, make_store: Any) -> None:
    view = FeatureView("v", entity=customer, source=make_source(), features={"name": "name"})
    store = make_store(view, LOG, late="1d")
    store.materialize(None, day(100))
    store.push("v", [{"customer_id": 1, "ts": day(92), "name": "between"}])

    late = store.get_online_features(["v:name"], entity_ids=[1, 2], at=day(94))
    early = store.get_online_features(["v:name"], entity_ids=[1], at=day(93.9))

    assert (late.values["name"], late.statuses["name"]) == (["between", None], ["present", "missing"])
    assert (early.values["name"], early.statuses["name"]) == ([None], ["trimmed"])


def test_older_rows_never_hide_newer_ones(store: FeatureStore) -> None:
    plan = store.plan(["v:name", "v:n"])

    assert store.push("v", [{"customer_id": 1, "ts": day(94), "amount": 1, "name": "late"}]) == 1
    assert plan.read({"customer_id": 1}) == ["b", 3]
    store.materialize(day(80), day(96))
    store.materialize(None, day(92))
    assert plan.read({"customer_id": 1}) == ["b", 3]


def test_pushing_again_changes_nothing(store: FeatureStore, view: FeatureView) -> None:
    rows = [{"customer_id": 1, "ts": day(99), "amount": 1, "name": "x"}] * 2

    store.push("v", rows)
    once = store.plan(["v"]).read({"customer_id": 1})
    for target in ("v", view, view.source, "orders"):
        store.push(target, rows)

    assert once == [1, "x", 4, 1]
    assert store.plan(["v"]).read({"customer_id": 1}) == once


@pytest.mark.parametrize("form", ["dicts", "pandas", "arrow", "texts"])
def test_rows_come_in_many_forms(store: FeatureStore, form: str) -> None:
    rows = [
        {"customer_id": 5, "ts": day(99), "amount": None, "name": "x"},
        {"customer_id": None, "ts": day(99), "amount": 2, "name": "nobody"},
        {"customer_id": 5, "ts": None, "amount": 3, "name": "never"},
    ]
    given: Any = rows
    if form == "pandas":
        given = pd.DataFrame(rows)
    elif form == "arrow":
        given = pa.Table.from_pylist(rows)
    elif form == "texts":
        given = [{**row, "ts": None if row["ts"] is None else "2024-04-09T02:00:00+02:00"} for row in rows]

    assert store.push("orders", given) == 2
    assert store.plan(["v"]).read({"customer_id": 5}) == [None, "x", 1, 1]


def test_a_push_feeds_every_view_of_its_source(customer: Entity, make_store: Any) -> None:
    views = [
        FeatureView("a", entity=customer, source=make_source(), features={"x": "amount"}),
        FeatureView("b", entity=None, source=make_source(), features={"y": mr.count()}),
        FeatureView("c", entity=None, source=make_source(name="others"), features={"z": mr.count()}),
    ]
    store = make_store(views, {"orders": LOG, "others": LOG})

    store.push("orders", [{"customer_id": 1, "ts": day(99), "amount": 3}])

    assert store.plan(["a", "b", "c"]).read({"customer_id": 1}) == [3, 1, None]


def test_a_delayed_row_is_not_seen_before_its_time(customer: Entity, make_store: Any) -> None:
    source = make_source(delay=timedelta(days=1))
    view = FeatureView("v", entity=customer, source=source, features={"x": "amount"})
    clock = ManualClock(day(99))
    store = make_store(view, LOG, clock=clock)
    rows = [{"customer_id": 1, "ts": day(at), "amount": int(at)} for at in (97, 98, 98.5)]
    plan = store.plan(["v:x"])

    store.push("v", rows)

    answers = []
    for at in (99, 99.4, 99.5):
        clock.set(day(at))
        answers.append(plan.read({"customer_id": 1}))
    assert answers == [[98], [98], [98]]
    assert store.get_online_features(["v:x"], entity_ids=[1]).event_times["x"] == [day(98.5)]
    clock.set(day(98.9))
    assert plan.read({"customer_id": 1}) == [97]


def test_a_changed_definition_never_reads_what_the_old_one_wrote(customer: Entity, make_store: Any) -> None:
    online = open_memory()
    source = make_source()
    old = FeatureView("v", entity=customer, source=source, features={"x": mr.sum("amount", window="7d")})
    new = FeatureView("v", entity=customer, source=source, features={"x": mr.sum("amount", window="90d")})
    make_store(old, LOG, online=online).materialize(None, day(100))

    store = make_store(new, LOG, online=online)
    before = store.get_online_features(["v:x"], entity_ids=[3])
    store.materialize_incremental(day(100))

    assert before.statuses["x"] == ["missing"]
    assert store.plan(["v:x"]).read({"customer_id": 3}, day(99.9)) == [7]


@pytest.mark.parametrize(
    ("code", "rows", "words"),
    [
        (
            "FEAT-05",
            [{"customer": 1, "ts": day(1), "amount": 1, "name": "x"}],
            "'customer' should be called 'customer_id'",
        ),
        ("FEAT-06", [{"customer_id": 1, "ts": "soon", "amount": 1, "name": "x"}], "'soon' in row 0"),
        ("FEAT-07", [{"customer_id": "1", "ts": day(1), "amount": 1, "name": "x"}], "not int"),
        ("FEAT-08", [{"customer_id": 1, "ts": day(1), "amuont": 1, "name": "x"}], "did you mean 'amuont'?"),
        ("FEAT-09", [{"customer_id": 1, "ts": day(1), "amount": {"a": 1}, "name": "x"}], "cannot be"),
        ("FEAT-10", [{"customer_id": 1, "ts": day(1), "amount": "12", "name": "x"}], "kept as int"),
        ("FEAT-10", [{"customer_id": 1, "ts": day(1), "amount": 1.5, "name": "x"}], "kept as int"),
        ("FEAT-10", [{"customer_id": 1, "ts": day(1), "amount": 2**64, "name": "x"}], "not a table"),
    ],
)
def test_a_wrong_push_is_explained_and_writes_nothing(store: FeatureStore, code: str, rows: Any, words: str) -> None:
    good = {"customer_id": 4, "ts": day(99), "amount": 1, "name": "x"}

    with pytest.raises(DataError) as refused:
        store.push("v", rows)

    assert refused.value.code == code
    assert words in str(refused.value)
    assert store.plan(["v:name"]).read({"customer_id": 1}) == ["b"]
    assert store.push("v", [good]) == 1


def test_kinds_are_taken_from_the_source_before_anything_is_stored(view: FeatureView, make_store: Any) -> None:
    """A first push of 3 into a float column is 3.0, as it will be when the log is read."""
    floats = LOG.set_column(2, "amount", pa.array([1.0, 2.0, 3.0, 4.0]))
    store = make_store(view, floats)

    store.push("v", [{"customer_id": 1, "ts": day(99), "amount": 3, "name": "x"}])

    (value,) = store.plan(["v:amount"]).read({"customer_id": 1})
    assert (value, type(value)) == (3.0, float)


@pytest.mark.parametrize(
    ("code", "ask"),
    [
        ("FEAT-01", lambda store: store.plan(["w:name"])),
        ("FEAT-02", lambda store: store.plan(["v:nam"])),
        ("FEAT-05", lambda store: store.plan(["v:name"]).read({"customer": 1})),
        ("FEAT-05", lambda store: store.get_online_features(["v:name"], {"customer": [1]})),
        ("FEAT-05", lambda store: store.get_online_features(["v:name"], {"customer_id": [1], "x": [1, 2]})),
        ("FEAT-05", lambda store: store.get_online_features(["v:name"])),
        ("FEAT-05", lambda store: store.get_online_features(["v:name"], [{"customer_id": 1}], entity_ids=[1])),
        ("FEAT-07", lambda store: store.plan(["v:name"]).read({"customer_id": "1"})),
        ("FEAT-07", lambda store: store.plan(["v:name"]).read({"customer_id": 1.5})),
        ("FEAT-07", lambda store: store.plan(["v:name"]).read({"customer_id": 2**63})),
        ("FEAT-07", lambda store: store.plan(["v:name"]).read({"customer_id": True})),
        ("FEAT-11", lambda store: store.push("order", [{"customer_id": 1}])),
        ("FEAT-13", lambda store: store.materialize(day(2), day(2))),
    ],
)
def test_a_wrong_question_is_explained(store: FeatureStore, code: str, ask: Callable[[FeatureStore], Any]) -> None:
    with pytest.raises(DataError) as refused:
        ask(store)

    assert refused.value.code == code
    assert refused.value.fix is not None


def test_whole_floats_are_the_integers_they_came_from(store: FeatureStore) -> None:
    import numpy as np

    plan = store.plan(["v:name"])

    assert [plan.read({"customer_id": key}) for key in (1, 1.0, np.int32(1), np.float64(1), float("nan"))] == [
        ["b"], ["b"], ["b"], ["b"], [None],
    ]  # fmt: skip


def test_without_an_online_store_only_the_past_can_be_asked(view: FeatureView, make_store: Any) -> None:
    store = make_store(view, LOG, online=None)

    with pytest.raises(DataError) as refused:
        store.plan(["v:name"])
    assert refused.value.code == "FEAT-12"
    rows = [{"customer_id": 1, "event_time": day(96)}]
    assert store.get_historical_features(rows, ["v:name"]).to_arrow()["name"].to_pylist() == ["b"]


def test_two_views_of_one_name_are_refused(view: FeatureView, customer: Entity, make_store: Any) -> None:
    with pytest.raises(DataError) as refused:
        make_store([view, FeatureView("v", entity=customer, source=make_source(), features={"x": "name"})], LOG)
    assert refused.value.code == "FEAT-11"
