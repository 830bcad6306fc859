"""CSV is read strictly: a line that does not fit stops the reading and is named."""

import gzip
from datetime import UTC, datetime

import pyarrow as pa
import pytest

from millrace.core.errors import DataError
from millrace.data.csv_file import read_csv
from millrace.data.read import read_source
from millrace.data.source import Source


def read(tmp_path, text):
    file = tmp_path / "a.csv"
    file.write_bytes(text if isinstance(text, bytes) else text.encode())
    return read_csv(file)


def refused(tmp_path, text):
    with pytest.raises(DataError) as error:
        read(tmp_path, text)
    return error.value


def test_types_are_inferred_and_empty_cells_are_missing(tmp_path):
    table = read(tmp_path, 'n,f,s,t\n1,1.5,x,2024-01-01T00:00:00\n,,"",\n3,2,NA,2024-01-02 00:00:00\n')

    assert table.column("n").to_pylist() == [1, None, 3]
    assert table.column("f").to_pylist() == [1.5, None, 2.0]
    assert table.column("s").to_pylist() == ["x", "", None]
    assert pa.types.is_timestamp(table.schema.field("t").type)


def test_quoted_line_breaks_and_a_byte_order_mark_are_fine(tmp_path):
    assert read(tmp_path, b'\xef\xbb\xbfa,b\n1,"x\ny, z"\n').to_pydict() == {"a": [1], "b": ["x\ny, z"]}


def test_every_line_of_another_length_is_named_with_its_number(tmp_path):
    error = refused(tmp_path, "a,b,c\n1,2,3\n4,5\n6,7,8\n9,10,11,12\n")

    assert error.code == "DATA-05"
    assert error.what == "2 lines have another number of fields than the header of 'a.csv'"
    assert [finding.what for finding in error.findings] == [
        "line 3 has 2 fields, not 3: '4,5'",
        "line 5 has 4 fields, not 3: '9,10,11,12'",
    ]


def test_a_file_cut_in_the_middle_of_a_line_is_refused(tmp_path):
    whole = "a,b,c\n" + "1,2,3\n" * 1000

    assert refused(tmp_path, whole[:-4]).code == "DATA-05"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (b"", "is empty"),
        (b"a,a,b,b\n1,2,3,4\n", "not usable"),
        (b"a,b\nx,caf\xe9\n", "'b' is not UTF-8"),
        (b"a;b\n1,2;caf\xe9\n", "line 2 of 'a.csv' is not UTF-8"),
        (b"a,b\n" + b"1,2\n" * 300_000 + b"1,2,\xe9\n", "line 300,002 of 'a.csv' is not UTF-8"),
        (b"a,b\n1,2,3\xe2\x82", "line 2 of 'a.csv' is not UTF-8"),  # the file ends within a letter
    ],
)
def test_what_is_no_table_is_refused(tmp_path, text, words):
    error = refused(tmp_path, text)

    assert error.code == "DATA-06"
    assert words in error.what


def test_a_header_alone_is_an_empty_table(tmp_path):
    assert read(tmp_path, "a,b\n").shape == (0, 2)


def test_a_compressed_csv_source_is_bounded_by_time(tmp_path):
    with gzip.open(tmp_path / "a.csv.gz", "wt") as file:
        file.write("at,n\n2024-01-01T00:00:00Z,1\n2024-01-02T00:00:00Z,2\n")

    table = read_source(Source("a", "a.csv.gz", event_time="at"), root=tmp_path, start=datetime(2024, 1, 2, tzinfo=UTC))

    assert table.to_pydict() == {"at": [datetime(2024, 1, 2, tzinfo=UTC)], "n": [2]}
