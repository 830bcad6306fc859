"""The Redis store passes the shipped suite against a real server, by TCP and by socket."""

from __future__ import annotations

from typing import Any

import pytest

from millrace.adapters.redis import open_redis
from millrace.testing.shared_online_store import SharedOnlineStoreContract


class TestRedis(SharedOnlineStoreContract):
    @pytest.fixture
    def open_again(self, redis_server: Any, place: str, handles: Any) -> Any:
        return lambda: handles(open_redis, f"{redis_server.url}?prefix={place}")

    @pytest.fixture
    def store(self, open_again: Any) -> Any:
        return open_again()


class TestRedisBySocket(TestRedis):
    many = 1_000

    @pytest.fixture
    def open_again(self, redis_server: Any, place: str, handles: Any) -> Any:
        return lambda: handles(open_redis, f"unix://{redis_server.socket}?db=0&prefix={place}")
