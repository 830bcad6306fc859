"""Many windows at once, the longest and the most overlapping: the bits that each has alone."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from millrace.features import aggregate as arithmetic
from millrace.features import distinct

KINDS = ["sum", "mean", "min", "max", "std", "count_distinct"]


def made(name: str, rng: np.random.Generator, size: int) -> Any:
    values = {
        "few integers": rng.integers(-9, 9, size),
        "all integers": rng.integers(-(2**63), 2**63 - 1, size),
        "integers near the limit": rng.integers(2**62 - 9, 2**62, size),
        "floats": rng.normal(size=size) * 10.0 ** rng.integers(-12, 12, size),
        "whole floats": rng.integers(-9, 9, size) * 3.0 + 0.0,
        "zeros of both signs": rng.choice([0.0, -0.0, 1.0], size),
        "infinities": rng.choice([np.inf, -np.inf, 1.5], size, p=[0.01, 0.01, 0.98]),
        "large whole floats": rng.choice([2.0**52, 1.0, -(2.0**52)], size),
    }
    return values[name]


NAMES = [
    "few integers", "all integers", "integers near the limit", "floats", "whole floats", "zeros of both signs",
    "infinities", "large whole floats",
]  # fmt: skip


@pytest.mark.parametrize("worth", [True, False])
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", NAMES)
def test_many_segments_have_the_bits_that_each_has_alone(
    kind: Any, name: str, worth: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(distinct, "is_worth_it", lambda *_: worth)
    rng = np.random.default_rng(len(name))
    for size in (1, 2, 3, 64, 500):
        values = made(name, rng, size)
        bounds = np.sort(rng.integers(0, size + 1, (100, 2)), axis=1).astype(np.int64)
        starts, ends = np.ascontiguousarray(bounds[:, 0]), np.ascontiguousarray(bounds[:, 1])
        given = (values + values.dtype.type(0)).view(np.int64) if kind == "count_distinct" else values

        results, is_valid = arithmetic.aggregate(kind, given, starts, ends)

        many = [one if valid else None for one, valid in zip(results.tolist(), is_valid.tolist(), strict=True)]
        alone = [arithmetic.aggregate_one(kind, values[begin:end].tolist()) for begin, end in bounds]
        assert [repr(one) for one in many] == [repr(one) for one in alone]


@pytest.mark.parametrize("kind", KINDS)
def test_a_long_segment_has_the_bits_it_has_alone(kind: Any) -> None:
    rng = np.random.default_rng(1)
    values = made("floats", rng, 70_000)
    if kind == "count_distinct":
        values = rng.integers(0, 999, 70_000)
    starts = np.array([0, 7, 0, 30_001], dtype=np.int64)
    ends = np.array([70_000, 69_000, 20_001, 30_500], dtype=np.int64)

    together, _ = arithmetic.aggregate(kind, values, starts, ends)

    for begin, end, result in zip(starts, ends, together, strict=True):
        own = values[begin:end].copy()
        alone, _ = arithmetic.aggregate(kind, own, np.array([0]), np.array([len(own)]))
        assert alone.tobytes() == result.tobytes()


def test_distinct_values_are_counted_as_a_set_counts_them() -> None:
    rng = np.random.default_rng(2)
    codes = rng.integers(0, 20, 300)
    last: dict[int, int] = {}
    before = np.array(
        [(last.get(code, -1), last.update({code: place}))[0] for place, code in enumerate(codes.tolist())]
    )
    bounds = np.sort(rng.integers(0, 301, (200, 2)), axis=1)

    counts = distinct.distinct_counts(before, bounds[:, 0], bounds[:, 1])

    assert counts.tolist() == [len(set(codes[begin:end].tolist())) for begin, end in bounds]


def test_the_shorter_way_is_taken_only_where_windows_overlap_much() -> None:
    values = np.zeros(1000)

    assert distinct.is_worth_it(values, np.full(1000, 500))
    assert not distinct.is_worth_it(values, np.full(1000, 30))
    assert not distinct.is_worth_it(np.zeros(10), np.array([10]))
