"""The port to a SQL database. The ledger's SQL is the subset that SQLite and Postgres share."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from typing import Any, Protocol

from millrace.core.plugins import load_plugin, scheme_of

Row = tuple[Any, ...]


class Session(Protocol):
    """One open transaction."""

    def execute(self, sql: str, parameters: Sequence[Any] = ()) -> list[Row]:
        """Run one statement with ``?`` placeholders; rows for a query, else an empty list."""
        ...


class Database(Protocol):
    """A SQL database with serialised write transactions. Safe to share between threads.

    A forked child may use it too, through connections of its own; the process that forked keeps the connections it
    had then open, and no thread of it inside a transaction or a read at that instant, until the child is done.
    """

    def transaction(self) -> AbstractContextManager[Session]:
        """A write transaction that sees and blocks all others; durable when the block ends, undone if it raises."""
        ...

    def snapshot(self) -> AbstractContextManager[Session]:
        """Several queries over one committed state; waits for no writer and holds none up. Nothing is written in it."""
        ...

    def read(self, sql: str, parameters: Sequence[Any] = ()) -> list[Row]:
        """Rows of one query over the last committed state."""
        ...

    def has_table(self, name: str) -> bool:
        """Whether a table of that name exists."""
        ...

    def close(self) -> None:
        """Close this thread's connection; in a forked child, never one that it inherited."""
        ...


def open_database(url: str) -> Database:
    """The database behind `url`, such as ``sqlite:///state/ledger.db``."""
    database: Database = load_plugin("databases", scheme_of(url))(url)
    return database
