"""What is served now: one reference, replaced in one assignment."""

from __future__ import annotations

from dataclasses import dataclass

from millrace.core.records import Release
from millrace.serving.inputs import InputReader
from millrace.serving.predictor import Predictor


@dataclass(frozen=True, slots=True)
class Served:
    """A release, its loaded model and the reader of its requests. A request takes all three at once."""

    release: Release
    predictor: Predictor
    reader: InputReader


class Slot:
    """The model that answers, if any, and the one before it, still warm.

    Attributes
    ----------
    current, previous : Served or None
    swaps : int
        How often another model took the place of `current`.
    failure : dict or None
        Why the newest release is not served: the error, JSON-ready.
    """

    def __init__(self) -> None:
        self.current: Served | None = None
        self.previous: Served | None = None
        self.swaps = 0
        self.failure: dict[str, object] | None = None

    def swap(self, served: Served) -> None:
        """Serve `served` from the next request on. Requests that are being answered keep the one they took."""
        before = self.current
        self.current = served
        self.failure = None
        if before is None and self.previous is not None and self.previous.predictor is served.predictor:
            self.previous = None  # a withdrawn model is released again: there is none before it
        if before is not None and before.predictor is not served.predictor:
            self.previous = before
            self.swaps += 1

    def clear(self) -> None:
        """Serve nothing from the next request on; what was served stays warm as `previous`."""
        if self.current is not None:
            self.previous = self.current
        self.current = None
        self.failure = None

    def find_loaded(self, digest: str) -> Served | None:
        """What is loaded of the bundle `digest`: a rollback to the previous release loads nothing."""
        for served in (self.current, self.previous):
            if served is not None and served.predictor.digest == digest:
                return served
        return None
