"""Asking a server again: a few times, with growing delays that no two callers share."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Retries:
    """How often, and how long between.

    Parameters
    ----------
    attempts : int
        Calls in all.
    first_delay_s, longest_delay_s : float
        The delay doubles from the first to the longest; each is drawn between its half and its whole, so that those
        who lost a server together do not come back together.
    sleep : callable
    """

    attempts: int
    first_delay_s: float = 0.05
    longest_delay_s: float = 1.0
    sleep: Callable[[float], None] = time.sleep

    def run(
        self,
        action: Callable[[], T],
        *,
        passing: tuple[type[Exception], ...],
        final: tuple[type[Exception], ...] = (),
    ) -> T:
        """The result of `action`, called again after an error that is `passing` and not `final`; the last is raised."""
        for attempt in range(1, self.attempts):
            try:
                return action()
            except final:
                raise
            except passing:
                self.wait(attempt)
        return action()

    def wait(self, attempt: int) -> None:
        """The delay after attempt number `attempt`, from 1."""
        whole = min(self.longest_delay_s, self.first_delay_s * 2.0 ** min(attempt - 1, 30))
        self.sleep(whole * random.uniform(0.5, 1.0))  # noqa: S311 - spreads callers, keeps nothing secret
