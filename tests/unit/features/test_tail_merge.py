"""Merging many keys at once: as each by itself, in the few array operations that most of them need."""

from __future__ import annotations

from typing import Any

import pyarrow as pa
import pytest
from orders_shop import day, make_source

from millrace.core.clock import to_micros
from millrace.core.errors import StoreError
from millrace.features import aggregation as mr
from millrace.features.columns import TIME
from millrace.features.events import read_events
from millrace.features.online.batch import pack_events
from millrace.features.online.tail import retention_of
from millrace.features.online.tail_merge import TailMerge
from millrace.features.view import FeatureView

DAY = 86_400_000_000


def packed(view: FeatureView, days: list[int], value: Any = 1) -> bytes:
    table = pa.table({"ts": pa.array([day(one) for one in days], TIME), "a": [value] * len(days)})
    ((_, data),) = pack_events(read_events(table, view), view)
    return data


@pytest.fixture
def view() -> FeatureView:
    return FeatureView("v", entity=None, source=make_source(), features={"a": "a", "n": mr.count(window="3d")})


def merge_of(view: FeatureView) -> TailMerge:
    return TailMerge(retention_of(view, DAY), to_micros(day(100)), is_replay=True)


@pytest.mark.parametrize("news", [[5], [5, 6], [1], [2, 5], [90], [2], [1, 2], [0]])
def test_many_keys_are_merged_as_each_by_itself(view: FeatureView, news: list[int]) -> None:
    merge = merge_of(view)
    olds = [packed(view, [1]), packed(view, [1, 2]), packed(view, [1, 2, 4]), packed(view, [1, 2], 2.5), None] * 20
    comes = [packed(view, news)] * len(olds)

    together = merge.many(olds, comes)

    assert together == [merge(old, new) for old, new in zip(olds, comes, strict=True)]


def test_newer_events_are_put_behind_without_a_look_at_each_key(
    view: FeatureView, monkeypatch: pytest.MonkeyPatch
) -> None:
    merge = merge_of(view)
    olds = [packed(view, [1, 2])] * 50
    comes = [packed(view, [day_]) for day_ in [2] * 25 + [5] * 25]
    expected = [merge(old, new) for old, new in zip(olds, comes, strict=True)]
    monkeypatch.setattr(TailMerge, "__call__", None)

    together = merge.many(olds, comes)

    assert together == expected
    assert all(one is old for one, old in zip(together[:25], olds, strict=False))


@pytest.mark.parametrize(
    "cut", [lambda old: old[:-8], lambda old: old[:3], lambda old: b"", lambda old: bytes(8) + old[8:]]
)
def test_a_damaged_value_among_many_is_found(view: FeatureView, cut: Any) -> None:
    old = packed(view, [1])

    with pytest.raises(StoreError, match="FEAT-22"):
        merge_of(view).many([old] * 40 + [cut(old)], [packed(view, [2])] * 41)
