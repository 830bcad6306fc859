"""MLflow holds what the ledger holds, once, and the loop does not need it."""

import gc
import socket
import subprocess
import sys
import warnings

import numpy as np
import pandas as pd
import pytest
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression

from millrace.adapters.mlflow import open_tracker
from millrace.core.bundle import Column, Manifest
from millrace.core.errors import ProjectError, ServiceError
from millrace.registry.registry import Registry
from millrace.store.ledger import Ledger
from millrace.store.outbox import Message

GENERATOR = np.random.default_rng(0)
X = pd.DataFrame({"price": GENERATOR.normal(size=60), "day": GENERATOR.integers(1, 8, 60)})
Y = np.where(X.price > 0, "UP", "DOWN")
MODELS = {"d1": LogisticRegression().fit(X, Y), "d2": RandomForestClassifier(5, random_state=0).fit(X, Y)}
COLUMNS = [Column("price", "float"), Column("day", "int")]
RUN = {
    "kind": "run",
    "run_id": "run-1",
    "model": "electricity",
    "parameters": {"C": 1.0, "solver": "lbfgs"},
    "metrics": {"accuracy": 0.81, "roc_auc": None},
    "tags": {"trigger": "degradation"},
    "start": "2024-01-01T00:00:00.000000Z",
    "end": "2024-01-01T00:01:00.000000Z",
    "status": "done",
}
READ = """
import json, sys, pandas, mlflow
model = mlflow.pyfunc.load_model("models:/electricity@champion")
print(json.dumps(list(model.predict(pandas.read_json(sys.stdin)))))
"""


@pytest.fixture
def uri(tmp_path):
    return f"sqlite:///{tmp_path}/mirror/mlflow.db"


@pytest.fixture
def tracker(uri, tmp_path):
    tracker = open_tracker(
        {
            "uri": uri,
            "artifacts": tmp_path / "artifacts",
            "load_model": MODELS.__getitem__,
            "load_manifest": lambda digest: Manifest("electricity", "binary", COLUMNS, ["DOWN", "UP"], "onnx", {}),
        }
    )
    yield tracker
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)  # MLflow leaves its SQLite connections to the collector
        tracker._open_client = None
        gc.collect()


@pytest.fixture
def ledger(tmp_path):
    """A ledger with a run, two versions and a champion, all queued for the tracker."""
    ledger = Ledger.open(f"sqlite:///{tmp_path}/ledger.db")
    ledger.append("run", "electricity", {}, tells=[("tracker", "run:run-1", RUN)])
    registry = Registry(ledger)
    for number in (1, 2):
        registry.register(
            "electricity",
            digest=f"d{number}",
            golden="g",
            run_id=f"run-{number}",
            metrics={},
            parameters={},
            lineage={"commit": "abc"},
            files={},
            key=f"run-{number}",
        )
    registry.move_alias("electricity", "champion", 2, reason="promoted")
    yield ledger
    ledger.close()


def mirrored(tracker):
    """What MLflow holds: runs, versions with their tags, the champion."""
    client = tracker._client()
    experiment = client.get_experiment_by_name("electricity")
    runs = client.search_runs([experiment.experiment_id], order_by=["attributes.start_time"])
    versions = client.search_model_versions("name = 'electricity'", order_by=["version_number ASC"])
    return (
        sorted((run.data.tags["millrace.key"], run.info.status) for run in runs),
        [(int(v.version), v.tags["millrace.version"], v.tags["millrace.digest"]) for v in versions],
        int(client.get_model_version_by_alias("electricity", "champion").version),
        len(client.search_logged_models([experiment.experiment_id])),
    )


WANTED = (
    [("run:run-1", "FINISHED"), ("run:run-2", "FINISHED")],
    [(1, "1", "d1"), (2, "2", "d2")],
    2,
    2,
)


def test_the_champion_loads_and_answers_in_a_process_that_knows_only_mlflow(tracker, ledger, uri, monkeypatch):
    delivery = ledger.outbox.deliver("tracker", tracker.deliver)
    assert (delivery.sent, delivery.failed, delivery.last_error) == (4, 0, None)
    assert mirrored(tracker) == WANTED

    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    monkeypatch.setenv("MLFLOW_DISABLE_TELEMETRY", "true")
    rows = X.head(8)
    answer = subprocess.run(
        [sys.executable, "-c", READ], input=rows.to_json(), capture_output=True, text=True, check=True
    )
    assert answer.stdout.splitlines()[-1] == str(list(map(str, MODELS["d2"].predict(rows)))).replace("'", '"')


def test_a_run_carries_its_parameters_metrics_and_times(tracker):
    tracker.deliver(Message("tracker", "run:run-1", RUN, 0))
    client = tracker._client()
    (run,) = client.search_runs([client.get_experiment_by_name("electricity").experiment_id])

    assert run.data.params == {"C": "1.0", "solver": "lbfgs"}
    assert run.data.metrics == {"accuracy": 0.81}
    assert (run.data.tags["trigger"], run.data.tags["millrace.status"]) == ("degradation", "done")
    assert run.info.end_time - run.info.start_time == 60_000


def test_every_message_may_come_twice(tracker, ledger):
    messages = ledger.outbox.pending("tracker")
    for message in [*messages, *messages]:
        tracker.deliver(message)
    client = tracker._client()
    (run,) = client.search_runs(
        [client.get_experiment_by_name("electricity").experiment_id], "tags.`millrace.key` = 'run:run-1'"
    )

    assert mirrored(tracker) == WANTED
    assert len(client.get_metric_history(run.info.run_id, "accuracy")) == 1


@pytest.mark.parametrize("broken", ["log_model_artifacts", "finalize_logged_model", "create_model_version"])
def test_a_delivery_cut_short_is_finished_by_the_next(tracker, ledger, monkeypatch, broken):
    client = tracker._client()

    def fail(*_, **__):
        raise ConnectionError("cut")

    with monkeypatch.context() as patch:
        patch.setattr(client, broken, fail)
        cut = ledger.outbox.deliver("tracker", tracker.deliver)
    assert (cut.sent, cut.failed) == (1, 1)
    assert "REG-10" in cut.last_error
    done = ledger.outbox.deliver("tracker", tracker.deliver, due_only=False)

    assert (done.sent, done.failed) == (3, 0)
    assert mirrored(tracker) == WANTED


def test_the_signature_has_the_manifests_types(tracker, ledger, uri, monkeypatch):
    import mlflow

    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    ledger.outbox.deliver("tracker", tracker.deliver)
    source = tracker._client().get_model_version("electricity", "1").source
    info = mlflow.models.get_model_info(source)

    assert [(c.name, c.type.name) for c in info.signature.inputs] == [("price", "double"), ("day", "long")]
    assert info.flavors["sklearn"]["serialization_format"] == "skops"


def test_mlflow_that_is_down_loses_nothing(ledger):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    tracker = open_tracker({"uri": f"http://127.0.0.1:{port}", "load_model": MODELS.__getitem__})
    delivery = ledger.outbox.deliver("tracker", tracker.deliver)

    assert (delivery.sent, delivery.failed) == (0, 1)
    assert "REG-10" in delivery.last_error
    assert len(ledger.outbox.pending("tracker", due_only=False)) == 4
    assert Registry(ledger).get("electricity", "champion").version == 2


def test_an_alias_waits_for_its_version(tracker):
    tracker.deliver(Message("tracker", "run:run-1", RUN, 0))
    body = {"kind": "alias", "model": "electricity", "alias": "champion", "version": 9}
    with pytest.raises(ServiceError) as caught:
        tracker.deliver(Message("tracker", "alias", body, 0))

    assert caught.value.code == "REG-11"


def test_another_kind_of_message_is_refused(tracker):
    with pytest.raises(ProjectError) as caught:
        tracker.deliver(Message("tracker", "x", {"kind": "versoin"}, 0))

    assert (caught.value.code, caught.value.fix) == ("REG-12", "did you mean 'version'?")


def test_a_tracker_without_settings_says_what_is_missing():
    with pytest.raises(ProjectError) as caught:
        open_tracker({"uri": ""})

    assert caught.value.code == "PROJ-67"
    assert "no uri and no load_model" in caught.value.what
