"""Do scores mean what they say? Checked on rows with labels, and mended by a monotone map learned there."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from millrace.drift.terms import Floats

_BINS = 10
_ROWS_PER_STEP = 25  # of the map: fewer rows make a share too uncertain to stand for a probability
_MOST_STEPS = 40


@dataclass(frozen=True, slots=True)
class Reliability:
    """How far the share of hits is from the score: mean over bins of equally many rows.

    `error` is the expected calibration error less what chance alone adds to it; `p_value` tests that every bin's share
    is its mean score (Hosmer and Lemeshow's statistic).
    """

    error: float
    p_value: float

    def to_dict(self) -> dict[str, float]:
        return {"error": self.error, "p_value": self.p_value}


@dataclass(frozen=True, slots=True)
class CalibrationMap:
    """A non-decreasing map from scores of one class to probabilities: steps of equally many holdout rows.

    `at` has shape (steps,), ascending scores; `hits` and `counts` are the rows of the class and all rows of each step.
    """

    at: Floats
    hits: Floats
    counts: Floats

    def apply(self, scores: Floats, random: np.random.Generator | None = None) -> Floats:
        """Probabilities for `scores`; with `random`, of a map as uncertain as this one is (a parametric bootstrap)."""
        from scipy.optimize import isotonic_regression

        risen = isotonic_regression(self.hits / self.counts, weights=self.counts).x
        if random is not None:
            drawn = random.binomial(self.counts.astype(np.int64), risen.clip(0.0, 1.0))
            risen = isotonic_regression(drawn / self.counts, weights=self.counts).x
        mapped: Floats = np.interp(scores, self.at, risen)
        return mapped


def learn_map(scores: Floats, is_hit: NDArray[np.bool_]) -> CalibrationMap:
    """The map that mends `scores` of shape (n,), learned where the class is known."""
    order = np.argsort(scores, kind="stable")
    ordered, hits = scores[order], is_hit[order].astype(np.float64)
    steps = max(2, min(_MOST_STEPS, len(ordered) // _ROWS_PER_STEP))
    # A step ends only between different scores: rows with one score are one answer of the model.
    ends = np.searchsorted(ordered, ordered[np.linspace(0, len(ordered) - 1, steps + 1).astype(int)[1:]], side="right")
    starts = np.concatenate([[0], np.unique(ends)[:-1]])
    counts = np.diff(np.append(starts, len(ordered))).astype(np.float64)
    return CalibrationMap(
        np.add.reduceat(ordered, starts) / counts,
        np.add.reduceat(hits, starts),
        counts,
    )


def reliability(scores: Floats, is_hit: NDArray[np.bool_]) -> Reliability:
    """How well `scores` of shape (n,) say the share of hits among them."""
    from scipy.special import chdtrc

    error = by_chance = statistic = 0.0
    bins = np.array_split(np.argsort(scores, kind="stable"), min(_BINS, max(1, len(scores) // _ROWS_PER_STEP)))
    for rows in bins:
        said = float(scores[rows].mean())
        gap = float(is_hit[rows].mean()) - said
        variance = max(float((scores[rows] * (1 - scores[rows])).sum()), 1e-9)
        error += abs(gap) * len(rows)
        by_chance += math.sqrt(2 / math.pi * variance)
        statistic += (gap * len(rows)) ** 2 / variance
    return Reliability(max(0.0, (error - by_chance) / len(scores)), float(chdtrc(len(bins), statistic)))


def learn_maps(scores: Floats, labels: NDArray[np.intp]) -> list[CalibrationMap]:
    """One map for each class; two classes share the second one's."""
    return [learn_map(scores[:, column], labels == column) for column in _columns(scores)]


def apply_maps(maps: list[CalibrationMap], scores: Floats, random: np.random.Generator | None = None) -> Floats:
    """Probabilities of shape (m, k) that sum to one in each row."""
    mapped = [one.apply(scores[:, column], random) for one, column in zip(maps, _columns(scores), strict=True)]
    if scores.shape[1] == 2:
        return np.column_stack([1 - mapped[0], mapped[0]])
    matrix = np.column_stack(mapped)
    total: Any = matrix.sum(axis=1, keepdims=True)
    shares: Floats = matrix / total
    return shares


def worst_reliability(probability: Floats, labels: NDArray[np.intp]) -> Reliability:
    """That of the class whose scores are furthest from its share; the p-value is Bonferroni's over the classes."""
    found = [reliability(probability[:, column], labels == column) for column in _columns(probability)]
    least = min(one.p_value for one in found)
    return Reliability(max(one.error for one in found), min(1.0, least * len(found)))


def _columns(scores: Floats) -> list[int]:
    return [1] if scores.shape[1] == 2 else list(range(scores.shape[1]))
