"""The ledger's tables, in the SQL that SQLite and Postgres share."""

from __future__ import annotations

from millrace.core.errors import StoreError
from millrace.store.database import Database

GENESIS = "0" * 64
VERSION = 1

_TABLES = (
    "CREATE TABLE IF NOT EXISTS ledger_version (version INTEGER PRIMARY KEY)",
    """CREATE TABLE IF NOT EXISTS event (
        seq BIGINT PRIMARY KEY,
        at TEXT NOT NULL,
        kind TEXT NOT NULL,
        subject TEXT NOT NULL,
        key TEXT UNIQUE,
        body TEXT NOT NULL,
        sets TEXT NOT NULL,
        prev TEXT NOT NULL,
        hash TEXT NOT NULL
    )""",
    "CREATE INDEX IF NOT EXISTS event_kind_subject ON event (kind, subject, seq)",
    "CREATE INDEX IF NOT EXISTS event_subject ON event (subject, seq)",
    "CREATE TABLE IF NOT EXISTS head (one INTEGER PRIMARY KEY, seq BIGINT NOT NULL, hash TEXT NOT NULL)",
    """CREATE TABLE IF NOT EXISTS state (
        kind TEXT NOT NULL,
        key TEXT NOT NULL,
        value TEXT NOT NULL,
        generation BIGINT NOT NULL,
        seq BIGINT NOT NULL,
        PRIMARY KEY (kind, key)
    )""",
    """CREATE TABLE IF NOT EXISTS outbox (
        topic TEXT NOT NULL,
        key TEXT NOT NULL,
        body TEXT NOT NULL,
        seq BIGINT NOT NULL,
        attempts INTEGER NOT NULL,
        next_at DOUBLE PRECISION NOT NULL,
        done_at DOUBLE PRECISION,
        error TEXT,
        PRIMARY KEY (topic, key)
    )""",
    """CREATE TABLE IF NOT EXISTS lease (
        resource TEXT PRIMARY KEY,
        owner TEXT NOT NULL,
        fence BIGINT NOT NULL,
        until DOUBLE PRECISION NOT NULL
    )""",
)


def create_schema(database: Database) -> None:
    """Make the tables if they are missing.

    Raises
    ------
    StoreError
        LEDGER-04 when a newer Millrace wrote the ledger.
    """
    if database.has_table("ledger_version"):
        rows = database.read("SELECT version FROM ledger_version")
        if rows and rows[0][0] == VERSION:
            return
        if rows and rows[0][0] > VERSION:
            raise StoreError(
                "LEDGER-04",
                f"the ledger has version {rows[0][0]}; this Millrace reads up to {VERSION}",
                fix="pip install --upgrade millrace",
            )
    with database.transaction() as session:
        for statement in _TABLES:
            session.execute(statement)
        if not session.execute("SELECT version FROM ledger_version"):
            session.execute("INSERT INTO ledger_version (version) VALUES (?)", (VERSION,))
            session.execute("INSERT INTO head (one, seq, hash) VALUES (1, 0, ?)", (GENESIS,))
