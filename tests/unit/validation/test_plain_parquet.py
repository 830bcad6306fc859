"""A Parquet file read without Arrow answers as it does when it is read with Arrow, and never otherwise."""

from __future__ import annotations

import datetime as dt
import subprocess
import sys
from decimal import Decimal

import duckdb
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import millrace as mr
from millrace.core.errors import DataError
from millrace.validation.column_type import type_name
from millrace.validation.engine import validate
from millrace.validation.expression import column, compare, count_if, figure, is_missing, is_present, literal
from millrace.validation.scan import plain_parquet
from millrace.validation.scan.compact_thrift import read_struct
from millrace.validation.scan.parquet_columns import ParquetColumns
from millrace.validation.scan.plain_parquet import open_plain

MOMENT = dt.datetime.fromisoformat("2024-02-29T12:30:01.250000")
PLAIN = {
    **{str(kind): pa.array([3, None, 100], kind) for kind in (pa.int8(), pa.int16(), pa.int32(), pa.int64())},
    **{str(kind): pa.array([3, None, 200], kind) for kind in (pa.uint8(), pa.uint16(), pa.uint32(), pa.uint64())},
    "above int64": pa.array([2**63 + 5, None, 2**64 - 1], pa.uint64()),
    "lowest int64": pa.array([-(2**63), None, 2**63 - 1], pa.int64()),
    "float": pa.array([1.5, None, float("nan")], pa.float32()),
    "double": pa.array([1.5, None, float("inf")], pa.float64()),
    "bool": pa.array([True, None, False]),
    "string": pa.array(["a", None, "ä€"], pa.string()),
    "large_string": pa.array(["a", None, "b"], pa.large_string()),
    "date32": pa.array([dt.date(1969, 1, 2), None, dt.date(2024, 2, 29)], pa.date32()),
    "ms": pa.array([MOMENT, None, MOMENT], pa.timestamp("ms")),
    "us": pa.array([MOMENT, None, MOMENT.replace(year=1904)], pa.timestamp("us")),
    "ns": pa.array([MOMENT, None, MOMENT], pa.timestamp("ns")),
    "zoned": pa.array([MOMENT, None, MOMENT], pa.timestamp("us", "Europe/Berlin")),
    "utc": pa.array([MOMENT, None, MOMENT], pa.timestamp("ms", "UTC")),
    "all null": pa.array([None, None, None], pa.int64()),
}
OTHER = {
    "half": pa.array([1.5, None, 2.5], pa.float16()),
    "seconds": pa.array([MOMENT.replace(microsecond=0), None, None], pa.timestamp("s")),
    "date64": pa.array([dt.date(2024, 2, 29), None, None], pa.date64()),
    "time": pa.array([dt.time(1, 2), None, None], pa.time64("us")),
    "duration": pa.array([dt.timedelta(1), None, None], pa.duration("us")),
    "decimal": pa.array([Decimal("1.50"), None, None], pa.decimal128(10, 2)),
    "category": pa.array(["a", None, "b"]).dictionary_encode(),
    "binary": pa.array([b"a", None, None], pa.binary()),
    "fixed": pa.array([b"abcd", None, None], pa.binary(4)),
    "list": pa.array([[1], None, []], pa.list_(pa.int64())),
    "struct": pa.array([{"a": 1}, None, None], pa.struct([("a", pa.int64())])),
    "map": pa.array([[("a", 1)], None, []], pa.map_(pa.string(), pa.int64())),
    "null": pa.array([None, None, None], pa.null()),
    "offset": pa.array([MOMENT, None, MOMENT], pa.timestamp("us", "+05:30")),
}


def figures(name):
    values = column(name)
    return [
        count_if(is_missing(values)),
        count_if(is_present(values)),
        figure("min", values),
        figure("max", values),
        *(count_if(compare(op, values, literal(bound))) for op in ("lt", "ge", "eq") for bound in (0, 3, 150)),
    ]


def assert_alike(file):
    """Same names, types, rows, values and settled figures; whether the file was plain."""
    plain, full = open_plain(file), ParquetColumns([file], file)
    if plain is None:
        return False
    assert plain.names == full.names
    assert plain.rows == full.rows
    for name in plain.names:
        assert type_name(plain.type_of(name)) == type_name(full.type_of(name))
        assert plain.type_of(name).family == full.type_of(name).family
        assert plain.type_of(name).zone == full.type_of(name).zone
        for wanted in figures(name):
            assert plain.known(wanted) == full.known(wanted), wanted
    read = [columns.frame(columns.names).collect() for columns in (plain, full)]
    assert read[0].equals(read[1])
    assert read[0].schema == read[1].schema
    return True


@pytest.mark.parametrize("kind", PLAIN)
def test_an_ordinary_column_is_read_as_arrow_reads_it(tmp_path, kind):
    pq.write_table(pa.table({"x": PLAIN[kind]}), tmp_path / "rows.parquet")

    assert assert_alike(tmp_path / "rows.parquet")


@pytest.mark.parametrize("kind", OTHER)
def test_what_is_out_of_the_ordinary_is_left_to_arrow_or_read_as_it_does(tmp_path, kind):
    pq.write_table(pa.table({"x": OTHER[kind], "y": [1, 2, 3]}), tmp_path / "rows.parquet")

    assert_alike(tmp_path / "rows.parquet")


@pytest.mark.parametrize("kind", ["category", "decimal", "list", "struct", "map", "duration", "half", "offset"])
def test_columns_that_polars_would_show_as_others_are_left_to_arrow(tmp_path, kind):
    pq.write_table(pa.table({"x": OTHER[kind]}), tmp_path / "rows.parquet")

    assert open_plain(tmp_path / "rows.parquet") is None


def test_a_file_of_polars_is_read_too(tmp_path):
    frame = pl.DataFrame(
        {"n": [1, None, 3], "s": ["a", None, "b"], "t": [MOMENT, None, MOMENT], "d": [MOMENT.date()] * 3}
    )
    frame.write_parquet(tmp_path / "rows.parquet")

    assert assert_alike(tmp_path / "rows.parquet")


def test_a_file_of_duckdb_is_read_too(tmp_path):
    file = tmp_path / "rows.parquet"
    duckdb.execute(f"""
        COPY (SELECT 7 AS n, 1.5 AS x, 'a' AS s, DATE '1960-01-31' AS d, TIMESTAMP '1960-01-31 01:02:03' AS t,
              TRUE AS b, 250::UTINYINT AS u UNION ALL SELECT NULL, 2.5::DOUBLE, NULL, NULL, NULL, NULL, NULL)
        TO '{file}' (FORMAT parquet)""")

    assert assert_alike(file)


@pytest.mark.parametrize("flavor", [None, "spark"])
@pytest.mark.parametrize("version", ["1.0", "2.4", "2.6"])
def test_older_forms_are_read_or_left(tmp_path, version, flavor):
    columns = {
        name: array
        for name, array in PLAIN.items()
        if version != "1.0" or (array.type != pa.uint32() and array.type != pa.timestamp("ns"))
    }
    pq.write_table(
        pa.table(columns),
        tmp_path / "rows.parquet",
        version=version,
        flavor=flavor,
        store_schema=version != "2.4",
    )

    assert_alike(tmp_path / "rows.parquet")


@given(
    columns=st.lists(
        st.sampled_from(sorted(PLAIN)).flatmap(
            lambda kind: st.lists(st.sampled_from(PLAIN[kind].to_pylist()), min_size=20, max_size=20).map(
                lambda values: pa.array(values, PLAIN[kind].type)
            )
        ),
        min_size=1,
        max_size=4,
    ),
    rows=st.integers(0, 20),
    group=st.integers(1, 8),
    told=st.booleans() | st.just(["c0"]),
    dictionary=st.booleans(),
    page=st.sampled_from(["1.0", "2.0"]),
)
@settings(max_examples=150, deadline=None)
def test_any_ordinary_file_is_read_as_arrow_reads_it(tmp_path_factory, columns, rows, group, told, dictionary, page):
    file = tmp_path_factory.mktemp("plain") / "rows.parquet"
    table = pa.table({f"c{place}": array for place, array in enumerate(columns)}).slice(0, rows)
    pq.write_table(
        table, file, row_group_size=group, write_statistics=told, use_dictionary=dictionary, data_page_version=page
    )

    assert assert_alike(file)


@given(place=st.integers(0, 400), byte=st.integers(0, 255), cut=st.integers(0, 40))
@settings(max_examples=300, deadline=None)
def test_no_damage_to_a_footer_raises_or_passes_for_another_file(tmp_path_factory, place, byte, cut):
    file = tmp_path_factory.mktemp("damage") / "rows.parquet"
    pq.write_table(pa.table({"x": [1, 2, 3], "s": ["a", None, "b"]}), file)
    whole = bytearray(file.read_bytes())
    if cut:
        whole = whole[:-cut]
    else:
        whole[-1 - place % len(whole)] = byte
    file.write_bytes(whole)

    try:
        plain = open_plain(file)
        found = None if plain is None else plain.frame(plain.names).collect()
    except (pl.exceptions.PolarsError, pl.exceptions.PanicException):
        found = None  # the pages are damaged, which is told when they are read
    if found is not None:
        assert found.height == plain.rows


def test_a_damaged_file_is_told_as_ever(tmp_path):
    file = tmp_path / "rows.parquet"
    pq.write_table(pa.table({"x": list(range(1000))}), file)
    whole = file.read_bytes()
    suite = mr.Suite("s").expect_column_values_to_not_be_null("x").expect_column_mean_to_be_between("x", 0, 1000)
    for damaged in (b"", whole[:3], whole[: len(whole) // 2], whole[:-4] + b"PARX", b"PAR1" + whole[8:]):
        file.write_bytes(damaged)
        with pytest.raises(DataError) as raised:
            validate(file, suite)
        assert raised.value.code == "VALID-10"
    file.write_bytes(whole[:100] + b"\xff" * 200 + whole[300:])
    with pytest.raises(DataError) as raised:
        validate(file, suite)
    assert raised.value.code == "VALID-10"


def test_a_large_footer_is_left_to_arrow(tmp_path, monkeypatch):
    file = tmp_path / "rows.parquet"
    pq.write_table(pa.table({"x": [1, 2]}), file)
    assert open_plain(file) is not None

    monkeypatch.setattr(plain_parquet, "_MOST_BYTES", 10)

    assert open_plain(file) is None


def test_two_columns_of_one_name_are_left_to_arrow(tmp_path):
    pq.write_table(pa.Table.from_arrays([pa.array([1]), pa.array([2])], names=["x", "x"]), tmp_path / "rows.parquet")

    assert open_plain(tmp_path / "rows.parquet") is None


def test_structs_of_thrift_are_read_in_every_form():
    # Field 1 true, 2 an i32 of -3, 3 "ab", 4 a list of two truths, 5 a set of 16 bytes, 6 a map, 7 a double, 108 an i16
    data = bytes([0x11, 0x15, 0x05, 0x18, 2, *b"ab", 0x19, 0x21, 1, 2, 0x1A, 0xF3, 16, *range(16)])
    data += bytes([0x1B, 1, 0x58, 14, 1, *b"z", 0x17, *range(8), 0x04, 0xD8, 0x01, 0x02, 0])

    assert read_struct(data) == {
        1: True,
        2: -3,
        3: b"ab",
        4: [1, 2],
        5: list(range(16)),
        6: [(7, b"z")],
        7: bytes(range(8)),
        108: 1,
    }
    for end in range(len(data)):
        with pytest.raises(IndexError):
            read_struct(data[:end])
    with pytest.raises(ValueError, match="no type of Thrift"):
        read_struct(b"\x1d")


def test_a_file_is_judged_without_loading_arrow_or_numpy(tmp_path):
    pq.write_table(pa.table({"id": list(range(5000)), "x": [0.5] * 5000}), tmp_path / "rows.parquet")
    program = f"""
import sys
from millrace.validation.engine import validate
from millrace.validation.suite import Suite
suite = Suite("s").expect_column_values_to_be_unique("id").expect_column_mean_to_be_between("x", 0, 1)
suite = suite.expect_column_values_to_be_of_type("id", "int").expect_column_values_to_be_between("x", 0, 1)
assert validate({str(tmp_path / "rows.parquet")!r}, suite).success
print(sorted({{"pyarrow", "numpy", "pandas", "scipy"}} & set(sys.modules)))
"""
    done = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True)

    assert done.stdout.strip() == "[]"
