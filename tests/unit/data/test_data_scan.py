"""Scanning a source piece by piece: the same rows as reading it, fewer columns, fewer bytes."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from millrace.core.errors import DataError
from millrace.data import scan as scans
from millrace.data.read import read_source
from millrace.data.reader import SourceReader
from millrace.data.scan import scan_source
from millrace.data.source import Source

START = datetime(2024, 1, 1, tzinfo=UTC)
TIME = pa.timestamp("us", tz="UTC")


def day(number: float) -> datetime:
    return START + timedelta(days=number)


def table(first: int, rows: int, **changes: Any) -> pa.Table:
    columns: dict[str, Any] = {
        "id": pa.array(range(first, first + rows), pa.int64()),
        "at": pa.array([day(first + place) for place in range(rows)], TIME),
        "made": pa.array([day(first + place + 1) for place in range(rows)], pa.timestamp("ms")),
        "amount": pa.array([None if place % 3 == 0 else place * 0.5 for place in range(rows)], pa.float64()),
        "plan": pa.array(["free", "pro"] * rows, pa.string()).slice(0, rows).dictionary_encode(),
        "tags": pa.array([["a", None]] * rows, pa.list_(pa.string())),
    }
    return pa.table({**columns, **changes})


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    parts = {"region=north/a": table(0, 70), "region=north/b": table(70, 0), "region=so%20uth/a": table(70, 45)}
    for name, rows in parts.items():
        file = tmp_path / "orders" / f"{name}.parquet"
        file.parent.mkdir(parents=True, exist_ok=True)
        pq.write_table(rows, file, row_group_size=20)
    pq.write_table(table(0, 40), tmp_path / "one.parquet", row_group_size=15)
    table(0, 9).drop_columns(["tags", "plan"]).to_pandas().to_csv(tmp_path / "rows.csv", index=False)
    return tmp_path


SOURCES = [
    Source("orders", "orders", event_time="at", created="made"),
    Source("orders", "orders", event_time="when", columns={"when": "at", "eur": "amount"}),
    Source("orders", "orders", event_time="at", columns=["region", "at", "plan"]),
    Source("one", "one.parquet", event_time="at"),
    Source("plain", "one.parquet"),
    Source("csv", "rows.csv", event_time="at"),
]


@pytest.mark.parametrize("source", SOURCES, ids=lambda source: f"{source.name}-{source.columns}")
@pytest.mark.parametrize(
    "bounds", [(None, None), (day(15), day(90)), (day(30), None), (None, day(1)), (day(999), None)]
)
@pytest.mark.parametrize("rows", [7, 1 << 20])
def test_the_pieces_are_the_rows_of_a_read(
    folder: Path, source: Source, bounds: Any, rows: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scans, "PIECE_ROWS", rows)
    start, end = bounds if source.event_time else (None, None)

    scan = scan_source(source, root=folder, start=start, end=end)

    whole = read_source(source, root=folder, start=start, end=end).replace_schema_metadata(None)
    assert scan.schema.remove_metadata() == whole.schema
    pieces = [piece.replace_schema_metadata(None) for piece in scan.pieces()]
    assert pa.concat_tables([whole.slice(0, 0), *pieces]).equals(whole)
    assert scan.rows >= whole.num_rows


def test_only_the_wanted_columns_are_read_in_the_order_wanted(folder: Path) -> None:
    scan = SourceReader(folder).scan(SOURCES[1], ["region", "eur", "nothing", "when", "eur"], None, None)

    (first, *_) = scan.pieces()

    assert first.column_names == ["region", "eur", "when"]
    assert scan.schema.names == ["id", "when", "made", "eur", "plan", "tags", "region"]
    assert scan.schema.field("when").type == TIME
    everything = scan_source(SOURCES[1], root=folder)
    assert scan.bytes < everything.bytes / 2
    alone = scan_source(SOURCES[0], ["region"], root=folder).pieces()
    assert [name for piece in alone for name in piece["region"].to_pylist()] == ["north"] * 70 + ["so uth"] * 45


def test_the_size_is_about_that_in_memory(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    rows = pa.table({"id": [7] * 50_000, "x": rng.random(50_000), "text": ["a fixed text of a good length"] * 50_000})
    pq.write_table(rows, tmp_path / "a.parquet")

    scan = scan_source(Source("a", "a.parquet"), root=tmp_path)

    assert 0.5 < scan.bytes / rows.nbytes < 2


def test_row_groups_outside_the_bounds_are_not_counted(folder: Path) -> None:
    scan = scan_source(SOURCES[3], root=folder, start=day(16), end=day(29))

    assert scan.rows == 15
    assert sum(piece.num_rows for piece in scan.pieces()) == 13


def test_files_with_other_columns_and_wider_types_are_read_as_one_table(tmp_path: Path) -> None:
    (tmp_path / "log").mkdir()
    pq.write_table(pa.table({"n": pa.array([1], pa.int32()), "x": pa.nulls(1)}), tmp_path / "log" / "a.parquet")
    pq.write_table(pa.table({"y": ["t"], "n": pa.array([2**40])}), tmp_path / "log" / "b.parquet")
    source = Source("log", "log")

    pieces = list(scan_source(source, root=tmp_path).pieces())

    assert len({piece.schema for piece in pieces}) == 1
    assert pa.concat_tables(pieces).equals(read_source(source, root=tmp_path))


def caught(source: Source, root: Path, **options: Any) -> DataError:
    with pytest.raises(DataError) as error:
        list(scan_source(source, root=root, **options).pieces())
    return error.value


def test_a_scan_is_refused_for_the_reasons_of_a_read(folder: Path) -> None:
    assert caught(Source("a", "orderz"), folder).fix == "did you mean 'orders'?"
    assert caught(Source("plain", "one.parquet"), folder, end=day(1)).code == "DATA-02"
    assert caught(Source("a", "one.parquet", event_time="att"), folder).fix == "did you mean 'at'?"
    assert caught(Source("a", "one.parquet", columns={"plan": "id"}), folder).code == "DATA-11"
    assert caught(Source("a", "one.parquet", event_time="id"), folder).code == "DATA-08"
    (folder / "orders" / "b.parquet").write_bytes(b"PAR1")
    (folder / "orders" / "c.parquet").write_bytes(b"")
    assert [one.code for one in caught(SOURCES[0], folder).findings] == ["DATA-04", "DATA-04"]


def test_types_that_do_not_go_together_are_told(folder: Path) -> None:
    pq.write_table(pa.table({"id": ["seven"]}), folder / "orders" / "z.parquet")

    error = caught(SOURCES[0], folder)

    assert error.code == "DATA-07"
    assert error.where is not None
    assert error.where.startswith("source 'orders'")


def test_rows_without_a_time_are_told_with_their_numbers_in_the_file(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scans, "PIECE_ROWS", 10)
    times = pa.array([None if place in (25, 38) else day(place) for place in range(40)], TIME)
    pq.write_table(table(0, 40, at=times), folder / "orders" / "z.parquet", row_group_size=20)

    error = caught(SOURCES[0], folder, start=day(5))

    assert (error.code, error.why) == ("DATA-09", "rows (counted from 0): 25, 38")
    assert error.where is not None
    assert "z.parquet" in error.where


def test_a_file_damaged_inside_is_told(tmp_path: Path) -> None:
    file = tmp_path / "big.parquet"
    pq.write_table(pa.table({"n": list(range(10_000))}), file, compression="zstd", write_page_checksum=True)
    data = bytearray(file.read_bytes())
    data[4:3000] = b"\x00" * 2996
    file.write_bytes(data)

    assert caught(Source("big", "big.parquet"), tmp_path).code == "DATA-04"


def test_columns_of_one_name_are_still_read(tmp_path: Path) -> None:
    twice = pa.Table.from_arrays([pa.array([1]), pa.array([2])], names=["n", "n"])
    pq.write_table(twice, tmp_path / "a.parquet")

    assert [piece.num_columns for piece in scan_source(Source("a", "a.parquet"), root=tmp_path).pieces()] == [2]
