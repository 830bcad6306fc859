"""Any small table is judged the same in memory, in DuckDB and in SQLite."""

import sqlite3
import tempfile
from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from millrace.testing.validation_backend import ValidationBackendContract

duckdb = pytest.importorskip("duckdb")
pytest.importorskip("sqlalchemy")

WHOLE = st.one_of(st.none(), st.integers(-3, 3), st.integers(-(2**63), 2**63 - 1))
REAL = st.one_of(st.none(), st.sampled_from([0.0, -0.0, 0.5, 1.0, 2.5]), st.floats(width=64))
TEXT = st.one_of(st.none(), st.text(alphabet="aAbé1 %_\n'\\", max_size=4))
ROWS = st.lists(st.tuples(WHOLE, REAL, TEXT, st.one_of(st.none(), st.booleans())), max_size=8)
LIMITS = st.one_of(st.integers(-4, 4), st.sampled_from([0.5, 2.5, -1.5, 1e18]), st.integers(-(2**65), 2**65))
PATTERNS = st.sampled_from(["^a", "a$", ".", r"\w", "[^a]", "(?i)A", "a|b", "^$", "1?", r"\\", "'"])


def rules_for(low, high, members, texts, pattern):
    """Rules on every column, with the given arguments."""
    condition = {"row_condition": 'col("whole") > 0', "condition_parser": "great_expectations"}
    found = []
    for column in ("whole", "real"):
        bounds = {"column": column, "min_value": min(low, high), "max_value": max(low, high)}
        found += [
            ("expect_column_values_to_be_between", bounds),
            ("expect_column_values_to_be_between", {**bounds, "strict_min": True, "strict_max": True, **condition}),
            ("expect_column_values_to_be_in_set", {"column": column, "value_set": members}),
            ("expect_column_values_to_not_be_in_set", {"column": column, "value_set": members}),
            ("expect_column_min_to_be_between", bounds),
            ("expect_column_max_to_be_between", {**bounds, **condition}),
        ]
    found += [
        ("expect_column_sum_to_be_between", {"column": "whole", "min_value": low}),
        ("expect_column_median_to_be_between", {"column": "whole", "min_value": low}),
        ("expect_column_values_to_be_in_set", {"column": "text", "value_set": texts}),
        ("expect_column_values_to_match_regex", {"column": "text", "regex": pattern}),
        ("expect_column_values_to_not_match_regex", {"column": "text", "regex": pattern, **condition}),
        ("expect_column_values_to_match_like_pattern", {"column": "text", "like_pattern": texts[0] if texts else "a%"}),
        ("expect_column_value_lengths_to_be_between", {"column": "text", "max_value": 2}),
        ("expect_column_max_to_be_between", {"column": "text", "max_value": "b"}),
        ("expect_compound_columns_to_be_unique", {"column_list": ["text", "truth"]}),
        ("expect_column_values_to_be_increasing", {"column": "whole"}),
        ("expect_column_pair_values_a_to_be_greater_than_b", {"column_A": "whole", "column_B": "real"}),
    ]
    for column in ("whole", "real", "text", "truth"):
        found += [
            ("expect_column_values_to_not_be_null", {"column": column}),
            ("expect_column_values_to_be_unique", {"column": column}),
            ("expect_column_unique_value_count_to_be_between", {"column": column, "max_value": 2, **condition}),
        ]
    return found


def put_in_duckdb(table):
    from millrace.adapters.duckdb_validation import in_duckdb

    connection = duckdb.connect()
    connection.register("given", table)
    connection.execute("CREATE TABLE t AS SELECT * FROM given")
    return in_duckdb(connection, table="t")


def put_in_sqlite(folder):
    from millrace.adapters.sql_validation import open_sql

    def put(table):
        file = Path(folder) / "t.db"
        connection = sqlite3.connect(file)
        connection.execute("DROP TABLE IF EXISTS t")
        connection.execute("CREATE TABLE t (whole INTEGER, real REAL, text TEXT, truth BOOLEAN)")
        rows = zip(*(table[name].to_pylist() for name in table.column_names), strict=True)
        connection.executemany("INSERT INTO t VALUES (?, ?, ?, ?)", list(rows))
        connection.commit()
        connection.close()
        return open_sql(f"sqlite:///{file}", table="t")

    return put


@settings(max_examples=25, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])
@given(ROWS, LIMITS, LIMITS, st.lists(LIMITS, max_size=3), st.lists(TEXT.filter(bool), max_size=3), PATTERNS)
def test_places_agree_on_any_table(rows, low, high, members, texts, pattern):
    columns = list(zip(*rows, strict=True)) if rows else [()] * 4
    kinds = {"whole": pa.int64(), "real": pa.float64(), "text": pa.string(), "truth": pa.bool_()}
    table = pa.table(
        {name: pa.array(values, kind) for (name, kind), values in zip(kinds.items(), columns, strict=True)}
    )
    rules = rules_for(low, high, members, texts, pattern)
    contract = ValidationBackendContract()

    contract.compare(put_in_duckdb, table, rules)
    with tempfile.TemporaryDirectory() as folder:
        contract.compare(put_in_sqlite(folder), table, rules)
