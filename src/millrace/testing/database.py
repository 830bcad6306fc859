"""What every database must do to hold a ledger. Subclass `DatabaseContract`, give a `database` fixture."""

from __future__ import annotations

import threading
from typing import Any


class DatabaseContract:
    """The behaviour that the ledger relies on. `database` is a fixture: a fresh, empty database."""

    def test_what_a_transaction_wrote_is_read(self, database: Any) -> None:
        with database.transaction() as session:
            session.execute("CREATE TABLE t (n BIGINT PRIMARY KEY, text TEXT)")
            session.execute("INSERT INTO t (n, text) VALUES (?, ?)", (1, "ä 'quoted'"))
            assert session.execute("SELECT n, text FROM t") == [(1, "ä 'quoted'")]

        assert database.read("SELECT n, text FROM t WHERE n = ?", (1,)) == [(1, "ä 'quoted'")]

    def test_a_block_that_raises_leaves_nothing(self, database: Any) -> None:
        with database.transaction() as session:
            session.execute("CREATE TABLE t (n BIGINT)")
        try:
            with database.transaction() as session:
                session.execute("INSERT INTO t (n) VALUES (1)")
                raise RuntimeError("stop")
        except RuntimeError:
            pass

        assert database.read("SELECT n FROM t") == []

    def test_a_snapshot_stays_as_it_was_and_holds_up_no_writer(self, database: Any) -> None:
        with database.transaction() as session:
            session.execute("CREATE TABLE t (n BIGINT)")

        def add() -> None:
            with database.transaction() as session:
                session.execute("INSERT INTO t (n) VALUES (1)")

        with database.snapshot() as snapshot:
            before = snapshot.execute("SELECT n FROM t")
            writer = threading.Thread(target=add)
            writer.start()
            writer.join()
            after = snapshot.execute("SELECT n FROM t")

        assert (before, after) == ([], [])
        assert database.read("SELECT n FROM t") == [(1,)]

    def test_tables_are_known_by_name(self, database: Any) -> None:
        assert not database.has_table("t")
        with database.transaction() as session:
            session.execute("CREATE TABLE t (n BIGINT)")
        assert database.has_table("t")

    def test_writers_come_one_after_the_other(self, database: Any) -> None:
        with database.transaction() as session:
            session.execute("CREATE TABLE t (n BIGINT)")
            session.execute("INSERT INTO t (n) VALUES (0)")

        def add() -> None:
            for _ in range(50):
                with database.transaction() as session:
                    ((count,),) = session.execute("SELECT n FROM t")
                    session.execute("UPDATE t SET n = ?", (count + 1,))

        threads = [threading.Thread(target=add) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

        assert database.read("SELECT n FROM t") == [(200,)]
