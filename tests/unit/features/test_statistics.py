"""Statistics of feature values, against values worked out by hand."""

from datetime import timedelta

import pyarrow as pa
import pytest
from orders_shop import day, make_source

from millrace.core.ids import canonical_json
from millrace.features import aggregation as mr
from millrace.features.columns import TIME
from millrace.features.statistics import column_statistics, view_statistics
from millrace.features.view import FeatureView


def of(values, kind):
    return column_statistics(pa.chunked_array([pa.array(values, kind)]))


def test_numbers():
    facts = of([4, 1, None, 3, 2], pa.int64())

    assert (facts["type"], facts["rows"], facts["null_share"], facts["distinct"]) == ("int", 5, 0.2, 4)
    assert (facts["min"], facts["max"], facts["mean"], facts["quantiles"]["0.5"]) == (1, 4, 2.5, 2.5)
    assert facts["std"] == pytest.approx(1.2909944487358056)


def test_large_integers_are_exact():
    assert of([2**53 + 1, 2**53 + 1], pa.int64())["max"] == 2**53 + 1


def test_texts_and_booleans_have_most_frequent_values():
    assert of(["b", "a", "b", None], pa.string())["top"] == [["b", 2], ["a", 1]]
    assert of([True, False, True], pa.bool_())["top"] == [[True, 2], [False, 1]]


def test_times_have_a_first_and_a_last():
    facts = of([day(2), day(1), None], TIME)

    assert (facts["min"], facts["max"]) == ("2024-01-02T00:00:00.000000Z", "2024-01-03T00:00:00.000000Z")


@pytest.mark.parametrize(
    ("values", "kind"),
    [
        ([], pa.float64()),
        ([None], pa.int64()),
        ([], pa.string()),
        ([None], pa.null()),
        ([], TIME),
        ([1.5], pa.float64()),
        ([[1], None], pa.list_(pa.int64())),
        ([float("inf"), 1.0], pa.float64()),
    ],
)
def test_odd_columns_have_statistics_that_a_ledger_takes(values, kind):
    facts = of(values, kind)

    assert facts["rows"] == len(values)
    assert canonical_json(facts)


def test_a_view_s_values_are_those_of_each_key_at_the_moment(make_store, customer):
    log = pa.table(
        {
            "customer_id": [1, 1, 2, 3],
            "ts": pa.array([day(1), day(2), day(2), day(9)], TIME),
            "amount": [1.0, 2.0, 5.0, 7.0],
        }
    )
    view = FeatureView("v", entity=customer, source=make_source(), features={"spend": mr.sum("amount")})

    facts = view_statistics(make_store(view, log), view, day(2) + timedelta(hours=1))["spend"]

    assert (facts["rows"], facts["null_share"], facts["min"], facts["max"]) == (3, pytest.approx(1 / 3), 3.0, 5.0)
    assert facts["is_sample"] is False
