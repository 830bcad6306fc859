"""Splits never put one moment on both sides, and windows are half open."""

from datetime import UTC, datetime, timedelta

import pyarrow as pa
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from millrace.core.errors import DataError, ProjectError
from millrace.data.split import select_window, split_by_time, split_random

START = datetime(2024, 1, 1, tzinfo=UTC)


def at(hours):
    times = [START + timedelta(hours=hour) for hour in hours]
    return pa.table({"at": pa.array(times, pa.timestamp("us", tz="UTC")), "row": list(range(len(hours)))})


def test_rows_whose_labels_reach_into_the_holdout_are_on_neither_side():
    table = pa.table({"at": [datetime(2024, 1, day, tzinfo=UTC) for day in range(1, 11)]})

    train, test = split_by_time(table, "at", 0.3, timedelta(days=2))

    assert [row.day for row in train["at"].to_pylist()] == [1, 2, 3, 4, 5, 6]
    assert [row.day for row in test["at"].to_pylist()] == [8, 9, 10]
    with pytest.raises(DataError, match="reach into it"):
        split_by_time(table, "at", 0.3, timedelta(days=9))


def test_the_newest_rows_are_the_test_and_order_is_kept():
    train, test = split_by_time(at([5, 1, 9, 3, 7, 2, 8, 4, 6, 0]), "at", 0.3)

    assert train.column("row").to_pylist() == [0, 1, 3, 5, 7, 8, 9]
    assert test.column("row").to_pylist() == [2, 4, 6]


def test_rows_of_one_moment_stay_together():
    train, test = split_by_time(at([0, 1, 1, 1, 2]), "at", 0.4)

    assert train.column("row").to_pylist() == [0]
    assert test.column("row").to_pylist() == [1, 2, 3, 4]


@given(hours=st.lists(st.integers(0, 8), min_size=2, max_size=40), share=st.floats(0.05, 0.95))
def test_every_test_row_is_later_than_every_training_row(hours, share):
    assume(sum(hour > min(hours) for hour in hours) >= len(hours) * share)

    train, test = split_by_time(at(hours), "at", share)

    assert sorted(train.column("row").to_pylist() + test.column("row").to_pylist()) == list(range(len(hours)))
    assert max(train.column("at").to_pylist()) < min(test.column("at").to_pylist())
    assert test.num_rows >= len(hours) * share - 1e-6


def test_one_moment_cannot_be_split_by_time():
    with pytest.raises(DataError, match="3 rows at 1 moments"):
        split_by_time(at([1, 1, 1]), "at", 0.5)


def test_a_random_split_is_repeated_by_its_seed():
    table = at(range(100))
    train, test = split_random(table, 0.25, seed=7)

    assert (train.num_rows, test.num_rows) == (75, 25)
    assert sorted(train.column("row").to_pylist() + test.column("row").to_pylist()) == list(range(100))
    assert test.column("row").to_pylist() == sorted(test.column("row").to_pylist())
    assert split_random(table, 0.25, seed=7)[1].equals(test)
    assert not split_random(table, 0.25, seed=8)[1].equals(test)


@pytest.mark.parametrize("share", [0, 1, -0.2, 1.5, float("nan")])
def test_a_share_outside_0_to_1_is_an_error(share):
    with pytest.raises(DataError, match="DATA-12"):
        split_random(at([1, 2]), share, seed=0)
    with pytest.raises(DataError, match="DATA-12"):
        split_by_time(at([1, 2]), "at", share)


def test_a_side_without_rows_is_an_error():
    with pytest.raises(DataError, match="DATA-13"):
        split_random(at([1, 2]), 0.1, seed=0)
    with pytest.raises(DataError, match="DATA-13"):
        split_by_time(at([]), "at", 0.5)


def test_a_window_ends_before_its_end():
    table = at([0, 1, 2, 3, 4])
    end = START + timedelta(hours=3)

    assert select_window(table, "at", end, "2h").column("row").to_pylist() == [1, 2]
    assert select_window(table, "at", end, timedelta(hours=9)).column("row").to_pylist() == [0, 1, 2]
    assert select_window(table, "at", end, None).column("row").to_pylist() == [0, 1, 2]
    with pytest.raises(ProjectError, match="PROJ-10"):
        select_window(table, "at", end, "two weeks")
