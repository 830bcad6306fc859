"""Rows that are pushed into the log of a source: once each, whole, and what was declared."""

import multiprocessing
from datetime import UTC, datetime

import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import millrace as mr
from millrace.core.errors import DataError, ProjectError
from millrace.data.append import append_rows
from millrace.data.read import read_source
from millrace.data.scan import scan_source

SCHEMA = {"user": "int", "amount": "float", "tags": "list[string]", "at": "timestamp"}


def rows(*facts):
    return pa.table(
        {
            "user": [user for user, _, _ in facts],
            "amount": [amount for _, amount, _ in facts],
            "tags": pa.array([["a", None]] * len(facts), pa.list_(pa.string())),
            "at": [datetime(2024, 1, day, tzinfo=UTC) if day else None for *_, day in facts],
        }
    )


@pytest.fixture
def clicks():
    return mr.PushSource("clicks", schema=SCHEMA, event_time="at")


def read(source, root):
    return read_source(source, root=root).to_pylist()


def test_before_the_first_push_there_are_no_rows_of_the_declared_types(clicks, tmp_path):
    table = read_source(clicks, root=tmp_path)

    assert table.num_rows == 0
    assert table.schema.field("tags").type == pa.list_(pa.string())


def test_pushed_rows_are_read_in_the_order_of_pushing(clicks, tmp_path):
    assert append_rows(clicks, rows((1, 2.0, 3), (2, 1.0, 1)), root=tmp_path) == 2
    assert append_rows(clicks, rows((1, 9.0, 2)), root=tmp_path) == 1

    assert [row["amount"] for row in read(clicks, tmp_path)] == [2.0, 1.0, 9.0]


def test_a_row_pushed_again_is_one_row_and_twins_of_one_push_are_two(clicks, tmp_path):
    twins = rows((1, 2.0, 3), (1, 2.0, 3), (1, float("nan"), 3))

    assert append_rows(clicks, twins, root=tmp_path) == 3
    assert append_rows(clicks, twins, root=tmp_path) == 0
    assert append_rows(clicks, rows((1, 2.0, 3), (1, 2.0, 3), (1, 2.0, 3)), root=tmp_path) == 1
    assert len(read(clicks, tmp_path)) == 4


def test_a_row_without_a_time_is_left_out(clicks, tmp_path):
    assert append_rows(clicks, rows((1, 2.0, None)), root=tmp_path) == 0


def test_what_is_not_as_declared_is_told_all_at_once_and_nothing_is_written(clicks, tmp_path):
    wrong = pa.table({"user": ["x"], "amont": [1.0], "at": [datetime(2024, 1, 1, tzinfo=UTC)], "tags": [None]})

    with pytest.raises(DataError) as refused:
        append_rows(clicks, wrong, root=tmp_path)

    assert refused.value.code == "DATA-14"
    assert len(refused.value.findings) == 3
    assert read(clicks, tmp_path) == []


def test_a_file_cannot_be_added_to(tmp_path):
    pd.DataFrame({"at": [datetime(2024, 1, 1, tzinfo=UTC)]}).to_parquet(tmp_path / "log.parquet")
    source = mr.Source("log", "log.parquet", event_time="at")

    with pytest.raises(DataError, match="cannot be added"):
        append_rows(source, pa.table({"at": [datetime(2024, 1, 2, tzinfo=UTC)]}), root=tmp_path)


def push_one(folder, number):
    append_rows(mr.PushSource("clicks", schema=SCHEMA, event_time="at"), rows((number, 1.0, 1)), root=folder)


def test_writers_of_several_processes_lose_nothing(clicks, tmp_path):
    context = multiprocessing.get_context("spawn")
    writers = [context.Process(target=push_one, args=(tmp_path, number)) for number in range(4)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()

    assert sorted(row["user"] for row in read(clicks, tmp_path)) == [0, 1, 2, 3]


@pytest.mark.parametrize("make", [pd.DataFrame, pl.DataFrame, pa.table])
def test_a_source_may_be_the_rows_themselves(make, tmp_path):
    frame = make({"id": [1, 2], "at": [datetime(2024, 1, 1, tzinfo=UTC), datetime(2024, 1, 2, tzinfo=UTC)]})
    source = mr.Source("rows", frame, event_time="at")

    assert [row["id"] for row in read(source, tmp_path)] == [1, 2]
    assert read_source(source, root=tmp_path, start=datetime(2024, 1, 2, tzinfo=UTC)).num_rows == 1


def test_the_index_of_pandas_is_no_column(tmp_path):
    frame = pd.DataFrame({"id": [1]}, index=[7])

    assert read_source(mr.Source("rows", frame), root=tmp_path).column_names == ["id"]


def test_a_wrong_type_or_a_missing_time_in_the_schema_is_explained():
    with pytest.raises(ProjectError, match="did you mean 'int'"):
        mr.PushSource("clicks", schema={"user": "itn", "at": "timestamp"}, event_time="at")
    with pytest.raises(ProjectError, match="has no column 'att'"):
        mr.PushSource("clicks", schema={"user": "int", "at": "timestamp"}, event_time="att")


NOON = datetime(2024, 1, 1, 12)  # noqa: DTZ001 - as most pushed rows have it


def add(folder, *rows, **options):
    """Push rows into the folder `log`; how many were new."""
    source = mr.Source("log", "log", event_time="at", **options)
    (folder / "log").mkdir(exist_ok=True)
    return append_rows(source, pa.Table.from_pylist(list(rows)), root=folder)


def logged(folder, **options):
    return read(mr.Source("log", "log", event_time="at", **options), folder)


@pytest.mark.parametrize("written", [NOON, "2024-01-01T12:00:00Z", NOON.replace(tzinfo=UTC)], ids=str)
def test_a_row_pushed_again_is_one_row_however_its_created_time_is_written(written, tmp_path):
    row = {"user": 1, "at": NOON, "created": written}

    assert [add(tmp_path, row, created="created") for _ in range(2)] == [1, 0]


def test_a_row_pushed_again_is_one_row_after_its_column_became_wider(tmp_path):
    whole, half = {"at": NOON, "amount": 1}, {"at": NOON, "amount": 1.5}

    assert [add(tmp_path, row) for row in (whole, half, whole, half)] == [1, 1, 0, 0]


def test_rows_that_differ_in_a_column_that_one_of_them_lacks_are_two(tmp_path):
    plain, noted = {"at": NOON, "amount": 1}, {"at": NOON, "amount": 1, "note": "gift"}

    assert [add(tmp_path, row) for row in (plain, noted, plain, noted)] == [1, 1, 0, 0]
    assert [row["note"] for row in logged(tmp_path)] == [None, "gift"]


@pytest.mark.parametrize("stored", [pa.timestamp("us"), pa.timestamp("ns", "Europe/Rome"), pa.string()], ids=str)
def test_rows_go_with_files_of_times_in_another_form(stored, tmp_path):
    (tmp_path / "log").mkdir()
    there = pa.table({"at": pa.array([NOON.replace(tzinfo=UTC)]).cast(stored), "amount": [1]})
    pq.write_table(there, tmp_path / "log" / "a.parquet")

    assert [add(tmp_path, {"at": NOON, "amount": amount}) for amount in (1, 2)] == [0, 1]
    assert [row["at"] for row in logged(tmp_path)] == [NOON.replace(tzinfo=UTC)] * 2


def test_rows_go_with_files_that_name_several_zones(tmp_path):
    (tmp_path / "log").mkdir()
    moment = NOON.replace(tzinfo=UTC)
    for name, zone in (("a", "Europe/Rome"), ("b", "America/New_York")):
        there = pa.table({"at": pa.array([moment], pa.timestamp("us", zone)), "amount": [1]})
        pq.write_table(there, tmp_path / "log" / f"{name}.parquet")

    assert [add(tmp_path, {"at": NOON, "amount": amount}) for amount in (1, 2)] == [0, 1]
    assert [row["at"] for row in logged(tmp_path)] == [moment] * 3


def test_rows_that_would_make_the_folder_unreadable_are_refused(tmp_path):
    add(tmp_path, {"at": NOON, "amount": 1})

    with pytest.raises(DataError, match="holds string") as refused:
        add(tmp_path, {"at": NOON, "amount": "much"})

    assert refused.value.code == "DATA-14"
    assert [row["amount"] for row in logged(tmp_path)] == [1]


@pytest.mark.parametrize("name", ["transactions-2024.parquet", "pushed-by-hand.parquet", "a.parquet", "year=2024/a.pq"])
def test_what_is_pushed_comes_after_all_files_that_are_there(name, tmp_path):
    file = tmp_path / "log" / name
    file.parent.mkdir(parents=True)
    pq.write_table(pa.table({"at": [NOON], "amount": [1]}), file)

    for amount in (2, 3):
        assert add(tmp_path, {"at": NOON, "amount": amount}) == 1

    assert [row["amount"] for row in logged(tmp_path)] == [1, 2, 3]


def test_a_row_without_a_created_time_can_be_pushed_and_read(tmp_path):
    assert add(tmp_path, {"at": NOON, "created": NOON}, {"at": NOON, "created": None}, created="created") == 2
    source = mr.Source("log", "log", event_time="at", created="created")

    assert [row["created"] for row in logged(tmp_path, created="created")] == [NOON.replace(tzinfo=UTC), None]
    assert pa.concat_tables(scan_source(source, root=tmp_path).pieces())["created"].null_count == 1


def test_rows_lacking_the_created_column_are_refused(tmp_path):
    with pytest.raises(DataError, match="there is no column 'created'"):
        add(tmp_path, {"at": NOON}, created="created")


def test_the_last_moment_there_is_can_be_pushed(tmp_path):
    assert [add(tmp_path, {"at": datetime.max.replace(tzinfo=UTC)}) for _ in range(2)] == [1, 0]
