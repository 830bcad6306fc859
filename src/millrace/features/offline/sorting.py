"""The order of many events by key and time, found by sorting one number for each."""

from __future__ import annotations

import numpy as np

from millrace.features.columns import Ints

_WORD_BITS = 64


def order_by_key_and_time(codes: Ints, count: int, times: Ints, ties: Ints | None = None) -> Ints:
    """Places of the rows by code, then time, then `ties`, then their own order.

    Parameters
    ----------
    codes : int64, shape (n,), each in [0, count)
    times : int64, shape (n,)
    ties : int64, shape (n,), optional

    Returns
    -------
    int64, shape (n,)
        The same as ``np.lexsort((ties, times, codes))``, several times faster.
    """
    rows = len(codes)
    if rows < 2:
        return np.arange(rows, dtype=np.int64)
    low, high = int(times.min()), int(times.max())
    row_bits, code_bits, time_bits = (rows - 1).bit_length(), (count - 1).bit_length(), (high - low).bit_length()
    # One word holds code, time and row, in this order; of a time too long for it, the leading bits.
    cut = max(0, time_bits - (_WORD_BITS - row_bits - code_bits))
    if cut >= time_bits > 0:
        return np.lexsort([*([] if ties is None else [ties]), times, codes])
    words = times.astype(np.uint64)
    words -= np.uint64(low % 2**_WORD_BITS)
    words >>= np.uint64(cut)
    words <<= np.uint64(row_bits)
    if code_bits:
        words |= codes.astype(np.uint64) << np.uint64(_WORD_BITS - code_bits)
    words |= np.arange(rows, dtype=np.uint64)
    import polars as pl  # half of what importing the feature store costs, and lookups need none of it

    words = pl.Series(words).sort().to_numpy()
    order = (words & np.uint64((1 << row_bits) - 1)).astype(np.int64)
    if cut or ties is not None:
        _settle(order, words >> np.uint64(row_bits), times, ties)
    return order


def _settle(order: Ints, heads: np.ndarray[tuple[int], np.dtype[np.uint64]], times: Ints, ties: Ints | None) -> None:
    """Put right, in place, the rows whose words differ in nothing but the row."""
    is_same = heads[1:] == heads[:-1]
    if not is_same.any():
        return
    is_open = np.zeros(len(order), dtype=np.bool_)
    is_open[1:] = is_same
    is_open[:-1] |= is_same
    places = np.flatnonzero(is_open)
    rows = order[places]
    # The runs ascend and keep their places, rows within a run ascend: a stable sort leaves equal ones as written.
    by_ties = [] if ties is None else [ties[rows]]
    order[places] = rows[np.lexsort([*by_ties, times[rows], heads[places]])]
