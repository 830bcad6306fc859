"""Values at the edges: columns that grow wider, empty columns, infinities, damaged bytes, and times that never end."""

from __future__ import annotations

import math
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from orders_shop import day, make_source

from millrace.core.clock import to_micros
from millrace.core.errors import DataError, MillraceError, StoreError
from millrace.features import aggregation as mr
from millrace.features.columns import TIME
from millrace.features.entity import Entity
from millrace.features.events import read_events
from millrace.features.exact import exact_sum, exact_sums
from millrace.features.expression import Expression, col
from millrace.features.field import Field
from millrace.features.keys import key_packer, pack_value
from millrace.features.on_demand import on_demand
from millrace.features.online.batch import pack_events
from millrace.features.online.view_reader import ViewReader
from millrace.features.store import FeatureStore
from millrace.features.view import FeatureView
from millrace.testing.memory_store import open_memory

WHOLE = pa.table({"customer_id": [1, 2], "ts": pa.array([day(1), day(1)], TIME), "x": [1, 2]})
HALF = pa.table({"customer_id": [1], "ts": pa.array([day(2)], TIME), "x": [1.5]})


@pytest.fixture
def view(customer: Entity) -> FeatureView:
    return FeatureView("v", entity=customer, source=make_source(), features={"x": "x", "total": mr.sum("x")})


def test_a_plan_follows_a_column_that_becomes_wider(view: FeatureView, make_store: Callable[..., FeatureStore]) -> None:
    @on_demand(inputs={"x": "v:x"}, outputs={"double": "float"})
    def twice(x: Any) -> Any:
        return x * 2

    online = open_memory()
    store = make_store([view, twice], WHOLE, online=online)
    store.materialize(None, day(3))
    asked = ["v:x", "twice:double", "v:total"]
    assert store.plan(asked).read({"customer_id": 1}, day(5)) == [1, 2.0, 1]

    both = pa.concat_tables([WHOLE, HALF], promote_options="permissive")
    make_store([view, twice], both, online=online).materialize(None, day(3))  # as another process would

    answer = store.get_online_features(asked, entity_ids=[2, 1], at=day(5)).values
    assert answer == {"x": [2.0, 1.5], "total": [2.0, 2.5], "double": [4.0, 3.0]}
    assert all(isinstance(value, float) for values in answer.values() for value in values)


@pytest.mark.parametrize("damage", [b"", b"abc", b"\x02"], ids=["nothing", "a piece", "a newer form"])
def test_bytes_that_are_not_events_are_told_when_read(
    damage: bytes, view: FeatureView, make_store: Callable[..., FeatureStore]
) -> None:
    store = make_store(view, WHOLE)
    store.materialize(None, day(3))
    (key,) = {key for key, _ in store.online.items(view.storage_id())} - {pack_value(1, "customer_id")}
    store.online.merge(
        view.storage_id(), [(key, damage)], lambda old, new: new + old[1:] if new == b"\x02" and old else new
    )

    with pytest.raises(StoreError) as caught:
        store.get_online_features("v", entity_ids=[2])
    assert caught.value.code == "FEAT-22"


@pytest.mark.parametrize("number", [math.inf, -math.inf, np.float32(np.inf)])
def test_infinity_is_no_key(number: Any) -> None:
    with pytest.raises(DataError) as caught:
        pack_value(number, "customer_id", "int")
    assert caught.value.code == "FEAT-07"


@pytest.mark.parametrize("values", [[1e308, 1e308, -math.inf], [-math.inf, 1e308, 1e308], [math.inf, -1e308, -1e308]])
def test_an_infinity_outweighs_all_that_is_finite(values: list[float]) -> None:
    expected = next(value for value in values if math.isinf(value))

    assert exact_sum(values) == expected
    assert exact_sums(np.array(values), np.array([0]), np.array([len(values)])).tolist() == [expected]


s, b, i = col("s"), col("b"), col("i")


@pytest.mark.parametrize(
    "condition",
    [
        *(s.starts_with("x"), ~s.contains("x"), s.is_in(["x"]), s.fill_null("y") != "y", s == s),
        *(~b, b & (i > 1), b | b, i.is_in([1]), i < i, i.fill_null(3) > 2),
    ],
    ids=str,
)
def test_columns_without_a_single_value_take_part_in_conditions(
    condition: Expression, customer: Entity, make_store: Callable[..., FeatureStore]
) -> None:
    view = FeatureView(
        "v", entity=customer, source=make_source(), features={"n": mr.count(where=condition), "all": mr.count()}
    )
    full = pa.table(
        {"customer_id": [1], "ts": pa.array([day(1)], TIME), "s": pa.array([None], pa.string()),
         "b": pa.array([None], pa.bool_()), "i": pa.array([None], pa.int64())}
    )  # fmt: skip
    store = make_store(view, full)

    assert store.push("v", [{"customer_id": 1, "ts": day(1), "s": None, "b": None, "i": None}]) == 1

    now = store.get_online_features("v", entity_ids=[1]).values
    past = store.get_historical_features([{"customer_id": 1, "event_time": day(9)}], "v").to_arrow()
    assert {name: past[name].to_pylist() for name in now} == now


@pytest.mark.parametrize("chunk", [0, "0s", timedelta(days=-1), 1e-9])
def test_chunks_that_never_come_to_an_end_are_refused(
    chunk: Any, view: FeatureView, make_store: Callable[..., FeatureStore]
) -> None:
    with pytest.raises(MillraceError) as caught:
        make_store(view, WHOLE).materialize(day(0), day(3), chunk=chunk)
    assert caught.value.code == "FEAT-13"


@pytest.mark.parametrize(
    "given", [[1, "x"], [True, 1], [2**70, 1], [object(), 1]], ids=["text", "bool", "huge", "object"]
)
def test_what_a_request_brings_is_of_one_type(
    given: list[Any], view: FeatureView, make_store: Callable[..., FeatureStore]
) -> None:
    @on_demand(inputs={"x": "v:x", "factor": Field("factor", "float")}, outputs={"y": "float"})
    def scaled(x: Any, factor: Any) -> Any:
        return x * factor

    store = make_store([view, scaled], WHOLE)
    store.materialize(None, day(3))

    with pytest.raises(DataError) as caught:
        store.get_online_features("scaled", [{"customer_id": 1, "factor": one} for one in given])
    assert caught.value.code == "FEAT-31"


@pytest.mark.parametrize(
    "rows", [[7], pd.DataFrame({"customer_id": [1]}), {"customer_id": 7}, {"customer_id": "ab"}], ids=repr
)
def test_entities_that_are_no_rows_are_explained(
    rows: Any, view: FeatureView, make_store: Callable[..., FeatureStore]
) -> None:
    with pytest.raises(DataError) as caught:
        make_store(view, WHOLE).get_online_features("v", rows)
    assert caught.value.code == "FEAT-05"


def test_two_columns_of_one_name_are_refused(view: FeatureView, make_store: Callable[..., FeatureStore]) -> None:
    twice = pa.Table.from_arrays([*WHOLE.columns, WHOLE["x"]], names=[*WHOLE.column_names, "x"])

    with pytest.raises(DataError, match="2 columns 'x'"):
        make_store(view, WHOLE).push("v", twice)


def micros(*values: int) -> pa.Array:
    return pa.array(values, pa.int64()).cast(TIME)


@pytest.mark.parametrize("ttl", [None, "90d"])
def test_the_first_and_the_last_times_there_are_can_be_asked(
    ttl: str | None, customer: Entity, make_store: Callable[..., FeatureStore]
) -> None:
    view = FeatureView("v", entity=customer, source=make_source(delay=timedelta(1)), features={"x": "x"}, ttl=ttl)
    ends = [to_micros(datetime.min.replace(tzinfo=UTC)), to_micros(datetime.max.replace(tzinfo=UTC)), 2**63 - 1]
    asked = pa.table({"customer_id": [1] * 3, "event_time": micros(*ends)})

    found = make_store(view, WHOLE).get_historical_features(asked, "v").to_arrow()["x"].to_pylist()

    assert found == ([None, None, None] if ttl else [None, 1, 1])


def test_a_delay_does_not_bring_the_end_of_time_into_the_past(
    customer: Entity, make_store: Callable[..., FeatureStore]
) -> None:
    view = FeatureView("v", entity=customer, source=make_source(delay=timedelta(1)), features={"n": mr.count()})
    log = pa.table({"customer_id": [1, 1], "ts": micros(0, 2**63 - 1)})
    asked = [{"customer_id": 1, "event_time": day(0)}]

    assert make_store(view, log).get_historical_features(asked, "v").to_arrow()["n"].to_pylist() == [1]


@pytest.mark.parametrize("null", [None, float("nan"), pd.NA, pd.NaT])
def test_a_key_that_pandas_calls_missing_is_missing_online_as_it_is_offline(null: Any) -> None:
    assert key_packer(["id"], ["int"])({"id": null}) is None


def test_a_span_less_than_nothing_is_refused() -> None:
    view = FeatureView("v", entity=None, source=make_source(), features={"a": "amount"})
    with pytest.raises(DataError) as refused:
        FeatureStore([view], read=lambda *_: pa.table({}), online=open_memory(), late=timedelta(-1))
    assert refused.value.code == "FEAT-13"


def test_a_text_that_is_cut_short_is_damage_and_no_shorter_text() -> None:
    view = FeatureView("v", entity=None, source=make_source(), features={"a": "amount"})
    log = pa.table({"ts": pa.array([day(1)], TIME), "amount": ["abcdef"]})
    ((_, data),) = pack_events(read_events(log, view), view)

    with pytest.raises(StoreError, match="not whole"):
        ViewReader(view, [mr.last("amount")], {"amount": "string"}).read(data[:-1], 2**62)
