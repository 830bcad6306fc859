"""Frames that hypothesis makes: a column of every kind pandas users have, with the values that break things."""

from datetime import UTC, date, datetime, timedelta
from decimal import Decimal

import pandas as pd
from hypothesis import strategies as st

NAN, INF = float("nan"), float("inf")
TEXTS = [
    "",
    "a",
    "A",
    "ab",
    "abc",
    "b",
    "é",
    "日本",
    "😀",
    "12",
    "1",
    " 1",
    "x1",
    "a\nb",
    "NaN",
    "2024-01-31",
    "%",
    "a_c",
    "{}",
    "[1]",
]
TIMES = [
    datetime.fromisoformat(text)
    for text in (
        "2024-01-31T12:30:15",
        "2024-01-31T00:00:00",
        "1969-12-31T23:59:59",
        "2024-07-01T00:00:00.000001",
        "2100-01-01T00:00:00",
    )
]
WHOLE = st.integers(-3, 12)
REAL = st.sampled_from([0.0, -0.0, 1.0, 1.5, 2.0, -2.5, 0.1, 0.3, 3.0, 1e300, -1e-300, 7.25])


def _series(dtype, *pools):
    """Lists of values from the pools, as a pandas column of this type."""
    values = st.one_of(*(pool if isinstance(pool, st.SearchStrategy) else st.sampled_from(pool) for pool in pools))
    return dtype, values


KINDS = {
    "whole": _series("int64", WHOLE),
    "whole_or_missing": _series("float64", WHOLE, [NAN]),
    "real": _series("float64", REAL, [NAN]),
    "real_or_infinite": _series("float64", REAL, [NAN, INF, -INF]),
    "single": _series("float32", [0.0, 0.1, 1.5, -2.5, NAN, 16777216.0]),
    "extreme": _series("int64", [2**63 - 1, -(2**63), 2**53, 2**53 + 1, 0, 1, -1]),
    "unsigned": _series("uint64", [2**64 - 1, 2**63, 0, 1, 2]),
    "small": _series("int8", [-128, 127, 0, 1, 2]),
    "nullable": _series("Int64", WHOLE, [None, 2**53 + 1]),
    "truth": _series("bool", [True, False]),
    "truth_or_missing": _series("boolean", [True, False, None]),
    "text": _series("str", TEXTS, [None]),
    "object_text": _series("object", TEXTS, [None]),
    "mixed": _series("object", [1, 2, "1", "a", None, 2.5, True, NAN]),
    "time": _series("datetime64[us]", TIMES, [None]),
    "zoned": _series("datetime64[us, UTC]", [moment.replace(tzinfo=UTC) for moment in TIMES], [None]),
    "berlin": _series("datetime64[us, Europe/Berlin]", [moment.replace(tzinfo=UTC) for moment in TIMES], [None]),
    "date": _series("object", [date(2024, 1, 31), date(2023, 2, 28), date(2100, 1, 1), None]),
    "decimal": _series("object", [Decimal("1.10"), Decimal("2"), Decimal("0.1"), Decimal("-3.005"), None]),
    "category": _series("category", ["a", "b", "c", "é"], [None]),
    "missing": _series("float64", [NAN]),
    "none": _series("object", [None]),
    "span": _series("timedelta64[us]", [timedelta(0), timedelta(days=1), timedelta(seconds=-5), None]),
    "bytes": _series("object", [b"a", b"", b"\xff", None]),
}
NUMBERS = (
    "whole",
    "whole_or_missing",
    "real",
    "real_or_infinite",
    "single",
    "extreme",
    "unsigned",
    "small",
    "nullable",
    "decimal",
    "missing",
)
TEXTUAL = ("text", "object_text", "category")


@st.composite
def columns(draw, kinds, rows):
    """A kind and a column of it."""
    kind = draw(st.sampled_from(tuple(kinds)))
    dtype, values = KINDS[kind]
    found = draw(st.lists(values, min_size=rows, max_size=rows))
    return kind, pd.Series(found, dtype=dtype)


@st.composite
def frames(draw, kinds=tuple(KINDS), width=1, max_rows=7, min_rows=0):
    """A frame with columns a, b, ... of drawn kinds, and the kinds."""
    rows = draw(st.integers(min_rows, max_rows))
    found = [draw(columns(kinds, rows)) for _ in range(width)]
    names = "abcdefgh"[:width]
    return pd.DataFrame({name: column for name, (_, column) in zip(names, found, strict=True)}), [
        kind for kind, _ in found
    ]


def alike(kinds, width, **more):
    """Frames whose columns are all of one kind, drawn from these."""
    return st.sampled_from(tuple(kinds)).flatmap(lambda kind: frames((kind,), width, **more))
