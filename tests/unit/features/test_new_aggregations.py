"""What each rule answers, worked out by hand; the past and the online store must say the same."""

from __future__ import annotations

from typing import Any

import pyarrow as pa
import pytest
from both_stores import ask_both
from orders_shop import START, day, make_source

from millrace.features import aggregation as mr
from millrace.features.columns import TIME
from millrace.features.entity import Entity
from millrace.features.expression import col
from millrace.features.view import FeatureView

CUSTOMER = Entity("customer", key="customer_id")
# Customer 1 by day: 0: 10 a | 1: nothing b | 1: 30 a, the same moment, written later | 5: 50 of nothing | 10: 7 c
LOG = pa.table(
    {
        "customer_id": pa.array([1, 1, 1, 1, 1, 2], pa.int64()),
        "ts": pa.array([day(0), day(1), day(1), day(5), day(10), day(3)], TIME),
        "amount": pa.array([10, None, 30, 50, 7, None], pa.int64()),
        "item": ["a", "b", "a", None, "c", None],
        "price": [1.5, None, -0.0, 0.0, float("nan"), None],
        "paid": [True, False, True, None, True, None],
        "when": pa.array([day(0), None, day(2), day(2), day(9), None], TIME),
    }
)


def ask(rule: Any, at: float, *, customer: int = 1, log: pa.Table = LOG, **changes: Any) -> Any:
    """The value of one rule for a customer at a moment."""
    source = make_source(**changes)
    view = FeatureView("v", entity=CUSTOMER, source=source, features={"x": rule})
    ((answer,),) = [row.values() for row in ask_both(view, log, [{"customer_id": customer, "event_time": day(at)}])]
    return answer


@pytest.mark.parametrize(
    ("rule", "at", "expected"),
    [
        (mr.first("amount"), 0, 10),
        (mr.first("amount"), 99, 10),
        (mr.first("amount", window="9d"), 10, 50),  # (1, 10]: both events of day 1 lie on the open edge
        (mr.first("amount", window="9d"), 9.99, None),  # the oldest inside is the first of day 1, whose value is null
        (mr.first("amount", where=col("amount") > 10), 10, 30),
        (mr.first("item", where=~col("paid")), 10, "b"),
        (mr.first("when", window="1d"), 10, day(9)),
        (mr.first("amount", window="1d"), 20, None),
        (mr.last("amount", window="5d"), 10, 7),
        (mr.last("amount", window="4d"), 9, None),  # (5, 9] is empty
        (mr.last("amount", window="4d"), 8.99, 50),
        (mr.last("amount"), 1, 30),  # of two at one moment the later written
        (mr.last("amount", where=col("paid")), 9, 30),
        (mr.lag("amount", 1, where=col("amount").is_null() | (col("amount") < 50)), 10, 30),
        (mr.lag("amount", 2, where=col("paid")), 10, 10),
        (mr.lag("amount", 3, where=col("paid")), 10, None),
    ],
)
def test_first_last_and_lag(rule: Any, at: float, expected: Any) -> None:
    assert ask(rule, at) == expected


@pytest.mark.parametrize(
    ("rule", "at", "expected"),
    [
        (mr.last_k("amount", 2), 10, [7, 50]),
        (mr.last_k("amount", 9), 10, [7, 50, 30, None, 10]),  # nulls are what the rows say
        (mr.last_k("amount", 9), 0, [10]),
        (mr.last_k("item", 3), 5, [None, "a", "b"]),
        (mr.last_k("price", 3), 5, [0.0, -0.0, None]),
        (mr.last_k("price", 1), 10, [None]),  # not a number is null
        (mr.last_k("paid", 3), 10, [True, None, True]),
        (mr.last_k("when", 2), 10, [day(9), day(2)]),
        (mr.last_k("amount", 3, window="5d"), 10, [7]),
        (mr.last_k("amount", 3, window="1d"), 20, []),
        (mr.last_k("amount", 2, where=col("paid")), 10, [7, 30]),
        (mr.last_k("amount", 2, where=col("item") == "nothing"), 10, []),
        (mr.last_k(col("amount") * 2, 2), 10, [14, 100]),
        (mr.last_k(col("item") == "a", 4), 10, [False, None, True, False]),
    ],
)
def test_last_k_is_a_list_with_the_newest_first(rule: Any, at: float, expected: Any) -> None:
    assert ask(rule, at) == expected


@pytest.mark.parametrize(
    ("rule", "at", "expected"),
    [
        (mr.count_distinct("item"), 10, 3),
        (mr.count_distinct("item"), 1, 2),
        (mr.count_distinct("price"), 10, 2),  # 1.5 and zero, of whichever sign; null and nan are no values
        (mr.count_distinct("paid"), 10, 2),
        (mr.count_distinct("when"), 10, 3),
        (mr.count_distinct("amount", window="5d"), 10, 1),
        (mr.count_distinct("amount", window="1d"), 99, 0),
        (mr.count_distinct("item", where=col("paid")), 10, 2),
        (mr.count_distinct(col("amount") > 20), 10, 2),
        (mr.count(), 10, 5),
        (mr.count("amount"), 10, 4),
        (mr.count(where=col("paid")), 10, 3),
        (mr.count(where=~col("paid")), 10, 1),
        (mr.count(where=col("paid") | ~col("paid")), 10, 4),  # where the condition is null, the row does not count
        (mr.count("amount", window="9d", where=col("amount") >= 7), 10, 2),
    ],
)
def test_counts(rule: Any, at: float, expected: int) -> None:
    assert ask(rule, at) == expected


@pytest.mark.parametrize(
    ("rule", "at", "expected"),
    [
        (mr.days_since_first(), 0, 0),
        (mr.days_since_first(), 10.9, 10),
        (mr.days_since_first(window="9d"), 10.5, 5),
        (mr.days_since_first(window="1d"), 99, None),
        (mr.days_since_first(where=col("amount") > 10), 10, 9),
        (mr.days_since_last(where=col("item") == "a"), 10.5, 9),
        (mr.days_since_last(where=col("item") == "z"), 10.5, None),
        (mr.lifetime_days(), 0, 1),
        (mr.lifetime_days(), 0.9, 1),
        (mr.lifetime_days(), 99, 11),  # first to last, not to now
        (mr.lifetime_days(window="9d"), 10, 6),
        (mr.lifetime_days(window="1d"), 99, None),
        (mr.lifetime_days(where=col("item") == "a"), 10, 2),
    ],
)
def test_days(rule: Any, at: float, expected: int | None) -> None:
    assert ask(rule, at) == expected


def test_a_delay_is_in_no_age_but_in_what_is_seen() -> None:
    from datetime import timedelta

    delayed = {"delay": timedelta(days=2)}

    assert ask(mr.days_since_first(), 1.9, **delayed) is None
    assert ask(mr.days_since_first(), 2, **delayed) == 2
    assert ask(mr.days_since_last(), 12.5, **delayed) == 2
    assert ask(mr.lifetime_days(), 11.9, **delayed) == 6
    # A window holds what became known in it: on day 12 the last day holds the event of day 10.
    assert ask(mr.count(window="1d"), 12, **delayed) == 1
    assert ask(mr.count(window="1d"), 11, **delayed) == 0


def test_lifetimes_are_cut_to_whole_days_as_a_clock_counts_them() -> None:
    log = pa.table({"customer_id": [1, 1], "ts": pa.array([day(0.5), day(2.25)], TIME), "amount": [1, 2]})

    assert ask(mr.lifetime_days(), 9, log=log) == 2  # 1.75 days are 1, plus 1


@pytest.mark.parametrize(
    ("rule", "at", "expected"),
    [
        (mr.ratio(mr.sum("amount"), mr.count("amount")), 10, 97 / 4),
        (mr.ratio(mr.sum("amount", window="5d"), mr.sum("amount")), 10, 7 / 97),
        (mr.ratio(mr.count(where=col("item") == "a"), mr.count()), 10, 0.4),
        (mr.ratio(mr.sum("amount", window="1d"), mr.count()), 99, None),  # the sum of nothing is null
        (mr.ratio(mr.count(window="1d"), mr.count()), 99, 0.0),
        (mr.ratio(mr.count(), mr.count(window="1d")), 99, None),  # nothing is divided by 0
        (mr.ratio(mr.count(), mr.lifetime_days()), 10, 5 / 11),
        (mr.ratio(mr.last("amount"), mr.first("amount")), 10, 0.7),
        (mr.ratio(mr.ratio(mr.sum("amount"), mr.count()), mr.max("amount")), 10, 97 / 5 / 50),
        (mr.ratio(mr.last("paid"), mr.count()), 10, 0.2),
    ],
)
def test_ratios(rule: Any, at: float, expected: float | None) -> None:
    assert ask(rule, at) == expected


def test_a_ratio_of_whole_numbers_is_a_float_however_large() -> None:
    log = pa.table({"customer_id": [1, 1], "ts": pa.array([day(0), day(1)], TIME), "amount": [2**53 + 1, 2]})

    assert ask(mr.ratio(mr.first("amount"), mr.last("amount")), 2, log=log) == float(2**53 + 1) / 2.0


@pytest.mark.parametrize(
    "rule",
    [
        mr.first("amount"), mr.days_since_first(), mr.lifetime_days(), mr.last_k("amount", 2),
        mr.count_distinct("item"), mr.ratio(mr.count(), mr.count()), mr.count(where=col("paid")),
    ],
    ids=str,
)  # fmt: skip
def test_of_a_key_without_events_everything_is_null(rule: Any) -> None:
    """A count too: nothing is known of this customer, which is not the same as none in a window."""
    assert ask(rule, 99, customer=77) is None
    assert ask(rule, -1) is None


def test_a_key_whose_values_are_all_null() -> None:
    assert ask(mr.count_distinct("item"), 9, customer=2) == 0
    assert ask(mr.sum("amount"), 9, customer=2) is None
    assert ask(mr.first("amount"), 9, customer=2) is None
    assert ask(mr.last_k("item", 3), 9, customer=2) == [None]
    assert ask(mr.ratio(mr.sum("amount"), mr.count()), 9, customer=2) is None
    assert ask(mr.count(where=col("paid")), 9, customer=2) == 0
    assert ask(mr.days_since_first(where=col("paid")), 9, customer=2) is None


def test_several_windows_of_one_column_side_by_side() -> None:
    view = FeatureView(
        "v",
        entity=CUSTOMER,
        source=make_source(),
        features={f"sum_{span}": mr.sum("amount", window=span) for span in ("60s", "90m", "24h", "5d", "9d")}
        | {"all": mr.sum("amount")},
    )

    at_ten, minute_later = ask_both(
        view,
        LOG,
        [{"customer_id": 1, "event_time": day(10)}, {"customer_id": 1, "event_time": day(10 + 1 / 1440)}],
    )

    assert at_ten == {"sum_60s": 7, "sum_90m": 7, "sum_24h": 7, "sum_5d": 7, "sum_9d": 57, "all": 97}
    assert minute_later == {**at_ten, "sum_60s": None}


@pytest.mark.parametrize(
    ("rule", "expected"),
    [
        (mr.sum("amount", where=col("paid")), 47),
        (mr.mean("amount", where=col("paid")), 47 / 3),
        (mr.min("amount", where=col("amount") > 7), 10),
        (mr.max("amount", where=col("item").is_null()), 50),
        (mr.std("amount", where=col("item") == "a"), 200**0.5),
        (mr.std("amount", where=col("item") == "c"), None),
        (mr.sum("paid"), 3),
        (mr.mean("paid"), 0.75),
    ],
)
def test_conditions_on_the_plain_rules(rule: Any, expected: float) -> None:
    assert ask(rule, 10) == expected


def test_a_created_time_hides_events_from_every_rule() -> None:
    log = LOG.append_column("seen", pa.array([day(0), day(1), day(8), None, day(10), day(3)], TIME))
    rules = {
        "first": mr.first("amount", where=col("amount") > 10),
        "items": mr.count_distinct("item"),
        "newest": mr.last_k("amount", 3),
        "share": mr.ratio(mr.count(where=col("paid")), mr.count()),
        "age": mr.days_since_first(where=col("amount") > 10),
        "life": mr.lifetime_days(),
    }
    view = FeatureView("v", entity=CUSTOMER, source=make_source(created="seen"), features=rules)

    early, late = ask_both(view, log, [{"customer_id": 1, "event_time": day(at)} for at in (7.9, 8)])

    # The 30 of day 1 was known on day 8 only, the 50 of day 5 never.
    assert early == {"first": None, "items": 2, "newest": [None, 10], "share": 0.5, "age": None, "life": 2}
    assert late == {"first": 30, "items": 2, "newest": [30, None, 10], "share": 2 / 3, "age": 7, "life": 2}


def test_a_ttl_ends_every_rule_at_once_and_keeps_what_they_look_back_on() -> None:
    rules = {"first": mr.first("amount"), "items": mr.count_distinct("item"), "all": mr.last_k("amount", 9)}
    view = FeatureView("v", entity=CUSTOMER, source=make_source(), features=rules, ttl="3d")

    edge, past = ask_both(
        view, LOG, [{"customer_id": 1, "event_time": moment} for moment in (day(13), day(13) + (day(1) - START) / 1e6)]
    )

    assert edge == {"first": 10, "items": 3, "all": [7, 50, 30, None, 10]}
    assert past == {"first": None, "items": None, "all": None}


def test_rules_of_a_view_without_key_look_at_everybody() -> None:
    view = FeatureView(
        "v",
        entity=None,
        source=make_source(),
        features={
            "customers": mr.count_distinct("customer_id"),
            "first": mr.first("item"),
            "newest": mr.last_k("customer_id", 2, window="9d"),
            "life": mr.lifetime_days(),
        },
    )

    (row,) = ask_both(view, LOG, [{"event_time": day(10)}])

    assert row == {"customers": 2, "first": "a", "newest": [1, 1], "life": 11}


def test_texts_of_any_length_and_alphabet_are_told_apart() -> None:
    texts = ["", "a", "a ", "ä", "a\u0308", "日本", "日", "x" * 70_000, "x" * 69_999, "", "ä"]
    log = pa.table({"customer_id": [1] * len(texts), "ts": pa.array([day(0)] * len(texts), TIME), "item": texts})

    assert ask(mr.count_distinct("item"), 1, log=log) == 9
    assert ask(mr.last_k("item", 3), 1, log=log) == ["ä", "", "x" * 69_999]
