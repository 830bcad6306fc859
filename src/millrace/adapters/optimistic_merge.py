"""Merging by compare and set: read, combine, and write what nobody else has changed meanwhile."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TypeAlias

from millrace.adapters.retries import Retries
from millrace.core.errors import StoreError
from millrace.features.online.port import Combine, combine_all

Change: TypeAlias = tuple[bytes, bytes | None, bytes]
"""A key, the value it must still have, and the one it gets."""

Swap: TypeAlias = Callable[[list[Change], Sequence[bytes]], tuple[set[bytes], list[bytes | None]]]
"""Make the changes, then read some keys: the keys of changes that came too late, and what was read."""

_MOST_ROUNDS = 500
_PATIENCE = Retries(_MOST_ROUNDS, first_delay_s=0.001, longest_delay_s=0.05)


def merge_optimistically(
    items: Iterable[tuple[bytes, bytes]],
    combine: Combine,
    swap: Swap,
    *,
    most_items: int,
    most_bytes: int,
    where: str,
) -> None:
    """Merge in chunks. While one is written the next is read, so that a chunk costs one round trip.

    Raises
    ------
    StoreError
        FEAT-43 when some key was changed by others each time.
    """
    rest = _chunks(iter(items), most_items, most_bytes)
    pending = next(rest, {})
    olds = swap([], list(pending))[1] if pending else []
    while pending:
        ahead = next(rest, {})
        lost, olds = swap(_fold(pending, olds, combine), list(ahead))
        if lost:
            # First these, then what comes next: the values of a key go in order.
            _settle({key: pending[key] for key in pending if key in lost}, combine, swap, where)
            olds = swap([], list(ahead))[1]
        pending = ahead


def _settle(pending: dict[bytes, list[bytes]], combine: Combine, swap: Swap, where: str) -> None:
    for number in range(1, _MOST_ROUNDS + 1):
        lost, _ = swap(_fold(pending, swap([], list(pending))[1], combine), [])
        if not lost:
            return
        pending = {key: pending[key] for key in pending if key in lost}
        _PATIENCE.wait(number)
    raise StoreError(
        "FEAT-43",
        f"{len(pending)} keys of the online store were changed by others each of {_MOST_ROUNDS} times",
        where=where,
        why="many writers merge into the same keys at once",
        fix="let one process write these keys, or send larger batches less often",
    )


def _fold(chunk: dict[bytes, list[bytes]], olds: Sequence[bytes | None], combine: Combine) -> list[Change]:
    if all(len(values) == 1 for values in chunk.values()):
        news = combine_all(combine, olds, [values[0] for values in chunk.values()])
        return [(key, old, new) for key, old, new in zip(chunk, olds, news, strict=True) if new is not old]
    changes = []
    for (key, values), old in zip(chunk.items(), olds, strict=True):
        new = old
        for value in values:
            new = combine(new, value)
        if new is not None and new is not old:
            changes.append((key, old, new))
    return changes


def _chunks(
    items: Iterator[tuple[bytes, bytes]], most_items: int, most_bytes: int
) -> Iterator[dict[bytes, list[bytes]]]:
    """Values by key, in the order they came."""
    chunk: dict[bytes, list[bytes]] = {}
    size = 0
    for key, value in items:
        chunk.setdefault(key, []).append(value)
        size += len(value)
        if len(chunk) >= most_items or size >= most_bytes:
            yield chunk
            chunk, size = {}, 0
    if chunk:
        yield chunk
