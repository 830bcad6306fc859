"""A CSV file that ends within quotes is refused: the rows after the open quote would be lost in one value."""

import gzip

import pytest

from millrace.core.errors import DataError
from millrace.data.csv_file import read_csv
from millrace.validation.engine import validate
from millrace.validation.scan import csv_columns
from millrace.validation.suite import Suite

SUITE = Suite("any").expect_column_values_to_not_be_null("a")
OPEN = [
    'a,b\n1,"x"\n2,"y\n3,z\n',
    'a,b\n1,"x"\n2,"y',
    'a,b\n1,"x"\n2,"',
    'a,b\n1,"x"\n2,"y ""z"" \n3,w\n',
    'a,b\r\n1,2\r\n3,"4\r\n5,6\r\n',
    'a,b\n1,2\n3,"4',
    'a,b\n1,2024-01-01\n3,"2024-01-02',
    'a\nx\n"y\nz\n',
]
CLOSED = [
    'a,b\n1,"x\ny"\n',
    'a,b\n1,"x"',
    'a,b\n1,""',
    'a,b\n1,""\n',
    'a,b\n1,""""\n',
    'a,b\n1,""""',
    'a,b\n1,"\n"\n',
    'a,b\n1,"y ""z"""\n',
    'a,b\n1,5" pipe\n',
    'a,b\n1,"2"',
    "a,b\n1,\n",
    'a\n"\n"\n',
    'a\n"x"\n',
]


@pytest.fixture(params=["whole", "blocks", "gz"])
def written(request, monkeypatch, tmp_path):
    if request.param == "blocks":
        monkeypatch.setattr(csv_columns, "IN_MEMORY_BYTES", 0)
    is_packed = request.param == "gz"
    file = tmp_path / ("rows.csv.gz" if is_packed else "rows.csv")

    def write(text):
        file.write_bytes(gzip.compress(text.encode()) if is_packed else text.encode())
        return file

    return write


@pytest.mark.parametrize("text", OPEN)
def test_an_open_quote_is_refused(written, text):
    file = written(text)

    with pytest.raises(DataError, match=r"VALID-12[^\n]*opens a quote that is never closed"):
        validate(file, SUITE)
    with pytest.raises(DataError, match=r"DATA-06[^\n]*ends within quotes"):
        read_csv(file)


@pytest.mark.parametrize("text", CLOSED)
def test_quotes_that_are_closed_are_no_damage(written, text):
    file = written(text)

    assert validate(file, SUITE).rows == 1
    assert read_csv(file).num_rows == 1
