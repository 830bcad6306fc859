"""Suites judged in a SQLite database: what its columns are, what it is asked, what it refuses."""

import math
import sqlite3
import statistics
from datetime import UTC, datetime
from pathlib import Path

import pyarrow as pa
import pytest
import sqlalchemy as sa

import millrace as mr
from millrace.adapters.sql_validation import open_source, open_sql
from millrace.core.errors import DataError
from millrace.validation.engine import validate


@pytest.fixture
def orders(tmp_path):
    file = tmp_path / "shop.db"
    connection = sqlite3.connect(file)
    connection.executescript(
        """
        CREATE TABLE orders (id INTEGER PRIMARY KEY, amount REAL, city TEXT, at DATETIME, ok BOOLEAN);
        INSERT INTO orders VALUES (1, 10.5, 'Rome', '2024-01-01 10:00:00', 1),
            (2, NULL, 'Oslo', '2024-01-02 10:00:00.250000', 0), (3, -1.0, 'rome', NULL, 1),
            (4, 20.0, NULL, '2024-01-04', 1);
        CREATE VIEW big AS SELECT * FROM orders WHERE amount > 10;
        CREATE TABLE bare (id INTEGER PRIMARY KEY) WITHOUT ROWID;
        """
    )
    connection.close()
    return file


@pytest.fixture
def asked(orders):
    """Statements that SQLAlchemy sends, and how many rows come back."""
    texts = []

    def listen(connection, cursor, statement, parameters, context, executemany):
        texts.append(statement)

    sa.event.listen(sa.Engine, "before_cursor_execute", listen)
    yield texts
    sa.event.remove(sa.Engine, "before_cursor_execute", listen)


def source(file, **options):
    return mr.Source("orders", f"sqlite:///{file}", **({"table": "orders"} | options))


SUITE = (
    mr.Suite("orders")
    .expect_column_values_to_be_unique("id")
    .expect_column_values_to_be_between("amount", 0, 15)
    .expect_column_values_to_be_in_set("city", ["Rome", "Oslo"])
    .expect_column_mean_to_be_between("amount", 0, 100)
    .expect_column_values_to_match_regex("city", r"^\w+$")
    .expect_column_max_to_be_between("at", max_value="2024-01-03")
)


def types_of(file, text, table="t"):
    connection = sqlite3.connect(file)
    connection.executescript(text)
    connection.close()
    batch = open_sql(f"sqlite:///{file}", table=table)
    found = {name: str(batch.type_of(name)) for name in batch.names}
    batch.close()
    return found


def test_a_source_is_judged_where_it_is(orders):
    result = validate(source(orders), SUITE)

    assert [(one.success, one.problem) for one in result.results] == [
        (True, None),
        (False, None),
        (False, None),
        (True, None),
        (True, None),
        (False, None),
    ]
    between = result.results[1].result
    assert (between["partial_unexpected_list"], between["partial_unexpected_index_list"]) == ([-1.0, 20.0], [2, 3])
    assert result.results[5].result["observed_value"] == "2024-01-04T00:00:00"


def test_the_validator_and_a_file_source_take_the_same_way(orders, tmp_path, monkeypatch):
    assert mr.DataValidator(SUITE).validate_data(source(orders))["failed_count"] == 3
    monkeypatch.chdir(tmp_path)
    Path("people.csv").write_text("name,age\na,1\nb,2\n")
    suite = mr.Suite("s").expect_column_values_to_be_between("years", 0, 1)

    result = validate(mr.Source("people", "people.csv", columns={"years": "age"}), suite)

    assert result.results[0].result["partial_unexpected_list"] == [2]
    assert validate(mr.Source("rows", pa.table({"years": [1]})), suite).success


def test_a_table_is_scanned_once_for_its_types_and_once_for_all_rules(orders, asked):
    suite = mr.Suite("s")
    for low in range(50):
        suite = suite.expect_column_values_to_be_between("amount", -low - 1, 100)
    validate(source(orders), suite)

    scans = [text for text in asked if 'FROM "orders"' in text and "LIMIT 0" not in text]
    assert len(scans) == 2
    assert scans[0].startswith("SELECT min(CASE WHEN")
    assert scans[1].startswith('WITH millrace_rows AS (SELECT "amount" FROM "orders") SELECT count(*)')


def test_rows_leave_the_database_only_as_examples(orders, asked):
    connection = sqlite3.connect(orders)
    rows = [(number, -1.0) for number in range(10, 100_000)]
    connection.executemany("INSERT INTO orders (id, amount) VALUES (?, ?)", rows)
    connection.commit()
    connection.close()

    result = validate(source(orders), mr.Suite("s").expect_column_values_to_be_between("amount", 0))

    assert result.results[0].result["unexpected_count"] == 99_991
    reading = [text for text in asked if "WITH" in text]
    assert len(reading) == 3
    assert [text.endswith("LIMIT 20") for text in reading] == [False, True, True]


def test_a_query_a_view_and_a_table_without_rowid_are_judged_too(orders):
    suite = mr.Suite("s").expect_table_row_count_to_equal(2)

    assert validate(source(orders, table=None, query="SELECT * FROM orders WHERE amount > 0;"), suite).success
    assert validate(source(orders, table="big"), suite).success
    assert validate(source(orders, table="main.big"), suite).success
    latest = mr.Suite("s").expect_column_max_to_be_between("at", "2024-01-04", "2024-01-04")
    assert validate(source(orders, table="big"), latest).success
    increasing = mr.Suite("s").expect_column_values_to_be_increasing("id")
    refused = validate(source(orders, table="big"), increasing).results[0]
    assert (refused.success, refused.is_unsupported) == (False, True)
    assert validate(source(orders), increasing).success
    assert validate(source(orders, table="bare"), increasing).results[0].is_unsupported


def test_columns_are_kept_and_renamed(orders):
    kept = open_source(source(orders, columns=["id", "at"]))
    renamed = open_source(source(orders, columns={"place": "city", "when": "at"}))

    assert kept.names == ["id", "at"]
    assert renamed.names == ["id", "amount", "place", "when", "ok"]
    suite = mr.Suite("s").expect_column_values_to_be_in_set("place", ["Rome", "Oslo"])
    suite = suite.expect_column_min_to_be_between("when", "2024-01-01", "2024-01-02")
    result = validate(renamed, suite)
    assert result.results[0].result["partial_unexpected_index_list"] == [2]
    assert result.results[1].success
    kept.close()
    with pytest.raises(DataError) as caught:
        open_source(source(orders, columns=["id", "amuont"]))
    assert (caught.value.code, "'amount'" in caught.value.fix) == ("DATA-02", True)


@pytest.mark.parametrize("ours", ["city", "City"])  # SQLite takes "City" for "city"
def test_a_rename_onto_a_name_in_use_is_refused(orders, ours):
    with pytest.raises(DataError, match=f"{ours}.* are there twice") as caught:
        open_source(source(orders, columns={ours: "amount"}))

    assert caught.value.code == "DATA-11"
    both = open_source(source(orders, columns={ours: "amount", "place": "city"}))
    assert both.names == ["id", ours, "place", "at", "ok"]
    both.close()


def test_events_of_the_future_are_left_out(orders):
    bound = datetime(2024, 1, 3, tzinfo=UTC)
    suite = mr.Suite("s").expect_table_row_count_to_equal(3)

    assert validate(open_source(source(orders, event_time="at"), end=bound), suite).success
    renamed = source(orders, event_time="when", columns={"when": "at"})
    batch = open_source(renamed, end=bound)
    assert validate(batch, suite.expect_column_values_to_be_increasing("id")).success
    with pytest.raises(DataError) as caught:
        open_source(source(orders, event_time="city"), end=bound)
    assert caught.value.code == "VALID-32"
    with pytest.raises(DataError) as caught:
        open_source(source(orders, event_time="moment"), end=bound)
    assert caught.value.code == "DATA-02"


def test_columns_are_judged_by_what_is_stored(tmp_path):
    found = types_of(
        tmp_path / "x.db",
        """
        CREATE TABLE t (whole INTEGER, mixed INTEGER, both REAL, texts, part BLOB, truth BOOLEAN, untrue BOOLEAN,
            price DECIMAL(10, 2), at DATETIME, said DATETIME, day DATE, zoned TIMESTAMPTZ, void, empty INTEGER);
        INSERT INTO t VALUES (1, 1, 1, 'a', x'00', 1, 2, 3, '2024-01-01', 'soon', '2024-01-01',
            '2024-01-01 10:00:00+01:00', NULL, NULL),
            (2, 'two', 2.5, 'b', 'text', 0, 0, 4, NULL, '2024-01-01', NULL, NULL, NULL, NULL);
        """,
    )

    assert found == {
        "whole": "int64",
        "mixed": "string",
        "both": "double",
        "texts": "string",
        "part": "binary",
        "truth": "bool",
        "untrue": "int64",
        "price": "double",
        "at": "timestamp[us]",
        "said": "string",
        "day": "date32[day]",
        "zoned": "timestamp[us, tz=UTC]",
        "void": "null",
        "empty": "int64",
    }


def test_a_table_of_a_thousand_columns_is_judged(tmp_path):
    names = ", ".join(f"c{number} INTEGER" for number in range(1000))

    found = types_of(tmp_path / "x.db", f"CREATE TABLE t ({names}); INSERT INTO t (c7) VALUES (1);")

    assert (len(found), found["c7"], found["c999"]) == (1000, "int64", "int64")


def test_text_among_whole_numbers_is_named(orders):
    connection = sqlite3.connect(orders)
    connection.execute("CREATE TABLE ages (age INTEGER)")
    connection.executemany("INSERT INTO ages VALUES (?)", [(30,), ("25 years",), (None,)])
    connection.commit()
    connection.close()

    result = validate(source(orders, table="ages"), mr.Suite("s").expect_column_values_to_be_of_type("age", "int"))

    assert result.results[0].result["details"] == {"not_numbers": 1, "examples": ["25 years"]}


def test_a_deviation_far_from_zero_keeps_its_digits(tmp_path):
    values = [1e9 + number / 7 for number in range(200)]
    connection = sqlite3.connect(tmp_path / "x.db")
    connection.execute("CREATE TABLE t (x REAL)")
    connection.executemany("INSERT INTO t VALUES (?)", [(value,) for value in values])
    connection.commit()
    connection.close()

    result = validate(
        mr.Source("t", f"sqlite:///{tmp_path / 'x.db'}", table="t"),
        mr.Suite("s").expect_column_stdev_to_be_between("x", 0, 100),
    )

    assert math.isclose(result.results[0].result["observed_value"], statistics.stdev(values), rel_tol=1e-9)


def test_a_rule_that_the_database_refuses_leaves_the_others_their_answer(orders):
    suite = mr.Suite("s").expect_column_values_to_be_between("x", 0)
    suite = suite.expect_column_values_to_be_between("amount", 0)
    query = "SELECT amount, CASE WHEN id = 4 THEN json('{') ELSE 1 END AS x FROM orders"
    batch = open_sql(f"sqlite:///{orders}", "SELECT amount, 1 AS x FROM orders")
    batch._relation = f"({query})"

    broken, sound = validate(batch, suite).results

    assert "malformed JSON" in broken.problem
    assert (broken.success, sound.problem, sound.result["unexpected_count"]) == (False, None, 1)


def refused(*arguments, **options):
    with pytest.raises(DataError) as caught:
        open_sql(*arguments, **options)
    return caught.value


def test_what_cannot_be_opened_is_told(orders, tmp_path):
    url = f"sqlite:///{orders}"

    assert refused(f"sqlite:///{tmp_path / 'ship.db'}", table="orders").code == "DATA-01"
    missing = refused(url, table="oders")
    assert (missing.code, "'orders'" in missing.fix) == ("DATA-10", True)
    assert "syntax error" in refused(url, "SELEC 1").what
    assert refused(url, "CREATE TABLE x (y INTEGER)").code == "DATA-10"
    assert refused(url, "DELETE FROM orders").code == "DATA-10"
    with pytest.raises(DataError) as caught:
        open_source(source(orders, table="oders"))
    assert caught.value.where == "source 'orders'"
    connection = sqlite3.connect(orders)
    assert connection.execute("SELECT count(*) FROM orders").fetchone() == (4,)
    connection.close()


def test_a_database_of_another_kind_is_refused_not_guessed():
    pytest.importorskip("sqlalchemy")

    error = refused("mssql+pyodbc://me:hunter2@127.0.0.1/db", table="t")

    assert (error.code, "hunter2" not in str(error)) == ("VALID-30", True)


def test_a_server_that_is_not_there_is_told_without_the_password():
    pytest.importorskip("psycopg")

    error = refused("postgresql+psycopg://me:hunter2@127.0.0.1:9/db?connect_timeout=2", table="t")

    assert (error.code, "hunter2" not in str(error)) == ("DATA-10", True)


def test_connections_end_with_the_judgement(orders, monkeypatch):
    closed = []
    monkeypatch.setattr(
        "millrace.adapters.sql_validation.SqlDatabase.close",
        lambda self, close=open_sql.__globals__["SqlDatabase"].close: (closed.append(1), close(self)),
    )
    other = mr.Suite("s").expect_table_row_count_to_equal_other_table("more")

    validate(source(orders), other, tables={"more": source(orders, table="big")})

    assert closed == [1, 1]
