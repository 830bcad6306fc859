"""What every offline engine must do. Subclass, give an `engine` fixture, and pytest runs it all.

class TestMyEngine(OfflineEngineContract):
    @pytest.fixture
    def engine(self):
        return MyEngine(...)

With ``in_files = True`` the sources are Parquet files of several row groups, for engines that read files by themselves;
else they are in memory, and the engine has to call the `read` it is given.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa

from millrace.features import aggregation as mr
from millrace.features.columns import TIME
from millrace.features.entity import Entity
from millrace.features.expression import col
from millrace.features.offline.engine import EmbeddedEngine
from millrace.features.view import FeatureView
from millrace.testing.offline_logs import CUSTOMER, Asking, day, every_rule, random_log, random_rows, table

MICRO = timedelta(microseconds=1)


class OfflineEngineContract(Asking):
    """The answers that features rely on. `engine` is a fixture: an `OfflineEngine`."""

    def test_an_event_counts_from_its_own_instant_on(self, engine: Any, tmp_path: Path) -> None:
        asked = [(1, day(2)), (1, day(2) - MICRO), (1, day(0.5)), (1, day(99))]

        assert self.values(engine, tmp_path, self.ORDERS, "amount", asked) == [20, 10, None, 40]

    def test_every_row_comes_back_in_its_order(self, engine: Any, tmp_path: Path) -> None:
        asked = [
            (2, day(3)),
            (1, day(3)),
            (2, day(3)),
            (9, day(3)),
            (None, day(3)),
            (1, None),
            (3, day(3)),
            (1, day(3)),
        ]

        assert self.values(engine, tmp_path, self.ORDERS, "amount", asked) == [7, 20, 7, None, None, None, None, 20]

    def test_a_thousand_rows_keep_their_order_and_their_other_columns(self, engine: Any, tmp_path: Path) -> None:
        keys = [1 + n * n % 40 for n in range(1000)]
        labels = pa.DictionaryArray.from_arrays(pa.array([n % 2 for n in range(1000)], pa.int8()), ["no", "yes"])
        rows = pa.table(
            {
                "event_time": [day(50)] * 1000,
                "label": labels,
                "customer_id": keys,
                "n": pa.array(range(1000), pa.uint16()),
            }
        )
        logs = self.logs(tmp_path)
        log = pa.table({"customer_id": list(range(30)), "ts": [day(1)] * 30, "amount": list(range(30))})
        view = FeatureView("v", entity=CUSTOMER, source=logs.put("orders", log), features={"x": "amount"})

        answer = self.ask(engine, logs, [view], rows)

        assert answer.drop_columns(["x"]).equals(rows)
        assert answer["x"].to_pylist() == [key if key < 30 else None for key in keys]

    def test_equal_rows_each_get_their_answer(self, engine: Any, tmp_path: Path) -> None:
        assert self.values(engine, tmp_path, self.ORDERS, "amount", [(1, day(3))] * 5) == [20] * 5

    def test_ttl_includes_its_edge(self, engine: Any, tmp_path: Path) -> None:
        asked = [(1, day(5)), (1, day(5) + MICRO), (1, day(3.5)), (9, day(5))]

        assert self.values(engine, tmp_path, self.ORDERS, "amount", asked, ttl="1d") == [40, None, None, None]
        assert self.values(engine, tmp_path, self.ORDERS, mr.count(), asked, ttl="1d") == [3, None, None, None]

    def test_a_ttl_of_0_or_none_is_no_limit(self, engine: Any, tmp_path: Path) -> None:
        assert self.values(engine, tmp_path, self.ORDERS, "amount", [(1, day(9999))], ttl=0) == [40]
        assert self.values(engine, tmp_path, self.ORDERS, "amount", [(1, day(9999))], ttl=None) == [40]

    def test_a_ttl_does_not_cut_what_rules_look_back_on(self, engine: Any, tmp_path: Path) -> None:
        at = [(1, day(4))]

        assert self.values(engine, tmp_path, self.ORDERS, mr.first("amount"), at, ttl="1d") == [10]
        assert self.values(engine, tmp_path, self.ORDERS, mr.lag("amount", 2), at, ttl="1d") == [10]
        older = mr.last("amount", where=col("amount") < 20)
        assert self.values(engine, tmp_path, self.ORDERS, older, at, ttl="1d") == [10]

    def test_of_ties_the_later_created_wins_then_the_later_written(self, engine: Any, tmp_path: Path) -> None:
        written = table("customer_id ts amount", *((1, day(1), amount) for amount in (1, 5, 3, 9, 2)))
        created = table(
            "customer_id ts created amount",
            (1, day(1), day(3), 1), (1, day(1), day(2), 2), (1, day(1), day(3), 3), (1, day(1), None, 4),
        )  # fmt: skip

        assert self.values(engine, tmp_path, written, "amount", [(1, day(1))]) == [2]
        assert self.values(engine, tmp_path, written, mr.last_k("amount", 4), [(1, day(1))]) == [[2, 9, 3, 5]]
        assert self.values(engine, tmp_path, created, "amount", [(1, day(5))], created="created") == [3]

    def test_what_was_created_later_was_not_known(self, engine: Any, tmp_path: Path) -> None:
        log = table(
            "customer_id ts created amount",
            (1, day(1), day(1), 1), (1, day(2), day(9), 2), (1, day(3), day(3), 3), (1, day(4), None, 4),
            (2, day(1), day(9), 5),
        )  # fmt: skip
        asked = [(1, day(2)), (1, day(3)), (1, day(5)), (1, day(9)), (2, day(5)), (2, day(9))]

        known = self.values(engine, tmp_path, log, "amount", asked, created="created")
        sums = self.values(engine, tmp_path, log, mr.sum("amount"), asked, created="created")
        at_all = self.values(engine, tmp_path, log, "amount", asked, created="created", as_known=False)

        assert known == [1, 3, 3, 3, None, 5]
        assert sums == [1, 4, 4, 6, None, 5]
        assert at_all == [2, 3, 4, 4, 5, 5]

    def test_a_delay_moves_when_an_event_is_known(self, engine: Any, tmp_path: Path) -> None:
        asked = [(1, day(2.5)), (1, day(3)), (1, day(5))]

        found = self.values(engine, tmp_path, self.ORDERS, "amount", asked, delay=timedelta(days=1))

        assert found == [10, 20, 40]

    def test_a_window_is_open_at_its_old_end_and_closed_at_now(self, engine: Any, tmp_path: Path) -> None:
        asked = [(1, day(4)), (1, day(3)), (1, day(3) - MICRO), (1, day(50)), (9, day(4))]

        sums = self.values(engine, tmp_path, self.ORDERS, mr.sum("amount", window="2d"), asked)
        counts = self.values(engine, tmp_path, self.ORDERS, mr.count(window="2d"), asked)

        assert sums == [40, 20, 30, None, None]
        assert counts == [1, 1, 2, 0, None]

    def test_several_views_answer_side_by_side_though_one_is_expired(self, engine: Any, tmp_path: Path) -> None:
        logs = self.logs(tmp_path)
        orders = logs.put("orders", self.ORDERS)
        visits = logs.put("visits", table("customer_id ts page", (1, day(3.5), "cart"), (2, day(3), "home")))
        views = [
            FeatureView("orders_view", entity=CUSTOMER, source=orders, ttl="1h", features={"amount": "amount"}),
            FeatureView("visits_view", entity=CUSTOMER, source=visits, features={"page": "page"}),
            FeatureView("totals", entity=CUSTOMER, source=orders, features={"n": mr.count()}),
        ]
        rows = table("customer_id event_time", (2, day(4)), (1, day(4)), (3, day(4)))

        answer = self.ask(engine, logs, views, rows, ["visits_view:page", "totals", "orders_view:amount"])

        assert answer.column_names == ["customer_id", "event_time", "page", "n", "amount"]
        assert answer["page"].to_pylist() == ["home", "cart", None]
        assert answer["n"].to_pylist() == [1, 3, None]
        assert answer["amount"].to_pylist() == [None, 40, None]

    def test_full_names_keep_features_of_one_name_apart(self, engine: Any, tmp_path: Path) -> None:
        logs = self.logs(tmp_path)
        views = [
            FeatureView("a", entity=CUSTOMER, source=logs.put("orders", self.ORDERS), features={"x": "amount"}),
            FeatureView(
                "b", entity=CUSTOMER, source=logs.put("other", self.ORDERS), features={"x": mr.count(), "X": "amount"}
            ),
        ]

        answer = self.ask(engine, logs, views, table("customer_id event_time", (1, day(3))), full_feature_names=True)

        assert answer.select(["a__x", "b__x", "b__X"]).to_pylist() == [{"a__x": 20, "b__x": 2, "b__X": 20}]

    def test_a_view_without_key_has_one_value_for_all(self, engine: Any, tmp_path: Path) -> None:
        logs = self.logs(tmp_path)
        rates = logs.put("rates", table("ts rate", (day(1), 1.5), (day(3), 2.5)))
        views = [
            FeatureView("rates_view", entity=None, source=rates, features={"rate": "rate"}),
            FeatureView("v", entity=CUSTOMER, source=logs.put("orders", self.ORDERS), features={"amount": "amount"}),
        ]
        rows = table("customer_id event_time", (1, day(3)), (2, day(2)), (None, day(9)), (1, day(0)), (1, day(2)))

        answer = self.ask(engine, logs, views, rows)

        assert answer["rate"].to_pylist() == [2.5, 1.5, 2.5, None, 1.5]
        assert answer["amount"].to_pylist() == [20, 7, None, None, 20]

    def test_keys_of_several_columns_match_in_all_of_them(self, engine: Any, tmp_path: Path) -> None:
        logs = self.logs(tmp_path)
        log = table(
            "shop customer ts is_new amount",
            ("a", 1, day(1), True, 11), ("a", 2, day(1), True, 12), ("b", 1, day(1), False, 21),
            (None, 1, day(1), True, 0), ("", 1, day(1), True, 31), ("a", None, day(1), True, 41),
        )  # fmt: skip
        pair = Entity("pair", key=["shop", "customer", "is_new"])
        view = FeatureView("v", entity=pair, source=logs.put("orders", log), features={"x": "amount"})
        rows = table(
            "customer is_new shop event_time",
            (2, True, "a", day(2)), (1, False, "b", day(2)), (1, True, "b", day(2)), (1, True, "a", day(2)),
            (None, True, "a", day(2)), (1, True, None, day(2)), (1, True, "", day(2)),
        )  # fmt: skip

        assert self.ask(engine, logs, [view], rows)["x"].to_pylist() == [12, 21, None, 11, None, None, 31]

    def test_whole_numbers_beside_nulls_are_exact(self, engine: Any, tmp_path: Path) -> None:
        log = table("customer_id ts amount", (2**53 + 1, day(1), 2**53 + 1), (1, day(1), None), (2, day(1), 2**63 - 1))

        found = self.values(
            engine, tmp_path, log, "amount", [(1, day(2)), (2**53 + 1, day(2)), (2**53, day(2)), (2, day(2))]
        )

        assert found == [None, 2**53 + 1, None, 2**63 - 1]

    def test_the_newest_value_may_be_null(self, engine: Any, tmp_path: Path) -> None:
        log = table("customer_id ts amount", (1, day(1), 5), (1, day(2), None))

        assert self.values(engine, tmp_path, log, "amount", [(1, day(3))]) == [None]
        assert self.values(engine, tmp_path, log, mr.mean("amount"), [(1, day(3))]) == [5.0]

    def test_naive_times_are_utc(self, engine: Any, tmp_path: Path) -> None:
        logs = self.logs(tmp_path)
        hours = [datetime(2024, 3, 10, hour) for hour in (1, 2, 3, 7)]  # noqa: DTZ001 - naive on purpose
        log = pa.table({"customer_id": [1, 1, 1, 1], "ts": hours, "amount": [1, 2, 3, 7]})
        view = FeatureView("v", entity=CUSTOMER, source=logs.put("orders", log), features={"x": "amount"})
        rows = pa.table({"customer_id": [1] * 5, "event_time": [*hours, datetime(2024, 3, 10, 2, 59)]})  # noqa: DTZ001

        assert self.ask(engine, logs, [view], rows)["x"].to_pylist() == [1, 2, 3, 7, 2]

    def test_the_two_hours_of_a_night_in_autumn_are_two(self, engine: Any, tmp_path: Path) -> None:
        logs = self.logs(tmp_path)
        twins = [datetime(2024, 11, 3, hour, 30, tzinfo=UTC) for hour in (5, 6)]  # 1:30 in New York, twice
        log = pa.table({"customer_id": [1, 1], "ts": twins, "amount": [1, 2]})
        view = FeatureView(
            "v", entity=CUSTOMER, source=logs.put("orders", log), features={"x": "amount", "last_ts": "ts"}
        )
        here = pa.array(twins, pa.timestamp("us", "America/New_York"))
        rows = pa.table({"customer_id": [1, 1], "event_time": here})

        answer = self.ask(engine, logs, [view], rows)

        assert answer["x"].to_pylist() == [1, 2]
        assert answer["last_ts"].type == TIME
        assert answer["last_ts"].to_pylist() == twins
        assert answer["event_time"].type == here.type

    def test_rows_may_say_their_time_in_text_with_an_offset(self, engine: Any, tmp_path: Path) -> None:
        logs = self.logs(tmp_path)
        view = FeatureView("v", entity=CUSTOMER, source=logs.put("orders", self.ORDERS), features={"x": "amount"})
        east = timezone(timedelta(hours=5, minutes=30))
        texts = [day(2).astimezone(east).isoformat(), (day(2) - MICRO).isoformat(), "2024-01-05"]
        rows = [{"customer_id": 1, "at": text} for text in texts]

        assert self.ask(engine, logs, [view], rows, event_time="at")["x"].to_pylist() == [20, 10, 40]

    def test_an_event_without_a_time_never_was(self, engine: Any, tmp_path: Path) -> None:
        logs = self.logs(tmp_path)
        log = table("customer_id ts amount", (1, day(1), 1), (1, None, 2))
        view = FeatureView("v", entity=CUSTOMER, source=logs.put("orders", log), features={"x": mr.count()})

        assert self.ask(engine, logs, [view], table("customer_id event_time", (1, day(9))))["x"].to_pylist() == [1]

    def test_no_rows_give_no_rows_with_the_right_types(self, engine: Any, tmp_path: Path) -> None:
        logs = self.logs(tmp_path)
        features: dict[str, Any] = {
            "last": "amount",
            "mean": mr.mean("amount"),
            "n": mr.count(),
            "newest": mr.last_k("ts", 2),
        }
        view = FeatureView("v", entity=CUSTOMER, source=logs.put("orders", self.ORDERS), features=features)
        rows = pa.table({"customer_id": pa.array([], pa.int64()), "event_time": pa.array([], TIME)})

        answer = self.ask(engine, logs, [view], rows)

        assert answer.num_rows == 0
        assert answer.schema.types == [pa.int64(), TIME, pa.int64(), pa.float64(), pa.int64(), pa.list_(TIME)]

    def test_an_empty_log_answers_null(self, engine: Any, tmp_path: Path) -> None:
        assert self.values(engine, tmp_path, self.ORDERS.slice(0, 0), "amount", [(1, day(3))]) == [None]

    def test_every_kind_of_value_comes_as_it_is(self, engine: Any, tmp_path: Path) -> None:
        logs = self.logs(tmp_path)
        moment = datetime(1969, 12, 31, 23, 59, 59, 999_999, tzinfo=UTC)
        log = pa.table(
            {
                "customer_id": pa.array([1, 2], pa.int32()),
                "ts": [day(1), day(1)],
                "int": pa.array([-(2**15), None], pa.int16()),
                "float": [float("nan"), 0.1],
                "decimal": [Decimal("12.34"), None],
                "bool": [True, None],
                "string": ["ä\x00b", ""],
                "time": pa.array([moment, None], pa.timestamp("us")),
                "date": pa.array([moment.date(), None]),
                "list": pa.array([[1.5, None], []], pa.list_(pa.float32())),
            }
        )
        names = ["int", "float", "decimal", "bool", "string", "time", "date", "list"]
        view = FeatureView(
            "v", entity=CUSTOMER, source=logs.put("orders", log), features={f"f_{name}": name for name in names}
        )
        rows = table("customer_id event_time", (1, day(2)), (2, day(2)), (3, day(2)))

        answer = self.ask(engine, logs, [view], rows).drop_columns(["customer_id", "event_time"])

        midnight = datetime(1969, 12, 31, tzinfo=UTC)
        assert list(answer.to_pylist()[0].values()) == [
            -(2**15), None, 12.34, True, "ä\x00b", moment, midnight, [1.5, None],
        ]  # fmt: skip
        assert list(answer.to_pylist()[1].values()) == [None, 0.1, None, None, "", None, None, []]
        assert list(answer.to_pylist()[2].values()) == [None] * 8

    def test_every_rule_gives_the_bits_of_the_embedded_engine(self, engine: Any, tmp_path: Path) -> None:
        logs = self.logs(tmp_path)
        log = random_log(11, 400)
        source = logs.put("orders", log, created="created", delay=timedelta(minutes=5))
        view = FeatureView("v", entity=CUSTOMER, source=source, features=every_rule())
        short = FeatureView("short", entity=CUSTOMER, source=source, ttl="3d", features=every_rule())
        rows = random_rows(12, 200)

        for as_known in (True, False):
            asked = (logs, [view, short], rows)
            found = self.ask(engine, *asked, as_known=as_known, full_feature_names=True)
            expected = self.ask(EmbeddedEngine(), *asked, as_known=as_known, full_feature_names=True)
            different = [name for name in expected.column_names if not found[name].equals(expected[name])]
            assert different == []
            assert found.schema == expected.schema

    def test_a_missing_key_column_is_named(self, engine: Any, tmp_path: Path) -> None:
        error = self.error(engine, tmp_path, table("customer event_time", (1, day(1))))

        assert (error.code, "customer_id" in error.what) == ("FEAT-05", True)
        assert error.fix == "'customer' should be called 'customer_id'"

    def test_a_missing_or_wrong_time_column_is_named(self, engine: Any, tmp_path: Path) -> None:
        missing = self.error(engine, tmp_path, table("customer_id at", (1, day(1))))
        number = self.error(engine, tmp_path, table("customer_id event_time", (1, 20240101)))
        text = self.error(engine, tmp_path, table("customer_id event_time", (1, "yesterday")))

        assert [error.code for error in (missing, number, text)] == ["FEAT-06"] * 3
        assert "yesterday" in text.what

    def test_keys_of_another_type_are_refused(self, engine: Any, tmp_path: Path) -> None:
        text = self.error(engine, tmp_path, table("customer_id event_time", ("1", day(1))))
        part = self.error(engine, tmp_path, table("customer_id event_time", (1.5, day(1))))

        assert [error.code for error in (text, part)] == ["FEAT-07"] * 2

    def test_whole_floats_are_keys(self, engine: Any, tmp_path: Path) -> None:
        logs = self.logs(tmp_path)
        view = FeatureView("v", entity=CUSTOMER, source=logs.put("orders", self.ORDERS), features={"x": "amount"})
        rows = table("customer_id event_time", (2.0, day(3)), (None, day(3)), (1.0, day(3)), (float("nan"), day(3)))

        assert self.ask(engine, logs, [view], rows)["x"].to_pylist() == [7, None, 20, None]

    def test_a_column_that_the_source_lacks_is_named(self, engine: Any, tmp_path: Path) -> None:
        error = self.error(engine, tmp_path, table("customer_id event_time", (1, day(1))), rule=mr.sum("amuont"))

        assert (error.code, error.fix) == ("FEAT-08", "did you mean 'amount'?")

    def test_a_rule_that_cannot_use_its_column_is_refused(self, engine: Any, tmp_path: Path) -> None:
        error = self.error(engine, tmp_path, table("customer_id event_time", (1, day(1))), rule=mr.mean("ts"))

        assert error.code == "FEAT-09"

    def test_an_unknown_feature_is_refused_before_anything_is_read(self, engine: Any, tmp_path: Path) -> None:
        error = self.error(engine, tmp_path, table("customer_id event_time", (1, day(1))), features=["v:y"])

        assert error.code == "FEAT-02"
