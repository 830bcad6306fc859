"""A process that writes an online store until it is killed; the tests import its parts to look at what it left.

online_writer.py numbers URL FIRST       merge ever larger numbers, and say which are synced
online_writer.py materialize URL LEDGER  materialize the shop's orders, and say after each interval
online_writer.py push URL -              push the shop's orders in a shuffled order, and say after each piece
"""

import random
import sys
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace

import pyarrow as pa

from millrace.core.clock import ManualClock
from millrace.features import aggregation as mr
from millrace.features.entity import Entity
from millrace.features.online.port import open_online
from millrace.features.store import FeatureStore
from millrace.features.view import FeatureView
from millrace.store.ledger import Ledger
from millrace.store.sqlite import open_sqlite

KEYS = [bytes([number]) * (1 + number) for number in range(20)]
START = datetime(2024, 1, 1, tzinfo=UTC)
END = START + timedelta(days=12)
CUSTOMERS = range(30)
PIECES = 24
ROWS = 1200


def say(word):
    print(word, flush=True)


def number_value(number):
    """A value that shows when it is not whole."""
    return number.to_bytes(8, "big") * (20 + number % 50)


def number_of(value):
    """The number in a value, after checking that it is whole."""
    number = int.from_bytes(value[:8], "big")
    assert value == number_value(number)
    return number


def larger(old, new):
    return new if old is None or number_of(new) > number_of(old) else old


def write_numbers(online, first):
    number = first
    while True:
        number += 1
        online.merge("numbers", [(key, number_value(number)) for key in KEYS], larger)
        online.sync()
        say(number)


def orders():
    dice = random.Random(3)
    rows = ROWS
    return pa.table(
        {
            "id": [dice.choice(CUSTOMERS) for _ in range(rows)],
            "ts": pa.array(
                [START + (END - START) * place / rows for place in range(rows)], pa.timestamp("us", tz="UTC")
            ),
            "amount": [dice.choice([None, dice.gauss(0, 100)]) for _ in range(rows)],
            "note": [f"order {place} " + "é" * dice.randrange(20) for place in range(rows)],
        }
    )


def feature_store(url, ledger=None):
    source = SimpleNamespace(name="orders", event_time="ts", created=None, delay=None)
    view = FeatureView(
        "habits",
        entity=Entity("customer", key="id"),
        source=source,
        ttl="20d",
        features={
            "orders": mr.count(),
            "spent_3d": mr.sum("amount", window="3d"),
            "mean_6d": mr.mean("amount", window="6d"),
            "amount": "amount",
            "note": "note",
            "since": mr.days_since_last(),
        },
    )
    log = orders()

    def read(source, start, end):
        times = log["ts"].to_pylist()
        chosen = [(start is None or start <= time) and (end is None or time < end) for time in times]
        return log.filter(pa.array(chosen))

    online = open_online(url)
    record = None if ledger is None else Ledger(open_sqlite(f"sqlite:///{ledger}"))
    return FeatureStore([view], read=read, online=online, ledger=record, clock=ManualClock(END), late="30d"), online


def push_all(store, tell):
    rows = orders().to_pylist()
    random.Random(5).shuffle(rows)
    for start in range(0, len(rows), len(rows) // PIECES):
        store.push("habits", rows[start : start + len(rows) // PIECES])
        tell(start)


def answers(store):
    """The features of all customers, online and offline, as lists of rows."""
    found = store.get_online_features(["habits"], entity_ids=list(CUSTOMERS), at=END)
    asked = pa.table({"id": list(CUSTOMERS), "event_time": pa.array([END] * len(CUSTOMERS), pa.timestamp("us", "UTC"))})
    table = store.get_historical_features(asked, ["habits"]).to_arrow()
    names = list(found.values)
    online = [list(row) for row in zip(*(found.values[name] for name in names), strict=True)]
    offline = [list(row) for row in zip(*(table[name].to_pylist() for name in names), strict=True)]
    return online, offline


def say_interval(done, total):
    if done * PIECES % total == 0:
        say(done)


def main(mode, url, argument):
    if mode == "numbers":
        say("ready")
        write_numbers(open_online(url), int(argument))
    store, _ = feature_store(url, None if argument == "-" else argument)
    say("ready")
    if mode == "materialize":
        store.materialize(START, END, chunk="12h", progress=say_interval)
    else:
        push_all(store, say)
    say("done")


if __name__ == "__main__":
    main(*sys.argv[1:])
