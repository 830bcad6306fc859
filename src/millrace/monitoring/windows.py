"""Which stretch of time a monitor judges next. Where it stands is on the record, so no window is missed or repeated."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from millrace.core.clock import from_text, to_text
from millrace.store.ledger import Ledger, Transaction

KIND = "cursor"


@dataclass(frozen=True, slots=True)
class Window:
    """Event times in [start, end). `generation` is the cursor's when the window was read."""

    model: str
    monitor: str
    start: datetime
    end: datetime
    generation: int

    def to_dict(self) -> dict[str, Any]:
        return {"monitor": self.monitor, "start": to_text(self.start), "end": to_text(self.end)}


def next_window(
    ledger: Ledger | Transaction,
    model: str,
    monitor: str,
    *,
    length: timedelta,
    mature_until: datetime,
    begin: datetime,
) -> Window | None:
    """The window that `monitor` judges next, or None while it is not over or its labels are not due.

    Parameters
    ----------
    length : timedelta
        Windows follow each other in steps of this length. One that could not be judged for want of samples is carried
        into the next, which then starts where it started.
    mature_until : datetime
        Only windows that end by then are judged: now, less the delay of the labels. Early labels are often of one
        kind, so a half-labelled window misleads.
    begin : datetime
        Start of the first window.
    """
    state = ledger.state(KIND, f"{model}/{monitor}")
    start, last_end = (begin, begin)
    if state is not None:
        start, last_end = from_text(state.value["start"]), from_text(state.value["end"])
    end = last_end + length
    if end > mature_until:
        return None
    return Window(model, monitor, start, end, state.generation if state is not None else 0)


def cursor_after(window: Window, *, carry: bool) -> tuple[str, str, dict[str, Any]]:
    """The state that moves the cursor past `window`; with `carry` the next window still contains it."""
    value = {"start": to_text(window.start if carry else window.end), "end": to_text(window.end)}
    return (KIND, f"{window.model}/{window.monitor}", value)


def restart_windows(
    ledger: Ledger,
    model: str,
    monitor: str,
    *,
    begin: datetime,
    reason: str,
    key: str | None = None,
    grid: datetime | None = None,
    length: timedelta | None = None,
) -> None:
    """Let the next window of `monitor` start at `begin`: a new version must not answer for the one before it.

    With `grid` and `length`, windows go on ending at `grid` plus whole lengths, so that the first one after a release
    is shorter instead of every later one being shifted. `key` makes it happen once, such as the release it follows.
    """
    last_end = begin
    if grid is not None and length is not None and begin > grid:
        last_end = grid + length * ((begin - grid) // length)
    start, end = to_text(begin), to_text(last_end)
    ledger.append(
        "windows_restarted",
        model,
        {"monitor": monitor, "begin": start, "reason": reason},
        key=None if key is None else f"windows:{model}:{monitor}:{key}",
        sets=[(KIND, f"{model}/{monitor}", {"start": start, "end": end})],
    )
