"""The arithmetic of windows: a segment's result depends on its values alone."""

from __future__ import annotations

import struct
from typing import Any

import numpy as np
import pytest

from millrace.features.aggregate import aggregate, chunks, expand

KINDS = ["sum", "mean", "min", "max", "std", "count"]


def segments(*pairs: tuple[int, int]) -> tuple[Any, Any]:
    starts, ends = zip(*pairs, strict=True)
    return np.array(starts, dtype=np.int64), np.array(ends, dtype=np.int64)


def test_overlapping_empty_and_unordered_segments() -> None:
    values = np.array([1, 2, 3, 4], dtype=np.int64)
    starts, ends = segments((0, 4), (2, 2), (1, 3), (3, 4), (0, 1), (4, 4), (0, 0))

    results = {kind: aggregate(kind, values, starts, ends) for kind in KINDS}

    assert results["sum"][0].tolist() == [10, 0, 5, 4, 1, 0, 0]
    assert results["max"][0].tolist() == [4, 0, 3, 4, 1, 0, 0]
    assert results["mean"][0][[0, 2]].tolist() == [2.5, 2.5]
    assert results["std"][1].tolist() == [True, False, True, False, False, False, False]
    assert results["count"][0].tolist() == [4, 0, 2, 1, 1, 0, 0]
    assert results["count"][1].all()
    for kind in ("sum", "min", "max", "mean"):
        assert results[kind][1].tolist() == [True, False, True, True, True, False, False]


@pytest.mark.parametrize("kind", KINDS)
def test_no_values_and_no_segments(kind: Any) -> None:
    nothing = np.empty(0, dtype=np.float64)
    none = np.empty(0, dtype=np.int64)

    assert len(aggregate(kind, nothing, none, none)[0]) == 0
    assert aggregate(kind, nothing, *segments((0, 0)))[1].tolist() == [kind == "count"]


@pytest.mark.parametrize("kind", KINDS)
def test_a_segment_has_the_same_bits_alone_and_among_others(kind: Any) -> None:
    dice = np.random.default_rng(3)
    values = dice.normal(size=3000) * 10.0 ** dice.integers(-12, 12, 3000)
    bounds = np.sort(dice.integers(0, 3001, (400, 2)), axis=1)
    starts, ends = bounds[:, 0].astype(np.int64), bounds[:, 1].astype(np.int64)

    together, _ = aggregate(kind, values, starts, ends)

    for begin, end, result in zip(starts, ends, together, strict=True):
        alone, _ = aggregate(kind, values[begin:end].copy(), *segments((0, int(end - begin))))
        assert alone.tobytes() == result.tobytes()


@pytest.mark.parametrize("kind", ["min", "max"])
def test_of_two_zeros_the_result_does_not_tell_the_order(kind: Any) -> None:
    for values in ([0.0, -0.0], [-0.0, 0.0], [-0.0]):
        results, _ = aggregate(kind, np.array(values), *segments((0, len(values))))
        assert struct.pack("<d", results[0]) == struct.pack("<d", 0.0)


def test_what_is_not_a_number_is_no_answer() -> None:
    values = np.array([np.inf, -np.inf, 1e308, 1e308])

    sums, is_valid = aggregate("sum", values, *segments((0, 2), (2, 4), (0, 1)))

    assert is_valid.tolist() == [False, True, True]
    assert sums[1:].tolist() == [np.inf, np.inf]
    assert aggregate("std", values, *segments((0, 2), (2, 4)))[1].tolist() == [False, True]


def test_expand_and_chunks() -> None:
    starts, ends = segments((5, 8), (2, 2), (0, 2))

    rows, bounds = expand(starts, ends)

    assert rows.tolist() == [5, 6, 7, 0, 1]
    assert bounds.tolist() == [0, 3, 3, 5]
    parts = chunks(np.array([3, 1, 0, 9, 2, 2]), 4)
    assert [part.start for part in parts[1:]] == [part.stop for part in parts[:-1]]
    assert (parts[0].start, parts[-1].stop) == (0, 6)
    assert chunks(np.empty(0, dtype=np.int64), 4) == []
