"""The cases in which plain loops and other tools say "no drift", raise, or cry wolf; against a table and a profile."""

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from millrace.drift.detector import DriftDetector
from millrace.drift.profile import ReferenceProfile

N = 10_000
RNG = np.random.default_rng(5)
NORMAL = RNG.normal(size=N)
WORDS = np.array(["red", "green", "blue"])[RNG.integers(0, 3, N)]
CODES = RNG.integers(0, 3, N)
DAYS = pd.Timestamp("2014-01-01") + pd.to_timedelta(np.arange(N) % 365, unit="D")


def holes(values, share):
    return np.where(RNG.random(N) < share, np.nan, values)


def with_infinite(share):
    return np.where(RNG.random(N) < share, np.inf, NORMAL)


CASES = {
    # what it is: reference, current, outcome, part of the reason
    "current all null, float": (NORMAL, np.full(N, np.nan), "drift", "nulls went from 0.0% to 100.0%"),
    "empty batch": (NORMAL, NORMAL[:0], "insufficient", "the current data is empty"),
    "90 % nulls appear, values the same": (NORMAL, holes(NORMAL, 0.9), "drift", "nulls went from 0.0% to 9"),
    "categorical all null": (WORDS, pd.array([None] * N, dtype="str"), "drift", "nulls went from"),
    "one unseen category in 10,000 rows": (WORDS, np.append(WORDS[1:], "purple"), "ok", "no difference"),
    "constant against the same": (np.ones(N), np.ones(N), "ok", "q 1"),
    "constant against another": (np.ones(N), np.full(N, 2.0), "drift", "a constant became another constant"),
    "datetime moved by 10 years": (DAYS, DAYS + pd.DateOffset(years=10), "drift", "the distribution moved"),
    "pandas string column fully changed": (
        pd.array(WORDS, dtype="string"),
        pd.array(np.char.add(WORDS, "ish"), dtype="string"),
        "drift",
        "100.0% of the rows carry levels the reference never saw",
    ),
    "infinite in 10 % of the values": (NORMAL, with_infinite(0.1), "drift", "values are infinite"),
    "infinite went from 2 % to 10 %": (with_infinite(0.02), with_infinite(0.1), "drift", "infinite values went from"),
    "id column that counts on": (np.arange(N), np.arange(N, 2 * N), "insufficient", "as in an identifier"),
    "int code column, same shares": (CODES, RNG.permutation(CODES), "ok", "no difference"),
    "int code column, shares moved": (CODES, np.where(RNG.random(N) < 0.3, 0, CODES), "drift", "distribution moved"),
    "str column, same shares": (pd.array(WORDS, dtype="str"), pd.array(RNG.permutation(WORDS), dtype="str"), "ok", ""),
    "str column, shares moved": (
        pd.array(WORDS, dtype="str"),
        pd.array(np.where(RNG.random(N) < 0.3, "red", WORDS), dtype="str"),
        "drift",
        "total variation",
    ),
    "object column of text": (WORDS.astype(object), np.full(N, "red", dtype=object), "drift", "total variation"),
    "category column": (pd.Categorical(WORDS), pd.Categorical(WORDS[::-1]), "ok", "no difference"),
    "100 rows against 100,000 of one law": (WORDS[:100], np.tile(WORDS, 10), "ok", "no difference"),
    "nullable integers with nulls on both sides": (
        pd.array(CODES, dtype="Int64"),
        pd.array(np.where(RNG.random(N) < 0.001, 9, CODES), dtype="Int64"),
        "ok",
        "no difference",
    ),
}


@pytest.mark.parametrize(
    "form", [lambda table: table, lambda table: ReferenceProfile.of(pa.table(table))], ids=["table", "profile"]
)
@pytest.mark.parametrize("case", CASES)
def test_where_others_fail(case, form):
    reference, current, outcome, reason = CASES[case]
    detector = DriftDetector(form(pd.DataFrame({"x": reference})))
    column = detector.report(pd.DataFrame({"x": current}))["x"]
    assert (column.outcome, reason in column.reason) == (outcome, True), column
    is_recognised = "identifier" in reason
    assert detector.detect_drift(pd.DataFrame({"x": current})) == {"x": outcome != "ok" and not is_recognised}


@pytest.mark.parametrize("current", [[None] * N, ["a", *[None] * (N - 1)], [1.5] * N], ids=["nulls", "few", "numbers"])
@pytest.mark.parametrize("types", [None, {"id": "identifier"}], ids=["recognised", "declared"])
def test_an_identifier_that_broke_is_no_identifier_in_order(current, types):
    reference = pd.DataFrame({"id": [f"a{n}" for n in range(N)]})
    assert DriftDetector(reference, types=types).detect_drift(pd.DataFrame({"id": current})) == {"id": True}


def test_identifier_declared_as_such_is_ok_however_it_counts_on():
    reference, current = pd.DataFrame({"id": np.arange(N)}), pd.DataFrame({"id": np.arange(N, 2 * N)})
    assert DriftDetector(reference, types={"id": "identifier"}).detect_drift(current) == {"id": False}


def test_codes_declared_as_levels_are_tested_as_levels():
    moved = np.where(CODES == 0, 1, np.where(CODES == 1, 0, CODES))
    report = DriftDetector(pd.DataFrame({"x": CODES}), types={"x": "categorical"}).report(pd.DataFrame({"x": moved}))
    assert report["x"].test == "chi2"


@pytest.mark.parametrize(
    "values",
    [
        RNG.integers(0, 10**9, N),  # amounts: far apart, in no order
        RNG.permutation(N // 2).repeat(2),  # close together, but twice each
        np.arange(N) + 0.5,  # no whole numbers
    ],
)
def test_numbers_that_are_no_identifier_are_tested(values):
    column = DriftDetector(pd.DataFrame({"x": values})).report(pd.DataFrame({"x": values + 2 * 10**9}))["x"]
    assert (column.kind, column.outcome) == ("numeric", "drift")


@pytest.mark.parametrize(("before", "after"), [("duration", "time"), ("clock", "time"), ("time", "duration")])
def test_times_of_another_sense_are_another_type(before, after):
    forms = {
        "time": pa.array([0] * 200, pa.timestamp("us")),
        "clock": pa.array([0] * 200, pa.time64("us")),
        "duration": pa.array([0] * 200, pa.duration("us")),
    }
    column = DriftDetector(pa.table({"x": forms[before]})).report(pa.table({"x": forms[after]}))["x"]
    assert (column.outcome, column.reason.startswith("its type was")) == ("error", True)
    same = DriftDetector(pa.table({"x": forms[before]})).report(pa.table({"x": forms[before]}))["x"]
    assert (same.kind, same.outcome) == ("temporal", "ok")
