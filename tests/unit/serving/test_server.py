"""Real servers on loopback."""

import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import threading

import pytest

from millrace.core.errors import ServiceError
from millrace.serving.prediction_log import read_predictions
from millrace.serving.server import Server, Settings

GIVEN = json.dumps({"inputs": {"amount": 3.0, "orders": 2, "is_new": True}})


def ask(url, method="POST", path="/predict", body=GIVEN):
    """One request over a connection of its own."""
    connection = http.client.HTTPConnection(url.removeprefix("http://"), timeout=10)
    try:
        connection.request(method, path, body=body if method == "POST" else None)
        reply = connection.getresponse()
        return reply.status, json.loads(reply.read())
    finally:
        connection.close()


@pytest.fixture
def servers(blobs):
    running = []

    def make(current, **settings):
        server = Server(current, blobs, settings=Settings(**{"port": 0, "poll_ms": 5.0} | settings))
        running.append(server)
        return server

    yield make
    for server in running:
        server.stop()


def test_port_zero_takes_a_free_one_and_says_which(servers, make_release, tmp_path, until):
    release = make_release(1)
    ready_file = tmp_path / "ready.json"
    server = servers(lambda: release, ready_file=ready_file)

    url = server.start()

    assert ask(url)[1]["predictions"][0]["output"] == "yes-1"
    until(ready_file.exists)
    facts = json.loads(ready_file.read_bytes())
    assert facts == {"url": url, "host": "127.0.0.1", "port": int(url.rsplit(":", 1)[1]), "pid": os.getpid()}
    server.stop()
    assert not ready_file.exists()
    with pytest.raises(ConnectionRefusedError):
        ask(url)


@pytest.mark.parametrize(
    ("host", "what"),
    [("127.0.0.1", "is already in use"), ("192.0.2.1", "cannot be taken"), ("no.such.host.invalid", "cannot be taken")],
)
def test_an_address_that_cannot_be_taken_is_told_before_anything_starts(servers, host, what, tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as other:
        server = servers(lambda: None, host=host, port=other.getsockname()[1], log_folder=tmp_path / "log")
        with pytest.raises(ServiceError) as caught:
            server.start()

    assert caught.value.code == "SERVE-01"
    assert what in caught.value.what
    assert not (tmp_path / "log").exists()
    assert server.slot.current is None


def test_two_servers_never_share_a_port(servers):
    first = servers(lambda: None)
    port = int(first.bind().rsplit(":", 1)[1])

    with pytest.raises(ServiceError):
        servers(lambda: None, port=port).bind()
    first.start()


def test_a_server_without_a_release_becomes_ready_when_there_is_one(servers, make_release, until):
    shelf = []
    url = servers(lambda: shelf[-1] if shelf else None).start()
    assert ask(url, "GET", "/ready")[0] == 503
    assert ask(url)[0] == 503

    shelf.append(make_release(1))
    until(lambda: ask(url, "GET", "/ready")[0] == 200)
    assert ask(url)[0] == 200


def test_ten_swaps_lose_no_request(servers, make_release, tmp_path, until):
    releases = [make_release(version) for version in range(1, 12)]
    shelf = releases[:1]
    server = servers(lambda: shelf[-1], log_folder=tmp_path / "log")
    url = server.start()
    stop = threading.Event()
    seen = [[], []]

    def load(answers):
        while not stop.is_set():
            try:
                answers.append(ask(url))
            except OSError as error:
                answers.append((type(error).__name__, {}))

    clients = [threading.Thread(target=load, args=(answers,)) for answers in seen]
    for client in clients:
        client.start()
    for release in releases[1:]:
        shelf.append(release)
        until(lambda: ask(url)[1]["version"] == shelf[-1].version)
        enough = [len(answers) + 5 for answers in seen]
        until(lambda: all(len(answers) >= count for answers, count in zip(seen, enough, strict=True)))  # noqa: B023
    stop.set()
    for client in clients:
        client.join()

    assert server.slot.current.release == releases[-1]
    assert server.slot.swaps == 10
    for answers in seen:
        assert len(answers) >= 50
        assert [status for status, _ in answers if status != 200] == []
        versions = [body["version"] for _, body in answers]
        assert versions == sorted(versions)
        # the version an answer names is the one that gave it
        assert all(body["predictions"][0]["output"] == f"yes-{body['version']}" for _, body in answers)
    server.stop()
    logged = list(read_predictions(tmp_path / "log"))
    assert {body["request_id"] for answers in seen for _, body in answers} <= {entry.request_id for entry in logged}
    assert all(entry.output == f"yes-{entry.version}" for entry in logged)


def test_a_bundle_with_one_byte_changed_is_refused_and_the_old_model_answers_on(servers, make_release, blobs, until):
    first, second = make_release(1), make_release(2)
    path = blobs.get_file(second.digest)
    path.write_bytes(path.read_bytes().replace(b"yes-2", b"yes-3"))
    shelf = [first]
    url = servers(lambda: shelf[-1]).start()

    shelf.append(second)
    until(lambda: ask(url, "GET", "/health")[1]["failure"] is not None)

    health = ask(url, "GET", "/health")[1]
    assert (health["failure"]["code"], health["failure"]["release"]) == ("BLOB-02", 2)
    assert (health["version"], health["release"]) == (1, 1)
    assert ask(url, "GET", "/ready")[0] == 200
    assert ask(url)[1]["predictions"][0]["output"] == "yes-1"


def test_run_gives_the_signals_back(servers, make_release):
    release = make_release(1)
    before = [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)]
    server = servers(lambda: release)
    url = server.bind()
    answers = []

    def ask_and_stop():
        answers.append(ask(url)[0])  # waits in the backlog until the server runs
        os.kill(os.getpid(), signal.SIGTERM)

    client = threading.Thread(target=ask_and_stop)
    client.start()
    server.run()
    client.join()

    assert answers == [200]
    assert [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)] == before


@pytest.fixture
def process(make_release, blobs, tmp_path):
    """A server in a process of its own; the URL is its first line."""
    release = make_release(1)
    program = f"""
import pathlib
from millrace.core.records import Release
from millrace.serving.server import Server, Settings
from millrace.store.blobs import FileBlobs
root = pathlib.Path({str(tmp_path)!r})
release = Release.from_dict({release.to_dict()!r})
settings = Settings(port=0, log_folder=root / "log", ready_file=root / "ready.json")
Server(lambda: release, FileBlobs(root / "blobs"), settings=settings, on_ready=lambda url: print(url, flush=True)).run()
print("ended", flush=True)
"""
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True) as process:
        yield process
        process.kill()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_cleanly_and_nothing_answered_is_lost(process, tmp_path, number):
    url = process.stdout.readline().strip()
    answered = [ask(url)[1]["request_id"] for _ in range(20)]

    process.send_signal(number)
    process.wait(timeout=20)

    assert (process.returncode, process.stdout.read()) == (0, "ended\n")
    assert [entry.request_id for entry in read_predictions(tmp_path / "log")] == answered
    assert not (tmp_path / "ready.json").exists()


def test_a_request_being_sent_when_the_signal_comes_is_answered(process):
    url = process.stdout.readline().strip()
    host, port = url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=10) as connection:
        head = f"POST /predict HTTP/1.1\r\nHost: x\r\nContent-Length: {len(GIVEN)}\r\nConnection: close\r\n\r\n"
        connection.sendall(head.encode() + GIVEN[:10].encode())
        ask(url, "GET", "/health")  # the server has taken the first connection: it accepts in order
        process.send_signal(signal.SIGTERM)
        refused = False
        while not refused:
            try:
                ask(url, "GET", "/health")
            except OSError:
                refused = True  # it takes nobody new
        connection.sendall(GIVEN[10:].encode())
        reply = b""
        while part := connection.recv(65536):
            reply += part

    assert reply.startswith(b"HTTP/1.1 200")
    assert process.wait(timeout=20) == 0
