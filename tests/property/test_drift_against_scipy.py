"""Whatever the samples, statistics are scipy's, and a profile that holds every value changes nothing."""

import warnings

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from millrace.drift.categorical import chi2_test, permutation_test, pool_rare
from millrace.drift.compare import compare
from millrace.drift.decisions import benjamini_hochberg, bonferroni
from millrace.drift.effects import wasserstein
from millrace.drift.numeric import alike, ks_gap, ks_gap_to_steps, ks_p_value, steps_of
from millrace.drift.profile import ReferenceProfile

# Few distinct values make ties within and across the samples; the wide ones make none.
few = st.integers(-3, 3).map(float)
wide = st.floats(-1e6, 1e6, allow_nan=False, width=64)
infinite = st.sampled_from([np.inf, -np.inf, 0.0, 1.0])


def samples(values, least=1):
    one = st.lists(values, min_size=least, max_size=80)
    return st.tuples(one, one).map(lambda pair: tuple(np.sort(np.array(side)) for side in pair))


finite = st.one_of(samples(few), samples(wide), samples(st.integers(-(2**40), 2**40)))
numbers = st.one_of(finite, samples(infinite))
counts = st.integers(2, 30).flatmap(
    lambda k: st.tuples(*[st.lists(st.integers(0, 60), min_size=k, max_size=k).map(np.array)] * 2)
)


def whole(pair):
    """Cells that were seen, in samples that are not empty."""
    reference, current = pair
    seen = reference + current > 0
    return reference[seen], current[seen], bool(reference.sum() and current.sum())


def ks_2samp(reference, current):
    with warnings.catch_warnings():
        # Where rounding makes the exact probability more than 1, scipy says that it takes the asymptotic one.
        warnings.simplefilter("ignore", RuntimeWarning)
        return stats.ks_2samp(reference, current)


@settings(max_examples=80, deadline=None)
@given(numbers)
def test_distance_and_p_value_are_those_of_scipy(pair):
    reference, current = pair
    gap = ks_gap(reference, current)
    expected = ks_2samp(reference, current)
    assert gap.distance == pytest.approx(expected.statistic, abs=1e-12)
    p_value = ks_p_value(len(reference), len(current), gap.before, gap.after)
    assert p_value == pytest.approx(min(1.0, expected.pvalue), rel=1e-9)


@settings(max_examples=80, deadline=None)
@given(numbers)
def test_distance_to_every_value_with_its_count_is_exact(pair):
    reference, current = pair
    gap, seen = ks_gap(reference, current), ks_gap_to_steps(steps_of(reference), current)
    assert seen.distance == seen.at_most == pytest.approx(gap.distance, abs=1e-15)


@settings(max_examples=80, deadline=None)
@given(numbers, st.integers(1, 20))
def test_distance_to_a_grid_is_never_more_than_the_true_one(pair, cells):
    reference, current = pair
    seen = ks_gap_to_steps(steps_of(reference, cells), current)
    true = ks_gap(reference, current).distance
    assert seen.distance <= true + 1e-15
    assert true <= seen.at_most + 1e-15


@settings(max_examples=80, deadline=None)
@given(finite)
def test_travelled_distance_is_that_of_scipy(pair):
    reference, current = pair
    expected = stats.wasserstein_distance(reference, current)
    close = pytest.approx(expected, rel=1e-12, abs=1e-12 * max(1.0, abs(reference).max(), abs(current).max()))
    assert wasserstein(reference, current) == (close, 0.0)
    assert wasserstein(steps_of(reference), current) == (close, 0.0)


@settings(max_examples=80, deadline=None)
@given(finite, st.integers(1, 20))
def test_travelled_distance_to_a_grid_is_within_its_error(pair, cells):
    reference, current = pair
    found, error = wasserstein(steps_of(reference, cells), current)
    rounding = 1e-9 * max(1.0, abs(reference).max(), abs(current).max())
    assert abs(found - stats.wasserstein_distance(reference, current)) <= error + rounding


@settings(max_examples=80, deadline=None)
@given(counts)
def test_chi_square_is_that_of_scipy(pair):
    reference, current, is_whole = whole(pair)
    if not is_whole or len(reference) < 2:
        return
    expected = stats.chi2_contingency(np.stack([reference, current]), correction=False)
    found = chi2_test(reference, current)
    assert found["statistic"] == pytest.approx(expected.statistic, rel=1e-12, abs=1e-12)
    assert found["p_value"] == pytest.approx(expected.pvalue, rel=1e-9)
    assert 0 <= found["effect"] <= found["total_variation"] <= 1 + 1e-12


@settings(max_examples=80, deadline=None)
@given(counts)
def test_pooling_loses_no_row_and_leaves_no_rare_cell(pair):
    reference, current, is_whole = whole(pair)
    if not is_whole:
        return
    names = pa.array([f"{i * 7919 % 101:03d}" for i in range(len(reference))])
    before, after = pool_rare(reference, current, names)
    assert (before.sum(), after.sum()) == (reference.sum(), current.sum())
    total, smaller = before + after, min(before.sum(), after.sum())
    is_rare = total * smaller < 5 * total.sum()
    # Only when all rare levels together expect fewer than five rows is there one cell of fewer.
    assert is_rare.sum() <= 1


@settings(max_examples=40, deadline=None)
@given(st.integers(2, 8), st.integers(0, 2**32 - 1))
def test_dealt_p_value_is_near_the_exact_one_and_is_repeated(k, seed):
    rng = np.random.default_rng(seed)
    reference, current = rng.multinomial(40, np.ones(k) / k), rng.multinomial(40, np.ones(k) / k)
    reference, current, _ = whole((reference, current))
    found = permutation_test(reference, current)
    assert permutation_test(reference, current) == found
    # The mean of 9,999 draws, or 20 successes: within 5 standard errors of what 4,000 other draws say.
    total = reference + current
    dealt = np.random.default_rng(1).multivariate_hypergeometric(total, 40, size=4000)
    as_large = (dealt**2 / total).sum(axis=1) >= (current**2 / total).sum() * (1 - 1e-12)
    assert abs(found["p_value"] - as_large.mean()) <= 5 * found["p_value"] / 20**0.5 + 0.02


@settings(max_examples=100, deadline=None)
@given(st.lists(st.floats(0, 1), min_size=1, max_size=40))
def test_corrections_are_ordered(p_values):
    step_up, strict = benjamini_hochberg(p_values), bonferroni(p_values)
    assert step_up == pytest.approx(stats.false_discovery_control(p_values).tolist())
    assert all(p <= q + 1e-15 and q <= b + 1e-15 for p, q, b in zip(p_values, step_up, strict, strict=True))


@settings(max_examples=60, deadline=None)
@given(
    st.sampled_from([np.int8, np.int32, np.int64, np.uint64, np.float32, np.float64]),
    st.lists(st.integers(0, 100), min_size=5, max_size=60),
    st.lists(st.integers(0, 100), min_size=5, max_size=60),
    st.integers(0, 5),
)
def test_numbers_of_any_type_are_compared_as_scipy_does(kind, first, second, nulls):
    reference, current = np.array(first, kind), np.array(second, kind)
    before = pa.chunked_array([pa.array(reference), pa.nulls(nulls, pa.array(reference).type)])
    table, batch = pa.table({"x": before}), pa.table({"x": current})
    expected = ks_2samp(reference, current).statistic
    for kept in (table, ReferenceProfile.of(table)):
        column = compare(kept, batch, min_rows=2)["x"]
        if column.kind == "identifier":
            continue
        assert column.statistic == pytest.approx(expected, abs=1e-12)
        assert (column.n_reference, column.null_rate_reference) == (len(first), nulls / (nulls + len(first)))


def test_one_type_in_which_equal_values_are_equal():
    tenth = np.array([0.1]), np.array([0.1], dtype=np.float32)
    first, second = alike(*tenth)
    assert (first.dtype, second.dtype, first[0] == second[0]) == (np.float32, np.float32, True)
    first, second = alike(np.array([2**60]), np.array([1], dtype=np.int8))
    assert (first.dtype, second.dtype) == (np.int64, np.int64)
