"""Sums without error: the exact sum of the values, rounded once at the end.

A sum rounded at each step depends on the order of its values, so two ways to the same window would differ in the last
bits. The exact sum does not: `exact_sum` over one key's values online and `exact_sums` over millions of windows offline
give the same bits because they give the same number.

`exact_sum` is `math.fsum` (Shewchuk, "Adaptive Precision Floating-Point Arithmetic", 1997). `exact_sums` writes every
value as a whole number of limbs of 32 bits on a common scale, so that a window is the difference of two prefix sums:
its cost does not grow with the length of the windows.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from fractions import Fraction
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt

from millrace.features.columns import Bools, Ints

Floats = npt.NDArray[np.float64]
Words = npt.NDArray[np.uint64]

_LIMB = 32
_MASK = (1 << _LIMB) - 1
_MOST_LIMBS = 12
"""Beyond 12 limbs (values of which some are 1e90 times others) one sum after another is the faster way."""


def exact_sum(values: Sequence[float]) -> float:
    """The sum of `values`, correctly rounded; NaN for infinities of both signs, 0.0 for none."""
    try:
        return math.fsum(values) + 0.0
    except ValueError:
        return math.nan
    except OverflowError:
        # A partial sum passed the largest float; the whole may not.
        infinite = [value for value in values if not math.isfinite(value)]
        if infinite:
            return sum(infinite)
        total = sum(map(Fraction, values))
        try:
            return float(total)
        except OverflowError:
            return math.inf if total > 0 else -math.inf


def exact_sums(values: Floats, starts: Ints, ends: Ints) -> Floats:
    """`exact_sum` of each segment [start, end) of `values`; shape (m,)."""
    is_finite = np.isfinite(values)
    if is_finite.all():
        return _finite_sums(values, starts, ends)
    results = _finite_sums(np.where(is_finite, values, 0.0), starts, ends)
    above, below = (_counts(values == infinity, starts, ends) > 0 for infinity in (np.inf, -np.inf))
    results[above], results[below] = np.inf, -np.inf
    results[(above & below) | (_counts(np.isnan(values), starts, ends) > 0)] = np.nan
    return results


def exact_int_sums(values: Ints, starts: Ints, ends: Ints) -> tuple[Ints, Bools]:
    """The sum of each segment, and whether 64 bits can hold it."""
    high = _differences(values >> _LIMB, starts, ends)
    low = _differences(values & _MASK, starts, ends)
    high += low >> _LIMB
    fits = (high >= -(1 << 31)) & (high < (1 << 31))
    return np.where(fits, (high << _LIMB) | (low & _MASK), 0), fits


def _finite_sums(values: Floats, starts: Ints, ends: Ints) -> Floats:
    mantissas, exponents = np.frexp(values)
    is_zero = values == 0.0
    if is_zero.all():
        return np.zeros(len(starts))
    # value = whole * 2 ** scale, with whole numbers of at most 53 bits
    wholes = np.ldexp(mantissas, 53).astype(np.int64)
    scales = exponents.astype(np.int64) - 53
    least = int(scales[~is_zero].min())
    shifts = np.where(is_zero, 0, scales - least)
    limbs = (int(shifts.max()) + 53) // _LIMB + 1
    if limbs > _MOST_LIMBS:
        listed = values.tolist()
        return np.array(
            [exact_sum(listed[begin:end]) for begin, end in zip(starts.tolist(), ends.tolist(), strict=True)]
        )
    return _rounded(_limb_sums(wholes, shifts, limbs, starts, ends), least)


def _limb_sums(wholes: Ints, shifts: Ints, limbs: int, starts: Ints, ends: Ints) -> list[Ints]:
    """Each segment's sum as limbs of any size and sign, the least first."""
    signs, sizes = np.sign(wholes), np.abs(wholes)
    first, by = shifts // _LIMB, shifts % _LIMB
    low = (sizes & _MASK) << by
    high = ((sizes >> _LIMB) << by) + (low >> _LIMB)
    parts = [signs * (low & _MASK), signs * (high & _MASK), signs * (high >> _LIMB)]
    sums = []
    for limb in range(limbs + 1):
        whole = np.zeros(len(wholes), dtype=np.int64)
        for place, part in enumerate(parts):
            is_here = first == limb - place
            if is_here.any():
                whole += np.where(is_here, part, 0)
        sums.append(_differences(whole, starts, ends))
    sums.append(np.zeros(len(starts), dtype=np.int64))  # room for the carry
    return sums


def _rounded(sums: list[Ints], scale: int) -> Floats:
    """The numbers that limbs stand for, to the nearest float, ties to even."""
    _carry(sums)
    is_negative = sums[-1] < 0
    for limb in sums:
        np.negative(limb, out=limb, where=is_negative)
    _carry(sums)
    # The highest limb that is not 0, the two below it, and whether anything is left below those.
    limbs = np.stack([np.zeros_like(sums[0]), np.zeros_like(sums[0]), *sums]).astype(np.uint64)
    top = len(limbs) - 1 - np.argmax(limbs[::-1] != 0, axis=0)
    top = np.maximum(top, 2)
    columns = np.arange(limbs.shape[1])
    high, middle, low = (limbs[top - step, columns] for step in range(3))
    is_left = np.concatenate((np.zeros((1, limbs.shape[1]), dtype=np.bool_), np.logical_or.accumulate(limbs != 0)))
    rest = is_left[top - 2, columns]
    # The 64 highest bits, of which a float keeps 53.
    free = (_LIMB - np.frexp(high.astype(np.float64))[1]).astype(np.uint64)
    size, one = np.uint64(_LIMB), np.uint64(1)
    highest = (((high << size) | middle) << free) | (low >> (size - free))
    rest |= (low & ((one << (size - free)) - one)) != 0
    kept, cut = highest >> np.uint64(11), highest & np.uint64(0x7FF)
    is_up = (cut > 0x400) | ((cut == 0x400) & (rest | (kept & one == 1)))
    exponents = (top - 2 - 1) * _LIMB - free.astype(np.int64) + 11 + scale
    with np.errstate(over="ignore"):
        found = np.ldexp((kept + is_up).astype(np.float64), exponents.astype(np.int64))
    signed: Floats = np.where(is_negative, -found, found) + 0.0
    return signed


def _carry(sums: list[Ints]) -> None:
    """Bring all limbs but the highest into [0, 2**32)."""
    for limb, above in pairwise(sums):
        above += limb >> _LIMB
        limb &= _MASK


def _differences(values: Ints, starts: Ints, ends: Ints) -> Ints:
    sums = np.zeros(len(values) + 1, dtype=np.int64)
    np.cumsum(values, out=sums[1:])
    found: Ints = sums[ends] - sums[starts]
    return found


def _counts(is_one: Any, starts: Ints, ends: Ints) -> Ints:
    return _differences(is_one.astype(np.int64), starts, ends)
