"""`millrace data validate` of a source in a database: its rows stay there."""

import json
import sqlite3

import pytest

from millrace.cli.main import main
from millrace.validation.suite import Suite

PROJECT = """
import millrace as mr
orders = mr.Source("orders", "sqlite:///shop.db", table="orders", event_time="at", suite="suite.json")
texts = mr.Source("texts", "sqlite:///shop.db", table="texts", event_time="at", suite="suite.json")
secret = mr.Source("secret", "env:SHOP_URL", query="SELECT * FROM orders WHERE id < 3", suite="suite.json")
"""


@pytest.fixture
def project(tmp_path, monkeypatch):
    pytest.importorskip("sqlalchemy")
    monkeypatch.chdir(tmp_path)
    connection = sqlite3.connect("shop.db")
    connection.executescript(
        """
        CREATE TABLE orders (id INTEGER, amount REAL, at DATETIME);
        INSERT INTO orders VALUES (1, 5.0, '2024-01-01'), (2, 6.0, '2024-01-02'), (3, -1.0, '2024-01-03'),
            (4, -9.0, '2999-01-01');
        CREATE TABLE texts (id INTEGER, amount REAL, at TEXT);
        INSERT INTO texts SELECT * FROM orders;
        """
    )
    connection.close()
    (tmp_path / "millrace.toml").write_text('name = "shop"\n')
    (tmp_path / "project.py").write_text(PROJECT)
    Suite("orders").expect_column_values_to_be_between("amount", min_value=0).save("suite.json")
    return tmp_path


@pytest.fixture
def run(capsys):
    def run(*words):
        code = main([*words])
        told = capsys.readouterr()
        return code, told.out, told.err

    return run


def test_a_source_in_a_database_is_judged_there_up_to_now(project, run, monkeypatch):
    read = []
    monkeypatch.setattr("millrace.adapters.sql.read_sql", lambda *_, **__: read.append(1))

    code, told, _ = run("data", "validate", "orders", "--json")

    result = json.loads(told)
    assert (code, read) == (1, [])
    assert result["meta"]["row_count"] == 3
    assert result["results"][0]["result"]["partial_unexpected_list"] == [-1.0]


def test_times_kept_as_text_are_read_and_judged(project, run):
    code, told, _ = run("data", "validate", "texts", "--json")

    assert (code, json.loads(told)["meta"]["row_count"]) == (1, 3)


def test_the_url_may_stand_in_a_variable(project, run, monkeypatch):
    monkeypatch.setenv("SHOP_URL", f"sqlite:///{project / 'shop.db'}")
    assert run("data", "validate", "secret")[0] == 0
    monkeypatch.delenv("SHOP_URL")
    code, _, told = run("data", "validate", "secret")

    assert (code, "SHOP_URL" in told) == (2, True)


def test_a_database_that_is_not_there_exits_2(project, run):
    (project / "shop.db").unlink()

    code, _, told = run("data", "validate", "orders")

    assert (code, "shop.db" in told) == (2, True)
