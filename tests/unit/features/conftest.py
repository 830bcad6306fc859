"""Fixtures of the feature store's tests."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from orders_shop import day, reader

from millrace.core.clock import ManualClock
from millrace.features.entity import Entity
from millrace.features.store import FeatureStore
from millrace.testing.memory_store import open_memory


@pytest.fixture
def customer() -> Entity:
    return Entity("customer", key="customer_id")


@pytest.fixture
def make_store() -> Callable[..., FeatureStore]:
    def make(views: Any, tables: Any, **options: Any) -> FeatureStore:
        options.setdefault("online", open_memory())
        options.setdefault("clock", ManualClock(day(100)))
        read = options.pop("read", None) or reader(tables)
        return FeatureStore(views if isinstance(views, list) else [views], read=read, **options)

    return make
