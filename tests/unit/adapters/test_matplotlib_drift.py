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
