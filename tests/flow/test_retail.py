"""Online Retail: one definition gives the same golden figures of the past, online, after pushes and in training."""

import hashlib
import json
import math
import random
import shutil
import signal
import subprocess
import sys
import urllib.request
from datetime import UTC, datetime, timedelta
from pathlib import Path

import polars as pl
import pyarrow as pa
import pyarrow.compute as pc
import pytest

from millrace.core.clock import ManualClock, SystemClock
from millrace.core.plugins import load_plugin, scheme_of
from millrace.features.columns import TIME
from millrace.features.store import FeatureStore
from millrace.flow.artifacts import load_artifact
from millrace.flow.lifecycle import train_pipeline
from millrace.flow.project import load_project
from millrace.flow.run_step import run_step
from millrace.flow.runs import Runs
from millrace.flow.wiring import Wiring

EXAMPLE = Path(__file__).resolve().parents[2] / "examples" / "retail"
MAY, NOVEMBER = datetime(2011, 5, 10, tzinfo=UTC), datetime(2011, 11, 8, tzinfo=UTC)
END = datetime(2011, 12, 10, tzinfo=UTC)

GOLDEN = {
    (MAY, 12347): {
        "recency": 32, "tenure": 153, "orders": 3, "spend": 1823.43, "items": 1117, "orders_90d": 1,
        "spend_90d": 636.25, "orders_30d": 0, "spend_30d": None, "cancels": 0, "basket_mean": 607.81,
    },
    (MAY, 12748): {
        "recency": 1, "orders": 77, "spend": 8214.36, "orders_30d": 18, "spend_30d": 1940.30, "cancels": 4,
    },
    (MAY, 14911): {"orders": 50, "spend": 31756.70},
    (MAY, 17850): {"recency": 158, "orders": 34, "spend": 5391.21, "orders_90d": 0, "spend_90d": None, "cancels": 1},
    (NOVEMBER, 12347): {"recency": 7, "orders": 6, "spend": 4085.18},
    (NOVEMBER, 14911): {"orders": 163, "spend": 116932.36, "cancels": 41},
}  # fmt: skip
SUMS = {
    "orders": 15_637, "spend": 7_487_757.17, "items": 4_362_748, "orders_30d": 1_998, "spend_30d": 999_445.23,
    "cancels": 3_142,
}  # fmt: skip


def rounded(value):
    return round(value, 2) if isinstance(value, float) else value


def assert_golden(rows):
    """`rows`: (time, customer) to features by name."""
    for key, expected in GOLDEN.items():
        if key in rows:
            assert {name: rounded(rows[key][name]) for name in expected} == expected, key


def assert_sums(rows):
    assert len(rows) == 4055
    for name, expected in SUMS.items():
        total = math.fsum(row[name] for row in rows if row[name] is not None)
        assert round(total, 2) == expected, name


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return Path(shutil.copytree(EXAMPLE, tmp_path_factory.mktemp("retail") / "retail"))


@pytest.fixture(scope="module")
def project(folder):
    return load_project(folder)


@pytest.fixture(scope="module")
def log(project):
    return Wiring(project, SystemClock()).read(project.sources["log"], None, None)


@pytest.fixture(scope="module")
def everybody(project):
    """The 4,055 customers of the last snapshot."""
    table = Wiring(project, SystemClock()).read(project.sources["snapshots"], None, None)
    return table.filter(pc.equal(table["at"], pa.scalar(NOVEMBER, TIME)))["CustomerID"].to_pylist()


@pytest.fixture(scope="module")
def make_store(project, log):
    """A function from the URL of an online store to a feature store over the log, which was read once."""
    opened = []

    def make(url, *, now=END):
        def read(source, start, end):
            table = log
            if start is not None:
                table = table.filter(pc.greater_equal(table["InvoiceDate"], pa.scalar(start, TIME)))
            return table if end is None else table.filter(pc.less(table["InvoiceDate"], pa.scalar(end, TIME)))

        online = load_plugin("online_stores", scheme_of(url))(url)
        opened.append(online)
        services = list(project.services.values())
        views = list(project.feature_definitions.values())
        return FeatureStore(views, read=read, online=online, clock=ManualClock(now), services=services)

    yield make
    for online in opened:
        online.close()


@pytest.fixture(scope="module")
def past(make_store, project, everybody):
    """Every customer of the last snapshot at both times, from the past: (time, customer) to features."""
    rows = [{"CustomerID": customer, "event_time": at} for at in (MAY, NOVEMBER) for customer in everybody]
    table = make_store("memory://").get_historical_features(rows, project.services["rfm"]).to_arrow()
    return {(row["event_time"], row["CustomerID"]): row for row in table.to_pylist()}


def online_rows(store, service, customers, at):
    answer = store.get_online_features(service, entity_ids=customers, at=at)
    columns = answer.values
    return {(at, key): {name: columns[name][row] for name in columns} for row, key in enumerate(customers)}


def assert_same_bits(online, past):
    for key, row in online.items():
        expected = {name: past[key][name] for name in row}
        assert row == expected, key
        assert {name: type(value) for name, value in row.items()} == {
            name: type(value) for name, value in expected.items()
        }


def test_the_file_is_the_one_the_figures_were_taken_from():
    data = (EXAMPLE / "data" / "online_retail.parquet").read_bytes()

    assert hashlib.sha256(data).hexdigest() in (EXAMPLE / "data" / "README.md").read_text()


def test_the_past_gives_the_golden_figures(past, everybody):
    assert_golden(past)
    assert_sums([past[NOVEMBER, customer] for customer in everybody])


def test_online_gives_the_golden_figures_of_everybody(make_store, project, past, everybody):
    store = make_store("memory://")
    store.materialize(None, NOVEMBER)  # as it was filled on that day

    online = online_rows(store, project.services["rfm"], everybody, NOVEMBER)

    assert_golden(online)
    assert_sums(list(online.values()))
    assert_same_bits(online, past)


@pytest.mark.parametrize("url", ["lmdb:///{tmp}/lmdb", "sqlite:///{tmp}/online.db", "snapshot+lmdb:///{tmp}/lmdb"])
def test_every_store_gives_the_golden_figures_bit_for_bit(make_store, project, past, everybody, tmp_path, url):
    store = make_store(url.format(tmp=tmp_path))
    store.materialize(None, NOVEMBER)
    customers = sorted({*everybody[::40], *(customer for _, customer in GOLDEN)})

    for at in (NOVEMBER, MAY):  # nothing is trimmed where a rule looks back to the beginning
        online = online_rows(store, project.services["rfm"], customers, at)
        assert_golden(online)
        assert_same_bits(online, past)


def test_what_came_later_changes_no_answer_about_before(make_store, project, past, everybody):
    store = make_store("memory://")
    store.materialize(datetime(2010, 12, 1, tzinfo=UTC), END)

    assert_same_bits(online_rows(store, project.services["rfm"], everybody[::40], MAY), past)


def test_pushes_in_any_order_give_the_golden_figures(make_store, project, log, past):
    """A week at a time, the weeks in no order, some twice: repeated lines of one invoice stay as many as they are."""
    store = make_store("memory://")
    customers = sorted({customer for _, customer in GOLDEN})
    known = log.filter(pc.is_in(log["CustomerID"], value_set=pa.array([*customers, None], pa.int32())))
    weeks = pc.floor_temporal(known["InvoiceDate"], unit="week")
    chance = random.Random(5)
    batches = [known.filter(pc.equal(weeks, week)) for week in pc.unique(weeks)]
    batches += chance.sample(batches, 5)
    chance.shuffle(batches)
    for batch in batches:
        assert store.push("log", batch) == batch.num_rows

    for at in (MAY, NOVEMBER):
        online = online_rows(store, project.services["rfm"], customers, at)
        assert_golden(online)
        assert_same_bits(online, past)


def test_a_view_of_the_newest_events_keeps_few_of_them_and_still_agrees(make_store):
    store = make_store("memory://")
    store.materialize(None, NOVEMBER)
    asked = NOVEMBER - timedelta(hours=7)
    customers = [12347, 12748, 14911, 17850, 12346]
    rows = [{"CustomerID": customer, "event_time": asked} for customer in customers]

    history = store.get_historical_features(rows, "profile").to_arrow()
    online = store.get_online_features("profile", entity_ids=customers, at=asked)
    long_ago = store.get_online_features("profile", entity_ids=[14911], at=MAY)

    assert online.values["last_country"] == history["last_country"].to_pylist()
    assert online.values["last_articles"] == history["last_articles"].to_pylist()
    assert online.values["last_country"] == ["Iceland", "United Kingdom", "EIRE", "United Kingdom", "United Kingdom"]
    assert long_ago.statuses["last_articles"] == ["trimmed"]


def test_a_training_set_gives_the_golden_figures(folder, project, past):
    """What the steps of `millrace run` hand to training."""
    with_runs = Runs(project, ManualClock(END))
    run = with_runs.start("train", "buys_again")
    wiring = Wiring(project, ManualClock(END))
    for step in ("extract", "validate_data", "check_drift", "build_features"):
        result = run_step(wiring, train_pipeline(), run.run_id, step)
        assert result.status == "succeeded", (step, result.reason, result.error)
    training = load_artifact(result.outputs["training"], wiring.blobs)
    wiring.close()

    frame = pl.from_arrow(training)
    assert frame["at"].n_unique() == 37
    assert frame.height == 108_199
    rows = {(row["at"], row["CustomerID"]): row for row in frame.filter(pl.col("at").is_in([MAY, NOVEMBER])).to_dicts()}
    assert sum(at == NOVEMBER for at, _ in rows) == 4055
    assert_golden(rows)
    names = [*project.views["purchases"].features, "overdue"]
    assert_same_bits({key: {name: row[name] for name in names} for key, row in rows.items()}, past)


def test_labels_are_learned_from_only_when_their_thirty_days_are_over(folder, project):
    june = datetime(2011, 6, 1, tzinfo=UTC)
    wiring = Wiring(project, ManualClock(END))
    run = Runs(project, ManualClock(END)).start("train", "buys_again", as_of=june)
    found = run_step(wiring, train_pipeline(), run.run_id, "extract")
    facts = load_artifact(found.outputs["snapshot"], wiring.blobs)
    wiring.close()

    assert facts["end"] == "2011-04-26T00:00:00.000000Z"  # the Tuesday after it was not over on the first of June


def test_the_snapshots_are_what_their_script_makes(folder):
    kept = pl.read_parquet(folder / "data" / "snapshots.parquet")
    (folder / "data" / "snapshots.parquet").unlink()
    try:
        subprocess.run([sys.executable, str(folder / "snapshots.py")], check=True, timeout=60)
        made = pl.read_parquet(folder / "data" / "snapshots.parquet")
    finally:
        kept.write_parquet(folder / "data" / "snapshots.parquet")

    assert made.equals(kept)
    assert made.schema == kept.schema


def test_the_suites_accept_the_log_and_refuse_another(folder, project, log):
    from millrace.validation.engine import validate
    from millrace.validation.suite import Suite

    suite = Suite.load(folder / "suites" / "log.json")
    assert validate(log, suite).success
    worse = {
        "InvoiceNo": pa.array(["12"] * log.num_rows),
        "CustomerID": pa.nulls(log.num_rows, pa.int32()),
        "UnitPrice": pc.negate(log["UnitPrice"]),
        "Quantity": pc.negate(log["Quantity"]),
    }
    for name, values in worse.items():
        table = log.set_column(log.column_names.index(name), name, values)
        assert validate(table, suite).verdict().is_fail, name


def test_a_service_is_asked_for_by_its_name_with_what_a_request_brings(folder, ask):
    code, answer = ask(folder, "features", "get", "rfm", "--key", "CustomerID=12347")
    basket, row = "--key", ["features", "get", "at_checkout", "--key", "CustomerID=12347"]
    refused, problem = ask(folder, *row, basket, "basket_value=much")
    accepted, found = ask(folder, *row, basket, "basket_value=12.5")

    assert (code, len(answer), {one["status"] for one in answer}) == (0, 14, {"missing", "null"})
    assert (refused, problem["error"]["code"]) == (2, "FEAT-31")
    assert accepted == 0
    assert [one["feature"] for one in found] == ["basket_vs_usual", "last_country", "last_articles", "orders"]


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_the_example_runs_as_its_page_says(tmp_path):
    folder = shutil.copytree(EXAMPLE, tmp_path / "retail")

    def millrace(*words):
        command = [sys.executable, "-m", "millrace", *words]
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=500)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    assert "succeeded" in millrace("run")
    scores = json.loads(millrace("model", "show", "buys_again:1", "--json"))["metrics"]
    assert scores["accuracy"] > 0.72
    assert json.loads(millrace("features", "materialize", "--json")) == {"purchases": 541_909, "profile": 541_909}
    words = ["features", "get", "rfm", "--key", "CustomerID=12347", "--at", "2011-05-10", "--json"]
    found = {row["feature"]: row["value"] for row in json.loads(millrace(*words))}
    assert_golden({(MAY, 12347): found})
    basket = ["--key", "CustomerID=12347", "--key", "basket_value=303.905", "--at", "2011-05-10", "--json"]
    (ratio, *_) = json.loads(millrace("features", "get", "at_checkout", *basket))
    assert (ratio["feature"], round(ratio["value"], 6)) == ("basket_vs_usual", 0.5)

    served = folder / "url.txt"
    command = [sys.executable, "-m", "millrace", "serve", "--port", "0", "--ready-file", str(served)]
    server = subprocess.Popen(command, cwd=folder, stderr=subprocess.PIPE, text=True)
    try:
        url = server.stderr.readline().split()[-1]
        body = {"inputs": {}, "key": {"CustomerID": 12347}, "event_time": "2011-11-08T00:00:00Z"}
        request = urllib.request.Request(f"{url}/predict", json.dumps(body).encode())
        with urllib.request.urlopen(request, timeout=30) as response:
            answer = json.load(response)
        assert answer["model"] == "buys_again"
    finally:
        server.send_signal(signal.SIGTERM)
        server.communicate(timeout=30)
    assert server.returncode == 0
