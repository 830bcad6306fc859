"""Are values the same bits? What `verify` and `audit` mean by equal."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from datetime import datetime
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from millrace.core.clock import to_text
from millrace.features.columns import Bools


def differing(array: pa.Array, values: Sequence[Any]) -> Bools:
    """Where `values` are not what `array` holds: another value, another type, or null on one side only.

    Floats are compared by their bits: 0.0 and -0.0 differ.
    """
    try:
        others = pa.array(values)
    except (pa.ArrowException, TypeError):
        others = None
    if others is None or _is_nested(array) or _is_nested(others):
        return np.array(
            [bits(mine) != bits(theirs) for mine, theirs in zip(array.to_pylist(), values, strict=True)], dtype=np.bool_
        )
    mine, theirs = _valid(array), _valid(others)
    if pa.types.is_null(array.type) or pa.types.is_null(others.type):
        return mine | theirs
    if array.type != others.type:
        return mine | theirs
    if pa.types.is_string(array.type):
        unequal = np.asarray(
            pc.not_equal(array, others).fill_null(False).to_numpy(zero_copy_only=False), dtype=np.bool_
        )
    else:
        unequal = _words(array) != _words(others)
    result: Bools = (mine != theirs) | (mine & theirs & unequal)
    return result


def bits(value: Any) -> Any:
    """Something that is equal for equal bits alone."""
    if isinstance(value, list):
        return [bits(one) for one in value]
    return (type(value), struct.pack("<d", value) if isinstance(value, float) else value)


def plain(value: Any) -> Any:
    """A value as JSON can say it."""
    if isinstance(value, list):
        return [plain(one) for one in value]
    if isinstance(value, float) and not np.isfinite(value):
        return str(value)
    return to_text(value) if isinstance(value, datetime) else value


def _is_nested(array: pa.Array) -> bool:
    return bool(pa.types.is_nested(array.type))


def _valid(array: pa.Array) -> Bools:
    return np.asarray(array.is_valid().to_numpy(zero_copy_only=False), dtype=np.bool_)


def _words(array: pa.Array) -> Any:
    """The bits of each value as an integer; anything where null."""
    kind = array.type
    if pa.types.is_boolean(kind):
        return array.cast(pa.int8()).fill_null(0).to_numpy(zero_copy_only=False)
    if pa.types.is_timestamp(kind):
        array = array.cast(pa.int64())
    filled = array.fill_null(0).to_numpy(zero_copy_only=False)
    return filled.view(np.int64) if filled.dtype == np.float64 else filled
