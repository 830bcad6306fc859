"""Distinct and repeated keys: counted in a set of bytes, or part by part, they are those of one set of all keys."""

from collections import Counter

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from millrace.validation.engine import validate
from millrace.validation.scan import polars_keys
from millrace.validation.scan.polars_keys import DenseSet
from millrace.validation.suite import Suite

SUITE = (
    Suite("keys")
    .expect_column_values_to_be_unique("id")
    .expect_column_values_to_be_unique("s")
    .expect_column_values_to_be_unique("x")
    .expect_compound_columns_to_be_unique(["id", "s"])
    .expect_compound_columns_to_be_unique(["x", "s"], ignore_row_if="any_value_is_missing")
    .expect_compound_columns_to_be_unique(["x", "s"], ignore_row_if="never")
    .expect_column_unique_value_count_to_be_between("s", 0, 1)
    .expect_column_values_to_be_unique("x", row_condition="id > 10", condition_parser="pandas")
)


def outcome(data):
    return [
        (one.success, dict(one.result), one.problem) for one in validate(data, SUITE, result_format="COMPLETE").results
    ]


@pytest.mark.parametrize("form", ["parquet", "lazy", "arrow"])
def test_keys_in_parts_are_counted_and_shown_as_those_at_once(form, tmp_path, monkeypatch):
    table = pa.table(
        {
            "id": pa.array([n * 10**9 for n in range(150)], pa.int64()),
            "s": [None if n % 11 == 0 else f"key{n % 70}" for n in range(150)],
            "x": [None if n % 13 == 0 else n % 97 / 4 for n in range(150)],
        }
    )
    pq.write_table(table, tmp_path / "rows.parquet", row_group_size=17)
    expected = outcome(table)
    assert [problem for _, _, problem in expected] == [None] * len(expected)
    assert sum(success for success, _, _ in expected) == 3
    monkeypatch.setattr(polars_keys, "PART_ROWS", 20)

    data = {"parquet": tmp_path / "rows.parquet", "lazy": pl.scan_parquet(tmp_path / "rows.parquet"), "arrow": table}

    assert outcome(data[form]) == expected


@given(st.lists(st.none() | st.integers(-40, 40), min_size=1, max_size=60))
@settings(max_examples=60, deadline=None)
def test_counts_in_parts_are_those_of_a_counter(values):
    times = Counter(value for value in values if value is not None)
    part_rows, polars_keys.PART_ROWS = polars_keys.PART_ROWS, 5
    try:
        table = pa.table({"k": pa.array([None if v is None else v * 10**12 for v in values], pa.int64())})
        unique, count = validate(
            table,
            Suite("k").expect_column_values_to_be_unique("k").expect_column_unique_value_count_to_be_between("k", 0),
        ).results
    finally:
        polars_keys.PART_ROWS = part_rows

    assert unique.result["unexpected_count"] == sum(n for n in times.values() if n > 1)
    assert count.result["observed_value"] == len(times)


@pytest.mark.parametrize(
    ("values", "kind"),
    [
        ([-128, 127, 0, None], pa.int8()),
        ([2**32 - 1, 2**32 - 3, 2**32 - 1], pa.uint32()),
        ([2**62, 2**62 - 3, 2**62], pa.uint64()),
        ([-(2**62), -(2**62) + 5], pa.int64()),
        ([2**62, 2**62 - 2, None], pa.int64()),
    ],
)
def test_numbers_of_every_width_are_marked_in_their_place(values, kind):
    series = pl.Series(pa.array(values, kind))
    found = DenseSet.of(10_000, series.min(), series.max())

    pl.select(found.marking(pl.lit(series)))

    assert found.count() == len({value for value in values if value is not None})


def test_a_set_of_bits_is_not_made_for_few_rows_or_numbers_far_apart():
    assert DenseSet.of(10, 0, 9) is None
    assert DenseSet.of(10_000, 0, 10**9) is None
    assert DenseSet.of(10_000, 2**62, 2**62 + 1) is None
    assert DenseSet.of(10_000, -(2**62) - 1, -(2**62)) is None
    assert DenseSet.of(None, 0, 1) is None
    assert DenseSet.of(10_000, None, None) is None


@pytest.mark.parametrize("value", [10, 11, 2**31, 2**32 + 3, -1, 2**63 - 1, -(2**63), -(2**62) - 1, 2**62 + 1])
@pytest.mark.parametrize(("low", "high"), [(0, 9), (2**62 - 9, 2**62), (-(2**62), -(2**62) + 9)])
def test_a_footer_that_lies_is_no_pass(low, high, value):
    found = DenseSet.of(10_000, low, high)

    with pytest.raises(pl.exceptions.PolarsError):
        pl.select(found.marking(pl.lit(pl.Series([low, value], dtype=pl.Int64))))


def test_ids_that_number_the_rows_are_counted_exactly(tmp_path):
    ids = [*range(5_000), None]
    for repeated in ([], [17, 17, 4_999]):
        table = pa.table({"id": pa.array([*ids, *repeated], pa.int64())})
        pq.write_table(table, tmp_path / "rows.parquet", row_group_size=1_000)
        suite = Suite("ids").expect_column_values_to_be_unique("id")
        result = validate(
            tmp_path / "rows.parquet", suite.expect_column_unique_value_count_to_be_between("id", 5000, 5000)
        )

        assert [one.success for one in result.results] == [not repeated, True]
        assert result.results[0].result["unexpected_count"] == (5 if repeated else 0)
