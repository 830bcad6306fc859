"""The as-of join: which event counts at which moment, and that every row comes back."""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from orders_shop import day, make_source, reader

from millrace.core.errors import DataError
from millrace.data.source import Source
from millrace.features import aggregation as mr
from millrace.features.columns import TIME
from millrace.features.entity import Entity
from millrace.features.store import FeatureStore
from millrace.features.view import FeatureView
from millrace.features.workspace import Workspace

Ask = Callable[..., list[Any]]


def orders(rows: list[tuple[Any, ...]], names: str = "customer_id ts amount") -> pa.Table:
    columns = dict(zip(names.split(), zip(*rows, strict=True), strict=True))
    return pa.table({name: pa.array(values, from_pandas=True) for name, values in columns.items()})


@pytest.fixture
def ask(customer: Entity, make_store: Callable[..., FeatureStore]) -> Ask:
    """Values of one rule for (key, moment) pairs over a table of orders."""

    def answers(
        rule: Any, table: pa.Table, asked: list[tuple[Any, Any]], *, source: Any = None, as_known: bool = True,
        **options: Any,
    ) -> list[Any]:  # fmt: skip
        view = FeatureView("v", entity=customer, source=source or make_source(), features={"x": rule}, **options)
        rows = pa.table(
            {"customer_id": [key for key, _ in asked], "event_time": pa.array([at for _, at in asked], TIME)}
        )
        found = make_store(view, table).get_historical_features(rows, ["v:x"], as_known=as_known)
        assert found.to_arrow().column_names == ["customer_id", "event_time", "x"]
        return found.to_arrow()["x"].to_pylist()

    return answers


ONE = orders([(1, day(1), 10), (1, day(2), 20), (1, day(4), 40), (2, day(2), 7)])


def test_an_event_counts_from_its_own_instant_on(ask: Ask) -> None:
    just_before = day(2) - timedelta(microseconds=1)

    assert ask("amount", ONE, [(1, day(2)), (1, just_before), (1, day(0.5)), (1, day(99))]) == [20, 10, None, 40]


def test_rows_come_back_in_their_order_however_often(ask: Ask) -> None:
    asked = [(2, day(3)), (1, day(3)), (2, day(3)), (9, day(3)), (None, day(3)), (1, None), (1, day(1)), (1, day(3))]

    assert ask("amount", ONE, asked) == [7, 20, 7, None, None, None, 10, 20]


def test_ttl_includes_its_edge(ask: Ask) -> None:
    edge, past = day(5), day(5) + timedelta(microseconds=1)

    assert ask("amount", ONE, [(1, edge), (1, past)], ttl="1d") == [40, None]
    assert ask("amount", ONE, [(1, past)], ttl=0) == [40]
    assert ask(mr.count(), ONE, [(1, edge), (1, past)], ttl="1d") == [3, None]


def test_ties_go_to_the_later_created_then_to_the_later_written(ask: Ask) -> None:
    created = orders(
        [(1, day(1), day(3), 1), (1, day(1), day(2), 2), (1, day(1), day(3), 3), (1, day(1), None, 4)],
        "customer_id ts created amount",
    )

    assert ask("amount", ONE.slice(0, 1), [(1, day(1))]) == [10]
    assert ask("amount", orders([(1, day(1), 1), (1, day(1), 3), (1, day(1), 2)]), [(1, day(1))]) == [2]
    assert ask("amount", created, [(1, day(5))], source=make_source(created="created")) == [3]


def test_as_known_hides_what_was_created_later(ask: Ask) -> None:
    log = orders(
        [(1, day(1), day(1), 1), (1, day(2), day(9), 2), (1, day(3), day(3), 3), (1, day(4), None, 4),
         (2, day(1), day(9), 5)],
        "customer_id ts created amount",
    )  # fmt: skip
    source = make_source(created="created")
    asked = [(1, day(2)), (1, day(3)), (1, day(5)), (1, day(9)), (2, day(5)), (2, day(9))]

    assert ask("amount", log, asked, source=source) == [1, 3, 3, 3, None, 5]
    assert ask("amount", log, asked, source=source, as_known=False) == [2, 3, 4, 4, 5, 5]
    assert ask(mr.lag("amount", 1), log, asked, source=source) == [None, 1, 1, 2, None, None]
    assert ask(mr.sum("amount"), log, asked, source=source) == [1, 4, 4, 6, None, 5]
    assert ask(mr.count(window="2d"), log, asked, source=source) == [1, 1, 0, 0, None, 0]


def test_a_delay_moves_when_an_event_is_known_but_not_how_old_it_is(ask: Ask) -> None:
    source = make_source(delay=timedelta(days=1))
    asked = [(1, day(2.5)), (1, day(3))]

    assert ask("amount", ONE, asked, source=source) == [10, 20]
    assert ask(mr.days_since_last(), ONE, asked, source=source) == [1, 1]
    assert ask("amount", ONE, [(1, day(6)), (1, day(6.1))], source=source, ttl="1d") == [40, None]


def test_a_window_is_open_at_its_old_end_and_closed_at_now(ask: Ask) -> None:
    assert ask(mr.sum("amount", window="2d"), ONE, [(1, day(4)), (1, day(3)), (1, day(3.99)), (1, day(2.99))]) == [
        40, 20, 20, 30,
    ]  # fmt: skip


def test_an_empty_window_counts_nothing_and_has_no_mean(ask: Ask) -> None:
    asked = [(1, day(50)), (9, day(50))]

    assert ask(mr.count(window="1d"), ONE, asked) == [0, None]
    for rule in (mr.sum, mr.mean, mr.min, mr.max, mr.std):
        assert ask(rule("amount", window="1d"), ONE, asked) == [None, None]


def test_every_aggregation_against_the_textbook(ask: Ask) -> None:
    values = [3.5, None, -1.25, 8.0, math.nan, 2.0]
    log = orders([(1, day(place), value) for place, value in enumerate(values)])
    real = [3.5, -1.25, 8.0, 2.0]
    answers = {
        mr.sum: sum(real), mr.mean: sum(real) / 4, mr.min: -1.25, mr.max: 8.0, mr.std: statistics.stdev(real),
        mr.count: 4,
    }  # fmt: skip

    for rule, expected in answers.items():
        assert ask(rule("amount"), log, [(1, day(9))]) == [pytest.approx(expected, rel=1e-15)]
    assert ask(mr.count(), log, [(1, day(9))]) == [6]
    assert ask(mr.std("amount"), log, [(1, day(0))]) == [None]
    assert ask("amount", log, [(1, day(4))]) == [None]  # NaN is null, and the newest null is not skipped
    assert [ask(mr.lag("amount", steps), log, [(1, day(5))]) for steps in (0, 1, 2, 5, 6)] == [
        [2.0], [None], [8.0], [3.5], [None],
    ]  # fmt: skip


def test_days_since_last_are_whole_days_rounded_down(ask: Ask) -> None:
    assert ask(mr.days_since_last(), ONE, [(1, day(4)), (1, day(4.99)), (1, day(36.2)), (9, day(5))]) == [
        0,
        0,
        32,
        None,
    ]


def test_integers_are_exact_beyond_2_to_the_53_beside_nulls(ask: Ask) -> None:
    big = 2**53 + 1
    log = orders([(1, day(1), big), (1, day(2), None), (1, day(3), 2)])

    assert ask("amount", log, [(1, day(1)), (1, day(2)), (9, day(1))]) == [big, None, None]
    assert ask(mr.sum("amount"), log, [(1, day(3))]) == [big + 2]
    assert ask(mr.max("amount"), log, [(1, day(3))]) == [big]


def test_an_integer_sum_beyond_64_bits_is_null_not_wrapped(ask: Ask) -> None:
    log = orders([(1, day(1), 2**62), (1, day(2), 2**62), (1, day(3), -(2**62))])

    assert ask(mr.sum("amount"), log, [(1, day(1)), (1, day(2)), (1, day(3))]) == [2**62, None, 2**62]


def test_kinds_of_value_come_back_as_they_are(ask: Ask) -> None:
    for value in ("text", True, 7, 1.5, day(3)):
        assert ask("amount", orders([(1, day(1), value)]), [(1, day(2))]) == [value]
    assert ask("amount", orders([(1, day(1), Decimal("1.25"))]), [(1, day(2))]) == [1.25]
    assert ask("amount", orders([(1, day(1), date(2024, 1, 2))]), [(1, day(2))]) == [day(1)]
    assert ask("amount", orders([(1, day(1), None)]), [(1, day(2))]) == [None]
    assert ask(mr.mean("amount"), orders([(1, day(1), True), (1, day(2), False)]), [(1, day(2))]) == [0.5]
    labels = pa.table(
        {"customer_id": [1], "ts": pa.array([day(1)], TIME), "amount": pa.array(["x"]).dictionary_encode()}
    )
    assert ask("amount", labels, [(1, day(2))]) == ["x"]


def test_events_without_time_or_key_do_not_count(ask: Ask) -> None:
    log = orders([(1, None, 5), (None, day(1), 6), (1, day(1), 7)])

    assert ask("amount", log, [(1, day(2)), (None, day(2))]) == [7, None]


def test_naive_times_are_utc_and_offsets_are_kept(customer: Entity, make_store: Any) -> None:
    view = FeatureView("v", entity=customer, source=make_source(), features={"x": "amount"})
    berlin = ZoneInfo("Europe/Berlin")
    twins = [datetime(2024, 10, 27, 2, 30, tzinfo=berlin, fold=fold) for fold in (0, 1)]
    log = orders([(1, twins[0].astimezone(UTC), 1), (1, twins[1].astimezone(UTC), 2)])
    store = make_store(view, log)
    moments = [
        *twins, datetime(2024, 10, 27, 0, 30, tzinfo=UTC).replace(tzinfo=None),
        "2024-10-27T00:29:59", "2024-10-27T03:30:00+02:00",
        datetime(2024, 10, 26, 19, 30, tzinfo=timezone(timedelta(hours=-5))),
    ]  # fmt: skip

    got = [
        store.get_historical_features([{"customer_id": 1, "event_time": at}], ["v"]).to_arrow()["x"][0].as_py()
        for at in moments
    ]

    assert got == [1, 2, 1, None, 2, 1]


def test_several_views_several_keys_and_none(customer: Entity, make_store: Any) -> None:
    pair = Entity("pair", key=("shop", "customer_id"))
    log = orders([(1, "a", day(1), 10), (1, "b", day(2), 20), (2, "a", day(3), 30)], "customer_id shop ts amount")
    views = [
        FeatureView("one", entity=customer, source=make_source(), features={"x": "amount"}),
        FeatureView("two", entity=pair, source=make_source(), features={"y": "amount"}, ttl="1d"),
        FeatureView("all", entity=None, source=make_source(), features={"n": mr.count()}),
    ]
    rows = [{"shop": shop, "customer_id": key, "event_time": day(3)} for shop in "ab" for key in (1, 2)]

    table = make_store(views, log).get_historical_features(rows, ["all:n", "two:y", "one:x"]).to_arrow()

    assert table.column_names == ["shop", "customer_id", "event_time", "n", "y", "x"]
    assert table.select(["n", "y", "x"]).to_pylist() == [
        {"n": 3, "y": None, "x": 20}, {"n": 3, "y": 30, "x": 30},
        {"n": 3, "y": 20, "x": 20}, {"n": 3, "y": None, "x": 30},
    ]  # fmt: skip


def test_empty_rows_and_an_empty_log(customer: Entity, make_store: Any) -> None:
    view = FeatureView("v", entity=customer, source=make_source(), features={"x": "amount", "m": mr.mean("amount")})
    rows = pa.table({"customer_id": pa.array([1], pa.int64()), "event_time": pa.array([day(1)], TIME)})

    nothing = make_store(view, ONE).get_historical_features(rows.slice(0, 0), ["v"]).to_arrow()
    unknown = make_store(view, ONE.slice(0, 0)).get_historical_features(rows, ["v"]).to_arrow()

    assert nothing.schema.field("x").type == pa.int64()
    assert nothing.schema.field("m").type == pa.float64()
    assert nothing.num_rows == 0
    assert unknown.to_pylist() == [{"customer_id": 1, "event_time": day(1), "x": None, "m": None}]
    assert make_store(view, ONE).get_historical_features(rows.to_pandas().head(0), ["v"]).to_df().shape == (0, 4)


def test_pandas_keeps_index_and_types_and_polars_and_feast_names_work(customer: Entity, make_store: Any) -> None:
    view = FeatureView("v", entity=customer, source=make_source(), features={"x": "amount", "b": "paid"})
    log = orders([(1, day(1), 2**53 + 1, True)], "customer_id ts amount paid")
    store = make_store(view, log)
    frame = pd.DataFrame(
        {"customer_id": [1.0, None, 2.0], "event_timestamp": [pd.Timestamp("2024-01-03")] * 3, "label": [1, 0, 1]},
        index=[7, 5, 3],
    )

    found = store.get_training_features(frame, ["v:x", "v:b"])

    assert found.index.tolist() == [7, 5, 3]
    assert found.dtypes.astype(str).to_dict() | {"event_timestamp": ""} == {
        "customer_id": "float64", "event_timestamp": "", "label": "int64", "x": "Int64", "b": "boolean",
    }  # fmt: skip
    assert found["x"].tolist() == [2**53 + 1, pd.NA, pd.NA]
    assert list(frame.columns) == ["customer_id", "event_timestamp", "label"]
    frame["event_timestamp"] = frame["event_timestamp"].dt.tz_localize("Europe/Berlin")
    assert store.get_training_features(frame, ["v:x"])["x"].tolist() == [2**53 + 1, pd.NA, pd.NA]
    polars = pl.DataFrame({"customer_id": [1], "event_time": [day(3)]})
    assert store.get_historical_features(polars, ["v:x"]).to_df()["x"].tolist() == [2**53 + 1]


@pytest.mark.parametrize(
    ("code", "rows", "words"),
    [
        ("FEAT-05", [{"customer": 1, "event_time": day(1)}], "'customer' should be called 'customer_id'"),
        ("FEAT-06", [{"customer_id": 1, "event_tme": day(1)}], "did you mean 'event_tme'?"),
        ("FEAT-06", [{"customer_id": 1, "event_time": "yesterday"}], "'yesterday' in row 0"),
        ("FEAT-06", [{"customer_id": 1, "event_time": 5}], "not times"),
        ("FEAT-07", [{"customer_id": "1", "event_time": day(1)}], "cast 'customer_id'"),
        ("FEAT-07", [{"customer_id": 1.5, "event_time": day(1)}], "cast 'customer_id'"),
        ("FEAT-04", [{"customer_id": 1, "event_time": day(1), "x": 3}], "full_feature_names=True"),
        ("FEAT-10", [{"customer_id": 1, "event_time": day(1)}, {"customer_id": "a"}], "one type per column"),
        ("FEAT-10", 7, "one type per column"),
    ],
)
def test_wrong_rows_are_explained(customer: Entity, make_store: Any, code: str, rows: Any, words: str) -> None:
    view = FeatureView("v", entity=customer, source=make_source(), features={"x": "amount"})

    with pytest.raises(DataError) as refused:
        make_store(view, ONE).get_historical_features(rows, ["v:x"])

    assert refused.value.code == code
    assert words in str(refused.value)


def test_a_source_that_lacks_or_mistypes_a_column_is_explained(customer: Entity, make_store: Any) -> None:
    rows = [{"customer_id": 1, "event_time": day(3)}]
    view = FeatureView("v", entity=customer, source=make_source(), features={"x": mr.mean("amount")})
    wrong = {
        "FEAT-08": orders([(1, day(1), 3)], "customer_id ts amout"),
        "FEAT-09": orders([(1, day(1), "3")]),
        "FEAT-05": orders([(1, day(1), 3)], "customer ts amount"),
    }
    for code, log in wrong.items():
        with pytest.raises(DataError) as refused:
            make_store(view, log).get_historical_features(rows, ["v"])
        assert refused.value.code == code
    lists = FeatureView("v", entity=customer, source=make_source(), features={"x": "amount"})
    with pytest.raises(DataError, match="which a feature cannot be"):
        make_store(lists, orders([(1, day(1), {"a": 2})])).get_historical_features(rows, ["v"])


def test_only_the_times_that_can_matter_are_read(customer: Entity, make_store: Any) -> None:
    calls: list[Any] = []
    source = make_source(delay=timedelta(days=1))
    views = [
        FeatureView("free", entity=customer, source=source, features={"x": "amount"}),
        FeatureView("near", entity=customer, source=source, features={"y": mr.sum("amount", window="3d")}, ttl="2d"),
    ]
    store = make_store(views, ONE, read=reader(ONE, calls=calls))

    store.get_historical_features([{"customer_id": 1, "event_time": day(at)} for at in (10, 20)], ["free", "near"])

    tick = timedelta(microseconds=1)
    assert calls == [("orders", None, day(19) + tick), ("orders", day(6), day(19) + tick)]


def test_a_row_whose_values_are_all_expired_or_to_come_is_kept_and_null(ask: Ask) -> None:
    asked = [(1, day(0)), (1, day(9)), (2, day(1)), (2, day(3.5)), (9, day(2))]

    assert ask("amount", ONE, asked, ttl="1d") == [None] * 5
    assert ask(mr.sum("amount", window="3d"), ONE, asked, ttl="1d") == [None] * 5


def test_rows_of_one_key_and_time_with_other_labels_stay_apart(customer: Entity, make_store: Any) -> None:
    view = FeatureView("v", entity=customer, source=make_source(), features={"x": "amount"})
    rows = {"customer_id": [1, 1, 2, 1], "event_time": [day(2)] * 4, "label": ["b", "a", "c", "a"]}

    table = make_store(view, ONE).get_historical_features(rows, ["v"]).to_arrow()

    assert table.select(["customer_id", "label", "x"]).to_pylist() == [
        {"customer_id": 1, "label": "b", "x": 20}, {"customer_id": 1, "label": "a", "x": 20},
        {"customer_id": 2, "label": "c", "x": 7}, {"customer_id": 1, "label": "a", "x": 20},
    ]  # fmt: skip


def test_of_two_views_one_may_have_nothing(customer: Entity, make_store: Any) -> None:
    views = [
        FeatureView("short", entity=customer, source=make_source(), features={"x": "amount"}, ttl="1h"),
        FeatureView("long", entity=customer, source=make_source(), features={"x": "amount", "n": mr.count()}),
    ]
    rows = {"customer_id": [1, 2, 3], "event_time": [day(3)] * 3}

    table = make_store(views, ONE).get_historical_features(rows, ["short:x", "long"], full_feature_names=True).table

    assert table.select(["short__x", "long__x", "long__n"]).to_pylist() == [
        {"short__x": None, "long__x": 20, "long__n": 2}, {"short__x": None, "long__x": 7, "long__n": 1},
        {"short__x": None, "long__x": None, "long__n": None},
    ]  # fmt: skip


def test_columns_of_the_rows_may_be_called_as_those_of_the_source(customer: Entity, make_store: Any) -> None:
    view = FeatureView("v", entity=customer, source=make_source(created="made"), features={"x": "amount"})
    log = orders([(1, day(1), day(1), 10)], "customer_id ts made amount")
    rows = {"customer_id": [1], "ts": ["not a time"], "amount": [-1.5], "made": [None], "event_time": [day(2)]}

    table = make_store(view, log).get_historical_features(rows, ["v"]).to_arrow()

    assert table.to_pylist() == [
        {"customer_id": 1, "ts": "not a time", "amount": -1.5, "made": None, "event_time": day(2), "x": 10}
    ]


def test_a_null_in_any_part_of_a_key_is_nobody(make_store: Any) -> None:
    view = FeatureView(
        "v", entity=Entity("pair", key=("shop", "id")), source=make_source(), features={"x": "amount", "n": mr.count()}
    )
    log = orders([("a", 1, day(1), 1), (None, 1, day(1), 2), ("a", None, day(1), 3)], "shop id ts amount")
    rows = {"shop": ["a", None, "a", None, "b"], "id": [1, 1, None, None, 1], "event_time": [day(2)] * 5}

    table = make_store(view, log).get_historical_features(rows, ["v"]).to_arrow()

    assert table["x"].to_pylist() == [1, None, None, None, None]
    assert table["n"].to_pylist() == [1, None, None, None, None]


@pytest.mark.parametrize("is_split", [False, True])
def test_it_is_what_the_asof_join_of_a_database_answers(make_store: Any, is_split: bool) -> None:
    duckdb = pytest.importorskip("duckdb", reason="DuckDB is not installed")
    rng = np.random.default_rng(11)

    def times(size: int) -> pa.Array:
        return pa.array(rng.permutation(10_000_000)[:size] * 1_000_000 + 1_704_067_200_000_000).cast(TIME)

    size = 60_000
    log = pa.table(
        {
            "customer_id": pa.array(rng.integers(0, 3_000, size) * 2**45 - 2**55, mask=rng.random(size) < 0.01),
            "ts": times(size),
            "amount": pa.array(rng.integers(-(2**62), 2**62, size), mask=rng.random(size) < 0.1),
            "text": pa.array([f"t{number}" for number in rng.integers(0, 999, size)]),
        }
    )
    asked = {"customer_id": rng.integers(0, 3_100, size) * 2**45 - 2**55, "event_time": times(size)}
    asked["event_time"] = pa.concat_arrays([asked["event_time"].slice(0, size // 2), log["ts"].chunk(0)[: size // 2]])
    rows = pa.table(asked)
    view = FeatureView(
        "v", entity=Entity("c", key="customer_id"), source=make_source(), features={"x": "amount", "t": "text"}
    )

    workspace = Workspace(memory_bytes=2_000_000 if is_split else None)
    found = make_store(view, log, workspace=workspace).get_historical_features(rows, ["v"]).to_arrow()

    connection = duckdb.connect()
    connection.register("log", log)
    connection.register("asked", rows)
    expected = connection.sql(
        """
        WITH numbered AS (SELECT *, row_number() OVER () AS place FROM asked)
        SELECT log.amount AS x, log.text AS t FROM numbered ASOF LEFT JOIN log
        ON numbered.customer_id = log.customer_id AND numbered.event_time >= log.ts ORDER BY place
        """
    ).to_arrow_table()
    assert found.select(["x", "t"]).cast(expected.schema).equals(expected)
    assert 0 < found["x"].null_count < size / 2


def test_the_rows_may_come_from_a_source(customer: Entity, make_store: Any) -> None:
    view = FeatureView("v", entity=customer, source=make_source(), features={"x": "amount"})
    store = make_store(view, orders([(1, day(1), 3)]))
    asked = pa.table({"customer_id": [1], "event_time": [day(2)]})
    read = store._read
    store._read = lambda source, start, end: asked if source.name == "asked" else read(source, start, end)

    rows = Source("asked", "sqlite:///shop.db", query="SELECT customer_id, event_time FROM asked")
    answer = store.get_historical_features(rows, ["v"])

    assert answer.to_arrow().to_pylist() == [{"customer_id": 1, "event_time": day(2), "x": 3}]
    assert (answer.as_known, answer.to_df().attrs) == (True, {"as_known": True})
