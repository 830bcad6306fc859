"""The online store in the memory of one process: for tests, notebooks and replays."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator, Sequence


class MemoryOnlineStore:
    """`OnlineStore` over dictionaries. A fork has its own copy from then on; nothing outlives the process."""

    def __init__(self) -> None:
        self._values: dict[str, dict[bytes, bytes]] = {}
        self._lock = threading.Lock()

    def read(self, view: str, keys: Sequence[bytes]) -> list[bytes | None]:
        values = self._values.get(view, {})
        return [values.get(key) for key in keys]

    def merge(
        self,
        view: str,
        items: Iterable[tuple[bytes, bytes]],
        combine: Callable[[bytes | None, bytes], bytes],
    ) -> None:
        for key, value in items:
            with self._lock:
                values = self._values.setdefault(view, {})
                values[key] = combine(values.get(key), value)

    def sync(self) -> None:
        """Nothing to do: memory is as durable as it gets."""

    def views(self) -> list[str]:
        with self._lock:
            return sorted(view for view, values in self._values.items() if values)

    def clear(self, view: str) -> None:
        with self._lock:
            self._values.pop(view, None)

    def items(self, view: str) -> Iterator[tuple[bytes, bytes]]:
        with self._lock:
            found = list(self._values.get(view, {}).items())
        yield from found

    def close(self) -> None:
        """Nothing to let go of: who still holds the store can still read it."""


def open_memory(url: str = "memory://") -> MemoryOnlineStore:
    """A new, empty store; `url` is only its name in a configuration."""
    return MemoryOnlineStore()
