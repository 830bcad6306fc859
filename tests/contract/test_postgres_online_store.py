"""The Postgres store passes the shipped suite against a real server."""

from __future__ import annotations

from typing import Any

import pytest

from millrace.adapters.postgres import open_postgres
from millrace.testing.shared_online_store import SharedOnlineStoreContract


class TestPostgres(SharedOnlineStoreContract):
    @pytest.fixture
    def open_again(self, postgres_server: Any, place: str, handles: Any) -> Any:
        return lambda: handles(open_postgres, f"{postgres_server.url}?table={place}")

    @pytest.fixture
    def store(self, open_again: Any) -> Any:
        return open_again()
