"""The usual features of customers, held against pandas on random logs and against SQL on a real one."""

from __future__ import annotations

import math
from datetime import timedelta
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from both_stores import ask_both, bits, open_both
from orders_shop import START, day, make_source

from millrace.features import aggregation as mr
from millrace.features.entity import Entity
from millrace.features.expression import col
from millrace.features.on_demand import on_demand
from millrace.features.view import FeatureView

RETAIL = Path(__file__).resolve().parents[3] / "examples" / "retail" / "data" / "online_retail.parquet"

USER = FeatureView(
    "user",
    entity=Entity("user", key="user_id"),
    source=make_source(event_time="transaction_date"),
    features={
        "avg_purchase_amount": mr.mean("transaction_amount"),
        "total_spent": mr.sum("transaction_amount"),
        "lifetime_purchases": mr.count("transaction_amount"),
        "days_since_last_purchase": mr.days_since_last(),
        "customer_lifetime_days": mr.lifetime_days(),
        "purchase_frequency": mr.ratio(mr.count("transaction_amount"), mr.lifetime_days()),
        "last_purchase_date": mr.last("transaction_date"),
        "first_purchase_date": mr.first("transaction_date"),
    },
)


def compute_user_features(transactions: pd.DataFrame, now: pd.Timestamp) -> pd.DataFrame:
    """What a team would write by hand with a groupby."""
    frame = transactions.groupby("user_id").agg(
        {"transaction_amount": ["mean", "sum", "count"], "transaction_date": ["max", "min"]}
    )
    frame.columns = pd.Index(
        ["avg_purchase_amount", "total_spent", "lifetime_purchases", "last_purchase_date", "first_purchase_date"]
    )
    frame["days_since_last_purchase"] = (now - frame["last_purchase_date"]).dt.days
    frame["customer_lifetime_days"] = (frame["last_purchase_date"] - frame["first_purchase_date"]).dt.days + 1
    frame["purchase_frequency"] = frame["lifetime_purchases"] / frame["customer_lifetime_days"]
    return frame


@pytest.mark.parametrize("seed", range(5))
def test_user_features_are_those_of_a_groupby_at_any_moment(seed: int) -> None:
    chance = np.random.default_rng(seed)
    rows = 400
    seconds = np.sort(chance.integers(0, 90 * 86_400, rows))
    frame = pd.DataFrame(
        {
            "user_id": chance.integers(1, 25, rows),
            "transaction_date": pd.Timestamp("2024-01-01") + pd.to_timedelta(seconds, unit="s"),
            # Quarters add up without rounding: a sum is then the same in any order.
            "transaction_amount": np.where(chance.random(rows) < 0.1, np.nan, chance.integers(-400, 4000, rows) / 4),
        }
    )
    moments = [day(float(at)) for at in chance.uniform(1, 100, 4)]
    expected, asked = [], []
    for moment in moments:
        now = pd.Timestamp(moment).tz_localize(None)
        made = compute_user_features(frame[frame["transaction_date"] <= now], now)
        for user, row in made.iterrows():
            asked.append({"user_id": user, "event_time": moment})
            expected.append(row)

    answers = ask_both(USER, pa.Table.from_pandas(frame, preserve_index=False), asked)

    assert len(answers) > 60
    for answer, row in zip(answers, expected, strict=True):
        for name in ("lifetime_purchases", "days_since_last_purchase", "customer_lifetime_days", "purchase_frequency"):
            assert answer[name] == row[name]
        for name in ("first_purchase_date", "last_purchase_date"):
            assert answer[name] == row[name].tz_localize("UTC")
        if row["lifetime_purchases"]:
            assert answer["total_spent"] == row["total_spent"]
            assert answer["avg_purchase_amount"] == pytest.approx(row["avg_purchase_amount"], rel=1e-15)
        else:  # pandas says the sum of nothing is 0
            assert (answer["total_spent"], answer["avg_purchase_amount"]) == (None, None)


SALE = ~col("InvoiceNo").starts_with("C")
AMOUNT = col("Quantity") * col("UnitPrice")
RFM: dict[str, Any] = {
    "recency": mr.days_since_last(where=SALE),
    "tenure": mr.days_since_first(where=SALE),
    "lifetime": mr.lifetime_days(where=SALE),
    "orders": mr.count_distinct("InvoiceNo", where=SALE),
    "lines": mr.count(where=SALE),
    "spend": mr.sum(AMOUNT, where=SALE),
    "items": mr.sum("Quantity", where=SALE),
    "articles": mr.count_distinct("StockCode", where=SALE),
    "dearest": mr.max("UnitPrice", where=SALE),
    "returned": mr.sum(AMOUNT, where=col("Quantity") < 0),
    "cancels": mr.count_distinct("InvoiceNo", where=~SALE),
    "spread": mr.std("Quantity", where=SALE),
    "basket": mr.ratio(mr.sum(AMOUNT, where=SALE), mr.count_distinct("InvoiceNo", where=SALE)),
    "country": mr.last("Country"),
    "gifts": mr.count(where=(col("UnitPrice") == 0) | col("StockCode").is_in(["M", "POST"])),
    **{f"orders_{days}d": mr.count_distinct("InvoiceNo", window=f"{days}d", where=SALE) for days in (7, 30, 90)},
    **{f"spend_{days}d": mr.sum(AMOUNT, window=f"{days}d", where=SALE) for days in (7, 30, 90)},
    "mean_24h": mr.mean("UnitPrice", window="24h"),
}
SQL = """
select CustomerID,
  floor(epoch($at - max(InvoiceDate) filter (sale)) / 86400) recency,
  floor(epoch($at - min(InvoiceDate) filter (sale)) / 86400) tenure,
  floor(epoch(max(InvoiceDate) filter (sale) - min(InvoiceDate) filter (sale)) / 86400) + 1 lifetime,
  count(distinct InvoiceNo) filter (sale) orders,
  count(*) filter (sale) lines,
  sum(Quantity * UnitPrice) filter (sale) spend,
  sum(Quantity) filter (sale) items,
  count(distinct StockCode) filter (sale) articles,
  max(UnitPrice) filter (sale) dearest,
  sum(Quantity * UnitPrice) filter (Quantity < 0) returned,
  count(distinct InvoiceNo) filter (not sale) cancels,
  stddev_samp(Quantity) filter (sale) spread,
  sum(Quantity * UnitPrice) filter (sale) / nullif(count(distinct InvoiceNo) filter (sale), 0) basket,
  last(Country order by InvoiceDate, line) country,
  count(*) filter (UnitPrice = 0 or StockCode in ('M', 'POST')) gifts,
  count(distinct InvoiceNo) filter (sale and InvoiceDate > $at - interval 7 day) orders_7d,
  count(distinct InvoiceNo) filter (sale and InvoiceDate > $at - interval 30 day) orders_30d,
  count(distinct InvoiceNo) filter (sale and InvoiceDate > $at - interval 90 day) orders_90d,
  sum(Quantity * UnitPrice) filter (sale and InvoiceDate > $at - interval 7 day) spend_7d,
  sum(Quantity * UnitPrice) filter (sale and InvoiceDate > $at - interval 30 day) spend_30d,
  sum(Quantity * UnitPrice) filter (sale and InvoiceDate > $at - interval 90 day) spend_90d,
  avg(UnitPrice) filter (InvoiceDate > $at - interval 24 hour) mean_24h
from (select *, row_number() over () line, not starts_with(InvoiceNo, 'C') sale from log)
where InvoiceDate <= $at and CustomerID in (select unnest($customers))
group by CustomerID
"""


def test_an_rfm_set_is_that_of_sql_on_a_real_log() -> None:
    chance = np.random.default_rng(11)
    log = pq.read_table(RETAIL)
    known = log["CustomerID"].drop_null().unique().to_pylist()
    customers = [int(one) for one in chance.choice(sorted(known), 200, replace=False)]
    customers[0], customers[1] = 14911, 17850
    first, last = log["InvoiceDate"][0].as_py(), log["InvoiceDate"][-1].as_py()
    # Two moments anywhere, two on the minute of an invoice, one on the edge of a window before an invoice.
    moments = [first + timedelta(seconds=int(one)) for one in chance.uniform(3e6, (last - first).total_seconds(), 2)]
    instants = [log["InvoiceDate"][int(row)].as_py() for row in chance.integers(200_000, log.num_rows, 3)]
    moments += [instants[0], instants[1], instants[2] + timedelta(days=30)]
    some = log.filter(pa.compute.is_in(log["CustomerID"], value_set=pa.array(customers, pa.int32())))
    view = FeatureView(
        "rfm",
        entity=Entity("customer", key="CustomerID"),
        source=make_source(event_time="InvoiceDate"),
        features=RFM,
        event_key="StockCode",
    )
    asked = [{"CustomerID": customer, "event_time": at} for at in moments for customer in customers]

    answers = ask_both(view, some, asked)

    connection = duckdb.connect()
    connection.register("log", some)
    told: dict[Any, dict[str, Any]] = {}
    for at in moments:
        found = connection.execute(SQL, {"at": at, "customers": customers})
        names = [column[0] for column in found.description]
        told |= {(at, row[0]): dict(zip(names, row, strict=True)) for row in found.fetchall()}
    nothing = dict.fromkeys(RFM)
    there = 0
    for question, answer in zip(asked, answers, strict=True):
        expected = told.get((question["event_time"], question["CustomerID"]), nothing)
        there += expected is not nothing
        for name, value in answer.items():
            wanted = expected[name]
            if isinstance(value, float) and wanted is not None:
                assert math.isclose(value, wanted, rel_tol=1e-9, abs_tol=1e-6), (name, question)
            else:
                assert value == wanted, (name, question)
    assert there > 500


def test_features_of_features_are_written_with_a_function() -> None:
    """What a groupby does after its aggregation: derived columns, nulls filled, shares taken."""
    view = FeatureView(
        "rfm",
        entity=Entity("customer", key="customer_id"),
        source=make_source(),
        features={"spend": mr.sum("amount"), "spend_30d": mr.sum("amount", window="30d"), "n": mr.count()},
    )

    @on_demand(
        inputs={"spend": "rfm:spend", "recent": "rfm:spend_30d", "n": "rfm:n"},
        outputs={"log_spend": "float", "recent_share": "float", "segment": "string"},
    )
    def segments(spend: Any, recent: Any, n: Any) -> Any:
        recent = np.nan_to_num(recent)
        return {
            "log_spend": np.log1p(np.maximum(spend, 0)),
            "recent_share": recent / spend,
            "segment": np.where(np.isnan(n), "new", np.where(n > 1, "regular", "once")).astype(object),
        }

    log = pa.table(
        {
            "customer_id": [1, 1, 2],
            "ts": pa.array([START, day(40), day(1)], pa.timestamp("us", "UTC")),
            "amount": [10.0, 30.0, 0.0],
        }
    )
    asked = [{"customer_id": key, "event_time": day(at)} for key, at in ((1, 0), (1, 40), (1, 99), (2, 9), (3, 9))]

    rows = ask_both([view, segments], log, asked, [segments])

    assert [row["segment"] for row in rows] == ["once", "regular", "regular", "once", "new"]
    assert [row["recent_share"] for row in rows] == [1.0, 0.75, 0.0, None, None]
    assert rows[1]["log_spend"] == math.log1p(40.0)


def test_long_histories_have_the_same_bits_read_as_one_key_or_as_many() -> None:
    """8,000 lines of one customer, asked alone online and among all offline."""
    log = pq.read_table(RETAIL)
    some = log.filter(pa.compute.is_in(log["CustomerID"], value_set=pa.array([17841, 14911, 12347], pa.int32())))
    view = FeatureView(
        "v",
        entity=Entity("customer", key="CustomerID"),
        source=make_source(event_time="InvoiceDate"),
        features={"spend": mr.sum(AMOUNT), "spread": mr.std(AMOUNT), "mean": mr.mean("UnitPrice", window="200d")},
    )
    store = open_both(view, some)
    store.materialize(None, day(3000))
    at = START - timedelta(days=30)
    rows = [
        {"CustomerID": key, "event_time": at - timedelta(days=back)} for back in (0, 50, 800) for key in (17841, 12347)
    ]

    past = store.get_historical_features(rows, "v").to_arrow()

    for place, row in enumerate(rows):
        online = store.plan("v").read(row, row["event_time"])
        assert bits(online) == bits([past[name][place].as_py() for name in view.features])
