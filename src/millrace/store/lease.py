"""Leases with fencing: one process at a time does a thing, and a process that lost its lease cannot write.

A lease ends when it is released, when its time is over, or when its owner is known to be dead (same machine, and the
process with that number and start time is gone): a killed process does not block the next one. Lease time is the
machine's own, never the injected clock: a replayed year must not end a lease.
"""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from millrace.core.errors import Conflict
from millrace.store.database import Database, Session

DEFAULT_LEASE_S = 60.0


@dataclass(frozen=True, slots=True)
class Lease:
    """The right to act on `resource`. `fence` grows with every new holder."""

    resource: str
    owner: str
    fence: int


def acquire(database: Database, resource: str, *, seconds: float = DEFAULT_LEASE_S) -> Lease:
    """Take the lease on `resource`.

    Raises
    ------
    Conflict
        LEASE-01 while another living process holds it.
    """
    owner, now = this_process(), time.time()
    with database.transaction() as session:
        rows = session.execute("SELECT owner, fence, until FROM lease WHERE resource = ?", (resource,))
        fence = 1
        if rows:
            holder, held_fence, until = rows[0]
            if holder and until > now and is_alive(holder):
                raise Conflict(
                    "LEASE-01",
                    f"'{resource}' is held by another process ({holder.split('#')[0]})",
                    why="two at once would do the same work twice",
                    fix="wait until it ends, or stop that process: its lease then ends at once",
                )
            fence = held_fence + 1
            session.execute(
                "UPDATE lease SET owner = ?, fence = ?, until = ? WHERE resource = ?",
                (owner, fence, now + seconds, resource),
            )
        else:
            session.execute(
                "INSERT INTO lease (resource, owner, fence, until) VALUES (?,?,?,?)",
                (resource, owner, fence, now + seconds),
            )
    return Lease(resource, owner, fence)


def renew(database: Database, lease: Lease, *, seconds: float = DEFAULT_LEASE_S) -> None:
    """Extend the lease; one that lasts longer already is left. Raises Conflict LEASE-02 when it was lost."""
    with database.transaction() as session:
        check_fence(session, lease)
        until = time.time() + seconds
        session.execute("UPDATE lease SET until = ? WHERE resource = ? AND until < ?", (until, lease.resource, until))


def release(database: Database, lease: Lease) -> None:
    """Give the lease back; nothing happens when it is already lost."""
    with database.transaction() as session:
        session.execute(
            "UPDATE lease SET owner = '', until = 0 WHERE resource = ? AND fence = ?",
            (lease.resource, lease.fence),
        )


@contextmanager
def holding(database: Database, resource: str, *, seconds: float = DEFAULT_LEASE_S) -> Iterator[Lease]:
    """The lease on `resource` for the length of the block."""
    lease = acquire(database, resource, seconds=seconds)
    try:
        yield lease
    finally:
        release(database, lease)


def check_fence(session: Session, lease: Lease) -> None:
    """Raise Conflict LEASE-02 unless `lease` is the newest on its resource."""
    rows = session.execute("SELECT owner, fence FROM lease WHERE resource = ?", (lease.resource,))
    if not rows or rows[0] != (lease.owner, lease.fence):
        raise Conflict(
            "LEASE-02",
            f"the lease on '{lease.resource}' was lost to another process",
            why="this process was silent for too long; what it wanted to write is not written",
            fix="nothing to mend: the other process goes on with the work",
        )


def this_process() -> str:
    """Host, number and start time of this process, as a lease's owner."""
    return f"{socket.gethostname()}:{os.getpid()}#{_start_time(os.getpid())}"


def is_alive(owner: str) -> bool:
    """Whether a lease's owner may still run; another machine's process is taken to be alive."""
    place, _, started = owner.partition("#")
    host, _, number = place.rpartition(":")
    if host != socket.gethostname() or not number.isdigit():
        return True
    now_started = _start_time(int(number))
    if now_started == "?":  # no /proc on this system: ask with signal 0
        try:
            os.kill(int(number), 0)
        except ProcessLookupError:
            return False
        except PermissionError:
            return True
        return True
    return now_started == started


def _start_time(pid: int) -> str:
    if not Path("/proc/self/stat").exists():
        return "?"
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return "gone"
    fields = stat.rpartition(")")[2].split()
    return "gone" if fields[0] == "Z" else fields[19]
