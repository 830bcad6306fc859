"""Monitoring looks at the window alone: what it is compared with was kept, and is the version's own."""

from datetime import timedelta

import pyarrow as pa
import pytest

from millrace.core.clock import ManualClock, to_text
from millrace.core.errors import StoreError
from millrace.core.records import Prediction
from millrace.flow import references
from millrace.flow.decisions import all_rules
from millrace.flow.lifecycle import TRAIN
from millrace.flow.observe import Observer, _as_reference
from millrace.flow.produce import to_rows
from millrace.flow.project import load_project
from millrace.flow.runner import Runner
from millrace.flow.serve import prediction_folder
from millrace.flow.wiring import Wiring
from millrace.monitoring.definitions import OnDrift
from millrace.monitoring.windows import Window
from millrace.serving.prediction_log import PredictionLog
from small_project import MODEL, START, copy_project, live_servers, write_small_project

DEPLOYED = START + timedelta(days=25)
WINDOW = timedelta(days=6)
# A mean over a week moves slowly: one customer's rows are not independent, and a window of it always differs.
STEADY = ["amount", "items", "last_late"]


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    folder = write_small_project(tmp_path_factory.mktemp("kept") / "orders")
    with live_servers(folder), Runner(load_project(folder), clock=ManualClock(DEPLOYED)) as runner:
        run = runner.start(TRAIN, MODEL, as_of=DEPLOYED, is_replay=True)
        assert runner.execute(run.run_id).status == "succeeded"
    return folder


@pytest.fixture
def wiring(trained, tmp_path):
    opened = Wiring(load_project(copy_project(trained, tmp_path / "orders")), ManualClock(DEPLOYED + WINDOW))
    yield opened
    opened.close()


def answer(wiring, change=None):
    """Log what the model answers to the orders of the window."""
    model = wiring.project.get_model(MODEL)
    version = wiring.registry.get(MODEL, 1)
    names = wiring.manifest(version.digest).names
    table = wiring.read(model.labels.source, DEPLOYED, DEPLOYED + WINDOW)
    joined = wiring.features.get_historical_features(
        table, wiring.feature_references(model), event_time="ts"
    ).to_arrow()
    rows = to_rows(joined, names)
    if change is not None:
        rows = [change(dict(zip(names, row, strict=True))) for row in rows]
        rows = [[row[name] for name in names] for row in rows]
    found = wiring.predictor(version.digest).predict(rows)
    log = PredictionLog(prediction_folder(wiring, "production", MODEL))
    for number, (seen, output, scores) in enumerate(zip(rows, found.outputs, found.scores, strict=True)):
        at = to_text(DEPLOYED + timedelta(minutes=30 * number))
        log.append([Prediction(f"r{number}", MODEL, 1, at, at, {}, seen, output, scores)])
    log.close()


def look(wiring, **settings):
    model, version = wiring.project.get_model(MODEL), wiring.registry.get(MODEL, 1)
    window = Window(MODEL, "drift", DEPLOYED, DEPLOYED + WINDOW, 0)
    return Observer(wiring).drift(model, OnDrift(window="6d", **settings), version, window)


def outcomes(seen):
    return {verdict.rule: verdict.outcome for verdict in seen.verdicts}


def test_a_healthy_window_passes_every_part(wiring):
    answer(wiring)

    seen = look(wiring, columns=STEADY)

    assert outcomes(seen) == {
        "drift.columns": "pass",
        "drift.classifier": "pass",
        "drift.scores": "pass",
        "drift.estimated_performance": "pass",
        "monitor.drift": "pass",
    }
    rules = all_rules()
    assert all(rules[verdict.rule](verdict.evidence) == verdict for verdict in seen.verdicts)
    assert seen.facts["parts"]["scores"] == "pass"
    assert "estimated performance pass" in seen.text


def test_the_estimate_is_held_against_the_models_own_limit(wiring):
    answer(wiring)

    (estimated,) = [v for v in look(wiring).verdicts if v.rule == "drift.estimated_performance"]

    assert estimated.evidence["metrics"]["accuracy"]["limit"] == 0.6
    assert 0.6 < estimated.evidence["metrics"]["accuracy"]["value"] < 0.95


def test_a_number_that_the_columns_type_cannot_hold_is_compared_all_the_same(wiring):
    answer(wiring, lambda row: {**row, "items": 10**30 if row["amount"] > 60 else row["items"]})

    seen = look(wiring, columns=STEADY)

    assert outcomes(seen)["monitor.drift"] == "fail"
    assert seen.facts["drifted"] == ["items"]


@pytest.mark.parametrize(
    ("values", "kind", "becomes"),
    [
        ([1.0, None], pa.int64(), pa.int64()),
        ([300.0, 2.0], pa.int8(), pa.float64()),
        ([float("nan"), 2.0], pa.int64(), pa.float64()),
        ([1e30, 2.0], pa.int64(), pa.float64()),
        ([1.5, None], pa.decimal128(10, 2), pa.float64()),
        ([1, 2.5], pa.float32(), pa.float32()),
        ([1.0, 0.0], pa.bool_(), pa.bool_()),
        (["a", None], pa.dictionary(pa.int32(), pa.string()), pa.dictionary(pa.int32(), pa.string())),
        (["3", None], pa.dictionary(pa.int32(), pa.int64()), pa.string()),
        (["3", None], pa.date32(), pa.string()),
    ],
)
def test_logged_values_stand_under_a_type_that_holds_them(values, kind, becomes):
    found = _as_reference(values, kind)

    assert found.type == becomes
    assert len(found) == 2


def test_the_training_rows_are_read_once(wiring, monkeypatch):
    answer(wiring)
    first = look(wiring)
    load = references.load_artifact
    asked = []

    def watch(reference, blobs):
        asked.append(reference.size_bytes)
        return load(reference, blobs)

    monkeypatch.setattr(references, "load_artifact", watch)
    monkeypatch.setattr(references, "_ask_holdout", None)

    assert outcomes(look(wiring)) == outcomes(first)
    assert len(asked) == 1  # the sample
    assert len(wiring.ledger.events("holdout_answers", MODEL)) == 1
    kept = wiring.ledger.events("reference", MODEL)
    assert len({event.body["data"] for event in kept}) == 2  # the training's snapshot, and the table made of it
    assert len(kept) == 2


def test_answers_that_moved_fire_only_where_they_were_asked_to(wiring):
    answer(wiring, lambda row: {**row, "amount": row["amount"] + 12, "items": min(row["items"] + 1, 8)})

    quiet, asked = (look(wiring, columns=STEADY, min_columns=3, signals=signals) for signals in ([], ["scores"]))
    blunt = look(wiring, columns=STEADY, min_columns=3, effect=0.6, signals=["scores"])

    assert outcomes(quiet)["drift.scores"] == "fail"
    assert outcomes(quiet)["monitor.drift"] == "pass"
    assert "scores fail" in quiet.text
    assert outcomes(asked)["monitor.drift"] == "fail"
    assert "scores: the model's answers moved" in asked.verdicts[-1].reason
    assert outcomes(blunt)["monitor.drift"] == "pass"  # the trigger's effect holds for the scores too


def test_a_share_of_what_the_model_relies_on_decides(wiring):
    answer(wiring, lambda row: {**row, "amount": row["amount"] * 3 + 100})
    seen = look(wiring, min_share=0.3)
    (event,) = wiring.ledger.events("holdout_answers", MODEL)
    reliance = event.body["reliance"]

    assert sum(reliance.values()) == pytest.approx(1)
    assert max(reliance, key=reliance.get) == "amount"
    assert reliance["mean_amount"] < 0.1
    assert seen.verdicts[-1].is_fail
    assert "of what the model relies on drifted" in seen.verdicts[-1].reason
    assert outcomes(look(wiring, min_share=0.3, columns=["items", "mean_amount"]))["monitor.drift"] == "pass"


def test_columns_nothing_relies_on_do_not_fire(wiring):
    answer(wiring, lambda row: {**row, "mean_amount": (row["mean_amount"] or 0) + 500})

    assert outcomes(look(wiring))["monitor.drift"] == "fail"
    assert outcomes(look(wiring, min_share=0.3))["monitor.drift"] == "pass"


def test_no_answers_are_inconclusive(wiring):
    seen = look(wiring, signals=["scores", "estimated_performance", "classifier"])

    assert set(outcomes(seen).values()) == {"inconclusive"}


def test_a_version_whose_run_is_not_on_the_record_is_inconclusive(wiring, monkeypatch):
    answer(wiring)
    monkeypatch.setattr(references, "find_step", lambda *arguments: None)

    seen = look(wiring, signals=["scores"])

    assert outcomes(seen) == {"monitor.drift": "inconclusive"}
    assert "scores: it could not be measured" in seen.verdicts[-1].reason


def test_a_damaged_profile_is_no_verdict(wiring):
    answer(wiring)
    look(wiring)
    for event in wiring.ledger.events("reference", MODEL):
        path = wiring.blobs.get_file(event.body["profile"])
        path.chmod(0o644)
        path.write_bytes(b"{}")

    with pytest.raises(StoreError):
        look(wiring)
