"""The rest of a Feast offline store's calls: saved datasets, pulls, writes, logs, SQL and ranges."""

import multiprocessing
from datetime import UTC, datetime, timedelta

import feast
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from feast import types
from feast.data_source import PushMode
from feast.errors import SavedDatasetLocationAlreadyExists
from feast.feature_logging import LoggingConfig
from feast.infra.offline_stores.file_source import FileLoggingDestination, SavedDatasetFileStorage

from millrace.core.errors import MillraceError

T = datetime(2024, 6, 1, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)


def field(name, dtype=types.Int64):
    return feast.Field(name=name, dtype=dtype)


@pytest.fixture
def trips(repository, driver):
    path = repository.write(
        "trips",
        {
            "driver_id": [1, 2, 1, 2],
            "trips": [10, 20, 11, 21],
            "event_timestamp": [T - 3 * HOUR, T - 2 * HOUR, T - HOUR, T - 2 * HOUR],
            "created": [T - HOUR] * 4,
        },
    )
    source = feast.FileSource(
        name="trips_file", path=path, timestamp_field="event_timestamp", created_timestamp_column="created"
    )
    push = feast.PushSource(name="trips_push", batch_source=source)
    view = feast.FeatureView(
        name="trips", entities=[driver], ttl=None, schema=[field("driver_id"), field("trips")], source=push
    )
    return [driver, source, push, view]


@pytest.fixture
def asked():
    return pd.DataFrame({"driver_id": [2, 1, 9], "event_timestamp": [T, T - 2 * HOUR, T]})


def pull(store, which, **more):
    source = store.get_data_source("trips_file")
    call = getattr(store._get_provider().offline_store, f"pull_{which}_from_table_or_query")
    return call(
        store.config,
        source,
        ["driver_id"],
        ["trips"],
        "event_timestamp",
        "created",
        start_date=T - 3 * HOUR,
        end_date=T - HOUR,
        **more,
    ).to_arrow()


def test_the_latest_rows_are_the_last_written_of_the_newest(repository, trips):
    table = pull(repository.open("millrace", *trips), "latest")

    assert table.to_pydict()["driver_id"] == [1, 2]
    assert table.to_pydict()["trips"] == [11, 21]


def test_all_rows_of_a_range_come_in_the_order_of_the_source_edges_included(repository, trips):
    table = pull(repository.open("millrace", *trips), "all")

    assert table["trips"].to_pylist() == [10, 20, 11, 21]
    assert table.column_names == ["driver_id", "trips", "event_timestamp", "created"]


def test_a_source_whose_times_are_texts_is_read_alike(repository, trips):
    rows = pd.read_parquet(trips[1].path)
    rows["event_timestamp"] = rows["event_timestamp"].dt.strftime("%Y-%m-%dT%H:%M:%SZ")
    store = repository.open("millrace", *trips)
    rows.to_parquet(trips[1].path)

    assert pull(store, "all")["trips"].to_pylist() == [10, 20, 11, 21]
    assert pull(store, "latest")["trips"].to_pylist() == [11, 21]


def test_a_result_is_persisted_and_found_again(repository, trips, asked):
    store = repository.open("millrace", *trips)
    job = store.get_historical_features(asked, ["trips:trips"])
    storage = SavedDatasetFileStorage(path=str(repository.path / "data" / "saved.parquet"))

    store.create_saved_dataset(job, "saved", storage)
    found = store.get_saved_dataset("saved").to_df()

    assert sorted(found["trips"].dropna()) == [10, 21]
    assert len(found) == 3
    with pytest.raises(SavedDatasetLocationAlreadyExists):
        job.persist(storage)
    job.persist(storage, allow_overwrite=True)


def test_rows_are_pushed_into_the_file_and_counted_as_the_last_written(repository, trips):
    store = repository.open("millrace", *trips)
    rows = pd.DataFrame({"driver_id": [1], "trips": [99], "event_timestamp": [T - HOUR], "created": [T - HOUR]})

    store.push("trips_push", rows, to=PushMode.ONLINE_AND_OFFLINE)

    table = pq.read_table(trips[1].path)
    assert table["trips"].to_pylist() == [10, 20, 11, 21, 99]
    assert pull(store, "latest")["trips"].to_pylist() == [21, 99]
    assert store.get_online_features(["trips:trips"], [{"driver_id": 1}]).to_dict()["trips"] == [99]


def test_rows_pushed_into_a_folder_become_a_file_more(repository, driver):
    folder = repository.path / "data" / "log"
    folder.mkdir()
    rows = pd.DataFrame({"driver_id": [1], "trips": [1], "event_timestamp": pd.to_datetime([T - HOUR], utc=True)})
    rows.to_parquet(folder / "0.parquet")
    source = feast.FileSource(name="log", path=str(folder), timestamp_field="event_timestamp")
    schema = [field("driver_id"), field("trips")]
    view = feast.FeatureView(name="trips", entities=[driver], schema=schema, source=source)
    store = repository.open("millrace", driver, source, view)

    store.write_to_offline_store("trips", rows.assign(trips=[2], event_timestamp=pd.to_datetime([T], utc=True)))

    assert len(list(folder.iterdir())) == 2
    found = store.get_historical_features(pd.DataFrame({"driver_id": [1], "event_timestamp": [T]}), ["trips:trips"])
    assert found.to_df()["trips"].tolist() == [2]


def test_rows_of_other_columns_are_refused_and_nothing_is_written(repository, trips):
    store = repository.open("millrace", *trips)
    provider = store._get_provider()

    with pytest.raises(MillraceError) as caught:
        provider.offline_write_batch(store.config, trips[-1], pa.table({"driver_id": [1], "tips": [1]}), None)

    assert caught.value.code == "FEAST-06"
    assert "missing: created, event_timestamp, trips; new: tips" in (caught.value.why or "")
    assert pq.read_table(trips[1].path).num_rows == 4


def _write(path, number):
    from feast.infra.offline_stores.file_source import FileSource
    from feast.repo_config import RepoConfig

    from millrace.adapters.feast_files import append_parquet

    config = RepoConfig(project="p", provider="local", registry="r.db", entity_key_serialization_version=3)
    source = FileSource(name="s", path=path, timestamp_field="t")
    for place in range(10):
        append_parquet(config, source, pa.table({"t": pa.array([T], pa.timestamp("us", "UTC")), "n": [number + place]}))


def test_two_writers_of_one_file_lose_no_rows(tmp_path):
    path = str(tmp_path / "log.parquet")
    pq.write_table(pa.table({"t": pa.array([], pa.timestamp("us", "UTC")), "n": pa.array([], pa.int64())}), path)
    context = multiprocessing.get_context("spawn")
    writers = [context.Process(target=_write, args=(path, number)) for number in (0, 100)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()

    assert sorted(pq.read_table(path)["n"].to_pylist()) == [*range(10), *range(100, 110)]
    assert [one.name for one in tmp_path.iterdir()] == ["log.parquet"]


def test_a_query_over_files_may_ask(repository, trips, asked):
    asked.to_parquet(repository.path / "asked.parquet")
    store = repository.open("millrace", *trips)

    found = store.get_historical_features(
        "SELECT driver_id, event_timestamp FROM 'asked.parquet' WHERE driver_id < 5 ORDER BY driver_id", ["trips:trips"]
    ).to_df()

    assert found["driver_id"].tolist() == [1, 2]
    assert found["trips"].tolist() == [10, 21]


def test_without_rows_all_keys_of_a_range_are_asked_as_of_its_end(repository, trips):
    store = repository.open("millrace", *trips)

    found = store.get_historical_features(features=["trips:trips"], start_date=T - 2 * HOUR, end_date=T - HOUR).to_df()

    answer = dict(zip(found["driver_id"], found["trips"], strict=True))
    assert answer == {1: 11, 2: 21}
    assert set(found["event_timestamp"]) == {pd.Timestamp(T - HOUR)}


def test_an_on_demand_view_works_on_the_joined_rows(repository, trips, asked):
    @feast.on_demand_feature_view.on_demand_feature_view(
        sources=[trips[-1]], schema=[field("double", types.Float64)], mode="pandas"
    )
    def doubled(frame: pd.DataFrame) -> pd.DataFrame:
        return pd.DataFrame({"double": frame["trips"] * 2.0})

    store = repository.open("millrace", *trips, doubled)

    found = store.get_historical_features(asked, ["doubled:double"]).to_df()

    assert found["double"].tolist()[:2] == [42.0, 20.0]
    assert pd.isna(found["double"][2])


def test_served_features_are_logged_and_read_again(repository, trips):
    folder = repository.path / "data" / "served"
    service = feast.FeatureService(
        name="ranking",
        features=[trips[-1]],
        logging_config=LoggingConfig(destination=FileLoggingDestination(path=str(folder))),
    )
    store = repository.open("millrace", *trips, service)
    logs = pa.table(
        {
            "driver_id": [1],
            "trips__trips": [5],
            "trips__trips__timestamp": pa.array([T], pa.timestamp("us", "UTC")),
            "trips__trips__status": pa.array([1], pa.int32()),
            "__log_timestamp": pa.array([T], pa.timestamp("us", "UTC")),
            "__log_date": pa.array([T.date()], pa.date32()),
            "__request_id": ["a"],
        }
    )

    store.write_logged_features(logs, service)
    store.write_logged_features(logs, service)

    assert pq.read_table(folder)["trips__trips"].to_pylist() == [5, 5]


def test_a_source_that_is_no_file_is_named(repository, driver, trips):
    store = repository.open("millrace", *trips)
    offline = store._get_provider().offline_store
    strange = feast.RequestSource(name="asked", schema=[field("x")])

    with pytest.raises(MillraceError) as caught:
        offline.pull_all_from_table_or_query(store.config, strange, [], ["x"], "event_timestamp").to_arrow()

    assert caught.value.code == "FEAST-03"
    assert "RequestSource" in caught.value.what


def test_monitoring_goes_feasts_own_way(repository, trips):
    store = repository.open("millrace", *trips)
    offline = store._get_provider().offline_store
    source = feast.FileSource(
        path=trips[1].path, timestamp_field="event_timestamp", file_format=feast.data_format.ParquetFormat()
    )

    newest = offline.get_monitoring_max_timestamp(store.config, source, "event_timestamp")

    assert newest is not None


def test_feasts_own_online_store_is_filled_by_its_own_engine(repository, trips):
    """Millrace's engine in front of another online store steps aside."""
    millrace = {
        "offline_store": {"type": "millrace.adapters.feast_offline_store.MillraceOfflineStore"},
        "batch_engine": {"type": "millrace.adapters.feast_engine.MillraceComputeEngine"},
    }
    store = repository.open("file", *trips, **millrace)

    store.materialize(T - 5 * HOUR, T)

    assert store.get_online_features(["trips:trips"], [{"driver_id": 1}]).to_dict()["trips"] == [11]
