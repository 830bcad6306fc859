import dataclasses

import numpy as np
import pytest
from gate_scenes import Timer, asked

from millrace.core.errors import ModelError, ProjectError
from millrace.gates.latency import Latency
from millrace.gates.robustness import Robustness


def verdict_of(gate, context):
    return gate.judge(gate.measure(context))


def timed(times_ms, **settings):
    context = asked(lambda rows: ([0] * len(rows), None), timer=Timer(times_ms))
    return verdict_of(Latency(calls=len(times_ms), **settings), context)


def test_latency_evidence_is_in_milliseconds_of_single_calls():
    verdict = timed([float(ms) for ms in range(1, 201)], p95_ms=250)
    facts = verdict.evidence
    assert {name: facts[name] for name in ("p50_ms", "p95_ms", "p99_ms", "p95_lower_ms", "p95_upper_ms")} == {
        "p50_ms": pytest.approx(100),
        "p95_ms": pytest.approx(190),
        "p99_ms": pytest.approx(198),
        "p95_lower_ms": pytest.approx(185),
        "p95_upper_ms": pytest.approx(196),
    }
    assert verdict.outcome == "pass"


@pytest.mark.parametrize(
    ("limit", "outcome"), [(196.5, "pass"), (195.5, "inconclusive"), (185.5, "inconclusive"), (184.5, "fail")]
)
def test_latency_has_three_answers(limit, outcome):
    assert timed([float(ms) for ms in range(1, 201)], p95_ms=limit).outcome == outcome


def test_latency_asks_one_row_at_a_time_after_warming_up():
    sizes = []
    context = asked(lambda rows: (sizes.append(len(rows)), None), timer=Timer([1.0] * 60))
    Latency(calls=60, warmup=7).measure(context)
    assert sizes == [1] * 67


def test_real_clock_finds_a_fast_model_fast():
    assert verdict_of(Latency(p95_ms=5000), asked(lambda rows: ([0], None))).outcome == "pass"


@pytest.mark.parametrize("gate", [Latency(), Robustness()])
def test_gate_that_asks_the_model_needs_one(gate):
    with pytest.raises(ModelError, match="GATE-03"):
        gate.measure(asked(None))


def by_sign(rows):
    return np.array([int(row[0] > 0) for row in rows]), None


def test_stable_model_is_robust():
    verdict = verdict_of(Robustness(), asked(by_sign))
    assert verdict.outcome == "pass"
    assert 0.98 < verdict.evidence["agreement"] < 1
    assert verdict.evidence["columns"] == ["float_0", "int_1"]


def test_model_that_reads_the_last_digit_is_not():
    fickle = lambda rows: (np.array([int(row[0] * 1000) % 2 for row in rows]), None)  # noqa: E731
    assert verdict_of(Robustness(), asked(fickle)).outcome == "fail"


def test_near_the_limit_few_rows_tell_nothing():
    assert verdict_of(Robustness(agreement=0.99), asked(by_sign)).outcome == "inconclusive"


def test_unit_of_a_column_does_not_matter():
    def share(unit):
        context = asked(by_sign)
        rows = [[row[0] * unit, *row[1:]] for row in context.rows]
        return Robustness().measure(dataclasses.replace(context, rows=rows))["agreement"]

    assert share(1.0) == share(1e-6) == share(1e6)


def test_noise_keeps_integers_missing_values_and_other_columns():
    seen = []
    context = asked(
        lambda rows: (seen.extend(rows), np.zeros(len(rows)))[::-1], types=("int", "float", "string", "bool")
    )
    context.rows[0][0] = context.rows[1][1] = None
    Robustness(draws=1, noise=0.5).measure(context)
    calm, noisy = seen[: len(seen) // 2], seen[len(seen) // 2 :]
    assert {type(row[0]) for row in noisy} == {int, type(None)}
    assert (noisy[0][0], noisy[1][1]) == (None, None)
    assert [row[2:] for row in noisy] == [row[2:] for row in calm]
    changed = [before[0] != after[0] for before, after in zip(calm, noisy, strict=True)]
    assert sum(changed) > 0.9 * len(changed)


def test_integer_noise_has_the_right_size():
    seen = []
    context = asked(lambda rows: (seen.extend(rows), np.zeros(len(rows)))[::-1], types=("int",), n=2000)
    Robustness(draws=1, noise=0.001).measure(context)  # 0.14 of a unit: most rows must stay as they are
    shifts = np.array([after[0] - before[0] for before, after in zip(seen[:2000], seen[2000:], strict=True)])
    assert set(np.unique(shifts)) == {-1, 0, 1}
    assert abs(shifts.mean()) < 0.03


def test_nothing_to_disturb_is_not_a_pass():
    verdict = verdict_of(Robustness(), asked(by_sign, types=("string", "bool")))
    assert (verdict.outcome, verdict.evidence["when_inconclusive"]) == ("inconclusive", "hold")


def test_regression_agrees_within_a_twentieth_of_its_spread():
    smooth = lambda rows: (np.array([row[0] for row in rows]), None)  # noqa: E731
    steep = lambda rows: (np.array([np.sin(row[0]) for row in rows]), None)  # noqa: E731
    assert verdict_of(Robustness(), asked(smooth, task="regression")).outcome == "pass"
    assert verdict_of(Robustness(), asked(steep, task="regression")).outcome == "fail"


def test_measurement_is_repeatable():
    assert Robustness().measure(asked(by_sign)) == Robustness().measure(asked(by_sign))


@pytest.mark.parametrize(
    "definition",
    [
        lambda: Latency(p95_ms=0),
        lambda: Latency(calls=58),
        lambda: Latency(calls=200.0),
        lambda: Robustness(noise=0),
        lambda: Robustness(agreement=95),
        lambda: Robustness(draws=0),
    ],
)
def test_settings_outside_their_range(definition):
    with pytest.raises(ProjectError, match="PROJ-57"):
        definition()
