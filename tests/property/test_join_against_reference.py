"""The as-of join against a reference that looks at every event for every row, on logs full of ties, nulls and edges."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, event, given, settings
from hypothesis import strategies as st

from millrace.core.clock import ManualClock
from millrace.data.reader import SourceReader
from millrace.data.source import Source
from millrace.features import aggregation as mr
from millrace.features import buckets
from millrace.features.columns import TIME
from millrace.features.entity import Entity
from millrace.features.offline.asked_keys import AskedKeys
from millrace.features.offline.sorting import order_by_key_and_time
from millrace.features.store import FeatureStore
from millrace.features.view import FeatureView
from millrace.features.workspace import Workspace
from millrace.testing.memory_store import MemoryOnlineStore, open_memory

START = datetime(2024, 1, 1, tzinfo=UTC)
TINY = 200
"""Bytes of memory with which a log of a few rows takes several buckets."""


def minute(number: float | None) -> datetime | None:
    return None if number is None else START + timedelta(minutes=number)


# --- the reference: nothing but the meaning --------------------------------------------------------------------------


@dataclass(frozen=True)
class Meaning:
    """A view in plain words: what its answers must be."""

    keys: tuple[str, ...]
    created: str | None
    delay: timedelta
    ttl: timedelta | None
    as_known: bool

    def visible(self, log: list[dict[str, Any]], row: dict[str, Any]) -> list[dict[str, Any]]:
        """The events that `row` may know, the newest last."""
        at = row["event_time"]
        if at is None or any(row[key] is None for key in self.keys):
            return []
        found = []
        for place, one in enumerate(log):
            if one["ts"] is None or any(one[key] is None or one[key] != row[key] for key in self.keys):
                continue
            created = None if self.created is None else one[self.created]
            if one["ts"] + self.delay > at:
                continue
            if self.created and self.as_known and (created is None or created > at):
                continue
            # A created time that nobody knows is older than any other.
            found.append((one["ts"], created is not None, created or START, place, one))
        return [one for *_, one in sorted(found, key=lambda entry: entry[:4])]

    def answer(self, rule: Any, log: list[dict[str, Any]], row: dict[str, Any]) -> Any:
        events, at = self.visible(log, row), row["event_time"]
        if not events or (self.ttl and at - (events[-1]["ts"] + self.delay) > self.ttl):
            return None
        if rule.kind in ("last", "lag"):
            return events[-1 - rule.steps][rule.column] if len(events) > rule.steps else None
        if rule.kind == "days_since_last":
            return (at - events[-1]["ts"]) // timedelta(days=1)
        if rule.window is not None:
            events = [one for one in events if one["ts"] + self.delay > at - rule.window]
        values = events if rule.column is None else [one[rule.column] for one in events if one[rule.column] is not None]
        if rule.kind == "count":
            return len(values)
        return {"sum": sum, "min": min, "max": max}[rule.kind](values) if values else None


# --- logs, rows and views full of edges ------------------------------------------------------------------------------

moments = st.sampled_from([None, 0, 1, 1, 2, 2, 3, 5, 10, 11, 1440, 1441, 2881])
ids = st.sampled_from([1, 1, 2, 3, 2**62 + 1, -5, None])
shops = st.sampled_from(["a", "a", "b", "", "ü", None])
events_made = st.fixed_dictionaries(
    {
        "id": ids, "shop": shops, "ts": moments, "created": moments,
        "i": st.sampled_from([None, 0, 1, 2**53 + 1, -(2**40)]),
        "s": st.sampled_from([None, "", "x", "text"]),
    }
)  # fmt: skip
rows_made = st.fixed_dictionaries({"id": ids, "shop": shops, "event_time": moments, "i": st.integers(0, 9)})
RULES = {
    "x": mr.last("i"), "s": mr.last("s"), "before": mr.lag("s", 2), "days": mr.days_since_last(),
    "n": mr.count(), "n2": mr.count("i", window="2m"), "total": mr.sum("i", window="1d"), "least": mr.min("i"),
    "most": mr.max("i", window="9m"),
}  # fmt: skip
LOG = pa.schema(
    [("id", pa.int64()), ("shop", pa.string()), ("ts", TIME), ("created", TIME), ("i", pa.int64()), ("s", pa.string())]
)
ASKED = pa.schema([("id", pa.int64()), ("shop", pa.string()), ("event_time", TIME), ("i", pa.int64())])


def in_time(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    times = ("ts", "created", "event_time")
    return [{name: minute(value) if name in times else value for name, value in row.items()} for row in rows]


@st.composite
def meanings(draw: st.DrawFn) -> Meaning:
    return Meaning(
        keys=draw(st.sampled_from([("id",), ("id",), ("shop", "id"), ("shop",), ()])),
        created=draw(st.sampled_from([None, "created"])),
        delay=timedelta(minutes=draw(st.sampled_from([0, 0, 1, 3]))),
        ttl=draw(st.sampled_from([None, None, timedelta(minutes=2), timedelta(days=1)])),
        as_known=draw(st.booleans()),
    )


def view_of(meaning: Meaning, source: Any, name: str = "v") -> FeatureView:
    entity = Entity("e", key=meaning.keys) if meaning.keys else None
    return FeatureView(name, entity=entity, source=source, features=RULES, ttl=meaning.ttl)


@settings(max_examples=250, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(meaning=meanings(), log=st.lists(events_made, max_size=25), rows=st.lists(rows_made, max_size=12))
def test_every_answer_is_what_the_meaning_says(
    meaning: Meaning, log: list[dict[str, Any]], rows: list[dict[str, Any]]
) -> None:
    log, rows = in_time(log), in_time(rows)
    expected = [
        {**row, **{f"v__{name}": meaning.answer(rule, log, row) for name, rule in RULES.items()}} for row in rows
    ]
    table = pa.Table.from_pylist(log, schema=LOG)
    source = SimpleNamespace(name="log", event_time="ts", created=meaning.created, delay=meaning.delay)
    view = view_of(meaning, source)
    asked = pa.Table.from_pylist(rows, schema=ASKED)

    for workspace in (Workspace(), Workspace(memory_bytes=TINY)):
        store = FeatureStore([view], read=lambda *_: table, workspace=workspace)
        found = store.get_historical_features(asked, ["v"], as_known=meaning.as_known, full_feature_names=True)

        assert found.to_arrow().to_pylist() == expected
    if any(row["v__x"] is not None for row in expected):
        event("some answers")


# --- many buckets, from files, give the same bits as one --------------------------------------------------------------


@pytest.fixture(scope="module")
def folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as name:
        yield Path(name)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(meaning=meanings(), seed=st.integers(0, 2**32), limit=st.sampled_from([4_000, 50_000, 400_000]))
def test_many_buckets_on_disk_give_the_same_bits(folder: Path, meaning: Meaning, seed: int, limit: int) -> None:
    rng = np.random.default_rng(seed)
    write_log(folder, rng)
    source = Source("log", "log", event_time="ts", created=meaning.created, delay=meaning.delay)
    features = {**RULES, "mean": mr.mean("f", window="3h"), "std": mr.std("f"), "f": mr.last("f")}
    entity = Entity("e", key=meaning.keys) if meaning.keys else None
    view = FeatureView("v", entity=entity, source=source, features=features, ttl=meaning.ttl)
    rows = random_table(rng, 700).select(["id", "shop", "ts"]).rename_columns(["id", "shop", "event_time"])
    progress: list[tuple[int, int]] = []

    def joined(workspace: Workspace) -> pa.Table:
        store = FeatureStore([view], read=SourceReader(folder), workspace=workspace)
        found = store.get_historical_features(
            rows, ["v"], as_known=meaning.as_known, progress=lambda *told: progress.append(told)
        )
        return found.to_arrow()

    whole = joined(Workspace())
    split = joined(Workspace(memory_bytes=limit, folder=folder / "spill"))

    assert split.schema == whole.schema
    assert split.equals(whole)
    assert bits(split) == bits(whole)
    assert progress[-1] == (100, 100)
    assert [path.name for path in (folder / "spill").glob("*")] in ([], [".lock"])


def random_table(rng: np.random.Generator, rows: int) -> pa.Table:
    def times() -> pa.Array:
        return pa.array(rng.integers(0, 5000, rows) * 60_000_000 + 1_704_067_200_000_000).cast(TIME)

    return pa.table(
        {
            "id": pa.array(rng.integers(0, 90, rows) * 2**50, mask=rng.random(rows) < 0.02),
            "shop": pa.array(rng.choice(["a", "b", "", "ü"], rows)).dictionary_encode(),
            "ts": times(),
            "created": times(),
            "i": pa.array(rng.integers(-(2**40), 2**40, rows), mask=rng.random(rows) < 0.1),
            "f": np.where(rng.random(rows) < 0.05, np.nan, rng.normal(size=rows) * 10.0 ** rng.integers(-9, 9, rows)),
            "s": pa.array([str(number) * (number % 7) for number in rng.integers(0, 999, rows)]),
            "unused": rng.random(rows),
        }
    )


def write_log(folder: Path, rng: np.random.Generator) -> None:
    for number, rows in enumerate((1500, 0, 900)):
        path = folder / "log" / f"part={number}" / "rows.parquet"
        path.parent.mkdir(parents=True, exist_ok=True)
        pq.write_table(random_table(rng, rows), path, row_group_size=400)


def bits(table: pa.Table) -> list[bytes]:
    """Every float as its bytes: -0.0 is not 0.0 here."""
    floats = [name for name in table.column_names if pa.types.is_floating(table.schema.field(name).type)]
    return [table[name].fill_null(12345.0).to_numpy().tobytes() for name in floats]


# --- the parts --------------------------------------------------------------------------------------------------------

words = st.integers(-(2**63), 2**63 - 1)


@settings(max_examples=150, deadline=None)
@given(data=st.data(), count=st.sampled_from([1, 2, 5, 2**30]), span=st.sampled_from([1, 3, 2**20, 2**45, 2**63]))
def test_the_order_is_that_of_a_stable_sort(data: st.DataObject, count: int, span: int) -> None:
    codes = np.array(data.draw(st.lists(st.integers(0, count - 1), max_size=40)), dtype=np.int64)
    size = len(codes)
    # Close together or at both ends: with a long span, the leading bits do not tell close times apart.
    at = st.integers(-span, span - 1) | st.integers(-span, min(3 - span, span - 1)) | st.just(span - 1)
    times = np.array(data.draw(st.lists(at, min_size=size, max_size=size)), dtype=np.int64)
    ties = data.draw(st.none() | st.lists(st.integers(0, 2) | words, min_size=size, max_size=size))
    ties = None if ties is None else np.array(ties, dtype=np.int64)

    order = order_by_key_and_time(codes, count, times, ties)

    expected = np.lexsort([*([] if ties is None else [ties]), times, codes]) if size else np.arange(0)
    assert order.tolist() == expected.tolist()


@settings(max_examples=150, deadline=None)
@given(asked=st.lists(st.tuples(ids, shops), max_size=15), others=st.lists(st.tuples(ids, shops), max_size=15))
def test_equal_keys_have_equal_numbers(asked: list[Any], others: list[Any]) -> None:
    def arrays(pairs: list[Any]) -> list[pa.Array]:
        return [pa.array([one for one, _ in pairs], pa.int64()), pa.array([one for _, one in pairs], pa.string())]

    keys = AskedKeys.of(arrays(asked), len(asked))
    found = keys.find(arrays(others), len(others))

    number = dict(zip(asked, keys.codes.tolist(), strict=True))
    assert all((code == -1) == (None in pair) for pair, code in number.items())
    assert len({code for code in number.values() if code >= 0}) == len([pair for pair in number if None not in pair])
    assert found.tolist() == [-1 if None in pair else number.get(pair, -1) for pair in others]
    assert found.max(initial=-1) < keys.count


@settings(max_examples=50, deadline=None)
@given(pairs=st.lists(st.tuples(ids, shops), max_size=30), cut=st.integers(0, 30), count=st.integers(1, 300))
def test_a_key_is_in_one_bucket_whatever_stands_around_it(pairs: list[Any], cut: int, count: int) -> None:
    def places(some: list[Any]) -> list[int]:
        keys = [pa.array([one for one, _ in some], pa.int64()), pa.array([one for _, one in some], pa.string())]
        return buckets.places_by_key(keys, len(some), count).tolist()

    together = places(pairs)

    assert places(pairs[:cut]) + places(pairs[cut:]) == together
    assert len(set(zip(pairs, together, strict=True))) == len(set(pairs))
    assert all(0 <= place < count for place in together)


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(meaning=meanings(), seed=st.integers(0, 2**32))
def test_materializing_bucket_by_bucket_leaves_the_same_bytes_online(folder: Path, meaning: Meaning, seed: int) -> None:
    write_log(folder, np.random.default_rng(seed))
    source = Source("log", "log", event_time="ts", created=meaning.created, delay=meaning.delay)
    view = view_of(meaning, source)

    def stored(workspace: Workspace) -> tuple[dict[str, int], Any]:
        online = open_memory()
        store = FeatureStore(
            [view], read=SourceReader(folder), online=online, clock=ManualClock(START), workspace=workspace
        )
        return store.materialize(None, START + timedelta(days=99)), contents(online)

    assert stored(Workspace(memory_bytes=9_000, folder=folder / "spill")) == stored(Workspace())


def contents(online: MemoryOnlineStore) -> dict[str, dict[bytes, bytes]]:
    """All that is stored but the store's own mark, which no two have alike."""
    return {name: {key: value for key, value in online.items(name) if key != b"mark"} for name in online.views()}
