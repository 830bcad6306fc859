"""`millrace data`: exit codes, text and JSON, inside a project and outside of one."""

import json

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq
import pytest

from millrace.cli.main import main
from millrace.store.blobs import open_blobs
from millrace.validation.suite import Suite

PROJECT = """
import millrace as mr
orders = mr.Source("orders", "orders.parquet", event_time="at", suite="suite.json")
bare = mr.Source("bare", "orders.parquet")
"""
AT = pa.timestamp("us", tz="UTC")


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A working folder with a batch, its suite, and no project."""
    monkeypatch.chdir(tmp_path)
    amount = np.random.default_rng(0).normal(50, 10, 500)
    times = pa.array(np.arange(500) * 3_600_000_000).cast(AT)
    table = pa.table({"at": times, "amount": amount, "shop": ["a", "b"] * 250})
    pq.write_table(table, "orders.parquet")
    pa.csv.write_csv(table.drop(["at"]), "orders.csv")
    moved = table.set_column(1, "amount", pa.array(amount + 20))
    pq.write_table(moved, "moved.parquet")
    Suite("orders").expect_column_values_to_be_between("amount", min_value=0, max_value=200).save("suite.json")
    Suite("strict").expect_column_values_to_be_between("amount", max_value=10).save("strict.json")
    return tmp_path


@pytest.fixture
def project(folder):
    (folder / "millrace.toml").write_text('name = "shop"\n')
    (folder / "project.py").write_text(PROJECT)
    return folder


@pytest.fixture
def run(capsys):
    """Run a command: (exit code, what it printed); standard error where nothing went to standard output."""

    def run(*words):
        code = main([*words])
        told = capsys.readouterr()
        return code, told.out or told.err

    return run


@pytest.mark.parametrize("file", ["orders.parquet", "orders.csv"])
def test_a_file_that_meets_its_suite_is_usable(folder, run, file):
    assert run("data", "validate", file, "--suite", "suite.json") == (
        0,
        "orders: usable. all 1 rules hold over 500 rows\n",
    )


def test_a_file_that_breaks_its_suite_exits_1_and_says_what_was_seen(folder, run):
    code, text = run("data", "validate", "orders.parquet", "--suite", "strict.json")

    assert code == 1
    assert text.startswith("strict: blocked. 1 of 1 rules failed over 500 rows")


def test_json_is_the_validation_result_of_great_expectations(folder, run):
    code, text = run("data", "validate", "orders.parquet", "--suite", "strict.json", "--json")

    result = json.loads(text)
    assert code == 1
    assert result["success"] is False
    assert result["statistics"]["unsuccessful_expectations"] == 1
    assert result["results"][0]["expectation_config"]["type"] == "expect_column_values_to_be_between"
    assert result["results"][0]["result"]["element_count"] == 500


@pytest.mark.parametrize(
    ("words", "error"),
    [
        (["orders.parquett", "--suite", "suite.json"], "DATA-43"),
        (["order.parquet", "--suite", "suite.json"], "DATA-01"),
        (["orders.parquet", "--suite", "suit.json"], "VALID-01"),
        (["orders.parquet"], "VALID-04"),
        (["empty.json/x.csv", "--suite", "suite.json"], "DATA-01"),
    ],
)
def test_what_cannot_run_exits_2_with_its_code(folder, run, words, error):
    code, text = run("data", "validate", *words)

    assert (code, text.split()[0]) == (2, error)


def test_a_suite_without_rules_is_no_pass(folder, run):
    Suite("nothing").save("nothing.json")

    code, text = run("data", "validate", "orders.parquet", "--suite", "nothing.json")

    assert (code, text) == (2, "nothing: not judged. the suite 'nothing' has no rule\n")


def test_a_source_is_judged_by_its_own_suite_or_a_named_one(project, run):
    assert run("data", "validate", "orders")[0] == 0
    assert run("data", "validate", "orders", "--suite", "strict.json")[0] == 1
    assert run("data", "validate", "bare", "--suite", "suite.json")[0] == 0


@pytest.mark.parametrize(("name", "error"), [("bare", "VALID-04"), ("ordrs", "DATA-43")])
def test_a_source_that_cannot_be_judged_exits_2(project, run, name, error):
    code, text = run("data", "validate", name, "--json")

    assert (code, json.loads(text)["error"]["code"]) == (2, error)


def test_an_unknown_source_is_answered_with_the_nearest(project, run):
    code, text = run("data", "snapshot", "ordrs", "--json")

    assert (code, json.loads(text)["error"]["fix"]) == (2, "did you mean 'orders'?")


def test_a_snapshot_is_one_however_often_it_is_taken(project, run):
    first, again = run("data", "snapshot", "orders", "--json"), run("data", "snapshot", "orders", "--json")

    assert first == again
    taken = json.loads(first[1])
    assert (first[0], taken["rows"], taken["start"]) == (0, 500, "1970-01-01T00:00:00.000000Z")
    assert open_blobs(str(project / ".millrace/blobs")).get(taken["digest"])[:4] == b"PAR1"


def test_a_snapshot_can_be_of_a_span(project, run):
    code, text = run("data", "snapshot", "orders", "--start", "1970-01-02T00:00:00Z", "--end", "1970-01-03T00:00:00Z")

    assert code == 0
    assert text.startswith("orders: 24 rows, 3 columns, digest ")
    assert "from 1970-01-02T00:00:00 to 1970-01-02T23:00:00" in text


def test_a_snapshot_needs_no_event_time(project, run):
    code, text = run("data", "snapshot", "bare")

    assert (code, text.split(",")[0]) == (0, "bare: 500 rows")


def test_the_same_file_has_not_drifted_and_its_times_are_left_out(folder, run):
    code, text = run("data", "drift", "orders.parquet", "orders.parquet", "--json")

    report = json.loads(text)
    assert (code, report["outcome"], report["drifted"], report["left_out"]) == (0, "pass", [], ["at"])


def test_a_moved_column_exits_1_and_is_named(folder, run):
    code, text = run("data", "drift", "orders.parquet", "moved.parquet", "--json")
    shown = run("data", "drift", "orders.parquet", "moved.parquet")

    assert (code, json.loads(text)["drifted"]) == (1, ["amount"])
    assert shown[0] == 1
    assert "left out      at" in shown[1]


def test_columns_and_effect_narrow_what_counts(folder, run):
    assert run("data", "drift", "orders.parquet", "moved.parquet", "--columns", "shop")[0] == 0
    assert run("data", "drift", "orders.parquet", "moved.parquet", "--columns", "amount, shop")[0] == 1
    assert run("data", "drift", "orders.parquet", "moved.parquet", "--effect", "0.9")[0] == 0


@pytest.mark.parametrize(
    ("words", "error"),
    [
        (["--columns", "amout"], "DATA-02"),
        (["--columns", "amout,shp"], "DATA-02"),
        (["--columns", ","], "DRIFT-09"),
        (["--effect", "7"], "PROJ-35"),
    ],
)
def test_a_wrong_wish_exits_2(folder, run, words, error):
    code, text = run("data", "drift", "orders.parquet", "moved.parquet", *words)

    assert (code, text.split()[0]) == (2, error)


def test_a_missing_file_exits_2_with_the_nearest(folder, run):
    code, text = run("data", "drift", "orders.parquet", "movd.parquet")

    assert code == 2
    assert "did you mean 'moved.parquet'?" in text
