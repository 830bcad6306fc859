import json
from datetime import UTC, datetime

import numpy as np
import pytest

from millrace.core.bundle import Column
from millrace.core.clock import ManualClock
from millrace.core.errors import DataError, StoreError
from millrace.serving.app import App
from millrace.serving.inputs import InputReader
from millrace.serving.prediction_log import PredictionLog, read_predictions
from millrace.serving.predictor import Predictor, load_predictor, read_manifest
from millrace.serving.slot import Served, Slot

NOW = datetime(2024, 5, 1, 12, tzinfo=UTC)
GIVEN = {"amount": 3.0, "orders": 2, "is_new": True}


def look_up(features, key, at):
    return [key["customer_id"] for _ in features]


@pytest.fixture
def serve(make_release, blobs):
    """``serve(version)``: an application with that version loaded; None for one with nothing loaded."""

    def make(version=1, *, lookup=look_up, log=None, infer=None, **settings):
        slot = Slot()
        if version is not None:
            release = make_release(version, **settings.pop("bundle", {}))
            predictor = load_predictor(read_manifest(release.digest, blobs), blobs)
            if infer is not None:
                predictor = Predictor(predictor.manifest, infer)
            slot.swap(Served(release, predictor, InputReader(predictor.manifest, lookup)))
        return App(slot, log=log, clock=ManualClock(NOW), **settings)

    return make


def test_an_answer_names_the_model_that_gave_it(serve, ask):
    app = serve(3)

    reply = ask(app, "POST", "/predict", {"inputs": GIVEN, "request_id": "mine"})

    assert reply.status == 200
    assert reply.headers["content-type"] == "application/json"
    body = reply.json()
    assert body.keys() == {"model", "version", "digest", "request_id", "predictions"}
    assert (body["model"], body["version"], body["request_id"]) == ("churn", 3, "mine")
    assert body["digest"] == app.slot.current.release.digest
    ((output, scores),) = [(entry["output"], entry["scores"]) for entry in body["predictions"]]
    assert output == "yes-3"
    assert sum(scores) == pytest.approx(1.0)


def test_features_are_looked_up_by_key(serve, ask):
    app = serve()
    inputs = {"amount": 3.0, "is_new": True}

    by_key = ask(app, "POST", "/predict", {"inputs": inputs, "key": {"customer_id": 2}}).json()
    by_value = ask(app, "POST", "/predict", {"inputs": {**inputs, "orders": 2}}).json()

    assert by_key["predictions"] == by_value["predictions"]
    assert by_key["request_id"] != by_value["request_id"]


def test_a_list_of_rows_is_answered_in_order_and_logged_row_by_row(serve, ask, tmp_path):
    log = PredictionLog(tmp_path / "log", sync="each")
    rows = [{**GIVEN, "amount": amount} for amount in (3.0, -3.0)]
    keys = [{"customer_id": 1}, {"customer_id": 2}]

    reply = ask(
        serve(log=log),
        "POST",
        "/predict",
        {"inputs": rows, "key": keys, "event_time": "2024-04-30T00:00:00Z", "request_id": "a"},
    )
    log.close()

    assert [entry["output"] for entry in reply.json()["predictions"]] == ["yes-1", "no-1"]
    first, second = read_predictions(tmp_path / "log")
    assert (first.request_id, second.request_id) == ("a/0", "a/1")
    assert (first.key, second.key) == tuple(keys)
    assert second.features == [-3.0, 2, True]
    assert second.output == "no-1"
    assert list(second.scores) == reply.json()["predictions"][1]["scores"]
    assert second.event_time == "2024-04-30T00:00:00.000000Z"
    assert second.at == "2024-05-01T12:00:00.000000Z"
    assert (second.model, second.version) == ("churn", 1)


def test_a_request_without_event_time_is_about_now(serve, ask, tmp_path):
    log = PredictionLog(tmp_path / "log", sync="each")
    ask(serve(log=log), "POST", "/predict", {"inputs": GIVEN, "request_id": "a"})
    log.close()

    (found,) = read_predictions(tmp_path / "log")
    assert (found.event_time, found.request_id) == (found.at, "a")


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (b"", "SERVE-20"),
        (b"{", "SERVE-20"),
        (b'{"inputs": {"amount": NaN}}', "SERVE-20"),
        (b'{"inputs": {"amount": "\xff"}}', "SERVE-20"),
        (b"[" * 100_000, "SERVE-20"),
        (b"[}", "SERVE-20"),
        (b'{"inputs": {"amount": ' + b"[" * 150 + b"]" * 150 + b"}}", "SERVE-10"),
        (b'{"inputs": {"amount": 1' + b"0" * 5000 + b"}}", "SERVE-20"),
        (b'{"inputs": {"amount": 1' + b"0" * 200 + b"}}", "SERVE-10"),
        (b"[]", "SERVE-21"),
        (b'{"input": {}}', "SERVE-21"),
        (b'{"inputs": 3}', "SERVE-21"),
        (b'{"inputs": [3]}', "SERVE-21"),
        (b'{"inputs": {}, "event_time": 3}', "SERVE-21"),
        (b'{"inputs": {"amount": "25 years"}}', "SERVE-10"),
        (b"{}", "SERVE-10"),
    ],
)
def test_a_wrong_body_is_refused_in_the_house_form(serve, ask, body, code):
    app = serve()

    reply = ask(app, "POST", "/predict", body)

    error = reply.json()["error"]
    assert (reply.status, error["code"]) == (400, code)
    assert error["what"]
    assert app.metrics.errors == {code: 1}


def test_a_misspelt_field_is_answered_with_the_nearest(serve, ask):
    error = ask(serve(), "POST", "/predict", {"input": GIVEN}).json()["error"]

    assert error["fix"] == "'input': did you mean 'inputs'?"


@pytest.mark.parametrize("announced", [True, False])
def test_a_body_over_the_limit_is_refused(serve, ask, announced):
    headers = [(b"content-length", b"2001")] if announced else []
    reply = ask(serve(body_bytes=2000), "POST", "/predict", chunks=[b"x" * 1001, b"x" * 1000], headers=headers)

    assert (reply.status, reply.json()["error"]["code"]) == (413, "SERVE-22")
    assert reply.headers["connection"] == "close"


def test_a_body_in_pieces_is_put_together(serve, ask):
    data = json.dumps({"inputs": GIVEN}).encode()

    assert ask(serve(), "POST", "/predict", chunks=[data[:9], data[9:], b""]).status == 200


def test_a_client_that_leaves_is_not_answered_or_counted(serve, ask):
    app = serve()

    assert ask(app, "POST", "/predict", chunks=[b'{"inp', None]) is None
    assert app.metrics.requests == {}


@pytest.mark.parametrize(
    ("raised", "status", "code"),
    [
        (DataError("FEAT-03", "no such key"), 400, "FEAT-03"),
        (StoreError("FEAT-09", "the online store is damaged"), 503, "FEAT-09"),
        (ZeroDivisionError("oops"), 500, "SERVE-06"),
    ],
)
def test_what_the_feature_store_raises(serve, ask, raised, status, code):
    def refuse(features, key, at):
        raise raised

    reply = ask(serve(lookup=refuse), "POST", "/predict", {"inputs": {"amount": 1.0, "is_new": True}, "key": {"a": 1}})

    assert (reply.status, reply.json()["error"]["code"]) == (status, code)


def test_an_answer_that_is_not_finite_is_500_and_counted(serve, ask):
    app = serve(infer=lambda rows: np.array([[np.nan, np.nan]]))

    reply = ask(app, "POST", "/predict", {"inputs": GIVEN})

    assert (reply.status, reply.json()["error"]["code"]) == (500, "SERVE-07")
    assert app.metrics.errors["SERVE-07"] == 1
    assert app.metrics.requests == {(500, "1"): 1}


def test_before_the_first_release(serve, ask):
    app = serve(None)

    assert ask(app, "POST", "/predict", {"inputs": GIVEN}).status == 503
    ready = ask(app, "GET", "/ready")
    assert (ready.status, ready.json()["why"][0]["code"]) == (503, "SERVE-02")
    health = ask(app, "GET", "/health")
    assert (health.status, health.json()["status"], health.json()["version"]) == (200, "alive", None)


def test_health_says_what_is_served(serve, ask):
    app = serve(4)

    health = ask(app, "GET", "/health").json()

    release = app.slot.current.release
    assert (health["model"], health["version"], health["digest"], health["release"]) == ("churn", 4, release.digest, 4)
    assert health["failure"] is None
    assert ask(app, "GET", "/ready").json() == {"ready": True, "why": []}
    assert ask(app, "HEAD", "/ready").body == b""


@pytest.mark.parametrize(
    ("method", "path", "status", "code", "fix"),
    [
        ("GET", "/predict", 405, "SERVE-24", "send POST"),
        ("POST", "/health", 405, "SERVE-24", "send GET"),
        ("POST", "/predct", 404, "SERVE-23", "did you mean '/predict'?"),
    ],
)
def test_wrong_paths_and_methods(serve, ask, method, path, status, code, fix):
    reply = ask(serve(), method, path)

    error = reply.json()["error"]
    assert (reply.status, error["code"], error["fix"]) == (status, code, fix)
    assert ("allow" in reply.headers) is (status == 405)


def test_a_refusing_disk_leaves_answers_and_takes_readiness(serve, ask, tmp_path, until):
    (tmp_path / "log").write_text("a file where the folder should be")
    log = PredictionLog(tmp_path / "log", interval_ms=1)
    app = serve(log=log)

    assert ask(app, "POST", "/predict", {"inputs": GIVEN}).status == 200
    until(lambda: log.is_failing)
    ready = ask(app, "GET", "/ready")
    assert (ready.status, ready.json()["why"][0]["code"]) == (503, "STORE-04")
    assert ask(app, "POST", "/predict", {"inputs": GIVEN}).status == 200
    assert ask(app, "GET", "/health").json()["log"]["failures"] >= 1
    assert "millrace_log_failing 1" in ask(app, "GET", "/metrics").body.decode()

    (tmp_path / "log").unlink()
    until(lambda: log.written == 2)
    assert ask(app, "GET", "/ready").status == 200
    log.close()


def test_with_each_an_answer_that_is_not_on_the_disk_is_none(serve, ask, tmp_path):
    (tmp_path / "log").write_text("a file where the folder should be")
    log = PredictionLog(tmp_path / "log", sync="each")

    reply = ask(serve(log=log), "POST", "/predict", {"inputs": GIVEN})
    log.close()

    assert (reply.status, reply.json()["error"]["code"]) == (503, "STORE-04")


def test_metrics_count_what_happened(serve, ask):
    app = serve(2)
    ask(app, "POST", "/predict", {"inputs": [GIVEN, GIVEN]})
    ask(app, "POST", "/predict", {"inputs": GIVEN})
    ask(app, "POST", "/predict", {"inputs": {**GIVEN, "amount": "x"}})

    reply = ask(app, "GET", "/metrics")

    assert reply.headers["content-type"].startswith("text/plain; version=0.0.4")
    lines = reply.body.decode().splitlines()
    assert 'millrace_requests_total{status="200",version="2"} 2' in lines
    assert 'millrace_requests_total{status="400",version="2"} 1' in lines
    assert 'millrace_predictions_total{version="2"} 3' in lines
    assert 'millrace_errors_total{code="SERVE-10"} 1' in lines
    assert 'millrace_request_seconds_bucket{le="+Inf"} 3' in lines
    assert "millrace_request_seconds_count 3" in lines
    assert any(line.startswith('millrace_model_info{model="churn",version="2",digest="') for line in lines)
    _check_exposition(lines)


def _check_exposition(lines):
    """Every sample belongs to a family with help and type, and buckets never fall."""
    typed = {line.split()[2] for line in lines if line.startswith("# TYPE")}
    assert typed == {line.split()[2] for line in lines if line.startswith("# HELP")}
    samples = [line for line in lines if not line.startswith("#")]
    for line in samples:
        name = line.split("{")[0].split(" ")[0]
        assert any(name == family or name.startswith(f"{family}_") for family in typed)
        float(line.rsplit(" ", 1)[1])
    buckets = [int(line.rsplit(" ", 1)[1]) for line in samples if "_bucket" in line]
    assert buckets == sorted(buckets)


def test_labels_are_escaped(serve, ask):
    app = serve()
    app.metrics.errors['a"b\\c\nd'] += 1

    assert b'millrace_errors_total{code="a\\"b\\\\c\\nd"} 1' in ask(app, "GET", "/metrics").body


def test_a_regression_answers_numbers_without_scores(serve, ask):
    app = serve(infer=lambda rows: np.array([2.5] * len(rows)), bundle={"task": "regression", "classes": []})

    body = ask(app, "POST", "/predict", {"inputs": GIVEN}).json()

    assert body["predictions"] == [{"output": 2.5, "scores": []}]


def test_a_bundle_without_features_needs_no_key(serve, ask):
    columns = (Column("amount", "float"), Column("orders", "int"), Column("is_new", "bool"))
    app = serve(bundle={"columns": columns}, lookup=None)

    assert ask(app, "POST", "/predict", {"inputs": GIVEN}).status == 200
