"""Known answers, and equality with scipy."""

import numpy as np
import pyarrow as pa
import pytest
from scipy import stats

from millrace.drift.categorical import align, chi2_test, count_levels, pool_rare, unseen_test
from millrace.drift.compare import compare
from millrace.drift.decisions import benjamini_hochberg
from millrace.drift.numeric import ks_gap, ks_p_value, ks_statistic


def ks_test(reference, current):
    gap = ks_gap(np.sort(reference), np.sort(current))
    p_value = ks_p_value(len(reference), len(current), gap.before, gap.after)
    return {"statistic": gap.distance, "p_value": p_value}


def test_known_answer_of_two_normal_samples():
    rng = np.random.default_rng(13)
    reference, current = rng.normal(0, 1, 1000), rng.normal(0.5, 1, 1000)
    column = compare(pa.table({"x": reference}), pa.table({"x": current}))["x"]
    assert column.statistic == pytest.approx(0.206, abs=1e-12)
    assert column.p_value == pytest.approx(5.599e-19, rel=1e-3)
    assert column.outcome == "drift"


@pytest.mark.parametrize("seed", range(60))
def test_statistic_equals_scipy_with_ties_and_unequal_sizes(seed):
    rng = np.random.default_rng(seed)
    n, m = rng.integers(1, 300, 2)
    # Few distinct values make ties inside and across the samples; odd seeds have none.
    draw = rng.normal if seed % 2 else (lambda size: rng.integers(0, 7, size).astype(float))
    reference, current = draw(size=n), draw(size=m)
    expected = stats.ks_2samp(reference, current, method="asymp").statistic
    assert ks_statistic(np.sort(reference), np.sort(current)) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize(("n", "m"), [(500, 700), (12_000, 3_000)])
def test_p_value_equals_scipy(n, m):
    rng = np.random.default_rng(n)
    reference, current = rng.normal(size=n), rng.normal(0.05, 1, size=m)
    expected = stats.ks_2samp(reference, current)
    assert ks_test(reference, current)["p_value"] == pytest.approx(expected.pvalue, rel=1e-9)


def test_infinities_are_ranked_like_any_value():
    finite = np.arange(100.0)
    with_infinite = np.append(finite[:90], np.full(10, np.inf))
    assert ks_test(finite, with_infinite)["statistic"] == pytest.approx(0.1, abs=1e-12)


def test_large_integers_stay_exact():
    odd = np.arange(2**60 + 1, 2**60 + 401, 2)
    even = odd + 1
    # As float64 all of them would be a handful of values and the two samples would look alike.
    assert ks_test(odd, even)["statistic"] == pytest.approx(1 / 200, abs=1e-12)


def test_chi_square_known_answer_of_sex_by_income():
    # Adult census: women and men by income above 50K.
    women, men = np.array([16_192 - 1_769, 1_769]), np.array([32_650 - 9_918, 9_918])
    assert chi2_test(women, men)["statistic"] == pytest.approx(2249.916167, abs=1e-6)


def test_chi_square_equals_scipy():
    reference, current = np.array([120, 33, 47, 5]), np.array([310, 90, 71, 30])
    expected = stats.chi2_contingency(np.stack([reference, current]), correction=False)
    found = chi2_test(reference, current)
    assert found["statistic"] == pytest.approx(expected.statistic, rel=1e-12)
    assert found["p_value"] == pytest.approx(expected.pvalue, rel=1e-9)


def test_rare_levels_are_pooled_and_no_row_is_lost():
    reference, current = np.array([500, 400, 2, 1, 0]), np.array([480, 410, 0, 3, 1])
    pooled = pool_rare(reference, current)
    assert [cell.tolist() for cell in pooled] == [[500, 400, 3], [480, 410, 4]]


def test_levels_are_counted_on_both_sides():
    (first, _), (second, _) = (
        count_levels(pa.chunked_array([["a", None, "b"], ["a"]])),
        count_levels(pa.chunked_array([["c", "a"]])),
    )
    names, reference, current = align(first, second)
    assert dict(zip(names.to_pylist(), zip(reference, current, strict=True), strict=True)) == {
        "a": (2, 1),
        "b": (1, 0),
        "c": (0, 1),
    }


def test_effect_of_a_healthy_wide_column_is_near_zero():
    # 100 levels at 2,000 rows: the raw distance of two equal samples is about 0.09.
    rng = np.random.default_rng(5)
    draws = [np.bincount(rng.integers(0, 100, 2000), minlength=100) for _ in range(100)]
    effects = [chi2_test(draws[i], draws[i + 1])["effect"] for i in range(0, 100, 2)]
    assert max(effects) < 0.03


@pytest.mark.parametrize("levels", [30, 300, 1000])
def test_unseen_bound_holds_under_no_drift(levels):
    rng = np.random.default_rng(levels)
    flagged = 0
    for _ in range(200):
        reference = np.bincount(rng.integers(0, levels, 1000), minlength=levels)
        current = np.bincount(rng.integers(0, levels, 500), minlength=levels)
        flagged += unseen_test(reference, current, 0.02)["p_value"] <= 0.05
    assert flagged <= 200 * 0.05 + 3 * (200 * 0.05 * 0.95) ** 0.5


def test_unseen_bound_is_never_below_the_exact_chance():
    # One level of four rows, all current, 10 against 10: C(10, 4) / C(20, 4).
    reference, current = np.array([10, 0]), np.array([6, 4])
    assert unseen_test(reference, current, 0.02)["p_value"] >= 210 / 4845 * (1 - 1e-9)


def test_unseen_levels_of_a_replaced_vocabulary_are_found():
    rng = np.random.default_rng(1)
    old, new = rng.integers(0, 1000, 1000), rng.integers(1000, 2000, 1000)
    found = unseen_test(np.bincount(old, minlength=2000), np.bincount(new, minlength=2000), 0.02)
    assert found["p_value"] < 1e-6
    assert found["effect"] > 0.3


def test_benjamini_hochberg_equals_scipy():
    p_values = np.random.default_rng(3).uniform(size=40) ** 3
    assert benjamini_hochberg(p_values.tolist()) == pytest.approx(stats.false_discovery_control(p_values).tolist())
