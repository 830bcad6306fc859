"""The ledger: an append-only, hash-chained record, and the state that follows from it.

Every event is sealed with the digest of the one before it, so a changed, removed or inserted row shows. Beside the
events stand two projections written in the same transaction: `state` (what is true now: aliases, releases, runs) and
`outbox` (what must still be told to somebody else). Each change of state is part of an event, so that `verify` can
prove the state from the chain.

A decision is one transaction with an idempotency key: whoever comes second gets the first one's event back.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from millrace.core.clock import Clock, SystemClock, to_text
from millrace.core.errors import Conflict, StoreError
from millrace.core.ids import canonical_json, digest_parts
from millrace.store.database import Database, Session, open_database
from millrace.store.lease import Lease, check_fence
from millrace.store.outbox import Outbox
from millrace.store.schema import GENESIS, create_schema


@dataclass(frozen=True, slots=True)
class Event:
    """One sealed row. `is_new` is False when an event with the same key was already there."""

    seq: int
    at: str
    kind: str
    subject: str
    key: str | None
    body: dict[str, Any]
    sets: tuple[dict[str, Any], ...]
    prev: str
    hash: str
    is_new: bool = True

    def to_dict(self) -> dict[str, Any]:
        return {
            "seq": self.seq,
            "at": self.at,
            "kind": self.kind,
            "subject": self.subject,
            "key": self.key,
            "body": self.body,
            "hash": self.hash,
        }


@dataclass(frozen=True, slots=True)
class State:
    """What is true now under (`kind`, `key`). `generation` counts its changes, from 1."""

    kind: str
    key: str
    value: dict[str, Any]
    generation: int
    seq: int


class Transaction:
    """One atomic set of events, state changes and outbox rows."""

    def __init__(self, session: Session, clock: Clock) -> None:
        self._session = session
        self._clock = clock

    def find(self, key: str) -> Event | None:
        """The event with this idempotency key, or None."""
        rows = self._session.execute(f"{_SELECT} WHERE key = ?", (key,))
        return _event(rows[0], is_new=False) if rows else None

    def state(self, kind: str, key: str) -> State | None:
        """The current state, or None."""
        rows = self._session.execute(f"{_SELECT_STATE} WHERE kind = ? AND key = ?", (kind, key))
        return _state(rows[0]) if rows else None

    def states(self, kind: str) -> list[State]:
        """All current states of a kind, by key."""
        return [_state(row) for row in self._session.execute(f"{_SELECT_STATE} WHERE kind = ? ORDER BY key", (kind,))]

    def events(self, kind: str, subject: str) -> list[Event]:
        """All events of a kind about a subject, oldest first."""
        rows = self._session.execute(f"{_SELECT} WHERE kind = ? AND subject = ? ORDER BY seq", (kind, subject))
        return [_event(row) for row in rows]

    def append(
        self,
        kind: str,
        subject: str,
        body: Mapping[str, Any],
        *,
        key: str | None = None,
        sets: Sequence[tuple[str, str, Mapping[str, Any]]] = (),
        tells: Sequence[tuple[str, str, Mapping[str, Any]]] = (),
        expected: Mapping[tuple[str, str], int] | None = None,
    ) -> Event:
        """Seal one event; set states and queue messages with it.

        Parameters
        ----------
        kind, subject : str
            What happened, to what.
        body : mapping
            JSON-ready facts.
        key : str, optional
            Idempotency key. If an event has it already, nothing is written and that event is returned with
            ``is_new=False``.
        sets : sequence of (kind, key, value)
            States that become true with this event.
        tells : sequence of (topic, key, body)
            Messages for the outbox; a key that is already queued is not queued again.
        expected : mapping of (kind, key) to int, optional
            Compare-and-swap: the generation each named state must have (0 for "not there").

        Raises
        ------
        Conflict
            LEDGER-01 when a state has moved on since the caller read it.
        """
        if key is not None:
            earlier = self.find(key)
            if earlier is not None:
                return earlier
        changes = [self._change(change_kind, change_key, value, expected) for change_kind, change_key, value in sets]
        last_seq, prev = self._session.execute("SELECT seq, hash FROM head")[0]
        seq = last_seq + 1
        at = to_text(self._clock.now())
        body_text, sets_text = canonical_json(dict(body)), canonical_json(changes)
        seal = seal_event(seq, at, kind, subject, key, body_text, sets_text, prev)
        self._session.execute(
            "INSERT INTO event (seq, at, kind, subject, key, body, sets, prev, hash) VALUES (?,?,?,?,?,?,?,?,?)",
            (seq, at, kind, subject, key, body_text, sets_text, prev, seal),
        )
        self._session.execute("UPDATE head SET seq = ?, hash = ?", (seq, seal))
        for change in changes:
            self._put(change, seq)
        for topic, message_key, message in tells:
            self._session.execute(
                "INSERT INTO outbox (topic, key, body, seq, attempts, next_at) VALUES (?,?,?,?,0,0) "
                "ON CONFLICT (topic, key) DO NOTHING",
                (topic, message_key, canonical_json(dict(message)), seq),
            )
        return Event(seq, at, kind, subject, key, dict(body), tuple(changes), prev, seal)

    def _change(
        self, kind: str, key: str, value: Mapping[str, Any], expected: Mapping[tuple[str, str], int] | None
    ) -> dict[str, Any]:
        current = self.state(kind, key)
        generation = current.generation if current else 0
        wanted = (expected or {}).get((kind, key), generation)
        if wanted != generation:
            raise Conflict(
                "LEDGER-01",
                f"{kind} '{key}' is at generation {generation}, not {wanted}: somebody else changed it first",
                why="the decision was taken on a state that is no longer true; nothing was written",
                fix="look at `millrace history`, and decide again",
            )
        return {"kind": kind, "key": key, "value": dict(value), "generation": generation + 1}

    def _put(self, change: Mapping[str, Any], seq: int) -> None:
        self._session.execute(
            "INSERT INTO state (kind, key, value, generation, seq) VALUES (?,?,?,?,?) "
            "ON CONFLICT (kind, key) DO UPDATE SET value = excluded.value, "
            "generation = excluded.generation, seq = excluded.seq",
            (change["kind"], change["key"], canonical_json(change["value"]), change["generation"], seq),
        )


class Ledger:
    """The project's record. Open with `Ledger.open(url)`."""

    def __init__(self, database: Database, clock: Clock | None = None) -> None:
        self.database = database
        self.clock: Clock = clock or SystemClock()
        self.outbox = Outbox(database)
        create_schema(database)

    @classmethod
    def open(cls, url: str, clock: Clock | None = None) -> Ledger:
        """The ledger in the database behind `url`, its tables made if they are missing."""
        return cls(open_database(url), clock)

    @contextmanager
    def transaction(self, lease: Lease | None = None) -> Iterator[Transaction]:
        """An atomic block. With `lease`, it fails (LEASE-02) unless that lease still holds."""
        with self.database.transaction() as session:
            if lease is not None:
                check_fence(session, lease)
            yield Transaction(session, self.clock)

    def append(self, kind: str, subject: str, body: Mapping[str, Any], **options: Any) -> Event:
        """One event in its own transaction; see `Transaction.append`."""
        with self.transaction() as transaction:
            return transaction.append(kind, subject, body, **options)

    def find(self, key: str) -> Event | None:
        """The event with this idempotency key, or None."""
        rows = self.database.read(f"{_SELECT} WHERE key = ?", (key,))
        return _event(rows[0], is_new=False) if rows else None

    def get_event(self, seq: int) -> Event:
        """The event number `seq`. Raises StoreError LEDGER-03 when there is none."""
        rows = self.database.read(f"{_SELECT} WHERE seq = ?", (seq,))
        if not rows:
            raise StoreError("LEDGER-03", f"the ledger has no event {seq}", fix="millrace history lists them")
        return _event(rows[0])

    def events(
        self,
        kind: str | None = None,
        subject: str | None = None,
        *,
        after: int = 0,
        last: int | None = None,
    ) -> list[Event]:
        """Events oldest first, optionally of one kind or subject, after a number, or only the `last` so many."""
        where = ["seq > ?"]
        filters: list[Any] = [after]
        if kind is not None:
            where.append("kind = ?")
            filters.append(kind)
        if subject is not None:
            where.append("subject = ?")
            filters.append(subject)
        order = "ORDER BY seq" if last is None else "ORDER BY seq DESC LIMIT ?"
        if last is not None:
            filters.append(last)
        rows = self.database.read(f"{_SELECT} WHERE {' AND '.join(where)} {order}", filters)
        return [_event(row) for row in (rows if last is None else reversed(rows))]

    def state(self, kind: str, key: str) -> State | None:
        """What is true now under (`kind`, `key`), or None."""
        rows = self.database.read(f"{_SELECT_STATE} WHERE kind = ? AND key = ?", (kind, key))
        return _state(rows[0]) if rows else None

    def states(self, kind: str) -> list[State]:
        """All that is true now of a kind, by key."""
        return [_state(row) for row in self.database.read(f"{_SELECT_STATE} WHERE kind = ? ORDER BY key", (kind,))]

    def verify(self) -> Verification:
        """Recompute every seal and every state from the first event on."""
        return verify_chain(self.database)

    def close(self) -> None:
        self.database.close()


@dataclass(frozen=True, slots=True)
class Verification:
    """What a check of the chain found: `problems` is empty when it holds."""

    events: int
    head: str
    problems: tuple[str, ...]

    @property
    def is_intact(self) -> bool:
        return not self.problems


def verify_chain(database: Database) -> Verification:
    """Recompute the chain and its projection; every deviation is one line.

    Events, states and head are read from one snapshot: read one after the other they would differ by whatever a
    writer added in between.
    """
    with database.snapshot() as session:
        events = session.execute(f"{_SELECT} ORDER BY seq")
        state_rows = session.execute(_SELECT_STATE)
        sealed = session.execute("SELECT seq, hash FROM head")
    problems: list[str] = []
    expected_seq, prev, count = 1, GENESIS, 0
    states: dict[tuple[str, str], tuple[str, int, int]] = {}
    for seq, at, kind, subject, key, body, sets, row_prev, row_hash in events:
        count += 1
        if seq != expected_seq:
            problems.append(f"event {expected_seq} is missing: the next is {seq}")
        if row_prev != prev:
            problems.append(f"event {seq} does not follow the event before it")
        if seal_event(seq, at, kind, subject, key, body, sets, row_prev) != row_hash:
            problems.append(f"event {seq} ({kind} {subject}) was changed after it was written")
        try:
            changes = json.loads(sets)
        except ValueError:
            problems.append(f"event {seq} is not readable")
            changes = []
        for change in changes:
            value = canonical_json(change["value"])
            states[(change["kind"], change["key"])] = (value, change["generation"], seq)
        expected_seq, prev = seq + 1, row_hash
    stored = {(kind, key): (value, generation, seq) for kind, key, value, generation, seq in state_rows}
    problems.extend(
        f"state {kind} '{key}' does not follow from the events"
        for kind, key in sorted(states.keys() | stored.keys())
        if states.get((kind, key)) != stored.get((kind, key))
    )
    if not sealed or sealed[0] != (expected_seq - 1, prev):
        problems.append(f"the ledger ends at event {expected_seq - 1}, not where the last writer left it")
    return Verification(count, prev, tuple(problems))


def seal_event(seq: int, at: str, kind: str, subject: str, key: str | None, body: str, sets: str, prev: str) -> str:
    """The digest that seals an event to the one before it."""
    return digest_parts((prev, str(seq), at, kind, subject, key if key is not None else "\x00", body, sets))


_SELECT = "SELECT seq, at, kind, subject, key, body, sets, prev, hash FROM event"
_SELECT_STATE = "SELECT kind, key, value, generation, seq FROM state"


def _event(row: Sequence[Any], *, is_new: bool = True) -> Event:
    seq, at, kind, subject, key, body, sets, prev, seal = row
    try:
        return Event(seq, at, kind, subject, key, json.loads(body), tuple(json.loads(sets)), prev, seal, is_new)
    except ValueError as error:
        raise StoreError(
            "LEDGER-02",
            f"event {seq} of the ledger is not readable",
            why="the row was changed by something other than Millrace",
            fix="`millrace ledger verify` lists every damaged row; restore the file from a backup",
        ) from error


def _state(row: Sequence[Any]) -> State:
    kind, key, value, generation, seq = row
    try:
        return State(kind, key, json.loads(value), generation, seq)
    except ValueError as error:
        raise StoreError(
            "LEDGER-02",
            f"state {kind} '{key}' of the ledger is not readable",
            why="the row was changed by something other than Millrace",
            fix="`millrace ledger verify` lists every damaged row; restore the file from a backup",
        ) from error
