"""Whatever two tables hold, a comparison ends with a known outcome and clean JSON, the same against a profile."""

import json
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pyarrow as pa
from hypothesis import given, settings
from hypothesis import strategies as st

from millrace.core.ids import canonical_json
from millrace.drift.compare import compare
from millrace.drift.profile import ReferenceProfile
from millrace.drift.report import DriftReport

START = datetime(2024, 1, 1, tzinfo=UTC)
VALUES = {
    pa.int8(): st.integers(-128, 127),
    pa.int64(): st.integers(-(2**63), 2**63 - 1),
    pa.uint64(): st.integers(0, 2**64 - 1),
    pa.float32(): st.floats(width=32),
    pa.float64(): st.floats(),
    pa.bool_(): st.booleans(),
    pa.string(): st.text(max_size=3),
    pa.large_string(): st.sampled_from(["a", "b", "", "é"]),
    pa.string_view(): st.sampled_from(["x", "y"]),
    pa.dictionary(pa.int8(), pa.string()): st.sampled_from(["x", "y", "z"]),
    pa.decimal128(12, 3): st.integers(-999_999, 999_999).map(lambda v: Decimal(v) / 1000),
    pa.timestamp("ns"): st.integers(0, 10**18).map(lambda v: v),
    pa.timestamp("us", tz="Europe/Berlin"): st.integers(0, 10**9).map(lambda s: START + timedelta(seconds=s)),
    pa.date32(): st.integers(-(10**5), 10**5),
    pa.time64("ns"): st.integers(0, 86_399_999_999_999),
    pa.duration("s"): st.integers(-(10**12), 10**12),
    pa.null(): st.none(),
    pa.list_(pa.int8()): st.lists(st.integers(0, 3), max_size=2),
    pa.binary(): st.binary(max_size=2),
    pa.struct({"a": pa.int8()}): st.fixed_dictionaries({"a": st.integers(0, 3)}),
}


@st.composite
def columns(draw):
    kind = draw(st.sampled_from(list(VALUES)))
    values = draw(st.lists(st.one_of(VALUES[kind], st.none()), max_size=30)) * draw(st.sampled_from([1, 1, 7]))
    parts = [values[: len(values) // 2], values[len(values) // 2 :]]
    return pa.chunked_array([pa.array(part, kind) for part in parts], kind)


def rebuilt(report):
    return DriftReport.from_dict(json.loads(canonical_json(report.to_dict())))


@settings(max_examples=150, deadline=None)
@given(
    columns(),
    columns(),
    st.booleans(),
    st.sampled_from([None, None, "numeric", "categorical", "temporal", "identifier"]),
)
def test_any_two_columns(reference, current, is_same, declared):
    before = pa.table({"x": reference})
    after = before if is_same else pa.table({"x": current})
    types = {"x": declared} if declared else None
    on_table = compare(before, after, types=types, min_rows=5)
    profile = ReferenceProfile.from_bytes(ReferenceProfile.of(before, types=types).to_bytes())
    on_profile = compare(profile, after, min_rows=5)
    for report in (on_table, on_profile):
        (column,) = report.columns
        assert column.outcome in ("ok", "drift", "insufficient", "error")
        assert rebuilt(report).columns == report.columns
        if min(len(reference), len(after["x"])) < 5:
            assert column.outcome in ("insufficient", "error")
        if column.outcome == "ok" and column.kind != "identifier":
            assert min(column.n_reference, column.n_current) >= 5
            assert column.p_value is not None
        if is_same:
            assert column.outcome != "drift"
            assert column.p_value in (None, 1.0) or column.test == "permutation"
    assert on_profile["x"].outcome == on_table["x"].outcome
    assert on_profile["x"].kind == on_table["x"].kind
