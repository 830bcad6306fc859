"""Suites judged in a real PostgreSQL: its own types, its transaction, its refusals."""

import math
import statistics

import pytest

import millrace as mr
from millrace.adapters.sql_validation import open_sql
from millrace.core.errors import DataError
from millrace.validation.engine import validate
from servers import place, postgres_server  # noqa: F401 - fixtures


@pytest.fixture
def url(postgres_server):  # noqa: F811
    return postgres_server.url.replace("postgresql", "postgresql+psycopg")


@pytest.fixture
def load(postgres_server, place):  # noqa: F811
    import psycopg

    def fill(columns, *rows):
        with psycopg.connect(postgres_server.url) as connection:
            connection.execute(f"CREATE TABLE {place} ({columns})")
            for row in rows:
                connection.execute(f"INSERT INTO {place} VALUES ({', '.join(['%s'] * len(row))})", row)
        return place

    return fill


def test_its_own_types_are_judged_or_told(url, load):
    columns = "code char(4), key uuid, price numeric, tags text[], doc jsonb, name varchar(9), n oid"
    key = "00000000-0000-0000-0000-000000000001"
    table = load(columns, ("ab", key, "1.50", ["x"], "{}", "é", 7), ("abcd", None, "NaN", None, None, "Z", 8))
    suite = (
        mr.Suite("s")
        .expect_column_value_lengths_to_equal("code", 4)
        .expect_column_values_to_be_in_set("key", [key])
        .expect_column_max_to_be_between("price", 1.5, 1.5)
        .expect_column_values_to_not_be_null("price")
        .expect_column_values_to_not_be_null("tags")
        .expect_column_values_to_be_between("tags", 0, 1)
        .expect_column_values_to_be_unique("name")
        .expect_column_max_to_be_between("n", 8, 8)
    )

    result = validate(mr.Source("t", url, table=table), suite)

    told = [(one.success, one.problem is None) for one in result.results]
    assert told == [
        (True, True),
        (True, True),
        (True, True),
        (False, True),  # NaN is missing
        (False, True),
        (False, False),  # no rule compares arrays
        (True, True),
        (True, True),
    ]


def test_text_is_ordered_by_code_point(url, load):
    table = load("word text", ("a",), ("B",), ("é",), ("Z",))
    suite = (
        mr.Suite("s").expect_column_values_to_be_between("word", "B", "a").expect_column_max_to_be_between("word", "é")
    )

    result = validate(mr.Source("t", url, table=table), suite)

    assert result.results[0].result["partial_unexpected_list"] == ["é"]
    assert result.results[1].success


def test_a_deviation_far_from_zero_keeps_its_digits(url, load):
    values = [1e9 + number / 7 for number in range(100)]
    table = load("x float8", *((value,) for value in values))

    result = validate(mr.Source("t", url, table=table), mr.Suite("s").expect_column_stdev_to_be_between("x", 0, 100))

    assert math.isclose(result.results[0].result["observed_value"], statistics.stdev(values), rel_tol=1e-9)


def test_a_rule_that_fails_there_spoils_no_other(url, load):
    # A product beyond what floats hold is an error in PostgreSQL, and ends the transaction.
    table = load("a float8, b float8", (1e308, 1e308), (1.0, 2.0))
    suite = (
        mr.Suite("s")
        .expect_multicolumn_sum_to_equal(["a", "b"], 3)
        .expect_column_values_to_be_between("a", 0, 10)
        .expect_table_row_count_to_equal(2)
    )

    broken, between, count = validate(mr.Source("t", url, table=table), suite).results

    assert (broken.success, "out of range" in broken.problem) == (False, True)
    assert (between.result["unexpected_count"], count.success) == (1, True)


def test_all_figures_are_of_one_moment(postgres_server, url, load):  # noqa: F811
    import psycopg

    table = load("a integer", (1,), (2,))
    batch = open_sql(url, table=table)
    with psycopg.connect(postgres_server.url) as connection:
        connection.execute(f"INSERT INTO {table} VALUES (3)")

    assert validate(batch, mr.Suite("s").expect_table_row_count_to_equal(2)).success
    assert validate(open_sql(url, table=table), mr.Suite("s").expect_table_row_count_to_equal(3)).success


def test_nothing_is_written(url, load):
    table = load("a integer", (1,))

    with pytest.raises(DataError) as caught:
        open_sql(url, f"DELETE FROM {table} RETURNING a")

    assert caught.value.code == "DATA-10"
    assert validate(mr.Source("t", url, table=f"public.{table}"), mr.Suite("s").expect_column_to_exist("a")).success


def test_a_percent_sign_in_a_query_stays_one(url, load):
    table = load("a text, n integer", ("10%", 5), ("x", 6))
    source = mr.Source("t", url, query=f"SELECT a, n % 2 AS odd FROM {table} WHERE a LIKE '%\\%%'")
    suite = mr.Suite("s").expect_column_values_to_be_in_set("a", ["10%"]).expect_column_max_to_be_between("odd", 1, 1)

    assert validate(source, suite).success
