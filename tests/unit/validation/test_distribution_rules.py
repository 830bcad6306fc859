"""The divergence of a distribution: categories, bins, holdouts, tails; figures checked by hand or against scipy."""

import math

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from scipy import stats

from millrace.validation.engine import validate
from millrace.validation.suite import Suite

INF, NAN = float("inf"), float("nan")
TABLE = pa.table(
    {
        "s": ["a", "b", None, "d", "a"],
        "x": [1.0, 2.0, NAN, 4.0, 2.0],
        "n": pa.array([1, 1, 2, 3, 4], pa.int8()),
        "flag": [True, False, True, True, None],
        "none": pa.nulls(5),
    }
)


def run(column, partition=None, threshold=0.1, table=TABLE, **more):
    suite = Suite("one").expect_column_kl_divergence_to_be_less_than(column, partition, threshold, **more)
    result = validate(table, suite)
    result.to_json_dict()
    return result.results[0]


def parts(result):
    details = result.result["details"]
    return details["observed_partition"], details["expected_partition"]


def test_categories_that_were_not_expected_make_it_infinite():
    result = run("s", {"values": ["a", "b"], "weights": [0.5, 0.5]})

    assert not result.success
    assert result.result["observed_value"] is None
    observed, expected = parts(result)
    assert observed == {"values": ["a", "b", "d"], "weights": [0.5, 0.25, 0.25]}
    assert expected == {"values": ["a", "b", "d"], "weights": [0.5, 0.5, 0.0]}
    assert "infinite" in result.observed


def test_a_holdout_is_for_categories_that_were_not_expected():
    result = run("s", {"values": ["a", "b"], "weights": [0.5, 0.5]}, 0.13480627457192216, tail_weight_holdout=0.1)

    assert result.success
    assert result.result["observed_value"] == pytest.approx(0.13480627457192215, abs=1e-15)
    assert parts(result)[1]["weights"] == [0.45, 0.45, 0.1]
    none_left = run("s", {"values": ["a", "b", "d"], "weights": [0.5, 0.25, 0.25]}, 0, tail_weight_holdout=0.1)
    assert none_left.success
    assert none_left.result["observed_value"] == 0


def test_categories_that_do_not_occur_weigh_nothing():
    result = run("s", {"values": ["a", "b", "d", "z"], "weights": [0.4, 0.2, 0.2, 0.2]}, 1)

    assert result.result["observed_value"] == pytest.approx(stats.entropy([0.5, 0.25, 0.25, 0], [0.4, 0.2, 0.2, 0.2]))
    assert parts(result)[0]["weights"] == [0.5, 0.25, 0.25, 0]


def test_numbers_and_truths_are_categories_too():
    assert run("x", {"values": [1, 2, 4], "weights": [0.25, 0.5, 0.25]}, 0).success
    assert run("n", {"values": [1, 2, 3, 4], "weights": [0.4, 0.2, 0.2, 0.2]}, 0).success
    assert run("flag", {"values": [True, False], "weights": [0.75, 0.25]}, 0).success
    assert not run("n", {"values": ["1", "2", "3", "4"], "weights": [0.4, 0.2, 0.2, 0.2]}, 0.1).success


def test_bins_hold_their_lower_edge_and_the_last_both():
    result = run("x", {"bins": [1, 2, 4], "weights": [0.25, 0.75]}, 0)

    assert result.success
    observed, expected = parts(result)
    assert observed == {"bins": [1, 2, 4], "weights": [0.25, 0.75], "tail_weights": [0, 0]}
    assert expected == {"bins": [1, 2, 4], "weights": [0.25, 0.75], "tail_weights": [0, 0]}


def test_values_outside_of_the_bins_need_a_holdout():
    outside = run("x", {"bins": [0, 1, 2, 3], "weights": [0.2, 0.3, 0.5]})
    assert outside.result["observed_value"] is None
    assert not outside.success

    held = run(
        "x",
        {"bins": [0, 1, 2, 3], "weights": [0, 0.5, 0.5]},
        2,
        tail_weight_holdout=0.1,
        internal_weight_holdout=0.1,
    )
    assert held.success
    observed, expected = parts(held)
    assert expected["weights"] == pytest.approx([0.1, 0.4, 0.4])
    assert expected["tail_weights"] == [0.05, 0.05]
    assert observed["weights"] == [0, 0.25, 0.5]
    assert held.result["observed_value"] == pytest.approx(
        stats.entropy([0, 0, 0.25, 0.5, 0.25], [0.05, 0.1, 0.4, 0.4, 0.05]), abs=1e-15
    )


def test_tails_of_the_partition_itself():
    partition = {"bins": [0, 1, 2, 3], "weights": [0.2, 0.2, 0.4], "tail_weights": [0.1, 0.1]}
    result = run("x", partition, 10)

    assert result.result["observed_value"] == pytest.approx(0.39643034645419606, abs=1e-15)
    assert "does not go with tail_weights" in run("x", partition, 1, tail_weight_holdout=0.1).problem


@pytest.mark.parametrize(
    ("bins", "weights", "tail", "inner", "tails"),
    [
        ([-INF, 1, 2, INF], [0.2, 0.3, 0.5], 0, [1, 2], [0.2, 0.5]),
        ([-INF, 1, 2], [0.6, 0.4], 0.1, [1, 2], [0.54, 0.1]),
        ([1, 2, INF], [0.6, 0.4], 0.1, [1, 2], [0.1, 0.36]),
    ],
)
def test_open_bins_are_the_tails(bins, weights, tail, inner, tails):
    result = run("x", {"bins": bins, "weights": weights}, 5, tail_weight_holdout=tail)

    observed, expected = parts(result)
    assert expected["bins"] == observed["bins"] == inner
    assert expected["tail_weights"] == pytest.approx(tails)
    assert sum(observed["weights"]) + sum(observed["tail_weights"]) == pytest.approx(1)


@pytest.mark.parametrize("size", [4, 30, 400])
def test_without_a_partition_the_column_is_compared_with_itself(size):
    values = np.random.default_rng(3).normal(size=size).round(2)
    result = run("x", None, 0.05, table=pa.table({"x": values}))

    observed, expected = parts(result)
    assert result.success
    assert result.result["observed_value"] == pytest.approx(0, abs=1e-12)
    assert observed["weights"] == expected["weights"]
    quarters = np.quantile(values, [0, 0.25, 0.75, 1], method="nearest")
    width = 2 * (quarters[2] - quarters[1]) / size ** (1 / 3)
    number = max(math.ceil(math.log2(size + 1)), math.ceil((quarters[3] - quarters[0]) / width))
    assert observed["bins"] == pytest.approx(np.linspace(quarters[0], quarters[3], number + 1))
    assert observed["weights"] == pytest.approx(np.histogram(values, observed["bins"])[0] / size)


def test_without_a_partition_and_bins_every_value_is_a_category():
    result = run("s", None, None, bucketize_data=False)

    assert result.success
    assert result.result["observed_value"] == 0
    assert parts(result)[0] == {"values": ["a", "b", "d"], "weights": [0.5, 0.25, 0.25]}


def test_without_a_threshold_nothing_is_demanded():
    assert run("s", {"values": ["q"], "weights": [1]}, None).success


def test_a_column_without_values_has_no_distribution():
    for partition in ({"values": ["a"], "weights": [1]}, {"bins": [0, 1], "weights": [1]}):
        result = run("none", partition)
        assert not result.success
        assert result.result["observed_value"] is None
    for more in ({}, {"bucketize_data": False}):
        result = run("none", None, **more)
        assert not result.success
        assert "no value" in result.problem


@pytest.mark.parametrize(
    ("column", "partition", "more", "words"),
    [
        ("x", {"bins": [0, 1, 2], "weights": [0.5, 0.4]}, {}, "is no distribution"),
        ("x", {"bins": [0, 2, 1], "weights": [0.5, 0.5]}, {}, "is no distribution"),
        ("x", {"bins": [0, 1], "weights": [0.5, 0.5]}, {}, "is no distribution"),
        ("x", {"bins": ["a", "b"], "weights": [1]}, {}, "is no distribution"),
        ("x", {"values": [1], "weights": [0.5]}, {}, "is no distribution"),
        ("x", {"weights": [1]}, {}, "is no distribution"),
        ("s", {"bins": [0, 1], "weights": [1]}, {}, "bins need numbers"),
        ("s", None, {}, "needs numbers"),
        ("s", {"values": ["a", "a"], "weights": [0.5, 0.5]}, {}, "names a value twice"),
        ("x", {"bins": [0, 1], "weights": [1]}, {"bucketize_data": False}, "does not go with"),
        ("s", {"values": ["a"], "weights": [1]}, {"internal_weight_holdout": 0.1}, "does not go with"),
        ("x", {"bins": [-INF, 0, INF], "weights": [0.5, 0.5]}, {"tail_weight_holdout": 0.1}, "open on both sides"),
        ("x", {"bins": [-INF, 0], "weights": [0.5], "tail_weights": [0.2, 0.3]}, {}, "do not go with bins"),
        ("x", {"bins": [0, 1], "weights": [1]}, {"threshold": -1}, "less than 0"),
    ],
)
def test_what_is_no_distribution_is_refused(column, partition, more, words):
    result = run(column, partition, **more)

    assert not result.success
    assert words in result.problem


def test_a_distribution_over_some_rows():
    result = run("s", {"values": ["a"], "weights": [1]}, 0, row_condition="s == 'a'")

    assert result.success


def test_values_of_many_kinds_are_no_levels():
    table = pd.DataFrame({"m": pd.Series([1, "a", True], dtype=object)})

    result = run("m", {"values": [1, "a"], "weights": [0.5, 0.5]}, 1, table=table)

    assert result.is_unsupported


def test_more_bins_than_anyone_reads_are_refused():
    values = np.r_[np.random.default_rng(1).normal(size=1000), 1e9]

    result = run("x", None, 1, table=pa.table({"x": values}))

    assert result.is_unsupported
    assert "bins" in result.problem
