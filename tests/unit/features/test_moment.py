"""Moments as callers write them, and online answers as pandas tables."""

from datetime import UTC, date, datetime, timedelta, timezone
from typing import Any

import pandas as pd
import pyarrow as pa
import pytest
from orders_shop import day

from millrace.core.errors import DataError
from millrace.features import aggregation as mr
from millrace.features.columns import TIME
from millrace.features.entity import Entity
from millrace.features.moment import a_moment

NOON = datetime(2024, 5, 1, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        (NOON, NOON),
        (NOON.replace(tzinfo=None), NOON),
        (datetime(2024, 5, 1, 14, tzinfo=timezone(timedelta(hours=2))), NOON),
        (pd.Timestamp("2024-05-01 12:00"), NOON),
        ("2024-05-01T12:00:00Z", NOON),
        ("2024-05-01 12:00", NOON),
        (date(2024, 5, 1), NOON - timedelta(hours=12)),
        ("2024-05-01", NOON - timedelta(hours=12)),
    ],
)
def test_a_moment_is_a_datetime_a_date_or_its_text(written: Any, meant: datetime) -> None:
    assert a_moment(written, "at") == meant


@pytest.mark.parametrize("written", ["tomorrow", "", 5, 1.5, None, pd.NaT, [NOON]])
def test_what_is_no_moment_is_refused(written: Any) -> None:
    with pytest.raises(DataError, match=r"FEAT-06  at=.* is not a time"):
        a_moment(written, "at")


@pytest.fixture
def store(customer: Entity, make_store: Any, orders_view: Any) -> Any:
    log = pa.table(
        {
            "customer_id": [1, 2],
            "ts": pa.array([day(0), day(1)], TIME),
            "amount": pa.array([2**53 + 1, None], pa.int64()),
            "good": [True, None],
        }
    )
    return make_store(orders_view, log)


@pytest.fixture
def orders_view(customer: Entity) -> Any:
    from orders_shop import make_source

    from millrace.features.view import FeatureView

    features = {"amount": mr.last("amount"), "good": mr.last("good"), "n": mr.count()}
    return FeatureView("v", entity=customer, source=make_source(), features=features)


def test_texts_and_dates_do_for_every_moment_of_a_store(store: Any) -> None:
    end = day(5).date()

    assert store.materialize("2020-01-01", end) == {"v": 2}
    assert store.materialize_incremental(end.isoformat()) == {"v": 0}
    assert store.get_online_features("v:n", entity_ids=[1], at=end).to_dict()["n"] == [1]
    for call in (
        lambda: store.materialize("soon", end),
        lambda: store.materialize_incremental(7),
        lambda: store.get_online_features("v", entity_ids=[1], at="soon"),
    ):
        with pytest.raises(DataError, match="FEAT-06"):
            call()


def test_whole_numbers_and_bools_beside_nulls_keep_their_values_in_pandas(store: Any) -> None:
    store.materialize(None, day(5))

    frame = store.get_online_features("v", entity_ids=[1, 2, 3], at=day(5)).to_df()

    assert [str(kind) for kind in frame.dtypes[["amount", "good", "n"]]] == ["Int64", "boolean", "Int64"]
    assert frame["amount"].tolist() == [2**53 + 1, pd.NA, pd.NA]
    assert frame["good"].tolist() == [True, pd.NA, pd.NA]


@pytest.mark.parametrize("features", [5, None])
def test_features_that_are_no_references_are_refused(store: Any, features: Any) -> None:
    with pytest.raises(DataError, match="FEAT-03"):
        store.get_online_features(features, entity_ids=[1])
    with pytest.raises(DataError, match="FEAT-03"):
        store.get_historical_features([{"customer_id": 1, "event_time": day(1)}], features)
