"""A stored profile: small, exact where it can be, honest where it cannot, and never believed when damaged."""

import json
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

from millrace.core.errors import DataError
from millrace.core.ids import canonical_json
from millrace.drift import profile as profile_module
from millrace.drift.columns import each_column
from millrace.drift.compare import compare
from millrace.drift.detector import DriftDetector
from millrace.drift.numeric import CELLS, ks_gap, ks_gap_to_steps, steps_of
from millrace.drift.profile import ReferenceProfile

RNG = np.random.default_rng(3)
N = 5000
START = datetime(2024, 1, 1, tzinfo=UTC)


def many_types():
    return pa.table(
        {
            "amount": RNG.lognormal(3, 1, N),
            "short": RNG.normal(size=N).astype(np.float32),
            "count": RNG.integers(0, 30, N),
            "large": RNG.integers(2**60, 2**60 + 50, N),
            "price": pa.array([Decimal(int(v)) / 100 for v in RNG.integers(1, 900, N)], pa.decimal128(10, 2)),
            "plan": pa.array([None if v == 3 else f"plan {v}" for v in RNG.integers(0, 5, N)]),
            "code": pa.array(RNG.integers(0, 4, N)).dictionary_encode(),
            "is_new": pa.array(RNG.random(N) < 0.3),
            "at": pa.array([START + timedelta(seconds=int(s)) for s in RNG.integers(0, 10**6, N)]),
            "id": pa.array(range(N)),
            "key": pa.array([f"k{i}" for i in range(N)]),
            "limit": np.where(RNG.random(N) < 0.05, np.inf, RNG.normal(size=N)),
            "gap": np.where(RNG.random(N) < 0.1, np.nan, RNG.normal(size=N)),
            "nothing": pa.nulls(N),
            "list": pa.array([[1]] * N),
        }
    )


TABLE = many_types()


def test_profile_is_read_back_with_its_digest(tmp_path):
    profile = ReferenceProfile.of(TABLE, types={"code": "categorical"})
    profile.save(tmp_path / "profile.json")
    again = ReferenceProfile.load(tmp_path / "profile.json")
    assert again == profile
    assert again.digest == profile.digest == ReferenceProfile.from_dict(profile.to_dict()).digest
    assert again.to_bytes() == profile.to_bytes()
    assert again.types == {"code": "categorical"}
    assert hash(again) == hash(profile)


def test_profile_of_any_table_is_that_of_arrow():
    columns = {"n": [1, 2, 2, 5], "x": [0.5, None, 1.5, 2.5]}
    expected = ReferenceProfile.of(pa.table(columns))
    for table in (pl.DataFrame(columns), pl.LazyFrame(columns), pd.DataFrame(columns), columns):
        assert ReferenceProfile.of(table) == expected
    with pytest.raises(DataError, match="cannot be read as a table") as caught:
        ReferenceProfile.of("reference.parquet")
    assert caught.value.code == "DRIFT-01"


def test_equal_data_has_an_equal_profile_and_other_data_another():
    again = ReferenceProfile.of(pa.table(TABLE.columns, names=TABLE.column_names))
    assert ReferenceProfile.of(TABLE) == again
    moved = TABLE.set_column(0, "amount", pa.array(TABLE["amount"].to_numpy() + 1e-9))
    assert ReferenceProfile.of(moved) != again
    assert again != "a profile"


def test_profile_holds_the_facts_of_every_column():
    columns = ReferenceProfile.of(TABLE).columns
    amount = TABLE["amount"].to_numpy()
    assert columns["amount"].mean == pytest.approx(amount.mean(), rel=1e-12)
    assert columns["amount"].std == pytest.approx(amount.std(ddof=1), rel=1e-12)
    assert (columns["amount"].distinct, columns["amount"].steps.is_exact) == (N, False)
    assert len(columns["amount"].steps.values) == CELLS + 1
    assert (columns["amount"].steps.values[0], columns["amount"].steps.values[-1]) == (amount.min(), amount.max())
    assert (columns["count"].distinct, columns["count"].steps.is_exact) == (30, True)
    assert columns["large"].steps.values.dtype == np.int64
    assert columns["plan"].missing == TABLE["plan"].null_count > 0
    assert columns["limit"].infinite == np.isinf(TABLE["limit"].to_numpy()).sum()
    assert columns["gap"].nan == columns["gap"].missing == np.isnan(TABLE["gap"].to_numpy()).sum()
    assert (columns["id"].is_identifier_like, columns["key"].is_identifier_like) == (True, True)
    assert not columns["count"].is_identifier_like
    assert (columns["nothing"].present, columns["nothing"].kind) == (0, "untestable")


def test_moments_of_large_numbers_keep_their_digits():
    column = ReferenceProfile.of(TABLE).columns["large"]
    near = TABLE["large"].to_numpy() - 2**60
    assert column.std == pytest.approx(near.std(ddof=1), rel=1e-12)
    assert ReferenceProfile.of(pa.table({"x": [-(2**63), 2**63 - 1]})).columns["x"].std == pytest.approx(2**63.5)


def test_profile_cannot_be_changed():
    profile = ReferenceProfile.of(TABLE)
    with pytest.raises(AttributeError):
        profile.rows = 3
    with pytest.raises(TypeError):
        profile.columns["amount"] = None
    again = ReferenceProfile.from_bytes(profile.to_bytes())
    with pytest.raises(ValueError, match="read-only"):
        again.columns["amount"].steps.values[0] = 0


def test_verdicts_on_a_profile_are_those_on_the_table():
    current = TABLE.take(pa.array(RNG.integers(0, N, 3000)))
    kept = ReferenceProfile.from_bytes(ReferenceProfile.of(TABLE).to_bytes())
    on_table, on_profile = compare(TABLE, current), compare(kept, current)
    for column in on_table.columns:
        other = on_profile[column.name]
        assert (other.outcome, other.kind, other.test) == (column.outcome, column.kind, column.test), column.name
        assert (other.n_reference, other.null_rate_reference) == (column.n_reference, column.null_rate_reference)
    for name in ("count", "large", "price", "plan", "code", "is_new"):  # all their values are kept
        assert on_profile[name].statistic == on_table[name].statistic
        assert on_profile[name].p_value == on_table[name].p_value
        assert on_profile[name].effects == pytest.approx(on_table[name].effects, rel=1e-9)
        assert on_profile[name].moves == on_table[name].moves
    assert on_profile.evidence["profile"] == kept.digest
    canonical_json(on_profile.to_dict())  # raises on NaN and infinities


@pytest.mark.parametrize("cells", [20, 200])
@pytest.mark.parametrize("law", ["normal", "atoms", "heavy"])
def test_true_distance_lies_between_what_is_seen_and_its_bound(cells, law):
    draw = {
        "normal": lambda size: RNG.normal(size=size),
        "atoms": lambda size: np.where(RNG.random(size) < 0.4, 1.5, RNG.normal(size=size)),
        "heavy": lambda size: RNG.standard_cauchy(size=size),
    }[law]
    for shift in (0.0, 0.02, 0.3):
        reference, current = np.sort(draw(4000)), np.sort(draw(700) + shift)
        true = ks_gap(reference, current).distance
        gap = ks_gap_to_steps(steps_of(reference, cells), current)
        assert gap.distance <= true <= gap.at_most
        # Between two neighbours lie less than 1/cells of the reference; the current sample adds its own share there.
        assert gap.distance == abs(gap.before / 4000 - gap.after / 700)


def test_distance_to_a_grid_is_labelled_and_its_error_is_small():
    reference, current = RNG.normal(size=50_000), RNG.normal(0.1, 1, 20_000)
    column = compare(ReferenceProfile.of(pa.table({"x": reference})), pa.table({"x": current}))["x"]
    (test,) = column.tests
    true = ks_gap(np.sort(reference), np.sort(current)).distance
    assert test["is_exact"] is False
    assert test["statistic"] <= true <= test["statistic_at_most"]
    assert test["statistic_at_most"] - test["statistic"] < 0.002
    assert column.effects["d_at_most"] == test["statistic_at_most"]


def test_single_and_double_precision_are_one_column():
    long = RNG.integers(0, 40, N) / 10
    short = (RNG.integers(0, 40, N) / 10).astype(np.float32)
    for reference in (pa.table({"x": long}), ReferenceProfile.of(pa.table({"x": long}))):
        assert compare(reference, pa.table({"x": short}))["x"].outcome == "ok"
    assert compare(ReferenceProfile.of(pa.table({"x": short})), pa.table({"x": long}))["x"].outcome == "ok"
    crowded = pa.table({"x": 1 + np.arange(N) * 1e-12})  # in single precision all of them are 1
    assert compare(ReferenceProfile.of(crowded), pa.table({"x": np.ones(N, np.float32)}))["x"].outcome == "ok"


def test_levels_that_a_profile_does_not_keep_are_never_ok(monkeypatch):
    monkeypatch.setattr(profile_module, "LEVEL_LIMIT", 100)
    words = pa.table({"word": [f"w{i % 200}" for i in range(1000)]})
    column = compare(ReferenceProfile.of(words), words)["word"]
    assert (column.outcome, column.reason) == (
        "insufficient",
        "its 200 levels are more than a profile keeps: compare it with the table",
    )


def test_changes_of_type_and_missing_columns_are_seen_against_a_profile():
    profile = ReferenceProfile.of(pa.table({"amount": [1.0] * 200, "gone": ["a"] * 200}))
    report = compare(profile, pa.table({"amount": ["1.0"] * 200, "gon": ["a"] * 200}))
    assert report["amount"].reason == "its type was double and is string"
    assert report["gone"].reason == "the column is missing from the current data; did you mean 'gon'?"
    assert report.evidence["columns_added"] == ["gon"]


def test_types_come_from_the_profile():
    codes = pa.table({"code": [1, 2, 3] * 400})
    profile = ReferenceProfile.of(codes, types={"code": "categorical"})
    assert compare(profile, codes)["code"].test == "chi2"
    assert compare(profile, codes, types={"code": "categorical", "other": "int"})["code"].test == "chi2"
    with pytest.raises(DataError, match="DRIFT-07"):
        compare(profile, codes, types={"code": "numeric"})
    with pytest.raises(DataError, match="not declared"):
        compare(ReferenceProfile.of(codes), codes, types={"code": "numeric"})


def test_profile_of_chosen_columns():
    assert list(ReferenceProfile.of(TABLE, columns=["plan", "amount"]).columns) == ["plan", "amount"]
    with pytest.raises(DataError, match="did you mean 'amount'") as caught:
        ReferenceProfile.of(TABLE, columns=["ammount"])
    assert caught.value.code == "DRIFT-04"


def test_detector_takes_a_profile():
    reference = pd.DataFrame({"x": RNG.normal(10, 1, N), "s": ["a"] * N})
    current = pd.DataFrame({"x": RNG.normal(20, 1, N), "s": ["a"] * N})
    detector = DriftDetector(ReferenceProfile.of(pa.table(reference)))
    assert detector.detect_drift(current) == {"x": True, "s": False}
    assert detector.compute_drift_metrics(current) == DriftDetector(reference).compute_drift_metrics(current)


def damaged(change):
    facts = ReferenceProfile.of(TABLE.select(["amount", "plan"])).to_dict()
    facts = json.loads(json.dumps(facts))
    change(facts)
    return json.dumps(facts).encode()


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (b"", "DRIFT-02"),
        (b"\xff\xfe", "DRIFT-02"),
        (b"[1]", "DRIFT-02"),
        (b'{"format": "another"}', "DRIFT-02"),
        (damaged(lambda facts: facts.update(version=2)), "DRIFT-03"),
        (damaged(lambda facts: facts.pop("digest")), "DRIFT-02"),
        (damaged(lambda facts: facts.update(rows=1)), "DRIFT-02"),
        (damaged(lambda facts: facts["columns"][0].pop("steps")), "DRIFT-02"),
        (damaged(lambda facts: facts["columns"][0].update(kind="spiral")), "DRIFT-02"),
        (damaged(lambda facts: facts["columns"][0]["steps"]["values"].pop()), "DRIFT-02"),
        (damaged(lambda facts: facts["columns"][0]["steps"]["values"].append("x")), "DRIFT-02"),
        (damaged(lambda facts: facts["columns"][1]["levels"]["counts"].pop()), "DRIFT-02"),
        (damaged(lambda facts: facts["columns"][1]["levels"]["counts"].reverse()), "DRIFT-02"),
        (damaged(lambda facts: facts["columns"].pop()), "DRIFT-02"),
    ],
)
def test_a_damaged_profile_is_refused(data, code):
    with pytest.raises(DataError) as caught:
        ReferenceProfile.from_bytes(data)
    assert caught.value.code == code


def test_a_profile_that_is_not_there_is_refused(tmp_path):
    with pytest.raises(DataError, match="DRIFT-05"):
        ReferenceProfile.load(tmp_path / "none.json")


def test_a_column_that_cannot_be_read_stays_an_error(monkeypatch):
    def broken(*_):
        raise pa.ArrowInvalid("no such text")

    monkeypatch.setattr("millrace.drift.columns.count_levels", broken)
    profile = ReferenceProfile.of(pa.table({"word": ["a"] * 200}))
    monkeypatch.undo()
    again = ReferenceProfile.from_bytes(profile.to_bytes())
    column = compare(again, pa.table({"word": ["a"] * 200}))["word"]
    assert (column.outcome, "no such text" in column.reason) == ("error", True)


def test_columns_come_back_in_their_order_whoever_works_on_them():
    names = [f"c{i}" for i in range(40)]
    assert each_column(str.upper, names, rows=10) == each_column(str.upper, names, rows=10**6)
    assert each_column(str.upper, [], rows=10**6) == []
