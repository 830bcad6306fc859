"""Alerts reach a real HTTP server, or stay queued until one is there."""

import hashlib
import hmac
import json
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from millrace.adapters.webhook import open_webhook
from millrace.core.errors import ProjectError, ServiceError
from millrace.core.records import Alert
from millrace.monitoring.alerts import deliver, raise_alert
from millrace.store.ledger import Ledger

ALERT = Alert("incident:m:1", "critical", "m", "Störung", "labels are all UP", "2024-01-01T00:00:00Z")


@pytest.fixture(autouse=True)
def _no_proxy(monkeypatch):
    monkeypatch.setenv("no_proxy", "127.0.0.1")


@contextmanager
def receiver(status=200, *, port=0):
    """A server that keeps what it is sent and answers `status`; yields its url and what it got."""
    got = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            body = self.rfile.read(int(self.headers["Content-Length"]))
            got.append((dict(self.headers), body))
            self.send_response(status)
            if status in (301, 302, 307):
                self.send_header("Location", "/elsewhere")
            self.end_headers()

        def do_GET(self):
            got.append(("GET", self.path))
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}/hook", got
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def test_an_alert_arrives_with_its_key_and_signature():
    with receiver() as (url, got):
        open_webhook({"url": url, "secret": "s3cret"}).send(ALERT.to_dict())
    ((headers, body),) = got

    assert json.loads(body) == ALERT.to_dict()
    assert headers["Content-Type"] == "application/json"
    assert headers["Idempotency-Key"] == "incident:m:1"
    expected = hmac.new(b"s3cret", body, hashlib.sha256).hexdigest()
    assert headers["X-Millrace-Signature"] == f"sha256={expected}"


def test_without_a_secret_nothing_is_signed():
    with receiver() as (url, got):
        open_webhook({"url": url}).send(ALERT.to_dict())

    assert "X-Millrace-Signature" not in got[0][0]


@pytest.mark.parametrize("status", [302, 307, 404, 500])
def test_any_answer_but_success_is_a_failure_and_is_not_followed(status):
    with receiver(status) as (url, got), pytest.raises(ServiceError) as caught:
        open_webhook({"url": url}).send(ALERT.to_dict())

    assert (caught.value.code, len(got)) == ("MON-11", 1)
    assert str(status) in caught.value.what


def test_the_path_of_a_webhook_is_its_secret_and_is_not_told():
    with receiver(500) as (url, _), pytest.raises(ServiceError) as caught:
        open_webhook({"url": url}).send(ALERT.to_dict())

    assert "hook" not in str(caught.value.where)


def test_a_server_that_is_down_loses_nothing(tmp_path):
    ledger = Ledger.open(f"sqlite:///{tmp_path}/ledger.db")
    with receiver() as (url, _):
        port = int(url.split(":")[2].split("/")[0])
    channels = {"webhook": open_webhook({"url": url, "timeout_s": 5})}  # the server is gone by now
    raise_alert(ledger, ALERT, ["webhook"])
    down = deliver(ledger, channels)["webhook"]
    assert (down.sent, down.failed) == (0, 1)
    assert "MON-10" in down.last_error
    assert [message.key for message in ledger.outbox.pending("channel:webhook", due_only=False)] == [ALERT.key]

    with receiver(port=port) as (_, got):
        up = deliver(ledger, channels, due_only=False)["webhook"]
    assert (up.sent, up.failed) == (1, 0)
    assert json.loads(got[0][1]) == ALERT.to_dict()
    assert ledger.outbox.pending("channel:webhook", due_only=False) == []
    ledger.close()


@pytest.mark.parametrize("url", [None, "", "ftp://host/x", "file:///etc/passwd", "hooks.example.com/x", "http://"])
def test_only_http_is_a_webhook(url):
    with pytest.raises(ProjectError) as caught:
        open_webhook({"url": url})

    assert caught.value.code == "PROJ-66"
