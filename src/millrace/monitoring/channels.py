"""The port to whoever is told, and the channel that needs nothing: the console."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Any, Protocol, TextIO


class Channel(Protocol):
    """Somewhere alerts go."""

    def send(self, alert: Mapping[str, Any]) -> None:
        """Take the alert (an `Alert` as a mapping), or raise: it then stays queued."""
        ...


class ConsoleChannel:
    """Alerts as lines of text on a stream."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def send(self, alert: Mapping[str, Any]) -> None:
        self._stream.write(f"[{alert['severity']}] {alert['title']}\n  {alert['at']}  {alert['text']}\n")
        self._stream.flush()


def open_console(settings: Mapping[str, Any]) -> ConsoleChannel:
    """The console channel; ``settings["stream"]`` takes the place of standard error."""
    return ConsoleChannel(settings.get("stream") or sys.stderr)
