"""Rules that are queries: rows that must not be found, and two queries that must agree."""

import sqlite3
from contextlib import closing

import duckdb
import polars as pl
import psycopg
import pyarrow as pa
import pytest

from millrace.adapters.duckdb_validation import in_duckdb
from millrace.adapters.sql_validation import open_sql
from millrace.validation.engine import validate
from millrace.validation.scan.batches import open_batch
from millrace.validation.suite import Suite

TABLE = pa.table({"id": [1, 2, 3, 4], "my col": ["a", "b", None, "a"], "x": [1.0, float("nan"), 3.0, -1.0]})


def unexpected_rows(query, table=TABLE):
    return validate(table, Suite("one").unexpected_rows_expectation(query)).results[0]


@pytest.mark.parametrize(
    ("query", "count"),
    [
        ("SELECT * FROM {batch} WHERE id > 99", 0),
        ("SELECT * FROM {batch} WHERE x < 0;", 1),
        ('SELECT id FROM {batch} WHERE "my col" IS NULL', 1),
        ("SELECT id FROM {batch} WHERE x IS NULL", 1),
        ('SELECT "my col", COUNT(*) AS n FROM {batch} GROUP BY "my col" HAVING COUNT(*) > 1', 1),
        ("SELECT a.id FROM {batch} AS a JOIN {batch} AS b ON a.id = b.id", 4),
        ("SELECT '{{}}' AS braces FROM {batch} WHERE id = 1", 1),
    ],
)
def test_rows_that_must_not_be_found(query, count):
    result = unexpected_rows(query)

    assert result.problem is None
    assert result.success is (count == 0)
    assert result.result["observed_value"] == count
    assert len(result.result.get("details", {}).get("unexpected_rows", [])) == count


def test_what_is_found_is_shown_and_said():
    result = unexpected_rows("SELECT id, x FROM {batch} WHERE x < 0")

    assert result.result["details"] == {"unexpected_rows": [{"id": 4, "x": -1.0}]}
    assert result.observed == "1 rows are found"


@pytest.mark.parametrize(
    ("query", "words"),
    [
        ("SELECT nope FROM {batch}", "the query is refused"),
        ("SELEC * FROM {batch}", "the query is refused"),
        ("SELECT * FROM elsewhere", "the query is refused"),
        ("SELECT '{a}' FROM {batch}", "double those of SQL"),
        ("SELECT '{' FROM {batch}", "double those of SQL"),
        ("SELECT '{batch.a}' FROM {batch}", "double those of SQL"),
    ],
)
def test_a_query_that_does_not_run_is_no_pass(query, words):
    result = unexpected_rows(query)

    assert not result.success
    assert words in result.problem


def test_a_query_runs_on_files_and_frames(tmp_path):
    path = tmp_path / "rows.parquet"
    pl.from_arrow(TABLE).write_parquet(path)
    for data in (path, pl.from_arrow(TABLE), pl.from_arrow(TABLE).lazy(), TABLE.to_pandas()):
        assert unexpected_rows("SELECT * FROM {batch} WHERE id > 3", data).result["observed_value"] == 1


def test_a_batch_that_answers_no_query_is_unsupported():
    class Plain:
        def __init__(self):
            inner = open_batch(TABLE)
            self.names, self.unsupported = inner.names, inner.unsupported
            self.type_of, self.compute = inner.type_of, inner.compute
            self.examples, self.frequent = inner.examples, inner.frequent

    result = unexpected_rows("SELECT * FROM {batch}", Plain())

    assert not result.success
    assert result.is_unsupported


OTHER = pa.table({"key": [1, 2, 3, 5], "n": [1, 1, 1, 1]})


def compared(base, comparison, mostly=1, tables=None):
    suite = Suite("one").expect_query_results_to_match_comparison(base, "other", comparison, mostly)
    return validate(TABLE, suite, tables={"other": OTHER} if tables is None else tables).results[0]


def test_two_queries_agree():
    assert compared(
        "SELECT id FROM {batch} WHERE id < 4", "SELECT key FROM {batch} WHERE key < 4 ORDER BY key DESC"
    ).success
    assert compared("SELECT id FROM {batch} WHERE id > 9", "SELECT key FROM {batch} WHERE key > 9").success


def test_two_queries_differ():
    result = compared("SELECT id FROM {batch}", "SELECT key FROM {batch}")

    assert not result.success
    assert result.result["unexpected_count"] == 1
    assert result.result["unexpected_percent"] == 25
    assert result.result["details"] == {"missing_rows": [{"key": 5}], "unexpected_rows": [{"id": 4}]}
    assert result.observed == "1 rows (25 %) of one have no equal in the other"
    assert compared("SELECT id FROM {batch}", "SELECT key FROM {batch}", 0.75).success
    assert not compared("SELECT id FROM {batch}", "SELECT key FROM {batch}", 0.76).success


def test_equal_rows_count_as_often_as_they_occur():
    result = compared("SELECT 1 AS one FROM {batch} WHERE id < 3", "SELECT n FROM {batch}")

    assert result.result["unexpected_count"] == 2
    assert result.result["details"]["missing_rows"] == [{"n": 1}, {"n": 1}]


def test_a_table_that_is_not_given_is_named():
    result = compared("SELECT id FROM {batch}", "SELECT key FROM {batch}", tables={"others": OTHER})

    assert not result.success
    assert "there is no table 'other' to compare with: did you mean 'others'?" in result.problem


def test_a_table_that_cannot_be_read_is_told(tmp_path):
    result = compared("SELECT id FROM {batch}", "SELECT key FROM {batch}", tables={"other": tmp_path / "none.parquet"})

    assert not result.success
    assert "the table 'other' cannot be read: there is no file 'none.parquet'" in result.problem


def sqlite_batch(folder):
    path = folder / "rows.db"
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("CREATE TABLE t (id INTEGER, s TEXT)")
        connection.executemany("INSERT INTO t VALUES (?, ?)", [(1, "a"), (2, "50%"), (3, None)])
    return open_sql(f"sqlite:///{path}", table="t")


def duckdb_batch(_):
    connection = duckdb.connect()
    connection.execute("CREATE TABLE t AS SELECT * FROM (VALUES (1, 'a'), (2, '50%'), (3, NULL)) v(id, s)")
    return in_duckdb(connection, table="t")


@pytest.mark.parametrize("opened", [sqlite_batch, duckdb_batch])
def test_queries_run_in_the_database_that_holds_the_rows_and_only_read(opened, tmp_path):
    suite = (
        Suite("one")
        .unexpected_rows_expectation("SELECT id, s AS name FROM {batch} b WHERE s LIKE '50%' OR '?' = '!'")
        .unexpected_rows_expectation("SELECT a.id FROM {batch} a JOIN {batch} b ON a.id = b.id + 99")
        .unexpected_rows_expectation("DELETE FROM t")
        .unexpected_rows_expectation("SELECT id FROM {batch} WHERE id > 99 -- no such row")
        .unexpected_rows_expectation("SELECT nope FROM {batch}")
        .expect_query_results_to_match_comparison("SELECT id FROM {batch}", "other", "SELECT k FROM {batch}")
        .expect_table_row_count_to_equal(3)
    )

    results = validate(opened(tmp_path), suite, tables={"other": {"k": [3, 2, 1]}}).results

    assert [result.success for result in results] == [False, True, False, True, False, True, True]
    assert results[0].result["details"] == {"unexpected_rows": [{"id": 2, "name": "50%"}]}
    assert "refused" in results[2].problem
    assert "nope" in results[4].problem


SEVERAL = (
    "SELECT 1) AS q; COMMIT; DROP TABLE t; --",
    "SELECT 1) AS q; COMMIT; DROP TABLE t; SELECT 1 FROM (SELECT 1",
    "SELECT 1) AS q; COMMIT; DROP TABLE t; SELECT 1 WHERE 1 IN (SELECT 1",
)


def test_several_statements_are_refused_by_duckdb():
    connection = duckdb.connect()
    connection.execute("CREATE TABLE t AS SELECT 1 AS id")

    for text in SEVERAL:
        results = validate(in_duckdb(connection, table="t"), Suite("one").unexpected_rows_expectation(text)).results
        assert "refused" in results[0].problem or "one SELECT at a time" in results[0].problem

    assert connection.execute("SELECT count(*) FROM t").fetchall() == [(1,)]


def test_several_statements_are_refused_by_postgres(postgres_server, place):
    with psycopg.connect(postgres_server.url) as connection:
        connection.execute(f'CREATE TABLE "{place}" AS SELECT 1 AS id')
    url = postgres_server.url.replace("postgresql", "postgresql+psycopg")

    for text in SEVERAL:
        suite = Suite("one").unexpected_rows_expectation(text.replace("TABLE t", f'TABLE "{place}"'))
        results = validate(open_sql(url, table=place), suite).results
        assert "refused" in results[0].problem

    with psycopg.connect(postgres_server.url) as connection:
        assert connection.execute(f'SELECT count(*) FROM "{place}"').fetchall() == [(1,)]
