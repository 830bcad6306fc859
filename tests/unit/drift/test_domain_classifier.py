"""Rows of two tables are told apart when they differ, and are not when they do not."""

import numpy as np
import pyarrow as pa
import pytest

from millrace.core.errors import ProjectError
from millrace.drift.batch_decisions import judge_classifier
from millrace.drift.multivariate import mann_whitney, tell_apart
from millrace.drift.terms import normal_scores, terms_of


def batch(seed, rows=1000, *, correlation=0.0, shift=0.0):
    rng = np.random.default_rng(seed)
    values = rng.normal(size=(rows, 8))
    values[:, 1] = correlation * values[:, 0] + np.sqrt(1 - correlation**2) * values[:, 1]
    values[:, 2] += shift
    columns = {f"x{i}": values[:, i] for i in range(8)}
    return pa.table(
        columns | {"plan": rng.choice(["a", "b", "c"], rows), "city": rng.integers(0, 40, rows).astype(str)}
    )


def test_healthy_batches_are_told_apart_no_more_often_than_stated():
    p_values = np.array([tell_apart(batch(s, 400), batch(10_000 + s, 300))["p_value"] for s in range(100)])

    assert (p_values <= 0.05).mean() <= 0.05 + 3 * (0.05 * 0.95 / 100) ** 0.5
    assert (p_values <= 0.01).sum() <= 4  # 1 expected
    assert (p_values > 0.5).mean() > 0.25  # the test is not idle: chance goes both ways


def test_a_correlation_that_turns_round_is_found_though_no_column_moved():
    from scipy.stats import ks_2samp

    found = 0
    for seed in range(20):
        reference, current = batch(seed, correlation=0.6), batch(500 + seed, correlation=-0.6)
        verdict = judge_classifier(tell_apart(reference, current))
        found += verdict.is_fail and verdict.evidence["contributors"][0]["term"] == "x0 with x1"
    same = [ks_2samp(reference[f"x{i}"].to_numpy(), current[f"x{i}"].to_numpy()).pvalue for i in range(8)]

    assert found >= 19
    assert min(same) > 0.001


def test_an_association_of_two_categories_is_found():
    rng = np.random.default_rng(3)
    plan, city = rng.choice(["a", "b"], 2000), rng.choice(["x", "y"], 2000)
    reference = pa.table({"plan": plan, "city": city})
    current = pa.table({"plan": plan, "city": np.where(rng.random(2000) < 0.5, np.where(plan == "a", "x", "y"), city)})

    verdict = judge_classifier(tell_apart(reference, current))

    assert verdict.is_fail
    assert verdict.evidence["contributors"][0]["columns"] == ["city", "plan"]


def test_a_moved_column_is_named():
    evidence = tell_apart(batch(1), batch(2, shift=0.5))

    assert judge_classifier(evidence).is_fail
    assert evidence["contributors"][0]["term"] == "x2"
    assert 0.5 < evidence["contributors"][0]["share"] <= 1


def test_a_difference_too_small_to_matter_is_no_drift():
    verdict = judge_classifier(tell_apart(batch(1, 10_000), batch(2, 10_000, shift=0.12)))

    assert verdict.is_pass
    assert verdict.reason.startswith("the difference is real but small")


def test_a_change_of_what_is_missing_is_found():
    rng = np.random.default_rng(5)
    values = rng.normal(size=3000)
    reference = pa.table({"x": values})
    current = pa.table({"x": pa.array(np.where(rng.random(3000) < 0.2, np.nan, values), from_pandas=True)})

    evidence = tell_apart(reference, current)

    assert judge_classifier(evidence).is_fail
    assert evidence["contributors"][0]["term"] == "x is missing"


@pytest.mark.parametrize(("rows_reference", "rows_current"), [(0, 500), (500, 0), (99, 500), (500, 99)])
def test_too_few_rows_are_inconclusive(rows_reference, rows_current):
    verdict = judge_classifier(tell_apart(batch(1, rows_reference), batch(2, rows_current)))

    assert verdict.outcome == "inconclusive"
    assert "fewer than 100" in verdict.reason


def test_columns_that_cannot_be_weighed_are_named_and_never_pass():
    ids = pa.table({"id": [f"r{i}" for i in range(400)], "one": ["same"] * 400, "list": [[1]] * 400})

    evidence = tell_apart(ids, ids)

    assert evidence["skipped"] == ["list", "id", "one"]
    assert judge_classifier(evidence).outcome == "inconclusive"


def test_columns_of_another_type_or_missing_are_left_to_the_column_tests():
    reference = batch(1)
    current = batch(2).drop(["x0"]).set_column(0, "x1", pa.array(["text"] * 1000))

    evidence = tell_apart(reference, current)

    assert {"x0", "x1"} <= set(evidence["skipped"])
    assert not {"x0", "x1"} & set(evidence["columns"])


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (pa.int64(), pa.float32()),
        (pa.int32(), pa.decimal128(21, 2)),
        (pa.timestamp("s"), pa.timestamp("ns", tz="UTC")),
        (pa.date32(), pa.timestamp("us")),
        (pa.duration("s"), pa.duration("ns")),
    ],
)
def test_columns_stored_otherwise_are_weighed_all_the_same(before, after):
    def stored(kind, rng):
        days = pa.array(rng.integers(0, 9, 500))
        seconds = pa.types.is_timestamp(kind) or pa.types.is_duration(kind)
        if pa.types.is_date(kind):
            return days.cast(pa.int32()).cast(kind)
        if seconds:
            return pa.array(days.to_numpy() * 86_400).cast(type_in_seconds(kind)).cast(kind)
        return days.cast(kind)

    def type_in_seconds(kind):
        return pa.timestamp("s", tz=kind.tz) if pa.types.is_timestamp(kind) else pa.duration("s")

    rng = np.random.default_rng(1)
    evidence = tell_apart(pa.table({"x": stored(before, rng)}), pa.table({"x": stored(after, rng)}))

    assert evidence["columns"] == ["x"]
    assert judge_classifier(evidence).is_pass


def test_text_stored_otherwise_is_weighed_all_the_same():
    plans = ["free", "pro"] * 300
    kinds = [pa.string(), pa.large_string(), pa.string_view(), pa.dictionary(pa.int8(), pa.string())]
    for kind in kinds[1:]:
        evidence = tell_apart(pa.table({"x": pa.array(plans)}), pa.table({"x": pa.array(plans).cast(kind)}))
        assert evidence["columns"] == ["x"]
        assert judge_classifier(evidence).is_pass


def test_every_kind_of_column_is_weighed():
    n = 300
    table = pa.table(
        {
            "flag": pa.array([True, False, None] * 100),
            "code": pa.array([1, 2, 3] * 100).dictionary_encode(),
            "day": pa.array(np.arange(n), pa.int32()).cast(pa.date32()),
            "at": pa.array(np.arange(n), pa.timestamp("us", tz="UTC")),
            "price": pa.array(range(n)).cast(pa.decimal128(21, 2)),
            "big": pa.array(np.arange(n) + 2**62),
            "x": pa.array(np.r_[np.inf, -np.inf, np.arange(n - 2)]),
        }
    )

    terms = terms_of(table, {})

    assert set(terms.owners) == set(table.column_names)
    assert terms.skipped == ()
    assert np.isfinite(terms.matrix).all()
    assert np.allclose(terms.matrix.std(axis=0), 1)


def test_large_tables_are_sampled_the_same_way_each_time():
    reference, current = batch(1, 3000), batch(2, 3000, shift=0.2)

    first, again = (tell_apart(reference, current, most_rows=500) for _ in range(2))

    assert first == again
    assert (first["rows_reference"], first["rows_current"]) == (500, 500)


def test_of_a_very_wide_table_fewer_rows_are_weighed():
    def wide(seed):
        values = np.random.default_rng(seed).normal(size=(1200, 600))
        return pa.table({f"c{i}": values[:, i] for i in range(600)})

    evidence = tell_apart(wide(1), wide(2))

    assert evidence["rows_reference"] == 1000
    assert judge_classifier(evidence).is_pass


def test_only_the_columns_asked_for_are_weighed():
    assert judge_classifier(tell_apart(batch(1), batch(2, shift=1.0), columns=["x0", "x1"])).is_pass


def test_an_unknown_declared_type_is_refused():
    with pytest.raises(ProjectError) as refused:
        tell_apart(batch(1), batch(2), types={"x0": "numerical"})
    assert refused.value.code == "PROJ-36"


def test_mann_whitney_equals_scipy():
    from scipy.stats import mannwhitneyu

    rng = np.random.default_rng(0)
    for _ in range(30):
        scores = rng.integers(0, 6, 60).astype(float)
        side = rng.random(60) < 0.4
        expected = mannwhitneyu(scores[side], scores[~side], use_continuity=False, method="asymptotic")
        area, spread = mann_whitney(scores, side)
        pairs = side.sum() * (~side).sum()
        assert area == pytest.approx(expected.statistic / pairs, abs=1e-12)
        if spread:
            from scipy.stats import norm

            assert 2 * norm.sf(abs(area - 0.5) / spread) == pytest.approx(expected.pvalue, abs=1e-9)


def test_normal_scores_of_nothing_and_of_ties():
    assert normal_scores(np.array([]), np.zeros(0, bool)).tolist() == []
    assert normal_scores(np.array([]), np.zeros(2, bool)).tolist() == [0, 0]
    assert normal_scores(np.array([7.0, 7.0]), np.array([True, True, False])).tolist() == [0, 0, 0]
