"""An alert is told once to each channel, and kept until it is."""

import io
import sys
from datetime import UTC, datetime

import pytest

from millrace.core.clock import ManualClock
from millrace.core.records import Alert
from millrace.monitoring.alerts import deliver, raise_alert
from millrace.monitoring.channels import open_console
from millrace.store.ledger import Ledger

ALERT = Alert("a1", "warning", "m", "m degrades", "accuracy 0.7", "2024-01-01T00:00:00Z", {"n": 1})


@pytest.fixture
def ledger(tmp_path):
    ledger = Ledger.open(f"sqlite:///{tmp_path}/ledger.db", ManualClock(datetime(2024, 1, 1, tzinfo=UTC)))
    yield ledger
    ledger.close()


class Flaky:
    """A channel that fails until it is mended."""

    def __init__(self):
        self.is_down, self.sent = True, []

    def send(self, alert):
        if self.is_down:
            raise ConnectionError("down")
        self.sent.append(alert["key"])


def test_an_alert_is_recorded_and_told_once(ledger):
    stream = io.StringIO()
    channels = {"console": open_console({"stream": stream})}
    raise_alert(ledger, ALERT, ["console"])
    raise_alert(ledger, ALERT, ["console"])
    deliveries = [deliver(ledger, channels)["console"].sent for _ in range(2)]

    assert deliveries == [1, 0]
    assert stream.getvalue() == "[warning] m degrades\n  2024-01-01T00:00:00Z  accuracy 0.7\n"
    assert [Alert.from_dict(event.body) for event in ledger.events("alert", "m")] == [ALERT]


def test_a_channel_that_is_down_keeps_its_alerts_and_holds_up_no_other(ledger):
    flaky, stream = Flaky(), io.StringIO()
    channels = {"flaky": flaky, "console": open_console({"stream": stream})}
    raise_alert(ledger, ALERT, list(channels))

    first = deliver(ledger, channels)
    assert (first["flaky"].failed, first["flaky"].last_error, first["console"].sent) == (1, "ConnectionError: down", 1)

    flaky.is_down = False
    assert deliver(ledger, channels)["flaky"].sent == 0  # it rests after a failure
    assert deliver(ledger, channels, due_only=False)["flaky"].sent == 1
    assert flaky.sent == ["a1"]


def test_the_console_is_standard_error(capsys):
    open_console({}).send(ALERT.to_dict())

    assert capsys.readouterr().err.startswith("[warning] m degrades")
    assert open_console({"stream": None})._stream is sys.stderr
