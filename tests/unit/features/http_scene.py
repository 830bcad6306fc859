"""A small shop behind the feature server's application, asked without a socket."""

import asyncio
import json
import math
from datetime import timedelta
from types import SimpleNamespace

import pyarrow as pa
from orders_shop import day, make_source, reader

from millrace.core.clock import ManualClock
from millrace.features.aggregation import last, mean
from millrace.features.columns import TIME
from millrace.features.entity import Entity
from millrace.features.field import Field
from millrace.features.http.access import Access
from millrace.features.http.app import FeatureApp
from millrace.features.http.lookup import Limits
from millrace.features.on_demand import on_demand
from millrace.features.store import FeatureStore
from millrace.features.view import FeatureView
from millrace.testing.memory_store import open_memory

SECRET = "s3cret"
NOW = day(100)
BEARER = ((b"authorization", b"Bearer s3cret"),)


def orders_table():
    return pa.table(
        {
            "ts": pa.array([day(1), day(99), day(99) + timedelta(milliseconds=1500), day(90)], TIME),
            "customer_id": [1, 2, 3, 4],
            "amount": [1.5, None, math.inf, -math.inf],
            "items": [2**53 + 1, 7, 8, 9],
            "city": ["Łódź", None, "c", '"'],
            "is_vip": [True, False, True, None],
            "since": pa.array([day(0.5) + timedelta(microseconds=250), None, day(0), day(0)], TIME),
        }
    )


def make_views():
    customer = Entity("customer", key="customer_id")
    orders = make_source()
    columns = ("amount", "items", "city", "is_vip", "since")
    return [
        FeatureView("orders", entity=customer, source=orders, features={name: last(name) for name in columns}),
        FeatureView("fresh", entity=customer, source=orders, features={"amount": last("amount")}, ttl="20d"),
        FeatureView("recent", entity=customer, source=orders, features={"mean_items": mean("items", window="30d")}),
        FeatureView("world", entity=None, source=orders, features={"newest_items": last("items")}),
        with_extra(),
    ]


def with_extra():
    @on_demand(inputs={"items": "orders:items", "extra": Field("extra", "float")}, outputs={"total": "float"})
    def summed(items, extra):
        """Items and what the request brings along."""
        if (extra < 0).any():
            raise ValueError("less than nothing")
        return {"total": items + extra}

    return summed


class Store:
    """An online store that can be broken: `failure` is raised by every read; `gate` is waited for."""

    def __init__(self):
        self.inner = open_memory()
        self.failure = None
        self.gate = None

    def read(self, view, keys):
        if self.gate is not None:
            assert self.gate.wait(20)
        if self.failure is not None:
            raise self.failure
        return self.inner.read(view, keys)

    def __getattr__(self, name):
        return getattr(self.inner, name)


def make_shop(*, token=SECRET, limits=None, is_local=True, is_filled=True, table=None):
    """The application, its store and its feature store."""
    online = Store()
    read = reader(orders_table() if table is None else table)
    clock = ManualClock(NOW)
    store = FeatureStore(make_views(), read=read, online=online, clock=clock)
    if is_filled:
        store.materialize(None, NOW)

    app = FeatureApp(
        store,
        services={"vector": ["orders:amount", "recent"]},
        probe=lambda: online.read("ready", [b"ready"]),
        access=Access(token, "SHOP_TOKEN"),
        is_local=is_local,
        limits=limits or Limits(),
        clock=clock,
    )
    return SimpleNamespace(app=app, online=online, store=store, clock=clock)


class Reply:
    def __init__(self, messages):
        self.status = messages[0]["status"]
        self.headers = {name.decode(): value.decode() for name, value in messages[0]["headers"]}
        self.body = b"".join(message.get("body", b"") for message in messages[1:])

    def json(self):
        return json.loads(self.body, parse_constant=refuse_constant)

    def results(self):
        """Values, statuses and event times by name."""
        answer = self.json()
        return dict(zip(answer["metadata"]["feature_names"], answer["results"], strict=True))


def refuse_constant(name):
    raise AssertionError(f"{name} is not JSON")


async def ask_async(app, path, body=None, *, method=None, headers=(), chunks=None):
    data = b"" if body is None else body if isinstance(body, bytes) else json.dumps(body).encode()
    parts = list(chunks) if chunks is not None else [data]
    sent = []

    async def receive():
        part = parts.pop(0)
        if part is None:
            return {"type": "http.disconnect"}
        return {"type": "http.request", "body": part, "more_body": bool(parts)}

    async def send(message):
        sent.append(message)

    method = method or ("GET" if body is None and chunks is None else "POST")
    await app({"type": "http", "method": method, "path": path, "headers": list(headers)}, receive, send)
    return Reply(sent) if sent else None


def ask(app, path, body=None, **options):
    """The application's answer; bytes are sent as they are. Without a body: GET."""
    return asyncio.run(ask_async(app, path, body, **options))


def features(app, wanted, entities, **more):
    """POST /get-online-features."""
    return ask(app, "/get-online-features", {"features": wanted, "entities": entities, **more})
