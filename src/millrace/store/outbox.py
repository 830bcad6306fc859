"""Messages that must reach somebody else, written in the transaction that made them true.

Delivery is at least once: a receiver uses the message's key to see a repetition.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from itertools import takewhile
from typing import Any

from millrace.store.database import Database

FIRST_DELAY_S = 5.0
LONGEST_DELAY_S = 3600.0


@dataclass(frozen=True, slots=True)
class Message:
    """One message on its way."""

    topic: str
    key: str
    body: dict[str, Any]
    attempts: int


@dataclass(frozen=True, slots=True)
class Delivery:
    """What one round of delivery did."""

    sent: int
    failed: int
    last_error: str | None = None


class Outbox:
    """The queue beside the ledger; `Transaction.append(tells=...)` writes to it."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def pending(self, topic: str, *, limit: int = 1000, due_only: bool = True) -> list[Message]:
        """Messages not yet delivered, oldest first.

        With `due_only`, those up to the first one that still waits after a failure: none when that is the oldest.
        """
        rows = self._database.read(
            "SELECT key, body, attempts, next_at FROM outbox WHERE topic = ? AND done_at IS NULL ORDER BY seq LIMIT ?",
            (topic, limit),
        )
        now = time.time()
        due = takewhile(lambda row: not due_only or row[3] <= now, rows)
        return [Message(topic, key, json.loads(body), attempts) for key, body, attempts, _ in due]

    def deliver(
        self,
        topic: str,
        send: Callable[[Message], None],
        *,
        limit: int = 1000,
        due_only: bool = True,
    ) -> Delivery:
        """Hand each message to `send`; one that raises is kept and tried again later, with growing delay.

        Order is kept within a topic: after a failure the later messages wait until that one is delivered. With
        `due_only` false its delay is not waited for.
        """
        sent = 0
        for message in self.pending(topic, limit=limit, due_only=due_only):
            try:
                send(message)
            except Exception as error:  # noqa: BLE001 - a receiver may fail in any way; the message must stay
                self._mark_failed(message, error)
                return Delivery(sent, 1, f"{type(error).__name__}: {error}")
            self._mark_done(message)
            sent += 1
        return Delivery(sent, 0)

    def _mark_done(self, message: Message) -> None:
        with self._database.transaction() as session:
            session.execute(
                "UPDATE outbox SET done_at = ?, error = NULL WHERE topic = ? AND key = ?",
                (time.time(), message.topic, message.key),
            )

    def _mark_failed(self, message: Message, error: Exception) -> None:
        delay = min(FIRST_DELAY_S * 2**message.attempts, LONGEST_DELAY_S)
        with self._database.transaction() as session:
            session.execute(
                "UPDATE outbox SET attempts = attempts + 1, next_at = ?, error = ? WHERE topic = ? AND key = ?",
                (time.time() + delay, str(error)[:1000], message.topic, message.key),
            )
