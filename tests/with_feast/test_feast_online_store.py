"""Millrace as a Feast user's online store: every call works, and the answers are the right ones."""

import asyncio
import subprocess
import sys
import threading
from datetime import timedelta

import feast
import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
import yaml
from feast import types
from feast.data_source import PushMode
from feast.protos.feast.serving.ServingService_pb2 import FieldStatus
from feast.protos.feast.types.EntityKey_pb2 import EntityKey
from feast.protos.feast.types.Value_pb2 import Value
from feast.value_type import ValueType

from millrace.adapters.feast_lookup import Response
from millrace.core.errors import MillraceError

MILLRACE = {
    "online_store": {
        "type": "millrace.adapters.feast_online_store.MillraceOnlineStore",
        "url": "lmdb:///data/online",
    },
    "offline_store": {"type": "millrace.adapters.feast_offline_store.MillraceOfflineStore"},
    "batch_engine": {"type": "millrace.adapters.feast_engine.MillraceComputeEngine"},
}

NOT_FOUND, NULL = FieldStatus.NOT_FOUND, FieldStatus.NULL_VALUE
PRESENT, TOO_OLD = FieldStatus.PRESENT, FieldStatus.OUTSIDE_MAX_AGE
KINDS = ["millrace", "millrace-stores", "memory"]


def field(name, dtype=types.Int64):
    return feast.Field(name=name, dtype=dtype)


@pytest.fixture
def trips(repository, driver, ago):
    """A view over pushed and stored rows: trips and rating of drivers, valid for a day."""
    path = repository.write(
        "trips",
        {
            "driver_id": [1, 2, 3, 4],
            "trips": pd.array([10, 2**53 + 1, None, 4], dtype="Int64"),
            "rating": [4.5, 3.25, 5.0, 1.0],
            "event_timestamp": [ago(hours=1), ago(hours=2), ago(hours=3), ago(hours=30)],
            "created": [ago(hours=1)] * 4,
        },
    )
    source = feast.FileSource(
        name="trips_file", path=path, timestamp_field="event_timestamp", created_timestamp_column="created"
    )
    push = feast.PushSource(name="trips_push", batch_source=source)
    view = feast.FeatureView(
        name="trips",
        entities=[driver],
        ttl=timedelta(days=1),
        schema=[field("driver_id"), field("trips"), field("rating", types.Float64)],
        source=push,
    )
    return [driver, source, push, view]


REFERENCES = ["trips:trips", "trips:rating"]


def statuses(response):
    return {
        name: list(vector.statuses)
        for name, vector in zip(response.proto.metadata.feature_names.val, response.proto.results, strict=True)
    }


def pushed(ago, *rows):
    return pd.DataFrame(
        [
            {"driver_id": key, "trips": trips, "rating": 1.0, "event_timestamp": event, "created": created}
            for key, trips, event, created in rows
        ]
    )


@pytest.mark.parametrize("kind", KINDS)
def test_a_materialised_view_is_served_with_a_status_for_every_case(repository, trips, ago, kind):
    store = repository.open(kind, *trips)
    store.materialize(ago(days=5), ago())

    response = store.get_online_features(REFERENCES, [{"driver_id": key} for key in (1, 2, 3, 4, 5, 1)])

    # Feast's own engine has made a float of the number before a store sees it.
    exact = 2**53 if kind == "millrace-stores" else 2**53 + 1
    assert response.to_dict() == {
        "driver_id": [1, 2, 3, 4, 5, 1],
        "trips": [10, exact, None, None, None, 10],
        "rating": [4.5, 3.25, 5.0, None, None, 4.5],
    }
    told = statuses(response)
    assert told["driver_id"] == [PRESENT] * 6
    assert told["trips"] == [PRESENT, PRESENT, NULL, TOO_OLD, NOT_FOUND, PRESENT]
    assert told["rating"] == [PRESENT, PRESENT, PRESENT, TOO_OLD, NOT_FOUND, PRESENT]


def test_feast_on_sqlite_serves_what_expired_and_tells_null_as_present(repository, trips, ago):
    """Why the answers above differ from Feast's: if this fails, Feast has changed and docs/feast.md must too."""
    store = repository.open("file", *trips)
    store.materialize(ago(days=5), ago())

    response = store.get_online_features(REFERENCES, [{"driver_id": key} for key in (2, 3, 4)])

    assert response.to_dict()["rating"][2] == 1.0
    assert statuses(response)["trips"][1:] == [PRESENT, PRESENT]
    assert response.to_dict()["trips"][0] != 2**53 + 1


@pytest.mark.parametrize("kind", KINDS)
def test_event_times_come_on_request(repository, trips, ago, kind):
    store = repository.open(kind, *trips)
    store.materialize(ago(days=5), ago())

    answer = store.get_online_features(REFERENCES, [{"driver_id": 1}, {"driver_id": 4}, {"driver_id": 9}]).to_dict(
        include_event_timestamps=True
    )

    assert answer["trips__ts"] == [int(ago(hours=1).timestamp()), int(ago(hours=30).timestamp()), 0]
    assert answer["driver_id__ts"] == [0, 0, 0]


@pytest.mark.parametrize("kind", ["millrace", "memory"])
def test_the_newest_event_stands_in_whatever_order_rows_come(repository, trips, ago, kind):
    store = repository.open(kind, *trips)
    for event, trips_then in ((2, 20), (3, 30), (1, 10), (4, 40)):
        store.push("trips_push", pushed(ago, (7, trips_then, ago(hours=event), ago(hours=event))))

    assert store.get_online_features(["trips:trips"], [{"driver_id": 7}]).to_dict()["trips"] == [10]


def test_of_equal_events_the_later_created_stands_and_then_the_later_written(repository, trips, ago):
    store = repository.open("millrace", *trips)
    event = ago(hours=1)
    store.push("trips_push", pushed(ago, (7, 1, event, ago(minutes=10)), (8, 1, event, ago(minutes=10))))
    store.push("trips_push", pushed(ago, (7, 2, event, ago(minutes=20)), (8, 2, event, ago(minutes=10))))

    assert store.get_online_features(["trips:trips"], [{"driver_id": 7}, {"driver_id": 8}]).to_dict()["trips"] == [1, 2]


def test_materialising_an_older_window_again_overwrites_nothing(repository, trips, ago):
    store = repository.open("millrace", *trips)
    store.materialize(ago(days=5), ago())
    store.push("trips_push", pushed(ago, (1, 99, ago(minutes=1), ago(minutes=1))))
    store.materialize(ago(days=5), ago())

    assert store.get_online_features(["trips:trips"], [{"driver_id": 1}]).to_dict()["trips"] == [99]


def test_materialize_incremental_goes_on_where_it_stopped(repository, trips, ago):
    store = repository.open("millrace", *trips)
    store.materialize_incremental(ago(hours=2, minutes=30))
    assert store.get_online_features(["trips:rating"], [{"driver_id": 1}, {"driver_id": 3}]).to_dict()["rating"] == [
        None,
        5.0,
    ]

    store.materialize_incremental(ago())

    assert store.get_online_features(["trips:rating"], [{"driver_id": 1}]).to_dict()["rating"] == [4.5]


@pytest.mark.parametrize("rows", [{"driver_id": [1, 2]}, [{"driver_id": 1}, {"driver_id": 2}]])
def test_entity_rows_come_in_both_of_feasts_forms(repository, trips, ago, rows):
    store = repository.open("millrace", *trips)
    store.materialize(ago(days=5), ago())

    assert store.get_online_features(REFERENCES, rows).to_dict()["rating"] == [4.5, 3.25]


@pytest.mark.parametrize("value", [np.int64(1), 1, Value(int64_val=1)])
def test_a_key_is_found_whatever_type_of_number_it_is(repository, trips, ago, value):
    store = repository.open("millrace", *trips)
    store.materialize(ago(days=5), ago())

    assert store.get_online_features(["trips:rating"], {"driver_id": [value]}).to_dict() == {
        "driver_id": [1],
        "rating": [4.5],
    }


def test_a_null_key_is_answered_as_not_found(repository, trips, ago):
    store = repository.open("millrace", *trips)
    store.materialize(ago(days=5), ago())

    response = store.get_online_features(["trips:rating"], [{"driver_id": None}, {"driver_id": 1}])

    assert response.to_dict()["rating"] == [None, 4.5]
    assert statuses(response)["rating"] == [NOT_FOUND, PRESENT]


@pytest.mark.parametrize(
    ("features", "rows"),
    [
        (["trips:nothing"], [{"driver_id": 1}]),
        (["nothing:trips"], [{"driver_id": 1}]),
        (["trips:trips"], [{"rider_id": 1}]),
        (["trips:trips"], [{"driver_id": "one"}]),
        (["trips:trips"], [{"driver_id": 1}, {"other": 2}]),
        ([], [{"driver_id": 1}]),
    ],
)
def test_what_feast_refuses_is_refused_with_feasts_error(repository, trips, ago, features, rows):
    stores = [repository.open(kind, *trips) for kind in ("millrace", "file")]
    errors = []
    for store in stores:
        with pytest.raises(Exception) as caught:
            store.get_online_features(features, rows)
        errors.append((type(caught.value), str(caught.value)))

    assert errors[0] == errors[1]


def test_coroutines_get_the_same_answers(repository, trips, ago):
    store = repository.open("millrace", *trips)
    store.materialize(ago(days=5), ago())

    async def ask():
        await store.initialize()
        await store.push_async("trips_push", pushed(ago, (8, 80, ago(minutes=5), ago(minutes=5))), to=PushMode.ONLINE)
        return await store.get_online_features_async(REFERENCES, [{"driver_id": 1}, {"driver_id": 8}])

    assert asyncio.run(ask()).to_dict() == {"driver_id": [1, 8], "trips": [10, 80], "rating": [4.5, 1.0]}
    assert store._get_provider().async_supported.online.read


def test_a_service_and_full_names_are_answered_alike(repository, trips, ago):
    service = feast.FeatureService(name="ranking", features=[trips[-1][["rating"]]])
    store = repository.open("millrace", *trips, service)
    store.materialize(ago(days=5), ago())
    rows = [{"driver_id": 1}]

    assert store.get_online_features(store.get_feature_service("ranking"), rows).to_dict() == {
        "driver_id": [1],
        "rating": [4.5],
    }
    named = store.get_online_features(REFERENCES, rows, full_feature_names=True)
    assert named.to_dict() == {"driver_id": [1], "trips__trips": [10], "trips__rating": [4.5]}


def test_the_answer_is_feasts_in_every_form(repository, trips, ago):
    store = repository.open("millrace", *trips)
    store.materialize(ago(days=5), ago())

    response = store.get_online_features(REFERENCES, [{"driver_id": 1}, {"driver_id": 3}])

    assert type(response) is Response
    assert isinstance(response, feast.online_response.OnlineResponse)
    assert response.to_df().to_dict("list") == {
        "driver_id": [1, 3],
        "trips": pytest.approx([10, np.nan], nan_ok=True),
        "rating": [4.5, 5.0],
    }
    assert response.to_arrow().column_names == ["driver_id", "trips", "rating"]
    again = feast.online_response.OnlineResponse(response.proto, response._feature_types)
    assert again.to_dict(include_event_timestamps=True) == response.to_dict(include_event_timestamps=True)


def test_a_view_without_keys_has_one_value_for_everybody(repository, ago):
    path = repository.write("rates", {"rate": [1.5, 2.5], "event_timestamp": [ago(hours=2), ago(hours=1)]})
    source = feast.FileSource(name="rates", path=path, timestamp_field="event_timestamp")
    view = feast.FeatureView(name="rates", schema=[field("rate", types.Float64)], source=source)
    for kind in KINDS:
        store = repository.open(kind, source, view)
        store.materialize(ago(days=1), ago())

        assert store.get_online_features(["rates:rate"], {"anything": [1]}).to_dict() == {"rate": [2.5]}


def test_a_view_without_keys_goes_beside_one_with_keys(repository, trips, ago):
    path = repository.write("rates", {"rate": [1.5, 2.5], "event_timestamp": [ago(hours=2), ago(hours=1)]})
    source = feast.FileSource(name="rates", path=path, timestamp_field="event_timestamp")
    view = feast.FeatureView(name="rates", schema=[field("rate", types.Float64)], source=source)
    store = repository.open("millrace", *trips, source, view)
    store.materialize(ago(days=1), ago())

    answer = store.get_online_features(["trips:rating", "rates:rate"], [{"driver_id": 1}, {"driver_id": 9}]).to_dict()

    assert answer == {"driver_id": [1, 9], "rating": [4.5, None], "rate": [2.5, 2.5]}


def test_several_keys_and_two_aliases_of_one_view(repository, ago):
    zone = feast.Entity(name="zone", join_keys=["zone"], value_type=ValueType.STRING)
    hour = feast.Entity(name="hour", join_keys=["hour"], value_type=ValueType.INT64)
    path = repository.write(
        "fares",
        {"zone": ["a", "b", "a"], "hour": [1, 1, 2], "fare": [1.0, 2.0, 3.0], "event_timestamp": [ago(hours=1)] * 3},
    )
    source = feast.FileSource(name="fares", path=path, timestamp_field="event_timestamp")
    schema = [field("zone", types.String), field("hour"), field("fare", types.Float64)]
    view = feast.FeatureView(name="fares", entities=[zone, hour], schema=schema, source=source)
    start = view.with_name("start").with_join_key_map({"zone": "from_zone"})
    end = view.with_name("end").with_join_key_map({"zone": "to_zone"})
    service = feast.FeatureService(name="ride", features=[start, end])
    store = repository.open("millrace", zone, hour, source, view, service)
    store.materialize(ago(days=1), ago())

    assert store.get_online_features(["fares:fare"], [{"hour": 1, "zone": "b"}, {"hour": 2, "zone": "b"}]).to_dict()[
        "fare"
    ] == [2.0, None]
    ride = store.get_online_features(
        store.get_feature_service("ride"),
        [{"from_zone": "a", "to_zone": "b", "hour": 1}],
        full_feature_names=True,
    ).to_dict()
    assert ride["start__fare"] == [1.0]
    assert ride["end__fare"] == [2.0]


def test_an_on_demand_view_works_on_top(repository, trips, ago):
    request = feast.RequestSource(name="asked", schema=[field("bonus")])

    @feast.on_demand_feature_view.on_demand_feature_view(
        sources=[trips[-1], request], schema=[field("total")], mode="python"
    )
    def totals(inputs):
        return {
            "total": [
                None if trips is None else trips + bonus
                for trips, bonus in zip(inputs["trips"], inputs["bonus"], strict=True)
            ]
        }

    store = repository.open("millrace", *trips, request, totals)
    store.materialize(ago(days=5), ago())

    response = store.get_online_features(
        ["totals:total", "trips:rating"], [{"driver_id": 1, "bonus": 5}, {"driver_id": 3, "bonus": 5}]
    )

    assert response.to_dict() == {"driver_id": [1, 3], "total": [15, None], "rating": [4.5, 5.0]}


def test_every_type_of_feast_comes_back_as_from_sqlite(repository, driver, ago):
    moment = pd.Timestamp("2024-05-05T10:00:00Z")
    rows = {
        "driver_id": [1, 2],
        "i32": pd.array([7, None], dtype="Int32"),
        "f32": np.array([0.1, np.nan], dtype="float32"),
        "flag": [True, None],
        "text": ["ä ", None],
        "raw": [b"\x00\xff", None],
        "at": [moment, pd.NaT],
        "ints": [[1, 2], None],
        "floats": [[0.5], None],
        "texts": [["a", ""], None],
        "event_timestamp": [ago(hours=1)] * 2,
    }
    path = repository.write("all", rows, times=("event_timestamp", "at"))
    source = feast.FileSource(name="all", path=path, timestamp_field="event_timestamp")
    kinds = {
        "i32": types.Int32,
        "f32": types.Float32,
        "flag": types.Bool,
        "text": types.String,
        "raw": types.Bytes,
        "at": types.UnixTimestamp,
        "ints": types.Array(types.Int64),
        "floats": types.Array(types.Float64),
        "texts": types.Array(types.String),
    }
    schema = [field("driver_id"), *(field(name, kind) for name, kind in kinds.items())]
    view = feast.FeatureView(name="all", entities=[driver], schema=schema, source=source)
    answers = []
    for kind in ("millrace", "millrace-stores", "file"):
        store = repository.open(kind, driver, source, view)
        store.materialize(ago(days=1), ago())
        response = store.get_online_features([f"all:{name}" for name in kinds], [{"driver_id": 1}, {"driver_id": 2}])
        answers.append(response.to_dict())

    assert answers[0] == answers[1]
    assert {name: values[0] for name, values in answers[0].items()} == {
        name: values[0] for name, values in answers[2].items()
    }
    assert answers[0]["text"] == ["ä ", None]
    assert answers[0]["i32"] == [7, None]
    assert answers[0]["at"] == [moment.to_pydatetime(), None]


def test_rows_written_directly_are_read_directly(repository, trips, ago):
    store = repository.open("millrace", *trips)
    provider = store._get_provider()
    view = store.get_feature_view("trips")
    key = EntityKey(join_keys=["driver_id"], entity_values=[Value(int64_val=11)])
    values = {"trips": Value(int64_val=5), "rating": Value()}
    provider.online_write_batch(store.config, view, [(key, values, ago(hours=1), None)], None)
    store.write_to_online_store("trips", pushed(ago, (12, 6, ago(hours=1), ago(hours=1))))
    other = EntityKey(join_keys=["driver_id"], entity_values=[Value(int64_val=13)])

    found = provider.online_read(store.config, view, [key, other])

    assert found[0] == (ago(hours=1), {"trips": Value(int64_val=5), "rating": Value()})
    assert found[1] == (None, None)
    assert store.get_online_features(["trips:trips"], [{"driver_id": 12}]).to_dict()["trips"] == [6]


def test_a_feature_added_later_is_null_until_its_rows_come(repository, trips, ago):
    store = repository.open("millrace", *trips)
    store.materialize(ago(days=5), ago())
    path = repository.write(
        "trips",
        {
            "driver_id": [1],
            "trips": [11],
            "rating": [4.0],
            "tips": [0.5],
            "event_timestamp": [ago(minutes=30)],
            "created": [ago(minutes=30)],
        },
    )
    assert path == trips[1].path
    wider = feast.FeatureView(
        name="trips",
        entities=[trips[0]],
        ttl=timedelta(days=1),
        schema=[*trips[-1].schema, field("tips", types.Float64)],
        source=trips[2],
    )
    store.apply([*trips[:-1], wider])

    references = [*REFERENCES, "trips:tips"]
    before = store.get_online_features(references, [{"driver_id": 1}]).to_dict()
    store.materialize(ago(hours=1), ago())
    after = store.get_online_features(references, [{"driver_id": 1}, {"driver_id": 2}]).to_dict()

    assert (before["trips"], before["tips"]) == ([10], [None])
    assert (after["trips"], after["tips"]) == ([11, 2**53 + 1], [0.5, None])


def test_a_deleted_view_is_forgotten_and_teardown_forgets_all(repository, trips, ago):
    store = repository.open("millrace", *trips)
    store.materialize(ago(days=5), ago())
    online = store._get_provider().online_store
    assert any(name.startswith("feast:shop:trips") for name in online._store.views())

    store.teardown()

    assert not any(name.startswith("feast:shop:") for name in online._store.views())


def test_another_store_object_reads_what_the_first_wrote(repository, trips, ago):
    repository.open("millrace", *trips).materialize(ago(days=5), ago())

    again = repository.open("millrace")

    assert again.get_online_features(REFERENCES, [{"driver_id": 1}]).to_dict()["rating"] == [4.5]


def test_fifty_threads_read_no_wrong_value(repository, trips, ago):
    store = repository.open("millrace", *trips)
    store.materialize(ago(days=5), ago())
    wrong = []

    def read():
        for key, rating in ((1, 4.5), (2, 3.25), (3, 5.0)) * 20:
            if store.get_online_features(["trips:rating"], [{"driver_id": key}]).to_dict()["rating"] != [rating]:
                wrong.append(key)

    threads = [threading.Thread(target=read) for _ in range(50)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert wrong == []


def test_a_key_of_a_type_that_no_key_has_is_refused(repository, ago):
    basket = feast.Entity(name="basket", join_keys=["basket"], value_type=ValueType.DOUBLE)
    path = repository.write("b", {"basket": [1.5], "x": [1], "event_timestamp": [ago(hours=1)]})
    source = feast.FileSource(name="b", path=path, timestamp_field="event_timestamp")
    schema = [field("basket", types.Float64), field("x")]
    view = feast.FeatureView(name="b", entities=[basket], schema=schema, source=source)
    store = repository.open("millrace-stores", basket, source, view)

    with pytest.raises(MillraceError) as caught:
        store.materialize(ago(days=1), ago())

    assert caught.value.code == "FEAST-02"


def test_a_row_that_the_store_does_not_describe_is_told(repository, trips, ago):
    store = repository.open("memory", *trips)
    store.materialize(ago(days=5), ago())
    online = store._get_provider().online_store
    online._store.clear("feast-forms")
    online._forms.clear()

    with pytest.raises(MillraceError) as caught:
        store.get_online_features(REFERENCES, [{"driver_id": 1}]).to_dict()

    assert caught.value.code == "FEAST-01"


def test_a_store_that_cannot_be_opened_says_so(repository, trips, ago):
    blocked = repository.path / "blocked"
    blocked.write_text("a file")
    settings = {"type": "millrace.adapters.feast_online_store.MillraceOnlineStore", "url": f"lmdb:///{blocked}/online"}

    with pytest.raises(MillraceError) as caught:
        repository.open("millrace", *trips, online_store=settings)

    assert caught.value.code == "FEAT-20"


def test_an_empty_source_materialises_nothing(repository, trips, ago):
    store = repository.open("millrace", *trips)
    store.materialize(ago(days=500), ago(days=400))

    assert store.get_online_features(REFERENCES, [{"driver_id": 1}]).to_dict()["trips"] == [None]


def test_both_engines_bring_the_same_online(repository, driver, ago):
    """Thousands of rows, many of one key, ties among them: Arrow's way and Feast's way end in the same answers."""
    rng = np.random.default_rng(5)
    rows = 3_000
    path = repository.write(
        "many",
        {
            "driver_id": rng.integers(0, 200, rows),
            "x": rng.integers(-(2**40), 2**40, rows),
            "y": rng.normal(size=rows),
            "event_timestamp": [ago(minutes=int(one)) for one in rng.integers(1, 300, rows)],
            "created": [ago(seconds=int(one)) for one in rng.permutation(rows)],
        },
    )
    source = feast.FileSource(
        name="many", path=path, timestamp_field="event_timestamp", created_timestamp_column="created"
    )
    schema = [field("driver_id"), field("x"), field("y", types.Float64)]
    view = feast.FeatureView(name="many", entities=[driver], schema=schema, source=source)
    answers = []
    for kind in ("millrace", "millrace-stores", "memory"):
        store = repository.open(kind, driver, source, view, project=f"shop_{kind.replace('-', '_')}")
        store.materialize(ago(days=1), ago())
        answers.append(
            store.get_online_features(["many:x", "many:y"], [{"driver_id": key} for key in range(200)]).to_dict(
                include_event_timestamps=True
            )
        )

    assert answers[0] == answers[1] == answers[2]
    frame = pa.table(answers[0]).to_pandas()
    assert frame["x"].notna().all()


def test_a_service_with_precomputed_vectors_needs_none(repository, trips, ago):
    service = feast.FeatureService(name="fast", features=[trips[-1]], precompute_online=True)
    store = repository.open("millrace", *trips, service)
    store.materialize(ago(days=5), ago())

    answer = store.get_online_features(store.get_feature_service("fast"), [{"driver_id": 1}]).to_dict()

    assert (answer["trips"], answer["rating"]) == ([10], [4.5])


def test_redis_answers_alike(repository, trips, ago, redis_server):
    settings = {**MILLRACE["online_store"], "url": redis_server.url}
    store = repository.open("millrace", *trips, online_store=settings)
    store.materialize(ago(days=5), ago())
    store.push("trips_push", pushed(ago, (1, 9, ago(hours=5), ago(hours=5))))

    response = store.get_online_features(REFERENCES, [{"driver_id": key} for key in (1, 2, 3, 4, 5)])

    assert response.to_dict()["trips"] == [10, 2**53 + 1, None, None, None]
    assert statuses(response)["trips"] == [PRESENT, PRESENT, NULL, TOO_OLD, NOT_FOUND]
    store.teardown()
    assert store._get_provider().online_store._store.views() == ["feast-forms"]


MATERIALISER = """
import sys, warnings
warnings.simplefilter("ignore")
from datetime import UTC, datetime, timedelta
import feast
store = feast.FeatureStore(repo_path=sys.argv[1])
now = datetime.now(UTC)
while True:
    store.materialize(now - timedelta(days=5), now)
    print("materialised", flush=True)
"""


def test_a_process_killed_while_it_materialises_leaves_a_whole_store(repository, driver, ago):
    rows = 40_000
    path = repository.write(
        "many",
        {
            "driver_id": range(rows),
            "x": range(rows),
            "text": [f"t{one}" for one in range(rows)],
            "event_timestamp": [ago(hours=1)] * rows,
        },
    )
    source = feast.FileSource(name="many", path=path, timestamp_field="event_timestamp")
    schema = [field("driver_id"), field("x"), field("text", types.String)]
    view = feast.FeatureView(name="many", entities=[driver], schema=schema, source=source)
    store = repository.open("millrace", driver, source, view)
    text = yaml.safe_dump(
        {
            "project": "shop",
            "provider": "local",
            "registry": str(repository.path / "data" / "registry_millrace.db"),
            "entity_key_serialization_version": 3,
            **MILLRACE,
        }
    )
    (repository.path / "feature_store.yaml").write_text(text)
    process = subprocess.Popen(
        [sys.executable, "-c", MATERIALISER, str(repository.path)], stdout=subprocess.PIPE, text=True
    )
    for line in process.stdout:  # it is in the middle of the next one
        if "materialised" in line:
            break
    process.kill()
    process.wait()
    process.stdout.close()

    keys = [{"driver_id": key} for key in range(rows)]
    answer = store.get_online_features(["many:x", "many:text"], keys).to_dict()
    store.materialize(ago(days=5), ago())

    assert answer["x"] == list(range(rows))
    assert answer["text"][-1] == f"t{rows - 1}"
    assert store.get_online_features(["many:x"], keys).to_dict()["x"] == list(range(rows))


def test_version_metadata_comes_on_request(repository, trips, ago):
    store = repository.open("millrace", *trips)
    store.materialize(ago(days=5), ago())

    response = store.get_online_features(
        REFERENCES, [{"driver_id": 1}, {"driver_id": 4}], include_feature_view_version_metadata=True
    )

    assert [one.name for one in response.proto.metadata.feature_view_metadata] == ["trips"]
    assert response.to_dict()["rating"] == [4.5, None]
    assert statuses(response)["rating"] == [PRESENT, TOO_OLD]
