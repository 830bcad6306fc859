"""The same suites give the same results wherever the rows are."""

import datetime
import sqlite3

import polars as pl
import pyarrow.csv as csv
import pyarrow.parquet as pq
import pytest

from millrace.testing.validation_backend import ValidationBackendContract
from millrace.testing.validation_tables import (
    compared_rules,
    conditioned_rules,
    measured,
    measured_rules,
    ordered_rules,
    tricky,
    tricky_rules,
)
from millrace.validation.engine import RULES, validate
from millrace.validation.suite import Suite
from servers import place, postgres_server  # noqa: F401 - fixtures
from spark_session import spark  # noqa: F401 - a fixture


class TestArrow(ValidationBackendContract):
    @pytest.fixture
    def put(self):
        return lambda table: table


class TestPolars(ValidationBackendContract):
    @pytest.fixture
    def put(self):
        return pl.from_arrow


class TestPolarsLazily(ValidationBackendContract):
    @pytest.fixture
    def put(self):
        return lambda table: pl.from_arrow(table).lazy()


class TestPandas(ValidationBackendContract):
    """With pandas' Arrow types: its own have no whole numbers beside missing ones."""

    @pytest.fixture
    def put(self):
        import pandas as pd

        return lambda table: table.to_pandas(types_mapper=pd.ArrowDtype)


class TestParquet(ValidationBackendContract):
    @pytest.fixture
    def put(self, tmp_path):
        def write(table):
            pq.write_table(table, tmp_path / "rows.parquet", row_group_size=5)
            return tmp_path / "rows.parquet"

        return write


def test_the_suite_asks_every_rule_there_is():
    asked = [*tricky_rules(), *conditioned_rules(), *ordered_rules(), *measured_rules(), *compared_rules()]

    assert set(RULES) - {kind for kind, _ in asked} == set()


def put_csv(folder):
    def write(table):
        csv.write_csv(table, folder / "rows.csv")
        return folder / "rows.csv"

    return write


def test_csv_gives_the_same_as_far_as_it_has_types(tmp_path):
    # A CSV file has no NaN beside a missing value, no empty text beside one, no decimals and no zones.
    kept = {"row", "whole", "small", "code", "group", "flag", "day", "nowhere"}
    rules = [
        (kind, kwargs)
        for kind, kwargs in [*tricky_rules(), *conditioned_rules(), *ordered_rules()]
        if kwargs.get("column") in kept and ("row_condition" not in kwargs or "text" not in kwargs["row_condition"])
    ]
    assert len(rules) > 100
    contract = ValidationBackendContract()

    contract.compare(
        put_csv(tmp_path), tricky().select([name for name in tricky().column_names if name in kept]), rules
    )
    contract.compare(put_csv(tmp_path), measured(), measured_rules())


def test_pandas_own_types_give_the_same_where_they_hold_the_same_values():
    kept = {"row", "real", "endless", "single", "text", "code", "at", "zoned", "group", "nowhere"}
    rules = [
        (kind, kwargs)
        for kind, kwargs in [*tricky_rules(), *ordered_rules()]
        if kwargs.get("column") in kept and kwargs.get("type_") is None
    ]
    table = tricky().select([name for name in tricky().column_names if name in kept])

    ValidationBackendContract().compare(lambda table: table.to_pandas(), table, rules)


class TestSqlite(ValidationBackendContract):
    has_decimals = False

    @pytest.fixture
    def put(self, tmp_path):
        from millrace.adapters.sql_validation import open_sql

        return lambda table: open_sql(f"sqlite:///{fill_sqlite(table, tmp_path / 'rows.db')}", table="rows")


class TestPostgres(ValidationBackendContract):
    has_order = False

    @pytest.fixture
    def put(self, postgres_server, place):  # noqa: F811
        from millrace.adapters.sql_validation import open_sql

        def load(table):
            fill_postgres(table, postgres_server.url, place)
            return open_sql(postgres_server.url.replace("postgresql", "postgresql+psycopg"), table=place)

        return load


class TestDuckDb(ValidationBackendContract):
    @pytest.fixture
    def put(self, tmp_path):
        duckdb = pytest.importorskip("duckdb")
        from millrace.adapters.duckdb_validation import open_duckdb

        def load(table):
            with duckdb.connect(str(tmp_path / "rows.duckdb")) as connection:
                connection.register("given", table)
                connection.execute("CREATE OR REPLACE TABLE rows AS SELECT * FROM given")
            return open_duckdb(f"duckdb:///{tmp_path / 'rows.duckdb'}", table="rows")

        return load


@pytest.mark.xdist_group("spark")
class TestSpark(ValidationBackendContract):
    has_order = False
    shown_of = 12

    @pytest.fixture
    def put(self, spark, tmp_path):  # noqa: F811
        from millrace.adapters.spark_validation import open_spark

        def load(table):
            # By way of a file: Spark would take times without zone for times of the session's zone.
            pq.write_table(table, tmp_path / "rows.parquet")
            return open_spark(spark.read.parquet(str(tmp_path / "rows.parquet")))

        return load

    def test_validate_takes_the_frame_itself_and_leaves_nothing_behind(self, spark):  # noqa: F811
        frame = spark.createDataFrame([(1, float("nan")), (2, 3.0)], "n int, x double")
        suite = Suite("s").expect_column_values_to_not_be_null("x").expect_column_sum_to_be_between("n", 3, 3)

        result = validate(frame, suite)

        assert [one.success for one in result.results] == [False, True]
        assert [table.name for table in spark.catalog.listTables("global_temp") if "millrace" in table.name] == []
        assert spark.conf.get("spark.sql.session.timeZone") == "America/New_York"


@pytest.mark.slow
class TestSparkWithAllExamples(TestSpark):
    shown_of = 1


SQLITE_TYPES = {"int64": "INTEGER", "int16": "SMALLINT", "double": "REAL", "float": "REAL", "bool": "BOOLEAN"}
SQLITE_TYPES |= {"string": "TEXT", "timestamp[us]": "DATETIME", "timestamp[us, tz=UTC]": "TIMESTAMPTZ"}
SQLITE_TYPES |= {"date32[day]": "DATE", "decimal128(10, 2)": "DECIMAL(10, 2)"}
POSTGRES_TYPES = {**SQLITE_TYPES, "int64": "bigint", "double": "float8", "float": "real", "timestamp[us]": "timestamp"}


def quoted(name):
    return '"' + name.replace('"', '""') + '"'


def create(table, name, types):
    columns = ", ".join(f"{quoted(field.name)} {types[str(field.type)]}" for field in table.schema)
    return f"CREATE TABLE {name} ({columns})"


def rows_of(table, plain=lambda value: value):
    return [tuple(plain(value) for value in row.values()) for row in table.to_pylist()]


def fill_sqlite(table, file):
    def plain(value):
        if isinstance(value, datetime.datetime):
            return value.isoformat(sep=" ")
        return value if isinstance(value, (int, float, str, type(None))) else str(value)

    file.unlink(missing_ok=True)
    connection = sqlite3.connect(file)
    connection.execute(create(table, "rows", SQLITE_TYPES))
    marks = ", ".join("?" * table.num_columns)
    connection.executemany(f"INSERT INTO rows VALUES ({marks})", rows_of(table, plain))
    connection.commit()
    connection.close()
    return file


def fill_postgres(table, url, name):
    import psycopg

    with psycopg.connect(url) as connection:
        connection.execute(f"DROP TABLE IF EXISTS {name}")
        connection.execute(create(table, name, POSTGRES_TYPES))
        marks = ", ".join(["%s"] * table.num_columns)
        with connection.cursor() as cursor:
            cursor.executemany(f"INSERT INTO {name} VALUES ({marks})", rows_of(table))
