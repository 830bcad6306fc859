"""A feature store of definitions alone: what a notebook needs."""

import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

import millrace as mr

LOG = pd.DataFrame(
    {"user": [1, 1, 2], "at": pd.to_datetime(["2024-05-01", "2024-05-02", "2024-05-02"]), "n": [1, 2, 3]}
)


@pytest.fixture
def view():
    user = mr.Entity("user", key="user")
    return mr.FeatureView(
        "v", entity=user, source=mr.Source("log", LOG, event_time="at"), features={"sum": mr.sum("n")}
    )


def test_views_functions_and_services_over_a_table_in_memory(view):
    @mr.on_demand(inputs={"total": "v:sum"}, outputs={"twice": "float"})
    def double(total):
        return total * 2

    store = mr.features_of([view, double, mr.FeatureService("vector", features=[view, double])])
    store.materialize(None, "2024-05-03")

    online = store.get_online_features("vector", entity_ids=[1, 2], at="2024-05-03")
    past = store.get_training_features([{"user": 1, "event_time": "2024-05-01"}], "vector")

    assert online.to_dict() == {"user": [1, 2], "sum": [3, 3], "twice": [6.0, 6.0]}
    assert past[["sum", "twice"]].to_numpy().tolist() == [[1.0, 2.0]]


def test_files_start_at_the_folder_and_the_store_stays_where_it_is_named(tmp_path):
    LOG.to_csv(tmp_path / "log.csv", index=False)
    source = mr.Source("log", "log.csv", event_time="at")
    view = mr.FeatureView("v", entity=mr.Entity("user", key="user"), source=source, features={"sum": mr.sum("n")})
    url = f"sqlite:///{tmp_path}/online.db"

    mr.features_of([view], folder=tmp_path, online=url).materialize(None, "2024-05-03")
    again = mr.features_of([view], folder=tmp_path, online=url)

    assert again.get_online_features("v", entity_ids=[2], at="2024-05-03").to_dict() == {"user": [2], "sum": [3]}


def test_a_table_in_memory_has_no_log_to_push_to(view):
    with pytest.raises(mr.MillraceError, match="DATA-15"):
        mr.features_of([view]).push("log", LOG, to="offline")


def test_naming_it_loads_no_engine():
    code = "import sys, millrace as mr; mr.features_of; print({'numpy', 'pyarrow', 'pandas'} & set(sys.modules))"

    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=Path.cwd())

    assert said.stdout == "set()\n"
