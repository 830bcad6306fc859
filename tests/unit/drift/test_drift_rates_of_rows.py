"""Shares of rows: exact where few are expected, so that a handful of nulls in a small batch is no false alarm."""

import numpy as np
import pyarrow as pa
import pytest
from scipy import stats

from millrace.drift.compare import compare
from millrace.drift.profile import ReferenceProfile
from millrace.drift.rates import rate_p_value


@pytest.mark.parametrize("seed", range(200))
def test_few_expected_rows_are_held_against_the_hypergeometric_law(seed):
    rng = np.random.default_rng(seed)
    n, m = (int(size) for size in rng.integers(2, 300, 2))
    before, after = int(rng.binomial(n, 0.1)), int(rng.binomial(m, rng.choice([0.1, 0.9])))
    counted, rows = before + after, n + m
    law = stats.hypergeom(rows, counted, m)
    exact = min(1.0, 2 * min(law.cdf(after), law.sf(after - 1)))

    found = rate_p_value(before, n, after, m)

    if counted and min(counted, rows - counted) * min(n, m) < 50 * rows:
        assert found == pytest.approx(exact, rel=1e-9)
    assert found == pytest.approx(rate_p_value(after, m, before, n), rel=1e-9)
    assert 0.0 <= found <= 1.0


def test_both_laws_nearly_agree_where_they_meet():
    below, above = rate_p_value(60, 1000, 39, 1000), rate_p_value(61, 1000, 40, 1000)

    assert 0.5 < below / above < 2


def test_small_batches_with_some_nulls_are_flagged_no_more_often_than_stated():
    rng = np.random.default_rng(3)
    runs, flagged = 60, 0

    def table(rows):
        return pa.table({f"c{i}": pa.array(rng.normal(size=rows), mask=rng.random(rows) < 0.005) for i in range(20)})

    profile = ReferenceProfile.of(table(50_000))
    for _ in range(runs):
        report = compare(profile, table(100))
        flagged += any("nulls" in column.reason for column in report.columns if column.outcome == "drift")

    assert flagged / runs <= 0.05 + 3 * (0.05 * 0.95 / runs) ** 0.5
