"""Every incident that must be blocked, by the commands of examples/incidents/README.md, before any training."""

import importlib.util
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import polars as pl
import pytest

from millrace.cli.main import main

ROOT = Path(__file__).resolve().parents[2]
EXAMPLE = ROOT / "examples" / "incidents"
RETAIL = ROOT / "examples" / "retail" / "data" / "online_retail.parquet"
ROWS = 4000

# What a command says of each broken file: (exit code, a part of what it prints).
EXPECTED = {
    "renamed_column": (1, "did you mean 'customerId'?"),
    "text_in_numbers": (1, "not numbers: '25 years'"),
    "huge_prices": (1, "are not: 999,999,999"),
    "missing_values": (1, "3,200 of 4,000 (80 %) are missing"),
    "unseen_category": (1, "(200 of 4,000 (5 %) are not: XX)"),
    "repeated_keys": (1, "20 of 4,010 (0.499 %) occur more than once"),
    "shifted_columns": (1, "order_id: values that occur once"),
    "empty": (1, "the batch has 0 rows"),
    "truncated": (2, "cannot be read"),
    "truncated_line": (2, "'truncated_line.csv'"),
    "stale": (1, "ordered_at: greatest value at least"),
    "labels_all_1": (1, "all 4,000 labels are 1"),
    "labels_all_0": (1, "all 4,000 labels are 0"),
    "mojibake": (1, "city: values one of Köln"),
    "not_utf8": (2, "'not_utf8.csv'"),
    "decimal_comma": (1, "price: type one of float, decimal, int (it is string"),
    "cents": (1, "a unit was changed"),
    "timezone_behind": (1, "moved by -5 h"),
    "timezone_ahead": (1, "moved by +5 h"),
    "constant_column": (1, "items: standard deviation at least"),
    "infinite": (1, "are not: Infinity"),
}


@pytest.fixture(scope="module")
def example():
    spec = importlib.util.spec_from_file_location("break_orders", EXAMPLE / "break_orders.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def folder(example, tmp_path_factory):
    """The example's files, and the suites drafted from its references."""
    folder = tmp_path_factory.mktemp("incidents")
    example.write_all(folder, ROWS)
    for form in ("parquet", "csv"):
        assert (
            main(["data", "suggest", str(folder / f"reference.{form}"), "--output", str(folder / f"{form}.json")]) == 0
        )
    return folder


def judge(example, folder, file):
    words = [str(file), "--suite", str(folder / f"{file.suffix.removeprefix('.')}.json")]
    if file.stem in example.AGAINST:
        words += ["--against", str(folder / "reference.parquet"), "--label", "late"]
    return main(["data", "validate", *words])


@pytest.mark.parametrize("form", ["parquet", "csv"])
def test_the_batch_as_it_should_be_is_usable(example, folder, form, capsys):
    assert judge(example, folder, folder / f"sound.{form}") == 0
    assert ": usable. " in capsys.readouterr().out


def test_every_broken_file_is_expected(example):
    assert set(EXPECTED) == {*example.BROKEN, *example.DAMAGED}


@pytest.mark.parametrize("name", EXPECTED)
def test_an_incident_is_blocked_and_says_what_it_is(example, folder, name, capsys):
    code, words = EXPECTED[name]
    (file,) = folder.glob(f"{name}.*")

    assert judge(example, folder, file) == code
    told = capsys.readouterr()
    assert words in told.out + told.err


def test_the_example_without_a_folder_says_how_it_is_run(tmp_path):
    for words in ([], ["--help"]):
        command = [sys.executable, str(EXAMPLE / "break_orders.py"), *words]
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
        assert (done.returncode, "FOLDER [ROWS]" in done.stderr, list(tmp_path.iterdir())) == (1, True, [])


def test_cents_are_drift_too(folder, capsys):
    code = main(["data", "drift", str(folder / "reference.parquet"), str(folder / "cents.parquet"), "--json"])

    assert code == 1
    assert json.loads(capsys.readouterr().out)["drifted"] == ["price"]


def test_the_page_has_a_command_for_every_file(example):
    page = (EXAMPLE / "README.md").read_text(encoding="utf-8")

    files = set(re.findall(r"^millrace data validate incidents/(\w+)\.\w+", page, re.MULTILINE))
    assert files == {*example.BROKEN, *example.DAMAGED, "sound"}


# --- a real shop's dirty log


@pytest.fixture
def retail(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    shutil.copy(EXAMPLE / "retail_suite.json", tmp_path / "suite.json")
    return tmp_path


def test_the_retail_log_is_blocked_with_exactly_its_missing_ids(retail, capsys):
    assert main(["data", "validate", str(RETAIL), "--suite", "suite.json", "--json"]) == 1
    result = json.loads(capsys.readouterr().out)

    found = {one["expectation_config"]["kwargs"]["column"]: one["result"] for one in result["results"]}
    assert found["CustomerID"]["unexpected_count"] == 135_080
    assert found["UnitPrice"]["unexpected_count"] == 2_515 + 2
    assert result["meta"]["row_count"] == 541_909


def test_the_clean_part_of_the_retail_log_passes(retail, capsys):
    log = pl.read_parquet(RETAIL)
    clean = log.filter(pl.col("CustomerID").is_not_null() & (pl.col("Quantity") > 0) & (pl.col("UnitPrice") > 0))
    clean.write_parquet("clean.parquet")

    assert main(["data", "validate", "clean.parquet", "--suite", "suite.json"]) == 0
    assert "all 3 rules hold over 397,884 rows" in capsys.readouterr().out
