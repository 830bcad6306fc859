"""Exact sums: the vectorised way against `math.fsum` and whole numbers of any size."""

import math
import struct

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from millrace.features.exact import exact_int_sums, exact_sum, exact_sums

plain = st.floats(-1e6, 1e6) | st.sampled_from([0.1, 0.2, 0.3, -0.0, 0.0, 1 / 3, 1e-6, 2.0**53, 2.0**-1074, 5e-324])
wild = st.floats(allow_nan=False)
ints = st.integers(-(2**63), 2**63 - 1) | st.sampled_from([2**62, -(2**63), 2**63 - 1, 0, 1])


def segments(size, draws):
    starts, ends = zip(*[sorted((begin % (size + 1), end % (size + 1))) for begin, end in draws], strict=True)
    return np.array(starts, dtype=np.int64), np.array(ends, dtype=np.int64)


def bits(number):
    return struct.pack("<d", number)


bounds = st.lists(st.tuples(st.integers(0, 50), st.integers(0, 50)), min_size=1, max_size=20)


@settings(max_examples=500, deadline=None)
@given(st.lists(plain, max_size=40) | st.lists(wild, max_size=10) | st.lists(plain | wild, max_size=40), bounds)
def test_sums_of_segments_are_the_exact_sums(values, draws):
    starts, ends = segments(len(values), draws)

    found = exact_sums(np.array(values, dtype=np.float64), starts, ends)

    expected = [exact_sum(values[begin:end]) for begin, end in zip(starts, ends, strict=True)]
    assert [bits(one) if one == one else None for one in found.tolist()] == [
        bits(one) if one == one else None for one in expected
    ]


@settings(max_examples=300, deadline=None)
@given(st.lists(ints, max_size=40), bounds)
def test_sums_of_whole_numbers_are_exact_or_said_not_to_fit(values, draws):
    starts, ends = segments(len(values), draws)

    totals, fits = exact_int_sums(np.array(values, dtype=np.int64), starts, ends)

    for total, is_held, begin, end in zip(totals.tolist(), fits.tolist(), starts, ends, strict=True):
        exact = sum(values[begin:end])
        assert is_held == (-(2**63) <= exact < 2**63)
        assert not is_held or total == exact


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([], 0.0),
        ([-0.0], 0.0),
        ([1e308, 1e308, -1e308], 1e308),
        ([1e308, 1e308], math.inf),
        ([-1e308, -1e308], -math.inf),
        ([math.inf, 1.0], math.inf),
        ([1e308, 1e308, math.inf, -1e308], math.inf),
        ([1e16, 1.0, -1e16], 1.0),
        ([0.1] * 10, 1.0),
        ([1.0, 2.0**-53], 1.0),  # a tie goes to the even neighbour
        ([1.0, 2.0**-53, 2.0**-1074], 1.0 + 2.0**-52),  # the least there is decides it
        ([1.0 + 2.0**-52, 2.0**-53], 1.0 + 2.0**-51),
    ],
)
def test_known_sums(values, expected):
    whole = np.array(values, dtype=np.float64)
    (found,) = exact_sums(whole, np.array([0]), np.array([len(values)])).tolist()

    assert (bits(exact_sum(values)), bits(found)) == (bits(expected), bits(expected))


def test_infinities_of_both_signs_have_no_sum():
    assert math.isnan(exact_sum([math.inf, -math.inf]))
    assert math.isnan(exact_sums(np.array([np.inf, -np.inf]), np.array([0]), np.array([2]))[0])


def test_what_is_not_a_number_has_no_sum():
    values = [1.0, math.nan, 2.0]

    assert math.isnan(exact_sum(values))
    found = exact_sums(np.array(values), np.array([0, 2]), np.array([3, 3]))
    assert math.isnan(found[0])
    assert found[1] == 2.0


def test_a_long_log_of_one_key():
    values = np.random.default_rng(0).lognormal(size=100_000)
    ends = np.arange(0, 100_001, 10_000)

    found = exact_sums(values, np.zeros_like(ends), ends).tolist()

    assert found == [math.fsum(values[:end].tolist()) for end in ends.tolist()]
