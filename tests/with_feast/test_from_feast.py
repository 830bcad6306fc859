"""A Feast repository read into Millrace: the same answers, and a finding for whatever is left out."""

from datetime import UTC, datetime, timedelta

import feast
import numpy as np
import pandas as pd
import pytest
from feast import types
from feast.value_type import ValueType

import millrace as mr
from millrace.adapters.feast import FeastRepository, from_feast
from millrace.core.clock import ManualClock
from millrace.core.errors import MillraceError

T = datetime(2024, 6, 1, 12, tzinfo=UTC)
HOUR, DAY = timedelta(hours=1), timedelta(days=1)


def field(name, dtype=types.Int64, **more):
    return feast.Field(name=name, dtype=dtype, **more)


@pytest.fixture
def definitions(repository):
    """Everything that is taken over: keys of both kinds, mapping, push, aliases, a view without keys, functions."""
    rng = np.random.default_rng(3)
    rows = 400
    log = repository.write(
        "trips",
        {
            "driver_id": rng.integers(0, 20, rows),
            "n": rng.integers(0, 9, rows),
            "rating": rng.normal(size=rows).astype("float32"),
            "name": [f"d{one}" for one in range(rows)],
            "event_timestamp": [T - int(one) * HOUR for one in rng.permutation(rows)],
            "created": [T - int(one) * HOUR / 60 for one in rng.permutation(rows)],
        },
    )
    rates = repository.write("rates", {"rate": [1.0, 2.0], "event_timestamp": [T - DAY, T - HOUR]})
    fares = repository.write(
        "fares", {"zone": ["a", "b"], "driver_id": [1, 1], "fare": [3, 4], "event_timestamp": [T - HOUR] * 2}
    )
    driver = feast.Entity(name="driver", join_keys=["driver_id"], value_type=ValueType.INT64, description="who drives")
    zone = feast.Entity(name="zone", join_keys=["zone"], value_type=ValueType.STRING)
    trips = feast.FileSource(
        name="trips_file",
        path=log,
        timestamp_field="event_timestamp",
        created_timestamp_column="created",
        field_mapping={"n": "trips"},
    )
    push = feast.PushSource(name="trips_push", batch_source=trips)
    stats = feast.FeatureView(
        name="stats",
        entities=[driver],
        ttl=timedelta(days=3),
        schema=[
            field("driver_id"),
            field("trips", description="how many"),
            field("rating", types.Float32),
            field("name", types.String),
        ],
        source=push,
        tags={"team": "rides", "core": ""},
        owner="ops",
        description="what drivers did",
    )
    rate = feast.FeatureView(
        name="rate",
        schema=[field("rate", types.Float64)],
        source=feast.FileSource(name="rates_file", path=rates, timestamp_field="event_timestamp"),
    )
    fare = feast.FeatureView(
        name="fare",
        entities=[zone, driver],
        schema=[field("zone", types.String), field("driver_id"), field("fare")],
        source=feast.FileSource(name="fares_file", path=fares, timestamp_field="event_timestamp"),
    )
    request = feast.RequestSource(name="asked", schema=[field("bonus")])

    @feast.on_demand_feature_view.on_demand_feature_view(
        sources=[stats, request], schema=[field("pay", types.Float64)], mode="python"
    )
    def pay(inputs):
        pairs = zip(inputs["trips"], inputs["bonus"], strict=True)
        return {"pay": [None if trips is None else trips * 2.5 + bonus for trips, bonus in pairs]}

    @feast.on_demand_feature_view.on_demand_feature_view(
        sources=[stats], schema=[field("twice", types.Float64)], mode="pandas"
    )
    def twice(frame: pd.DataFrame) -> pd.DataFrame:
        return pd.DataFrame({"twice": frame["rating"] * 2.0})

    service = feast.FeatureService(
        name="ranking", features=[stats[["rating"]], rate], tags={"model": "rank"}, owner="ops"
    )
    pair = feast.FeatureService(
        name="pair",
        features=[
            stats[["trips"]].with_name("second").with_join_key_map({"driver_id": "second_id"}),
            stats[["rating"]],
        ],
    )
    return [driver, zone, trips, push, stats, rate, fare, request, pay, twice, service, pair]


@pytest.fixture
def both(repository, definitions):
    """The repository in Feast, and as Millrace reads it."""
    store = repository.open("duckdb", *definitions)
    return store, from_feast(store)


REFERENCES = ["stats:trips", "stats:rating", "stats:name", "rate:rate", "fare:fare"]


@pytest.fixture
def asked():
    rng = np.random.default_rng(4)
    rows = 150
    return pd.DataFrame(
        {
            "driver_id": rng.integers(0, 22, rows),
            "zone": rng.choice(["a", "b", "c"], rows),
            "row": np.arange(rows),
            "event_timestamp": pd.to_datetime([T - int(one) * HOUR for one in rng.integers(0, 200, rows)], utc=True),
        }
    )


def test_definitions_keep_what_they_say(both):
    _, found = both

    stats = found["stats"]
    assert isinstance(found, FeastRepository)
    assert stats == mr.FeatureView(
        "stats",
        entity=mr.Entity("driver", key="driver_id", description="who drives"),
        source=found.sources["trips_push"],
        features={"trips": "n"},
        schema=[mr.Field("trips", "int"), mr.Field("rating", "float"), mr.Field("name", "string")],
        ttl="3d",
        tags=["core", "team=rides"],
        owner="ops",
        description="what drivers did",
    )
    assert stats.describe("trips") == "how many"
    assert found.sources["trips_push"].created == "created"
    assert found["fare"].keys == ("zone", "driver_id")
    assert found["rate"].entity is None
    assert found.services["ranking"].references == ("stats:rating", "rate:rate")
    assert found.services["ranking"].tags == ("model=rank",)
    assert found["second"].keys == ("second_id",)
    assert found.findings == ()


def test_training_rows_are_feasts_where_feast_is_right(both, asked):
    theirs, found = both

    expected = theirs.get_historical_features(asked, REFERENCES).to_df().sort_values("row", ignore_index=True)
    got = found.open().get_historical_features(asked, REFERENCES, as_known=False).to_df()

    assert got["row"].tolist() == list(range(len(asked)))
    for reference in REFERENCES:
        name = reference.partition(":")[2]
        mine = [None if pd.isna(one) else one for one in got[name]]
        assert mine == [None if pd.isna(one) else one for one in expected[name]]
    assert got["trips"].notna().sum() > 20


def test_on_demand_functions_answer_as_in_feast(both, asked):
    theirs, found = both
    asked["bonus"] = 1

    expected = theirs.get_historical_features(asked, ["pay:pay", "twice:twice"]).to_df().sort_values("row")
    got = found.open().get_historical_features(asked, ["pay:pay", "twice:twice"], as_known=False).to_df()

    assert got["pay"].fillna(-1).tolist() == expected["pay"].fillna(-1).tolist()
    assert got["twice"].fillna(-99).astype(float).tolist() == pytest.approx(
        expected["twice"].fillna(-99).astype(float).tolist()
    )


def test_functions_of_other_code_are_other_definitions(both):
    _, found = both

    assert found.on_demand["pay"].digest() != found.on_demand["twice"].digest()
    assert from_feast(both[0]).on_demand["pay"].digest() == found.on_demand["pay"].digest()


def test_online_answers_follow_after_materialising(both):
    _, found = both
    store = found.open("memory://", clock=ManualClock(T))
    store.materialize(T - 30 * DAY, T + HOUR)
    rows = [{"driver_id": key} for key in range(22)]

    got = store.get_online_features(["stats:trips", "stats:rating", "rate:rate"], rows).to_dict()
    past = found.open().get_historical_features(
        pd.DataFrame({"driver_id": range(22), "event_timestamp": [T] * 22}), ["stats:trips", "stats:rating"]
    )

    assert got["trips"] == past.to_arrow()["trips"].to_pylist()
    assert got["rating"] == past.to_arrow()["rating"].to_pylist()
    assert got["rate"] == [2.0] * 22


def test_rows_are_pushed_to_the_push_source_as_in_feast(both):
    _, found = both
    store = found.open("memory://", clock=ManualClock(T))

    store.push(
        "trips_push",
        [{"driver_id": 90, "n": 4, "rating": 1.5, "name": "x", "event_timestamp": T, "created": T}],
    )

    assert store.get_online_features(["stats:trips", "stats:rating"], [{"driver_id": 90}]).to_dict() == {
        "driver_id": [90],
        "trips": [4],
        "rating": [1.5],
    }


def test_an_alias_has_keys_of_its_own(both):
    _, found = both
    rows = pd.DataFrame({"driver_id": [1, 2], "second_id": [2, 1], "event_timestamp": [T, T]})

    got = found.open().get_historical_features(rows, found.services["pair"], as_known=False).to_arrow()
    plain = found.open().get_historical_features(rows, ["stats:trips"], as_known=False).to_arrow()

    assert got["trips"].to_pylist() == plain["trips"].to_pylist()[::-1]


def test_what_cannot_be_taken_over_is_told(repository, definitions, driver):
    path = repository.write("raw", {"driver_id": [1], "blob": [b"x"], "n": [1], "event_timestamp": [T]})
    source = feast.FileSource(name="raw", path=path, timestamp_field="event_timestamp")
    odd = feast.FeatureView(
        name="odd",
        entities=[definitions[0]],
        schema=[field("driver_id"), field("blob", types.Bytes), field("n")],
        source=source,
    )
    named = feast.FeatureView(
        name="with-dash", entities=[definitions[0]], schema=[field("driver_id"), field("n")], source=source
    )
    service = feast.FeatureService(name="blobs", features=[odd])
    store = repository.open("duckdb", definitions[0], source, odd, named, service)

    found = from_feast(store)

    assert [one.code for one in found.findings] == ["FEAST-13", "FEAST-12", "FEAST-14"]
    assert "odd:blob" in found.findings[0].what
    assert list(found.views["odd"].rules) == ["n"]
    assert "blobs" not in found.services
    with pytest.raises(MillraceError) as caught:
        found["with-dash"]
    assert caught.value.code == "FEAST-10"
    with pytest.raises(MillraceError) as caught:
        from_feast(store, strict=True)
    assert caught.value.code == "FEAST-10"
    assert len(caught.value.findings) == 3


def test_no_repository_and_an_empty_one_are_told(tmp_path, repository):
    with pytest.raises(MillraceError) as caught:
        from_feast(tmp_path / "nowhere")
    assert caught.value.code == "FEAST-11"

    with pytest.raises(MillraceError) as caught:
        from_feast(repository.open("duckdb"))
    assert caught.value.code == "FEAST-11"
    assert "feast apply" in (caught.value.fix or "")
