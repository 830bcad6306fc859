"""Parquet files of other writers, with less or other facts in their footers: none is guessed or believed blindly."""

from __future__ import annotations

import datetime as dt

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import millrace as mr
from millrace.validation.engine import validate
from millrace.validation.expression import column, count_if, figure, is_missing
from millrace.validation.scan import plain_parquet
from millrace.validation.scan.parquet_columns import ParquetColumns
from millrace.validation.scan.plain_parquet import open_plain

MOMENT = dt.datetime.fromisoformat("2024-02-29T12:30:01.250000")
COLUMNS = {
    "int32": pa.array([-3, None, 100], pa.int32()),
    "int8": pa.array([-3, None, 100], pa.int8()),
    "uint8": pa.array([3, None, 200], pa.uint8()),
    "uint64": pa.array([3, None, 2**64 - 1], pa.uint64()),
    "string": pa.array(["a", None, "b"]),
    "bool": pa.array([True, None, False]),
    "date32": pa.array([dt.date(1969, 1, 2), None, dt.date(2024, 2, 29)]),
    "ms": pa.array([MOMENT, None, MOMENT], pa.timestamp("ms")),
    "us": pa.array([MOMENT, None, MOMENT.replace(year=1904)], pa.timestamp("us")),
    "zoned": pa.array([MOMENT, None, MOMENT], pa.timestamp("us", "UTC")),
}


@pytest.mark.parametrize("name", ["a[1].parquet", "a*.parquet", "a?.parquet"])
@pytest.mark.parametrize("is_plain", [True, False])
def test_signs_of_patterns_in_the_name_of_a_file_name_no_other_file(tmp_path, monkeypatch, name, is_plain):
    pq.write_table(pa.table({"x": [1, 2, 3]}), tmp_path / "a1.parquet")
    pq.write_table(pa.table({"x": [None, 900, None]}), tmp_path / name)
    if not is_plain:
        monkeypatch.setattr(plain_parquet, "_MOST_BYTES", 0)
    suite = mr.Suite("s").expect_column_mean_to_be_between("x", 0, 10).expect_column_values_to_be_unique("x")

    found = validate(tmp_path / name, suite)

    assert found.rows == 3
    assert found.results[0].result["observed_value"] == 900
    assert not found.results[0].success


def rewritten(file, change):
    """`file` with its footer changed by ``change(footer)``, a struct of thrift as field numbers to [type, value]."""
    whole = file.read_bytes()
    size = int.from_bytes(whole[-8:-4], "little")
    footer = read_fields(iter(whole[-8 - size : -8]))
    change(footer)
    written = write_fields(footer)
    file.write_bytes(whole[: -8 - size] + written + len(written).to_bytes(4, "little") + b"PAR1")


def read_fields(data):
    def unsigned():
        value = shift = 0
        while True:
            byte = next(data)
            value, shift = value | (byte & 127) << shift, shift + 7
            if byte < 128:
                return value

    def value_of(kind):
        if kind == 3:
            return next(data)
        if kind in (4, 5, 6):
            return unsigned()  # as it is written, to be written again
        if kind == 8:
            return bytes(next(data) for _ in range(unsigned()))
        if kind == 9:
            head = next(data)
            size = unsigned() if head >> 4 == 15 else head >> 4
            return head & 15, [value_of(head & 15) for _ in range(size)]
        assert kind == 12, kind
        return read_fields(data)

    fields, number = {}, 0
    while head := next(data):
        number += head >> 4
        fields[number] = [head & 15, value_of(head & 15) if head & 15 > 2 else None]
    return fields


def write_fields(fields):
    def unsigned(value):
        return bytes([value]) if value < 128 else bytes([value & 127 | 128]) + unsigned(value >> 7)

    def value_as(kind, value):
        if kind == 3:
            return bytes([value])
        if kind in (4, 5, 6):
            return unsigned(value)
        if kind == 8:
            return unsigned(len(value)) + value
        if kind == 9:
            each, values = value
            return bytes([0xF0 | each]) + unsigned(len(values)) + b"".join(value_as(each, one) for one in values)
        return write_fields(value)

    written, last = b"", 0
    for number in sorted(fields):
        kind, value = fields[number]
        written += bytes([(number - last) << 4 | kind]) + (value_as(kind, value) if kind > 2 else b"")
        last = number
    return written + b"\0"


def columns_of(footer):
    return footer[2][1][1][1:]


def statistics_of(footer):
    return [chunk[3][1][12][1] for group in footer[4][1][1] for chunk in group[1][1][1]]


def without_logical_types(footer):
    for element in columns_of(footer):
        element.pop(10, None)


def without_any_types(footer):
    without_logical_types(footer)
    for element in columns_of(footer):
        element.pop(6, None)


def without_orders(footer):
    del footer[7]


def with_early_bounds(footer):
    for found in statistics_of(footer):
        found.update({old: found.pop(new) for old, new in ((1, 5), (2, 6)) if new in found})


@pytest.mark.parametrize("kind", ["int32", "int8", "uint8", "uint64", "string", "date32", "ms", "us", "zoned", "bool"])
@pytest.mark.parametrize("store_schema", [True, False])
@pytest.mark.parametrize("change", [without_logical_types, without_orders, with_early_bounds])
def test_what_an_older_writer_left_out_is_not_guessed(tmp_path, kind, store_schema, change):
    file = tmp_path / "rows.parquet"
    pq.write_table(pa.table({"x": COLUMNS[kind]}), file, store_schema=store_schema)
    rewritten(file, change)

    plain, full = open_plain(file), ParquetColumns([file], file)
    # A time without a LogicalType is in UTC for Arrow, and in no zone for Polars.
    assert (plain is None) == (change is without_logical_types and kind in ("ms", "us", "zoned"))
    if plain is not None:
        assert plain.type_of("x") == full.type_of("x")
        assert plain.known(figure("min", column("x"))) in ((False, None), full.known(figure("min", column("x"))))
        assert plain.frame(["x"]).collect().equals(full.frame(["x"]).collect())


@pytest.mark.parametrize("store_schema", [True, False])
def test_bytes_that_no_type_calls_a_text_are_left_to_arrow(tmp_path, store_schema):
    file = tmp_path / "rows.parquet"
    pq.write_table(pa.table({"x": ["a", "b"]}), file, store_schema=store_schema)
    rewritten(file, without_any_types)

    assert open_plain(file) is None


def test_a_column_of_no_type_is_left_to_arrow(tmp_path):
    file = tmp_path / "rows.parquet"
    pq.write_table(pa.table({"x": pa.nulls(3)}), file, store_schema=False)

    assert open_plain(file) is None
    assert validate(file, mr.Suite("s").expect_column_values_to_be_of_type("x", "int")).success is False


def of_another_order(footer):
    footer[7] = [9, (12, [{2: [12, {}]}])]


def not_exact(footer):
    for found in statistics_of(footer):
        found.update({7: [2, None], 8: [2, None]})


def cut_short(footer):
    for found in statistics_of(footer):
        found.update({place: [8, found[place][1][:1]] for place in (5, 6)})


def empty(footer):
    for found in statistics_of(footer):
        found.update({place: [8, b""] for place in (5, 6)})


@pytest.mark.parametrize("kind", ["int32", "uint64", "date32", "us"])
@pytest.mark.parametrize("change", [of_another_order, not_exact, cut_short, empty])
def test_bounds_that_are_not_certain_settle_nothing(tmp_path, kind, change):
    file = tmp_path / "rows.parquet"
    pq.write_table(pa.table({"x": COLUMNS[kind]}), file)
    assert open_plain(file).known(figure("max", column("x")))[0]

    rewritten(file, change)

    plain = open_plain(file)
    assert plain.known(figure("max", column("x"))) == (False, None)
    assert plain.known(count_if(is_missing(column("x")))) == (True, 1)
    assert plain.frame(["x"]).collect().to_series().to_list() == COLUMNS[kind].to_pylist()
