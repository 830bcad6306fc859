"""The DynamoDB store passes the shipped suite against moto's server."""

from __future__ import annotations

from typing import Any

import pytest

from millrace.adapters.dynamodb import open_dynamodb
from millrace.testing.shared_online_store import SharedOnlineStoreContract


class TestDynamoDB(SharedOnlineStoreContract):
    many = 300
    large = 290 * 1024  # moto counts the Base64 of a value, the real one its bytes

    @pytest.fixture
    def open_again(self, dynamo_server: Any, aws: None, place: str, handles: Any) -> Any:
        # moto answers one request at a time: what many threads ask at once waits longer than it would at the real one.
        url = dynamo_server.url(place, create="yes", timeout_s=30)
        return lambda: handles(open_dynamodb, url)

    @pytest.fixture
    def store(self, open_again: Any) -> Any:
        return open_again()
