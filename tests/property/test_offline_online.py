"""What the past says of a moment is what the online store said at it: the same bits, for any log and any order."""

from __future__ import annotations

import struct
from collections import Counter
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from types import SimpleNamespace
from typing import Any
from unittest import mock

import pyarrow as pa
import pyarrow.compute as pc
import pytest
from hypothesis import HealthCheck, event, given, settings
from hypothesis import strategies as st

from millrace.core.clock import ManualClock, to_micros
from millrace.features import aggregation as mr
from millrace.features.columns import TIME
from millrace.features.derive import derive
from millrace.features.entity import Entity
from millrace.features.events import read_events
from millrace.features.expression import col
from millrace.features.online import tail_merge, window
from millrace.features.online.batch import pack_events
from millrace.features.online.port import open_online
from millrace.features.online.tail import merge_tails, retention_of
from millrace.features.online.tail_merge import TailMerge
from millrace.features.store import FeatureStore
from millrace.features.view import FeatureView
from millrace.testing.memory_store import open_memory

START = datetime(2024, 1, 1, tzinfo=UTC)
LATE = timedelta(minutes=3)
SPAN_MINUTES = 60


def minute(number: float) -> datetime:
    return START + timedelta(minutes=number)


ints = st.sampled_from([None, 0, 0, 1, 1, 2, 2**53 + 1, -(2**63), 2**63 - 1])
floats = st.sampled_from([None, 0.1, 0.2, 0.3, -0.0, 0.0, 1e300, -1e300]) | st.floats(allow_nan=True, width=64)
# Few different instants and values: ties, repeated rows and events on the edge of a window are the rule.
instants = st.sampled_from([None, 0, 1, 1, 2, 2, 3, 9, 10, 10, 16, 17, 30, 31, 59, 60])
rows = st.fixed_dictionaries(
    {
        "id": st.sampled_from([1, 1, 1, 2, None]),
        "shop": st.sampled_from(["a", "a", "b"]),
        "ts": instants,
        "created": instants,
        "i": ints,
        "f": floats,
        "s": st.none() | st.sampled_from(["", "x", "längerer Text", "z" * 50]),
        "b": st.none() | st.booleans(),
        "when": st.none() | st.integers(0, 5),
        "li": st.none() | st.lists(st.sampled_from([None, 1, 2**53 + 1]), max_size=3),
        "ls": st.none() | st.lists(st.sampled_from([None, "", "ü"]), max_size=2),
    }
)
batches = st.lists(st.lists(rows, max_size=10), min_size=1, max_size=5)
SCHEMA = pa.schema(
    [
        ("id", pa.int64()), ("shop", pa.string()), ("ts", TIME), ("created", TIME), ("i", pa.int64()),
        ("f", pa.float64()), ("s", pa.string()), ("b", pa.bool_()), ("when", TIME),
        ("li", pa.list_(pa.int64())), ("ls", pa.list_(pa.string())),
    ]
)  # fmt: skip


def to_rows(batch: list[dict[str, Any]]) -> pa.Table:
    times = {"ts", "created", "when"}
    columns = {
        name: [minute(row[name]) if name in times and row[name] is not None else row[name] for row in batch]
        for name in SCHEMA.names
    }
    return pa.table(columns, schema=SCHEMA)


def as_a_log(view: FeatureView, batches: list[list[dict[str, Any]]]) -> list[list[dict[str, Any]]]:
    """The batches without events that an earlier one holds: an event pushed twice stands in a log once."""
    names = ["ts", *view.keys, *view.columns, *([view.source.created] if view.source.created else [])]
    seen: set[str] = set()
    log = []
    for batch in batches:
        table = to_rows(batch)
        kept = {
            name: derive(view.expressions[name], table, source="log").to_pylist()
            if name in view.expressions
            else [row[name] for row in batch]
            for name in names
        }
        facts = [
            repr([None if kept[name][place] != kept[name][place] else kept[name][place] for name in names])
            for place in range(len(batch))
        ]
        log.append([row for row, fact in zip(batch, facts, strict=True) if fact not in seen])
        seen.update(facts)
    return log


conditions = st.sampled_from([col("b"), ~col("b") | (col("i") == 1), col("s").starts_with("x"), col("f") > 0.15])


@st.composite
def definitions(draw: st.DrawFn) -> FeatureView:
    source = SimpleNamespace(
        name="log",
        event_time="ts",
        created=draw(st.sampled_from([None, "created"])),
        delay=draw(st.sampled_from([None, timedelta(minutes=5)])),
    )
    # One rule without window keeps all events for ever: most views have none, so that trimming is at work.
    spans = st.sampled_from(draw(st.sampled_from([["1m", "7m"], ["7m", "30m"], ["1m", "30m", None]])))
    pool: dict[str, Any] = {
        "last_i": "i", "last_f": mr.last("f"), "last_s": "s", "last_b": "b", "last_when": "when",
        "lag_i": mr.lag("i", draw(st.integers(0, 4))), "lag_s": mr.lag("s", 1),
        "days": mr.days_since_last(), "last_li": "li", "last_ls": "ls",
        "last_k_s": mr.last_k("s", draw(st.integers(1, 4))),
        "last_where": mr.last("i", where=draw(conditions)), "lag_where": mr.lag("i", 1, where=draw(conditions)),
        "last_k_where": mr.last_k("f", 2, where=draw(conditions)),
        "days_where": mr.days_since_last(where=draw(conditions)),
        "first_w": mr.first("i", window=draw(spans)), "last_w": mr.last("s", window=draw(spans)),
        "last_k_w": mr.last_k("when", 3, window=draw(spans), where=draw(conditions)),
        "since_first": mr.days_since_first(window=draw(spans), where=draw(conditions)),
        "lifetime": mr.lifetime_days(window=draw(spans)),
        "distinct_s": mr.count_distinct("s", window=draw(spans)),
        "distinct_f": mr.count_distinct("f", window=draw(spans), where=draw(conditions)),
        "ratio": mr.ratio(mr.sum("f", window=draw(spans)), mr.count("i", window=draw(spans), where=draw(conditions))),
        "derived": mr.sum(col("f") * 2.0 + col("b"), window=draw(spans)),
        "derived_last": mr.last(col("f") / col("b")),
        **{
            f"{rule.__name__}_{column}": rule(column, window=draw(spans), where=draw(st.none() | conditions))
            for rule in (mr.mean, mr.sum, mr.min, mr.max, mr.std, mr.count)
            for column in ("i", "f", "b")
        },
        "n": mr.count(window=draw(spans)), "n_s": mr.count("s", window=draw(spans)),
    }  # fmt: skip
    points = ["last_i", "last_f", "last_s", "lag_i", "lag_s", "days", "last_li", "last_ls", "last_k_s", "derived_last"]
    points += ["last_where", "lag_where", "last_k_where", "days_where"]
    offered = draw(st.sampled_from([points, sorted(pool)]))
    names = draw(st.lists(st.sampled_from(offered), min_size=1, max_size=4, unique=True))
    return FeatureView(
        "v",
        entity=draw(st.sampled_from([None, Entity("e", key="id"), Entity("e2", key=("shop", "id"))])),
        source=source,
        features={name: pool[name] for name in names},
        ttl=draw(st.sampled_from([None, 0, "1m", "20m"])),
        event_key=draw(st.sampled_from([(), ("i", "s")])),
    )


def open_store(view: FeatureView, log: pa.Table, online: Any, now: datetime) -> FeatureStore:
    def read(source: Any, start: datetime | None, end: datetime | None) -> pa.Table:
        table = log
        if start is not None:
            table = table.filter(pc.greater_equal(table["ts"], pa.scalar(start, TIME)))
        if end is not None:
            table = table.filter(pc.less(table["ts"], pa.scalar(end, TIME)))
        return table

    return FeatureStore([view], read=read, online=online, clock=ManualClock(now), late=LATE)


def bits(value: Any) -> Any:
    if isinstance(value, list):
        return [bits(one) for one in value]
    return (type(value), struct.pack("<d", value) if isinstance(value, float) else value)


def assert_online_is_offline(store: FeatureStore, log: pa.Table, now: datetime, moments: list[float]) -> None:
    view = store.views["v"]
    entities = [{"shop": shop, "id": number} for shop in ("a", "b", "new") for number in (1, 2, 3, None)]
    asked = [{**entity, "event_time": minute(at)} for entity in entities for at in moments]
    past = store.get_historical_features(asked, [view]).to_arrow()
    assert past.num_rows == len(asked)
    answers = past.to_pylist()
    times = Counter[str]()
    for at in moments:
        online = store.plan([view]).lookup(entities, minute(at))
        for place, entity in enumerate(entities):
            (row,) = [row for row in answers if row["event_time"] == minute(at) and row.items() >= entity.items()]
            for name in view.features:
                status = online.statuses[name][place]
                times[status] += 1
                if status == "trimmed":
                    assert minute(at) < min(now, latest(view, log)) - LATE
                    continue
                assert bits(online.values[name][place]) == bits(row[name]), (name, at, entity, status)
                assert (status == "present") == (row[name] is not None)
    for status in times:
        event(f"status {status}")


def latest(view: FeatureView, log: pa.Table) -> datetime:
    return pc.max(log["ts"]).as_py() + view.delay


moments = st.lists(st.integers(-1, 20) | st.integers(21, SPAN_MINUTES + 40), min_size=1, max_size=8, unique=True)
nows = st.integers(0, 20) | st.integers(21, 200)
quiet = settings(deadline=None, suppress_health_check=list(HealthCheck))


@pytest.fixture(params=["few", "many"])
def how_events_are_held(request: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """A key's events are tuples while they are few, an array when they are many: here they are few in both ways."""
    monkeypatch.setattr(window, "FEW", {"few": 200, "many": 0}[request.param])


@pytest.mark.usefixtures("how_events_are_held")
@settings(quiet, max_examples=200)
@given(definitions(), batches, st.data(), moments, nows)
def test_after_pushes(view: FeatureView, log: Any, data: st.DataObject, moments: list[float], now: int) -> None:
    log = as_a_log(view, log)
    table = pa.concat_tables([to_rows(batch) for batch in log])
    store = open_store(view, table, open_memory(), minute(now))
    for place, batch in enumerate(log):
        store.push("v", to_rows(batch))
        again = data.draw(st.integers(-1, place))
        if again >= 0:
            store.push("log", to_rows(log[again]))

    assert_online_is_offline(store, table, minute(now), moments)


@settings(quiet, max_examples=200)
@given(definitions(), batches, st.data(), moments, nows)
def test_after_materialize_over_pushes(
    view: FeatureView, log: Any, data: st.DataObject, moments: list[float], now: int
) -> None:
    """In any order of intervals, with rows pushed before in any order, the log's order is what counts."""
    log = as_a_log(view, log)
    table = pa.concat_tables([to_rows(batch) for batch in log])
    store = open_store(view, table, open_memory(), minute(now))
    for batch in data.draw(st.permutations(log)):
        if data.draw(st.booleans()):
            store.push("v", to_rows(batch))
    edges = [-1.0, 13, 14, 40, SPAN_MINUTES + 1]
    for begin, end in data.draw(st.permutations(list(pairwise(edges)))):
        store.materialize(minute(begin), minute(end), chunk=data.draw(st.sampled_from(["5m", "1h"])))
    if data.draw(st.booleans()):
        store.materialize(None, minute(SPAN_MINUTES + 1))

    assert_online_is_offline(store, table, minute(now), moments)


@pytest.fixture(params=["lmdb", "sqlite", "redis", "postgres", "dynamodb"])
def every_store(request: Any, place: str, handles: Any, aws: None, tmp_path: Any) -> Any:
    """The stores that outlive a process, each on its real server."""
    servers = {"redis": "redis_server", "postgres": "postgres_server", "dynamodb": "dynamo_server"}
    if request.param not in servers:
        return handles(open_online, f"{request.param}:///{tmp_path}/online")
    server = request.getfixturevalue(servers[request.param])
    urls = {
        "redis": lambda: f"{server.url}?prefix={place}",
        "postgres": lambda: f"{server.url}?table={place}",
        "dynamodb": lambda: server.url(place, create="yes", timeout_s=30),
    }
    return handles(open_online, urls[request.param]())


def test_in_every_store(every_store: Any, request: Any) -> None:
    @settings(quiet, max_examples=5 if "dynamodb" in request.node.name else 20)
    @given(definitions(), batches, moments, nows)
    def check(view: FeatureView, log: Any, moments: list[float], now: int) -> None:
        for name in every_store.views():
            every_store.clear(name)
        log = as_a_log(view, log)
        table = pa.concat_tables([to_rows(batch) for batch in log])
        store = open_store(view, table, every_store, minute(now))
        for batch in log:
            store.push("v", to_rows(batch))
        store.materialize_incremental(minute(30))
        store.materialize_incremental(minute(SPAN_MINUTES + 1))
        assert_online_is_offline(store, table, minute(now), moments)

    check()


@settings(quiet, max_examples=200)
@given(definitions(), batches, nows)
def test_packing_leaves_out_what_merging_would(view: FeatureView, log: Any, now: int) -> None:
    events = read_events(pa.concat_tables([to_rows(batch) for batch in log]), view)
    retention, moment = retention_of(view, 180_000_000), to_micros(minute(now))

    whole = dict(pack_events(events, view))
    trimmed = dict(pack_events(events, view, retention=retention, now=moment))

    assert trimmed == {key: merge_tails(None, data, retention, moment) for key, data in whole.items()}


@settings(quiet, max_examples=200)
@given(definitions(), batches, nows, st.booleans(), st.booleans())
def test_merging_many_keys_at_once_is_merging_each(
    view: FeatureView, log: Any, now: int, is_replay: bool, is_kept: bool
) -> None:
    """Of every batch after every other: what is newer, late, repeated, tied, wider or the same again."""
    retention, moment = retention_of(view, 180_000_000), to_micros(minute(now))
    merge = TailMerge(retention, moment, is_replay=is_replay)
    held = retention if is_kept else None
    packed = [list(pack_events(read_events(to_rows(b), view), view, retention=held, now=moment)) for b in log]
    olds: list[bytes | None] = []
    news: list[bytes] = []
    stored: dict[bytes, bytes] = {}
    for batch in packed:
        for earlier in packed:
            before = {**stored, **dict(earlier)}
            olds += [before.get(key) for key, _ in batch]
            news += [value for _, value in batch]
        for key, value in batch:
            stored[key] = merge(stored.get(key), value)
            olds.append(stored[key])
            news.append(value)

    with mock.patch.object(tail_merge, "_FEW", 1):
        together = merge.many(olds, news)

    each = [merge(old, new) for old, new in zip(olds, news, strict=True)]
    assert together == each
    assert all((one is old) == (other is old) for one, other, old in zip(together, each, olds, strict=True))


@pytest.mark.parametrize("size", [1, 7, 8, 9, 127, 128, 129, 1000, 20_000])
def test_long_windows_have_the_same_bits_wherever_they_lie(size: int) -> None:
    """Blocks of pairwise summation, vector lanes and buffers all have edges; a window may start at any of them."""
    import numpy as np

    values = np.random.default_rng(size).normal(size=size) * 10.0 ** np.random.default_rng(1).integers(-9, 9, size)
    log = pa.table(
        {
            "id": np.repeat([1, 2], [3, size]),
            "ts": pa.array([minute(number / 60) for number in [*range(3), *range(size)]], TIME),
            "f": np.concatenate(([1.0, 2.0, 3.0], values)),
        }
    )
    source = SimpleNamespace(name="log", event_time="ts", created=None, delay=None)
    rules = {rule.__name__: rule("f", window="100m") for rule in (mr.mean, mr.sum, mr.min, mr.max, mr.std)}
    view = FeatureView("v", entity=Entity("e", key="id"), source=source, features={**rules, "all": mr.sum("f")})
    store = open_store(view, log, open_memory(), minute(1000))
    store.materialize(None, minute(1000))
    ends = sorted({0, size // 3, size // 2, size - 1})
    asked = [{"id": 2, "event_time": minute(number / 60)} for number in ends]

    past = store.get_historical_features(asked, ["v"]).to_arrow().to_pylist()

    plan = store.plan(["v"])
    for row in past:
        online = plan.read({"id": 2}, row["event_time"])
        assert [bits(value) for value in online] == [bits(row[name]) for name in plan.names]
