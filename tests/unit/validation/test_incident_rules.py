"""Data incidents: what a broken feed looks like is told, what chance or drift makes of a sound one is not."""

import json
from datetime import timedelta
from decimal import Decimal

import numpy as np
import pyarrow as pa
import pytest

from millrace.core.errors import MillraceError, ProjectError
from millrace.validation.decisions import DECISIONS
from millrace.validation.incidents.evidence import (
    compare_batches,
    judge_amounts,
    judge_classes,
    judge_hours,
    judge_numbers,
)
from millrace.validation.incidents.limits import DEFAULT, Incidents
from millrace.validation.incidents.rules import judge_labels, judge_population, judge_row_count, judge_stale

LIMITS = {"min_samples": 50, "odds": 10.0, "chance": 1e-4}


def labels(counts, reference):
    counts = {str(name): n for name, n in counts.items() if n}
    reference = None if reference is None else {str(name): n for name, n in reference.items() if n}
    return judge_labels({"n": sum(counts.values()), "counts": counts, "reference": reference, **LIMITS})


@pytest.mark.parametrize(
    ("counts", "reference", "outcome", "words"),
    [
        ({1: 500}, {0: 600, 1: 400}, "fail", "all 500 labels are 1; 40.0% were: the label feed looks broken"),
        ({0: 500}, {0: 600, 1: 400}, "fail", "all 500 labels are 0"),
        ({0: 500}, None, "fail", "all 500 labels are 0: the label feed looks broken"),
        ({0: 60}, {0: 9990, 1: 10}, "pass", "happens by chance with probability 0.942"),
        ({2: 500}, {0: 600, 1: 400}, "fail", "all 500 labels are 2; 0.0% were"),
        ({0: 30}, {0: 500, 1: 500}, "inconclusive", "30 labels of the 50 needed"),
        ({0: 400, 1: 600}, None, "pass", "2 different labels among 1,000"),
        ({0: 400, 1: 600}, {0: 10, 1: 10}, "pass", "2 different labels"),
        ({0: 650, 1: 350}, {0: 9500, 1: 500}, "fail", "label 1 is 35.0% of 1,000 rows and was 5.0% of 10,000"),
        ({0: 800, 1: 200}, {0: 9500, 1: 500}, "pass", "was 5.0%"),
        ({0: 40, 1: 60}, {0: 95, 1: 5}, "fail", "the odds moved by a factor of"),
        ({0: 500, 1: 500}, {0: 480, 1: 520}, "pass", "label 1 is 50.0%"),
        ({0: 300, 1: 300, 2: 400}, {0: 500, 1: 500}, "fail", "label 2 is 40.0% of 1,000 rows and was 0.0%"),
        # The rare class that is gone has the larger factor, and chance may have done it; not so with label b.
        ({"a": 850, "b": 150}, {"a": 970, "b": 10, "r": 20}, "fail", "label b is 15.0% of 1,000 rows and was 1.0%"),
    ],
)
def test_a_label_rate_that_cannot_be_is_an_incident(counts, reference, outcome, words):
    verdict = labels(counts, reference)

    assert (verdict.rule, verdict.outcome) == ("validation.label_incident", outcome)
    assert words in verdict.reason


def test_the_same_feed_is_an_incident_less_often_than_stated():
    chance = np.random.default_rng(5)
    alarms = 0
    for share in (0.01, 0.1, 0.5, 0.95):
        for n, total in ((60, 60), (60, 5000), (500, 500)):
            for now, before in zip(chance.binomial(n, share, 2000), chance.binomial(total, share, 2000), strict=True):
                verdict = labels({0: int(n - now), 1: int(now)}, {0: int(total - before), 1: int(before)})
                alarms += verdict.is_fail and len(verdict.evidence["counts"]) > 1
    assert alarms <= 4  # of 24,000: once in 10,000, with room for chance


def population(unseen, vanished, n=1000, reference_n=1000):
    facts = {"column": "country", "n": n, "reference_n": reference_n, "unseen": unseen, "vanished": vanished}
    return judge_population({**facts, "unseen_limit": 0.3, "vanished_limit": 0.5, "min_samples": 50, "chance": 1e-4})


@pytest.mark.parametrize(
    ("facts", "outcome", "words"),
    [
        (({}, {}), "pass", "0.0% of the rows are of new groups"),
        (({"FR": 100}, {}), "pass", "10.0%"),
        (({"FR": 250, "DE": 150}, {}), "fail", "40.0% of the rows are of groups the reference never held (FR, DE)"),
        (({}, {"UK": 700}), "fail", "groups that were 70.0% of the reference are gone (UK)"),
        (({"FR": 1000}, {"UK": 1000}), "fail", "another population"),
        (({"FR": 20}, {}, 40), "inconclusive", "40 rows against 1,000"),
        (({"FR": 300}, {}, 1000, 20), "inconclusive", "of the 50 needed"),
    ],
)
def test_another_population_is_an_incident(facts, outcome, words):
    verdict = population(*facts)

    assert (verdict.rule, verdict.outcome) == ("validation.population_incident", outcome)
    assert words in verdict.reason


def mix_verdict(now, before, limits=DEFAULT):
    def table(counts):
        return pa.table({"country": [name for name, count in counts.items() for _ in range(count)]})

    (verdict,) = compare_batches(table(now), table(before), limits)
    return verdict


def test_a_mix_that_left_the_reference_is_an_incident_though_every_group_is_there():
    before = {"US": 900, "MX": 60, "DE": 40}
    verdict = mix_verdict({"US": 100, "MX": 700, "DE": 200}, before)

    assert verdict.is_fail
    assert verdict.reason == (
        "country: 80.0% of the rows moved between groups (US 90.0% to 10.0%, MX 6.0% to 70.0%, DE 4.0% to 20.0%): "
        "another population"
    )
    assert DECISIONS[verdict.rule](json.loads(json.dumps(dict(verdict.evidence), allow_nan=False))) == verdict
    moved = mix_verdict({"US": 500, "MX": 300, "DE": 200}, before)
    assert (moved.is_pass, "40.0% moved between groups" in moved.reason) == (True, True)
    assert mix_verdict({"US": 500, "MX": 300, "DE": 200}, before, Incidents(mix=0.35)).is_fail
    # Rows that name no group are no move: filling them in is none either.
    assert mix_verdict({None: 1, "US": 90, "MX": 6, "DE": 4}, {**before, None: 9000}).is_pass


def test_a_mix_of_few_rows_or_many_groups_moves_by_chance_alone():
    chance = np.random.default_rng(11)
    groups = [f"g{k}" for k in range(50)]
    for n, m in ((50, 50), (50, 5000), (200, 200)):
        for _ in range(200):
            draws = [
                dict(zip(groups, chance.multinomial(size, np.full(50, 0.02)).tolist(), strict=True)) for size in (n, m)
            ]
            assert not mix_verdict(*draws, Incidents(mix=0.2, vanished=1.0, unseen=1.0)).is_fail


def rows(count, history, **more):
    return judge_row_count({"rows": count, "history": history, "min_history": 8, "factor": 3.0, **more})


STEADY = [1000, 1010, 990, 1005, 1000, 995, 1012, 1003, 998]


@pytest.mark.parametrize(
    ("count", "history", "outcome", "words"),
    [
        (1000, STEADY, "pass", "1,000 rows after 998"),
        (100, STEADY, "fail", "it fell 9.98-fold"),
        (10_000, STEADY, "fail", "it rose 10-fold"),
        (0, STEADY, "fail", "nothing came"),
        (0, [], "fail", "0 rows: nothing came"),
        (400, STEADY, "pass", "400 rows"),
        (100, STEADY[:5], "inconclusive", "5 earlier batches of the 8 needed"),
        (1100, [100 * n for n in range(1, 11)], "pass", "1,100 rows after 1,000"),  # a window that grows
        (100, [10, 200, 30, 500, 20, 400, 50, 300, 10], "pass", "100 rows"),  # counts that always jump
    ],
)
def test_a_collapse_of_rows_is_told_from_how_they_moved_so_far(count, history, outcome, words):
    verdict = rows(count, history)

    assert (verdict.rule, verdict.outcome) == ("validation.row_count_incident", outcome)
    assert words in verdict.reason


@pytest.mark.parametrize("tails", ["normal", "heavy"])
@pytest.mark.parametrize("scatter", [0.05, 0.2, 0.5, 1.0])
def test_row_counts_that_scatter_as_ever_are_seldom_an_incident(tails, scatter):
    chance = np.random.default_rng(11)
    draw = chance.normal if tails == "normal" else lambda size: chance.standard_t(4, size) / 2**0.5
    alarms = 0
    for _ in range(1000):
        counts = np.exp(10 + scatter * draw(size=9)).astype(int) + 1
        alarms += rows(int(counts[-1]), counts[:-1].tolist()).is_fail
    assert alarms <= (5 if tails == "normal" else 8)


def stale(lag_h, lags_h, *, max_age_h=None, gap_h=1.0):
    return judge_stale(
        {
            "newest": "2024-05-01T00:00:00Z",
            "as_of": "2024-05-02T00:00:00Z",
            "lag_s": None if lag_h is None else lag_h * 3600.0,
            "lags_s": [lag * 3600.0 for lag in lags_h],
            "longest_gap_s": gap_h * 3600.0,
            "max_age_s": None if max_age_h is None else max_age_h * 3600.0,
            "min_history": 8,
        }
    )


@pytest.mark.parametrize(
    ("verdict", "outcome", "words"),
    [
        (stale(1, [1] * 8), "pass", "by its habit at most 3 h"),
        (stale(4, [1] * 8), "fail", "by its habit at most 3 h"),
        (stale(4, [1] * 8, gap_h=60), "pass", "at most 5 days"),  # a source that rests at weekends
        (stale(500, [1] * 7), "inconclusive", "7 earlier batches of the 8 needed, and no max_age"),
        (stale(50, [], max_age_h=48), "fail", "at most 2 days is allowed"),
        (stale(40, [1] * 20, max_age_h=48), "pass", "40 h before"),
        (stale(None, [1] * 20), "inconclusive", "no row has an event time"),
    ],
)
def test_data_older_than_their_habit_are_stale(verdict, outcome, words):
    assert (verdict.rule, verdict.outcome) == ("validation.stale_incident", outcome)
    assert words in verdict.reason


def test_every_verdict_follows_from_its_evidence_alone():
    for verdict in (
        labels({1: 500}, {0: 600, 1: 400}),
        labels({0: 650, 1: 350}, {0: 9500, 1: 500}),
        population({"FR": 400}, {"UK": 600}),
        rows(100, STEADY),
        stale(4, [1] * 8),
    ):
        evidence = json.loads(json.dumps(dict(verdict.evidence), allow_nan=False))
        assert DECISIONS[verdict.rule](evidence).to_dict() == verdict.to_dict()


def test_limits_are_checked_where_they_stand():
    assert Incidents(groups="country", max_age="36h").max_age_s == timedelta(hours=36).total_seconds()
    assert (DEFAULT.groups, DEFAULT.max_age_s) == (None, None)
    for wrong in (
        {"odds": 1},
        {"unseen": 0},
        {"vanished": 1.5},
        {"mix": 0},
        {"min_samples": 0},
        {"chance": True},
        {"factor": "x"},
    ):
        with pytest.raises(ProjectError) as error:
            Incidents(**wrong)
        assert (error.value.code, "test_incident_rules.py" in error.value.where) == ("VALID-65", True)
    with pytest.raises(MillraceError, match="is not a duration"):
        Incidents(max_age="soon")


# --- units


def amounts(seed, n=2000, times=1.0):
    return pa.chunked_array([np.random.default_rng(seed).lognormal(3, 1, n) * times])


@pytest.mark.parametrize("times", [100, 0.01, 1000, -100, 12])
def test_numbers_that_are_all_some_factor_larger_or_smaller_are_an_incident(times):
    before = amounts(1)
    verdict = judge_numbers("price", amounts(2, times=times), amounts(1, times=np.sign(times)), DEFAULT)

    assert verdict.is_fail
    assert "a unit was changed" in verdict.reason
    assert verdict.evidence["factor"] == pytest.approx(abs(times), rel=0.1)
    assert DECISIONS[verdict.rule](json.loads(json.dumps(dict(verdict.evidence), allow_nan=False))) == verdict
    assert judge_numbers("price", amounts(2), before, DEFAULT).is_pass


def test_decimals_shares_and_single_precision_have_units_too():
    cents = pa.chunked_array([pa.array([Decimal(k) for k in range(100, 400)], pa.decimal128(12, 2))])
    euros = pa.chunked_array([pa.array([Decimal(k) / 100 for k in range(100, 400)], pa.decimal128(12, 2))])
    assert judge_numbers("price", cents, euros, DEFAULT).is_fail
    flags = pa.chunked_array([[0.0, 1.0, None, np.nan] * 100])
    assert judge_numbers("share", pa.chunked_array([[0, 100] * 100]), flags, DEFAULT).is_fail
    assert judge_numbers("short", amounts(2, times=100).cast(pa.float32()), amounts(1), DEFAULT).is_fail


def test_other_moves_of_numbers_are_drift_and_no_change_of_units():
    chance = np.random.default_rng(4)
    before = pa.chunked_array([chance.normal(100, 10, 2000)])
    assert judge_numbers("x", pa.chunked_array([chance.normal(5000, 10, 2000)]), before, DEFAULT).is_pass  # moved
    assert judge_numbers("x", amounts(2, times=5), amounts(1), DEFAULT).is_pass
    assert judge_numbers("x", amounts(2, times=5), amounts(1), Incidents(units=4)).is_fail
    for few in (amounts(2, n=49, times=100), amounts(2, n=0), pa.chunked_array([[0.0, np.inf, np.nan] * 100])):
        assert judge_numbers("x", few, amounts(1), DEFAULT).outcome == "inconclusive"
    huge = pa.chunked_array([[1e308, -1e308, 1e-308] * 100])
    assert judge_numbers("x", huge, amounts(1), DEFAULT).outcome == "inconclusive"


def test_units_are_judged_of_all_numbers_but_labels_and_counters():
    def batch(times, rows):
        return pa.table(
            {
                "number": range(1, rows + 1),
                "price": amounts(5, rows, times).combine_chunks(),
                "late": [0, times] * (rows // 2),
                "code": ["a"] * rows,
            }
        )

    verdicts = compare_batches(batch(100, 200), batch(1, 4000), DEFAULT, label="late")
    assert [v.evidence["column"] for v in verdicts if v.rule == "validation.unit_incident"] == ["price"]
    none = compare_batches(batch(100, 200), batch(1, 4000), DEFAULT, label="late", groups=["code"])
    assert [v for v in none if v.rule == "validation.unit_incident"] == []


# --- clocks


def hours(seed, n, *, middle=12.0, days=30, shift=0):
    """Times of `n` events that come mostly in the middle of the day."""
    chance = np.random.default_rng(seed)
    of_day = np.clip(chance.normal(middle, 3, n), 0, 23.99)
    micros = (chance.integers(0, days, n) * 24 + of_day + shift) * 3_600_000_000
    return pa.chunked_array([pa.array(micros.astype(np.int64)).cast(pa.timestamp("us", tz="UTC"))])


@pytest.mark.parametrize("shift", [-11, -5, -2, 2, 3, 8, 12])
def test_hours_of_the_day_that_moved_as_a_whole_are_an_incident(shift):
    verdict = judge_hours("at", hours(1, 5000, shift=shift), hours(2, 5000), DEFAULT)

    assert verdict.is_fail
    assert f"moved by {shift:+d} h" in verdict.reason
    assert DECISIONS[verdict.rule](json.loads(json.dumps(dict(verdict.evidence)))) == verdict


def test_hours_that_only_scatter_or_changed_otherwise_are_none():
    reference = hours(2, 5000)
    evening = pa.chunked_array([*hours(3, 2500).chunks, *hours(4, 2500, middle=19).chunks])
    flat = np.random.default_rng(5).integers(0, 30 * 24, 5000) * 3_600_000_000
    uniform = pa.chunked_array([pa.array(flat).cast(pa.timestamp("us", tz="UTC"))])

    assert judge_hours("at", hours(1, 5000), reference, DEFAULT).is_pass
    assert judge_hours("at", hours(1, 5000, shift=1), reference, DEFAULT).is_pass  # daylight saving
    assert judge_hours("at", evening, reference, DEFAULT).is_pass
    assert judge_hours("at", uniform, reference, DEFAULT).is_pass
    assert judge_hours("at", uniform, uniform, DEFAULT).is_pass
    assert not any(judge_hours("at", hours(n, 200), hours(n + 1000, 200), DEFAULT).is_fail for n in range(300))


def test_too_few_events_or_days_tell_nothing_of_hours():
    for times in (hours(1, 40, shift=5), hours(1, 5000, days=1, shift=5), hours(1, 1)[:0]):
        assert judge_hours("at", times, hours(2, 5000), DEFAULT).outcome == "inconclusive"


def test_two_batches_are_compared_in_labels_groups_and_clocks():
    def batch(seed, *, country="DE", late=0.2, shift=0):
        chance = np.random.default_rng(seed)
        return pa.table(
            {
                "country": [country if n % 2 else "FR" for n in range(2000)],
                "free_text": [f"word {n}" for n in range(2000)],
                "late": (chance.random(2000) < late).astype(int),
                "at": hours(seed, 2000, shift=shift),
            }
        )

    def found(table, **options):
        verdicts = compare_batches(table, batch(1), options.pop("limits", DEFAULT), label="late", **options)
        return {verdict.rule.removeprefix("validation.") for verdict in verdicts if verdict.is_fail}

    assert found(batch(2)) == set()
    assert found(batch(2, country="PL")) == {"population_incident"}
    assert found(batch(2, late=0.9)) == {"label_incident"}
    assert found(batch(2, shift=6)) == {"clock_incident"}
    assert found(batch(2, country="PL"), limits=Incidents(groups=())) == set()
    assert found(batch(2, country="PL"), groups=[]) == set()


def test_a_column_of_labels_or_groups_that_is_gone_is_told():
    def batch(**renamed):
        rows = {"country": ["DE", "FR"] * 100, "plan": ["free", "pro"] * 100, "late": [0, 1] * 100}
        return pa.table({renamed.get(name, name): values for name, values in rows.items() if renamed.get(name) != ""})

    def judged(now, before, limits=DEFAULT, **options):
        verdicts = compare_batches(now, before, limits, **options)
        return [(v.outcome, v.reason) for v in verdicts if v.rule != "validation.unit_incident"]

    asked = Incidents(groups="country")
    gone = "country: the column and its groups (DE, FR) are gone from the batch"
    assert judged(batch(country=""), batch(), asked) == [("fail", gone)]
    assert judged(batch(country="countri"), batch(), asked) == [("fail", f"{gone}; did you mean 'countri'?")]
    assert judged(batch(country=""), batch(), groups=["country"]) == [("inconclusive", gone)]
    assert ("inconclusive", gone) in judged(batch(country=""), batch())
    assert judged(batch(), batch(country=""), asked) == [
        ("inconclusive", "country: the reference has no such column, so its groups have nothing to be compared with")
    ]
    assert judged(batch(country=""), batch(country=""), asked) == [
        ("inconclusive", "country: neither the batch nor the reference has such a column")
    ]
    assert judged(batch(country="")[:0], batch(), asked) == [("fail", gone)]
    # Of columns that nobody asked for and the reference never had, there is nothing to tell.
    assert judged(batch(), batch(country="", plan=""), groups=["country", "view_feature"]) == []
    late = judged(batch(late=""), batch(), Incidents(groups=()), label="late")
    assert late == [("fail", "none of the 200 rows has a label: the label feed looks broken")]
    new = judged(batch(), batch(late=""), Incidents(groups=()), label="late")
    assert new == [("pass", "2 different labels among 200")]


def test_numbers_as_labels_are_only_judged_for_being_all_the_same():
    spread, same = pa.chunked_array([[0.5, 1.5] * 100]), pa.chunked_array([[7.25] * 200])

    assert judge_amounts(spread, DEFAULT).is_pass
    assert judge_amounts(same, DEFAULT).reason == "all 200 labels are 7.25: the label feed looks broken"


def test_rows_without_any_label_are_a_broken_feed_and_nan_is_no_label():
    none = pa.chunked_array([pa.array([None] * 200, pa.int64())])
    nan = pa.chunked_array([[float("nan")] * 200])
    one = pa.chunked_array([[float("nan")] * 100 + [7.25] * 100])

    for verdict in (judge_classes(none, None, DEFAULT), judge_amounts(nan, DEFAULT), judge_classes(nan, None, DEFAULT)):
        assert verdict.is_fail
        assert verdict.reason == "none of the 200 rows has a label: the label feed looks broken"
    assert judge_amounts(one, DEFAULT).reason == "all 100 labels are 7.25: the label feed looks broken"
    assert judge_classes(none[:30], None, DEFAULT).outcome == "inconclusive"


def test_rows_that_name_no_group_are_a_group_and_filling_them_in_is_no_incident():
    def batch(missing):
        return pa.table({"country": [None if n < missing else "DE" for n in range(1000)]})

    def found(now, before):
        (verdict,) = compare_batches(batch(now), batch(before), DEFAULT)
        return verdict

    assert found(1000, 0).is_fail
    assert "of groups the reference never held ((missing))" in found(400, 0).reason
    assert found(1000, 10).is_fail
    assert found(100, 0).is_pass
    assert found(300, 290).is_pass
    assert found(0, 900).is_pass
