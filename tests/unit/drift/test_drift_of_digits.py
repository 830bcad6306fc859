"""The known shifts of the digits: a class that is gone is found, and healthy batches are left alone."""

import pytest
from benchmarks.drift_batches import flag_digits


def flagged(runs, shift, n=200):
    return sum(flag_digits(seed, n, shift)[-1] for seed in range(runs))


def test_a_class_that_is_gone_is_found_in_200_digits():
    assert flagged(12, "class 0 gone") >= 11


def test_healthy_digits_are_left_alone():
    assert flagged(12, "none") <= 3


@pytest.mark.slow
def test_a_class_that_is_gone_is_found_nine_times_in_ten():
    assert flagged(200, "class 0 gone") >= 180


@pytest.mark.slow
def test_healthy_digits_are_flagged_at_most_eight_times_in_a_hundred():
    assert flagged(300, "none") <= 24
