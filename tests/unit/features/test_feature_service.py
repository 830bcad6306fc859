"""A service is a named vector: its order, what it may be made of, and what it pins."""

from __future__ import annotations

from typing import Any

import pyarrow as pa
import pytest
from both_stores import ask_both, open_both
from orders_shop import day, make_source, reader

from millrace.core.clock import ManualClock
from millrace.core.errors import DataError, ProjectError
from millrace.features import aggregation as mr
from millrace.features.columns import TIME
from millrace.features.entity import Entity
from millrace.features.field import Field
from millrace.features.on_demand import on_demand
from millrace.features.request import resolve
from millrace.features.service import FeatureService
from millrace.features.store import FeatureStore
from millrace.features.view import FeatureView
from millrace.testing.memory_store import open_memory

CUSTOMER, SHOP = Entity("customer", key="customer_id"), Entity("shop", key="shop")
TABLES = {
    "orders": pa.table(
        {
            "customer_id": [1, 1, 2],
            "ts": pa.array([day(0), day(1), day(2)], TIME),
            "amount": [10, 20, 30],
            "name": ["a", "b", "c"],
        }
    ),
    "shops": pa.table({"shop": ["x"], "ts": pa.array([day(0)], TIME), "size": [7.5]}),
}
ORDERS = FeatureView(
    "orders",
    entity=CUSTOMER,
    source=make_source(),
    features={"total": mr.sum("amount"), "n": mr.count(), "name": "name"},
)
SHOPS = FeatureView("shops", entity=SHOP, source=make_source(name="shops"), features={"size": "size"})
EVERYBODY = FeatureView("everybody", entity=None, source=make_source(), features={"turnover": mr.sum("amount")})


@on_demand(
    inputs={"total": "orders:total", "size": "shops:size", "offer": Field("offer", "float")},
    outputs={"per_size": "float", "after": "float"},
)
def derived(total: Any, size: Any, offer: Any) -> Any:
    return {"per_size": total / size, "after": total + offer}


VIEWS = [ORDERS, SHOPS, EVERYBODY, derived]
ASKED = [
    {"customer_id": 1, "shop": "x", "offer": 5.0, "event_time": day(9)},
    {"customer_id": 2, "shop": "?", "offer": None, "event_time": day(9)},
    {"customer_id": 1, "shop": "x", "offer": 1.0, "event_time": day(0)},
]


def test_a_mixture_comes_in_the_order_it_is_written_in_both_stores() -> None:
    service = FeatureService(
        "vector", features=["derived:after", "orders:name", SHOPS, "everybody", "derived:per_size", "orders:n"]
    )

    rows = ask_both(VIEWS, TABLES, ASKED, service)

    assert list(rows[0]) == ["after", "name", "size", "turnover", "per_size", "n"]
    assert [list(row.values()) for row in rows] == [
        [35.0, "b", 7.5, 60, 4.0, 2],
        [None, "c", None, 60, None, 1],
        [11.0, "a", 7.5, 10, 10 / 7.5, 1],
    ]


def test_every_way_of_naming_gives_the_same_vector() -> None:
    service = FeatureService("all", features=ORDERS)
    store = FeatureStore(
        VIEWS, read=reader(TABLES), online=open_memory(), clock=ManualClock(day(20)), services=[service]
    )
    store.materialize(None, day(9))
    row = {"customer_id": 1}

    for wanted in (service, [service], "orders", ["orders"], ORDERS, ["orders:total", "orders:n", "orders:name"],
                   store.services["all"]):  # fmt: skip
        assert store.plan(wanted).names == ("total", "n", "name")
        assert store.plan(wanted).read(row) == [30, 2, "b"]


def test_a_service_and_a_view_of_one_name_are_two_things() -> None:
    service = FeatureService("orders", features=["orders:n"])
    store = open_both(VIEWS, TABLES)

    assert store.plan(service).names == ("n",)
    assert store.plan("orders").names == ("total", "n", "name")
    assert store.plan([service, "shops"]).names == ("n", "size")


def test_services_side_by_side_may_not_name_a_feature_twice() -> None:
    one, other = FeatureService("one", features=["orders:n"]), FeatureService("other", features=[ORDERS])

    with pytest.raises(DataError) as caught:
        open_both(VIEWS, TABLES).plan([one, other])

    assert caught.value.code == "FEAT-04"


def test_all_that_is_wrong_with_a_service_is_told_at_once() -> None:
    service = FeatureService("vector", features=["order:n", "orders:m", "shops:size"])

    with pytest.raises(DataError) as caught:
        open_both(VIEWS, TABLES).plan(service)

    assert [problem.code for problem in caught.value.findings] == ["FEAT-01", "FEAT-02"]


@pytest.mark.parametrize(
    ("name", "features", "words"),
    [
        ("s", [], "has no features"),
        ("s", [5], "holds 5"),
        ("s", [None], "holds None"),
        ("", ["orders:n"], "no usable name"),
        ("a b", ["orders:n"], "no usable name"),
        (None, [], "has no features"),
    ],
)
def test_a_mistake_is_refused_where_it_is_written(name: Any, features: Any, words: str) -> None:
    with pytest.raises(ProjectError) as caught:
        FeatureService(name, features=features)

    assert (caught.value.code, words in caught.value.what) == ("PROJ-49", True)
    assert "test_feature_service.py" in str(caught.value.where)


def test_two_services_of_one_name_are_refused() -> None:
    services = [FeatureService("s", features="orders"), FeatureService("s", features="shops")]

    with pytest.raises(DataError) as caught:
        FeatureStore(VIEWS, read=reader(TABLES), services=services)

    assert caught.value.code == "FEAT-11"


def test_a_service_pins_the_definitions_it_is_made_of() -> None:
    service = FeatureService("s", features=["orders:n", derived, "orders:total"])
    digests = {view.name: view.digest() for view in VIEWS}

    assert service.pins(digests) == {"orders": digests["orders"], "derived": digests["derived"]}
    renamed = FeatureService("other", features=["orders:n", derived, "orders:total"], description="d", tags=["t"])
    assert renamed.digest(digests) == service.digest(digests)
    turned = FeatureService("s", features=["orders:total", derived, "orders:n"])
    assert turned.digest(digests) != service.digest(digests)
    assert service.digest({**digests, "orders": "another"}) != service.digest(digests)
    assert service.digest({**digests, "shops": "another"}) == service.digest(digests)


def test_what_a_vector_needs_of_a_request() -> None:
    store = open_both(VIEWS, TABLES)

    plan = store.plan(FeatureService("s", features=["derived:after"]))

    assert plan.names == ("after",)
    assert set(plan.keys) == {"customer_id", "shop"}
    assert [(name, field.dtype) for name, field in plan.fields.items()] == [("offer", "float")]
    with pytest.raises(DataError) as caught:
        plan.read({"customer_id": 1, "offer": 1.0})
    assert (caught.value.code, "shop" in caught.value.what) == ("FEAT-05", True)


def test_a_service_can_be_asked_for_by_its_name_and_a_misspelt_one_is_found():
    view = FeatureView("v", entity=None, source=make_source(), features={"a": "a"})
    service = FeatureService("vector", features=[view])

    assert resolve({"v": view}, ["vector"], services={"vector": service}).names == ("a",)
    with pytest.raises(DataError, match="did you mean 'vector'"):
        resolve({"v": view}, ["vectro"], services={"vector": service})


def test_a_view_made_anew_under_a_known_name_is_not_taken_for_the_known_one():
    source = make_source()
    old = FeatureView("v", entity=None, source=source, features={"a": "a"})
    new = FeatureView("v", entity=None, source=source, features={"a": mr.mean("a")})

    assert resolve({"v": old}, [FeatureView("v", entity=None, source=source, features={"a": "a"})]).names == ("a",)
    with pytest.raises(DataError) as refused:
        resolve({"v": old}, new)
    assert refused.value.code == "FEAT-11"
