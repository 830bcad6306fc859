"""Effect sizes: known answers, agreement with other sources, and what they read when nothing moved."""

import numpy as np
import pyarrow as pa
import pytest
from scipy.spatial.distance import jensenshannon

from millrace.core.errors import ProjectError
from millrace.drift.categorical import largest_levels
from millrace.drift.compare import compare
from millrace.drift.decisions import bonferroni, expected_false_alarms, false_alarm_chance
from millrace.drift.effects import (
    bars,
    jensen_shannon,
    moved_levels,
    stability_index,
    tenths,
    total_variation,
    wasserstein,
)
from millrace.drift.numeric import ks_chance, steps_of
from millrace.drift.profile import ReferenceProfile
from millrace.drift.report import DriftReport

RNG = np.random.default_rng(17)


@pytest.fixture(autouse=True)
def _own_draws(monkeypatch):
    """Every test draws the same numbers whichever ran before it."""
    monkeypatch.setitem(globals(), "RNG", np.random.default_rng(17))


def counts(n, k, rng=RNG):
    return np.bincount(rng.integers(0, k, n), minlength=k)


def test_stability_index_of_a_textbook_table():
    # Shares 0.5/0.5 against 0.6/0.4: 0.1 ln 1.2 + (-0.1) ln 0.8; half a row in ten thousand does not show.
    found = stability_index(np.array([5000, 5000]), np.array([6000, 4000]))
    assert found["psi"] == pytest.approx(0.1 * np.log(1.2) - 0.1 * np.log(0.8), abs=1e-5)
    assert found["psi_by_chance"] == pytest.approx(2e-4)
    assert np.isfinite(stability_index(np.array([10, 0]), np.array([0, 10]))["psi"])


def test_stability_index_reads_its_expectation_when_nothing_moved():
    draws = [stability_index(counts(2000, 10), counts(1000, 10)) for _ in range(400)]
    # 9 degrees of freedom: the mean of 400 draws is within 3 * sqrt(2 / 9 / 400) of its expectation.
    assert np.mean([d["psi"] for d in draws]) == pytest.approx(draws[0]["psi_by_chance"], rel=0.08)


def test_jensen_shannon_is_that_of_scipy():
    for k in (2, 7, 40):
        before, after = counts(500, k), counts(300, k)
        expected = jensenshannon(before / 500, after / 300)
        assert jensen_shannon(before, after)["js"] == pytest.approx(expected, rel=1e-9)
    assert jensen_shannon(np.array([5, 0]), np.array([0, 5]))["js"] == pytest.approx(np.log(2) ** 0.5)


@pytest.mark.parametrize(("n", "k"), [(2_000, 100), (10_000, 1000), (50_000, 5000)])
def test_wide_columns_read_almost_nothing_when_nothing_moved(n, k):
    before, after = counts(n, k), counts(n, k)
    found = jensen_shannon(before, after)
    assert found["js"] > 0.1  # what a fixed threshold of 0.1 takes for drift
    assert found["js_beyond_chance"] < 0.05
    distance, by_chance = total_variation(before, after)
    assert distance - by_chance < 0.02


def test_travelled_distance_in_standard_deviations():
    reference, current = RNG.normal(100, 5, 4000), RNG.normal(101, 5, 3000)
    column = compare(pa.table({"x": reference}), pa.table({"x": current}))["x"]
    assert column.effects["wasserstein"] == pytest.approx(0.2, abs=0.06)
    assert column.effects["wasserstein_error"] == 0.0


def test_travelled_distance_of_instants_and_whole_numbers_is_exact():
    start = 1_700_000_000_000_000
    reference, current = start + np.arange(1000), start + np.arange(1000) + 7
    assert wasserstein(reference, current) == (7.0, 0.0)
    assert wasserstein(np.array([0, 250], np.uint8), np.array([250, 255], np.uint8)) == (127.5, 0.0)
    assert wasserstein(np.array([-(2**31)], np.int32), np.array([2**31 - 1], np.int32)) == (2.0**32 - 1, 0.0)
    far = np.array([-(2**63)]), np.array([2**63 - 1])
    assert wasserstein(*far) == (pytest.approx(2.0**64), 0.0)


def test_travelled_distance_with_infinities_is_none():
    assert wasserstein(np.array([0.0, np.inf]), np.array([0.0, np.inf])) is None
    assert wasserstein(np.array([0.0, 1e307]), np.array([-1e307, 0.0])) == (1e307, 0.0)
    assert wasserstein(np.array([1.7e308]), np.array([-1.7e308])) is None


def test_distance_of_constants_has_no_unit():
    column = compare(pa.table({"x": np.ones(200)}), pa.table({"x": np.full(200, 2.0)}))["x"]
    assert (column.effects["d"], column.effects["wasserstein"], column.outcome) == (1.0, None, "drift")


def test_tenths_are_the_same_of_a_table_and_of_its_profile():
    reference, current = np.sort(RNG.lognormal(size=30_011)), np.sort(RNG.lognormal(0.1, size=7_003))
    coarse = tenths(steps_of(reference), current)
    fine = tenths(steps_of(reference, 40_000), current)
    for found, expected in zip(coarse, fine, strict=True):
        assert np.array_equal(found, expected)
    cuts, before, after = coarse
    assert [cut for cut, _ in cuts] == np.quantile(reference, np.arange(1, 10) / 10, method="inverted_cdf").tolist()
    assert all(is_held for _, is_held in cuts)
    assert (before.sum(), after.sum()) == (30_011, 7_003)
    assert before.min() >= 3000


def test_tenths_of_few_values_do_not_repeat():
    cuts, before, after = tenths(steps_of(np.repeat([0, 1, 2], [900, 50, 50])), np.repeat([0, 3], 10))
    assert (cuts, before.tolist(), after.tolist()) == ([(0, True)], [900, 100], [10, 10])
    cuts, before, after = tenths(steps_of(np.ones(10)), np.ones(3))
    assert (cuts, before.tolist(), after.tolist()) == ([], [10], [3])


def test_a_value_of_many_rows_is_a_cell_of_its_own():
    cuts, before, after = tenths(steps_of(np.ones(10)), np.array([0.0, 1.0, 2.0]))
    assert (cuts, before.tolist(), after.tolist()) == ([(1.0, False), (1.0, True)], [0, 10, 0], [1, 1, 1])
    chance = np.random.default_rng(5)
    spiked = np.sort(np.concatenate((np.full(2000, 0.5), chance.uniform(size=8000))))
    cuts, before, _ = tenths(steps_of(spiked), np.sort(chance.uniform(size=500)))
    assert {(0.5, False), (0.5, True)} <= set(cuts)
    assert before[cuts.index((0.5, True))] == 2000


def test_what_a_constant_became_is_measured_and_named():
    reference = pa.table({"x": np.full(9000, 0.003467)})  # of so many, numpy's mean is another number
    current = pa.table({"x": np.repeat([0.003, 0.003467, 0.01], [300, 100, 200])})
    for known in (reference, ReferenceProfile.of(reference)):
        column = compare(known, current)["x"]
        assert column.effects["psi"] > 1 > column.effects["psi_by_chance"]
        assert column.effects["js_beyond_chance"] > 0.5
        assert column.effects["wasserstein"] is None
        assert [move["level"] for move in column.moves] == ["0.003467", "below 0.003467", "above 0.003467"]


def test_moves_name_the_part_that_moved():
    reference = pa.table({"age": RNG.integers(20, 60, 5000), "plan": ["a", "b"] * 2500})
    current = pa.table({"age": RNG.integers(20, 40, 5000), "plan": ["a", "c"] * 2500})
    report = compare(reference, current)
    assert {move["level"] for move in report["plan"].moves} == {"b", "c"}
    first = report["age"].moves[0]
    assert set(first) == {"level", "reference", "current"}
    assert sum(move["reference"] for move in report["age"].moves) == pytest.approx(1)
    levels = [move["level"] for move in report["age"].moves]  # all moved by a tenth, so chance orders them
    assert sum(level.startswith("up to") for level in levels) == 1
    assert sum(level.startswith("above") and "up to" not in level for level in levels) == 1


def test_bars_hold_every_row():
    reference, current = np.sort(RNG.normal(size=5000)), np.sort(RNG.normal(3, 1, 2000))
    for cells in (100, 10_000):
        found = bars(steps_of(reference, cells), current)
        assert len(found["edges"]) == len(found["reference"]) + 1 == len(found["current"]) + 1
        assert sum(found["reference"]) == pytest.approx(1)
        assert sum(found["current"]) == pytest.approx(1)
        assert min(found["reference"]) >= 0
    assert bars(steps_of(np.ones(5)), np.ones(5)) is None
    assert bars(steps_of(np.array([-np.inf, 1.0])), np.ones(5)) is None


def test_bars_of_levels_put_the_rest_together():
    names = pa.array([f"l{i:02d}" for i in range(30)])
    before = np.arange(30, 0, -1)
    found = largest_levels(names, before, before[::-1])
    assert (len(found["levels"]), found["levels"][-1]) == (21, "(10 others)")
    assert sum(found["reference"]) == pytest.approx(1)


@pytest.mark.parametrize("k", [10, 100, 1000, 5000])
def test_one_level_that_takes_a_tenth_of_the_rows_is_seen_whole(k):
    rng = np.random.default_rng(k)
    before, codes = counts(1000, k, rng), rng.integers(0, k, 1000)
    codes[rng.random(1000) < 0.1] = 0
    assert moved_levels(before, np.bincount(codes, minlength=k)) == pytest.approx(0.1, abs=0.04)
    assert moved_levels(before, counts(1000, k, rng)) == 0.0


def drifted(**limits):
    reference = pa.table({"x": RNG.normal(size=3000), "s": RNG.normal(size=3000)})
    current = pa.table({"x": RNG.normal(0.18, 1, 3000), "s": RNG.normal(1, 1, 3000)})
    return compare(reference, current, **limits)


def test_severity_follows_the_effect():
    report = drifted()
    assert (report["x"].severity, report["s"].severity) == ("minor", "major")
    assert [column["severity"] for column in report.to_dict()["columns"]] == ["minor", "major"]
    stricter = DriftReport({**report.evidence, "major_effect": 0.06})
    assert stricter["x"].severity == "major"


def test_nulls_and_infinities_have_their_severity():
    whole = RNG.normal(size=2000)

    def severity(current):
        return compare(pa.table({"x": whole}), pa.table({"x": current}))["x"].severity

    assert severity(np.where(np.arange(2000) < 100, np.nan, whole)) == "minor"
    assert severity(np.where(np.arange(2000) < 300, np.nan, whole)) == "major"
    assert severity(np.where(np.arange(2000) < 1, np.inf, whole)) == "major"
    assert severity(whole) is None


def test_a_stability_index_of_a_quarter_is_major():
    # A twentieth of the rows goes from where almost none was: a small distance, a large index.
    before, after = np.repeat([0, 1], [9995, 5]), np.repeat([0, 1], [9400, 600])
    column = compare(pa.table({"x": before}), pa.table({"x": after}), types={"x": "categorical"})["x"]
    assert column.effect < 0.1
    assert column.effects["psi"] > 0.25
    assert column.severity == "major"


def test_the_stricter_correction_multiplies_by_the_number_of_tests():
    report = drifted(correction="bonferroni")
    tests = [column.tests[0] for column in report.columns]
    assert [test["q_value"] for test in tests] == bonferroni([test["p_value"] for test in tests])
    with pytest.raises(ProjectError, match="did you mean 'bonferroni'") as caught:
        drifted(correction="bonferoni")
    assert caught.value.code == "DRIFT-06"


def test_a_month_without_batches_is_refused():
    with pytest.raises(ProjectError, match="batches_per_month"):
        drifted(batches_per_month=0)


def test_expected_false_alarms_shrink_with_the_rows():
    def planned(rows):
        return expected_false_alarms(30, 20, rows_reference=rows, rows_current=rows)

    assert planned(100) == planned(1000) == pytest.approx(1.5)
    assert planned(5000) < 0.1
    assert expected_false_alarms(30, 20, rows_reference=0, rows_current=10) == pytest.approx(1.5)
    tables = [pa.table({"x": RNG.normal(size=rows)}) for rows in (200, 200, 20_000, 20_000)]
    assert false_alarm_chance(compare(*tables[:2]).evidence) == 0.05
    evidence = compare(*tables[2:]).evidence
    assert false_alarm_chance(evidence) == pytest.approx(ks_chance(20_000, 20_000, 0.05))
    del evidence["columns"][0]["tests"][0]["chance"]  # what is not known is not small
    assert false_alarm_chance(evidence) == 0.05


def test_chance_of_an_effect_is_a_bound():
    """How often the distance reaches 0.1 at 200 rows a side, against what is said of it."""
    from millrace.drift.effects import variation_chance
    from millrace.drift.numeric import ks_statistic

    runs, far, wide = 1000, 0, 0
    for seed in range(runs):
        rng = np.random.default_rng(seed)
        far += ks_statistic(np.sort(rng.normal(size=200)), np.sort(rng.normal(size=200))) >= 0.1
        first, second = counts(200, 6, rng), counts(200, 6, rng)
        distance, by_chance = total_variation(first, second)
        wide += max(distance - by_chance, moved_levels(first, second)) >= 0.1
    assert 0 < far / runs <= ks_chance(200, 200, 0.1)
    assert wide / runs <= variation_chance(np.full(6, 33), np.full(6, 33), 0.1)


def test_profile_and_table_have_the_same_bars_and_moves():
    reference, current = pa.table({"x": RNG.integers(0, 50, 4000)}), pa.table({"x": RNG.integers(0, 60, 4000)})
    first = compare(reference, current).evidence["columns"][0]
    second = compare(ReferenceProfile.of(reference), current).evidence["columns"][0]
    assert (first["bars"], first["moves"]) == (second["bars"], second["moves"])
