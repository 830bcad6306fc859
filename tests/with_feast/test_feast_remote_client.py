"""Feast's own client reads from Millrace's feature server, and its own server answers the same."""

import json
import math
import threading
import urllib.request
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta

import feast
import feast.feature_server
import pandas as pd
import pyarrow as pa
import pytest
from feast import types
from feast.protos.feast.types.EntityKey_pb2 import EntityKey
from feast.protos.feast.types.Value_pb2 import Value
from feast.value_type import ValueType

import millrace as mr
from millrace.features.http.access import Access
from millrace.features.http.app import FeatureApp
from millrace.features.store import FeatureStore
from millrace.serving.asgi_server import AsgiServer
from millrace.testing.memory_store import open_memory

COLUMNS = {
    "trips": types.Int64,
    "rating": types.Float64,
    "city": types.String,
    "is_new": types.Bool,
    "joined": types.UnixTimestamp,
    "scores": types.Array(types.Float64),
}
NAMES = [f"drivers:{name}" for name in COLUMNS]


@pytest.fixture(scope="module")
def rows():
    """Rows that both stores hold; event times in whole seconds, as Feast answers them."""
    present = datetime.now(UTC).replace(microsecond=0)
    return pd.DataFrame(
        {
            "driver_id": [1, 2, 3, 4],
            "event_timestamp": [present - timedelta(hours=number) for number in (1, 2, 3, 4)],
            "created": [present - timedelta(hours=1)] * 4,
            "trips": pd.array([2**53 + 1, 7, 8, 9], dtype="Int64"),
            "rating": [4.5, math.inf, -math.inf, 0.1],
            "city": ["Łódź", "b", '"', ""],
            "is_new": [True, False, True, False],
            "joined": [datetime(2020, 1, number, 3, 4, 5, tzinfo=UTC) for number in (1, 2, 3, 4)],
            "scores": [[1.0, 2.5], [3.0], [], [math.inf]],
        }
    )


@contextmanager
def served(app, while_serving=None):
    server = AsgiServer()
    try:
        yield server.start(app, while_serving)
    finally:
        server.stop()


@pytest.fixture(scope="module")
def millrace_url(rows):
    """Millrace's feature server over the rows."""
    frame = rows.drop(columns="scores")
    table = pa.Table.from_pandas(frame, preserve_index=False)
    table = table.append_column("scores", pa.array(list(rows["scores"]), pa.list_(pa.float64())))
    source = mr.Source("rides", "rides.parquet", event_time="event_timestamp", created="created")
    driver = mr.Entity("driver", key="driver_id")
    views = [
        mr.FeatureView("drivers", entity=driver, source=source, features={name: mr.last(name) for name in COLUMNS}),
        mr.FeatureView("everywhere", entity=None, source=source, features={"newest": mr.last("trips")}),
    ]
    online = open_memory()
    service = mr.FeatureService("vector", features=["drivers:trips", "drivers:rating"])
    store = FeatureStore(views, read=lambda source, start, end: table, online=online, services=[service])
    store.push("rides", table)
    app = FeatureApp(
        store,
        services={"vector": service.references},
        probe=lambda: online.read("ready", [b""]),
        access=Access("", "TOKEN"),
    )
    with served(app, app.working()) as url:
        yield url


def definitions(path):
    driver = feast.Entity(name="driver", join_keys=["driver_id"], value_type=ValueType.INT64)
    source = feast.FileSource(path=path, timestamp_field="event_timestamp", created_timestamp_column="created")
    view = feast.FeatureView(
        name="drivers",
        entities=[driver],
        ttl=timedelta(days=3650),
        source=source,
        schema=[feast.Field(name=name, dtype=dtype) for name, dtype in COLUMNS.items()],
    )
    everywhere = feast.FeatureView(
        name="everywhere",
        entities=[],
        ttl=timedelta(days=3650),
        source=source,
        schema=[feast.Field(name="newest", dtype=types.Int64)],
    )
    return driver, view, everywhere, feast.FeatureService(name="vector", features=[view[["trips", "rating"]]])


@pytest.fixture
def remote(repository, rows, millrace_url):
    """A Feast store whose online store is Millrace's server."""
    path = repository.write("drivers", rows.copy())
    return repository.open("file", *definitions(path), online_store={"type": "remote", "path": millrace_url})


def test_feasts_client_reads_every_type(remote, rows):
    # Its `remote` store works out types from the JSON: times stay seconds, and an empty array is refused (by Feast).
    asked = [{"driver_id": number} for number in (1, 2, 3, 4)]
    answer = remote.get_online_features([name for name in NAMES if name != "drivers:scores"], asked).to_dict()
    scores = remote.get_online_features(["drivers:scores"], asked[:2]).to_dict()["scores"]

    assert answer["driver_id"] == [1, 2, 3, 4]
    for name in ("trips", "city", "is_new"):
        assert answer[name] == rows[name].tolist()
    assert [float(value) for value in answer["rating"]] == rows["rating"].tolist()
    assert answer["joined"] == [int(time.timestamp()) for time in rows["joined"]]
    assert [list(one) for one in scores] == rows["scores"].tolist()[:2]


def test_feasts_client_sees_an_unknown_key_as_nothing(remote):
    answer = remote.get_online_features(["drivers:trips", "drivers:city"], [{"driver_id": 9}, {"driver_id": 2}])

    assert answer.to_dict() == {"driver_id": [9, 2], "trips": [None, 7], "city": [None, "b"]}


def test_feasts_client_asks_for_services_and_for_full_names(remote):
    service = remote.get_online_features(remote.get_feature_service("vector"), [{"driver_id": 1}]).to_dict()
    full = remote.get_online_features(["drivers:city"], [{"driver_id": 1}], full_feature_names=True).to_dict()

    assert service == {"driver_id": [1], "trips": [2**53 + 1], "rating": [4.5]}
    assert full == {"driver_id": [1], "drivers__city": ["Łódź"]}


def test_feasts_client_reads_views_without_entities(remote):
    assert remote.get_online_features(["everywhere:newest"], [{}]).to_dict()["newest"] == [2**53 + 1]


def test_a_mistake_reaches_feasts_user_with_its_text(remote):
    with pytest.raises(RuntimeError, match=r"FEAT-07.*not int"):
        remote.get_online_features(["drivers:trips"], [{"driver_id": "one"}])


def test_many_threads_of_feasts_client(remote):
    wrong = []

    def ask(number):
        for _ in range(5):
            answer = remote.get_online_features(["drivers:trips"], [{"driver_id": number}]).to_dict()
            if answer["trips"] != [{1: 2**53 + 1, 2: 7, 3: 8, 4: 9}[number]]:
                wrong.append(answer)

    threads = [threading.Thread(target=ask, args=(number,)) for number in (1, 2, 3, 4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert wrong == []


# --- the same request to Feast's server


@pytest.fixture
def feast_url(repository, rows):
    """Feast's own feature server over the same rows."""
    path = repository.write("drivers", rows.copy())
    store = repository.open("file", *definitions(path)[:2])
    store.materialize(datetime.now(UTC) - timedelta(days=1), datetime.now(UTC))
    with served(feast.feature_server.get_app(store, registry_ttl_sec=0)) as url:
        yield url


def ask(url, body):
    request = urllib.request.Request(
        f"{url}/get-online-features",
        data=json.dumps(body).encode(),
        headers={"content-type": "application/json"},
    )
    with urllib.request.urlopen(request, timeout=20) as answer:
        return json.loads(answer.read())


def by_name(answer):
    return dict(zip(answer["metadata"]["feature_names"], answer["results"], strict=True))


@pytest.mark.parametrize("full", [False, True])
def test_both_servers_answer_the_same(millrace_url, feast_url, full):
    body = {"features": NAMES, "entities": {"driver_id": [1, 2, 3, 4, 9]}, "full_feature_names": full}

    ours, theirs = ask(millrace_url, body), ask(feast_url, body)

    assert ours.keys() == theirs.keys()
    assert ours["metadata"].keys() == theirs["metadata"].keys()
    # Feast gives the columns back in an order that changes from start to start; the key is first.
    assert ours["metadata"]["feature_names"][0] == theirs["metadata"]["feature_names"][0] == "driver_id"
    assert by_name(ours) == by_name(theirs)


def test_what_is_older_in_feasts_client_reads_too(remote):
    """`online_read`, by which Feast's async and on-demand paths come."""
    key = EntityKey(join_keys=["driver_id"], entity_values=[Value(int64_val=3)])
    view = remote.get_feature_view("drivers")

    ((time, values),) = remote._get_provider().online_read(remote.config, view, [key], ["trips", "joined"])

    assert time.tzinfo is not None
    assert values["trips"].int64_val == 8
    assert values["joined"].unix_timestamp_val == int(datetime(2020, 1, 3, 3, 4, 5, tzinfo=UTC).timestamp())
