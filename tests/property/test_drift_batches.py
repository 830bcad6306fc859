"""Whatever a batch and a model's answers hold, an assessment ends with known outcomes, clean JSON and a sound page."""

import json
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pyarrow as pa
from hypothesis import given, settings
from hypothesis import strategies as st

from millrace.core.ids import canonical_json
from millrace.drift.batch import Answers, assess
from millrace.drift.report import DriftReport

START = datetime(2024, 1, 1, tzinfo=UTC)
VALUES = {
    pa.int64(): st.integers(-(2**63), 2**63 - 1),
    pa.uint64(): st.integers(0, 2**64 - 1),
    pa.float32(): st.floats(width=32),
    pa.float64(): st.floats(),
    pa.bool_(): st.booleans(),
    pa.string(): st.text(max_size=3),
    pa.string_view(): st.sampled_from(["x", "y"]),
    pa.dictionary(pa.int8(), pa.string()): st.sampled_from(["x", "y", "z"]),
    pa.decimal128(12, 3): st.integers(-999_999, 999_999).map(lambda v: Decimal(v) / 1000),
    pa.timestamp("us", tz="Europe/Berlin"): st.integers(0, 10**9).map(lambda s: START + timedelta(seconds=s)),
    pa.date32(): st.integers(-(10**5), 10**5),
    pa.time64("ns"): st.integers(0, 86_399_999_999_999),
    pa.duration("s"): st.integers(-(10**12), 10**12),
    pa.null(): st.none(),
    pa.list_(pa.int8()): st.lists(st.integers(0, 3), max_size=2),
}
OUTCOMES = {"pass", "fail", "inconclusive"}


def column(draw, kind, rows):
    few = draw(st.lists(st.one_of(VALUES[kind], st.none()), min_size=1, max_size=6))
    values = (few * (rows // len(few) + 1))[:rows]
    return pa.chunked_array([pa.array(values[: rows // 2], kind), pa.array(values[rows // 2 :], kind)], kind)


@st.composite
def batches(draw):
    """Two tables of the same columns, mostly of the same types."""
    kinds = draw(st.lists(st.sampled_from(list(VALUES)), min_size=1, max_size=4))
    tables = []
    for _ in range(2):
        rows = draw(st.sampled_from([0, 3, 12, 40]))
        own = [draw(st.sampled_from(list(VALUES))) if draw(st.integers(0, 3)) == 0 else kind for kind in kinds]
        tables.append(pa.table({f"c{i}": column(draw, kind, rows) for i, kind in enumerate(own)}))
    return tables


@settings(max_examples=60, deadline=None)
@given(batches())
def test_any_two_tables(tables):
    report = assess(*tables, min_rows=5)
    again = DriftReport.from_dict(json.loads(canonical_json(report.to_dict())))

    assert report.verdict().outcome in OUTCOMES
    assert again.verdict() == report.verdict()
    assert [verdict.outcome for verdict in again.verdicts()] == [verdict.outcome for verdict in report.verdicts()]
    classifier = report.parts["classifier"]
    if min(table.num_rows for table in tables) < 5:
        assert classifier.outcome == "inconclusive"
        assert not report.verdict().is_pass
    assert report.to_html().endswith("</html>\n")


def scores(size):
    known = st.lists(st.floats(0, 1), min_size=size, max_size=size)
    odd = st.lists(st.floats(), max_size=size + 1)
    return st.one_of(known, known, known, odd)


@st.composite
def answers(draw, classes):
    rows = draw(st.sampled_from([0, 30, 120, 300]))
    few = draw(st.lists(st.tuples(st.sampled_from([*classes, "?"]), scores(len(classes))), min_size=1, max_size=5))
    several = (few * rows)[:rows]
    return Answers(
        [output for output, _ in several],
        [row for _, row in several] if draw(st.booleans()) else None,
        [classes[i % len(classes)] for i in range(rows)] if draw(st.booleans()) else None,
    )


@settings(max_examples=60, deadline=None)
@given(st.data(), st.sampled_from([["a", "b"], ["a", "b", "c"], [0, 1]]))
def test_any_answers(data, classes):
    table = pa.table({"x": list(range(10)) * 30})
    before, after = data.draw(answers(classes)), data.draw(answers(classes))

    report = assess(table, table, before=before, after=after, classes=classes, with_classifier=False)

    canonical_json(report.to_dict())
    assert {part.outcome for part in report.parts.values()} <= OUTCOMES
    if min(len(before.outputs), len(after.outputs)) < 100:
        assert report.parts["scores"].outcome == "inconclusive"


@settings(max_examples=40, deadline=None)
@given(st.lists(st.floats(), min_size=100, max_size=130), st.lists(st.floats(), min_size=100, max_size=130))
def test_any_answers_of_a_regression(before, after):
    table = pa.table({"x": list(range(10)) * 30})

    report = assess(table, table, before=Answers(before), after=Answers(after), with_classifier=False)

    canonical_json(report.to_dict())
    assert report.parts["scores"].outcome in OUTCOMES
