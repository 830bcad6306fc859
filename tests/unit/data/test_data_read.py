"""Reading files: every row that was asked for, in order, or an error that says what to mend."""

from datetime import UTC, datetime

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from millrace.core.errors import DataError
from millrace.data.read import read_source
from millrace.data.scan import scan_source
from millrace.data.source import Source


def day(number):
    return datetime(2024, 1, number, tzinfo=UTC)


@pytest.fixture
def orders():
    return pa.table(
        {
            "at": pa.array([day(3), day(1), day(2), day(4)], pa.timestamp("ns", tz="Europe/Berlin")),
            "amount": pa.array([3, 1, None, 4], pa.int32()),
            "plan": pa.array(["a", "b", "a", None]).dictionary_encode(),
        }
    )


@pytest.fixture
def root(tmp_path, orders):
    pq.write_table(orders, tmp_path / "orders.parquet")
    return tmp_path


def caught(source, root, **bounds):
    with pytest.raises(DataError) as error:
        read_source(source, root=root, **bounds)
    return error.value


def test_parquet_rows_keep_their_order_and_times_become_utc(root):
    table = read_source(Source("orders", "orders.parquet", event_time="at"), root=root)

    assert table.schema.field("at").type == pa.timestamp("us", tz="UTC")
    assert table.column("at").to_pylist() == [day(3), day(1), day(2), day(4)]
    assert table.column("amount").to_pylist() == [3, 1, None, 4]
    assert table.schema.field("amount").type == pa.int32()
    assert table.schema.field("plan").type == pa.string()


@pytest.mark.parametrize("unit", ["s", "ms", "us", "ns"])
@pytest.mark.parametrize("zone", [None, "UTC"])
def test_bounds_are_half_open_in_every_unit(tmp_path, unit, zone):
    times = pa.array([day(n) for n in (1, 2, 3, 4)], pa.timestamp("us", tz="UTC")).cast(pa.timestamp(unit, tz=zone))
    pq.write_table(pa.table({"at": times, "n": [1, 2, 3, 4]}), tmp_path / "a.parquet")
    source = Source("a", "a.parquet", event_time="at")

    assert read_source(source, root=tmp_path, start=day(2), end=day(4)).column("n").to_pylist() == [2, 3]
    assert read_source(source, root=tmp_path, start=day(4)).column("n").to_pylist() == [4]
    assert read_source(source, root=tmp_path, end=datetime(2024, 1, 2, 0, 0, 0, 1, tzinfo=UTC)).column(
        "n"
    ).to_pylist() == [1, 2]


def test_columns_are_renamed_or_kept(root):
    renamed = Source("o", "orders.parquet", event_time="when", columns={"when": "at", "eur": "amount"})
    kept = Source("o", "orders.parquet", event_time="at", columns=["amount", "at"])

    assert read_source(renamed, root=root, start=day(4)).column_names == ["when", "eur", "plan"]
    assert read_source(renamed, root=root, start=day(4)).num_rows == 1
    assert read_source(kept, root=root).column_names == ["amount", "at"]


def test_a_rename_onto_a_name_in_use_is_an_error(root):
    error = caught(Source("o", "orders.parquet", columns={"plan": "amount"}), root)

    assert error.code == "DATA-11"
    assert "['plan']" in error.what


def test_a_missing_file_names_the_nearest(root):
    error = caught(Source("orders", "order.parquet"), root)

    assert error.code == "DATA-01"
    assert error.fix == "did you mean 'orders.parquet'?"
    assert "source 'orders'" in error.where
    assert caught(Source("orders", "dta/orders.parquet"), root).what.startswith("there is no folder 'dta'")


def test_missing_columns_are_all_named_with_the_nearest(root):
    error = caught(Source("orders", "orders.parquet", event_time="att", columns=["amnt", "att"]), root)

    assert error.code == "DATA-02"
    assert [finding.fix for finding in error.findings] == ["did you mean 'amount'?", "did you mean 'at'?"]


@pytest.mark.parametrize("keep", [0, 3, 100, -4])
def test_a_truncated_parquet_file_is_refused(root, keep):
    file = root / "orders.parquet"
    file.write_bytes(file.read_bytes()[:keep])

    assert caught(Source("orders", "orders.parquet"), root).code == "DATA-04"


def test_bytes_damaged_inside_a_parquet_file_are_an_error(root, orders):
    file = root / "big.parquet"
    pq.write_table(pa.table({"n": list(range(10_000))}), file, compression="zstd", write_page_checksum=True)
    data = bytearray(file.read_bytes())
    data[4:3000] = b"\x00" * 2996
    file.write_bytes(data)

    assert caught(Source("big", "big.parquet"), root).code == "DATA-04"


def test_a_folder_is_read_in_order_of_names_with_its_partition_columns(tmp_path):
    for region, values in (("south", [3]), ("north", [1, 2])):
        folder = tmp_path / "orders" / f"region={region}"
        folder.mkdir(parents=True)
        pq.write_table(pa.table({"n": values}), folder / "a.parquet")
    (tmp_path / "orders" / "_SUCCESS.csv").write_text("not,data\n1\n")
    (tmp_path / "orders" / "readme.txt").write_text("no data either")

    table = read_source(Source("orders", "orders"), root=tmp_path)

    assert table.to_pydict() == {"n": [1, 2, 3], "region": ["north", "north", "south"]}


def test_every_damaged_file_of_a_folder_is_named(tmp_path):
    pq.write_table(pa.table({"n": [1]}), tmp_path / "a.parquet")
    (tmp_path / "b.parquet").write_bytes(b"PAR1 no")
    (tmp_path / "c.csv").write_text("n\n1\n2,3\n")

    error = caught(Source("all", str(tmp_path)), tmp_path)

    assert [finding.code for finding in error.findings] == ["DATA-04", "DATA-05"]


def test_a_partition_without_a_value_is_null(tmp_path):
    for name in ("day=1", "day=__HIVE_DEFAULT_PARTITION__"):
        (tmp_path / name).mkdir()
        pq.write_table(pa.table({"x": [1]}), tmp_path / name / "rows.parquet")

    table = read_source(Source("s", str(tmp_path)), root=tmp_path)

    assert sorted(table["day"].to_pylist(), key=str) == ["1", None]


def test_partitions_of_another_type_do_not_fit_together(tmp_path):
    pq.write_table(pa.table({"age": [1]}), tmp_path / "a.parquet")
    pq.write_table(pa.table({"age": ["25 years"]}), tmp_path / "b.parquet")

    assert caught(Source("all", str(tmp_path)), tmp_path).code == "DATA-07"


@pytest.mark.parametrize("zones", [("Europe/Berlin", "UTC"), ("Europe/Berlin", "+05:30"), ("UTC", None)])
def test_files_that_name_other_zones_are_one_table_in_utc_and_times_without_a_zone_are_none(tmp_path, zones):
    for place, zone in enumerate(zones):
        table = pa.table({"n": [place], "at": pa.array([day(3)], pa.timestamp("us", zone))})
        pq.write_table(table, tmp_path / f"{place}.parquet")
    source = Source("all", str(tmp_path))

    if None in zones:
        assert caught(source, tmp_path).code == "DATA-07"
        return
    table = read_source(source, root=tmp_path)
    assert table.schema.field("at").type == pa.timestamp("us", "UTC")
    assert table["at"].to_pylist() == [day(3), day(3)]
    pieces = pa.concat_tables(scan_source(source, root=tmp_path).pieces())
    assert pieces["at"].to_pylist() == [day(3), day(3)]


def test_a_folder_or_file_without_data_is_an_error(tmp_path):
    (tmp_path / "note.txt").write_text("hello")

    assert caught(Source("all", "note.txt"), tmp_path).code == "DATA-03"
    assert caught(Source("all", str(tmp_path)), tmp_path).code == "DATA-03"


def test_event_times_that_are_none_are_errors_with_values(tmp_path):
    pq.write_table(pa.table({"n": [1714564800], "text": ["yesterday"]}), tmp_path / "a.parquet")
    pq.write_table(pa.table({"at": pa.array([None, day(1), None], pa.timestamp("us"))}), tmp_path / "b.parquet")

    assert "1714564800" in caught(Source("a", "a.parquet", event_time="n"), tmp_path).why
    assert "'yesterday'" in caught(Source("a", "a.parquet", event_time="text"), tmp_path).what
    error = caught(Source("b", "b.parquet", event_time="at"), tmp_path, start=day(1))
    assert (error.code, error.why) == ("DATA-09", "rows (counted from 0): 0, 2")


def test_bounds_without_an_event_time_are_an_error(root):
    assert caught(Source("orders", "orders.parquet"), root, end=day(1)).code == "DATA-02"


def test_an_environment_variable_that_is_not_set_is_named(tmp_path, monkeypatch):
    monkeypatch.delenv("ORDERS_URL", raising=False)
    from millrace.data.location import resolve_url

    with pytest.raises(DataError, match="ORDERS_URL is not set"):
        resolve_url("env:ORDERS_URL")
    monkeypatch.setenv("ORDERS_URL", "sqlite:///a.db")
    assert resolve_url("env:ORDERS_URL") == "sqlite:///a.db"
