"""Databases as sources, with SQLite as the real one."""

import sqlite3
from datetime import UTC, datetime

import pyarrow as pa
import pytest

from millrace.adapters.sql import read_sql
from millrace.core.errors import DataError
from millrace.data.read import read_source
from millrace.data.source import Source


@pytest.fixture
def root(tmp_path):
    connection = sqlite3.connect(tmp_path / "shop.db")
    connection.execute("CREATE TABLE orders (id INTEGER, at DATETIME, amount NUMERIC(10, 2), note TEXT)")
    connection.executemany(
        "INSERT INTO orders VALUES (?, ?, ?, ?)",
        [
            (1, "2024-01-01 00:00:00.000000", 9.5, None),
            (2, "2024-01-02 00:00:00.000000", None, "x"),
            (3, "2024-01-03 00:00:00.000000", 3, "y"),
        ],
    )
    connection.commit()
    connection.close()
    return tmp_path


URL = "sqlite:///shop.db"


def refused(root, url=URL, query=None, **options):
    with pytest.raises(DataError) as error:
        read_sql(url, query, root=root, **options)
    return error.value


def test_a_table_comes_back_with_its_types(root):
    table = read_sql(URL, table="orders", root=root)

    assert table.column("id").to_pylist() == [1, 2, 3]
    assert table.schema.field("at").type == pa.timestamp("us")
    assert table.column("amount").to_pylist() == [9.5, None, 3.0]
    assert table.schema.field("amount").type == pa.float64()
    assert table.column("note").to_pylist() == [None, "x", "y"]


def test_bounds_are_part_of_the_statement(root):
    bounds = {"start": datetime(2024, 1, 2, tzinfo=UTC), "end": datetime(2024, 1, 3, tzinfo=UTC)}

    assert read_sql(URL, table="orders", event_time="at", root=root, **bounds).column("id").to_pylist() == [2]


def test_a_query_and_no_rows(root):
    assert read_sql(URL, "SELECT id + 1 AS n FROM orders WHERE id > 1", root=root).to_pydict() == {"n": [3, 4]}
    assert read_sql(URL, "SELECT id, note FROM orders WHERE id > 9", root=root).shape == (0, 2)


def test_the_source_reads_through_the_installed_adapter(root, monkeypatch):
    monkeypatch.setenv("SHOP_URL", URL)
    source = Source("orders", "env:SHOP_URL", query="SELECT id, at FROM orders", event_time="at")

    table = read_source(source, root=root, start=datetime(2024, 1, 2, tzinfo=UTC))

    assert table.column("at").to_pylist() == [datetime(2024, 1, 2, tzinfo=UTC), datetime(2024, 1, 3, tzinfo=UTC)]


def test_a_value_of_another_kind_makes_the_column_text(root):
    connection = sqlite3.connect(root / "shop.db")
    connection.execute("INSERT INTO orders (id) VALUES ('25 years')")
    connection.commit()
    connection.close()

    assert read_sql(URL, "SELECT id FROM orders", root=root).column("id").to_pylist() == ["1", "2", "3", "25 years"]


def test_names_that_are_not_there_are_named(root):
    assert refused(root, table="order").fix == "did you mean 'orders'?"
    assert (
        refused(root, table="orders", event_time="att", start=datetime(2024, 1, 1, tzinfo=UTC)).fix
        == "did you mean 'at'?"
    )
    assert refused(root, "sqlite:///shp.db", "SELECT 1").fix == "did you mean 'shop.db'?"
    assert not (root / "shp.db").exists()


def test_a_refusing_database_and_a_broken_url_show_no_password(root):
    wrong = refused(root, query="SELEC 1")

    assert (wrong.code, "syntax error" in wrong.what) == ("DATA-10", True)
    assert "hunter2" not in str(refused(root, "nodialect://me:hunter2@host/db", "SELECT 1"))
    assert "hunter2" not in str(refused(root, "://me:hunter2@", "SELECT 1"))
    assert refused(root, query="CREATE TABLE t (a INTEGER)").what == "the query returns no rows by its kind"
