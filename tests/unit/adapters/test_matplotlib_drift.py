"""A picture of drift is drawn whatever the columns are called, and however many there are."""

import warnings

import numpy as np
import pyarrow as pa
import pytest

from millrace.core.plugins import load_plugin
from millrace.drift.compare import compare


def table(seed, names):
    rng = np.random.default_rng(seed)
    return pa.table([pa.array(rng.normal(size=200)) for _ in names], names=list(names))


@pytest.mark.parametrize(
    "names",
    [
        [],
        ["x"],
        ["$x_{", "a\x00b", "tab\there", "a name much longer than what fits above so small a picture", "<b>"],
        [f"c{i}" for i in range(30)],
    ],
)
def test_a_png_is_drawn(names):
    report = compare(table(1, names), table(2, names))

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        image = load_plugin("plots", "drift")(report, title="a\x1b[31m $b_{")

    assert image[:8] == b"\x89PNG\r\n\x1a\n"


def test_levels_times_and_what_cannot_be_tested_are_drawn_too():
    then = pa.table(
        {
            "plan": ["a", "b"] * 100,
            "city": [str(i % 50) for i in range(200)],
            "at": pa.array(np.arange(200), pa.timestamp("us", tz="UTC")),
            "void": pa.nulls(200),
        }
    )

    assert load_plugin("plots", "drift")(compare(then, then), title="batch")[:4] == b"\x89PNG"


def test_what_has_no_picture_is_named_above_them():
    from millrace.adapters.matplotlib_drift import _headline

    then = pa.table({"kept": np.arange(200) / 2, "gone": ["a"] * 200, "void": pa.nulls(200), "lost": [1.0] * 200})
    now = pa.table(
        {"kept": np.arange(200) / 2, "void": pa.nulls(200), "lost": pa.nulls(200, pa.float64()), "b\x07": [1] * 200}
    )

    whole = compare(then, now)
    chosen = compare(then, now, columns=["kept"])

    assert _headline(whole, "now", 0).splitlines()[1:] == [
        "drift: lost",
        "error: gone",
        "insufficient: void",
        "new: b\\x07",
    ]
    assert _headline(chosen, "now", 0).splitlines()[1:] == ["new: b\\x07", "gone: gone"]
    many = compare(pa.table({f"c{i}": ["a"] * 200 for i in range(9)}), pa.table({"d": ["a"] * 200}))
    assert "error: c0, c1, c2, c3, c4, c5 and 3 more" in _headline(many, "now", 0)
    for report in (whole, chosen, many):
        assert load_plugin("plots", "drift")(report, title="now")[:4] == b"\x89PNG"
