"""The engine's counts are those of a plain loop over the rows, for any numbers, missing values and bounds."""

import math
from collections import Counter

import pyarrow as pa
from hypothesis import given, settings
from hypothesis import strategies as st

from millrace.validation.engine import validate
from millrace.validation.suite import Suite

NUMBERS = st.none() | st.just(math.nan) | st.just(math.inf) | st.integers(-4, 4).map(float) | st.floats(-4, 4, width=32)


@given(
    values=st.lists(NUMBERS, min_size=1, max_size=25),
    bounds=st.tuples(st.integers(-4, 4), st.integers(-4, 4)).map(sorted),
    strict=st.tuples(st.booleans(), st.booleans()),
    mostly=st.sampled_from([0.0, 0.3, 0.5, 0.9, 1.0]),
)
@settings(max_examples=150, deadline=None)
def test_counts_equal_a_plain_loop(values, bounds, strict, mostly):
    table = pa.table({"x": pa.array(values, pa.float64())})
    suite = (
        Suite("one")
        .expect_column_values_to_be_between("x", *bounds, strict_min=strict[0], strict_max=strict[1], mostly=mostly)
        .expect_column_values_to_be_in_set("x", [*bounds], mostly=mostly)
        .expect_column_values_to_be_unique("x", mostly=mostly)
        .expect_column_values_to_not_be_null("x", mostly=mostly)
    )
    present = [value for value in values if value is not None and not math.isnan(value)]
    low, high = bounds
    outside = [
        value
        for value in present
        if (value <= low if strict[0] else value < low) or (value >= high if strict[1] else value > high)
    ]
    others = [value for value in present if value not in bounds]
    times = Counter(present)
    repeated = [value for value in present if times[value] > 1]
    missing = len(values) - len(present)

    found = validate(table, suite)

    expected = [
        (outside, len(present)),
        (others, len(present)),
        (repeated, len(present)),
        ([None] * missing, len(values)),
    ]
    for result, (wrong, total) in zip(found.results, expected, strict=True):
        assert result.result["unexpected_count"] == len(wrong), result.expectation.type
        assert result.success is (total == 0 or (total - len(wrong)) / total >= mostly)
        shown = [None if value is None else ("Infinity" if value == math.inf else value) for value in wrong][:20]
        assert result.result["partial_unexpected_list"] == shown
