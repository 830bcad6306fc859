"""One CSV file as a table, strictly: a line that does not fit is an error, never skipped."""

from __future__ import annotations

import codecs
from collections import Counter
from pathlib import Path
from typing import Any

import pyarrow as pa
from pyarrow import csv

from millrace.core.errors import DataError
from millrace.store.csv_ending import ends_within_quotes

SHOWN_LINES = 20
_PIECE_BYTES = 1 << 20


def read_csv(path: Path) -> pa.Table:
    """The rows of a comma-separated UTF-8 file with a header line; column types are inferred.

    Empty cells and the usual words for "missing" (NA, NULL, NaN) become nulls; quoted ones stay text.

    Raises
    ------
    DataError
        DATA-05 with every line that has too few or too many fields (at most 20 are listed); DATA-06 when the file
        is empty, is not UTF-8, ends within quotes, has two columns of one name, or cannot be parsed.
    """
    try:
        table = _parse(path)
    except (pa.ArrowException, OSError) as error:
        # Only text is asked for its wrong lines: Arrow prints a trace for each that it cannot decode.
        if (line := _line_of_no_text(path)) is not None:
            raise _not_utf8(path, f"line {line:,} of '{path.name}'") from error
        wrong = _wrong_lines(path)
        raise (_wrong_fields(path, wrong) if wrong else _unparsable(path, str(error))) from error
    findings = [*_repeated(path, table), *_not_text(path, table)] or _open_quote(path, table)
    if len(findings) > 1:
        raise DataError("DATA-06", f"'{path.name}' is not usable as CSV", where=str(path), findings=findings)
    if findings:
        raise findings[0]
    return table


def _parse(path: Path, *, threads: bool = True, on_wrong_line: Any = None) -> pa.Table:
    return csv.read_csv(
        path,
        read_options=csv.ReadOptions(use_threads=threads),
        parse_options=csv.ParseOptions(newlines_in_values=True, invalid_row_handler=on_wrong_line),
        convert_options=csv.ConvertOptions(strings_can_be_null=True, quoted_strings_can_be_null=False),
    )


def _line_of_no_text(path: Path) -> int | None:
    """The first line that holds no UTF-8, None for a text and for what cannot be read to its end."""
    decoder = codecs.getincrementaldecoder("utf-8")()
    line = 1
    try:
        with pa.input_stream(str(path)) as stream:
            while piece := stream.read(_PIECE_BYTES):
                held = decoder.getstate()[0] + piece
                try:
                    decoder.decode(piece)
                except UnicodeDecodeError as error:
                    return line + int(held.count(b"\n", 0, error.start))
                line += piece.count(b"\n")
            decoder.decode(b"", final=True)
    except UnicodeDecodeError:
        return line
    except (pa.ArrowException, OSError):
        return None
    return None


def _wrong_lines(path: Path) -> list[Any]:
    # Only a reader of one thread knows line numbers, so the slow way is taken once the fast one has failed.
    found: list[Any] = []

    def keep(row: Any) -> str:
        found.append(row)
        return "skip"

    try:
        _parse(path, threads=False, on_wrong_line=keep)
    except (pa.ArrowException, OSError):
        return found
    return found


def _wrong_fields(path: Path, rows: list[Any]) -> DataError:
    findings = [
        DataError(
            "DATA-05",
            f"line {row.number} has {row.actual_columns} fields, not {row.expected_columns}: {_short(row.text)}",
        )
        for row in rows[:SHOWN_LINES]
    ]
    count = "1 line has" if len(rows) == 1 else f"{len(rows):,} lines have"
    return DataError(
        "DATA-05",
        f"{count} another number of fields than the header of '{path.name}'",
        where=str(path),
        why="a comma inside a value without quotes, or a file cut off in the middle of a line",
        fix="mend those lines, or write the file again; no row of it was used",
        findings=findings,
    )


def _repeated(path: Path, table: pa.Table) -> list[DataError]:
    twice = [name for name, count in Counter(table.column_names).items() if count > 1]
    return [
        DataError(
            "DATA-06",
            f"the header names the column '{name}' {table.column_names.count(name)} times",
            where=str(path),
            fix="give every column a name of its own",
        )
        for name in twice
    ]


def _not_text(path: Path, table: pa.Table) -> list[DataError]:
    # The parser quietly makes bytes of a column that is not UTF-8.
    return [_not_utf8(path, f"the column '{field.name}'") for field in table.schema if pa.types.is_binary(field.type)]


def _not_utf8(path: Path, what: str) -> DataError:
    return DataError(
        "DATA-06",
        f"{what} is not UTF-8 text",
        where=str(path),
        fix="write the file in UTF-8, for instance: iconv -f latin1 -t utf-8",
    )


def _open_quote(path: Path, table: pa.Table) -> list[DataError]:
    # The parser takes all that follows an open quote for one value, however many lines it was.
    if table.num_rows == 0:
        return []
    last = table.column(table.num_columns - 1)[-1].as_py()
    if not ends_within_quotes(path, last, is_only_column=table.num_columns == 1):
        return []
    return [
        DataError(
            "DATA-06",
            f"'{path.name}' ends within quotes: its last value opens one that is never closed",
            where=str(path),
            why="the file was cut short, or a quote before a value lacks its partner; the lines after it are no rows",
            fix="mend that line, or write the file again; no row of it was used",
        )
    ]


def _unparsable(path: Path, text: str) -> DataError:
    is_empty = path.exists() and path.stat().st_size == 0
    what = "is empty: not even a header line" if is_empty else f"cannot be parsed: {text.splitlines()[0]}"
    return DataError(
        "DATA-06",
        f"'{path.name}' {what}",
        where=str(path),
        fix="write the file again with a header line and comma-separated UTF-8 text",
    )


def _short(text: str | None) -> str:
    line = repr(text or "")
    return line if len(line) <= 80 else f"{line[:77]}..."
