"""Profiles: exact where that is cheap, else within their stated error, the same however the rows are cut."""

import json
import math
from datetime import UTC, datetime

import numpy as np
import pyarrow as pa
import pytest

from millrace.core.errors import DataError
from millrace.validation.csv_pieces import large_csv
from millrace.validation.profiling.column_figures import SAMPLE_ROWS, DistinctCount, RowSample
from millrace.validation.profiling.profile import profile
from millrace.validation.reports.profile_page import profile_page

ROWS = 5000
AT = pa.timestamp("us", tz="UTC")


@pytest.fixture(scope="module")
def table():
    chance = np.random.default_rng(3)
    amount = chance.gamma(2, 10, ROWS)
    amount[:40] = np.nan
    amount[40] = np.inf
    plans = chance.choice(["free", "pro", "team"], ROWS, p=[0.6, 0.3, 0.1]).tolist()
    return pa.table(
        {
            "id": np.arange(ROWS) + 1_000_000,
            "amount": amount,
            "plan": pa.array([None if n % 10 == 0 else plan for n, plan in enumerate(plans)]),
            "plan_code": pa.array(plans).dictionary_encode(),
            "is_new": chance.random(ROWS) < 0.25,
            "at": pa.array(np.arange(ROWS) * 60_000_000).cast(AT),
            "nothing": pa.nulls(ROWS),
            "parts": pa.array([[1, 2]] * ROWS),
        }
    )


def test_every_kind_of_column_is_told(table):
    found = profile(table)

    amount = table["amount"].to_numpy()
    finite = amount[np.isfinite(amount)]
    assert (found.rows, found.sampled, len(found.columns)) == (ROWS, ROWS, 8)
    assert (found["id"].least, found["id"].greatest, found["id"].distinct) == (1_000_000, 1_004_999, ROWS)
    assert (found["amount"].missing, found["amount"].infinite) == (40, 1)
    assert found["amount"].mean == pytest.approx(finite.mean(), rel=1e-12)
    assert found["amount"].stdev == pytest.approx(finite.std(ddof=1), rel=1e-12)
    assert found["amount"].quantiles[0.5] == pytest.approx(np.median(finite), rel=0.01)
    assert sum(found["amount"].histogram) == len(finite)
    assert (found["plan"].missing, found["plan"].distinct, found["plan"].least) == (500, 3, 3)
    assert found["plan"].top[0][0] == "free"
    assert sum(share for _, share in found["plan"].top) == pytest.approx(1)
    assert sum(found["plan_code"].levels.values()) == ROWS
    assert found["is_new"].mean == pytest.approx(0.25, abs=0.03)
    assert found["at"].greatest == datetime(1970, 1, 4, 11, 19, tzinfo=UTC)
    assert (found["nothing"].missing, found["nothing"].kind, found["nothing"].top) == (ROWS, "nothing", [])
    assert (found["parts"].kind, found["parts"].missing) == ("other", 0)


def test_rows_in_pieces_have_the_profile_of_the_whole(table):
    whole = profile(table).to_dict()
    cut = profile([table.slice(0, 1), table.slice(1, 1700), table.slice(1701)]).to_dict()

    for one, other in zip(whole["columns"], cut["columns"], strict=True):
        for figure in ("mean", "stdev"):
            if one[figure] is not None:
                assert other.pop(figure) == pytest.approx(one.pop(figure), rel=1e-9)
        assert one == other


def test_the_document_is_json_and_the_texts_hold_every_column(table):
    found = profile(table)
    page, words = profile_page(found, batch="x.parquet"), found.explain()

    json.dumps(found.to_dict(), allow_nan=False)
    for column in table.column_names:
        assert column in page
        assert column in words
    assert "40 missing (0.8%)" in words
    assert "1 infinite" in words


@pytest.mark.parametrize("distinct", [10, 60_000, 200_000, 1_000_000])
def test_the_number_of_different_values_is_exact_or_within_its_error(distinct):
    import polars as pl

    counter = DistinctCount()
    values = pl.Series(np.random.default_rng(1).permutation(distinct))
    for start in range(0, distinct, 150_000):
        counter.add(values[start : start + 150_000])
    counter.add(values[: min(distinct, 5000)])

    assert counter.is_exact is (distinct < 65_536)
    tolerance = 0 if counter.is_exact else 5 * distinct / math.sqrt(65_536)
    assert abs(counter.count(distinct * 2) - distinct) <= tolerance


def test_each_row_has_the_same_chance_to_be_sampled():
    import polars as pl

    sample = RowSample(size=2000)
    for start in range(0, 40_000, 7000):
        sample.add(pl.DataFrame({"n": np.arange(start, min(start + 7000, 40_000))}))

    chosen = sample.rows["n"].to_numpy()
    assert len(chosen) == len(set(chosen.tolist())) == 2000
    counts, _ = np.histogram(chosen, bins=10, range=(0, 40_000))
    assert ((counts - 200) ** 2 / 200).sum() < 27.9  # chi-square with 9 degrees of freedom, one in a thousand


def test_of_many_rows_quantiles_come_from_a_sample_that_is_told():
    rows = SAMPLE_ROWS * 3
    found = profile(pa.table({"x": np.random.default_rng(2).normal(size=rows), "y": np.arange(rows)}))

    assert found.sampled == SAMPLE_ROWS
    assert found["x"].quantiles[0.5] == pytest.approx(0, abs=0.03)
    assert found["y"].greatest == rows - 1
    assert f"{SAMPLE_ROWS:,} sampled rows" in found.explain()


def test_an_empty_batch_has_a_profile_of_nothing():
    found = profile(pa.table({"x": pa.array([], pa.float64()), "s": pa.array([], pa.string())}))

    assert (found.rows, found["x"].distinct, found["x"].mean, found["x"].least) == (0, 0, None, None)
    assert "0 rows" in found.explain()
    assert profile_page(found, batch="x")


def test_of_one_row_no_spread_is_told():
    told = profile([pa.table({"x": [2.5]})]).explain()
    assert "2.5 to 2.5, median 2.5, mean 2.5" in told
    assert "sd" not in told


@pytest.mark.parametrize("pieces", [[], pa.table([[1], [2]], names=["a", "a"])])
def test_what_cannot_be_profiled_is_told(pieces):
    with pytest.raises(DataError) as error:
        profile(pieces)

    assert error.value.code == "VALID-61"


def test_infinite_times_and_integers_at_the_ends_are_kept():
    found = profile(
        pa.table({"n": pa.array([-(2**63), 2**63 - 1, None]), "u": pa.array([0, 2**64 - 1, 1], pa.uint64())})
    )

    assert (found["n"].least, found["n"].greatest) == (-(2**63), 2**63 - 1)
    assert found["u"].greatest == 2**64 - 1


def test_a_large_csv_file_comes_in_pieces_and_has_the_profile_of_its_rows(tmp_path, table):
    import pyarrow.csv

    plain = table.select(["id", "amount", "plan", "is_new", "at"])
    file = tmp_path / "rows.csv"
    pyarrow.csv.write_csv(plain, file)

    pieces = large_csv([file], least_bytes=1000)
    assert large_csv([file]) is None
    assert (pieces.rows, pieces.schema.names) == (ROWS, plain.column_names)
    found, known = profile(pieces.pieces()), profile(plain)
    assert found["plan"].missing == known["plan"].missing
    assert found["amount"].mean == pytest.approx(known["amount"].mean, rel=1e-9)
    assert [column.distinct for column in found.columns] == [column.distinct for column in known.columns]
    assert found["id"].greatest == known["id"].greatest


def test_a_column_without_a_name_has_its_profile():
    (column,) = profile(pa.table({"": [1, 2, 2]})).columns

    assert (column.name, column.distinct, column.greatest) == ("", 2, 2)
