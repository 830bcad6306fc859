"""Windows that overlap so much that going through each costs too much: the same answers, in one pass over all values.

A million events of one key, asked by a hundred thousand rows without a window, are fifty thousand million values to go
through. These functions answer from what neighbouring windows share. Each gives the bits that going through gives.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from millrace.features.columns import Bools, Ints

Values = npt.NDArray[Any]

_OFTEN = 64
_HALF = np.int64(0xFFFFFFFF)


def is_worth_it(values: Values, lengths: Ints) -> bool:
    """Whether the windows go through the values so often that sharing is faster."""
    return int(lengths.sum()) > _OFTEN * (len(values) + len(lengths))


def int_sums(values: Ints, starts: Ints, ends: Ints) -> tuple[Ints, Bools]:
    """The sum of each segment, and whether it is within 64 bits."""
    # Sums from the beginning, by halves of 32 bits, neither of which can overflow: their differences are exact.
    low, high = (
        np.concatenate(([0], np.cumsum(half)))[ends] - np.concatenate(([0], np.cumsum(half)))[starts]
        for half in (values & _HALF, values >> 32)
    )
    high = high + (low >> 32)
    return (high << 32) | (low & _HALF), (high >= -(2**31)) & (high < 2**31)


def whole_numbers(values: Values) -> Ints | None:
    """The values as integers, where sums of them as floats are exact in whatever order; None elsewhere."""
    if values.dtype == np.float64 and not (
        (np.abs(values) < 2.0**53).all()
        and (np.floor(values) == values).all()
        and not np.signbit(values[values == 0]).any()
    ):
        return None
    whole = values.astype(np.int64)
    return whole if np.abs(values.astype(np.float64)).sum() < 2.0**53 else None


def extremes(function: np.ufunc, values: Values, starts: Ints, ends: Ints) -> Values:
    """`np.minimum` or `np.maximum` of each segment; 0 for an empty one."""
    results = np.zeros(len(starts), dtype=values.dtype)
    lengths = ends - starts
    # A segment is covered by two of the longest power of two that fits, from its start and up to its end.
    powers = np.where(lengths > 0, np.frexp(np.maximum(lengths, 1).astype(np.float64))[1] - 1, -1)
    spans, width = values, 1
    for power in range(int(powers.max(initial=-1)) + 1):
        rows = np.flatnonzero(powers == power)
        results[rows] = function(spans[starts[rows]], spans[ends[rows] - width])
        if len(spans) > width:
            spans = function(spans[:-width], spans[width:])
        width *= 2
    return results


def distinct_counts(before: Ints, starts: Ints, ends: Ints) -> Ints:
    """How many values of each segment are not there earlier in it.

    Parameters
    ----------
    before : int64, shape (n,)
        Where the same value was the last time before; -1 where it was not.
    """
    # A value counts when its last time lies before the segment. Bit by bit, from the highest: those whose bit is 0 go
    # to the front and stay in their order; a segment follows those of its values that still equal its bound.
    current, bound = before + 1, starts + 1
    left, right = starts.copy(), np.maximum(ends, starts)
    counts = np.zeros(len(starts), dtype=np.int64)
    for bit in range(len(before).bit_length() - 1, -1, -1):
        is_zero = (current >> bit) & 1 == 0
        zeros = np.concatenate(([0], np.cumsum(is_zero))).astype(np.int64)
        below_left, below_right = zeros[left], zeros[right]
        is_one_asked = (bound >> bit) & 1 == 1
        counts += np.where(is_one_asked, below_right - below_left, 0)
        left = np.where(is_one_asked, zeros[-1] + left - below_left, below_left)
        right = np.where(is_one_asked, zeros[-1] + right - below_right, below_right)
        current = np.concatenate((current[is_zero], current[~is_zero]))
    return counts
