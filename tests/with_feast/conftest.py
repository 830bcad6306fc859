"""Feast repositories, made and applied by Feast's own SDK. They need Feast's environment, `.venv-feast`."""

import importlib.util
import warnings
from datetime import UTC, datetime, timedelta

import pytest

HAS_FEAST = importlib.util.find_spec("feast") is not None
if not HAS_FEAST:
    # Feast needs pandas 2: these tests run by themselves, in the environment that has both (see the Makefile).
    collect_ignore_glob = ["test_*.py"]
else:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import feast
        import feast.infra.compute_engines.local.compute
        import feast.infra.offline_stores.dask
        import feast.infra.offline_stores.duckdb
        import feast.infra.online_stores.sqlite
        import pandas as pd

# What Feast and its dependencies warn of is theirs; what Millrace's own modules warn of stays an error.
THEIRS = [
    "ignore::Warning:(feast|ibis|duckdb|dask|pandas|google|pydantic)\\..*",
    "ignore:Saving dataset is an experimental feature:RuntimeWarning",
    "ignore:Retrieving datasets is an experimental feature:RuntimeWarning",
    "ignore:On demand feature view is an experimental feature:RuntimeWarning",
    "ignore:Using entity name is deprecated:UserWarning",
]

NOW = datetime(2024, 6, 1, 12, tzinfo=UTC)

MILLRACE = {
    "online_store": {
        "type": "millrace.adapters.feast_online_store.MillraceOnlineStore",
        "url": "lmdb:///data/online",
    },
    "offline_store": {"type": "millrace.adapters.feast_offline_store.MillraceOfflineStore"},
    "batch_engine": {"type": "millrace.adapters.feast_engine.MillraceComputeEngine"},
}
STORES = {
    "millrace": MILLRACE,
    # Feast's own engine in front of Millrace's stores: what a user has who changed the stores alone.
    "millrace-stores": {name: MILLRACE[name] for name in ("online_store", "offline_store")},
    "memory": {**MILLRACE, "online_store": {**MILLRACE["online_store"], "url": "memory://"}},
    "duckdb": {"online_store": {"type": "sqlite", "path": "data/online.db"}, "offline_store": {"type": "duckdb"}},
    "file": {"online_store": {"type": "sqlite", "path": "data/online.db"}, "offline_store": {"type": "file"}},
}


def pytest_collection_modifyitems(items):
    for item in items:
        for line in THEIRS:
            item.add_marker(pytest.mark.filterwarnings(line))


class Repository:
    """A folder in which one set of definitions can be applied to several kinds of stores."""

    def __init__(self, path):
        self.path = path
        (path / "data").mkdir(parents=True, exist_ok=True)
        self.opened = []

    def write(self, name, rows, *, times=("event_timestamp", "created")):
        """A Parquet file of `rows`, times in microseconds and UTC; its path."""
        frame = rows if isinstance(rows, pd.DataFrame) else pd.DataFrame(rows)
        for column in times:
            if column in frame:
                frame[column] = pd.to_datetime(frame[column], utc=True)
        path = self.path / "data" / f"{name}.parquet"
        frame.to_parquet(path, index=False, coerce_timestamps="us", allow_truncated_timestamps=True)
        return str(path)

    def open(self, kind="millrace", *definitions, **more):
        """A Feast store of this kind, with these definitions applied."""
        settings = {
            "project": "shop",
            "provider": "local",
            "registry": str(self.path / "data" / f"registry_{kind}.db"),
            "entity_key_serialization_version": 3,
            **{name: dict(value) for name, value in STORES[kind].items()},
            **more,
        }
        if settings["online_store"]["type"] == "sqlite":
            settings["online_store"]["path"] = str(self.path / "data" / f"online_{kind}.db")
        store = feast.FeatureStore(config=feast.RepoConfig(repo_path=self.path, **settings))
        if definitions:
            store.apply(list(definitions))
        self.opened.append(store)
        return store


@pytest.fixture
def repository(tmp_path):
    made = Repository(tmp_path)
    yield made
    for store in made.opened:
        online = store._get_provider().online_store
        if getattr(online, "_store", None) is not None:
            online._store.close()


@pytest.fixture
def driver():
    from feast.value_type import ValueType

    return feast.Entity(name="driver", join_keys=["driver_id"], value_type=ValueType.INT64)


@pytest.fixture
def ago():
    """A moment before the present, in whole seconds: online answers depend on the clock that Feast reads."""
    present = datetime.now(UTC).replace(microsecond=0)

    def moment(**span):
        return present - timedelta(**span)

    return moment
