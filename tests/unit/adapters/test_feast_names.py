"""A file written for Feast works by changing its imports. These tests need no Feast."""

import subprocess
import sys
import textwrap
from datetime import UTC, datetime, timedelta

import pandas as pd
import pytest

import millrace as mr
from millrace.adapters import feast_names_types
from millrace.adapters.feast_names import (
    Array,
    Bool,
    Entity,
    FeatureService,
    FeatureStore,
    FeatureView,
    Field,
    FileSource,
    Float32,
    Int64,
    PushMode,
    String,
)
from millrace.core.clock import ManualClock
from millrace.core.errors import MillraceError

T = datetime(2024, 1, 10, tzinfo=UTC)
# The feature view of the well-known example, as it is written for Feast but for the imports.
DEFINITIONS = """
from datetime import timedelta

from millrace.adapters.feast_names import Entity, FeatureService, FeatureView, Field, FileSource, PushSource
from millrace.adapters.feast_names_types import Float32, Int64

user = Entity(name="user", join_keys=["user_id"], description="User entity")
user_features = FeatureView(
    name="user_features",
    entities=[user],
    schema=[
        Field(name="age", dtype=Int64),
        Field(name="avg_purchase_amount", dtype=Float32),
    ],
    source=PushSource(
        name="users_push",
        batch_source=FileSource(path="data/users", timestamp_field="event_timestamp"),
    ),
    ttl=timedelta(days=365),
)
ranking = FeatureService(name="ranking", features=[user_features[["age"]]])
"""
REFERENCES = ["user_features:age", "user_features:avg_purchase_amount"]


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "definitions.py").write_text(DEFINITIONS)
    (tmp_path / "data" / "users").mkdir(parents=True)
    frame = pd.DataFrame(
        {
            "user_id": [1, 2, 1],
            "age": [30, 40, 31],
            "avg_purchase_amount": [1.5, 2.5, 3.5],
            "event_timestamp": pd.to_datetime([T - timedelta(days=day) for day in (5, 400, 1)], utc=True),
        }
    )
    frame.to_parquet(tmp_path / "data" / "users" / "0.parquet")
    return tmp_path


@pytest.fixture
def store(folder):
    return FeatureStore(repo_path=folder, online="memory://", clock=ManualClock(T))


def test_definitions_are_millraces_own(store):
    view = store.get_feature_view("user_features")

    assert isinstance(view, mr.FeatureView)
    assert view.entity == mr.Entity("user", key="user_id", description="User entity")
    assert view.schema == (mr.Field("age", "int"), mr.Field("avg_purchase_amount", "float"))
    assert view.ttl_span == timedelta(days=365)
    assert store.get_entity("user").keys == ("user_id",)
    assert store.get_feature_service("ranking").references == ("user_features:age",)


def test_training_rows_come_back_in_their_order(store):
    asked = pd.DataFrame(
        {
            "user_id": [2, 1, 9, 1],
            "event_timestamp": [pd.Timestamp(T)] * 3 + [pd.Timestamp(T - timedelta(days=3))],
            "label": [1, 0, 1, 0],
        }
    )

    frame = store.get_historical_features(entity_df=asked, features=REFERENCES).to_df()

    assert frame["label"].tolist() == [1, 0, 1, 0]
    assert frame["age"].tolist() == [pd.NA, 31, pd.NA, 30]


def test_the_time_column_is_found_as_feast_finds_it(store):
    asked = pd.DataFrame({"user_id": [1], "when": [pd.Timestamp(T)]})

    assert store.get_historical_features(asked, REFERENCES).to_df()["age"].tolist() == [31]


def test_features_are_served_after_materialising(store):
    store.materialize(T - timedelta(days=30), T - timedelta(days=1))

    online = store.get_online_features(features=REFERENCES, entity_rows={"user_id": [1, 2]}).to_df()

    assert online["age"].tolist()[0] == 31
    assert pd.isna(online["age"].tolist()[1])
    assert store.get_online_features(store.get_feature_service("ranking"), [{"user_id": 1}]).to_dict() == {
        "user_id": [1],
        "age": [31],
    }


def test_a_store_opened_again_goes_on_where_the_last_one_stopped(folder):
    clock = ManualClock(T)
    FeatureStore(folder, clock=clock).materialize_incremental(end_date=T - timedelta(days=2))

    again = FeatureStore(folder, clock=clock)
    before = again.get_online_features(["user_features:age"], [{"user_id": 1}]).to_dict()["age"]
    again.materialize_incremental(end_date=T)

    assert before == [30]
    assert again.get_online_features(["user_features:age"], [{"user_id": 1}]).to_dict()["age"] == [31]


@pytest.mark.parametrize("to", [PushMode.ONLINE, PushMode.OFFLINE, PushMode.ONLINE_AND_OFFLINE])
def test_rows_are_pushed_where_feasts_words_say(store, to):
    row = {"user_id": [7], "age": [70], "avg_purchase_amount": [7.0], "event_timestamp": [pd.Timestamp(T)]}

    store.push("users_push", pd.DataFrame(row), to=to)

    asked = pd.DataFrame({"user_id": [7], "event_timestamp": [pd.Timestamp(T)]})
    online = store.get_online_features(["user_features:age"], [{"user_id": 7}]).to_dict()["age"]
    offline = store.get_historical_features(asked, ["user_features:age"]).to_arrow()["age"].to_pylist()
    assert online == [None if to is PushMode.OFFLINE else 70]
    assert offline == [None if to is PushMode.ONLINE else 70]


def test_a_file_beside_the_process_is_found_when_the_folder_has_none(folder, tmp_path_factory, monkeypatch):
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    (elsewhere / "definitions.py").write_text(DEFINITIONS)
    monkeypatch.chdir(folder)
    store = FeatureStore(elsewhere, online="memory://", clock=ManualClock(T))

    asked = pd.DataFrame({"user_id": [1], "event_timestamp": [pd.Timestamp(T)]})
    assert store.get_historical_features(asked, REFERENCES).to_df()["age"].tolist() == [31]


def test_what_was_created_later_counts_unless_asked_otherwise(tmp_path):
    frame = pd.DataFrame(
        {
            "id": [1, 1],
            "x": [1, 2],
            "at": pd.to_datetime([T - timedelta(days=2), T - timedelta(days=1)], utc=True),
            "made": pd.to_datetime([T - timedelta(days=2), T + timedelta(days=1)], utc=True),
        }
    )
    frame.to_parquet(tmp_path / "x.parquet")
    source = FileSource(path="x.parquet", timestamp_field="at", created_timestamp_column="made")
    store = FeatureStore(tmp_path, online="memory://")
    store.apply(
        FeatureView(
            name="v",
            entities=[Entity(name="id")],
            schema=[Field(name="id", dtype=Int64), Field(name="x", dtype=Int64)],
            source=source,
        )
    )
    asked = pd.DataFrame({"id": [1], "event_timestamp": [pd.Timestamp(T)]})

    assert store.get_historical_features(asked, ["v:x"]).to_df()["x"].tolist() == [2]
    known = store.get_historical_features(asked, ["v:x"], filter_by_created_timestamp=True)
    assert known.to_df()["x"].tolist() == [1]


def test_mapped_columns_several_entities_and_lists(tmp_path):
    frame = pd.DataFrame({"a": [1], "b": ["x"], "old": [[1, 2]], "ok": [True], "at": pd.to_datetime([T], utc=True)})
    frame.to_parquet(tmp_path / "x.parquet")
    source = FileSource(path=tmp_path / "x.parquet", timestamp_field="at", field_mapping={"old": "new"})
    view = FeatureView(
        name="v",
        entities=[Entity(name="one", join_keys=["a"]), Entity(name="other", join_keys=["b"])],
        schema=[Field(name="new", dtype=Array(Int64)), Field(name="ok", dtype=Bool), Field(name="b", dtype=String)],
        source=source,
        tags={"team": "x", "core": ""},
    )
    store = FeatureStore(tmp_path / "none", online="memory://")
    store.apply([view, FeatureService(name="all", features=[view])])
    asked = pd.DataFrame({"a": [1, 1], "b": ["x", "y"], "event_timestamp": [pd.Timestamp(T)] * 2})

    answer = store.get_historical_features(asked, store.get_feature_service("all")).to_arrow()

    assert view.tags == ("team=x", "core")
    assert answer["new"].to_pylist() == [[1, 2], None]
    assert answer["ok"].to_pylist() == [True, None]


def test_a_view_that_is_not_online_is_not_materialised(tmp_path):
    frame = pd.DataFrame({"id": [1], "x": [1], "at": pd.to_datetime([T - timedelta(days=1)], utc=True)})
    frame.to_parquet(tmp_path / "x.parquet")
    source = FileSource(path="x.parquet", timestamp_field="at")
    schema = [Field(name="x", dtype=Int64)]
    views = [
        FeatureView(name=name, entities=[Entity(name="id")], schema=schema, source=source, online=name == "on")
        for name in ("on", "off")
    ]
    store = FeatureStore(tmp_path, online="memory://", clock=ManualClock(T))
    store.apply(views)

    store.materialize_incremental(T)

    answer = store.get_online_features(["on:x", "off:x"], [{"id": 1}], full_feature_names=True).to_dict()
    assert (answer["on__x"], answer["off__x"]) == ([1], [None])


@pytest.mark.parametrize(
    ("mistake", "code"),
    [
        (lambda store: store.get_feature_view("user_feature"), "FEAST-10"),
        (lambda store: store.apply([3]), "FEAST-10"),
        (lambda store: store.get_online_features(["user_features:agee"], [{"user_id": 1}]), "FEAT-02"),
        (
            lambda store: FeatureView(name="v", entities=[], source=FileSource(path="x", timestamp_field="t")),
            "FEAST-19",
        ),
        (lambda store: feast_names_types.Bytes, "FEAST-19"),
    ],
)
def test_mistakes_are_told(store, mistake, code):
    with pytest.raises(MillraceError) as caught:
        mistake(store)

    assert caught.value.code == code
    assert caught.value.fix


def test_a_folder_without_definitions_is_told(tmp_path):
    with pytest.raises(MillraceError) as caught:
        FeatureStore(tmp_path).get_online_features(["v:x"], [{"id": 1}])

    assert caught.value.code == "FEAST-11"


def test_it_loads_no_feast(folder):
    code = textwrap.dedent(
        """
        import sys
        from millrace.adapters.feast_names import FeatureStore
        FeatureStore(sys.argv[1]).list_feature_views()
        print(sorted(name for name in sys.modules if name.split(".")[0] == "feast"))
        """
    )
    done = subprocess.run([sys.executable, "-c", code, folder], capture_output=True, text=True, timeout=60, check=True)

    assert done.stdout.strip() == "[]"
    assert Float32 == "float"
