"""Footers of Parquet files settle what they can for certain, and nothing else."""

import math
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from millrace.core.errors import DataError
from millrace.validation.engine import validate
from millrace.validation.scan.batches import open_batch
from millrace.validation.suite import Suite

START = datetime(2024, 1, 1, tzinfo=UTC)
TABLE = pa.table(
    {
        "id": pa.array(range(100), pa.int64()),
        "age": pa.array([None if n % 10 == 0 else 20 + n % 60 for n in range(100)], pa.int16()),
        "flag": pa.array([n % 2 for n in range(100)], pa.int8()),
        "at": pa.array([START + timedelta(hours=n) for n in range(100)], pa.timestamp("us", "UTC")),
        "on": pa.array([date(2024, 1, 1 + n % 20) for n in range(100)]),
        "price": pa.array([Decimal(n).scaleb(-1) for n in range(100)], pa.decimal128(10, 1)),
        "none": pa.array([None] * 100, pa.float64()),
        "x": [float(n) for n in range(100)],
        "s": [f"s{n % 3}" for n in range(100)],
    }
)


@pytest.fixture
def footer_only(tmp_path):
    """A file whose footer is whole and whose pages are not: whatever reads one fails."""
    file = tmp_path / "rows.parquet"
    pq.write_table(TABLE, file, row_group_size=30, compression="zstd")
    content = bytearray(file.read_bytes())
    end = len(content) - 8 - int.from_bytes(content[-8:-4], "little")
    content[4:end] = b"\xff" * (end - 4)
    file.write_bytes(content)
    return file


SETTLED = (
    Suite("settled")
    .expect_table_columns_to_match_ordered_list(TABLE.column_names)
    .expect_table_row_count_to_equal(100)
    .expect_column_values_to_be_of_type("id", "int")
    .expect_column_values_to_not_be_null("id")
    .expect_column_values_to_be_null("none")
    .expect_column_values_to_be_between("age", 20, 80)
    .expect_column_values_to_be_between("age", 0, 99.5, strict_min=True, strict_max=True)
    .expect_column_values_to_be_in_set("flag", [0, 1])
    .expect_column_values_to_not_be_in_set("age", [5, 200])
    .expect_column_values_to_be_between("at", "2024-01-01", "2024-01-31")
    .expect_column_values_to_be_between("on", "2024-01-01", date(2024, 1, 20))
    .expect_column_values_to_be_between("price", 0, 9.95)
    .expect_column_min_to_be_between("id", 0, 0)
    .expect_column_max_to_be_between("at", "2024-01-05T03:00:00Z", "2024-01-05T03:00:00Z")
    .expect_column_max_to_be_between("price", Decimal("9.9"), Decimal("9.9"))
    .expect_column_proportion_of_non_null_values_to_be_between("age", 0.9, 0.9)
)


def test_what_footers_settle_reads_no_page(footer_only):
    result = validate(footer_only, SETTLED)

    assert result.explain() == validate(TABLE, SETTLED).explain()
    assert result.success
    assert [dict(one.result) for one in result.results] == [
        dict(one.result) for one in validate(TABLE, SETTLED).results
    ]


@pytest.mark.parametrize(
    ("rule", "arguments"),
    [
        ("column_values_to_be_between", ("x", 0, 1000)),  # a float may be NaN, which is missing
        ("column_values_to_not_be_null", ("x",)),
        ("column_max_to_be_between", ("s", "s2", "s2")),  # bounds of text may be cut off
        ("column_values_to_be_between", ("age", 30, 80)),  # some are, some are not
        ("column_values_to_be_in_set", ("age", [20, 79])),
        ("column_values_to_not_be_null", ("age",)),  # examples are read
        ("column_mean_to_be_between", ("id", 0, 99)),
        ("column_values_to_be_unique", ("id",)),
    ],
)
def test_what_footers_do_not_settle_is_read(footer_only, rule, arguments):
    with pytest.raises(DataError, match="VALID-10"):
        validate(footer_only, getattr(Suite("one"), f"expect_{rule}")(*arguments))


def test_a_failure_that_footers_show_is_shown_by_rows_too(tmp_path):
    pq.write_table(TABLE, tmp_path / "rows.parquet", row_group_size=30)
    rules = Suite("one").expect_column_values_to_be_between("id", 1000).expect_column_values_to_not_be_null("age")

    found = [one.result for one in validate(tmp_path / "rows.parquet", rules).results]

    assert [one["unexpected_count"] for one in found] == [100, 10]
    assert found[0]["partial_unexpected_list"] == list(range(20))
    assert found[1]["partial_unexpected_index_list"] == list(range(0, 100, 10))


def test_files_without_statistics_and_with_nested_columns_are_read(tmp_path):
    table = pa.table({"a": [{"b": 1}, {"b": 2}], "a.b": [5, 6], "n": [1, None]})
    pq.write_table(table, tmp_path / "bare.parquet", write_statistics=False)
    pq.write_table(table, tmp_path / "rows.parquet")
    rules = (
        Suite("one")
        .expect_column_values_to_be_between("a.b", 5, 6)
        .expect_column_values_to_not_be_null("n", mostly=0.5)
        .expect_column_max_to_be_between("n", 1, 1)
        .expect_column_values_to_not_be_null("a")
    )

    for file in ("bare.parquet", "rows.parquet"):
        result = validate(tmp_path / file, rules)
        assert result.success, result.explain()


def test_a_column_without_values_repeats_them(tmp_path):
    table = pa.table({"n": pa.array([None] * 4, pa.int64())})
    pq.write_table(table, tmp_path / "rows.parquet")
    rules = Suite("one").expect_compound_columns_to_be_unique(["n"], ignore_row_if="never")

    found, expected = validate(tmp_path / "rows.parquet", rules), validate(table, rules)

    assert [one.result["unexpected_count"] for one in (*found.results, *expected.results)] == [4, 4]


@pytest.mark.parametrize("kind", [pa.timestamp("us"), pa.timestamp("ms", "UTC")])
def test_times_beyond_the_years_of_python_are_left_to_the_scan(kind, tmp_path):
    table = pa.table({"at": pa.array([0, 10**15 if kind.unit == "ms" else 10**18], pa.int64()).cast(kind)})
    pq.write_table(table, tmp_path / "rows.parquet")
    rules = (
        Suite("one")
        .expect_column_values_to_be_between("at", "1960-01-01", "2000-01-01", mostly=0.5)
        .expect_column_values_to_not_be_null("at")
        .expect_column_max_to_be_between("at", "1960-01-01")
    )

    result = validate(tmp_path / "rows.parquet", rules, result_format="BOOLEAN_ONLY")

    assert [one.success for one in result.results] == [True, True, False]
    assert result.results[2].problem


NUMBERS = st.lists(st.none() | st.integers(-5, 5), min_size=1, max_size=12)
BOUND = st.integers(-6, 6) | st.sampled_from([-2.5, 0.5, 2.0, math.inf, -math.inf])


@given(NUMBERS, BOUND, BOUND, st.booleans(), st.lists(st.integers(-6, 6), max_size=4), st.integers(1, 5))
@settings(max_examples=120, deadline=None)
def test_a_file_is_judged_as_its_rows_are(tmp_path_factory, values, low, high, strict, members, size):
    table = pa.table({"n": pa.array(values, pa.int32())})
    file = tmp_path_factory.mktemp("statistics") / "rows.parquet"
    pq.write_table(table, file, row_group_size=size)
    rules = (
        Suite("one")
        .expect_column_values_to_be_between("n", low, high, strict_min=strict, mostly=0.5)
        .expect_column_values_to_be_in_set("n", members)
        .expect_column_values_to_not_be_in_set("n", members)
        .expect_column_values_to_not_be_null("n")
        .expect_column_min_to_be_between("n", low)
        .expect_column_max_to_be_between("n", None, high)
    )

    found, expected = validate(file, rules), validate(table, rules)

    assert [(r.success, dict(r.result), r.problem) for r in found.results] == [
        (r.success, dict(r.result), r.problem) for r in expected.results
    ]


def test_rules_on_the_schema_alone_ask_for_nothing(footer_only):
    class Silent:
        unsupported = frozenset()

        def __init__(self):
            self.asked = []
            self._real = open_batch(footer_only)
            self.names = self._real.names
            self.type_of = self._real.type_of

        def compute(self, scopes):
            self.asked.append({where: list(figures) for where, figures in scopes.items()})
            return self._real.compute(scopes)

    backend = Silent()
    rules = Suite("one").expect_column_to_exist("id").expect_column_values_to_be_of_type("id", "int")

    assert validate(backend, rules).success
    assert [figure.op for asked in backend.asked for figures in asked.values() for figure in figures] == ["rows"]


@pytest.mark.parametrize("mean", [0.0, 1e6, 1e9, 1e12])
def test_a_spread_far_from_zero_is_exact(mean, tmp_path):
    values = mean + np.random.default_rng(3).normal(0, 1, 30_000)
    pq.write_table(pa.table({"x": values}), tmp_path / "rows.parquet", row_group_size=1_000)

    result = validate(tmp_path / "rows.parquet", Suite("one").expect_column_stdev_to_be_between("x", 0, 2)).results[0]

    assert result.result["observed_value"] == pytest.approx(float(values.astype(np.longdouble).std(ddof=1)), rel=1e-12)


def test_a_spread_of_nothing_is_no_spread(tmp_path):
    pq.write_table(pa.table({"x": [5.0, 5.0], "one": [1.0, None]}), tmp_path / "rows.parquet")
    rules = Suite("two").expect_column_stdev_to_be_between("x", 0, 0).expect_column_stdev_to_be_between("one", 0)

    same, one = validate(tmp_path / "rows.parquet", rules).results

    assert (same.success, same.result) == (True, {"observed_value": 0.0})
    assert (one.success, one.result) == (False, {"observed_value": None})
