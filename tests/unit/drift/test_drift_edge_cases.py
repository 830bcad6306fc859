"""Each odd column gets the outcome a careful person would give it; NaN is never ok."""

import math
from datetime import UTC, datetime, timedelta

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from millrace.core.errors import ProjectError
from millrace.core.ids import canonical_json
from millrace.drift.compare import compare
from millrace.drift.profile import ReferenceProfile

RNG = np.random.default_rng(7)
N = 1000
NORMAL = RNG.normal(size=N)
AGAIN = RNG.normal(size=N)
WORDS = np.array(["a", "b", "c"])[RNG.integers(0, 3, N)].tolist()
START = datetime(2024, 1, 1, tzinfo=UTC)


def hours(start):
    return pa.array([start + timedelta(hours=i) for i in range(N)], pa.timestamp("us", tz="UTC"))


def with_nulls(values, share):
    return pa.array([None if i < share * len(values) else v for i, v in enumerate(values)])


CASES = {
    "same law": (NORMAL, AGAIN, "ok", "no difference beyond chance"),
    "all null now": (NORMAL, pa.nulls(N, pa.float64()), "drift", "nulls went from 0.0% to 100.0%"),
    "all null now, no type": (NORMAL, pa.nulls(N), "drift", "nulls went from"),
    "all null on both sides": (pa.nulls(N, pa.float64()), pa.nulls(N, pa.float64()), "insufficient", "null"),
    "all null text on both sides": (pa.nulls(N, pa.string()), pa.nulls(N), "insufficient", "null"),
    "all NaN now": (NORMAL, np.full(N, np.nan), "drift", "nulls went from"),
    "nine nulls in ten": (NORMAL, with_nulls(NORMAL.tolist(), 0.9), "drift", "nulls went from 0.0% to 90.0%"),
    "nulls are gone": (
        with_nulls(NORMAL.tolist(), 0.5),
        AGAIN,
        "drift",
        "nulls went from 50.0% to 0.0%",
    ),
    "one null in a hundred": (NORMAL, with_nulls(NORMAL.tolist(), 0.01), "ok", "no difference"),
    "text all null now": (WORDS, pa.nulls(N, pa.string()), "drift", "nulls went from"),
    "infinite in one of ten": (NORMAL, np.append(AGAIN[:900], np.full(100, np.inf)), "drift", "infinite"),
    "one infinite value": (NORMAL, np.append(AGAIN[:999], -np.inf), "drift", "1 values are infinite"),
    "same constant": (np.ones(N), np.ones(N), "ok", "q 1"),
    "other constant": (np.ones(N), np.full(N, 2.0), "drift", "a constant became another constant"),
    "constant came alive": (np.ones(N), NORMAL, "drift", "the distribution moved"),
    "same constant text": (["a"] * N, ["a"] * N, "ok", "q 1"),
    "other constant text": (["a"] * N, ["b"] * N, "drift", "a constant became another constant"),
    "one unseen level": (WORDS, [*WORDS[:-1], "new"], "ok", "no difference"),
    "many unseen rows": (WORDS, [*WORDS[:900], *["new"] * 100], "drift", "never saw"),
    "booleans": ([True, False] * 500, [True] * 900 + [False] * 100, "drift", "total variation"),
    "ten years on": (
        hours(START),
        hours(START + timedelta(days=3650)),
        "drift",
        "the distribution moved",
    ),
    "varied seldom, varies no more": (
        np.repeat([0, 1], [970, 30]),
        np.zeros(N),
        "drift",
        "all values are one; 3.0% of the reference's were others",
    ),
    "rare level is gone": (["a"] * 970 + ["b"] * 30, ["a"] * N, "drift", "all values are one; 3.0% of the"),
    "varied once": (np.repeat([0, 1], [999, 1]), np.zeros(N), "ok", "no difference"),
    "number became text": (NORMAL, [str(v) for v in NORMAL], "error", "its type was double and is string"),
    "boolean became text": ([True, False] * 500, ["yes", "no"] * 500, "error", "its type was bool"),
    "integer became float": (list(range(N)), [float(v) for v in range(N)], "ok", "no difference"),
    "dictionary became text": (pa.array(WORDS).dictionary_encode(), WORDS, "ok", "no difference"),
    "identifier": ([f"a{i}" for i in range(N)], [f"b{i}" for i in range(N)], "insufficient", "identifier"),
    "only rare levels": (
        [f"a{i // 2}" for i in range(N)],
        [f"a{i // 2}" for i in range(N)],
        "ok",
        "no difference beyond chance",
    ),
    "replaced vocabulary": (
        [f"a{i // 2}" for i in range(N)],
        [f"b{i // 2}" for i in range(N)],
        "drift",
        "100.0% of the rows carry levels the reference never saw",
    ),
    "list": ([[1, 2]] * N, [[1, 2]] * N, "insufficient", "have no test"),
    "few rows now": (NORMAL, AGAIN[:99], "insufficient", "99 current rows are fewer than 100"),
    "few reference rows": (NORMAL[:99], AGAIN, "insufficient", "99 reference rows are fewer than 100"),
    "just enough rows": (NORMAL, AGAIN[:100], "ok", "no difference"),
    "empty": (NORMAL, NORMAL[:0], "insufficient", "the current data is empty"),
    "few values, as few before": (
        with_nulls(NORMAL.tolist(), 0.95),
        with_nulls(AGAIN.tolist(), 0.95),
        "insufficient",
        "50 reference values are fewer than 100",
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_edge_case(case):
    reference, current, outcome, reason = CASES[case]
    report = compare(pa.table({"x": reference}), pa.table({"x": current}))
    assert (report["x"].outcome, reason in report["x"].reason) == (outcome, True), report["x"]
    expected = {"ok": "pass", "drift": "fail", "error": "fail", "insufficient": "inconclusive"}[outcome]
    assert report.verdict().outcome == expected
    canonical_json(report.to_dict())  # raises on NaN and infinities


def test_what_became_constant_is_the_same_against_a_profile():
    reference = pa.table({"x": np.append(np.random.default_rng(9).normal(size=4000), np.full(96_000, 0.25))})
    for known in (reference, ReferenceProfile.of(reference)):
        column = compare(known, pa.table({"x": np.full(1000, 0.25)}))["x"]
        assert (column.outcome, column.severity) == ("drift", "major")
        assert column.effect < 0.05
        assert column.reason == "all values are one; 4.0% of the reference's were others"


def test_chance_of_a_constant_batch_is_in_the_false_alarms():
    reference = pa.table({"x": np.repeat([0, 1], [99_900, 100])})
    report = compare(reference, pa.table({"x": np.repeat([0, 1], [99_900, 100])[::100]}), effect=0.5)
    assert report.false_alarm_chance == 0.05  # at most q: one batch of 1,000 in three has no such row
    assert report.evidence["columns"][0]["constant_chance"] == pytest.approx(0.999**1000)


def test_decimals_and_dates_are_tested():
    reference = pa.table({"price": pa.array(range(N), pa.decimal128(10, 2)), "day": pa.array(range(N), pa.date32())})
    current = pa.table(
        {"price": pa.array(range(N, 2 * N), pa.decimal128(10, 2)), "day": pa.array(range(N), pa.date32())}
    )
    report = compare(reference, current)
    assert {column.name: column.outcome for column in report.columns} == {"price": "drift", "day": "ok"}


def test_small_reference_against_large_batch_of_the_same_law():
    levels = np.array(["a", "b", "c", "d"])
    reference = levels[np.random.default_rng(1).integers(0, 4, 100)]
    current = levels[np.random.default_rng(2).integers(0, 4, 100_000)]
    assert compare(pa.table({"x": reference}), pa.table({"x": current})).drifted == []


def test_missing_column_is_an_error_and_names_the_nearest():
    report = compare(pa.table({"amount": NORMAL}), pa.table({"ammount": NORMAL}))
    assert (report["amount"].outcome, report["amount"].reason) == (
        "error",
        "the column is missing from the current data; did you mean 'ammount'?",
    )


def test_asked_column_that_the_reference_lacks_is_an_error():
    table = pa.table({"amount": NORMAL})
    assert compare(table, table, columns=["amont"])["amont"].outcome == "error"


def test_declared_codes_are_levels_even_where_nulls_made_them_float():
    reference = pa.table({"code": [1, 2, 3] * 400})
    current = pa.table(pd.DataFrame({"code": [1.0, 2.0, 3.0] * 400}))
    report = compare(reference, current, types={"code": "categorical"})
    assert (report["code"].outcome, report["code"].test) == ("ok", "chi2")


def test_declared_identifier_is_compared_by_type_and_nulls_only():
    reference = pa.table({"id": list(range(N))})
    moved = pa.table({"id": list(range(N, 2 * N))})
    holes = pa.table({"id": with_nulls(list(range(N)), 0.2)})
    declared = {"id": "identifier"}
    assert compare(reference, moved, types=declared)["id"].outcome == "ok"
    assert compare(reference, holes, types=declared)["id"].outcome == "drift"
    assert compare(reference, pa.table({"id": [True] * N}), types=declared)["id"].outcome == "error"


@pytest.mark.parametrize(
    ("declared", "before", "after"),
    [
        ("categorical", [True, False] * 500, [1, 0] * 500),
        ("categorical", [1, 0] * 500, ["1", "0"] * 500),
        ("categorical", ["true", "false"] * 500, [True, False] * 500),
        ("temporal", pa.array([0] * N, pa.time64("us")), pa.array([0] * N, pa.duration("us"))),
        ("identifier", list(range(N)), [str(i) for i in range(N)]),
    ],
)
def test_a_declared_column_may_not_change_its_type_either(declared, before, after):
    reference, current = pa.table({"x": before}), pa.table({"x": after})
    types = {"x": declared}
    for form in (reference, ReferenceProfile.of(reference, types=types)):
        column = compare(form, current, types=types)["x"]
        was, now = reference["x"].type, current["x"].type
        assert (column.outcome, column.reason) == ("error", f"its type was {was} and is {now} (declared {declared})")


def test_zero_has_no_sign_among_levels():
    reference, current = pa.table({"x": np.full(N, 0.0)}), pa.table({"x": np.where(np.arange(N) % 2, -0.0, 0.0)})
    types = {"x": "categorical"}
    for form in (reference, ReferenceProfile.of(reference, types=types)):
        report = compare(form, current, types=types)
        assert report["x"].outcome == "ok"
        assert report.evidence["columns"][0]["constant_current"] is True


def test_column_not_of_its_declared_type_is_an_error():
    table = pa.table({"age": ["25 years"] * N})
    assert compare(table, table, types={"age": "int"})["age"].reason == (
        "its type was string and is string (declared int)"
    )


def test_unknown_declared_types_are_reported_at_once():
    table = pa.table({"a": NORMAL, "b": NORMAL})
    with pytest.raises(ProjectError) as caught:
        compare(table, table, types={"a": "numerical", "b": "catgorical"})
    assert [finding.fix for finding in caught.value.findings] == [
        "did you mean 'numeric'?",
        "did you mean 'categorical'?",
    ]


def test_limits_outside_their_range_are_refused_at_once():
    table = pa.table({"a": NORMAL})
    with pytest.raises(ProjectError) as caught:
        compare(table, table, q=5, effect=math.nan, min_rows=0)
    assert [finding.code for finding in caught.value.findings] == ["PROJ-35"] * 3
