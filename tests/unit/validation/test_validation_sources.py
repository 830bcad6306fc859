"""The same rows give the same result wherever they are; what cannot be read is refused with the reason."""

import itertools
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import polars as pl
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq
import pytest

from millrace.core.errors import DataError
from millrace.validation.engine import validate
from millrace.validation.scan import csv_columns
from millrace.validation.suite import Suite

ROWS = 60


@pytest.fixture(params=["at once", "in blocks"])
def csv_way(request, monkeypatch):
    """CSV files are read whole when they are small, and in blocks when they are not: with the same result."""
    if request.param == "in blocks":
        monkeypatch.setattr(csv_columns, "IN_MEMORY_BYTES", 0)


TABLE = pa.table(
    {
        "id": pa.array(range(ROWS), pa.int64()),
        "x": [None if n % 7 == 0 else n / 4 for n in range(ROWS)],
        "s": [f"name{n % 5}" for n in range(ROWS)],
        "at": pa.array([datetime(2024, 1, 1, n % 24, tzinfo=UTC) for n in range(ROWS)], pa.timestamp("us", "UTC")),
    }
)


@pytest.fixture
def suite():
    return (
        Suite("one")
        .expect_table_row_count_to_equal(ROWS)
        .expect_column_values_to_be_unique("id")
        .expect_column_values_to_be_unique("s")
        .expect_column_values_to_be_between("x", 1, 10)
        .expect_column_values_to_not_be_null("x")
        .expect_column_values_to_match_regex("s", "[0-3]$")
        .expect_column_values_to_be_between("at", "2024-01-01T02:00:00Z")
        .expect_column_mean_to_be_between("x", 1, 10)
        .expect_column_max_to_be_between("at", max_value="2024-01-01T23:00:00Z")
    )


def outcome(data, suite):
    result = validate(data, suite, result_format="COMPLETE")
    return [(one.success, dict(one.result), one.problem) for one in result.results]


def partition(folder, table=TABLE):
    for number, (start, length) in enumerate([(0, 10), (10, 25), (35, 25)]):
        file = folder / f"part={number}" / "rows.parquet"
        file.parent.mkdir(parents=True)
        pq.write_table(table.slice(start, length), file)
    return folder


def forms(folder):
    pq.write_table(TABLE, folder / "rows.parquet")
    pa.csv.write_csv(TABLE, folder / "rows.csv")
    return {
        "parquet": folder / "rows.parquet",
        "text": str(folder / "rows.parquet"),
        "csv": folder / "rows.csv",
        "folder": partition(folder / "parts"),
        "pattern": folder / "parts" / "part=*" / "*.parquet",
        "polars": pl.from_arrow(TABLE),
        "lazy": pl.scan_parquet(folder / "rows.parquet"),
        "pandas": TABLE.to_pandas(),
        "batch": TABLE.to_batches()[0],
        "reader": TABLE.to_reader(max_chunksize=7),
        "mapping": TABLE.to_pydict(),
    }


@pytest.mark.usefixtures("csv_way")
@pytest.mark.parametrize("form", ["text", "csv", "folder", "pattern", "polars", "lazy", "pandas", "batch", "reader"])
def test_rows_give_the_same_result_in_every_form(form, suite, tmp_path):
    assert outcome(forms(tmp_path)[form], suite) == outcome(TABLE, suite)


def test_a_part_of_the_path_is_a_column_of_text(tmp_path):
    rules = Suite("one").expect_column_values_to_be_in_set("part", ["0", "1"])

    result = validate(partition(tmp_path / "parts"), rules).results[0]

    assert (result.problem, result.result["unexpected_count"]) == (None, 25)
    assert result.result["partial_unexpected_index_list"][0] == 35


def test_a_part_of_the_path_without_a_value_is_missing(tmp_path):
    folder = partition(tmp_path / "parts")
    (folder / "part=1").rename(folder / "part=__HIVE_DEFAULT_PARTITION__")
    rules = Suite("one").expect_column_values_to_not_be_null("part").expect_column_values_to_be_in_set("part", ["0"])

    present, known = validate(folder, rules).results

    assert (present.success, present.result["unexpected_count"]) == (False, 25)
    assert (known.result["missing_count"], known.result["unexpected_count"]) == (25, 25)


def test_times_at_an_offset_are_judged_in_every_form(tmp_path):
    moments = pa.array([datetime(2024, 3, 31, hour, tzinfo=UTC) for hour in range(4)], pa.timestamp("us", "+05:30"))
    table = pa.table({"n": [1, 2, 3, 4], "at": moments, "x": [1.0, float("nan"), None, 2.0]})
    pq.write_table(table, tmp_path / "rows.parquet", row_group_size=3)
    (tmp_path / "parts").mkdir()
    pq.write_table(table.slice(0, 2), tmp_path / "parts" / "a.parquet")
    pq.write_table(table.slice(2).select(["x", "at", "n"]), tmp_path / "parts" / "b.parquet")
    rules = (
        Suite("one")
        .expect_column_values_to_be_between("at", "2024-03-31T06:30:00+05:30", "2024-03-31T02:00:00Z")
        .expect_column_max_to_be_between("at", "2024-03-31T03:00:00Z", "2024-03-31T03:00:00Z")
        .expect_column_unique_value_count_to_be_between("at", 2, 2, row_condition="n > 2", condition_parser="pandas")
        .expect_column_values_to_not_be_null("x")
        .expect_column_values_to_be_unique("n")
        .unexpected_rows_expectation("SELECT n FROM {batch} WHERE n > 3")
    )
    expected = outcome(table, rules)

    assert [verdict for verdict, _, problem in expected if problem is None] == [False, True, True, False, True, False]
    assert expected[0][1]["unexpected_index_list"] == [0, 3]
    for data in (tmp_path / "rows.parquet", tmp_path / "parts", table.to_reader(3), table.to_pandas()):
        assert outcome(data, rules) == expected


def test_a_lazy_frame_that_polars_gives_up_on_is_told(tmp_path):
    moments = pa.array([datetime(2024, 1, 1, tzinfo=UTC)], pa.timestamp("us", "+05:30"))
    pq.write_table(pa.table({"at": moments}), tmp_path / "rows.parquet")

    with pytest.raises(DataError, match="VALID-10"):
        validate(pl.scan_parquet(tmp_path / "rows.parquet"), Suite("one").expect_column_to_exist("at"))


def test_a_column_that_is_whole_in_one_file_and_not_in_another_is_of_numbers(tmp_path):
    pq.write_table(pa.table({"x": [1, 2]}), tmp_path / "a.parquet")
    pq.write_table(pa.table({"y": ["new"], "x": [2.5]}), tmp_path / "b.parquet")
    rules = (
        Suite("one")
        .expect_column_values_to_be_between("x", 1, 2)
        .expect_column_values_to_not_be_null("y")
        .expect_table_columns_to_match_set(["x", "y"])
    )

    found = [dict(one.result) for one in validate(tmp_path, rules).results]

    assert found[0]["partial_unexpected_list"] == [2.5]
    assert found[1]["unexpected_count"] == 2
    assert found[2]["observed_value"] == ["x", "y"]


def test_files_that_do_not_fit_together_are_refused(tmp_path):
    pq.write_table(pa.table({"x": [1]}), tmp_path / "a.parquet")
    pq.write_table(pa.table({"x": ["one"]}), tmp_path / "b.parquet")

    with pytest.raises(DataError, match="VALID-13"):
        validate(tmp_path, Suite("one").expect_column_to_exist("x"))


def test_a_truncated_file_and_one_of_garbage_are_refused_together(tmp_path, suite):
    pq.write_table(TABLE, tmp_path / "good.parquet")
    whole = (tmp_path / "good.parquet").read_bytes()
    (tmp_path / "cut.parquet").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "noise.parquet").write_bytes(b"PAR1" + bytes(range(256)) * 4)

    with pytest.raises(DataError) as caught:
        validate(tmp_path, suite)

    assert (caught.value.code, caught.value.what) == ("VALID-10", "2 files cannot be read")
    assert [finding.what.split(":")[0] for finding in caught.value.findings] == [
        "'cut.parquet' cannot be read",
        "'noise.parquet' cannot be read",
    ]


def test_pages_damaged_behind_a_good_footer_are_refused_and_not_a_failed_rule(tmp_path):
    file = tmp_path / "rows.parquet"
    pq.write_table(TABLE, file, compression="zstd")
    spoil_pages(file)

    with pytest.raises(DataError, match="VALID-10"):
        validate(file, Suite("one").expect_column_mean_to_be_between("x", 0))


def spoil_pages(file):
    content = bytearray(file.read_bytes())
    end = len(content) - 8 - int.from_bytes(content[-8:-4], "little")
    content[4:end] = b"\xff" * (end - 4)
    file.write_bytes(content)


@pytest.mark.parametrize(
    ("name", "content", "code", "words"),
    [
        ("rows.csv", b"", "VALID-12", "empty: not even a header line"),
        ("rows.csv", b"a,b\n1,2\n3\n", "VALID-12", "Expected 2 columns, got 1"),
        ("rows.csv", b"a,b\n1,2\n3,4,5\n", "VALID-12", "Expected 2 columns, got 3"),
        ("rows.csv", "a,b\n1,caf\xe9\n".encode("latin1"), "VALID-12", "column 'b' is not UTF-8"),
        ("rows.csv", b"a,a\n1,2\n", "VALID-12", "names the column 'a' several times"),
        ("rows.txt", b"a\n1\n", "VALID-14", "neither Parquet nor CSV"),
    ],
)
@pytest.mark.usefixtures("csv_way")
def test_what_is_no_table_in_a_file_is_refused(name, content, code, words, tmp_path):
    (tmp_path / name).write_bytes(content)

    with pytest.raises(DataError) as caught:
        validate(tmp_path / name, Suite("one").expect_column_to_exist("a"))

    assert caught.value.code == code
    assert words in caught.value.what


@pytest.mark.usefixtures("csv_way")
def test_a_line_that_does_not_fit_far_below_the_first_block_is_found(tmp_path):
    file = tmp_path / "rows.csv"
    file.write_text("a,b\n" + "1234567,1234567\n" * 400_000 + "1\n")

    with pytest.raises(DataError, match="VALID-12"):
        validate(file, Suite("one").expect_column_to_exist("a"))


@pytest.mark.usefixtures("csv_way")
def test_a_late_value_of_another_sort_makes_the_column_what_holds_them_all(tmp_path):
    file = tmp_path / "rows.csv"
    file.write_text("a,b,c\n" + "1234567,7,\n" * 500_000 + '25 years,1.5,9\n"NA",NA,10\n')
    rules = (
        Suite("one")
        .expect_column_values_to_be_of_type("a", "int")
        .expect_column_values_to_be_between("b", 7, 7)
        .expect_column_values_to_not_be_null("a")
        .expect_column_sum_to_be_between("c", 19, 19)
    )

    found = validate(file, rules)

    assert found.results[0].observed == "it is string; 2 values are not numbers: '25 years', 'NA'"
    assert (found.results[1].result["partial_unexpected_list"], found.results[1].result["missing_count"]) == ([1.5], 1)
    assert [one.success for one in found.results[2:]] == [True, True]


def test_files_that_are_not_there_are_refused_with_the_nearest(tmp_path):
    pq.write_table(TABLE, tmp_path / "orders.parquet")

    for path, words in ((tmp_path / "order.parquet", "orders.parquet"), (tmp_path / "no" / "x.csv", "check the path")):
        with pytest.raises(DataError) as caught:
            validate(path, Suite("one").expect_column_to_exist("a"))
        assert caught.value.code == "VALID-11"
        assert words in caught.value.fix
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="holds no Parquet or CSV"):
        validate(tmp_path / "empty", Suite("one").expect_column_to_exist("a"))


def test_a_folder_of_two_kinds_is_refused(tmp_path):
    pq.write_table(TABLE, tmp_path / "a.parquet")
    (tmp_path / "b.csv").write_text("a\n1\n")

    with pytest.raises(DataError, match="VALID-14"):
        validate(tmp_path, Suite("one").expect_column_to_exist("a"))


@pytest.mark.usefixtures("csv_way")
def test_csv_files_of_one_folder_are_one_batch(tmp_path):
    (tmp_path / "a.csv").write_text("a,b\n1,x\n2,y\n")
    (tmp_path / "b.csv").write_text("a,b\n2.5,z\n")
    rules = Suite("one").expect_column_values_to_be_in_set("a", [1, 2]).expect_column_values_to_be_unique("b")

    first, second = validate(tmp_path, rules).results

    assert (first.result["partial_unexpected_list"], first.result["partial_unexpected_index_list"]) == ([2.5], [2])
    assert second.success
    (tmp_path / "c.csv").write_text("a,b\nmany,z\n")
    texts = validate(tmp_path, rules).results
    assert texts[0].result["unexpected_count"] == 4
    assert texts[1].result["partial_unexpected_index_list"] == [2, 3]
    (tmp_path / "c.csv").write_text("a,c\n1,x\n")
    with pytest.raises(DataError, match="VALID-13"):
        validate(tmp_path, rules)


@pytest.mark.parametrize("other", ["UTC", "+05:30"])
def test_files_that_name_other_zones_are_judged_in_utc(tmp_path, other):
    moment = datetime(2024, 2, 29, 12, tzinfo=UTC)
    for place, zone in enumerate(("Europe/Berlin", other)):
        times = pa.array([moment, moment + timedelta(days=place)], pa.timestamp("us", zone))
        pq.write_table(pa.table({"at": times}), tmp_path / f"{place}.parquet")
    rules = (
        Suite("zones")
        .expect_column_max_to_be_between("at", "2024-03-01T12:00:00+00:00", "2024-03-01T12:00:00+00:00")
        .expect_column_unique_value_count_to_be_between("at", 2, 2)
        .expect_column_values_to_be_between("at", "2024-02-29T12:00:00+00:00", "2024-02-29T12:00:00+00:00")
    )

    largest, distinct, between = validate(tmp_path, rules).results

    assert largest.success
    assert distinct.success
    assert between.result["partial_unexpected_index_list"] == [3]


def test_a_lazy_frame_that_cannot_run_is_refused(tmp_path):
    with pytest.raises(DataError, match="VALID-10"):
        validate(pl.scan_parquet(tmp_path / "none.parquet"), Suite("one").expect_column_to_exist("a"))
    frame = pl.LazyFrame({"s": ["x"]}).with_columns(pl.col("s").cast(pl.Int64).alias("n"))
    with pytest.raises(DataError, match="VALID-10"):
        validate(frame, Suite("one").expect_column_mean_to_be_between("n", 0))


def test_a_stream_that_breaks_off_is_refused():
    def batches():
        yield TABLE.to_batches()[0]
        raise OSError("the connection was reset")

    reader = pa.RecordBatchReader.from_batches(TABLE.schema, batches())

    with pytest.raises(DataError, match="the connection was reset") as caught:
        validate(reader, Suite("one").expect_column_to_exist("x"))
    assert (caught.value.code, "after 60 rows" in caught.value.why) == ("VALID-10", True)


def test_rows_of_a_lazy_frame_are_counted_when_nothing_else_is_asked():
    frame = pl.LazyFrame({"a": [1, 2, 3]}).filter(pl.col("a") > 1)

    assert validate(frame, Suite("one").expect_table_row_count_to_equal(2)).success
    assert validate(frame, Suite("one").expect_column_to_exist("a")).rows == 2


@pytest.mark.usefixtures("csv_way")
def test_names_of_any_text_are_plain_names_in_every_form(tmp_path):
    table = pa.table({"*": [1, 2], "^.*$": [3, 4], "": [5, 6], "a b": [7, 8], "ü^]\\": [9, 10]})
    pq.write_table(table, tmp_path / "rows.parquet")
    pa.csv.write_csv(table, tmp_path / "rows.csv")
    sources = (tmp_path / "rows.parquet", tmp_path / "rows.csv", pl.DataFrame(table.to_pydict()).lazy())

    for data, name in itertools.product(sources, table.column_names):
        low = table.column(name)[0].as_py()
        assert validate(data, Suite("one").expect_column_min_to_be_between(name, low, low)).success, (data, name)


def test_values_of_every_type_of_a_file_are_judged_as_in_memory(tmp_path):
    table = pa.table(
        {
            "u": pa.array([0, 2**64 - 1, None], pa.uint64()),
            "d": pa.array([Decimal("0.10"), Decimal("99999999999999999999.99"), None], pa.decimal128(38, 2)),
            "c": pa.array(["a", "b", None]).dictionary_encode(),
            "n": pa.nulls(3),
            "f": pa.array([0.5, float("nan"), None], pa.float32()),
            "ns": pa.array([0, 1, None], pa.timestamp("ns", "Europe/Zurich")),
            "b": [True, False, None],
            "raw": [b"a", b"b", None],
        }
    )
    pq.write_table(table, tmp_path / "rows.parquet")
    rules = (
        Suite("one")
        .expect_column_values_to_be_between("u", -1, 2**64 - 2)
        .expect_column_values_to_be_between("d", Decimal("0.1"), 1e20)
        .expect_column_values_to_be_in_set("d", [Decimal("0.1")])
        .expect_column_values_to_be_in_set("c", ["a"])
        .expect_column_values_to_be_null("n")
        .expect_column_values_to_not_be_null("f")
        .expect_column_values_to_be_between("ns", max_value="1970-01-01T00:00:00Z")
        .expect_column_values_to_be_in_set("b", [1])
        .expect_column_values_to_be_unique("raw")
    )

    found = outcome(tmp_path / "rows.parquet", rules)

    assert found == outcome(table, rules)
    assert [problem for _, _, problem in found] == [None] * 9
    assert [result["unexpected_count"] for _, result, _ in found] == [1, 0, 1, 1, 0, 2, 1, 1, 0]


def test_judging_a_file_imports_neither_pandas_nor_scipy(tmp_path):
    pq.write_table(TABLE, tmp_path / "rows.parquet")
    program = (
        "import sys\n"
        "from millrace.validation.engine import validate\n"
        "from millrace.validation.suite import Suite\n"
        "rules = Suite('one').expect_column_values_to_be_unique('id').expect_column_mean_to_be_between('x', 0)\n"
        "assert validate(sys.argv[1], rules).success\n"
        "print(sorted({'pandas', 'scipy', 'pyarrow.dataset', 'sqlalchemy', 'sklearn'} & set(sys.modules)))\n"
    )

    done = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path / "rows.parquet")], capture_output=True, text=True, check=True
    )

    assert done.stdout.strip() == "[]"
