"""False alarms and power, by simulation with fixed seeds."""

import numpy as np
import pyarrow as pa

from millrace.drift.compare import compare

COLUMNS = 20


def batch(rng, n, shifted=0, shift=0.0):
    means = [shift if i < shifted else 0.0 for i in range(COLUMNS)]
    return pa.table({f"c{i}": rng.normal(mean, 1, n) for i, mean in enumerate(means)})


def categorical(rng):
    return pa.table({f"k{k}": rng.integers(0, k, 1000).astype(str) for k in (2, 3, 10, 50, 100, 1000, 5000)})


def test_false_alarms_of_healthy_batches():
    runs, flagged = 150, 0
    for seed in range(runs):
        rng = np.random.default_rng(seed)
        # The effect's limit is lowered to where it decides nothing at this size: significance stands alone.
        report = compare(batch(rng, 1000), batch(rng, 1000), effect=0.05)
        flagged += bool(report.drifted)
    assert flagged / runs <= 0.08 + 3 * (0.08 * 0.92 / runs) ** 0.5


def test_false_alarms_of_categorical_columns_at_any_cardinality():
    runs, flagged = 100, 0
    for seed in range(runs):
        rng = np.random.default_rng(seed)
        reference, current = categorical(rng), categorical(rng)
        flagged += bool(compare(reference, current, effect=0.0, rate_effect=0.0).drifted)
    assert flagged / runs <= 0.08 + 3 * (0.08 * 0.92 / runs) ** 0.5


def test_power_for_a_shift_of_a_fifth_of_a_standard_deviation():
    runs, found, false = 40, 0, 0
    for seed in range(runs):
        rng = np.random.default_rng(1000 + seed)
        drifted = compare(batch(rng, 1000), batch(rng, 1000, shifted=5, shift=0.2), effect=0.05).drifted
        hits = {f"c{i}" for i in range(5)} & set(drifted)
        found += len(hits)
        false += len(drifted) - len(hits)
    assert found / (runs * 5) >= 0.85
    assert false / (runs * 15) <= 0.05


def test_half_a_standard_deviation_is_found_with_the_default_limits():
    rng = np.random.default_rng(4)
    report = compare(batch(rng, 1000), batch(rng, 1000, shifted=5, shift=0.5))
    assert report.drifted == ["c0", "c1", "c2", "c3", "c4"]


def test_a_shift_too_small_to_matter_is_significant_but_ok():
    rng = np.random.default_rng(4)
    reference, current = rng.normal(0, 1, 50_000), rng.normal(0.05, 1, 50_000)
    column = compare(pa.table({"x": reference}), pa.table({"x": current}))["x"]
    assert (column.outcome, column.q_value < 1e-6) == ("ok", True)
    assert column.reason.startswith("the difference is real but small")
