"""Different values in windows that overlap so much that going through each costs too much.

A million events of one key, asked by a hundred thousand rows without a window, are fifty thousand million values to go
through. Here a few passes over the values answer all of them.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from millrace.features.columns import Ints

Values = npt.NDArray[Any]

_OFTEN = 64


def is_worth_it(values: Values, lengths: Ints) -> bool:
    """Whether the windows go through the values so often that sharing is faster."""
    return int(lengths.sum()) > _OFTEN * (len(values) + len(lengths))


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
