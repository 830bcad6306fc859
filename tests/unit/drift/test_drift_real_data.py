"""What is known of real data: a census in random order, a market that was opened in its 52nd week."""

from pathlib import Path

import pyarrow.parquet as pq
import pytest

from millrace.drift.compare import compare
from millrace.drift.profile import ReferenceProfile

ROOT = Path(__file__).resolve().parents[3]
WEEK = 48 * 7
VICTORIA = ["vicprice", "vicdemand", "transfer"]
AS = {"table": lambda table: table, "profile": ReferenceProfile.of}


@pytest.fixture(scope="module")
def adult():
    return pq.read_table(ROOT / "tests/data/adult/adult.parquet")


@pytest.fixture(scope="module")
def market():
    return pq.read_table(ROOT / "examples/electricity/data/elec2.parquet").drop(["ts", "date_raw"])


@pytest.mark.parametrize("form", AS)
def test_a_census_in_random_order_did_not_move(adult, form):
    report = compare(AS[form](adult.slice(0, 16_281)), adult.slice(16_281))
    assert {column.outcome for column in report.columns} == {"ok"}
    assert len(report.columns) == 15
    assert report.verdict().outcome == "pass"


def test_a_census_told_apart_by_sex_moved(adult):
    is_woman = [value == "Female" for value in adult.column("sex").to_pylist()]
    women, men = adult.filter(is_woman), adult.filter([not value for value in is_woman])
    report = compare(men, women)
    assert {"sex", "relationship", "marital-status", "hours-per-week", "class"} <= set(report.drifted)
    assert report["relationship"].severity == "major"
    assert report["fnlwgt"].outcome == "ok"


@pytest.mark.parametrize("form", AS)
@pytest.mark.parametrize("week", [30, 45])
def test_columns_that_stood_still_are_at_distance_zero(market, form, week):
    report = compare(AS[form](market.slice(0, 26 * WEEK)), market.slice(week * WEEK, WEEK), columns=VICTORIA)
    assert [(c.statistic, c.p_value, c.outcome) for c in report.columns] == [(0.0, 1.0, "ok")] * 3


@pytest.mark.parametrize("form", AS)
def test_the_week_in_which_the_market_opened_is_flagged(market, form):
    report = compare(AS[form](market.slice(0, 26 * WEEK)), market.slice(52 * WEEK, WEEK), columns=VICTORIA)
    assert report.drifted == VICTORIA
    assert {column.severity for column in report.columns} == {"major"}
