"""Follow the releases: load and warm the new model beside the old, then swap."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable

from millrace.core.bundle import Manifest
from millrace.core.errors import MillraceError, ModelError
from millrace.core.records import Release
from millrace.core.row_rules import RowRules
from millrace.serving.inputs import InputReader, Lookup
from millrace.serving.predictor import Predictor
from millrace.serving.slot import Served, Slot

logger = logging.getLogger("millrace.serving")

_FIRST_RETRY_SECONDS = 0.5
_LAST_RETRY_SECONDS = 30.0


class ReleaseWatcher:
    """Polls `current` in a thread of its own.

    A release that cannot be loaded is reported in `slot.failure` and tried again after half a second, then after
    twice that and so on to 30 s; what was served before goes on being served. So it does while `current` cannot be
    read. Only when `current` says that no release stands, because the first one was withdrawn, is nothing served.

    Parameters
    ----------
    slot : Slot
    current : callable
        The release that should be served, or None when there is none: before the first, or after it was withdrawn.
    load : callable
        The bundle of a digest, loaded: `load_predictor` with the blob store bound to it.
    lookup : callable, optional
        What looks up the features of a bundle, given its manifest.
    interval_ms : float
    rules : callable, optional
        What judges the rows of a bundle's requests, given its manifest; None where nothing does.
    """

    def __init__(
        self,
        slot: Slot,
        current: Callable[[], Release | None],
        load: Callable[[str], Predictor],
        lookup: Callable[[Manifest], Lookup] | None = None,
        interval_ms: float = 50.0,
        rules: Callable[[Manifest], RowRules | None] | None = None,
    ) -> None:
        self._slot = slot
        self._current = current
        self._load = load
        self._lookup = lookup
        self._rules = rules
        self._interval = interval_ms / 1000.0
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self._failed: tuple[int, str] | None = None
        self._retry_at = 0.0
        self._retry_seconds = _FIRST_RETRY_SECONDS

    def start(self) -> None:
        self._thread = threading.Thread(target=self._run, name="millrace-releases", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        self._stop.set()
        if self._thread is not None:
            self._thread.join()

    def poll(self) -> bool:
        """Look once; True when something else is served afterwards. Never raises: failures go to `slot.failure`."""
        try:
            release = self._current()
        except Exception as error:  # noqa: BLE001  # the thread outlives whatever reading the release may raise
            self._report(error, None)
            return False
        served = self._slot.current
        if release == (None if served is None else served.release):
            self._forget()  # the ledger can be read again, or somebody went back to what is served
            return False
        if release is None:
            self._slot.clear()
            self._forget()
            logger.warning("the release was withdrawn: nothing is served")
            return True
        wanted = (release.number, release.digest)
        if wanted == self._failed and time.monotonic() < self._retry_at:
            return False
        try:
            self._serve(release)
        except Exception as error:  # noqa: BLE001  # and whatever a bundle may raise when it is loaded
            self._wait_longer(wanted)
            self._report(error, release)
            return False
        self._forget()
        return True

    def _serve(self, release: Release) -> None:
        loaded = self._slot.find_loaded(release.digest)
        if loaded is not None:
            self._slot.swap(Served(release, loaded.predictor, loaded.reader))
            return
        predictor = self._load(release.digest)
        predictor.warm()
        lookup = None if self._lookup is None else self._lookup(predictor.manifest)
        rules = None if self._rules is None else self._rules(predictor.manifest)
        self._slot.swap(Served(release, predictor, InputReader(predictor.manifest, lookup, rules)))

    def _run(self) -> None:
        while not self._stop.wait(self._interval):
            self.poll()

    def _forget(self) -> None:
        self._failed = None
        self._retry_seconds = _FIRST_RETRY_SECONDS
        self._slot.failure = None

    def _wait_longer(self, wanted: tuple[int, str]) -> None:
        again = wanted == self._failed
        self._retry_seconds = min(self._retry_seconds * 2, _LAST_RETRY_SECONDS) if again else _FIRST_RETRY_SECONDS
        self._retry_at = time.monotonic() + self._retry_seconds
        self._failed = wanted

    def _report(self, error: Exception, release: Release | None) -> None:
        if not isinstance(error, MillraceError):
            error = ModelError("SERVE-05", f"{type(error).__name__}: {error}")
        facts: dict[str, object] = error.to_dict()
        if release is not None:
            facts |= {"release": release.number, "version": release.version, "digest": release.digest}
        if self._slot.failure != facts:  # once, not twenty times a second
            logger.error("release not served: %s", error)
        self._slot.failure = facts
