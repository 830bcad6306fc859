"""Suites judged in DuckDB: its own types, views, refusals, and a table larger than what is read of it."""

from decimal import Decimal

import pytest

import millrace as mr
from millrace.adapters.duckdb_validation import in_duckdb, open_duckdb
from millrace.core.errors import DataError
from millrace.validation.engine import validate

duckdb = pytest.importorskip("duckdb")


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "shop.duckdb"
    with duckdb.connect(str(path)) as connection:
        connection.execute(
            """
            CREATE TABLE t AS SELECT * FROM (VALUES
                (1::HUGEINT, 'a'::ENUM('a', 'b'), uuid(), TIMESTAMP_NS '2024-01-01 00:00:00.123456789', [1]),
                (2::HUGEINT, 'b', uuid(), NULL, [2])) AS v(big, level, key, moment, many);
            CREATE VIEW seen AS SELECT * FROM t WHERE big > 1;
            CREATE SCHEMA other;
            CREATE TABLE other.t AS SELECT range AS n FROM range(1000000);
            """
        )
    return path


def test_its_own_types_are_judged_or_told(file):
    suite = (
        mr.Suite("s")
        .expect_column_sum_to_be_between("big", 3, 3)
        .expect_column_values_to_be_in_set("level", ["a", "b"])
        .expect_column_value_lengths_to_equal("key", 36)
        .expect_column_max_to_be_between("moment", "2024-01-01", "2024-01-02")
        .expect_column_values_to_be_between("many", 0, 1)
    )

    result = validate(mr.Source("t", f"duckdb:///{file}", table="t"), suite)

    assert [(one.success, one.problem is None) for one in result.results] == [(True, True)] * 4 + [(False, False)]


def test_a_table_has_order_and_a_view_has_none(file):
    suite = mr.Suite("s").expect_column_values_to_be_increasing("big").expect_table_row_count_to_equal(1)

    table = validate(mr.Source("t", f"duckdb:///{file}", table="t"), suite)
    view = validate(mr.Source("t", f"duckdb:///{file}", table="seen"), suite)

    assert [one.success for one in table.results] == [True, False]
    assert [(one.success, one.is_unsupported) for one in view.results] == [(False, True), (True, False)]


def test_a_million_rows_are_judged_by_two_answers_of_a_row(file, monkeypatch):
    from millrace.adapters.duckdb_validation import DuckDatabase

    fetched = []

    def counting(self, text, values, *, is_long=False, run=DuckDatabase.run):
        rows = list(run(self, text, values, is_long=is_long))
        fetched.append(len(rows))
        return rows

    monkeypatch.setattr(DuckDatabase, "run", counting)
    suite = mr.Suite("s").expect_column_values_to_be_unique("n").expect_column_median_to_be_between("n", 0, 1e6)
    suite = suite.expect_column_values_to_be_between("n", 0, 999_999).expect_column_stdev_to_be_between("n", 1, 1e6)

    result = validate(mr.Source("t", f"duckdb:///{file}", table="other.t"), suite)

    assert result.success
    assert fetched == [1, 2]


def test_what_it_refuses_is_told(file, tmp_path):
    for arguments, code in (
        ((f"duckdb:///{tmp_path / 'ship.duckdb'}", None), "DATA-01"),
        ((f"duckdb:///{file}", "SELEC 1"), "DATA-10"),
        ((f"duckdb:///{file}", "DELETE FROM t"), "DATA-10"),
    ):
        with pytest.raises(DataError) as caught:
            open_duckdb(*arguments)
        assert caught.value.code == code
    with pytest.raises(DataError) as caught:
        open_duckdb(f"duckdb:///{file}", table="tt")
    assert caught.value.code == "DATA-10"
    (tmp_path / "x.duckdb").write_bytes(b"no database at all" * 100)
    with pytest.raises(DataError) as caught:
        open_duckdb(f"duckdb:///{tmp_path / 'x.duckdb'}", table="t")
    assert caught.value.code == "DATA-10"


def test_a_rule_that_fails_there_spoils_no_other():
    with duckdb.connect() as connection:
        connection.execute("CREATE TABLE t AS SELECT 'x' AS word, 1 AS n")
        batch = in_duckdb(connection, "SELECT n, error(word)::INTEGER AS broken FROM t")
        suite = mr.Suite("s").expect_column_values_to_be_between("broken", 0).expect_column_values_to_be_between("n", 0)

        broken, sound = validate(batch, suite).results

    assert (broken.success, "DuckDB refused" in broken.problem, sound.success) == (False, True, True)


@pytest.mark.parametrize("kind", ["HUGEINT", "UHUGEINT", "BIGNUM"])
def test_whole_numbers_are_judged_up_to_38_digits(kind):
    with duckdb.connect() as connection:
        connection.execute(
            f"CREATE TABLE t AS SELECT v::{kind} AS big FROM (VALUES ('{10**38 - 1}'), ('5'), (NULL)) AS v(v)"
        )
        suite = mr.Suite("s").expect_column_values_to_be_between("big", 5, Decimal(10**38 - 1))
        suite.expect_column_values_to_be_in_set("big", [5, Decimal(10**38 - 1)]).expect_column_max_to_be_between(
            "big", 6
        )
        suite.expect_column_values_to_be_between("big", 5, Decimal(10**38 - 2), mostly=0.51)

        results = validate(in_duckdb(connection, table="t"), suite).results

    assert [(one.success, one.problem) for one in results] == [(True, None)] * 3 + [(False, None)]


@pytest.mark.parametrize(
    ("kind", "value"),
    [("HUGEINT", 2**127 - 1), ("HUGEINT", 1 - 2**127), ("UHUGEINT", 10**38), ("BIGNUM", 10**60), ("BIGNUM", -(10**38))],
)
@pytest.mark.parametrize("detail", ["SUMMARY", "COMPLETE"])
def test_a_longer_whole_number_is_told_and_never_misjudged(kind, value, detail):
    with duckdb.connect() as connection:
        connection.execute(f"CREATE TABLE t AS SELECT '{value}'::{kind} AS big, 1 AS n UNION ALL SELECT 5::{kind}, 2")
        suite = mr.Suite("s").expect_column_values_to_be_between("n", 1, 2).expect_table_row_count_to_equal(2)
        others = [
            suite.expect_column_values_to_be_between("big", -(10.0**70), 10.0**70),
            suite.expect_column_values_to_be_in_set("big", [5, value]),
            suite.expect_column_values_to_be_unique("big"),
            suite.expect_column_values_to_be_increasing("big"),
            suite.expect_column_max_to_be_between("big", 0),
            suite.expect_column_sum_to_be_between("big", 0),
            suite.expect_column_mean_to_be_between("big", 0),
            suite.expect_column_median_to_be_between("big", 0),
            suite.expect_column_distinct_values_to_be_in_set("big", [5, value]),
            suite.expect_column_most_common_value_to_be_in_set("big", [5, value]),
        ]

        told = validate(in_duckdb(connection, table="t"), suite, result_format=detail).results

    assert [one.success for one in told] == [True, True] + [False] * len(others)
    assert all(one.is_unsupported and "at most 38 digits" in one.problem for one in told[2:])


def test_a_sum_beyond_38_digits_is_told():
    with duckdb.connect() as connection:
        connection.execute(f"CREATE TABLE t AS SELECT '{6 * 10**37}'::HUGEINT AS big FROM range(2)")
        suite = mr.Suite("s").expect_column_sum_to_be_between("big", 0).expect_column_max_to_be_between("big", 1)

        total, largest = validate(in_duckdb(connection, table="t"), suite).results

    assert (total.is_unsupported, "at most 38 digits" in total.problem, largest.success) == (True, True, True)


def test_without_duckdb_that_is_told(file, monkeypatch):
    import sys

    monkeypatch.setitem(sys.modules, "duckdb", None)

    with pytest.raises(DataError) as caught:
        open_duckdb(f"duckdb:///{file}", table="t")

    assert (caught.value.code, "'duckdb'" in caught.value.what) == ("VALID-31", True)
