"""The port to an online store: bytes by view and key, merged atomically.

`millrace.testing.online_store` holds the conformance suite of this port.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Protocol, runtime_checkable

from millrace.core.plugins import load_plugin, scheme_of

Combine = Callable[[bytes | None, bytes], bytes]


class OnlineStore(Protocol):
    """Packed values by view and key. Safe to share between threads and across a fork.

    A store knows nothing of features: what the bytes mean, and how two of them become one, is the caller's.
    """

    def read(self, view: str, keys: Sequence[bytes]) -> list[bytes | None]:
        """The value of each key, in order; None for a key that is not there."""
        ...

    def merge(self, view: str, items: Iterable[tuple[bytes, bytes]], combine: Combine) -> None:
        """Set each key to ``combine(what is there or None, new value)``, atomically per key.

        A reader sees a key's old value or its new one; two writers of one key do not lose each other's. `combine`
        is pure and may be called again when another writer came between. When the connection to a server breaks, the
        store may have taken a merge whose answer was lost, and takes it again: only a `combine` for which that makes
        no difference, such as that of features, is then exact.
        """
        ...

    def sync(self) -> None:
        """Return when all that was merged before is durable."""
        ...

    def views(self) -> list[str]:
        """Names of the views that hold at least one key, sorted."""
        ...

    def clear(self, view: str) -> None:
        """Forget every key of a view."""
        ...

    def close(self) -> None:
        """Let go of what this process holds."""
        ...


@runtime_checkable
class ScannableStore(OnlineStore, Protocol):
    """A store that can also hand out a view whole: what a snapshot or a move to another store needs."""

    def items(self, view: str) -> Iterator[tuple[bytes, bytes]]:
        """Each key of a view with its value, in no order.

        A key that is there all along comes at least once, one that is written meanwhile perhaps.
        """
        ...


def combine_all(combine: Combine, olds: Sequence[bytes | None], news: Sequence[bytes]) -> list[bytes]:
    """``combine`` of each pair; of all at once where `combine` offers that as a method ``many``."""
    many: Callable[[Sequence[bytes | None], Sequence[bytes]], list[bytes]] | None = getattr(combine, "many", None)
    return many(olds, news) if many is not None else list(map(combine, olds, news))


def open_online(url: str) -> OnlineStore:
    """The online store behind `url`, such as ``lmdb:///state/online``, ``redis://cache:6379/0`` or ``memory://``."""
    store: OnlineStore = load_plugin("online_stores", scheme_of(url))(url)
    return store
