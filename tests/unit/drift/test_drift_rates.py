"""False alarms and power, by simulation with fixed seeds.

Bounds are three standard errors beyond what is promised; `python -m benchmarks.drift_rates` measures with more runs.
"""

import numpy as np
import pyarrow as pa
import pytest

from millrace.drift.compare import compare
from millrace.drift.decisions import expected_false_alarms
from millrace.drift.profile import ReferenceProfile
from millrace.drift.report import DriftReport

COLUMNS = 20
PROMISED = 0.08
LEVELS = (2, 10, 100, 1000, 5000)


def beyond(share, runs):
    return share + 3 * (share * (1 - share) / runs) ** 0.5


def batch(rng, n, shifted=0, shift=0.0):
    means = [shift if i < shifted else 0.0 for i in range(COLUMNS)]
    return pa.table({f"c{i}": rng.normal(mean, 1, n) for i, mean in enumerate(means)})


def categorical(rng, n, k):
    names = pa.array([f"level {i}" for i in range(k)])
    return pa.table(
        {
            f"c{i}": pa.DictionaryArray.from_arrays(pa.array(rng.integers(0, k, n).astype(np.int32)), names)
            for i in range(COLUMNS)
        }
    )


def is_significant(report):
    """Whether any test is significant, whatever its effect."""
    return any(test["q_value"] <= report.evidence["q"] for column in report.columns for test in column.tests)


@pytest.fixture(scope="module")
def healthy():
    """Reports of 150 healthy batches of 20 numeric columns and 1,000 rows."""
    reports = []
    for seed in range(150):
        rng = np.random.default_rng(seed)
        reports.append(compare(batch(rng, 1000), batch(rng, 1000)))
    return reports


def test_false_alarms_of_healthy_batches(healthy):
    flagged = sum(bool(report.drifted) for report in healthy)
    assert flagged / len(healthy) <= beyond(0.05, len(healthy))
    # The same with nothing but significance in the way.
    assert sum(map(is_significant, healthy)) / len(healthy) <= beyond(0.05, len(healthy))


def test_false_alarms_that_are_expected_are_those_that_come(healthy):
    flagged = sum(bool(report.drifted) for report in healthy)
    expected = [report.false_alarm_chance for report in healthy]
    assert set(expected) == {0.05}
    assert flagged <= sum(expected) + 3 * sum(expected) ** 0.5
    planned = expected_false_alarms(len(healthy), COLUMNS, rows_reference=1000, rows_current=1000)
    assert planned == pytest.approx(sum(expected))


def test_false_alarms_by_the_stricter_correction(healthy):
    strict = [DriftReport({**report.evidence, "correction": "bonferroni"}) for report in healthy]
    assert sum(map(is_significant, strict)) <= sum(map(is_significant, healthy))
    assert sum(bool(report.drifted) for report in strict) / len(strict) <= beyond(0.05, len(strict))


@pytest.mark.parametrize("k", LEVELS)
def test_false_alarms_of_categorical_columns_at_any_cardinality(k):
    runs, flagged, significant = 25, 0, 0
    for seed in range(runs):
        rng = np.random.default_rng([k, seed])
        report = compare(categorical(rng, 1000, k), categorical(rng, 1000, k))
        assert {column.outcome for column in report.columns} <= {"ok", "drift"}
        flagged += bool(report.drifted)
        significant += is_significant(report)
    assert flagged / runs <= beyond(PROMISED, runs)
    assert significant / runs <= beyond(PROMISED, runs)


@pytest.mark.parametrize("form", [lambda table: table, ReferenceProfile.of], ids=["table", "profile"])
def test_false_alarms_of_ten_thousand_rows(form):
    runs, significant = 12, 0
    for seed in range(runs):
        rng = np.random.default_rng(seed)
        report = compare(form(batch(rng, 10_000)), batch(rng, 10_000))
        assert report.drifted == []  # chance alone does not bring an effect of 0.05 about
        assert report.false_alarm_chance < 1e-6
        significant += is_significant(report)
    assert significant / runs <= beyond(PROMISED, runs)


@pytest.mark.parametrize("k", [100, 5000])
def test_false_alarms_of_levels_at_ten_thousand_rows(k):
    runs, significant = 6, 0
    for seed in range(runs):
        rng = np.random.default_rng([k, seed])
        report = compare(categorical(rng, 10_000, k), categorical(rng, 10_000, k))
        assert {column.outcome for column in report.columns} == {"ok"}
        significant += is_significant(report)
    assert significant / runs <= beyond(PROMISED, runs)


@pytest.mark.slow
@pytest.mark.parametrize("form", [lambda table: table, ReferenceProfile.of], ids=["table", "profile"])
def test_false_alarms_of_a_million_rows(form):
    runs, significant = 8, 0
    for seed in range(runs):
        rng = np.random.default_rng(seed)
        report = compare(form(batch(rng, 1_000_000)), batch(rng, 1_000_000))
        assert report.drifted == []
        significant += is_significant(report)
    assert significant / runs <= beyond(PROMISED, runs)


@pytest.mark.slow
@pytest.mark.parametrize("k", LEVELS)
def test_false_alarms_of_levels_at_a_million_rows(k):
    runs, significant = 5, 0
    for seed in range(runs):
        rng = np.random.default_rng([k, seed])
        report = compare(categorical(rng, 1_000_000, k), categorical(rng, 1_000_000, k))
        assert {column.outcome for column in report.columns} == {"ok"}
        significant += is_significant(report)
    assert significant / runs <= beyond(PROMISED, runs)


def test_a_grid_raises_no_more_false_alarms_than_all_values():
    """Significance alone, on a grid so coarse that its error would show."""
    from millrace.drift.numeric import ks_gap, ks_gap_to_steps, ks_p_value, steps_of

    runs, by_values, by_grid = 2000, 0, 0
    for seed in range(runs):
        rng = np.random.default_rng(seed)
        reference, current = np.sort(rng.normal(size=400)), np.sort(rng.normal(size=300))
        for gap, is_grid in (
            (ks_gap(reference, current), False),
            (ks_gap_to_steps(steps_of(reference, 40), current), True),
        ):
            is_alarm = ks_p_value(400, 300, gap.before, gap.after) <= 0.05
            by_grid, by_values = by_grid + (is_alarm and is_grid), by_values + (is_alarm and not is_grid)
    assert by_grid <= by_values <= beyond(0.05, runs) * runs
    assert by_grid >= by_values / 2


def test_power_for_a_shift_of_a_fifth_of_a_standard_deviation():
    runs, found, false = 60, 0, 0
    for seed in range(runs):
        rng = np.random.default_rng(1000 + seed)
        drifted = compare(batch(rng, 1000), batch(rng, 1000, shifted=5, shift=0.2)).drifted
        hits = {f"c{i}" for i in range(5)} & set(drifted)
        found += len(hits)
        false += len(drifted) - len(hits)
    assert found / (runs * 5) >= 0.9
    assert false / (runs * 15) <= 0.05


@pytest.mark.parametrize("k", LEVELS)
def test_a_level_that_gains_a_fifth_of_the_rows_is_found(k):
    rng = np.random.default_rng(k)
    reference, current = categorical(rng, 1000, k), categorical(rng, 1000, k)
    moved = np.array(current["c0"].combine_chunks().indices)
    moved[rng.random(1000) < 0.2] = 0
    names = current["c0"].combine_chunks().dictionary
    current = current.set_column(0, "c0", pa.DictionaryArray.from_arrays(pa.array(moved), names))
    assert compare(reference, current).drifted == ["c0"]


def test_half_a_standard_deviation_is_found_and_is_major():
    rng = np.random.default_rng(4)
    report = compare(batch(rng, 1000), batch(rng, 1000, shifted=5, shift=0.5))
    assert report.drifted == ["c0", "c1", "c2", "c3", "c4"]
    assert {report[name].severity for name in report.drifted} == {"major"}


def test_a_shift_too_small_to_matter_is_significant_but_ok():
    rng = np.random.default_rng(4)
    reference, current = rng.normal(0, 1, 50_000), rng.normal(0.05, 1, 50_000)
    column = compare(pa.table({"x": reference}), pa.table({"x": current}))["x"]
    assert (column.outcome, column.q_value < 1e-6) == ("ok", True)
    assert column.reason.startswith("the difference is real but small")
    assert column.severity is None
