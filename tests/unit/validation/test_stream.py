"""A stream is counted row by row, and its window judged as the batch it is."""

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from millrace.core.errors import DataError
from millrace.validation.engine import validate
from millrace.validation.rows.stream import StreamValidator, rows_table
from millrace.validation.suite import Suite


@pytest.fixture
def suite():
    return (
        Suite("orders")
        .expect_column_values_to_be_between("amount", 0, 100, mostly=0.75)
        .expect_column_values_to_not_be_null("plan", severity="warning")
        .expect_column_values_to_be_in_set("plan", ["free", "pro"])
        .expect_column_values_to_be_unique("id")
        .expect_column_mean_to_be_between("amount", 0, 50)
    )


def row(number, amount=10, plan="pro"):
    return {"id": number, "amount": amount, "plan": plan}


def test_rows_and_failures_are_counted_over_the_stream_and_the_window(suite):
    stream = StreamValidator(suite, window=3)
    stream.extend([row(1, amount=500), row(2, plan=None), row(3, plan="gold"), row(4), row(5)])
    share, there, known = stream.checker.rules
    assert (stream.rows, stream.rejected, stream.flagged) == (5, 1, 2)
    assert (stream.failures[share], stream.failures[there], stream.failures[known]) == (1, 1, 1)
    assert (stream.window_failures[share], stream.window_failures[there], stream.window_failures[known]) == (0, 0, 1)


def test_the_window_is_judged_by_the_whole_suite(suite):
    stream = StreamValidator(suite, window=4)
    stream.extend([row(1), row(1), row(2), row(3, amount=500)])
    found = {result.expectation.type: result.success for result in stream.validate().results}
    assert found == {
        "expect_column_values_to_be_between": True,  # three of four
        "expect_column_values_to_not_be_null": True,
        "expect_column_values_to_be_in_set": True,
        "expect_column_values_to_be_unique": False,
        "expect_column_mean_to_be_between": False,
    }
    stream.extend([row(number) for number in (5, 6, 7)])
    assert stream.validate().results[0].success
    stream.add(row(8))
    assert stream.validate().success


def test_an_empty_stream_is_no_pass(suite):
    stream = StreamValidator(suite)
    assert not stream.validate().success
    assert stream.validate().verdict().is_fail


@pytest.mark.parametrize("window", [0, -1, 1.5, True, None])
def test_a_window_holds_at_least_a_row(suite, window):
    with pytest.raises(DataError) as caught:
        StreamValidator(suite, window=window)
    assert caught.value.code == "VALID-44"


def test_rows_of_different_columns_and_types_make_one_table():
    table = rows_table([{"a": 1, "b": None}, {"a": 2.5}, {"b": "x", "c": True}])
    assert table.to_pylist() == [
        {"a": 1.0, "b": None, "c": None},
        {"a": 2.5, "b": None, "c": None},
        {"a": None, "b": "x", "c": True},
    ]
    typed = rows_table([{"a": 1}, {"a": None}], {"a": pa.float64()})
    assert typed.schema.field("a").type == pa.float64()
    assert rows_table([{"a": 1}, {"a": "x"}], {"a": pa.int64()}).schema.field("a").type == pa.string()


AMOUNTS = st.none() | st.integers(-5, 120) | st.floats(-5, 120, width=16)
ROWS = st.lists(st.builds(row, st.integers(0, 5), AMOUNTS, st.sampled_from(["pro", "free", "gold", None])), max_size=12)


@settings(max_examples=30, deadline=None)
@given(rows=ROWS, window=st.integers(1, 6))
def test_counts_of_the_window_are_those_of_the_batch(rows, window):
    suite = (
        Suite("s")
        .expect_column_values_to_be_between("amount", 0, 100, mostly=0.5)
        .expect_column_values_to_not_be_null("plan")
        .expect_column_values_to_be_in_set("plan", ["free", "pro"])
    )
    types = {"amount": pa.float64(), "plan": pa.string(), "id": pa.int64()}
    stream = StreamValidator(suite, window=window, types=types)
    stream.extend(rows)
    if not rows:
        return
    table = pa.Table.from_pylist(
        [{**one, "amount": None if one["amount"] is None else float(one["amount"])} for one in rows[-window:]],
        pa.schema([("id", pa.int64()), ("amount", pa.float64()), ("plan", pa.string())]),
    )
    expected = validate(table, suite)

    found = stream.validate()

    assert found.to_json_dict() == expected.to_json_dict()
    counts = [result.result["unexpected_count"] for result in expected.results]
    assert [stream.window_failures[rule] for rule in stream.checker.rules] == counts
