"""kill -9 of whoever writes an online store, and of its server: what was synced stays, every value is whole."""

import os
import random
import subprocess
import sys
import threading
from pathlib import Path

import online_writer
import pytest
from online_writer import KEYS, PIECES, answers, feature_store, larger, number_of, number_value, push_all

from millrace.core.errors import StoreError
from millrace.features.online.port import open_online
from servers import AWS, DynamoServer, PostgresServer, RedisServer

SCRIPT = Path(__file__).with_name("online_writer.py")
STORES = ["lmdb", "sqlite", "redis", "postgres", "dynamodb"]


@pytest.fixture(params=STORES)
def url(request, tmp_path, place):
    if request.param == "lmdb":
        return f"lmdb:///{tmp_path / 'online'}"
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'online.db'}"
    if request.param == "redis":
        return f"{request.getfixturevalue('redis_server').url}?prefix={place}"
    if request.param == "postgres":
        return f"{request.getfixturevalue('postgres_server').url}?table={place}"
    request.getfixturevalue("aws")
    return request.getfixturevalue("dynamo_server").url(place, create="yes", timeout_s=30)


def start_writer(mode, url, argument):
    words = [sys.executable, str(SCRIPT), mode, url, str(argument)]
    child = subprocess.Popen(words, stdout=subprocess.PIPE, text=True, env={**os.environ, **AWS})
    assert child.stdout.readline() == "ready\n"
    return child


def kill_after(child, lines):
    """Kill the writer once it has said so many lines; the last of all that it said."""
    said = [child.stdout.readline().strip() for _ in range(lines)]
    child.kill()
    rest = child.stdout.read().split()
    child.stdout.close()
    child.wait()
    assert "done" not in rest
    return [*said, *rest][-1]


def test_what_was_synced_outlives_a_killed_writer(url):
    dice = random.Random(url)
    reached = 0
    online = open_online(url)
    for _ in range(4):
        synced = int(kill_after(start_writer("numbers", url, reached), dice.randrange(3, 25)))

        found = [number_of(value) for value in online.read("numbers", KEYS)]

        assert min(found) >= synced
        assert max(found) <= synced + 1
        reached = max(found)
        online.merge("numbers", [(KEYS[0], number_value(reached + 1))], larger)
        assert number_of(online.read("numbers", KEYS[:1])[0]) == reached + 1
    online.close()


@pytest.mark.parametrize("mode", ["materialize", "push"])
def test_a_killed_write_of_features_is_finished_by_the_next_one(url, mode, tmp_path):
    dice = random.Random(url + mode)
    ledger = tmp_path / "ledger.db" if mode == "materialize" else "-"
    for _ in range(3):
        kill_after(start_writer(mode, url, ledger), dice.randrange(1, PIECES // 4))

    store, online = feature_store(url, None if ledger == "-" else ledger)
    if mode == "materialize":
        # It goes on after the intervals that were done.
        rows = store.materialize(online_writer.START, online_writer.END, chunk="12h")["habits"]
        assert 0 < rows < online_writer.ROWS
    else:
        push_all(store, lambda start: None)

    found, wanted = answers(store)
    assert found == wanted
    assert {row[0] for row in found} != {None}
    online.close()


@pytest.fixture(params=["redis", "postgres"])
def fragile(request, aws):
    """A server of its own for the test to kill, and the URL of its store, with which it is given up quickly."""
    if request.param == "redis":
        request.getfixturevalue("redis_server")  # skips where there is none
        server = RedisServer("--requirepass", "s3cret")
        url = server.url.replace("//", "//:s3cret@") + "?attempts=2&timeout_s=2"
    else:
        request.getfixturevalue("postgres_server")
        server = PostgresServer()
        url = server.url.replace("postgres@", "postgres:s3cret@") + "?attempts=2"
    yield server, url
    server.stop()


def test_a_killed_server_is_told_and_after_its_return_nothing_is_missing(fragile):
    server, url = fragile
    online = open_online(url)
    synced = 0
    refusals = []
    is_going = threading.Event()

    def write():
        nonlocal synced
        number = 0
        while not refusals:
            number += 1
            try:
                online.merge("numbers", [(key, number_value(number)) for key in KEYS], larger)
                online.sync()
                synced = number
                if synced == 10:
                    is_going.set()
            except StoreError as error:
                refusals.append(error)

    writer = threading.Thread(target=write)
    writer.start()
    assert is_going.wait(60)
    server.kill()
    writer.join()
    with pytest.raises(StoreError) as reading:
        online.read("numbers", KEYS)

    for error in (refusals[0], reading.value):
        assert error.code == "FEAT-20"
        assert "cannot be reached" in error.what
        assert "s3cret" not in str(error)
        assert error.fix

    server.start()
    found = {number_of(value) for value in online.read("numbers", KEYS)}
    assert min(found) >= synced
    assert max(found) <= synced + 1
    online.merge("numbers", [(key, number_value(synced + 2)) for key in KEYS], larger)
    assert {number_of(value) for value in online.read("numbers", KEYS)} == {synced + 2}
    online.close()


def test_a_server_that_returns_in_time_is_not_noticed(fragile):
    server, url = fragile
    online = open_online(url.replace("attempts=2", "attempts=30"))
    online.merge("numbers", [(key, number_value(1)) for key in KEYS], larger)
    server.kill()
    rescue = threading.Thread(target=server.start)
    rescue.start()

    online.merge("numbers", [(key, number_value(2)) for key in KEYS], larger)
    found = {number_of(value) for value in online.read("numbers", KEYS)}

    rescue.join()
    assert found == {2}
    online.close()


def test_an_endpoint_that_is_gone_is_told(aws, place, dynamo_server):
    server = DynamoServer()
    online = open_online(server.url(place, create="yes", attempts=2))
    online.merge("numbers", [(KEYS[0], number_value(1))], larger)
    server.stop()

    with pytest.raises(StoreError) as refused:
        online.merge("numbers", [(KEYS[0], number_value(2))], larger)

    assert refused.value.code == "FEAT-20"
    assert refused.value.where == f"dynamodb://{server.region}/{place}"
    online.close()
